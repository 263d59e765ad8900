"""A trained run → a bundle: two ONNX graphs, shown to equal the torch model before the bundle exists."""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

from otoscribe.bundle.bundle import Bundle, write_manifest
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.errors import RunError
from otoscribe.files import write_text
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import ENCODERS
from otoscribe.search.beam import Search
from otoscribe.text.vocabulary import START
from otoscribe.train.run import RunSettings, load_run
from otoscribe.version import __version__

TOLERANCE = 1e-4
"""Largest difference of natural log-probabilities between torch and ONNX."""

EXACT = 4e-7
"""Relative difference that two ways of rounding to float32 may make."""

_FRAMES = ("", "frames", "", "")
_LISTEN_AXES = {"waveform": ("samples",), "memory_keys": _FRAMES, "memory_values": _FRAMES}
_STEP_AXES = {
    "tokens": ("clips", "beam"),
    "keys": ("", "clips", "beam", "", "time", ""),
    "values": ("", "clips", "beam", "", "time", ""),
    "memory_keys": ("", "clips", "frames", "", ""),
    "memory_values": ("", "clips", "frames", "", ""),
    "memory_mask": ("clips", "frames"),
    "log_probabilities": ("clips", "beam", ""),
    "next_keys": ("", "clips", "beam", "", "time + 1", ""),
    "next_values": ("", "clips", "beam", "", "time + 1", ""),
}
"""Names of the graphs' axes, inputs first; "" where the size is fixed."""


class Listener(nn.Module):
    """listen.onnx: waveform [samples] → memory keys and values [blocks, frames, heads, head_dim]."""

    def __init__(self, model: CaptionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the decoder attends to, without frames that the adapter itself masks."""
        keys, values, mask = self.model.remember(self.model.encode(waveform)[None], None)
        if mask is None:
            return keys[:, 0], values[:, 0]
        return keys[:, 0, mask[0]], values[:, 0, mask[0]]


class Step(nn.Module):
    """step.onnx: `CaptionModel.step` as a module of its own."""

    def __init__(self, model: CaptionModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: Tensor,
        keys: Tensor,
        values: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities and the longer cache."""
        return self.model.step(tokens, keys, values, memory_keys, memory_values, memory_mask)


def export(
    run: Path,
    bundle: Path,
    *,
    search: Search | None = None,
    card: str | None = None,
    float16: bool = False,
) -> float:
    """Write a run's best model as a bundle that the listening half can open.

    Args:
        run: folder of a training run that holds its encoder's weights.
        bundle: folder to create; its name becomes the model's name.
        search: how the model decodes unless asked otherwise.
        card: text of card.md; None writes what the run knows about itself.
        float16: round the weights to 16 bits and store them so, or in 8 where that loses nothing, as with
            weights from an 8-bit network; computation stays in float32.

    Returns:
        The largest difference found between the log-probabilities of torch and of the graphs, at most
        `TOLERANCE`.

    Raises:
        RunError: the run is incomplete or damaged, the bundle exists, or its graphs differ from the model.
    """
    if bundle.exists():
        raise RunError(f"{bundle} exists already. Delete it, or choose another name.")
    model, vocabulary, settings = load_run(run)
    if model.encoder is None:
        raise RunError(
            f"The run {run} holds no encoder, so it cannot listen. Train it with the encoder's weights."
        )
    if float16:
        _round(model)
    rate = model.encoder.spec.front_end.sample_rate
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=f".{bundle.name}.") as temporary:
        folder = Path(temporary) / bundle.name
        folder.mkdir()
        write_text(folder / "vocabulary.json", vocabulary.to_json())
        write_text(folder / "card.md", card if card is not None else _card(bundle.name, settings))
        onnx.save(_listen_graph(model, rate), folder / "listen.onnx")
        onnx.save(_step_graph(model), folder / "step.onnx")
        write_manifest(
            folder,
            name=bundle.name,
            version=__version__,
            sample_rate=rate,
            minimum_seconds=0.0,
            search=search or Search(),
            settings=settings.model_dump(mode="json"),
        )
        difference = largest_difference(model, Bundle.open(folder))
        if not difference <= TOLERANCE:
            raise RunError(
                f"The exported graphs differ from the model by {difference:.1e} in log-probability, over "
                f"{TOLERANCE:.0e}, so no bundle was written. Please report this with the run's settings.json."
            )
        folder.rename(bundle)
    return difference


def largest_difference(model: CaptionModel, bundle: Bundle) -> float:
    """Compare log-probabilities word by word, as the bundle decodes, with the model's on whole captions.

    Two noises of different lengths are captioned together, so that padding is part of the comparison, by
    two beams of arbitrary words each.
    """
    rate = bundle.manifest.sample_rate
    noise = np.random.default_rng(0)
    waveforms = [(0.1 * noise.standard_normal(rate * seconds)).astype(np.float32) for seconds in (4, 1)]
    words = noise.integers(0, len(bundle.vocabulary), (2, 2, 12))
    words[..., 0] = START
    stepper = OnnxStepper(bundle, [bundle.listen(waveform) for waveform in waveforms])
    state = stepper.reorder(stepper.start(), np.array([[0, 0], [1, 1]]))
    largest = 0.0
    decoded = []
    for time in range(words.shape[-1]):
        log_probabilities, state = stepper.step(state, words[..., time])
        decoded.append(log_probabilities)
    for clip, waveform in enumerate(waveforms):
        with torch.inference_mode():
            features = model.encode(torch.from_numpy(waveform))[None]
            tokens = torch.from_numpy(words[clip])
            expected = model.log_probabilities(features, None, tokens, torch.zeros(2, dtype=torch.int64))
        found = np.stack([step[clip] for step in decoded], axis=1)
        # Not a number, on either side, must come out as too large.
        largest = max(largest, float(np.nan_to_num(np.abs(found - expected.numpy()).max(), nan=np.inf)))
    return largest


