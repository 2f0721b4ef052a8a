"""Exact ops that no float network has: what composite ops are made of, on raw integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..frontend.ops import Array, Shape
from ..frontend.ops.base import expect


@dataclass(frozen=True)
class BelowMax:
    """``max(x) - x`` over the last axis: how far each value lies below its row's largest."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        # NumPy is slow along a short last axis: the classes go first in memory, and stay there.
        classes = np.ascontiguousarray(np.moveaxis(x, -1, 0))
        return np.moveaxis(classes.max(axis=0) - classes, 0, -1)


@dataclass(frozen=True)
class Square:
    """``x · x``, value by value."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.square(inputs[0])


@dataclass(frozen=True)
class Combine:
    """``a · 2^shifts[0] ± b · 2^shifts[1]``: the sum or difference of values whose fractions are
    aligned by the shifts.

    b is of a's shape, or has a last axis of size 1 (one value for each row of a), or is a constant:
    one number, or an array of a shape in which a's ends.
    """

    shifts: tuple[int, int]
    negative: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        return pair(*shapes)

    def forward(self, *inputs: Array) -> Array:
        a, b = (
            x * np.asarray(1 << shift, x.dtype) if shift else x
            for x, shift in zip(inputs, self.shifts, strict=True)
        )
        return np.asarray(a - b if self.negative else a + b)


@dataclass(frozen=True)
class Clamp:
    """The nearest value within ``[low, high]``, both raw."""

    low: int
    high: int

    def infer(self, *shapes: Shape) -> Shape:
        expect(
            self.low <= self.high,
            "a clamp's bounds are in the wrong order",
            found=f"{self.low} to {self.high}",
            expected="low <= high",
        )
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.clip(inputs[0], self.low, self.high)


@dataclass(frozen=True)
class Leaky:
    """``x`` where it is not negative, else ``x`` times a slope; inputs are x and the slope, a
    constant of ``fraction`` fraction bits: one number, or one for each index of the last axis.

    The result has as many fraction bits more than x.
    """

    fraction: int

    def infer(self, *shapes: Shape) -> Shape:
        return pair(*shapes)

    def forward(self, *inputs: Array) -> Array:
        x, slope = inputs
        return np.asarray(x * np.where(x < 0, slope, np.asarray(2.0**self.fraction, x.dtype)))


def pair(*shapes: Shape) -> Shape:
    """The shape of an elementwise result: the first operand's, which the second must fit.

    Raises:
        ShapeError: the second is neither of the same shape, nor one value a row, nor an array of a
            shape in which the first ends, nor one number.
    """
    a, b = shapes
    row = len(a) == len(b) and b[-1:] == (1,) and a[:-1] == b[:-1]
    suffix = len(b) <= len(a) and a[len(a) - len(b) :] == b
    expect(
        row or suffix or b in ((), (1,)),
        "operands do not fit each other",
        found=f"{a} and {b}",
        expected="shapes alike, one value a row, or a constant for the last axes",
    )
    return a


@dataclass(frozen=True)
class Axis:
    """How one axis of a :class:`Rearrange`'s result is read from the operand.

    Index i of the result stands for position ``start + step · i``; the operand's index is the
    position divided by ``divisor``, rounded down.

    Attributes:
        size: of the result.
        source: the operand's axis.
        sparse: only positions that the divisor divides hold a value, the others the fill.
    """

    size: int
    source: int
    start: int = 0
    step: int = 1
    divisor: int = 1
    sparse: bool = False

    def index(self, size: int) -> Array:
        """For each index of the result the operand's, or -1 where the fill stands.

        Args:
            size: the operand's size along ``source``.
        """
        position = self.start + self.step * np.arange(self.size)
        index = position // self.divisor
        outside = (index < 0) | (index >= size)
        if self.sparse:
            outside |= position % self.divisor != 0
        return np.where(outside, -1, index)

    def plain(self, size: int) -> bool:
        """Whether the axis is the operand's, unchanged."""
        return self == Axis(size, self.source)


@dataclass(frozen=True)
class Rearrange:
    """Values moved, repeated, left out and filled in: transposing, slicing, padding, upsampling.

    Attributes:
        axes: one for each axis of the result; each axis of the operand stands behind one of them.
        fill: raw value where no value of the operand stands.
    """

    axes: tuple[Axis, ...]
    fill: int = 0

    @staticmethod
    def transpose(shape: Shape, order: Sequence[int]) -> Rearrange:
        """Axis i of the result is axis ``order[i]`` of an operand of ``shape``."""
        return Rearrange(tuple(Axis(shape[axis], axis) for axis in order))

    @staticmethod
    def along(shape: Shape, changed: dict[int, Axis], fill: int = 0) -> Rearrange:
        """An operand of ``shape`` with some axes read in another way."""
        axes = (changed.get(i, Axis(size, i)) for i, size in enumerate(shape))
        return Rearrange(tuple(axes), fill)

    @staticmethod
    def expand(shape: Shape, wanted: Shape) -> Rearrange:
        """An operand of ``shape`` whose axes of size 1 are repeated up to ``wanted``."""
        changed = {
            i: Axis(size, i, step=0) for i, size in enumerate(wanted) if shape[i] == 1 != size
        }
        return Rearrange.along(shape, changed)

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(
            sorted(axis.source for axis in self.axes) == list(range(len(x)))
            and all(axis.size >= 1 and axis.divisor >= 1 for axis in self.axes),
            "a rearrangement must read every axis of its operand once",
            found=[axis.source for axis in self.axes],
            expected=f"{len(x)} axes",
        )
        return tuple(axis.size for axis in self.axes)

    def fills(self, x: Shape) -> bool:
        """Whether the fill stands anywhere in the result for an operand of shape ``x``."""
        return any((axis.index(x[axis.source]) < 0).any() for axis in self.axes)

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        sizes = x.shape[1:]
        y: Array = x.transpose(0, *(axis.source + 1 for axis in self.axes))
        for i, axis in enumerate(self.axes, 1):
            if axis.plain(sizes[axis.source]):
                continue
            index = axis.index(sizes[axis.source])
            y = y.take(index, axis=i, mode="wrap")
            outside = index < 0
            if outside.any():
                y[(slice(None),) * i + (outside,)] = self.fill
        return y
