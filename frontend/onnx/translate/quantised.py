"""QONNX's ops: values brought onto a grid, in float.

A constant becomes a constant of which the graph knows the integers; on data they are ops of ours.
Source: the definitions in the documents of the qonnx package, and its executor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import ModelError
from ...ops import Array, Bipolar, Quantize, Round
from ..call import Call, Form, anything, only, shown
from ..values import Activation, Builder, Codes, Constant, Lattice, RefusedError, Value
from .activation import Translator
from .scales import (
    ENDLESS,
    expect_scale,
    expect_whole,
    integer_range,
    integers,
    number,
    on_axis,
    plain,
    times,
)

MAX_BITS = 32
"""Most bits of an integer."""

ROUNDINGS: Mapping[str, Round] = {
    "ROUND": Round.HALF_EVEN,
    "HALF_EVEN": Round.HALF_EVEN,
    "HALF_UP": Round.HALF_UP,
    "HALF_DOWN": Round.HALF_DOWN,
    "CEIL": Round.CEIL,
    "FLOOR": Round.FLOOR,
    "UP": Round.UP,
    "DOWN": Round.DOWN,
    "ROUND_TO_ZERO": Round.DOWN,
}
"""QONNX's names of roundings; case does not matter."""


@dataclass(frozen=True)
class Spread:
    """A constant that belongs to all of a value, or to the indices of one of its axes.

    Attributes:
        value: as it is broadcast against the value in the file, float32.
        axis: the axis of the file's value, or None.
    """

    value: Array
    axis: int | None

    @property
    def vector(self) -> Array:
        """One number, or one for each index of the axis."""
        return self.value.reshape(-1)


def spread(call: Call, index: int, rank: int, what: str) -> Spread:
    """A constant input that is broadcast against a value of ``rank`` axes.

    Raises:
        RefusedError: it differs along more than one of them.
    """
    array = call.constant(index).array
    if array.dtype.kind not in "fiu":
        raise ModelError(f"its {what} is no number", found=array.dtype)
    wide = [i + rank - array.ndim for i, n in enumerate(array.shape) if n != 1]
    if array.size == 1:
        return Spread(np.asarray(array, np.float32).reshape(()), None)
    if not array.size or len(wide) > 1 or wide[0] < 0 or array.ndim > rank:
        raise RefusedError(
            f"has a {what} of shape {array.shape}; supported: one number, or one a channel"
        )
    return Spread(np.asarray(array, np.float32), wide[0])


def quant(builder: Builder, call: Call) -> Value:
    """QONNX's Quant and IntQuant; a signed one of one bit is bipolar, as its executor has it."""
    bits = _bits(call, 3)
    signed, narrow = call.get("signed", 1), call.get("narrow", 0)
    rank = _rank(call)
    scale, zero = spread(call, 1, rank, "scale"), spread(call, 2, rank, "zero point")
    expect_scale(scale.value)
    expect_whole(zero.value)
    if signed and bits == 1:
        if zero.value.any():
            raise RefusedError("is of one bit and has a zero point")
        return _bipolar(builder, call, scale)
    low, high = integer_range(bits, bool(signed), bool(narrow))
    if low == high:
        raise RefusedError("has one integer alone")
    op = Quantize(low, high, _rounding(call, "ROUND"), shifted=True)
    return _quantised(builder, call, op, scale, zero)


def rounding(how: Round) -> Translator:
    """ONNX's Round, Floor and Ceil: onto the integers, without bounds."""

    def translate(builder: Builder, call: Call) -> Value:
        x = call.data(anywhere=True, merged=True)
        op = Quantize(-ENDLESS, ENDLESS, how)
        return on_axis(builder, call.name, op, x, None, plain(1.0), call.output)

    return translate


def bipolar_quant(builder: Builder, call: Call) -> Value:
    scale = spread(call, 1, _rank(call), "scale")
    expect_scale(scale.value)
    return _bipolar(builder, call, scale)


