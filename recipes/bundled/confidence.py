"""How likely a caption names a sound that is there: logistic regression on the signs of it.

Fitted on composed scenes that nothing was trained on, heard through the channel, so that it is known what is
there. That tells how the signs weigh against each other. Real sound is harder, so the scale and offset of the
log-odds are fitted on recordings, none of which is reported.
"""

import random
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from otoscribe.bundle.manifest import Signs
from otoscribe.model.adapters.evidence import Evidence
from otoscribe.model.caption_model import CaptionModel
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import Vocabulary, words_of
from recipes.bundled import evaluate
from recipes.bundled.channel import Channel
from recipes.bundled.composed import Composer
from recipes.bundled.naming import is_named

SCENES = 3_000
SEED = 1_000_003
"""Of the scenes; the epochs of a training draw theirs from other seeds."""
RIDGE = 1.0
"""Weight of the squared weights, in captions."""
BINS = 5
"""Of the reliability diagram, with as many captions each."""


def fit(
    model: CaptionModel,
    vocabulary: Vocabulary,
    composer: Composer,
    channel: Channel,
    names: Sequence[set[str]],
    search: Search,
    recordings: tuple[Evidence, Sequence[str]],
) -> Signs:
    """Fit the weights of `listen.grounded.chance`.

    Args:
        model: the captioner.
        vocabulary: its words.
        composer: composes the scenes.
        channel: lets them be heard.
        names: the words by which each class is named, see `evaluate.names_of`.
        search: how the model decodes.
        recordings: what recordings of one sound each show, and its kind, as `naming.WORDS` knows it.
    """
    draw = random.Random(SEED)
    scenes = [composer.draw(draw) for _ in range(SCENES)]
    signs, texts = _captions(model, vocabulary, channel(scenes, SEED), search)
    words = [set(words_of(text)) for text in texts]
    true = [
        any(names[label] & said for label in scene.labels) for said, scene in zip(words, scenes, strict=True)
    ]
    weights = regression(signs, np.array(true, dtype=np.float64))
    evidence, kinds = recordings
    signs, texts = _captions(model, vocabulary, evidence, search)
    named = [is_named(kind, text) for kind, text in zip(kinds, texts, strict=True)]
    log_odds = np.stack([np.ones(len(signs)), signs @ weights], axis=1)
    constant, scale = regression(log_odds, np.array(named, dtype=np.float64))
    first, *others = (scale * weights).tolist()
    return cast(Signs, tuple(round(float(weight), 4) for weight in (first + constant, *others)))


def _captions(
    model: CaptionModel, vocabulary: Vocabulary, evidence: Evidence, search: Search
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the signs of the best captions, [clips, 6], and the captions."""
    signs, texts = [], []
    for hypothesis, ground in evaluate.found(model, vocabulary, evidence, search):
        texts.append(vocabulary.decode(hypothesis.tokens))
        tokens = len(hypothesis.token_log_probabilities)
        signs.append(ground.signs(words_of(texts[-1]), hypothesis.log_probability / tokens))
    return np.array(signs), texts


def regression(signs: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of a logistic regression of what is true, 1 or 0, on signs, the first of them 1."""
    x, y = torch.from_numpy(signs), torch.from_numpy(true)
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        wrong = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights, y, reduction="sum")
        total = wrong + RIDGE * weights[1:].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy()


def reliability(confidences: Sequence[float], true: Sequence[bool]) -> str:
    """Return the reliability diagram as a table, and below it the expected calibration error."""
    order = np.argsort(confidences, kind="stable")
    rows, error = [], 0.0
    for part in np.array_split(order, BINS):
        told, was = np.array(confidences)[part], np.array(true)[part]
        rows.append(
            f"| {told.min():.2f} to {told.max():.2f} | {len(part)} | {told.mean():.2f} | {was.mean():.2f} |"
        )
        error += len(part) / len(order) * abs(told.mean() - was.mean())
    head = "| confidence | captions | mean | named |\n|---|---|---|---|"
    return "\n".join([head, *rows, "", f"Expected calibration error: {error:.3f}."])
