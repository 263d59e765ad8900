"""How long a study's runs will take: a few real training steps, on invented data of the real data's sizes."""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch

from otoscribe.audio import reading
from otoscribe.datasets.folder import CaptionedClip
from otoscribe.model.encoders.base import ENCODERS, FORMULA
from otoscribe.model.words.base import WORDS
from otoscribe.settings import run_id
from otoscribe.text.vocabulary import SPECIALS, Vocabulary, words_of
from otoscribe.train.batches import Split
from otoscribe.train.settings import DataSettings, ExperimentSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, train

EPOCHS = 30
"""Assumed of a run, unless runs say otherwise: with the paper's patience of 10, the 20th is then the best."""
STEPS = 3
"""Measured of each shape of model; the first one does not count."""
WIDTHS = {"bert": 768}
"""Of words whose files are not here; of others 300, as the paper has them."""
RECORDINGS = 10
"""Whose length is looked at."""


@dataclass(frozen=True)
class Sizes:
    """What of the data decides how long a step takes."""

    clips: int
    """To learn from."""
    pairs: int
    """Of recording and caption, to learn from."""
    validation_pairs: int
    words: float
    """In a caption."""
    vocabulary: int
    seconds: float
    """Of a recording."""


CLOTHO = Sizes(3839, 19195, 5225, 11.3, 4366, 22.5)
"""Assumed where the data are not here: those of Clotho 2.1, by its publishers."""


def sizes_of(training: Sequence[CaptionedClip], validation: Sequence[CaptionedClip]) -> Sizes:
    """Look at data; of recordings, at `RECORDINGS` only.

    Raises:
        AudioError: a recording cannot be read.
    """
    captions = [words_of(caption) for clip in training for caption in clip.captions]
    looked_at = training[:: max(1, len(training) // RECORDINGS)]
    return Sizes(
        clips=len(training),
        pairs=len(captions),
        validation_pairs=sum(len(clip.captions) for clip in validation),
        words=mean(map(len, captions)),
        vocabulary=len({word for caption in captions for word in caption}),
        seconds=mean(len(reading.load(clip.path, 8000).waveform) / 8000 for clip in looked_at),
    )


class Timed(NamedTuple):
    """How long runs take."""

    seconds: list[float]
    """Of each setting's run, on one worker."""
    step: float
    """Seconds of a training step, the mean over settings."""
    shapes: int
    """Different models among the settings."""
    measured: int
    """How many of them were measured; the others are guessed to be as fast as those of the same adapter."""
    epochs: float
    """Assumed of a run, the mean over settings."""

    def on(self, workers: int) -> float:
        """Return the seconds that so many workers take, which do not slow each other down."""
        return max(sum(self.seconds) / workers, *self.seconds)  # a run is done by one of them


def timed(
    settings: Sequence[ExperimentSettings],
    sizes: Sizes,
    runtime: RuntimeSettings,
    budget: float,
    epochs: float | None = None,
) -> Timed:
    """Measure training steps of the models that settings mean.

    Args:
        settings: of runs, one or more, of whatever encoder or words: no file of theirs is needed.
        sizes: of the data.
        runtime: where to compute.
        budget: seconds after which no other shape of model is measured; one is in any case.
        epochs: of the runs that are done, in the mean; None: none is.
    """
    chosen = [_shape(one) for one in settings]
    shapes = {run_id(shape): shape for shape in chosen}
    # In an order of chance, so that what is measured in the time is a fair sample.
    order = random.Random(0).sample(sorted(shapes), len(shapes))
    steps: dict[str, float] = {}
    began = time.perf_counter()
    for name in order:
        if steps and time.perf_counter() - began > budget:
            break
        steps[name] = _step(shapes[name], sizes, runtime)
    by_adapter: dict[str, list[float]] = {}
    for name, step in steps.items():
        by_adapter.setdefault(shapes[name].model.adapter.name, []).append(step)

    def of(shape: ExperimentSettings) -> float:
        alike = by_adapter.get(shape.model.adapter.name, list(steps.values()))
        return steps.get(run_id(shape), mean(alike))

    taken = [of(shape) for shape in chosen]
    assumed = EPOCHS if epochs is None else epochs
    counts = [min(assumed, one.training.maximum_epochs) for one in settings]
    seconds = [
        # The way forward is a third of a step.
        step * count * (sizes.pairs + sizes.validation_pairs / 3) / min(one.training.batch_pairs, sizes.pairs)
        for step, count, one in zip(taken, counts, settings, strict=True)
    ]
    return Timed(seconds, mean(taken), len(shapes), len(steps), mean(counts))


def _shape(settings: ExperimentSettings) -> ExperimentSettings:
    """Return settings of a model that trains as fast, without files: an encoder's and words' sizes decide."""
    model = settings.model
    kind = WORDS[model.words.name]
    width = getattr(model.words, "width", None) or WIDTHS.get(model.words.name, 300)
    tuned = getattr(model.words, "tuned", False) and not kind.is_slow(model.words)
    words = WORDS["random"].Settings(name="random", width=width, tuned=tuned)  # type: ignore[call-arg]
    encoder = model.encoder.model_copy(update={"weights": FORMULA, "tuned": False})
    training = settings.training.model_copy(update={"seed": 0, "maximum_epochs": 1, "patience": 1})
    return ExperimentSettings(
        data=DataSettings(fingerprint="0" * 64),
        model=model.model_copy(update={"words": words, "encoder": encoder}),
        training=training,
    )


def _step(settings: ExperimentSettings, sizes: Sizes, runtime: RuntimeSettings) -> float:
    """Return the seconds of a step, the fastest of some."""
    encoder = settings.model.encoder
    with torch.device("meta"):
        built = ENCODERS.build(encoder.name, encoder)
    frames = len(built.times(round(sizes.seconds * built.spec.sample_rate)))
    pairs = min(settings.training.batch_pairs, sizes.pairs)
    of_clip = max(1, round(sizes.pairs / sizes.clips))
    vocabulary = Vocabulary((*SPECIALS, *(f"w{number}" for number in range(sizes.vocabulary))))

    def split(clips: int) -> Split:
        drawn = random.Random(0)
        features = [torch.randn(frames, settings.model.feature_width) for _ in range(clips)]
        return Split(features, [[_caption(drawn, sizes) for _ in range(of_clip)] for _ in range(clips)])

    moments: list[float] = []

    def tick(what: str, done: int, total: int) -> None:
        moments.append(time.perf_counter())

    training = settings.training.model_copy(update={"batch_pairs": pairs})
    settings = settings.model_copy(update={"training": training})
    # A clip more would make a batch more, and all of them smaller.
    experiment = Experiment(settings, vocabulary, split(max(STEPS, STEPS * pairs // of_clip)), split(1))
    with tempfile.TemporaryDirectory() as folder:
        train(experiment, Path(folder), runtime, progress=tick)
    return min(later - earlier for earlier, later in pairwise(moments))


def _caption(drawn: random.Random, sizes: Sizes) -> list[int]:
    words = max(1, round(drawn.gauss(sizes.words, sizes.words / 4)))
    return [drawn.randrange(len(SPECIALS), len(SPECIALS) + sizes.vocabulary) for _ in range(words)]