def _round(model: nn.Module) -> None:
    # Rounded before the graphs are made, so that storing 16 bits loses nothing and torch can be compared.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and _in_8_bits(parameter.numpy()) is None:
                parameter.copy_(parameter.half().float())


def _listen_graph(model: CaptionModel, sample_rate: int) -> onnx.ModelProto:
    # Several seconds, as torch takes a dimension that is 1 while tracing for one that is always 1.
    waveform = torch.zeros(4 * sample_rate)
    return _graph(Listener(model), (waveform,), ({0: Dim.AUTO},), _LISTEN_AXES)


def _step_graph(model: CaptionModel) -> onnx.ModelProto:
    shape = model.decoder.settings
    clips, beam, time, frames = 2, 3, 5, 7
    cache = torch.zeros(shape.blocks, clips, beam, shape.heads, time, shape.head_dim)
    memory = torch.zeros(shape.blocks, clips, frames, shape.heads, shape.head_dim)
    example = (
        torch.zeros(clips, beam, dtype=torch.int64),
        cache,
        cache.clone(),  # the exporter takes one tensor given twice for one input
        memory,
        memory.clone(),
        torch.ones(clips, frames, dtype=torch.bool),
    )
    dims = {name: Dim(name) for name in ("clips", "beam", "time", "frames")}
    inputs = list(_STEP_AXES.values())[: len(example)]
    dynamic = tuple({place: dims[axis] for place, axis in enumerate(axes) if axis} for axes in inputs)
    return _graph(Step(model), example, dynamic, _STEP_AXES)


def _graph(
    module: nn.Module,
    example: tuple[Tensor, ...],
    dynamic: tuple[dict[int, Any], ...],
    axes: Mapping[str, Sequence[str]],
) -> onnx.ModelProto:
    names = list(axes)
    with _quiet_exporter():
        program = torch.onnx.export(
            torch.export.export(module.eval(), example, dynamic_shapes=dynamic),
            input_names=names[: len(example)],
            output_names=names[len(example) :],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    graph: onnx.ModelProto = program.model_proto
    _clean(graph, axes)
    _store_in_few_bits(graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says about its own innards and about torchvision, which is not used."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _clean(model: onnx.ModelProto, axes: Mapping[str, Sequence[str]]) -> None:
    """Name the axes, and drop the traces of source code that the exporter leaves on every node."""
    graph = model.graph
    for value in (*graph.input, *graph.output):
        for dimension, axis in zip(value.type.tensor_type.shape.dim, axes[value.name], strict=True):
            if axis:
                dimension.dim_param = axis
    del graph.value_info[:]
    del model.metadata_props[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


def _store_in_few_bits(model: onnx.ModelProto) -> None:
    """Store every matrix that 8 or 16 bits hold exactly in that many bits; a loaded graph has float32.

    So matrices that were rounded before take half the bytes, those of an 8-bit network a quarter, and nothing
    else changes. (Plain casts and products: ONNX Runtime folds them while loading, unlike DequantizeLinear.)
    """
    graph = model.graph
    nodes = []
    for initializer in list(graph.initializer):
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        name = initializer.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (eighth := _in_8_bits(values)) is not None:
            codes, scale = eighth
            initializer.CopyFrom(numpy_helper.from_array(codes, f"{name}.int8"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
            nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.codes"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}.codes", f"{name}.scale"], [name]))
        elif np.array_equal(half.astype(np.float32), values):
            initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
            nodes.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _in_8_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Write values as int8 codes times a scale per channel, first or last axis, or one scale for all.

    Returns:
        Codes of the values' shape, and scales that broadcast to it; None if that would change a value by more
        than float32's own rounding, or take no less room than 16 bits.
    """
    everything = tuple(range(values.ndim))
    for kept in (0, values.ndim - 1, None):
        others = tuple(axis for axis in everything if axis != kept)
        scale = np.abs(values).max(axis=others, keepdims=True) / np.float32(127.0)
        codes = np.rint(values / np.where(scale > 0.0, scale, 1.0)).astype(np.int8)
        # Anything is exact with a scale for every value.
        smaller = codes.nbytes + scale.nbytes < values.nbytes // 2
        if smaller and np.allclose(codes * scale, values, rtol=EXACT, atol=0.0):
            return codes, scale
    return None


def _card(name: str, settings: RunSettings) -> str:
    spec = ENCODERS[settings.model.encoder.name].spec
    return (
        f"# {name}\n\n"
        f"An audio captioning model exported by otoscribe {__version__}.\n\n"
        f"- Encoder: {spec.name} ({spec.paper}; licence {spec.licence})\n"
        f"- Settings of model and training: in manifest.json and below\n\n"
        f"```json\n{settings.model_dump_json(indent=2)}\n```\n"
    )
