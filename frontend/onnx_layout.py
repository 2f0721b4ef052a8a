"""How our channels-last arrays and ONNX's channels-first ones relate.

A *layout* says where the axes of a graph value stand in its ONNX value, both counted without the
batch: axis ``i`` of the graph is axis ``layout[i]`` of the ONNX value.  It is what ``Port.axes``
is for a port.
"""

from __future__ import annotations

import numpy as np

from .ops import Array, Shape

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


def weight_to_onnx(weight: Array) -> Array:
    """A constant as ONNX holds it.

    Convolution kernels ``(kernel..., in, out)`` become ``(out, in, kernel...)``; they are the only
    constants with more than two axes.  Dense weights ``(in, out)`` and biases stay as they are.
    """
    if weight.ndim <= 2:
        return weight
    return np.moveaxis(weight, (-1, -2), (0, 1))


def kernel_from_onnx(kernel: Array) -> Array:
    """A convolution kernel ``(out, in, kernel...)`` as ours, ``(kernel..., in, out)``."""
    return np.moveaxis(kernel, (0, 1), (-1, -2))
