"""YAMNet with half overlap: a minute of sound to embeddings and scores, 124 patches.

Ours is the exported encoder as the listening half runs it, in pieces; TensorFlow takes the minute at once.
The two TensorFlow Lite networks, Google's in 8 bits and a twin in 32, take a patch at a time, because the
published one can do nothing else. The sound is that of the test material's recordings.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from bench.compare import Peer, Result, Work, compare, cores
from bench.yamnet_tensorflow import TensorflowYamnet, function, limit, lite
from checks.material import DATA
from otoscribe.audio.pieces import pieces
from otoscribe.audio.reading import load
from otoscribe.bundle.graphs import Graph, Port
from otoscribe.bundle.session import Session
from otoscribe.model.encoders.base import Encoder, load_encoder
from otoscribe.model.encoders.yamnet import FRONT_END, Yamnet, YamnetSettings
from otoscribe.train.export import _graph

PATCHES = 124
TARGET = 1.5
FLOAT = 1e-3
"""Largest difference of scores in 32 bits from ours."""
EIGHT_BITS = 0.99
"""Least correlation of scores in 8 bits with ours."""
ENCODER = Graph(
    inputs=(Port("waveforms", "float", ("clips", "samples")),),
    outputs=(
        Port("embeddings", "float", ("clips", "frames", "width")),
        Port("scores", "float", ("clips", "frames", "classes")),
    ),
)

Waveform = NDArray[np.float32]


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure with so many threads."""
    weights = DATA / "weights"
    if not (weights / "yamnet.tflite").is_file():
        sys.exit(f"There are no weights at {weights}; set OTOSCRIBE_DATA to the folder of the test material.")
    torch.set_num_threads(threads)
    limit(threads)
    encoder = load_encoder(YamnetSettings(overlap=0.5), weights)
    assert isinstance(encoder, Yamnet)
    windows = FRONT_END.windows(0.5)
    waveform = sound(windows.length + (PATCHES - 1) * windows.hop)
    patches = np.lib.stride_tricks.sliding_window_view(waveform, windows.length)[:: windows.hop]
    network = TensorflowYamnet(encoder)
    compiled = function(network)
    session = exported(encoder, threads)
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder) / "yamnet.tflite"
        twin.write_bytes(lite(network, windows.length))
        ways: dict[str, Callable[[], NDArray[np.float32]]] = {
            "TensorFlow Lite, 8 bits": by_patch(weights / "yamnet.tflite", patches, threads),
            "TensorFlow Lite, 32 bits": by_patch(twin, patches, threads),
            "TensorFlow": lambda: compiled(waveform)[1].numpy(),
        }

        def ours() -> NDArray[np.float32]:
            parts = pieces(iter([waveform[:, None]]), encoder.receptive_field, FRONT_END.sample_rate)
            return np.concatenate(
                [session.run({"waveforms": part.samples.T})["scores"][0, part.kept] for part in parts]
            )

        def check() -> None:
            scores = ours()
            assert scores.shape == (PATCHES, 521)
            for name, run in ways.items():
                if name.endswith("8 bits"):
                    alike = np.corrcoef(run().ravel(), scores.ravel())[0, 1]
                    assert alike > EIGHT_BITS, f"the scores in 8 bits correlate by {alike}"
                else:
                    np.testing.assert_allclose(run(), scores, atol=FLOAT, err_msg=name)

        yield from compare(
            Work(
                name="YAMNet of a minute",
                setting=f"half overlap, {cores(threads)}",
                ours=lambda part: ours(),
                peers=[Peer(name, lambda part, run=run: run(), TARGET) for name, run in ways.items()],  # type: ignore[misc]
                check=check,
                rounds=3 if quick else 9,
            )
        )


def sound(samples: int) -> Waveform:
    """Return so many samples of the test material's recordings, one after the other."""
    parts: list[Waveform] = []
    for path in sorted((DATA / "pairs").glob("*/*.flac")):
        parts.append(load(path, FRONT_END.sample_rate).waveform)
        if sum(map(len, parts)) >= samples:
            break
    return np.concatenate(parts)[:samples]


def exported(encoder: Encoder, threads: int) -> Session:
    """Return the encoder alone, exported as a model's encoder.onnx is."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
            outputs = self.encoder(waveforms)
            return outputs["embeddings"], outputs["scores"]

    example = torch.zeros(2, 4 * encoder.spec.sample_rate)
    dims: dict[str, Any] = {"samples": Dim.AUTO, "clips": Dim.DYNAMIC}
    graph = _graph(Both(), (example,), ENCODER, dims)
    return Session(Path("yamnet.onnx"), graph.SerializeToString(), ENCODER, threads)


def by_patch(path: Path, patches: Waveform, threads: int) -> Callable[[], NDArray[np.float32]]:
    """Return what runs a TensorFlow Lite network on patch after patch, and gives all scores."""
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    given = next(port for port in interpreter.get_output_details() if port["shape"][-1] == 521)

    def run() -> NDArray[np.float32]:
        scores = []
        for patch in patches:
            interpreter.set_tensor(taken["index"], patch.reshape(taken["shape"]))
            interpreter.invoke()
            scores.append(interpreter.get_tensor(given["index"]).reshape(-1))
        return np.stack(scores)

    return run
