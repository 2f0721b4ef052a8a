"""Ops that cut, extend, repeat and join values along axes, which are counted without the batch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .window import Window


@dataclass(frozen=True)
class Slice:
    """The values at ``start``, ``start + step`` ... along one axis, up to but without ``stop``.

    A negative step runs backwards, and down to index 0 if ``stop`` is -1.
    """

    axis: int
    start: int
    stop: int
    step: int = 1

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect_axis(self.axis, x)
        size = x[self.axis]
        forwards = self.step > 0 and 0 <= self.start < self.stop <= size
        backwards = self.step < 0 and -1 <= self.stop < self.start < size
        expect(
            forwards or backwards,
            "a slice must hold at least one value, and none beyond the axis",
            found=f"{self.start} to {self.stop} in steps of {self.step}",
            expected=f"indices of an axis of size {size}",
        )
        kept = len(range(self.start, self.stop, self.step))
        return (*x[: self.axis], kept, *x[self.axis + 1 :])

    @property
    def _place(self) -> tuple[slice, ...]:
        stop = None if self.stop < 0 else self.stop
        return (*(slice(None),) * (self.axis + 1), slice(self.start, stop, self.step))

    def forward(self, *inputs: Array) -> Array:
        return inputs[0][self._place]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        def pullback(grad: Array) -> tuple[Array | None, ...]:
            total = np.zeros(inputs[0].shape, grad.dtype)
            total[self._place] = grad
            return (total,)

        return self.forward(*inputs), pullback


@dataclass(frozen=True)
class Pad:
    """``value`` added before and after each axis, as often as ``before`` and ``after`` say."""

    before: Shape
    after: Shape
    value: float = 0.0

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(
            len(self.before) == len(self.after) == len(x)
            and min(self.before + self.after, default=0) >= 0,
            "padding must have a size of at least 0 before and after each axis",
            found=f"before {self.before}, after {self.after}",
            expected=f"sizes for {len(x)} axes",
        )
        return tuple(b + n + a for b, n, a in zip(self.before, x, self.after, strict=True))

    def _place(self, x: Array) -> tuple[slice, ...]:
        spans = zip(self.before, x.shape[1:], strict=True)
        return (slice(None), *(slice(b, b + n) for b, n in spans))

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y = np.full((len(x), *self.infer(x.shape[1:])), self.value, x.dtype)
        y[self._place(x)] = x
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        return self.forward(*inputs), lambda grad: (grad[self._place(inputs[0])],)


@dataclass(frozen=True)
class Upsample:
    """Nearest neighbour: each value ``factors[i]`` times along spatial axis i.

    The last axis, that of the channels, has no factor: (H, W, C) takes two.
    """

    factors: Shape

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(
            len(self.factors) == len(x) - 1 and min(self.factors, default=1) >= 1,
            "upsampling needs a factor of at least 1 for each axis but the last",
            found=self.factors,
            expected=f"{len(x) - 1} factors",
        )
        return (*(n * f for n, f in zip(x, self.factors, strict=False)), x[-1])

    def forward(self, *inputs: Array) -> Array:
        return Window.of(self.factors, self.factors).spread(inputs[0])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        copies = Window.of(self.factors, self.factors)
        return self.forward(*inputs), lambda grad: (copies.fold(grad, np.add),)


@dataclass(frozen=True)
class Concat:
    """Two or more activations joined along one axis, in which alone they may differ."""

    axis: int

    def infer(self, *shapes: Shape) -> Shape:
        first = shapes[0]
        expect_axis(self.axis, first)
        others = {(len(x), x[: self.axis], x[self.axis + 1 :]) for x in shapes}
        expect(
            len(shapes) >= 2 and len(others) == 1,
            "a concatenation needs two or more inputs that differ in its axis alone",
            found=shapes,
            expected=f"shapes that are alike but for axis {self.axis}",
        )
        joined = sum(x[self.axis] for x in shapes)
        return (*first[: self.axis], joined, *first[self.axis + 1 :])

    def forward(self, *inputs: Array) -> Array:
        return np.concatenate(inputs, self.axis + 1)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        ends = list(itertools.accumulate(x.shape[self.axis + 1] for x in inputs))
        return self.forward(*inputs), lambda grad: tuple(np.split(grad, ends[:-1], self.axis + 1))


def expect_axis(axis: int, x: Shape) -> None:
    """Raise a ShapeError unless ``axis`` is one of those of ``x``, counted from the first."""
    expect(
        0 <= axis < len(x), "there is no such axis", found=axis, expected=f"from 0 to {len(x) - 1}"
    )
