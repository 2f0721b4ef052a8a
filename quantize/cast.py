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

LARGEST_SHIFT = 100
"""Powers of two up to it, and their inverses, are normal float32 with room to spare."""


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
            return np.clip(v, low, high, out=v)  # one pass, and faster than maximum or minimum
        case Overflow.SAT_SYM:
            return np.clip(v, float(symmetric_low(target)), high, out=v)
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
    """Raw values of floats assigned to ``target``: integers in a float array, float32 or float64.

    Raises:
        FormatError: a value is NaN or infinite.
    """
    v = np.asarray(x)
    if rounding is Rounding.RND and overflow is Overflow.SAT and target.width < 53:
        narrow = target.width < 24 and abs(target.fraction) < LARGEST_SHIFT
        if v.dtype != np.float32 or not narrow:
            v = v.astype(np.float64, copy=False)
        return _half_up(_finite(v), target)
    v = v.astype(np.float64) * 2.0**target.fraction
    return fit(round_to_integer(_finite(v), rounding), target, overflow)


def _finite(v: Array) -> Array:
    if not np.isfinite(v).all():
        raise FormatError(
            "only finite numbers have a fixed-point value",
            found="NaN or infinity",
            expected="finite numbers",
        )
    return v


def _half_up(x: Array, target: Format) -> Array:
    """``x`` rounded to the nearest raw value, ties up, and saturated; in its own float type, whose
    mantissa has more bits than the target.

    With t the number of whole half steps in x, the result is the floor of (t + 1) / 2.  The scaling
    is by a power of two and every floor is exact; the sum is as long as the mantissa holds t + 1.
    Beyond that, on either side, the result saturates, be it inexact or infinite.  What underflows
    in the scaling has no half step either way: 0 and -1 both give 0.
    """
    with np.errstate(over="ignore", under="ignore"):
        v: Array = x * np.asarray(2.0 ** (target.fraction + 1), x.dtype)
    np.floor(v, out=v)
    v += np.asarray(1, v.dtype)
    v *= np.asarray(0.5, v.dtype)
    np.floor(v, out=v)
    return fit(v, target, Overflow.SAT)
