"""Layers that move values: flatten, reshape, transpose, slice, pad and enlarge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import ops
from ..errors import ShapeError
from ..ops import Shape
from .base import Layer
from .convolution import Size, spread


@dataclass(frozen=True)
class Flatten(Layer):
    """All features of a sample in one row."""

    prefix: ClassVar[str] = "flatten"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Flatten()


@dataclass(frozen=True)
class Reshape(Layer):
    """The same values in another shape, without the batch axis."""

    shape: Shape
    prefix: ClassVar[str] = "reshape"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Reshape(self.shape)


@dataclass(frozen=True)
class Transpose(Layer):
    """The axes, counted without the batch, in another order."""

    axes: Shape
    prefix: ClassVar[str] = "transpose"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Transpose(self.axes)


@dataclass(frozen=True)
class Slice(Layer):
    """Part of one axis: from ``start`` up to before ``stop``, every ``step``-th.

    ``axis`` is counted without the batch; numbers below 0 count from the end, and ends that
    are not given are those in the direction of ``step``, all as in Python.
    """

    axis: int
    start: int | None = None
    stop: int | None = None
    step: int = 1
    prefix: ClassVar[str] = "slice"

    def op(self, *shapes: Shape) -> ops.Op:
        (x,) = shapes
        axis = self.axis + len(x) if self.axis < 0 else self.axis
        if not 0 <= axis < len(x) or self.step == 0:
            raise ShapeError(
                "there is no such axis or step",
                found=f"axis {self.axis}, step {self.step}",
                expected=f"axis {-len(x)} to {len(x) - 1}, a step other than 0",
            )
        start, stop, step = slice(self.start, self.stop, self.step).indices(x[axis])
        return ops.Slice(axis, start, stop, step)


@dataclass(frozen=True)
class Pad(Layer):
    """``value`` before and after each spatial axis, or (before, after) for each axis of all."""

    padding: int | tuple[tuple[int, int], ...]
    value: float = 0.0
    prefix: ClassVar[str] = "pad"

    def op(self, *shapes: Shape) -> ops.Op:
        spatial = len(shapes[0]) - 1
        pairs = self.padding
        if isinstance(pairs, int):
            pairs = (*((pairs, pairs),) * spatial, (0, 0))
        return ops.Pad(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), self.value)


@dataclass(frozen=True)
class Upsample(Layer):
    """Each value repeated along each spatial axis: (H, W, C) to (H · factor, W · factor, C)."""

    factor: Size = 2
    prefix: ClassVar[str] = "upsample"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Upsample(spread(self.factor, len(shapes[0]) - 1))
