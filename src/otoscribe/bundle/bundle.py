"""An exported model on disk: a folder that is verified when it is opened.

    manifest.json    what the model is, how it decodes, and the size and SHA-256 of what decides a caption
    encoder.onnx     waveforms, or pieces of one → the encoder's frames
    adapter.onnx     all frames → keys and values of every decoder block's cross-attention
    step.onnx        one decoder step with key/value cache → log-probabilities
    vocabulary.json  the words, in the order of their ids
    README.md        the card: data, licences, measured quality

Checksums show damage, not who made the files: open bundles only from people you trust.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otoscribe.audio.waveform import Waveform
from otoscribe.bundle.graphs import ADAPT, ENCODE, STEP, Cache
from otoscribe.bundle.manifest import AGAIN, CARD, FILES, Manifest, read_manifest, read_verified, text_of
from otoscribe.bundle.session import Session
from otoscribe.errors import BundleError, UsageError, unknown_name
from otoscribe.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class EncodedClip:
    """A clip as the decoder attends to it."""

    seconds: float
    """Duration."""
    keys: NDArray[np.float32]
    """[layers, places, heads, head_dim]."""
    values: NDArray[np.float32]
    """As the keys."""
    sources: NDArray[np.float32] | None
    """[places, frames]: which frames of the encoder each place comes from; None: a frame each, in order."""
    support: NDArray[np.float32] | None = None
    """[classes]: how far each class of the phrase book is heard, below 0 where it is not; None: not known."""
    salience: NDArray[np.float32] | None = None
    """[sounds, classes]: how much a caption should name each of the sounds with most evidence, at every class
    by whose words it is named, else 0; None where support is."""

    @property
    def places(self) -> int:
        """How many places can be attended to."""
        return int(self.keys.shape[1])


@dataclass(frozen=True)
class Bundle:
    """A verified model, ready to run."""

    manifest: Manifest
    vocabulary: Vocabulary
    card: str
    """Empty if the folder has none."""
    encoder: Session
    adapter: Session
    stepper: Session

    @classmethod
    def open(cls, path: str | bytes | os.PathLike[str], threads: int | None = None) -> "Bundle":
        """Verify and load a bundle.

        Args:
            path: the bundle's folder.
            threads: how many CPU cores to use, all that this process may use if None.

        Raises:
            BundleError: the folder is not a bundle of this format, or one of its files is missing, changed
                since the export, or does not fit the others.
            UsageError: `threads` is out of range, see `session.THREADS`.
        """
        if not os.fspath(path):
            raise BundleError("An empty model name was given; name the folder of a model.")
        folder = Path(os.fsdecode(path))
        manifest = read_manifest(folder)
        contents = {name: read_verified(folder, name, manifest.files[name]) for name in FILES}
        vocabulary = Vocabulary.from_json(text_of(folder / "vocabulary.json", contents["vocabulary.json"]))
        graphs = {"encoder.onnx": ENCODE, "adapter.onnx": ADAPT, "step.onnx": STEP}
        encoder, adapter, stepper = (
            Session(folder / name, contents[name], graph, threads) for name, graph in graphs.items()
        )
        sizes: dict[str, tuple[int, str]] = {}
        for name, session in zip(graphs, (encoder, adapter, stepper), strict=True):
            for axis, size in session.sizes.items():
                known, other = sizes.setdefault(axis, (size, name))
                if known != size:
                    raise BundleError(
                        f"The graphs in {folder} are of different models: {other} has {axis} of {known}, "
                        f"{name} of {size}. {AGAIN}"
                    )
        if stepper.sizes["vocabulary"] != len(vocabulary):
            raise BundleError(
                f"{folder / 'step.onnx'} chooses among {stepper.sizes['vocabulary']} words, but "
                f"vocabulary.json has {len(vocabulary)}. {AGAIN}"
            )
        card = folder / CARD
        # People edit the card, and no caption depends on it.
        text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
        return cls(manifest, vocabulary, text, encoder, adapter, stepper)

    def check_style(self, style: str | None) -> None:
        """Raise `UsageError` unless the model knows a style, or none is asked for."""
        styles = self.manifest.styles
        if style is None or style in styles:
            return
        if not styles:
            raise UsageError(f"The model {self.manifest.name} has one way of writing only; name no style.")
        raise unknown_name("style", style, styles)

    def listen(self, waveforms: Sequence[Waveform], style: str | None = None) -> list[EncodedClip]:
        """Encode equally long clips, all at once.

        Args:
            waveforms: each float32 [samples], mono, at `manifest.sample_rate`, in [-1, 1].
            style: how to write, one of `manifest.styles`; the model's first if None.

        Raises:
            BundleError: a graph does not run, as it happens when memory runs out, or gives no places.
            UsageError: the model knows no such style.
        """
        self.check_style(style)
        seconds = len(waveforms[0]) / self.manifest.sample_rate
        return self.adapt(self.encode(waveforms), seconds, style)

    def encode(self, waveforms: Sequence[Waveform]) -> NDArray[np.float32]:
        """Return the encoder's frames of equally long clips, or pieces, [clips, frames, width].

        Raises:
            BundleError: the graph does not run, as it happens when memory runs out.
        """
        features: NDArray[np.float32] = self.encoder.run({"waveforms": np.stack(waveforms)})["features"]
        return features

    def adapt(
        self, features: NDArray[np.float32], seconds: float, style: str | None = None
    ) -> list[EncodedClip]:
        """Make of all frames of equally long clips what the decoder attends to.

        Args:
            features: from `encode`, [clips, frames, width]; of pieces, joined.
            seconds: duration of the clips.
            style: as for `listen`.

        Raises:
            BundleError: the graph does not run, as it happens when memory runs out, or gives no places.
            UsageError: the model knows no such style.
        """
        self.check_style(style)
        styles = self.manifest.styles
        found = self.adapter.run({"features": features})
        keys, values, mask = found["memory_keys"], found["memory_values"], found["memory_mask"]
        sources, support, salience = (found.get(name) for name in ("sources", "support", "salience"))
        if keys.shape != values.shape or mask.shape != keys.shape[1:3] or not mask.any(axis=1).all():
            raise BundleError(f"The model's adapter.onnx gave a memory of the shape {keys.shape}. {AGAIN}")
        if style is not None:
            mask = mask.copy()
            mask[:, : len(styles)] = np.array(styles) == style
        return [
            EncodedClip(
                seconds=seconds,
                keys=keys[:, clip, mask[clip]],
                values=values[:, clip, mask[clip]],
                sources=None if sources is None else sources[clip, mask[clip]],
                support=None if support is None else support[clip],
                salience=None if salience is None else salience[clip],
            )
            for clip in range(len(features))
        ]

    def cache(self, clips: Sequence[EncodedClip]) -> Cache[NDArray[np.generic]]:
        """Return the decoder's cache before any word, one row per clip, shorter memories filled up with 0."""
        sizes = self.stepper.sizes
        layers, heads, head_dim = sizes["layers"], sizes["heads"], sizes["head_dim"]
        empty = (np.zeros((len(clips), 1, heads, 0, head_dim), np.float32),) * layers
        places = np.array([clip.places for clip in clips])
        mask = np.arange(places.max()) < places[:, None]  # [clips, places]
        keys = np.zeros((layers, len(clips), heads, head_dim, places.max()), np.float32)
        values = np.zeros((layers, len(clips), heads, places.max(), head_dim), np.float32)
        for row, clip in enumerate(clips):
            keys[:, row, ..., : clip.places] = clip.keys.transpose(0, 2, 3, 1)
            values[:, row, :, : clip.places] = clip.values.transpose(0, 2, 1, 3)
        return Cache(empty, empty, tuple(keys), tuple(values), mask)
