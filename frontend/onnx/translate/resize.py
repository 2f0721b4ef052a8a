"""ONNX's Resize and Upsample: repetitions and slices, or products with interpolation weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...errors import ModelError, ShapeError
from ...ops import Dense, Upsample
from ...ops.base import MAX_ELEMENTS
from ..call import BATCH, Call, Form, anything, expect_distinct, meant, only
from ..layout import inverse
from ..steps import Steps, expect_matrix
from ..values import Activation, Builder, RefusedError, Value, expect_foldable
from .interpolation import Axis, Filter, doubts, margin, nearest, outside, weights


def resize(builder: Builder, call: Call) -> Value:
    """One axis after the other, along which the values are taken or interpolated."""
    x = call.data(anywhere=True)
    how = _filter(call)
    axes = _axes(builder, call, x, how)
    extrapolated = meant(float(call.get("extrapolation_value", 0.0)))
    steps = Steps(builder, call)
    y = x
    if how.mode == "nearest":
        y = _repeated(steps, x, axes, how)
    for own, axis in axes.items():
        if how.mode == "nearest" and not outside(axis, how.coordinates).any():
            indices = _nearest(axis, how)
            if y.shape[own] == axis.size and indices != list(range(axis.size)):
                y = steps.taken(y, own, indices)
        else:
            y = _along(steps, y, own, axis, how, extrapolated)
    return steps.done(y)


def _repeated(steps: Steps, x: Activation, axes: dict[int, Axis], how: Filter) -> Activation:
    """``x`` with those axes upsampled along which each value is repeated alike."""
    factors = [1] * len(x.shape)
    for own, axis in axes.items():
        factor = axis.out // axis.size
        if axis.out == factor * axis.size and not outside(axis, how.coordinates).any():
            repeats = np.arange(axis.out) // factor
            factors[own] = factor if _nearest(axis, how) == list(repeats) else 1
    wide = [i for i, factor in enumerate(factors) if factor > 1]
    still = [i for i in range(len(factors)) if i not in wide]
    if not wide:
        return x
    if not still:
        return steps.reshaped(
            _repeated_whole(steps, x, factors),
            tuple(n * factor for n, factor in zip(x.shape, factors, strict=True)),
        )
    # Our last axis has no factor; where the last of ONNX has one, another goes there.
    channels = still[-1] if still[-1] == len(factors) - 1 else still[0]
    order = (*(axis for axis in range(len(factors)) if axis != channels), channels)
    op = Upsample(tuple(factors[axis] for axis in order[:-1]))
    return steps.turned(steps.apply(op, steps.turned(x, order)), inverse(order))


def _repeated_whole(steps: Steps, x: Activation, factors: Sequence[int]) -> Activation:
    """Every axis has a factor: one of size 1 is added that has none."""
    return steps.apply(Upsample(tuple(factors)), steps.reshaped(x, (*x.shape, 1)))


def _along(
    steps: Steps, x: Activation, own: int, axis: Axis, how: Filter, extrapolated: float
) -> Activation:
    """The product with the weights along one axis; outputs beyond the input are a constant."""
    expect_matrix(axis.size + 2 * margin(axis, how), axis.out)
    if how.mode == "nearest":
        matrix = np.zeros((axis.size, axis.out), np.float32)
        matrix[_nearest(axis, how), np.arange(axis.out)] = 1
    else:
        matrix = weights(axis, how)
    beyond = outside(axis, how.coordinates)
    if any(not np.array_equal(beyond, outside(axis, how.coordinates, d)) for d in doubts(how)):
        raise RefusedError("looks at a part that ends on a value; supported: between two")
    matrix[:, beyond] = 0
    if not beyond.any():
        if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(len(matrix))):
            return x
        return steps.along(x, own, matrix, "interpolation")
    order = (*(i for i in range(len(x.shape)) if i != own), own)
    bias = steps.weight("extrapolation", np.where(beyond, np.float32(extrapolated), 0))
    matrix_name = steps.weight("interpolation", matrix)
    return steps.turned(
        steps.apply(Dense(), steps.turned(x, order), matrix_name, bias), inverse(order)
    )


def _nearest(axis: Axis, how: Filter) -> list[int]:
    """The index of the value that each output takes, where no rounding error decides it."""
    found = nearest(axis, how)
    if any(not np.array_equal(found, nearest(axis, how, doubt)) for doubt in doubts(how)):
        raise RefusedError(
            f"from {axis.size} to {axis.out} is by positions on the edge between two values; "
            "supported: those with one nearest value"
        )
    return [int(i) for i in found]


def _filter(call: Call) -> Filter:
    """Before opset 11 positions are scaled alone, and rounded down."""
    old = call.since < 11
    mode = call.get("mode", "nearest")
    return Filter(
        call.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel"),
        "linear" if mode == "bilinear" else mode,
        call.get("nearest_mode", "floor" if old else "round_prefer_floor"),
        call.number("cubic_coeff_a", -0.75),
        bool(call.get("exclude_outside", 0)),
        bool(call.get("antialias", 0)),
    )


def _axes(builder: Builder, call: Call, x: Activation, how: Filter) -> dict[int, Axis]:
    """For each axis of ours that may change, how; the batch must stay as it is."""
    scales, sizes = _wanted(call)
    count = len(scales or sizes)
    axes = call.get("axes", None) or list(range(x.rank))
    if len(axes) != count or any(not -x.rank <= axis < x.rank for axis in axes):
        raise ShapeError("has too few scales", found=scales or sizes, expected=f"{x.rank} numbers")
    expect_distinct(axes, x.rank)
    region = _region(call, how, count)
    kept = [i for i, axis in enumerate(axes) if axis % x.rank == x.batch]
    for i in kept:
        same = scales[i] == 1 if scales else sizes[i] in (BATCH, builder.batch)
        if not same or region[i] != (0.0, 1.0):
            raise RefusedError("resizes the batch")
    if any(size == BATCH for i, size in enumerate(sizes) if i not in kept):
        raise RefusedError("resizes to how many samples there are")
    own = [None if i in kept else call.axis(x, axis, "axes") for i, axis in enumerate(axes)]
    shape = [1 if axis is None else x.shape[axis] for axis in own]
    sizes = [1 if i in kept else size for i, size in enumerate(sizes)]
    pairs = _sizes(call, scales, sizes, shape)
    found = zip(shape, pairs, region, strict=True)
    if any(n == out and part != (0.0, 1.0) for n, (out, _), part in found):
        raise RefusedError("looks at a part of an axis that keeps its size; slice it instead")
    return {
        axis: Axis(n, out, scale, *part)
        for axis, n, (out, scale), part in zip(own, shape, pairs, region, strict=True)
        if axis is not None
    }


def _wanted(call: Call) -> tuple[list[float], list[int]]:
    """The scales or the sizes, whichever are given."""
    scales = call.get("scales", None) or []
    at = 1 if call.since < 11 else 2
    if not scales and call.value(at) is not None:
        scales = [float(scale) for scale in call.weight(at).array.reshape(-1)]
    sizes = call.integers(3, batch=True) if call.value(3) is not None else []
    if bool(scales) == bool(sizes):
        raise ModelError("must have either scales or sizes", found=(scales, sizes))
    given = scales or [size for size in sizes if size != BATCH]
    if not all(0 < number <= MAX_ELEMENTS for number in given):
        raise ShapeError("asks for an impossible size", found=scales or sizes, expected="sizes")
    return list(scales), sizes


def _sizes(
    call: Call, scales: list[float], sizes: list[int], shape: list[int]
) -> list[tuple[int, float]]:
    """For each axis its size and scale; the scale of a given size follows from it."""
    if scales:
        exact = [np.float32(s) * np.float32(n) for s, n in zip(scales, shape, strict=True)]
        found = [(int(size), meant(scale)) for size, scale in zip(exact, scales, strict=True)]
        _expect_agreed(call, list(map(float, exact)), shape)
    else:
        ratios = [size / n for size, n in zip(sizes, shape, strict=True)]
        policy = call.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratio = (min if policy == "not_larger" else max)(ratios)
            sizes = [math.floor(ratio * n + 0.5) for n in shape]
            ratios = [ratio] * len(shape)
        found = list(zip(sizes, ratios, strict=True))
    if any(out < 1 for out, _ in found):
        raise ShapeError("leaves nothing of an axis", found=scales or sizes, expected="sizes")
    expect_foldable(tuple(out for out, _ in found))
    return found


_OF_SIZES = ("align_corners", "tf_crop_and_resize")
"""Coordinates that depend on the size of the result, of which programs take different ones."""


def _expect_agreed(call: Call, exact: list[float], shape: list[int]) -> None:
    """Refuse scales that give no whole size where onnxruntime and onnx's reference differ.

    The reference works with the size before it is rounded down; onnxruntime copies the data if the
    size stays.
    """
    coordinates = call.get("coordinate_transformation_mode", "half_pixel")
    for size, n in zip(exact, shape, strict=True):
        lone = coordinates == "pytorch_half_pixel" and size < 2
        if size != int(size) and (coordinates in _OF_SIZES or lone or int(size) == n):
            raise RefusedError(
                f"scales an axis from {n} to {size:g} by {coordinates}; supported: whole sizes"
            )


def _region(call: Call, how: Filter, count: int) -> list[tuple[float, float]]:
    """The part of each axis that is looked at."""
    whole = [(0.0, 1.0)] * count
    if how.coordinates != "tf_crop_and_resize":
        return whole
    roi = [float(number) for number in call.weight(1).array.reshape(-1)]
    if len(roi) != 2 * count or not all(map(math.isfinite, roi)):
        raise ShapeError("has a wrong region", found=roi, expected=f"{2 * count} numbers")
    return list(zip(roi[:count], roi[count:], strict=True))


_COORDINATES = only(
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
_RESIZE = {
    "antialias": only(0, 1),
    "axes": anything,
    "coordinate_transformation_mode": _COORDINATES,
    "cubic_coeff_a": anything,
    "exclude_outside": only(0, 1),
    "extrapolation_value": anything,
    "keep_aspect_ratio_policy": only("stretch", "not_larger", "not_smaller"),
    "mode": only("nearest", "linear", "cubic"),
    "nearest_mode": only("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
}
FORMS = {
    "Resize": Form(19, resize, _RESIZE),
    "Upsample": Form(10, resize, {"mode": only("nearest", "linear"), "scales": anything}),
}
