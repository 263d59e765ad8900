"""A trained run → a bundle: three ONNX graphs, shown to equal the torch model before the bundle exists."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from otoscribe.bundle.bundle import Bundle
from otoscribe.bundle.graphs import ADAPT, ENCODE, FIXED, STEP, Cache, Graph, Port
from otoscribe.bundle.manifest import CARD, Signs, write_manifest
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.errors import BundleError, RunError
from otoscribe.files import write_text
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import FORMULA, Encoder, load_encoder
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import START
from otoscribe.train.few_bits import round_to_16_bits, store_in_few_bits
from otoscribe.train.run import load_run
from otoscribe.train.settings import ExperimentSettings
from otoscribe.version import __version__

TOLERANCE = 1e-4
"""Largest difference of natural log-probabilities between torch and ONNX."""


LONGEST_SECONDS, LONGEST_IN_ONE_PASS = 86_400.0, 1_800.0
"""Longest recordings that a model takes: in pieces, of which it keeps the frames; or where the encoder hears
all at once, at about 1.3 MB a second with YAMNet, or the adapter compares each frame with each."""


class Encode(nn.Module):
    """encoder.onnx: waveforms [clips, samples] → the encoder's local features [clips, frames, width]."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, waveforms: Tensor) -> tuple[Tensor]:
        """Return the outputs of `graphs.ENCODE`."""
        return (self.encoder.local_features(waveforms),)


