"""In how many bits an exported graph keeps a matrix: 8 or 16 where they hold it exactly, else 32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from otoscribe.train.few_bits import _in_8_bits, store_in_few_bits
from support.encoders import encoder_of

Matrix = NDArray[np.float32]
ROWS, COLUMNS = 96, 200
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((ROWS, COLUMNS)).astype(np.float32)


def graph_of(weights: Matrix) -> onnx.ModelProto:
    """Return a graph that multiplies by a matrix and adds a bias."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["y"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, weights.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, weights.shape[1]])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.full(weights.shape[1], 0.1, np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def output(model: onnx.ModelProto) -> Matrix:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((5, ROWS)).astype(np.float32)
    (y,) = session.run(None, {"x": x})
    return np.asarray(y)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def planted(kept: int | None, zero: bool = False) -> tuple[NDArray[np.int8], Matrix]:
    """Return codes and scales: per row, per column or one; a channel of zeros if asked."""
    codes = RANDOM.integers(-126, 127, (ROWS, COLUMNS)).astype(np.int8)
    shape = [1, 1]
    if kept is None:
        codes[3, 5] = -127
    else:
        # Each channel reaches the end of its scale, as in a network that was quantised so.
        shape[kept] = codes.shape[kept]
        codes.swapaxes(0, kept)[:, 7] = 127
    scale = RANDOM.uniform(1e-4, 0.1, shape).astype(np.float32)
    if zero:
        codes[4] = 0
        scale[4] = 0.0
    return codes, scale


@pytest.mark.parametrize(
    ("kept", "zero"),
    [(0, False), (1, False), (None, False), (0, True)],
    ids=["rows", "columns", "all", "zero row"],
)
def test_8_bit_weights_are_stored_as_codes_and_scales(kept: int | None, zero: bool) -> None:
    codes, scale = planted(kept, zero)
    whole = graph_of(codes * scale)
    few = onnx.ModelProto.FromString(whole.SerializeToString())
    store_in_few_bits(few)
    onnx.checker.check_model(few, full_check=True)
    found = constants(few)
    assert set(found) == {"weights.int8", "weights.scale", "bias"}
    assert found["weights.int8"].dtype == np.int8
    np.testing.assert_array_equal(found["weights.int8"], codes)
    np.testing.assert_allclose(found["weights.scale"], scale, rtol=3e-7)
    assert few.ByteSize() < 0.3 * whole.ByteSize()
    expected = output(whole)
    np.testing.assert_allclose(output(few), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def nudged(weights: Matrix) -> Matrix:
    """Move one weight of a matrix of 8 bits by a hundredth of a step."""
    moved = weights.copy()
    moved[2, 2] += 0.01 * np.abs(weights[2]).max() / 127
    return moved


@pytest.mark.parametrize(
    ("make", "data_type"),
    [
        (lambda: WEIGHTS.astype(np.float16).astype(np.float32), TensorProto.FLOAT16),
        (lambda: nudged(np.multiply(*planted(0))).astype(np.float16).astype(np.float32), TensorProto.FLOAT16),
        (lambda: nudged(np.multiply(*planted(0))), TensorProto.FLOAT),
        (lambda: 1e6 * WEIGHTS, TensorProto.FLOAT),
        (lambda: WEIGHTS[:, :1], TensorProto.FLOAT),
    ],
    ids=["rounded", "nudged and rounded", "nudged", "beyond float16", "one to a channel"],
)
def test_other_weights_keep_every_bit(make: Callable[[], Matrix], data_type: int) -> None:
    weights = make()
    whole = graph_of(weights)
    few = onnx.ModelProto.FromString(whole.SerializeToString())
    store_in_few_bits(few)
    onnx.checker.check_model(few, full_check=True)
    (matrix,) = (one for one in few.graph.initializer if len(one.dims) == 2)
    assert matrix.data_type == data_type
    np.testing.assert_array_equal(numpy_helper.to_array(matrix).astype(np.float32), weights)
    np.testing.assert_array_equal(output(few), output(whole))


def test_yamnet_of_8_bits_takes_under_4_megabytes(shared_data: Path) -> None:
    encoder = encoder_of(shared_data / "weights" / "yamnet.tflite", "yamnet_voice")
    size = 0
    for weight in encoder.parameters():
        if weight.ndim == 1:
            size += weight.nbytes
            continue
        found = _in_8_bits(weight.numpy())
        assert found is not None
        size += sum(part.nbytes for part in found)
    assert size < 3.9e6
