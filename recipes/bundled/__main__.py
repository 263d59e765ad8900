"""Make the bundled model: `python -m recipes.bundled`.

Stages, most of which leave files in the work folder and are skipped when those are there; training that was
killed goes on from its last epoch:

    lexicon      which sounds a caption's words speak of
    similarity   which classes the encoder confuses
    learn        the words half, a run of `otoscribe.train.trainer`
    assemble     the same run with the calibration in it, which `otoscribe export` takes
    export       the bundle inside the package
    evaluate     captions of the validation recordings beside the baselines
"""

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.files import write_text
from otoscribe.listen.captioner import BUNDLED, Captioner
from otoscribe.model.adapters.label_set import CLASSES, LabelSet, LabelSetSettings
from otoscribe.model.caption_model import CaptionModel, ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.base import load_encoder, weights_of
from otoscribe.model.encoders.yamnet import YamnetSettings
from otoscribe.model.encoders.yamnet_voice import YamnetVoiceSettings
from otoscribe.model.words.random import RandomSettings
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.export import export
from otoscribe.train.history import Epoch
from otoscribe.train.run import load_run, load_tensors, save_tensors
from otoscribe.train.settings import DataSettings, ExperimentSettings, TrainingSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, train
from recipes.bundled import calibrate, card, corpus, evaluate, examples, lexicon
from recipes.bundled.channel import Channel
from recipes.bundled.examples import Example
from recipes.bundled.label_noise import LabelNoise
from recipes.bundled.label_sets import adapter_of, fit_sets, sets_of
from recipes.bundled.learn import LabelledCaptions, fingerprint
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.recordings import class_similarity, encoder_outputs, unlabelled

NAME = "otoscribe-small-1"
MODEL = ModelSettings(
    encoder=YamnetVoiceSettings(overlap=0.5),
    adapter=LabelSetSettings(),
    words=RandomSettings(width=192, spread=0.05),
    decoder=DecoderSettings(d_model=192, heads=4, head_dim=48, ff=768, tied=True),
)
"""The model; how many label sets there are follows from the captions, the encoder's weights from its file."""
TRAINING = TrainingSettings(
    learning_rate=2e-3,
    beta2=0.98,
    batch_pairs=128,
    maximum_epochs=5,
    patience=5,
    minimum_count=5,
    warmup_steps=300,
    schedule="cosine",
    weight_decay=0.01,
    clip_norm=1.0,
    label_smoothing=0.05,
)
SEARCHES = {
    "greedy": Search(beam=1, maximum_words=20),
    "beam 4": Search(beam=4, maximum_words=20),
    "beam 4, length-normalised": Search(beam=4, length_normalisation=1.0, maximum_words=20),
    "beam 4, 5 words or more": Search(beam=4, minimum_words=5, maximum_words=20),
    "beam 4, 6 words or more": Search(beam=4, minimum_words=6, maximum_words=20),
}
SEARCH = SEARCHES["beam 4, 5 words or more"]
"""How the bundled model decodes."""


