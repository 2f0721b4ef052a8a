"""ONNX's QuantizeLinear and DequantizeLinear, and the integers between them.

A value of integers that stand for data is kept as these data, on their grid, with what relates
the two (:class:`Coded`): dequantised the way it was quantised it is the data themselves.  Ops that
only move values, or bound them, work on the integers by way of the data.  Everything else is
refused, unless its translator asks for integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from ...errors import ModelError
from ...ops import Array, Clip, Quantize
from ..call import Call, Form, anything, only
from ..tensor import INTEGERS, type_name
from ..values import (
    Activation,
    Builder,
    Coded,
    Codes,
    Constant,
    Lattice,
    RefusedError,
    Value,
    is_float,
)
from .scales import EXACT, expect_scale, integer_range, integers, number, on_axis, plus, times

CASTS: Mapping[int, npt.DTypeLike] = {**INTEGERS, TensorProto.INT32: np.int32}
"""The types that such integers may be cast to."""

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)

_HELD = {np.dtype(kind) for kind in (*CASTS.values(), np.uint32)}

MOVING = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad",
    "Reshape", "Resize", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Ops that give some of the values that they get, wherever these stand."""


def translated(builder: Builder, call: Call, form: Form) -> Value | tuple[Value, ...]:
    """The results of a node; integers only get to translators that ask for them.

    Weights that overflow on the way are found when the graph is made.

    Raises:
        RefusedError: as the translator, or the op cannot work on integers.
    """
    with np.errstate(all="ignore"):
        return _translated(builder, call, form)


def _translated(builder: Builder, call: Call, form: Form) -> Value | tuple[Value, ...]:
    coded = [value for value in call.inputs if isinstance(value, Coded)]
    if call.op == "Clip" and isinstance(call.value(0), Constant | Coded):
        bounded = _clipped(builder, call)
        if bounded is not None:
            return bounded
    if not coded or form.codes:
        return form.translate(builder, call)
    if call.op == "Relu":
        return _bounded(builder, call, coded[0], 0, coded[0].lattice.high)
    if call.op in MOVING:
        return _moved(builder, call, form, coded)
    raise RefusedError("works on the integers of quantised data; supported: on the data")


def quantize_linear(builder: Builder, call: Call) -> Value:
    x = call.value(0)
    source = call.value(2)
    if isinstance(source, Constant):
        low, high = _bounds(source)
    else:
        kind = call.get("output_dtype", 0) or TensorProto.UINT8
        if kind not in INTEGERS:
            raise RefusedError(f"quantises to {type_name(kind)}; supported: integers")
        low, high = bounds_of(INTEGERS[kind])
    if isinstance(x, Constant):
        data = call.weight(0).array
        lattice, axis = lattice_of(call, 1, data.shape, (low, high))
        scale, zero = _broadcast(lattice, axis, data.ndim)
        q = Quantize(low, high).integers(data, scale, zero)
        if not np.isfinite(q).all():
            raise ModelError("quantises what is no number")
        codes = Codes(low, high, np.broadcast_to(np.float32(1), q.shape))
        return builder.folded(call.output, q.astype(np.int64), codes=codes)
    lattice, axis = lattice_of(
        call, 1, sizes_of(call.data(anywhere=True, merged=True)), (low, high)
    )
    return quantised(builder, call, call.data(anywhere=True, merged=axis is None), lattice, axis)


def quantised(
    builder: Builder, call: Call, x: Activation, lattice: Lattice, axis: int | None = None
) -> Coded:
    """``x`` as integers, whose scales and zero points belong to an axis of the file's value."""
    own = None if axis is None else call.axis(x, axis)
    weights = {"scale": lattice.scale, "zero": lattice.zero}

    def within(low: int, high: int) -> Activation:
        return on_axis(builder, call.name, Quantize(low, high), x, own, weights, call.output)

    return Coded(within(lattice.low, lattice.high), lattice, axis, within)


def dequantize_linear(builder: Builder, call: Call) -> Value:
    return dequantised(builder, call, call.value(0), 1, call.output)


def dequantised(
    builder: Builder, call: Call, x: Value | None, at: int, wish: str, default_axis: int = 1
) -> Activation | Constant:
    """The data that integers stand for.

    Args:
        builder, call: as for a translator.
        x: the integers.
        at: which input the scale is; the zero point is the next.
        wish: what the result is called.
        default_axis: the axis that several scales belong to, where no attribute says it.
    """
    if isinstance(x, Constant):
        return _constant(builder, call, x, at, wish, default_axis)
    if not isinstance(x, Coded):
        raise RefusedError("dequantises what is not known to be integers")
    bounds = (x.lattice.low, x.lattice.high)
    lattice, axis = lattice_of(call, at, sizes_of(x.real), bounds, default_axis)
    if x.like(lattice, axis):
        return x.real
    whole = codes_of(builder, call.name, x, f"{wish}_codes")
    own = None if axis is None else call.axis(whole, axis)
    moved = plus(builder, call.name, whole, -lattice.zero, f"{wish}_moved", own)
    return times(builder, call.name, moved, lattice.scale, wish, own)


