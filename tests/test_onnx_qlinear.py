"""Networks that onnxruntime quantised, and ops on quantised integers, held against onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array

from .onnx_models import model, node, run
from .test_onnx_codes import made

U8, I8, U16, I4 = QuantType.QUInt8, QuantType.QInt8, QuantType.QUInt16, QuantType.QInt4
QDQ, OPERATORS = QuantFormat.QDQ, QuantFormat.QOperator
IMAGE = (2, 8, 8)


def weights(**shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(count, *IMAGE)).astype(np.float32)


def network(*last: NodeProto) -> ModelProto:
    """A convolutional network with a branch, of the ops that the quantiser knows."""
    nodes = [
        node("Conv", ["x", "w1", "b1"], "c1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], "r1"),
        node("MaxPool", ["r1"], "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2", "b2"], "c2", pads=[1, 1, 1, 1]),
        node("Add", ["c2", "p1"], "a"),
        node("Concat", ["a", "p1"], "j", axis=1),
        node("GlobalAveragePool", ["j"], "g"),
        node("Flatten", ["g"], "f"),
        node("Gemm", ["f", "w3", "b3"], "y", transB=1),
    ]
    known = weights(w1=(4, 2, 3, 3), b1=(4,), w2=(4, 4, 3, 3), b2=(4,), w3=(3, 8), b3=(3,))
    return model(nodes, ("n", *IMAGE), known)


class Images(CalibrationDataReader):  # type: ignore[misc]
    """What the quantiser chooses its scales by."""

    def __init__(self) -> None:
        self.batches: Iterator[dict[str, Array]] = iter([{"x": images(8, 2)}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.batches, None)


@pytest.mark.parametrize(
    ("form", "channels", "values", "known", "options"),
    [
        (QDQ, False, U8, I8, {}),
        (QDQ, True, I8, I8, {"ActivationSymmetric": True}),
        (QDQ, True, U16, I8, {}),
        (QDQ, False, U8, I4, {}),
        (OPERATORS, False, U8, U8, {}),
        (OPERATORS, True, U8, I8, {}),
        (OPERATORS, True, I8, I8, {}),
    ],
)
def test_a_network_that_onnxruntime_quantised(
    form: QuantFormat,
    channels: bool,
    values: QuantType,
    known: QuantType,
    options: dict[str, Any],
    tmp_path: Path,
) -> None:
    """All but one value in a thousand are equal, and that is one step off: where a float sum falls
    on the border between two integers, the order of its terms decides."""
    onnx.save(network(), tmp_path / "float.onnx")
    logging.disable(logging.WARNING)
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "quantised.onnx", Images(), quant_format=form,
        per_channel=channels, activation_type=values, weight_type=known, extra_options=options,
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    quantised = onnx.load(tmp_path / "quantised.onnx")
    graph = from_onnx(quantised)
    x = images(64)
    (want,) = run(quantised, x=x)
    found = evaluate(graph, {"x": x})["y"]
    scales = {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    step = scales[quantised.graph.node[-1].input[1]]
    off = np.rint(np.abs(found - want) / step)
    assert off.max() <= 1
    assert np.count_nonzero(off) <= off.size / 1000
    assert len(graph.grids) == 6


def numbers(kind: type[np.generic] = np.uint8) -> dict[str, Array]:
    """Scales and zero points of four values, and weights of integers."""
    rng = np.random.default_rng(3)
    low = np.iinfo(kind).min  # type: ignore[type-var]
    found: dict[str, Array] = {}
    for i, scale in enumerate((0.02, 0.03, 0.05, 0.1)):
        found[f"s{i}"] = np.array(scale, np.float32)
        found[f"z{i}"] = np.array(low + 120 + i, kind)
    found["w"] = rng.integers(low, low + 256, (3, 2, 3, 3)).astype(kind)
    found["ws"] = np.array([0.01, 0.02, 0.03], np.float32)
    found["wz"] = np.full(3, low + 128, kind)
    found["m"] = rng.integers(low, low + 256, (8, 5)).astype(kind)
    found["b"] = rng.integers(-1000, 1000, 3).astype(np.int32)
    found["c"] = rng.integers(-1000, 1000, 5).astype(np.int32)
    return found


def plain(op: str, inputs: str, **attributes: Any) -> NodeProto:
    return node(op, inputs.split(), "y", **attributes)


def micro(op: str, inputs: str, **attributes: Any) -> NodeProto:
    return node(op, inputs.split(), "y", domain="com.microsoft", **attributes)


OPS = {
    "conv": (
        plain("QLinearConv", "x s0 z0 w ws wz s1 z1 b", pads=[1, 0, 0, 1]),
        IMAGE,
    ),
    "one scale": (plain("QLinearConv", "x s0 z0 w s2 z2 s1 z1"), IMAGE),
    "matmul": (plain("QLinearMatMul", "x s0 z0 m s2 z2 s1 z1"), (4, 8)),
    "gemm": (micro("QGemm", "x s0 z0 m s2 z2 c s1 z1", alpha=2.0), (8,)),
    "add": (micro("QLinearAdd", "x s0 z0 x s0 z0 s1 z1"), (8,)),
    "mul": (micro("QLinearMul", "x s0 z0 x s0 z0 s1 z1"), (8,)),
    "global pool": (micro("QLinearGlobalAveragePool", "x s0 z0 s1 z1"), IMAGE),
    "pool": (
        micro("QLinearAveragePool", "x s0 z0 s1 z1", kernel_shape=[3, 2], pads=[1, 0, 1, 1]),
        IMAGE,
    ),
    "concat": (micro("QLinearConcat", "s1 z1 x s0 z0 x s2 z2", axis=1), (8,)),
    "sigmoid": (micro("QLinearSigmoid", "x s0 z0 s1 z1"), (8,)),
    "leaky relu": (micro("QLinearLeakyRelu", "x s0 z0 s1 z1", alpha=0.125), (8,)),
    "softmax": (micro("QLinearSoftmax", "x s0 z0 s0 z0", axis=-1, opset=13), (8,)),
}


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("name", OPS)
def test_an_op_on_integers(name: str, kind: type[np.generic]) -> None:
    """But for ties, equal: onnxruntime multiplies by one rounded ratio, or looks results up, so
    that where two integers are equally near it may take the other one."""
    op, shape = OPS[name]
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    quantised = made([op], ("n", *shape), numbers(kind), entry=number, output=number, opset=17)
    quantised.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    low = np.iinfo(kind).min  # type: ignore[type-var]
    x = np.random.default_rng(0).integers(low, low + 256, (32, *shape)).astype(kind)
    if name == "concat":
        del quantised.graph.output[0].type.tensor_type.shape.dim[:]
    (want,) = run(quantised, x=x)
    graph = from_onnx(quantised)
    off = np.abs(evaluate(graph, {"x": x.astype(np.float32)})["y"] - want)
    assert off.max() <= 1
    assert np.count_nonzero(off) <= 0.05 * off.size


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (node("ConvInteger", ["x", "w", "z0", "z2"], "y", pads=[1, 0, 0, 1]), IMAGE),
        (node("ConvInteger", ["x", "w"], "y"), IMAGE),
        (node("MatMulInteger", ["x", "m", "z0", "z2"], "y"), (4, 8)),
        (node("MatMulInteger", ["x", "m"], "y"), (8,)),
    ],
    ids=lambda value: value.op_type if isinstance(value, NodeProto) else None,
)
def test_sums_of_integers(op: NodeProto, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (8, *shape)).astype(np.uint8)
    parts = [op, node("Cast", ["y"], "f", to=1), node("Mul", ["f", "s0"], "g")]
    proto = made(
        parts[:1], ("n", *shape), numbers(), entry=TensorProto.UINT8, output=TensorProto.INT32
    )
    (want,) = run(proto, x=x)
    assert np.array_equal(evaluate(from_onnx(proto), {"x": x.astype(np.float32)})["y"], want)
    parts[2].output[0], parts[0].output[0], parts[1].input[0] = "y", "sums", "sums"
    scaled = made(parts, ("n", *shape), numbers(), entry=TensorProto.UINT8)
    found = evaluate(from_onnx(scaled), {"x": x.astype(np.float32)})["y"]
    assert np.array_equal(found, want.astype(np.float32) * np.float32(0.02))


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (
            plain("QLinearMatMul", "x s0 z0 m s2 z2 ws wz"),
            "do not fit the data",
        ),
        (
            plain("QLinearMatMul", "x s0 z0 x s0 z0 s1 z1"),
            "product over the batch",
        ),
        (micro("QGemm", "x s0 z0 m s2 z2 m s1 z1"), "bias of type uint8"),
        (micro("QGemm", "x s0 z0 m s2 z2 b s1 z1"), "cannot be broadcast"),
        (micro("QLinearConcat", "s1 z1 x s0 z0 x", axis=1), "not in threes"),
        (micro("QLinearReduceMean", "x s0 z0 s1 z1"), "not an op of ONNX itself"),
        (node("MatMulInteger", ["x", "m", "wz"], "y"), "zero points of shape (3,)"),
        (node("MatMulInteger", ["x", "x"], "y"), "input 2 is not a constant"),
        (node("MatMulInteger", ["m", "x"], "y"), "not known to be integers"),
    ],
    ids=lambda value: value.op_type if isinstance(value, NodeProto) else None,
)
def test_what_is_not_supported_is_refused(op: NodeProto, reason: str) -> None:
    proto = made(
        [op], ("n", 8), numbers(), entry=TensorProto.UINT8, output=TensorProto.UINT8, opset=17
    )
    with pytest.raises(LutraError) as caught:
        from_onnx(proto)
    assert reason in str(caught.value)


def test_sums_that_may_wrap_are_refused() -> None:
    big = np.full((2**16, 1), 255, np.uint8)
    proto = made(
        [node("MatMulInteger", ["x", "m"], "y")], ("n", 2**16), {"m": big},
        entry=TensorProto.UINT8, output=TensorProto.INT32,
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="sums beyond 32 bits"):
        from_onnx(proto)
