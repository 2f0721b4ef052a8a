"""QONNX's ops: values brought onto a grid, in float.

A constant becomes a constant of which the graph knows the integers; on data they are ops of ours.
Source: the definitions in the documents of the qonnx package, and its executor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from ..graph import Grid
from ..ops import Array, Bipolar, Mul, Quantize, Round, Shape
from .call import Call, Form, anything, only, shown
from .values import Activation, Builder, Codes, Constant, RefusedError, Value

MAX_BITS = 32
"""Most bits of an integer."""

ENDLESS = 2**127
"""A bound that no float32 result reaches after a division by a scale, but the largest ones."""

EXACT = 2**20
"""Integers below this survive a product with a scale and one with its reciprocal, and rounding:
the three float32 roundings in between move them by less than a half."""

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
    if len(wide) > 1 or wide[0] < 0 or array.ndim > rank:
        raise RefusedError(
            f"has a {what} of shape {array.shape}; supported: one number, or one a channel"
        )
    return Spread(np.asarray(array, np.float32), wide[0])


def expect_scale(scale: Array) -> None:
    """Refuse scales that are not positive numbers."""
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise RefusedError("has a scale that is not positive and finite")


def expect_whole(zero: Array, what: str = "zero point") -> None:
    """Refuse zero points that are no integers."""
    if not (np.isfinite(zero) & (zero == np.rint(zero))).all():
        raise RefusedError(f"has a {what} that is no integer")


def on_axis(
    builder: Builder,
    call: Call,
    op: Quantize | Bipolar,
    x: Activation,
    axis: int | None,
    vectors: Mapping[str, Array],
    wish: str,
) -> Activation:
    """``op`` on ``x`` with these weights, by name; a channel is an index of ``axis`` of ours."""
    rank = len(x.shape)
    order: Shape = tuple(i for i in range(rank) if i != axis) + (() if axis is None else (axis,))
    weights = tuple(
        builder.add_weight(f"{wish}_{name}", vector) for name, vector in vectors.items()
    )
    return builder.between(op, order, x, call.name, wish, weights)


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
    x = on_axis(
        builder, call, Quantize(-ENDLESS, ENDLESS), x, None, _known(own), f"{call.output}_whole"
    )
    x = integers(builder, call, x, Grid(-(2**bits), 2**bits, _number(own)), endless=True)
    cut = Quantize(low, high, rounding)
    y = on_axis(builder, call, cut, x, None, _known(2.0**dropped), f"{call.output}_cut")
    factor = builder.add_weight(f"{call.output}_factor", _number(again))
    return builder.emit(Mul(), (y.id, factor), f"{call.name}_scale", call.output, like=x)


def integers(
    builder: Builder, call: Call, x: Activation, grid: Grid, endless: bool = False
) -> Activation:
    """The integers of a value that lies on ``grid``, as floats.

    A product with the reciprocal of a scale that is no power of two may miss them by a little, and
    is rounded.

    Args:
        builder, call: as for a translator.
        x: the value.
        grid: its integers, and one scale.
        endless: whether values beyond the least and the largest integer stay what they are.

    Raises:
        RefusedError: the integers are too large for that.
    """
    scale = float(grid.scale[0])
    if scale == 1:
        return x
    exact = np.frexp(scale)[0] == 0.5
    if not exact and max(-grid.low, grid.high) >= EXACT:
        raise RefusedError(
            "needs the integers of a value of many bits, with a scale that is no power of two"
        )
    factor = builder.add_weight(f"{call.output}_reciprocal", _number(1 / scale))
    y = builder.emit(
        Mul(), (x.id, factor), f"{call.name}_integers", f"{call.output}_integers", batch=x.batch
    )
    if exact:
        return y
    low, high = (-ENDLESS, ENDLESS) if endless else (grid.low, grid.high)
    return on_axis(
        builder, call, Quantize(low, high), y, None, _known(1.0), f"{call.output}_rounded"
    )


def _number(value: float) -> Array:
    return np.array([value], np.float32)


def _known(scale: float) -> dict[str, Array]:
    """The weights of a Quantize with one scale and no zero point."""
    return {"scale": _number(scale), "zero": _number(0)}


def integer_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The least and the largest integer of so many bits; a narrow range has one less."""
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def _quantised(builder: Builder, call: Call, op: Quantize, scale: Spread, zero: Spread) -> Value:
    x = call.value(0)
    if isinstance(x, Constant):
        value = call.weight(0).array
        _expect_within(value, scale.value, zero.value)
        with np.errstate(all="ignore"):
            made = np.asarray(op.forward(value, scale.value, zero.value), np.float32)
        low, high = op.low - int(zero.value.max()), op.high - int(zero.value.min())
        codes = Codes(low, high, np.broadcast_to(scale.value, value.shape))
        return builder.folded(call.output, made, codes=codes)
    x, axis = _channels(call, scale, zero)
    vectors = {"scale": scale.vector, "zero": zero.vector}
    return on_axis(builder, call, op, x, axis, vectors, call.output)


def _bipolar(builder: Builder, call: Call, scale: Spread) -> Value:
    x = call.value(0)
    if isinstance(x, Constant):
        value = call.weight(0).array
        _expect_within(value, scale.value)
        made = np.asarray(Bipolar().forward(value, scale.value), np.float32)
        codes = Codes(-1, 1, np.broadcast_to(scale.value, value.shape))
        return builder.folded(call.output, made, codes=codes)
    x, axis = _channels(call, scale)
    return on_axis(builder, call, Bipolar(), x, axis, {"scale": scale.vector}, call.output)


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
