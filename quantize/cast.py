"""``Cast``: the only op that rounds or overflows, bit for bit as ``ap_fixed`` assigns.

Raw values are kept as integer-valued floats.  Every step below is exact in IEEE arithmetic: a
scaling by a power of two, ``v - trunc(v)``, comparisons, and ``fmod``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ..frontend.errors import FormatError
from ..frontend.ops import Array, Shape
from .formats import Format, Overflow, Rounding


def round_to_integer(v: Array, rounding: Rounding) -> Array:
    """Round each value to an integer, ties and direction as the mode says."""
    up: np.ufunc
    down: np.ufunc
    match rounding:
        case Rounding.TRN:
            return np.floor(v)
        case Rounding.TRN_ZERO:
            return np.trunc(v)
        case Rounding.RND_CONV:
            return np.rint(v)
        case Rounding.RND:
            up, down = np.greater_equal, np.less
        case Rounding.RND_MIN_INF:
            up, down = np.greater, np.less_equal
        case Rounding.RND_INF:
            up, down = np.greater_equal, np.less_equal
        case Rounding.RND_ZERO:
            up, down = np.greater, np.less
        case _:
            assert_never(rounding)
    whole: Array = np.trunc(v)
    rest = v - whole
    whole += up(rest, 0.5)
    whole -= down(rest, -0.5)
    return whole


def symmetric_low(target: Format) -> int:
    """Smallest raw value under SAT_SYM: the negative of the largest, but for the one signed bit,
    which AMD's headers let reach -1."""
    return -target.high if target.signed and target.width > 1 else target.low


def fit(v: Array, target: Format, overflow: Overflow) -> Array:
    """Bring integers into the target's range; ``v`` may be overwritten."""
    low, high = float(target.low), float(target.high)
    match overflow:
        case Overflow.SAT:
            np.maximum(v, low, out=v)
            return np.minimum(v, high, out=v)
        case Overflow.SAT_SYM:
            np.maximum(v, float(symmetric_low(target)), out=v)
            return np.minimum(v, high, out=v)
        case Overflow.SAT_ZERO:
            v[(v < low) | (v > high)] = 0
            return v
        case Overflow.WRAP:
            modulus = float(1 << target.width)
            np.fmod(v, modulus, out=v)
            v[v < low] += modulus
            v[v > high] -= modulus
            return v
        case _:
            assert_never(overflow)


@dataclass(frozen=True)
class Cast:
    """Assign to ``format``: first quantise, then overflow.

    Attributes:
        shift: fraction of the source minus fraction of the target, the bits that are dropped;
            negative where zeros are appended.
        format: the target.
        rounding, overflow: the modes.
    """

    shift: int
    format: Format
    rounding: Rounding = Rounding.RND
    overflow: Overflow = Overflow.SAT

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        """Raw values of the target from raw values of the source, in the array's own type.

        The caller chooses a float type that holds both exactly.
        """
        (raw,) = inputs
        v: Array = raw * np.asarray(2.0**-self.shift, raw.dtype)
        if self.shift > 0:
            v = round_to_integer(v, self.rounding)
        return fit(v, self.format, self.overflow)

    def is_quick(self, bound: int, mantissa: int) -> bool:
        """Whether :meth:`quick` is exact for raw values up to ``bound`` in magnitude, in a float
        type of ``mantissa`` bits: then the sum with one half has no more bits than that."""
        half = 1 << max(self.shift - 1, 0)
        return (
            self.rounding is Rounding.RND
            and self.overflow is Overflow.SAT
            and self.shift > 0
            and bound + half <= 1 << mantissa
        )

    def quick(self, raw: Array) -> Array:
        """The same as :meth:`forward` in fewer steps, where :meth:`is_quick` allows it."""
        v: Array = raw * np.asarray(2.0**-self.shift, raw.dtype)
        v += np.asarray(0.5, v.dtype)
        np.floor(v, out=v)
        return fit(v, self.format, self.overflow)


def cast_float(
    x: Array, target: Format, rounding: Rounding = Rounding.RND, overflow: Overflow = Overflow.SAT
) -> Array:
    """Raw values, as float64 integers, of floats assigned to ``target``.

    Raises:
        FormatError: a value is NaN or infinite.
    """
    v = np.asarray(x, np.float64) * 2.0**target.fraction
    if not np.isfinite(v).all():
        raise FormatError(
            "only finite numbers have a fixed-point value",
            found="NaN or infinity",
            expected="finite numbers",
        )
    return fit(round_to_integer(v, rounding), target, overflow)
