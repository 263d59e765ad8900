"""The label sets of the training clips, with their priors: what the adapter chooses from."""

from collections import Counter
from collections.abc import Sequence

import torch

from otoscribe.model.adapters.label_set import CLASSES, NOTHING, PLACES, LabelSet
from otoscribe.model.caption_model import CaptionModel
from recipes.bundled.examples import Example


def adapter_of(model: CaptionModel) -> LabelSet:
    """Return the model's adapter, known to be a label set."""
    assert isinstance(model.adapter, LabelSet)
    return model.adapter


def sets_of(training: Sequence[Example]) -> Counter[tuple[int, ...]]:
    """Count the sets of labels that stand on the training clips which raters labelled."""
    labels = (example.labels for example in training if example.style == 0)
    return Counter(held for held in labels if 0 < len(held) <= PLACES)


def fit_sets(adapter: LabelSet, training: Sequence[Example]) -> None:
    """Set the adapter's label sets and the priors of sets and classes."""
    sets = sets_of(training)
    labels = [example.labels for example in training if example.style == 0]
    counts = Counter(label for held in labels for label in held)
    adapter.members.copy_(torch.tensor([[*held, *[NOTHING] * (PLACES - len(held))] for held in sets]))
    adapter.log_counts.copy_(torch.tensor([float(count) for count in sets.values()]).log())
    adapter.class_prior.copy_(torch.tensor([counts[label] / len(labels) for label in range(CLASSES)]) + 1e-5)