def codes_of(builder: Builder, name: str, x: Coded, wish: str) -> Activation:
    """The integers themselves, as floats."""
    own = None if x.axis is None else x.real.own_axis(x.axis)
    return integers(builder, name, x.real, x.lattice, wish, own)


def entered(builder: Builder, x: Activation, kind: int) -> Coded | Activation:
    """An input of the network of ONNX's type ``kind``: integers are data of scale 1, which a
    Quantize says to those who choose formats."""
    if kind not in INTEGERS:
        return x
    lattice = Lattice(number(1), number(0), *bounds_of(INTEGERS[kind]))
    weights = {"scale": lattice.scale, "zero": lattice.zero}
    op = Quantize(lattice.low, lattice.high)
    return Coded(on_axis(builder, x.id, op, x, None, weights, f"{x.id}_whole"), lattice, None)


def whole(builder: Builder, value: Value | None) -> Value | None:
    """A value of a file whose batch is fixed at one, without that as its batch axis."""
    if isinstance(value, Activation):
        return builder.whole(value)
    if isinstance(value, Coded) and value.real.batch is not None:
        within = value.within
        again = within and (lambda low, high: builder.whole(within(low, high)))
        return replace(value, real=builder.whole(value.real), within=again)
    return value


def lattice_of(
    call: Call, at: int, shape: Sequence[int | None], bounds: tuple[int, int], default_axis: int = 1
) -> tuple[Lattice, int | None]:
    """The scales and zero points that two inputs give, and the axis of ``shape`` they belong to."""
    scale, zero = call.weight(at).array, np.zeros(1, np.int64)
    if isinstance(call.value(at + 1), Constant):
        source = call.constant(at + 1)
        _bounds(source)
        zero = source.array.astype(np.int64)
    elif call.value(at + 1) is not None:
        raise RefusedError(f"input {at + 2} is not a constant")
    if scale.ndim > 1 or zero.ndim > 1:
        raise RefusedError("has scales in blocks; supported: one, or one for each index of an axis")
    expect_scale(scale)
    vector = np.asarray(scale, np.float32).reshape(-1)
    if not vector.size or zero.size not in (1, vector.size):
        raise ModelError(
            "has zero points that do not fit its scales", found=zero.shape, expected=scale.shape
        )
    zeros = np.broadcast_to(zero.reshape(-1), vector.shape).astype(np.float32)
    lattice = Lattice(vector, zeros, *bounds)
    if vector.size == 1:
        return lattice, None
    axis = call.get("axis", default_axis)
    if not -len(shape) <= axis < len(shape):
        raise call.damaged("axis", f"{-len(shape)} to {len(shape) - 1}")
    if shape[axis] is None:
        raise RefusedError("is over the batch")
    if shape[axis] != vector.size:
        raise ModelError(
            "has scales that do not fit the data", found=vector.shape, expected=(shape[axis],)
        )
    return lattice, axis % len(shape)


def _constant(
    builder: Builder, call: Call, x: Constant, at: int, wish: str, default_axis: int
) -> Constant:
    low, high = _bounds(x)
    lattice, axis = lattice_of(call, at, x.array.shape, (low, high), default_axis)
    scale, zero = _broadcast(lattice, axis, x.array.ndim)
    # Differences of short integers are exact as floats; those of long ones are as wide integers.
    wide = np.float32 if max(-low, high) < EXACT else np.int64
    value = (x.array.astype(wide) - zero.astype(wide)).astype(np.float32, copy=False) * scale
    first, last = low - int(zero.max()), high - int(zero.min())
    codes = Codes(first, last, np.broadcast_to(scale, value.shape))
    return builder.folded(wish, value, codes=codes)


def _moved(
    builder: Builder, call: Call, form: Form, coded: list[Coded]
) -> Value | tuple[Value, ...]:
    """What an op that moves values does to integers, done to the data that they stand for."""
    first = coded[0]
    if any(not first.like(other.lattice, other.axis) for other in coded):
        raise RefusedError("joins integers of different scales")
    if first.axis is not None and call.op not in ("Identity", "Shape", "Size"):
        raise RefusedError("moves integers of one scale a channel; supported: of one scale")
    inputs = [value.real if isinstance(value, Coded) else value for value in call.inputs]
    if call.op == "Pad":
        inputs[2:3] = [_padding(call, first)]
    results = form.translate(builder, replace(call, inputs=tuple(inputs)))
    low = min(value.lattice.low for value in coded)
    high = max(value.lattice.high for value in coded)
    lattice = replace(first.lattice, low=low, high=high)

    def wrapped(value: Value) -> Value:
        if isinstance(value, Activation):
            return Coded(replace(value, linear=None), lattice, first.axis)
        return value

    return tuple(map(wrapped, results)) if isinstance(results, tuple) else wrapped(results)


