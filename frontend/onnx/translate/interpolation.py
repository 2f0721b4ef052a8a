"""The weights of ONNX's Resize along one axis: which values an output is made of, and how much.

Formulas: ONNX's definition of Resize-19; antialiasing widens the filter by the inverse of the
scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ops import Array


@dataclass(frozen=True)
class Axis:
    """How one axis is resized.

    Attributes:
        size, out: its size before and after.
        scale: what the file scales it by; ``out`` may be that times ``size`` rounded.
        start, end: the part of the axis that is looked at, from 0 to 1 (tf_crop_and_resize alone).
    """

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Filter:
    """What Resize does, as its attributes say."""

    coordinates: str
    mode: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool


@dataclass(frozen=True)
class Doubt:
    """How positions are worked out: their float type, and by how much they are moved."""

    kind: Any = np.float64
    shift: float = 0.0


SURE = Doubt()


def positions(axis: Axis, coordinates: str, doubt: Doubt = SURE) -> Array:
    """For each output the position in the input that it stands for."""
    x = np.arange(axis.out).astype(doubt.kind)
    scale, size, out, start, end = map(
        doubt.kind, (axis.scale, axis.size, axis.out, axis.start, axis.end)
    )
    half = doubt.kind(0.5)
    match coordinates:
        case "asymmetric":
            found = x / scale
        case "tf_half_pixel_for_nn":
            found = (x + half) / scale
        case "align_corners":
            found = x * (size - 1) / (out - 1) if axis.out > 1 else x
        case "pytorch_half_pixel":
            found = (x + half) / scale - half if axis.out > 1 else x
        case "half_pixel_symmetric":
            centre = size / 2 * (1 - out / (scale * size))
            found = centre + (x + half) / scale - half
        case "tf_crop_and_resize" if axis.out > 1:
            found = start * (size - 1) + x * (end - start) * (size - 1) / (out - 1)
        case "tf_crop_and_resize":
            found = x + half * (start + end) * (size - 1)
        case _:
            found = (x + half) / scale - half
    return np.asarray(found + doubt.kind(doubt.shift))


def doubts(how: Filter) -> tuple[Doubt, ...]:
    """How positions may be off in a program that works with float32, in an order of its own."""
    if how.coordinates in ("half_pixel_symmetric", "tf_crop_and_resize"):
        return Doubt(np.float32), Doubt(shift=-1e-4), Doubt(shift=1e-4)
    return (Doubt(np.float32),)


def outside(axis: Axis, coordinates: str, doubt: Doubt = SURE) -> Array:
    """The outputs that lie beyond the input, and get the extrapolation value instead."""
    if coordinates != "tf_crop_and_resize" or (axis.start, axis.end) == (0, 1):
        return np.zeros(axis.out, bool)
    found = positions(axis, coordinates, doubt)
    return (found < 0) | (found > axis.size - 1)


def nearest(axis: Axis, how: Filter, doubt: Doubt = SURE) -> Array:
    """For each output the index of the value that it takes."""
    found = positions(axis, how.coordinates, doubt)
    rounded: dict[str, Callable[[Array], Array]] = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda x: np.ceil(x - x.dtype.type(0.5)),
        "round_prefer_ceil": lambda x: np.floor(x + x.dtype.type(0.5)),
    }
    return np.clip(rounded[how.nearest](found), 0, axis.size - 1).astype(np.int64)


def weights(axis: Axis, how: Filter) -> Array:
    """The matrix ``(size, out)`` of a linear or cubic interpolation."""
    found = positions(axis, how.coordinates)
    narrow = min(axis.scale, 1.0) if how.antialias else 1.0
    reach = margin(axis, how)
    indices = np.arange(-reach, axis.size + reach)
    inside = np.clip(found, -1, axis.size)  # what lies further out is the value at the edge
    share = _kernel((indices[:, None] - inside) * narrow, how)
    if how.exclude_outside:
        share[:reach] = share[reach + axis.size :] = 0
    if how.exclude_outside or how.antialias:
        share /= share.sum(axis=0)
    matrix = share[reach : reach + axis.size].copy()
    matrix[0] += share[:reach].sum(axis=0)
    matrix[-1] += share[reach + axis.size :].sum(axis=0)
    return matrix.astype(np.float32)


def margin(axis: Axis, how: Filter) -> int:
    """How far beyond the axis the filter may reach."""
    width = 1 if how.mode == "linear" else 2
    narrow = min(axis.scale, 1.0) if how.antialias else 1.0
    return int(width / narrow) + 2


def _kernel(distance: Array, how: Filter) -> Array:
    """The weight of a value at a distance from the position."""
    d = np.abs(distance)
    if how.mode == "linear":
        return np.asarray(np.clip(1 - d, 0, None))
    a = how.cubic
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))
