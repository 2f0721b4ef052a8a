"""How our channels-last arrays and ONNX's channels-first ones relate.

A *layout* says where the axes of a graph value stand in its ONNX value, both counted without the
batch: axis ``i`` of the graph is axis ``layout[i]`` of the ONNX value.  It is what ``Port.axes``
is for a port.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ShapeError
from ..ops import Array, Shape

Layout = tuple[int, ...]


def channels_last(rank: int) -> Layout:
    """The graph's own layout: every axis where it is."""
    return tuple(range(rank))


def channels_first(rank: int) -> Layout:
    """ONNX's layout of images and sequences: the channels, then the spatial axes."""
    return (*range(1, rank), 0)


def place(shape: Shape, layout: Layout) -> Shape:
    """The shape of the ONNX value that holds a graph value of ``shape``."""
    placed = [0] * len(shape)
    for size, axis in zip(shape, layout, strict=True):
        placed[axis] = size
    return tuple(placed)


def inverse(axes: Layout) -> Layout:
    """The order of axes that undoes ``axes``."""
    back = [0] * len(axes)
    for i, axis in enumerate(axes):
        back[axis] = i
    return tuple(back)


def compose(first: Layout, second: Layout) -> Layout:
    """The one transposition that does ``first``, then ``second``."""
    return tuple(first[axis] for axis in second)


def keeps_order(shape: Shape, axes: Layout) -> bool:
    """Whether reordering the axes of an array of ``shape`` leaves its flat order as it was.

    Axes of size 1 may stand anywhere; the others must keep their order.
    """
    moved = [axis for axis in axes if shape[axis] != 1]
    return moved == sorted(moved)


@dataclass(frozen=True)
class Arrangement:
    """How ONNX holds a constant: axes split, reordered, and joined again.  One-to-one.

    Attributes:
        shape: the constant's own shape.
        split: that with axes split, or axes of size 1 added.
        axes: the order in which ONNX has these axes.
        joined: the shape in ONNX.

    Raises:
        ShapeError: these do not describe the same values.
    """

    shape: Shape
    split: Shape
    axes: Layout
    joined: Shape

    def __post_init__(self) -> None:
        sizes = {math.prod(shape) for shape in (self.shape, self.split, self.joined)}
        if len(sizes) != 1 or sorted(self.axes) != list(range(len(self.split))):
            raise ShapeError(
                "a constant cannot be arranged so",
                found=f"{self.split} in the order {self.axes}",
                expected=f"the values of {self.shape}, to {self.joined}",
            )

    def write(self, value: Array) -> Array:
        """The constant as ONNX holds it."""
        return value.reshape(self.split).transpose(self.axes).reshape(self.joined)

    def read(self, value: Array) -> Array:
        """The constant that ONNX holds as ``value``.

        Raises:
            ShapeError: it is of another shape than ``joined``.
        """
        if value.shape != self.joined:
            raise ShapeError(
                "a constant has the wrong shape", found=value.shape, expected=self.joined
            )
        moved = tuple(self.split[axis] for axis in self.axes)
        return value.reshape(moved).transpose(inverse(self.axes)).reshape(self.shape)


def unchanged(shape: Shape) -> Arrangement:
    """Dense weights ``(in, out)``, biases, and all that belongs to the last axis."""
    return Arrangement(shape, shape, channels_last(len(shape)), shape)


def kernel(shape: Shape) -> Arrangement:
    """A convolution kernel ``(kernel..., in, out)`` as ``(out, in, kernel...)``."""
    rank = len(shape)
    axes = (rank - 1, rank - 2, *range(rank - 2))
    return Arrangement(shape, shape, axes, tuple(shape[axis] for axis in axes))


def transposed_kernel(shape: Shape, groups: int) -> Arrangement:
    """A kernel of a transposed convolution, ``(kernel..., in / groups, out)``.

    ONNX has ``(in, out / groups, kernel...)``, with the groups one behind the other along ``in``.
    """
    *spatial, inputs, outputs = shape
    rank = len(shape)
    return Arrangement(
        shape,
        (*spatial, inputs, groups, outputs // groups),
        (rank - 1, rank - 2, rank, *range(rank - 2)),
        (groups * inputs, outputs // groups, *spatial),
    )


def operand(shape: Shape, layout: Layout) -> Arrangement:
    """A constant of ``shape`` that is broadcast against a value that stands in ``layout``."""
    if layout == channels_last(len(layout)):
        return unchanged(shape)
    full = (*(1,) * (len(layout) - len(shape)), *shape)
    return Arrangement(shape, full, inverse(layout), place(full, layout))


def recurrent(shape: Shape) -> Arrangement:
    """A recurrent layer's weight ``(in, out)`` as ``(1, out, in)``, or its bias ``(out,)``.

    The axis of size 1 is ONNX's for the directions.
    """
    full = (1, *shape)
    axes = (0, *range(len(shape), 0, -1))
    return Arrangement(shape, full, axes, tuple(full[axis] for axis in axes))