def trunc(builder: Builder, call: Call) -> Value:
    """QONNX's Trunc: the integers of a value without their last bits.

    Version 1 gives them with the scale that they had, version 2 with one that fits.  Both bring
    the value onto its own grid first, without bounds.
    """
    x = call.data(anywhere=True, merged=True)
    scale, zero = spread(call, 1, x.rank, "scale"), spread(call, 2, x.rank, "zero point")
    expect_scale(scale.value)
    if zero.value.any():
        raise RefusedError("has a zero point; supported: 0")
    if scale.axis is not None:
        raise RefusedError("has a scale for each channel; supported: one")
    rounding, own, bits = _rounding(call, "FLOOR"), float(scale.value), _bits(call, 3)
    if len(call.inputs) == 5:
        dropped, (low, high) = bits - _bits(call, 4), (-ENDLESS, ENDLESS)
        again = own * 2.0**-dropped
    else:
        out = spread(call, 4, 0, "scale")
        expect_scale(out.value)
        mantissa, exponent = np.frexp(float(out.value) / own)
        if mantissa != 0.5:
            raise RefusedError("has an output scale that is no power of two times the scale")
        dropped, again = int(exponent) - 1, own
        low, high = integer_range(
            _bits(call, 5), bool(call.get("signed", 1)), bool(call.get("narrow", 0))
        )
    if not 0 <= dropped <= MAX_BITS or low == high:
        raise RefusedError(f"drops {dropped} bits; supported: 0 to {MAX_BITS}")
    whole = Quantize(-ENDLESS, ENDLESS)
    x = on_axis(builder, call.name, whole, x, None, plain(own), f"{call.output}_whole")
    grid = Lattice(number(own), number(0), -ENDLESS, ENDLESS)
    x = integers(builder, call.name, x, grid, f"{call.output}_integers", reach=2**bits)
    cut = Quantize(low, high, rounding)
    y = on_axis(builder, call.name, cut, x, None, plain(2.0**dropped), f"{call.output}_cut")
    return times(builder, call.name, y, number(again), call.output)


def _quantised(builder: Builder, call: Call, op: Quantize, scale: Spread, zero: Spread) -> Value:
    x = call.value(0)
    if isinstance(x, Constant):
        value = call.weight(0).array
        _expect_within(value, scale.value, zero.value)
        made = np.asarray(op.forward(value, scale.value, zero.value), np.float32)
        low, high = op.low - int(zero.value.max()), op.high - int(zero.value.min())
        codes = Codes(low, high, np.broadcast_to(scale.value, value.shape))
        return builder.folded(call.output, made, codes=codes)
    x, axis = _channels(call, scale, zero)
    vectors = {"scale": scale.vector, "zero": zero.vector}
    return on_axis(builder, call.name, op, x, axis, vectors, call.output)


def _bipolar(builder: Builder, call: Call, scale: Spread) -> Value:
    x = call.value(0)
    if isinstance(x, Constant):
        value = call.weight(0).array
        _expect_within(value, scale.value)
        made = np.asarray(Bipolar().forward(value, scale.value), np.float32)
        codes = Codes(-1, 1, np.broadcast_to(scale.value, value.shape))
        return builder.folded(call.output, made, codes=codes)
    x, axis = _channels(call, scale)
    return on_axis(builder, call.name, Bipolar(), x, axis, {"scale": scale.vector}, call.output)


def _channels(call: Call, *parts: Spread) -> tuple[Activation, int | None]:
    """The data, and the axis of ours that the parts belong to."""
    axes = {part.axis for part in parts} - {None}
    x = call.data(anywhere=True, merged=not axes)
    if len(axes) > 1:
        raise RefusedError("has a scale and a zero point for different axes")
    for axis in axes:
        assert axis is not None  # taken out above
        own = call.axis(x, axis, "scale")
        if any(part.vector.size not in (1, x.shape[own]) for part in parts):
            raise RefusedError("has scales that do not fit the data")
        return x, own
    return x, None


def _expect_within(value: Array, *others: Array) -> None:
    """Refuse what would be broadcast to more than the values that there are."""
    try:
        shape = np.broadcast_shapes(value.shape, *(other.shape for other in others))
    except ValueError:
        shape = ()
    if shape != value.shape:
        raise RefusedError(
            f"has scales of shapes {[other.shape for other in others]} for {value.shape}"
        )


def _rank(call: Call) -> int:
    x = call.value(0)
    return x.array.ndim if isinstance(x, Constant) else call.data(anywhere=True, merged=True).rank


def _bits(call: Call, index: int) -> int:
    array = call.constant(index).array
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise RefusedError(f"has a bit width of shape {array.shape}; supported: one number")
    bits = float(array.reshape(()))
    if not 1 <= bits <= MAX_BITS or bits != int(bits):
        raise RefusedError(f"has a bit width of {bits}; supported: integers, 1 to {MAX_BITS}")
    return int(bits)


def _rounding(call: Call, default: str) -> Round:
    mode = call.get("rounding_mode", default).upper()
    if mode not in ROUNDINGS:
        raise RefusedError(f"rounds by {shown(mode)}; supported: {', '.join(ROUNDINGS)}")
    return ROUNDINGS[mode]


_RANGE = {"narrow": only(0, 1), "rounding_mode": anything, "signed": only(0, 1)}

FORMS: Mapping[str, Form] = {
    "BipolarQuant": Form(1, bipolar_quant, {}),
    "IntQuant": Form(1, quant, _RANGE),
    "Quant": Form(1, quant, _RANGE),
    "Trunc": Form(1, trunc, _RANGE),
}
"""QONNX's ops that are understood."""

ROUNDING_FORMS: Mapping[str, Form] = {
    "Ceil": Form(13, rounding(Round.CEIL), {}),
    "Floor": Form(13, rounding(Round.FLOOR), {}),
    "Round": Form(22, rounding(Round.HALF_EVEN), {}),
}
"""ONNX's own roundings."""
