"""A tiny valid bundle: a real two-block decoder with cache, random seeded weights, made without torch.

Its captions are nonsense, but they depend on the sound, on every word before and on nothing else.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from otoscribe.audio.pieces import ReceptiveField
from otoscribe.bundle.graphs import ADAPT, ENCODE, FIXED, STEP, Port
from otoscribe.bundle.manifest import write_manifest
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import START, Vocabulary

SAMPLE_RATE = 8000
LAYERS, HEADS, HEAD_DIM = 2, 2, 4
WIDTH = HEADS * HEAD_DIM
HOP = 800
WORDS = (
    "<pad>",
    "<start>",
    "<end>",
    "<unknown>",
    *["a", "dog", "barks", "while", "rain", "falls", "and", "the", "old", "clock", "ticks"],
)
SEARCH = Search(beam=3, maximum_words=12)


class Graph:
    """Nodes of an ONNX graph, written as expressions."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray | list[int]) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant((self.random.standard_normal(shape) * 2 / np.sqrt(shape[0])).astype(np.float32))

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"node{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def save(self, path: Path, inputs: tuple[Port, ...], outputs: tuple[Port, ...], **sizes: int) -> None:
        kinds = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}

        def infos(ports: tuple[Port, ...]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(
                    port.name,
                    kinds[port.kind],
                    [sizes[axis] if axis in FIXED else axis for axis in port.axes],
                )
                for port in ports
            ]

        graph = helper.make_graph(self.nodes, path.stem, infos(inputs), infos(outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


SIZES = {"layers": LAYERS, "heads": HEADS, "head_dim": HEAD_DIM, "width": HOP}


def write_encoder(path: Path) -> None:
    """Write encoder.onnx, whose frames are the samples themselves."""
    g = Graph(seed=0)
    padded = g.op("Pad", "waveforms", g.ints(0, 0, 0, HOP))
    samples = g.op("Gather", g.op("Shape", padded), g.ints(1), axis=0)
    used = g.op("Mul", g.op("Div", samples, g.ints(HOP)), g.ints(HOP))
    whole = g.op("Slice", padded, g.ints(0), used, g.ints(1))
    g.op("Reshape", whole, g.ints(0, -1, HOP), output="features")  # [clips, frames, HOP]
    g.save(path, ENCODE.inputs, ENCODE.outputs, **SIZES)


def write_adapter(path: Path, sources: bool = False, layers: int = LAYERS) -> None:
    """Write adapter.onnx; with `sources`, each place is half of its frame and half of the next one."""
    g = Graph(seed=1)
    for output in ("memory_keys", "memory_values"):
        projected = g.op("Tanh", g.op("MatMul", "features", g.weight(HOP, layers * WIDTH)))
        split = g.op("Reshape", projected, g.ints(0, 0, layers, HEADS, HEAD_DIM))
        g.op("Transpose", split, output=output, perm=[2, 0, 1, 3, 4])
    loud = g.op("ReduceMax", "features", g.ints(2), keepdims=0)
    g.op("Equal", loud, loud, output="memory_mask")
    if sources:
        zeros = g.op("Mul", g.op("MatMul", "features", g.weight(HOP, 1)), g.constant(np.float32(0)))
        square = g.op("MatMul", zeros, g.op("Transpose", zeros, perm=[0, 2, 1]))  # [clips, frames, frames]
        first = g.op("Gather", square, g.constant(np.int64(0)), axis=0)
        both = g.op("Add", g.op("EyeLike", first, k=0), g.op("EyeLike", first, k=1))
        g.op("Add", square, g.op("Mul", both, g.constant(np.float32(0.5))), output="sources")
    outputs = ADAPT.outputs[: 4 if sources else 3]
    g.save(path, ADAPT.inputs, outputs, **SIZES | {"layers": layers})


def write_step(path: Path, vocabulary: int) -> None:
    g = Graph(seed=2)
    embeddings = g.random.standard_normal((vocabulary, WIDTH)).astype(np.float32)
    embeddings[START] = 0
    past = g.op("Gather", g.op("Shape", "keys.0"), g.ints(3), axis=0)
    position = g.op("Gather", g.weight(SEARCH.maximum_words + 1, WIDTH), past, axis=0)
    newest = g.op("Gather", "history", g.constant(np.int64(-1)), axis=2)  # [clips, beam]
    x = g.op("Add", g.op("Gather", g.constant(embeddings), newest, axis=0), position)
    hidden = g.constant(np.float32(-1e9))
    own_places = g.op("Unsqueeze", "memory_mask", g.ints(1, 2))
    shares = []
    for layer in range(LAYERS):

        def heads(x: str) -> str:
            return g.op(
                "Reshape", g.op("MatMul", x, g.weight(WIDTH, WIDTH)), g.ints(0, 0, HEADS, 1, HEAD_DIM)
            )

        query, key, value = heads(x), heads(x), heads(x)
        keys = g.op("Concat", f"keys.{layer}", key, output=f"next_keys.{layer}", axis=3)
        values = g.op("Concat", f"values.{layer}", value, output=f"next_values.{layer}", axis=3)
        weights = g.op("MatMul", query, g.op("Transpose", keys, perm=[0, 1, 2, 4, 3]))
        attended = g.op("MatMul", g.op("Softmax", weights, axis=-1), values)
        flat = g.op("Reshape", attended, g.ints(0, 0, WIDTH))
        x = g.op("Tanh", g.op("Add", x, g.op("MatMul", flat, g.weight(WIDTH, WIDTH))))

        query = g.op("Transpose", g.op("Squeeze", heads(x), g.ints(3)), perm=[0, 2, 1, 3])
        scores = g.op("MatMul", query, f"memory_keys.{layer}")
        weights = g.op("Softmax", g.op("Where", own_places, scores, hidden), axis=-1)
        shares.append(g.op("ReduceMean", weights, g.ints(1), keepdims=0))  # [clips, beam, places]
        attended = g.op("MatMul", weights, f"memory_values.{layer}")
        flat = g.op("Reshape", g.op("Transpose", attended, perm=[0, 2, 1, 3]), g.ints(0, 0, WIDTH))
        x = g.op("Tanh", g.op("Add", x, g.op("MatMul", flat, g.weight(WIDTH, WIDTH))))
    g.op("Mean", *shares, output="attention")
    g.op("LogSoftmax", g.op("MatMul", x, g.weight(WIDTH, vocabulary)), output="log_probabilities", axis=-1)
    step = STEP.of(LAYERS)
    g.save(path, step.inputs, step.outputs, **SIZES, vocabulary=vocabulary)


def write_tiny_bundle(folder: Path, sources: bool = False) -> Path:
    folder.mkdir(parents=True)
    vocabulary = Vocabulary(WORDS)
    write_encoder(folder / "encoder.onnx")
    write_adapter(folder / "adapter.onnx", sources)
    write_step(folder / "step.onnx", len(vocabulary))
    (folder / "vocabulary.json").write_text(vocabulary.to_json(), encoding="utf-8")
    (folder / "README.md").write_text("# tiny\n\nRandom weights, for tests.\n", encoding="utf-8")
    write_manifest(
        folder,
        name="tiny",
        version="1",
        sample_rate=SAMPLE_RATE,
        frame_seconds=HOP / SAMPLE_RATE,
        longest_seconds=600.0,
        receptive_field=ReceptiveField(hop=HOP, before=0, after=1),
        search=SEARCH,
        settings={"seed": 1},
    )
    return folder
