"""ONNX's ops that choose and repeat values by indices that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...errors import ModelError, ShapeError
from ...ops import Mul, Shape
from ..call import BATCH, Call, Form, anything, expect_distinct, only
from ..steps import Steps, expect_matrix
from ..values import Activation, Builder, Constant, RefusedError, Value, expect_foldable
from .shape import expand as expand_constant
from .shape import gathered


def gather(builder: Builder, call: Call) -> Value:
    """Indices along one axis; theirs take its place, so that it goes if they have none."""
    if isinstance(call.value(0), Constant):
        return gathered(builder, call)
    x, indices = call.data(anywhere=True), call.constant(1).array
    axis = call.get("axis", 0)
    own = call.axis(x, axis)
    size = x.shape[own]
    if indices.dtype.kind != "i":
        raise RefusedError(f"has indices of type {indices.dtype}; supported: integers")
    if indices.size == 0:
        raise RefusedError("takes nothing; supported: one index and more")
    if not -size <= indices.min() <= indices.max() < size:
        raise ShapeError("takes what is not there", found=indices, expected=f"indices below {size}")
    steps = Steps(builder, call)
    y = steps.taken(x, own, [int(i) % size for i in indices.reshape(-1)])
    y = steps.reshaped(y, (*x.shape[:own], *indices.shape, *x.shape[own + 1 :]))
    batch = x.batch
    if batch is not None and axis % x.rank < batch:
        batch += indices.ndim - 1
    return steps.done(y, batch)


def gather_nd(builder: Builder, call: Call) -> Value:
    """Indices along the first axes together, each of them a row of the second input."""
    x, indices = call.data(anywhere=True), call.constant(1).array
    if indices.dtype.kind != "i" or indices.ndim < 1:
        raise ModelError("must take integers", found=f"{indices.dtype} of shape {indices.shape}")
    *places, depth = indices.shape
    if not 1 <= depth <= x.rank:
        raise ShapeError("has indices for more axes than there are", found=depth, expected=x.rank)
    if x.batch is not None and x.batch < depth:
        raise RefusedError("is over the batch")
    if indices.size == 0:
        raise RefusedError("takes nothing; supported: one index and more")
    sizes, rest = x.shape[:depth], x.shape[depth:]
    if (indices < -np.array(sizes)).any() or (indices >= sizes).any():
        raise ShapeError("takes what is not there", found=indices, expected=f"below {sizes}")
    table = np.arange(math.prod(sizes)).reshape(sizes)
    flat = table[tuple((indices % sizes).reshape(-1, depth).T)]
    steps = Steps(builder, call)
    y = steps.taken(steps.reshaped(x, (math.prod(sizes), *rest)), 0, [int(i) for i in flat])
    y = steps.reshaped(y, (*places, *rest))
    return steps.done(y, None if x.batch is None else x.batch - depth + len(places))


def own_numbers(call: Call, x: Activation, numbers: Sequence[int], neutral: int) -> list[int]:
    """One number an axis of the ONNX value, without the batch's, which must be ``neutral``."""
    if len(numbers) != x.rank:
        raise ShapeError("must give a number for each axis", found=numbers, expected=x.rank)
    if x.batch is not None and numbers[x.batch] != neutral:
        raise RefusedError("is over the batch")
    return [n for i, n in enumerate(numbers) if i != x.batch]


def tile(builder: Builder, call: Call) -> Value:
    """The whole of each axis several times, one behind the other."""
    x = call.data(anywhere=True)
    steps = Steps(builder, call)
    y = x
    for axis, count in enumerate(own_numbers(call, x, call.integers(1), 1)):
        if count < 1:
            raise RefusedError(f"repeats an axis {count} times; supported: once and more")
        y = steps.repeated(y, axis, count, whole=True)
    return steps.done(y)


def expand(builder: Builder, call: Call) -> Value:
    """Axes of size 1 repeated, and new ones in front."""
    if not isinstance(call.value(0), Activation):
        return expand_constant(builder, call)
    x = call.data(anywhere=True)
    target = call.integers(1, batch=True)
    more = max(len(target) - x.rank, 0)
    target = [1] * (x.rank - len(target)) + target
    batch = None if x.batch is None else x.batch + more
    if batch is not None and target[batch] not in (1, BATCH, builder.batch):
        raise RefusedError("repeats the batch")
    own = [n for i, n in enumerate(target) if i != batch]
    steps = Steps(builder, call)
    y = steps.reshaped(x, (*(1,) * more, *x.shape))
    for axis, count in enumerate(own):
        if count == BATCH or count < 1 or (y.shape[axis] != 1 and count not in (1, y.shape[axis])):
            raise ShapeError("cannot be repeated", found=x.shape, expected=target)
        if y.shape[axis] == 1:
            y = steps.repeated(y, axis, count, whole=True)
    return steps.done(y, batch)