def _padding(call: Call, x: Coded) -> Constant:
    """The data that the integer a Pad pads with stands for."""
    value = call.value(2)
    q = np.zeros((), np.int64)
    if isinstance(value, Constant) and value.array.size == 1:
        q = value.array.reshape(()).astype(np.int64)
    elif value is not None:
        raise RefusedError("pads with what is no constant")
    data = (q - x.lattice.zero[0]).astype(np.float32) * x.lattice.scale[0]
    return Constant("padding", lambda: data)


def _clipped(builder: Builder, call: Call) -> Value | None:
    """Clip on integers; None for one on floats."""
    x = call.value(0)
    if isinstance(x, Constant) and x.codes is None and x.array.dtype not in _HELD:
        return None
    assert isinstance(x, Constant | Coded)  # asked before
    low, high = (x.lattice.low, x.lattice.high) if isinstance(x, Coded) else _bounds(x)
    limits = [low, high]
    for i in (1, 2):
        if call.value(i) is not None:
            limit = call.constant(i).array
            if limit.size != 1 or is_float(limit):
                raise ModelError("its bound is no integer", found=limit.dtype)
            limits[i - 1] = int(limit.reshape(()))
    first, last = max(low, limits[0]), min(high, limits[1])
    if isinstance(x, Coded):
        return _bounded(builder, call, x, first, last)
    if first > last:
        raise RefusedError("has no integer between its bounds")
    codes = Codes(first, last, np.broadcast_to(np.float32(1), x.array.shape))
    return builder.folded(call.output, np.clip(x.array.astype(np.int64), first, last), codes=codes)


def _bounded(builder: Builder, call: Call, x: Coded, low: int, high: int) -> Coded:
    """Integers held within bounds, where they are quantised if that is known."""
    low, high = max(low, x.lattice.low), min(high, x.lattice.high)
    if low >= high:
        raise RefusedError("leaves one integer at most")
    lattice = replace(x.lattice, low=low, high=high)
    if x.within is not None:
        return Coded(x.within(low, high), lattice, x.axis, x.within)
    if x.axis is not None:
        raise RefusedError("bounds integers of one scale a channel; supported: of one scale")
    ends = (np.array((low, high), np.float32) - x.lattice.zero) * x.lattice.scale
    op = Clip(float(ends[0]), float(ends[1]))
    return Coded(builder.emit(op, (x.real.id,), call.name, call.output, like=x.real), lattice, None)


def _bounds(source: Constant) -> tuple[int, int]:
    """The integers that a constant may hold."""
    if source.codes is not None:
        return source.codes.low, source.codes.high
    return bounds_of(source.array.dtype)


def bounds_of(dtype: npt.DTypeLike) -> tuple[int, int]:
    """The least and the largest integer of a type; others than those of data are refused."""
    if np.dtype(dtype) not in _HELD:
        raise RefusedError(f"has integers of type {np.dtype(dtype)}; supported: of 4 to 32 bits")
    name = np.dtype(dtype).name
    return integer_range(int(name.strip("uint")), not name.startswith("u"), False)


def _broadcast(lattice: Lattice, axis: int | None, rank: int) -> tuple[Array, Array]:
    """The scales and zero points as they are broadcast against a value of so many axes."""
    if axis is None:
        return lattice.scale.reshape(()), lattice.zero.reshape(())
    shape = tuple(-1 if i == axis else 1 for i in range(rank))
    return lattice.scale.reshape(shape), lattice.zero.reshape(shape)


def sizes_of(x: Activation) -> list[int | None]:
    """The shape in the file, with None for the batch."""
    return [None if axis == x.batch else size for axis, size in enumerate(x.sizes(1))]


def to_float(builder: Builder, call: Call, x: Coded) -> Value:
    """Cast of integers: to floats, or to integers that can hold them."""
    kind = call.get("to", 0)
    if kind in FLOATS:
        return codes_of(builder, call.name, x, call.output)
    if kind not in CASTS:
        raise RefusedError(f"casts integers to {type_name(kind)}")
    low, high = bounds_of(CASTS[kind])
    if not low <= x.lattice.low <= x.lattice.high <= high:
        raise RefusedError("casts integers to a type that cannot hold them all")
    return x


_PARAMETERS = {
    "axis": anything,
    "block_size": only(0),
    "output_dtype": anything,
    "precision": only(0, 1),
    "saturate": anything,
}

FORMS: Mapping[str, Form] = {
    "DequantizeLinear": Form(
        28, dequantize_linear, _PARAMETERS | {"output_dtype": only(0, 1)}, codes=True
    ),
    "QuantizeLinear": Form(28, quantize_linear, _PARAMETERS),
}
"""ONNX's ops between data and integers that are understood."""
