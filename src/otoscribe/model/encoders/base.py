"""Pretrained audio encoders: waveforms → one embedding every half or whole second.

One file is one encoder. At its top, an `EncoderSpec` says where it and its weights come from.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from otoscribe import files
from otoscribe.audio.pieces import ReceptiveField
from otoscribe.errors import UsageError, WeightsError
from otoscribe.fetch.assets import FOR_TRAINING, FileSet
from otoscribe.fetch.published import PublishedFile
from otoscribe.model.weights.formula import formula_state
from otoscribe.registry import Registry, guarded
from otoscribe.settings import Frozen

FORMULA = "formula"
"""Weights made by a formula instead of by training: for tests, where the real ones cannot be had."""


class EncoderSettings(Frozen):
    """Which encoder hears, and what of it the adapter gets; an encoder may add settings of its own."""

    name: str
    """Name of the encoder."""
    overlap: float = 0.0
    """Share of the audio under one embedding that the next one hears again, 0 or 0.5."""
    output: str = "embeddings"
    """Which of the encoder's outputs the adapter gets."""
    weights: str | None = Field(default=None, pattern=r"^(sha256:[0-9a-f]{64}|formula)$")
    """Which weights it has: `sha256:...` of their values (see `weights_of`), or `formula`. None: those that
    are found, whose hash then becomes part of a run's settings."""
    tuned: bool = False
    """Whether its weights are trained along with the model, from these on; else they stay as they are."""

    @field_validator("overlap")
    @classmethod
    def _possible(cls, overlap: float) -> float:
        if overlap not in (0.0, 0.5):
            raise ValueError(f"overlap is 0.0 or 0.5, not {overlap}")
        return overlap


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Where an encoder comes from and what it gives."""

    name: str
    paper: str = "not stated"
    licence: str = "not stated"
    """Of the weights."""
    sample_rate: int
    """Hz, of the waveforms it takes."""
    outputs: Mapping[str, int]
    """Width of every output, by name."""
    version: int = 1
    """Raised whenever the same weights, settings and waveform would give other outputs, so that none stored
    before is reused."""
    files: tuple[tuple[PublishedFile, ...], ...] = ((),)
    """Each entry is one way to have the weights: all files that it needs."""


class Encoder(nn.Module, ABC):
    """Interface of every encoder: the same for each clip whatever its batch.

    A new encoder has random weights; `load_encoder` gives the pretrained ones. Gradients reach all of them,
    so nothing is changed in place or computed without gradients. What an encoder of no files draws for its
    weights when it is made, `load_encoder` lets it draw the same every time.

    Args:
        settings: of this encoder.
    """

    spec: ClassVar[EncoderSpec]
    """The class's own; of an encoder that can be several networks, also each object's, see `spec_of`."""
    Settings: ClassVar[type[EncoderSettings]] = EncoderSettings
    """What can be set; every field but `name` has a default, unless it says which network is meant."""

    receptive_field: ReceptiveField | None = None
    """How far a frame of `local_features` sees, by which a long recording is encoded in pieces; None where
    frames depend on all of a clip, which is then encoded whole."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        self.settings = settings

    @classmethod
    def spec_of(cls, settings: EncoderSettings) -> EncoderSpec:
        """Return the spec of the encoder that these settings mean, without making it."""
        return cls.spec

    @abstractmethod
    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Encode equally long clips.

        Args:
            waveforms: float32 [clips, samples], mono at `spec.sample_rate`, in [-1, 1].

        Returns:
            Every output of `spec.outputs`, float32 [clips, frames, width]; frames = len(times(samples)).
        """

    @abstractmethod
    def times(self, samples: int) -> list[tuple[float, float]]:
        """Return which part of a clip of `samples` samples each embedding hears, in seconds; one at least."""

    def state_of(self, files: Mapping[str, Path]) -> dict[str, Tensor]:
        """Read published weights into this module's state; without files, it stays as it was made.

        Args:
            files: the paths of one entry of `spec.files`, by name.

        Raises:
            WeightsError: a file is damaged or holds another network.
        """
        if files:
            raise NotImplementedError("its spec names files, and it has no state_of that reads them")
        return dict(self.state_dict())

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        first = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    def features(self, waveforms: Tensor) -> Tensor:
        """Return the output that the settings choose, float32 [clips, frames, width]."""
        return self.finish(self.local_features(waveforms))

    def local_features(self, waveforms: Tensor) -> Tensor:
        """Return what of `features` follows from the surroundings of each frame alone.

        That is all, unless an encoder says otherwise here and in `finish`.

        Args:
            waveforms: float32 [clips, samples]; clips, or pieces of them as `audio.pieces` cuts them.

        Returns:
            float32 [clips, frames, any width].
        """
        return self(waveforms)[self.settings.output]  # type: ignore[no-any-return]

    def finish(self, local_features: Tensor) -> Tensor:
        """Make `features` of the local ones of whole clips."""
        return local_features


ENCODERS: Registry[Encoder] = Registry("encoder", Encoder, __package__)


def weights_folder(name: str) -> Path:
    """Return where `otoscribe get NAME` puts the weights of an encoder."""
    return files.cache_folder() / "encoders" / name


def weights_asset(name: str, spec: EncoderSpec) -> FileSet:
    """Return what `otoscribe get NAME` gets.

    Args:
        name: of the encoder, as it is typed.
        spec: the encoder's.

    Raises:
        UsageError: no files are published.
    """
    if not any(spec.files):
        raise UsageError(f"The encoder {name!r} has no published weights to get.")
    sizes = [file.bytes for file in spec.files[0]]
    size = None if None in sizes else sum(size or 0 for size in sizes)
    return FileSet(name, FOR_TRAINING["encoders"], spec.licence, size, weights_folder(spec.name), spec.files)


def weights_of(module: nn.Module) -> str:
    """Return `sha256:` and the hash of a module's weights: of their names, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def load_encoder(settings: EncoderSettings, folder: Path | None = None) -> Encoder:
    """Return an encoder with its pretrained weights, in evaluation mode, and frozen unless it is to be tuned.

    Args:
        settings: of the encoder; if they name weights, only those will do.
        folder: holds the weights under their published names; where `otoscribe get` puts them if None, and
            then only published files are read.

    Raises:
        WeightsError: the weights are not there, damaged, or others than the settings name.
        UsageError: there is no such encoder.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ENCODERS.build(settings.name, settings)
    if settings.weights == FORMULA:
        state = formula_state(encoder)
    else:
        found_files = _found(encoder.spec, folder)
        state = guarded("encoder", settings.name, lambda: encoder.state_of(found_files))
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"The weights found for {settings.name} are of another network. Download them again."
        ) from error
    if settings.weights not in (None, FORMULA) and settings.weights != (found := weights_of(encoder)):
        remedy = "Name the folder of the right ones (--weights FOLDER)."
        if not any(encoder.spec.files):
            remedy = "It makes or finds them itself: bring back what changed there, or train again."
        raise WeightsError(
            f"The weights found for {settings.name} are not those that the settings name: they are {found}, "
            f"not {settings.weights}. {remedy}"
        )
    return encoder.eval().requires_grad_(settings.tuned)


def described(encoder: Encoder) -> dict[str, Any]:
    """Return everything that decides what an encoder makes of a waveform, as JSON can hold it."""
    return {
        **encoder.settings.model_dump(mode="json", exclude={"tuned"}),
        "version": encoder.spec.version,
        "weights": weights_of(encoder),
    }


def _found(spec: EncoderSpec, folder: Path | None) -> dict[str, Path]:
    """Return the files of the first entry of `spec.files` that are all in the folder."""
    where = weights_folder(spec.name) if folder is None else folder
    for entry in spec.files:
        if not all((where / file.name).is_file() for file in entry):
            continue
        for file in entry:
            # Of a folder that somebody named, weights of their own in the same layout will do as well; they
            # are told from a damaged download by their size, where that is known.
            alike = folder is None or (file.bytes is not None and file.is_in(where))
            if alike and not file.is_whole_in(where):
                raise WeightsError(
                    f"{where / file.name} is damaged: its checksum is not {file.checksum}. Download it again."
                )
        return {file.name: where / file.name for file in entry}
    names = " or ".join(" and ".join(file.name for file in entry) for entry in spec.files)
    raise WeightsError(
        f"The weights of {spec.name} are not in {where}. Type: otoscribe get {spec.name}, or name a folder "
        f"that holds {names} (--weights FOLDER)."
    )
