"""What the translators of quantised models share: nodes that bring values onto grids, and off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ops import Add, Array, Bipolar, Mul, Quantize, Shape
from ..values import Activation, Builder, Lattice, RefusedError

ENDLESS = 2**128 - 2**104
"""The largest float32, as a bound that is none."""

EXACT = 2**20
"""Integers below this survive a product with a scale and one with its reciprocal, and rounding:
the three float32 roundings in between move them by less than a half."""


def expect_scale(scale: Array) -> None:
    """Refuse scales that are not positive numbers, or so small that their reciprocal is none."""
    with np.errstate(all="ignore"):
        good = np.isfinite(scale) & (scale > 0) & np.isfinite(1 / np.asarray(scale, np.float32))
    if not good.all():
        raise RefusedError("has a scale that is not positive and finite")


def expect_whole(zero: Array, what: str = "zero point") -> None:
    """Refuse zero points that are no integers."""
    if not (np.isfinite(zero) & (zero == np.rint(zero))).all():
        raise RefusedError(f"has a {what} that is no integer")


def integer_range(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The least and the largest integer of so many bits; a narrow range has one less."""
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


def on_axis(
    builder: Builder,
    name: str,
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
    return builder.between(op, order, x, name, wish, weights)


def integers(
    builder: Builder,
    name: str,
    x: Activation,
    lattice: Lattice,
    wish: str,
    axis: int | None = None,
    reach: int = 0,
) -> Activation:
    """The integers of a value that lies on a grid, as floats.

    A product with the reciprocal of a scale that is no power of two may miss them by a little, and
    is rounded.

    Args:
        builder: collects the nodes.
        name: of the node that they are for.
        x: the value.
        lattice: its scales, zero points and bounds.
        wish: what the result is called.
        axis: the axis of ours that these belong to.
        reach: the largest integer that comes; by default all within the bounds may.

    Raises:
        RefusedError: the integers are too large for that.
    """
    scale, zero = lattice.scale, lattice.zero
    low, high = lattice.low - int(zero.max()), lattice.high - int(zero.min())
    exact = bool((np.frexp(scale)[0] == 0.5).all())
    if not exact and (reach or max(-low, high)) > EXACT:
        raise RefusedError(
            "needs the integers of a value of many bits, with a scale that is no power of two"
        )
    if (scale != 1).any():
        x = times(builder, name, x, 1 / scale, f"{wish}_scaled", axis)
        if not exact:
            known = plain(1.0)
            x = on_axis(builder, name, Quantize(low, high), x, None, known, f"{wish}_rounded")
    return plus(builder, name, x, zero, wish, axis)


def times(
    builder: Builder, name: str, x: Activation, factor: Array, wish: str, axis: int | None = None
) -> Activation:
    """``x`` times one number, or one for each index of an axis of ours."""
    weight = builder.add_weight(f"{wish}_factor", _along(x, factor, axis))
    return builder.emit(Mul(), (x.id, weight), f"{name}_times", wish, like=x)


def plus(
    builder: Builder, name: str, x: Activation, offset: Array, wish: str, axis: int | None = None
) -> Activation:
    """``x`` with one number added, or one for each index of an axis of ours; nothing for zeros."""
    if not offset.any():
        return x
    weight = builder.add_weight(f"{wish}_offset", _along(x, offset, axis))
    return builder.emit(Add(), (x.id, weight), f"{name}_plus", wish, like=x)


def _along(x: Activation, vector: Array, axis: int | None) -> Array:
    return vector if axis is None else vector.reshape(-1, *(1,) * (len(x.shape) - 1 - axis))


def number(value: float) -> Array:
    """One number as a weight."""
    return np.array([value], np.float32)


def plain(scale: float) -> dict[str, Array]:
    """The weights of a Quantize with one scale and no zero point."""
    return {"scale": number(scale), "zero": number(0)}