def main() -> None:
    """Run every stage that is left to do."""
    parser = argparse.ArgumentParser(description="Make the model that ships with otoscribe.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("OTOSCRIBE_DATA", "../shared/data")))
    parser.add_argument(
        "--work", type=Path, default=Path("runs/bundled"), help="folder of every stage's file"
    )
    parser.add_argument("--threads", type=int, help="processor cores; torch's choice if not given")
    arguments = parser.parse_args()
    runtime = RuntimeSettings(threads=arguments.threads)
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    Recipe(arguments.data, arguments.work, runtime).run()


class Recipe:
    """The stages, over one folder of data and one of work."""

    def __init__(self, data: Path, work: Path, runtime: RuntimeSettings) -> None:
        self.data = data
        self.work = work
        self.runtime = runtime
        self.began = time.monotonic()
        self.weights = data / "weights"
        self.classes = {mid: index for index, mid in enumerate(corpus.class_names(data))}
        work.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Run every stage that is left to do."""
        audiocaps = corpus.audiocaps(self.data, "train")
        lexis = self.lexicon(audiocaps)
        training = [
            *examples.make(audiocaps, self.classes, lexis, 0),
            *examples.make(corpus.clotho(self.data), self.classes, lexis, 1),
        ]
        held_out = examples.make(corpus.audiocaps(self.data, "val"), self.classes, lexis, 0)
        words = (example.caption for example in training)
        vocabulary = Vocabulary.from_captions(words, TRAINING.minimum_count)
        shape = LabelSetSettings(sets=len(sets_of(training)))
        adapter = LabelSet(shape, MODEL.feature_width)
        fit_sets(adapter, training)
        noise = LabelNoise(adapter, Channel(self.similarity()))
        known, unseen = (LabelledCaptions(part, vocabulary, noise) for part in (training, held_out))
        encoder = load_encoder(MODEL.encoder, self.weights)
        with_weights = MODEL.encoder.model_copy(update={"weights": weights_of(encoder)})
        settings = ExperimentSettings(
            data=DataSettings(fingerprint=fingerprint(known, unseen)),
            model=MODEL.model_copy(update={"encoder": with_weights, "adapter": shape}),
            training=TRAINING,
        )
        learned = self.learn(Experiment(settings, vocabulary, known, unseen), unseen)
        recordings = corpus.pairs(self.data)
        features = encoder_outputs(encoder, [pair.path for pair in recordings])
        labels = calibrate.labels(self.data, recordings, self.classes, lexis)
        run, model = self.assemble(learned, training, features, labels)
        unnamed = self.export(run, None)
        table = self.evaluate(unnamed, model, vocabulary, features, labels, lexis, training, held_out)
        text = card.text(
            training=known.examples,
            held_out=unseen.examples,
            recordings=recordings,
            labelled=len(labels),
            settings=settings,
            log=run / "log.csv",
            table=table,
        )
        self.ship(self.export(run, text))

    def log(self, text: str) -> None:
        """Print a line with the seconds since the start, and keep it in the work folder."""
        line = f"{time.monotonic() - self.began:6.0f} s  {text}"
        print(line, flush=True)
        with (self.work / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def lexicon(self, clips: Sequence[corpus.Clip]) -> Lexicon:
        """Fit the lexicon on AudioCaps' training captions and labels."""
        path = self.work / "lexicon.npz"
        if not path.is_file():
            targets = np.zeros((len(clips), CLASSES), dtype=np.float32)
            for row, clip in enumerate(clips):
                targets[row, [self.classes[mid] for mid in clip.mids if mid in self.classes]] = 1.0
            lexicon.fit([clip.captions[0] for clip in clips], targets, seed=0).save(path)
            self.log("lexicon: fitted")
        return Lexicon.load(path)

    def similarity(self) -> NDArray[np.float32]:
        """Measure which classes YAMNet confuses, on real recordings."""
        path = self.work / "similarity.safetensors"
        if not path.is_file():
            teacher = load_encoder(YamnetSettings(overlap=0.5, output="logits"), self.weights)
            clips = encoder_outputs(teacher, unlabelled(self.data))
            save_tensors(path, {"similarity": torch.from_numpy(class_similarity(clips))}, {})
            self.log("similarity: measured")
        similarity: NDArray[np.float32] = load_tensors(path)[0]["similarity"].numpy()
        return similarity

    def learn(self, experiment: Experiment, unseen: LabelledCaptions) -> Path:
        """Train adapter, words and decoder, and return the run's folder."""
        vocabulary = experiment.vocabulary
        self.log(f"learn: {experiment.training.pairs} captions, {len(vocabulary)} words")
        run = train(experiment, self.work / "runs", self.runtime, self.epoch)
        model = load_run(run)[0]
        for name, search in SEARCHES.items():
            clean, channel = evaluate.held_out_scores(model, unseen, vocabulary, search)
            self.log(f"held-out CIDEr-D by {name}: {clean:.3f} clean, {channel:.3f} through the channel")
        return run

    def epoch(self, epoch: Epoch) -> None:
        """Log an epoch."""
        self.log(
            f"learn: epoch {epoch.epoch}, {epoch.steps} steps: training loss {epoch.training_loss:.3f}, "
            f"held-out loss {epoch.validation_loss:.3f}"
        )

    def assemble(
        self,
        learned: Path,
        training: Sequence[Example],
        features: Sequence[Tensor],
        labels: dict[int, tuple[int, ...]],
    ) -> tuple[Path, CaptionModel]:
        """Give the learned model its label sets and its calibration, and write it as a run of its own."""
        model = load_run(learned)[0]
        fit_sets(adapter_of(model), training)
        calibrate.fit(adapter_of(model), [features[i] for i in labels], list(labels.values()))
        run = self.work / "run"
        for name in ("settings.json", "vocabulary.json", "log.csv", "done"):
            write_text(run / name, (learned / name).read_text(encoding="utf-8"))
        save_tensors(run / "model.safetensors", model.state_dict(), {"learned": learned.name})
        return run, model

    def export(self, run: Path, card: str | None) -> Path:
        """Export the run as a bundle with a card."""
        bundle = self.work / NAME
        shutil.rmtree(bundle, ignore_errors=True)
        difference = export(run, bundle, search=SEARCH, card=card, float16=True, weights=self.weights)
        self.log(f"export: log-probabilities differ by {difference:.1e}")
        return bundle

    def evaluate(
        self,
        bundle: Path,
        model: CaptionModel,
        vocabulary: Vocabulary,
        features: Sequence[Tensor],
        labels: dict[int, tuple[int, ...]],
        lexis: Lexicon,
        training: Sequence[Example],
        held_out: Sequence[Example],
    ) -> str:
        """Caption the validation recordings with the bundle, and return a table of how good that is.

        Beside it stand the baselines, and the model calibrated on other recordings than the scored ones.
        """
        recordings = corpus.pairs(self.data)
        captioner = Captioner(bundle)
        captions = [captioner.caption(pair.path).caption for pair in recordings]
        unrounded = evaluate.captions(model, vocabulary, features, SEARCH)
        same = sum(one == other for one, other in zip(captions, unrounded, strict=True))
        self.log(f"evaluate: {same} of {len(captions)} captions are those of the float32 model")
        for pair, caption in zip(recordings, captions, strict=True):
            self.log(f"{pair.path.name}: {caption} | {pair.captions[0]}")
        crossed = calibrate.crossed(
            adapter_of(model),
            features,
            labels,
            lambda clips: evaluate.captions(model, vocabulary, clips, SEARCH),
        )
        posteriors = evaluate.posteriors(adapter_of(model), features)
        first = [example for example in training if example.style == 0]
        table = evaluate.table(
            recordings,
            {
                "one constant caption": [evaluate.constant(held_out, first)] * len(recordings),
                "most central of the 30 nearest captions, classes from words": evaluate.retrieved(
                    posteriors, evaluate.spoken_of(lexis, first), first
                ),
                "most central of the 30 nearest captions, classes from labels": evaluate.retrieved(
                    posteriors, evaluate.ticked(first), first
                ),
                f"**{NAME}**": captions,
                f"{NAME}, calibrated on other clips": crossed,
            },
        )
        self.log(f"CIDEr-D\n{table}")
        return table

    def ship(self, bundle: Path) -> None:
        """Put the bundle into the package, whole or not at all."""
        size = sum(file.stat().st_size for file in bundle.iterdir()) / 1e6
        staged = BUNDLED.with_name(f".{BUNDLED.name}.new")
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(bundle, staged)
        shutil.rmtree(BUNDLED, ignore_errors=True)
        staged.rename(BUNDLED)
        self.log(f"shipped: {size:.2f} MB")


if __name__ == "__main__":
    main()