def depth_to_space(builder: Builder, call: Call) -> Value:
    """Blocks of channels become blocks of positions; either may be the channels' outer part."""
    x, block = _image(call)
    channels, height, width = x.shape
    if channels % block**2:
        raise ShapeError("does not divide the channels", found=block**2, expected=channels)
    rest = channels // block**2
    mode = call.get("mode", "DCR")
    split: Shape = (block, block, rest) if mode == "DCR" else (rest, block, block)
    order = (2, 3, 0, 4, 1) if mode == "DCR" else (0, 3, 1, 4, 2)
    steps = Steps(builder, call)
    parts = steps.turned(steps.reshaped(x, (*split, height, width)), order)
    return steps.done(steps.reshaped(parts, (rest, height * block, width * block)))


def space_to_depth(builder: Builder, call: Call) -> Value:
    x, block = _image(call)
    channels, height, width = x.shape
    if height % block or width % block:
        raise ShapeError("does not divide the image", found=block, expected=(height, width))
    rows, columns = height // block, width // block
    mode = call.get("mode", "DCR")
    order = (2, 4, 0, 1, 3) if mode == "DCR" else (0, 2, 4, 1, 3)
    steps = Steps(builder, call)
    parts = steps.turned(steps.reshaped(x, (channels, rows, block, columns, block)), order)
    return steps.done(steps.reshaped(parts, (channels * block**2, rows, columns)))


def _image(call: Call) -> tuple[Activation, int]:
    x = call.data()
    block = call.get("blocksize", 0)
    if len(x.shape) != 3:
        raise ShapeError("works on images", found=x.shape, expected="(channels, height, width)")
    if not 1 <= block <= max(x.shape):
        raise call.damaged("blocksize", "a size of at least 1 that divides the image")
    return x, block


def trilu(builder: Builder, call: Call) -> Value:
    """One triangle of each matrix stays; the other becomes zeros."""
    x = call.data(anywhere=True)
    given = [0] if call.value(1) is None else call.integers(1)
    if len(given) != 1:
        raise ModelError("must name one diagonal", found=given)
    rows, columns = (x.shape[call.axis(x, axis)] for axis in (-2, -1))
    expect_foldable((rows, columns))
    triangle = np.triu if call.get("upper", 1) else np.tril
    k = max(-rows, min(given[0], columns))
    steps = Steps(builder, call)
    mask = steps.weight("triangle", triangle(np.ones((rows, columns), np.float32), k))
    return steps.done(steps.apply(Mul(), x, mask))


def cumulative_sum(builder: Builder, call: Call) -> Value:
    """The product with a triangle of ones, along one axis."""
    x = call.data(anywhere=True)
    given = call.integers(1)
    if len(given) != 1:
        raise ModelError("must name one axis", found=given)
    own = call.axis(x, given[0])
    size = x.shape[own]
    expect_matrix(size, size)
    ones = np.triu(np.ones((size, size), np.float32), int(call.get("exclusive", 0)))
    steps = Steps(builder, call)
    return steps.done(steps.along(x, own, ones.T if call.get("reverse", 0) else ones, "triangle"))


def centre_crop_pad(builder: Builder, call: Call) -> Value:
    """Each axis cut, or extended by zeros, alike at both ends; an odd one goes to the end."""
    x = call.data(anywhere=True)
    target = call.integers(1)
    axes = call.get("axes", None)
    axes = list(range(x.rank)) if axes is None else axes
    if len(axes) != len(target) or min(target, default=0) < 1:
        raise ShapeError("must give a size for each axis", found=target, expected=axes)
    expect_distinct(axes, x.rank)
    steps = Steps(builder, call)
    y = x
    for axis, size in zip(axes, target, strict=True):
        if x.batch in (axis, axis + x.rank) and size == builder.batch:
            continue
        own = call.axis(x, axis, "axes")
        have = x.shape[own]
        expect_foldable((size,))
        if size < have:
            start = (have - size) // 2
            y = steps.sliced(y, own, start, start + size)
        elif size > have:
            y = steps.padded(y, own, (size - have) // 2, (size - have + 1) // 2)
    return steps.done(y)


FORMS = {
    "CenterCropPad": Form(18, centre_crop_pad, {"axes": anything}),
    "CumSum": Form(14, cumulative_sum, {"exclusive": only(0, 1), "reverse": only(0, 1)}),
    "DepthToSpace": Form(28, depth_to_space, {"blocksize": anything, "mode": only("DCR", "CRD")}),
    "Expand": Form(13, expand, {}),
    "Gather": Form(13, gather, {"axis": anything}),
    "GatherND": Form(13, gather_nd, {"batch_dims": only(0)}),
    "SpaceToDepth": Form(28, space_to_depth, {"blocksize": anything, "mode": only("DCR", "CRD")}),
    "Tile": Form(13, tile, {}),
    "Trilu": Form(14, trilu, {"upper": only(0, 1)}),
}
