"""Integers that depend on how many samples there are, as exporters work them out for shapes.

An array that holds one is of NumPy's ``object`` type: ops that only move values take it as it is,
and every other one must say how it takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..ops import Array
from .refused import RefusedError

if TYPE_CHECKING:
    from .values import Activation, Builder

MAX_MAGNITUDE = 2**63 - 1
"""Largest integer that ONNX has; beyond it a file's own arithmetic would wrap around."""


@dataclass(frozen=True)
class Size:
    """``base + slope · N`` for a batch of N samples, of which there is at least one.

    Attributes:
        base: what does not depend on the batch.
        slope: how much each sample adds; not zero.
    """

    base: int
    slope: int

    def __add__(self, other: Number) -> Number:
        base, slope = _parts(other)
        return number(self.base + base, self.slope + slope)

    __radd__ = __add__

    def __neg__(self) -> Number:
        return Size(-self.base, -self.slope)

    def __sub__(self, other: Number) -> Number:
        return self + -other

    def __rsub__(self, other: Number) -> Number:
        return -self + other

    def __mul__(self, other: Number) -> Number:
        base, slope = _parts(other)
        if slope:
            raise RefusedError("multiplies the number of samples with itself")
        return number(self.base * base, self.slope * base)

    __rmul__ = __mul__

    def __str__(self) -> str:
        text = "N" if self.slope == 1 else f"{self.slope}*N"
        return text if self.base == 0 else f"{text}{self.base:+}"


Number = int | Size

SAMPLES = Size(0, 1)
"""How many samples there are."""


def number(base: int, slope: int) -> Number:
    """``base + slope · N``; refused where the file's own integers could not hold it."""
    if max(abs(base), abs(slope)) > MAX_MAGNITUDE:
        raise ModelError("works out an integer that is too large", expected="64 bits")
    return Size(base, slope) if slope else base


def _parts(value: Number) -> tuple[int, int]:
    return (value.base, value.slope) if isinstance(value, Size) else (int(value), 0)


def divided(a: Number, b: Number) -> Number:
    """``a / b``, rounded towards zero where both are known, and without a rest otherwise."""
    (base, slope), (by, by_slope) = _parts(a), _parts(b)
    if not (slope or by_slope):
        if by == 0:
            raise ModelError("divides by zero")
        return number(abs(base) // abs(by) * (1 if (base < 0) == (by < 0) else -1), 0)
    if by_slope:
        if base * by_slope == slope * by and slope % by_slope == 0:
            return slope // by_slope
    elif by and base % by == 0 and slope % by == 0:
        return number(base // by, slope // by)
    raise RefusedError(f"divides {a} by {b}, which leaves a rest")


def rest(a: Number, b: Number) -> Number:
    """``a mod b`` with the sign of ``b``, where that is the same for every number of samples."""
    (base, slope), (by, by_slope) = _parts(a), _parts(b)
    if by_slope or by == 0 or slope % by:
        raise RefusedError(f"takes the rest of {a} by {b}, which depends on the samples")
    return base % by


def equal(a: Number, b: Number) -> bool:
    """Whether two numbers are the same, refused where that depends on the samples."""
    base, slope = _parts(a - b)
    if slope and base % slope == 0 and -base // slope >= 1:
        raise RefusedError(f"compares {a} with {b}, which depends on the samples")
    return slope == 0 and base == 0


def less(a: Number, b: Number) -> bool:
    """Whether ``a < b``, refused where that depends on the samples."""
    base, slope = _parts(b - a)
    first = base + slope
    if (first > 0 and slope < 0) or (first <= 0 and slope > 0):
        raise RefusedError(f"compares {a} with {b}, which depends on the samples")
    return first > 0


def settled(array: Array) -> Array:
    """An array of numbers as int64 (or bool) where all of them are known."""
    values = array.reshape(-1).tolist()
    if any(isinstance(value, Size) for value in values):
        for value in values:
            number(*_parts(value))
        return array
    if all(isinstance(value, bool) for value in values):
        return array.astype(np.bool_)
    for value in values:
        number(value, 0)
    return array.astype(np.int64)


def _pairwise(function: Callable[[Number, Number], Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = np.frompyfunc(function, 2, 1)
    return made


PAIRS: Mapping[str, Callable[..., Any]] = {
    "Add": _pairwise(lambda a, b: a + b),
    "Sub": _pairwise(lambda a, b: a - b),
    "Mul": _pairwise(lambda a, b: a * b),
    "Div": _pairwise(divided),
    "Mod": _pairwise(rest),
    "Equal": _pairwise(equal),
    "Less": _pairwise(less),
    "LessOrEqual": _pairwise(lambda a, b: not less(b, a)),
    "Greater": _pairwise(lambda a, b: less(b, a)),
    "GreaterOrEqual": _pairwise(lambda a, b: not less(a, b)),
    "Max": _pairwise(lambda a, b: b if less(a, b) else a),
    "Min": _pairwise(lambda a, b: a if less(a, b) else b),
}
"""Ops on two arrays of numbers."""


def dimensions(builder: Builder, x: Activation) -> list[Number]:
    """The shape of the ONNX value, the batch among it."""
    if builder.batch is not None or x.batch is None:
        return list(x.sizes(builder.batch or 1))
    sizes: list[Number] = list(x.sizes(1))
    sizes[x.batch] = sizes[x.batch] * SAMPLES
    return sizes


def product(numbers: Iterable[Number]) -> Number:
    """All numbers times each other."""
    total: Number = 1
    for value in numbers:
        total = total * value
    return total
