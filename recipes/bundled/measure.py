"""What an encoder shows of real recordings, measured once: the adapter's buffers and the channel's numbers.

Background and correlations need no label of any recording. How much a class that is not there is raised by
one that is, and how strong labels that hold are, needs the few recordings that raters labelled, none of
which is reported. All are means over classes: no class has a number of its own that was fitted to labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.model.adapters.evidence import CLASSES, LIMIT, evidence_of
from otoscribe.train.run import load_tensors, save_tensors

HIGH = 80.0
"""Percentile of a class's strength over recordings that the adapter holds against it."""
ROUNDS = 5
"""Of the fit in which each class is explained by that label which raises it most."""
LEAST_ELEVATION = 0.5
"""Nats that a label which holds is taken to stand out by at least: less raises nothing."""
RAREST = 1e-5
"""Probability at which two labels count as never together."""


@dataclass(frozen=True)
class Measured:
    """Numbers of the adapter and the channel, float32."""

    background: Tensor
    """Median strength of each class, [521]."""
    high: Tensor
    """Its 80th percentile, [521]."""
    alike: Tensor
    """Share of class d's elevation that class c shows where only d is there, [d, c]."""
    correlation: Tensor
    """Of the classes' logits over frames, [521, 521]."""
    spoken: Tensor
    """Mean and standard deviation of the strength of labels that captions speak of, [2]."""
    unspoken: Tensor
    """The same of labels that raters ticked and captions leave out, [2]."""

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        save_tensors(path, asdict(self), {})

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """Read what `save` wrote."""
        return cls(**load_tensors(path)[0])


def buffers_of(measured: Measured, given: NDArray[np.float64]) -> dict[str, Tensor]:
    """Return the adapter's buffers by name.

    What raises a class explains it, and so does what raters tick beside it. Steps of 1/127 are stored in 8
    bits.
    """
    explains = torch.maximum(measured.alike, torch.from_numpy(given).float())
    return {
        "background": measured.background,
        "high": measured.high,
        "explains": (explains * 127.0).round() / 127.0,
    }


def strengths(features: Sequence[Tensor]) -> Tensor:
    """Return the strength of every class in clips of features [frames, 524], [clips, 521]."""
    return torch.cat(
        [evidence_of(clip[None], torch.ones(1, len(clip), dtype=torch.bool)).strength for clip in features]
    )


def measure(
    unlabelled: Sequence[Tensor],
    labelled: Mapping[int, tuple[frozenset[int], frozenset[int]]],
    directions: Tensor,
    given: NDArray[np.float64],
) -> Measured:
    """Measure background, correlations and what labels that hold raise.

    Args:
        unlabelled: encoder's outputs of recordings, [frames, 524].
        labelled: of some of them, by index, the labels that hold, and those of them that captions speak of.
        directions: the encoder's classifier, [521, width].
        given: P(c | d), [d, c].
    """
    strength = strengths(unlabelled)
    background = strength.median(0).values
    high = torch.from_numpy(np.percentile(strength.numpy(), HIGH, axis=0)).float()
    frames = torch.cat([clip[:, :CLASSES] for clip in unlabelled]).clamp(-LIMIT, LIMIT)
    correlation = np.corrcoef(frames.numpy().T)
    cues = _cues(directions.double().numpy(), correlation, given)
    elevation = {index: (strength[index] - background).numpy() for index in labelled}
    held = {index: np.array(sorted(labels)) for index, (labels, _) in labelled.items() if labels}
    alike = np.clip(cues @ _weights(cues, elevation, held), 0.0, 1.0)
    np.fill_diagonal(alike, 1.0)
    of_spoken = torch.cat([strength[i, sorted(spoken)] for i, (_, spoken) in labelled.items()])
    of_others = torch.cat([strength[i, sorted(labels - spoken)] for i, (labels, spoken) in labelled.items()])
    return Measured(
        background=background,
        high=high,
        alike=torch.from_numpy(alike).float(),
        correlation=torch.from_numpy(correlation).float(),
        spoken=_mean_spread(of_spoken),
        # Without captions, nobody left any label out.
        unspoken=_mean_spread(of_others if len(of_others) else of_spoken),
    )


def _cues(
    directions: NDArray[np.float64], correlation: NDArray[np.float64], given: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what may tell that class d raises class c, [d, c, 6]: three likenesses and their squares."""
    centred = directions - directions.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    together = 1.0 - np.log(np.maximum(given, RAREST)) / np.log(RAREST)
    likeness = [unit @ unit.T, correlation, together]
    return np.stack([cue**power for cue in likeness for power in (1, 2)], axis=-1)


def _weights(
    cues: NDArray[np.float64],
    elevation: Mapping[int, NDArray[np.float32]],
    held: Mapping[int, NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Fit the elevation of classes that do not hold to that of the label explaining it, by least squares."""
    weights = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(ROUNDS):
        inputs, targets = [], []
        for index, labels in held.items():
            raised = np.maximum(elevation[index][labels], LEAST_ELEVATION)
            others = np.setdiff1d(np.arange(CLASSES), labels)
            by = ((cues[labels] @ weights) * raised[:, None]).argmax(axis=0)[others]
            inputs.append(cues[labels[by], others] * raised[by, None])
            targets.append(elevation[index][others])
        weights = np.linalg.lstsq(np.concatenate(inputs), np.concatenate(targets), rcond=None)[0]
    return weights


def _mean_spread(values: Tensor) -> Tensor:
    return torch.stack([values.mean(), values.std()])
