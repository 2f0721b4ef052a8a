"""Ops on quantised integers: the op on the data that they stand for, quantised again.

ONNX's own, and those of onnxruntime that its quantiser writes.  Where these multiply an integer
sum by one rounded ratio of scales, the data are summed and divided by the scale of the result: in
exact arithmetic that is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...ops import Array, Mul, Sigmoid, Softmax
from ..call import Call, Form, anything, only
from ..values import (
    Activation,
    Builder,
    Coded,
    Codes,
    Constant,
    Lattice,
    RefusedError,
    Value,
)
from .activation import Translator, elementwise, leaky_relu, softmax
from .arithmetic import add, binary
from .codes import (
    bounds_of,
    codes_of,
    dequantised,
    dequantize_linear,
    lattice_of,
    quantised,
    quantize_linear,
    sizes_of,
)
from .gemm import gemm
from .linear import conv, matmul
from .normalisation import global_average_pool
from .rearrange import concat
from .scales import number, plus
from .window import average_pool


def qlinear_conv(builder: Builder, call: Call) -> Value:
    x = _data(builder, call, 0)
    weight = dequantised(builder, call, call.constant(3), 4, f"{call.output}_weight", 0)
    inputs = [x, weight, *_bias(builder, call, 8, 1.0)]
    return _result(builder, call, conv(builder, _on_data(call, inputs)), 6)


def qlinear_matmul(builder: Builder, call: Call) -> Value:
    """Several scales of the first operand are those of its rows, of the second of its columns."""
    inputs = [_data(builder, call, 0, -2), _data(builder, call, 3, -1)]
    return _result(builder, call, matmul(builder, _on_data(call, inputs)), 6)


def qgemm(builder: Builder, call: Call) -> Value:
    """Without a scale for the result, that stays data."""
    x, weight = _data(builder, call, 0), _data(builder, call, 3, 0 if call.get("transB", 0) else 1)
    inputs = [x, weight, *_bias(builder, call, 6, call.get("alpha", 1.0))]
    if call.value(7) is None:
        return gemm(builder, replace(_on_data(call, inputs), outputs=call.outputs))
    return _result(builder, call, gemm(builder, _on_data(call, inputs)), 7)


def of_two(translate: Translator) -> Translator:
    """An op on two values, each with its scale and zero point."""

    def translated(builder: Builder, call: Call) -> Value:
        inputs = [_data(builder, call, 0), _data(builder, call, 3)]
        return _result(builder, call, translate(builder, _on_data(call, inputs)), 6)

    return translated


def of_one(translate: Translator, since: int = 0) -> Translator:
    """An op on one value; ``since`` is the version of the op on data that it means."""

    def translated(builder: Builder, call: Call) -> Value:
        on_data = replace(_on_data(call, [_data(builder, call, 0)]), since=since)
        return _result(builder, call, translate(builder, on_data), 3)

    return translated


def qlinear_softmax(builder: Builder, call: Call) -> Value:
    """The operator set that it means is an attribute."""
    return of_one(softmax(Softmax()), call.get("opset", 13))(builder, call)


def qlinear_concat(builder: Builder, call: Call) -> Value:
    if len(call.inputs) % 3 != 2:
        raise RefusedError("has inputs that are not in threes")
    inputs = [_data(builder, call, i) for i in range(2, len(call.inputs), 3)]
    return _result(builder, call, concat(builder, _on_data(call, inputs)), 0)


def conv_integer(builder: Builder, call: Call) -> Value:
    x, weight = _integers(builder, call, 0, 2), _weight(builder, call, 1, 3, 0)
    _expect_no_overflow(call, 0, weight, tuple(range(1, weight.array.ndim)))
    return _sums(conv(builder, _on_data(call, [x, weight])))


def matmul_integer(builder: Builder, call: Call) -> Value:
    x, weight = _integers(builder, call, 0, 2), _weight(builder, call, 1, 3, -1)
    _expect_no_overflow(call, 0, weight, (-2,) if weight.array.ndim > 1 else (-1,))
    return _sums(matmul(builder, _on_data(call, [x, weight])))


def _on_data(call: Call, inputs: Sequence[Value]) -> Call:
    """The node as one on data; its result is called after the integers."""
    return replace(
        call, inputs=tuple(inputs), outputs=(f"{call.output}_data",), used=(True,), since=0
    )


def _data(builder: Builder, call: Call, index: int, axis: int = 1) -> Activation | Constant:
    """The data of an input that is followed by its scale and zero point."""
    wish = f"{call.output}_input{index}"
    return dequantised(builder, call, call.value(index), index + 1, wish, axis)


def _bias(builder: Builder, call: Call, index: int, factor: float) -> list[Constant]:
    """The bias, if there is one: integers, with the product of the two scales as theirs."""
    if call.value(index) is None:
        return []
    source = call.constant(index)
    if source.array.dtype != np.int32:
        raise RefusedError(f"has a bias of type {source.array.dtype}; supported: int32")
    x, w = (call.weight(i).array.reshape(-1).astype(np.float32) for i in (1, 4))
    channels = source.array.shape[-1] if source.array.ndim else 1
    if x.size != 1 or w.size not in {1, channels} - {0}:
        raise RefusedError("has scales that do not fit its bias")
    scale = x * w * np.float32(factor)
    full = np.broadcast_to(scale if w.size > 1 else scale[0], source.array.shape)
    value = source.array.astype(np.float32) * full
    codes = Codes(*bounds_of(np.int32), full)
    return [builder.folded(source.name, value, codes=codes)]


def _result(builder: Builder, call: Call, y: Value, at: int) -> Value:
    """``y`` quantised with the scale and zero point that two inputs give."""
    if not isinstance(y, Activation):
        raise RefusedError("works on constants alone; fold them before the export")
    source = next((call.value(i) for i in (at + 1, 2) if isinstance(call.value(i), Constant)), None)
    bounds = bounds_of(source.array.dtype if isinstance(source, Constant) else np.uint8)
    lattice, axis = lattice_of(call, at, sizes_of(y), bounds)
    if axis is not None:
        raise RefusedError("gives a result with a scale for each channel; supported: one")
    return quantised(builder, replace(call, name=f"{call.name}_quantise"), y, lattice)


def _integers(builder: Builder, call: Call, index: int, zero: int) -> Activation:
    """An input of integers, as floats, less its zero point."""
    x = call.value(index)
    if not isinstance(x, Coded):
        raise RefusedError(f"input {index + 1} is not known to be integers")
    whole = codes_of(builder, call.name, x, f"{call.output}_input{index}")
    return plus(builder, call.name, whole, -_zero(call, zero, 1), f"{call.output}_moved", None)


def _weight(builder: Builder, call: Call, index: int, zero: int, axis: int) -> Constant:
    """A constant input of integers, as floats, less its zero points along ``axis``."""
    source = call.constant(index)
    low, high = bounds_of(source.array.dtype)
    shape = source.array.shape
    if not shape or 0 in shape:
        raise RefusedError("has a weight without axes, or without values")
    points = _zero(call, zero, shape[axis]).astype(np.int64)
    sizes = [1] * len(shape)
    sizes[axis] = points.size
    value = (source.array.astype(np.int64) - points.reshape(sizes)).astype(np.float32)
    ones = np.broadcast_to(np.float32(1), shape)
    codes = Codes(low - int(points.max()), high - int(points.min()), ones)
    return builder.folded(source.name, value, codes=codes)


def _zero(call: Call, index: int, most: int) -> Array:
    """Zero points, as floats: one, or at most so many."""
    if call.value(index) is None:
        return number(0)
    array = call.constant(index).array
    bounds_of(array.dtype)
    if array.ndim > 1 or array.size not in (1, most):
        raise RefusedError(f"has zero points of shape {array.shape}; supported: one")
    return array.reshape(-1).astype(np.float32)


def _expect_no_overflow(call: Call, index: int, weight: Constant, axes: tuple[int, ...]) -> None:
    """Refuse sums that may leave the 32 bits in which they are defined, where they wrap."""
    x = call.value(index)
    assert isinstance(x, Coded)  # asked before
    largest = max(abs(x.lattice.low), abs(x.lattice.high)) + 2.0**16
    if np.abs(weight.array.astype(np.float64)).sum(axes).max(initial=0) * largest >= 2.0**31:
        raise RefusedError("may have sums beyond 32 bits")


def _sums(y: Value) -> Value:
    """Sums of integers, which are integers of 32 bits."""
    if not isinstance(y, Activation):
        raise RefusedError("works on constants alone; fold them before the export")
    lattice = Lattice(number(1), number(0), *bounds_of(np.int32))
    return Coded(replace(y, linear=None), lattice, None)


_WINDOW = {
    "auto_pad": anything,
    "dilations": anything,
    "kernel_shape": anything,
    "pads": anything,
    "strides": anything,
}
_CONV = _WINDOW | {"group": anything}
_LAST = {"channels_last": only(0)}

FORMS: Mapping[str, Form] = {
    "ConvInteger": Form(10, conv_integer, _CONV, codes=True),
    "MatMulInteger": Form(10, matmul_integer, {}, codes=True),
    "QLinearConv": Form(10, qlinear_conv, _CONV, codes=True),
    "QLinearMatMul": Form(21, qlinear_matmul, {}, codes=True),
}
"""ONNX's ops on integers that are understood."""