class Adapt(nn.Module):
    """adapter.onnx: local features of whole clips → the outputs of `graphs.ADAPT`."""

    def __init__(self, encoder: Encoder, model: CaptionModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.model = model

    def forward(self, local_features: Tensor) -> tuple[Tensor, ...]:
        """Return keys, values and mask of the memory, and what the adapter gives besides, sources first."""
        memory, mask, *besides = self.model.adapter(self.encoder.finish(local_features), None)
        keys, values = self.model.decoder.memory_cache(memory)
        if mask is None:
            mask = torch.ones_like(memory[..., 0], dtype=torch.bool)
        return tuple(part for part in (keys, values, mask, *besides) if part is not None)


class Step(nn.Module):
    """step.onnx: `CaptionModel.step` with the cache's arrays one by one."""

    def __init__(self, model: CaptionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, history: Tensor, *cache: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of `graphs.STEP`."""
        log_probabilities, attention, after = self.model.step(history, Cache.from_flat(cache))
        return log_probabilities, attention, *after.keys, *after.values


def export(
    run: Path,
    bundle: Path,
    *,
    search: Search | None = None,
    confidence: Signs | None = None,
    card: str | None = None,
    float16: bool = False,
    weights: Path | None = None,
    words: Path | None = None,
) -> float:
    """Write a run's best model as a bundle that the listening half can open.

    Args:
        run: folder of a training run.
        bundle: folder to create; its name becomes the model's name.
        search: how the model decodes unless asked otherwise.
        confidence: weights of how likely a caption is true, see `Manifest.confidence`.
        card: text of the card; None writes what the run knows about itself.
        float16: round the weights to 16 bits and store them so, or in 8 where that loses nothing, as with
            weights from an 8-bit network; computation stays in float32.
        weights: folder of a frozen encoder's weights, see `load_encoder`.
        words: folder of the word embedding's published files, see `load_run`.

    Returns:
        The largest difference found between the log-probabilities of torch and of the graphs, at most
        `TOLERANCE`.

    Raises:
        RunError: the run is incomplete or damaged, the bundle exists, or its graphs differ from the model.
        WeightsError: the encoder's weights, or words' files that are needed, are not there, or others than
            the run's.
    """
    if bundle.exists() or bundle.is_symlink():
        raise RunError(f"{bundle} exists already. Delete it, or choose another name.")
    model, vocabulary, settings = load_run(run, words)
    if model.words.leaky:
        raise RunError(
            f"The words {settings.model.words.name!r} look at words that come later, which a captioner does "
            f"not know, so this run can be evaluated but not exported."
        )
    encoder = model.encoder or load_encoder(settings.model.encoder, weights)
    if float16:
        round_to_16_bits(model)
        round_to_16_bits(encoder)
    rate, field = encoder.spec.sample_rate, encoder.receptive_field
    in_pieces = field is not None and not model.adapter.quadratic
    (first, _), (second, _), *_ = encoder.times(60 * rate)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=f".{bundle.name}.") as temporary:
        folder = Path(temporary) / bundle.name
        folder.mkdir()
        write_text(folder / "vocabulary.json", vocabulary.to_json())
        write_text(folder / CARD, card if card is not None else _card(bundle.name, encoder, settings))
        onnx.save(_encoder_graph(encoder), folder / "encoder.onnx")
        onnx.save(_adapter_graph(encoder, model), folder / "adapter.onnx")
        onnx.save(_step_graph(model), folder / "step.onnx")
        write_manifest(
            folder,
            name=bundle.name,
            version=__version__,
            sample_rate=rate,
            frame_seconds=second - first,
            longest_seconds=LONGEST_SECONDS if in_pieces else LONGEST_IN_ONE_PASS,
            receptive_field=field,
            search=search or Search(),
            settings=settings.model_dump(mode="json"),
            styles=model.adapter.styles,
            confidence=confidence,
        )
        try:
            difference = largest_difference(encoder, model, Bundle.open(folder))
        except BundleError as error:
            raise RunError(
                f"The exported graphs do not run, so no bundle was written. An encoder, adapter or words of "
                f"your own must work for any number of clips and frames (a recurrent layer does not). {error}"
            ) from error
        if not difference <= TOLERANCE:
            raise RunError(
                f"The exported graphs differ from the model by {difference:.1e} in log-probability, over "
                f"{TOLERANCE:.0e}, so no bundle was written. Please report this with the run's settings.json."
            )
        folder.rename(bundle)
    return difference


def largest_difference(encoder: Encoder, model: CaptionModel, bundle: Bundle) -> float:
    """Compare log-probabilities word by word, as the bundle decodes, with the model's on whole captions.

    Noises of different lengths are captioned together, two of them listened to at once, so that padding and
    batches are part of the comparison, by two beams of arbitrary words each.
    """
    rate = bundle.manifest.sample_rate
    noise = np.random.default_rng(0)
    waveforms = [(0.1 * noise.standard_normal(rate * seconds)).astype(np.float32) for seconds in (4, 1, 4)]
    words = noise.integers(0, len(bundle.vocabulary), (3, 2, 12))
    words[..., 0] = START
    clips = [*bundle.listen(waveforms[::2]), *bundle.listen(waveforms[1:2])]
    stepper = OnnxStepper(bundle, [clips[0], clips[2], clips[1]])
    state = stepper.reorder(stepper.start(), np.array([[0, 0], [1, 1], [2, 2]]))
    largest = 0.0
    decoded = []
    for time in range(1, words.shape[-1] + 1):
        log_probabilities, state = stepper.step(state, words[..., :time])
        decoded.append(log_probabilities)
    for clip, waveform in enumerate(waveforms):
        with torch.inference_mode():
            features = encoder.features(torch.from_numpy(waveform)[None])
            tokens = torch.from_numpy(words[clip])
            expected = model.log_probabilities(features, None, tokens, [0, 0])
        found = np.stack([step[clip] for step in decoded], axis=1)
        # Not a number, on either side, must come out as too large.
        largest = max(largest, float(np.nan_to_num(np.abs(found - expected.numpy()).max(), nan=np.inf)))
    return largest


def _encoder_graph(encoder: Encoder) -> onnx.ModelProto:
    # Several seconds, as torch takes a dimension that is 1 while tracing for one that is always 1.
    waveforms = torch.zeros(2, 4 * encoder.spec.sample_rate)
    return _graph(Encode(encoder), (waveforms,), ENCODE, {"samples": Dim.AUTO, "clips": Dim.DYNAMIC})


def _adapter_graph(encoder: Encoder, model: CaptionModel) -> onnx.ModelProto:
    with torch.inference_mode():
        width = encoder.local_features(torch.zeros(1, encoder.spec.sample_rate)).shape[-1]
    features = torch.zeros(2, 7, width)
    return _graph(Adapt(encoder, model), (features,), ADAPT, {"frames": Dim.AUTO, "clips": Dim.DYNAMIC})


def _step_graph(model: CaptionModel) -> onnx.ModelProto:
    shape = model.decoder.settings
    graph = STEP.of(shape.blocks)
    sizes = {"heads": shape.heads, "head_dim": shape.head_dim}
    sizes |= {"clips": 2, "beam": 3, "time": 6, "past": 5, "places": 7}
    kinds = {"float": torch.float32, "int64": torch.int64, "bool": torch.bool}
    # Ones, so that a place may be attended to; each its own, as one tensor given twice counts as one input.
    example = tuple(
        torch.ones([sizes[axis] for axis in port.axes], dtype=kinds[port.kind]) for port in graph.inputs
    )
    dims = dict.fromkeys(("clips", "beam", "places"), Dim.DYNAMIC)
    # Words that look at a few of the last ones may treat short histories in a way of their own; whether the
    # graph is right for every length is what `largest_difference` shows.
    dims |= dict.fromkeys(("time", "past"), Dim.AUTO)
    return _graph(Step(model), example, graph, dims)


def _graph(
    module: nn.Module, example: tuple[Tensor, ...], graph: Graph, dims: dict[str, Any]
) -> onnx.ModelProto:
    """Trace a module, whose dynamic axes are `dims`, to a graph with the ports of `graph`."""
    axes = [
        {place: dims[axis] for place, axis in enumerate(port.axes) if axis in dims} for port in graph.inputs
    ]
    dynamic = (*axes[:1], tuple(axes[1:])) if len(axes) > 1 else tuple(axes)
    with torch.inference_mode():
        given = len(module(*example))
    with _quiet_exporter():
        program = torch.onnx.export(
            torch.export.export(module.eval(), example, dynamic_shapes=dynamic),
            input_names=[port.name for port in graph.inputs],
            output_names=[port.name for port in graph.outputs[:given]],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _clean(model, (*graph.inputs, *graph.outputs))
    store_in_few_bits(model)
    onnx.checker.check_model(model, full_check=True)
    return model


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


def _clean(model: onnx.ModelProto, ports: tuple[Port, ...]) -> None:
    """Name the axes, and drop the traces of source code that the exporter leaves on every node."""
    axes = {port.name: port.axes for port in ports}
    graph = model.graph
    for value in (*graph.input, *graph.output):
        for dimension, axis in zip(value.type.tensor_type.shape.dim, axes[value.name], strict=True):
            if axis not in FIXED:
                dimension.dim_param = axis
    del graph.value_info[:]
    del model.metadata_props[:], graph.metadata_props[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""


def _card(name: str, encoder: Encoder, settings: ExperimentSettings) -> str:
    spec = encoder.spec
    made_up = settings.model.encoder.weights == FORMULA
    tuned = ", trained along with the model" if settings.model.encoder.tuned else ""
    warning = "**The encoder's weights were made by a formula: its captions mean nothing.**\n\n"
    return (
        f"# {name}\n\n{warning if made_up else ''}"
        f"An audio captioning model exported by otoscribe {__version__}.\n\n"
        f"- Encoder: {spec.name} ({spec.paper}; licence of its weights {spec.licence}){tuned}\n"
        f"- Settings of model and training: in manifest.json and below\n\n"
        f"```json\n{settings.model_dump_json(indent=2)}\n```\n"
    )