MICROSOFT_FORMS: Mapping[str, Form] = {
    "DequantizeLinear": Form(
        1, dequantize_linear, {"axis": anything, "block_size": only(0)}, codes=True
    ),
    "QGemm": Form(
        1, qgemm, {"alpha": anything, "transA": only(0), "transB": only(0, 1)}, codes=True
    ),
    "QLinearAdd": Form(1, of_two(add), {}, codes=True),
    "QLinearAveragePool": Form(
        1,
        of_one(average_pool),
        _WINDOW | _LAST | {"ceil_mode": anything, "count_include_pad": anything},
        codes=True,
    ),
    "QLinearConcat": Form(1, qlinear_concat, {"axis": anything}, codes=True),
    "QLinearGlobalAveragePool": Form(1, of_one(global_average_pool), _LAST, codes=True),
    "QLinearLeakyRelu": Form(1, of_one(elementwise(leaky_relu)), {"alpha": anything}, codes=True),
    "QLinearMul": Form(1, of_two(binary(Mul())), {}, codes=True),
    "QLinearSigmoid": Form(1, of_one(elementwise(lambda call: Sigmoid())), {}, codes=True),
    "QLinearSoftmax": Form(1, qlinear_softmax, {"axis": anything, "opset": anything}, codes=True),
    "QuantizeLinear": Form(1, quantize_linear, {"axis": anything, "block_size": only(0)}),
}
"""Ops of onnxruntime's own domain that are understood."""
