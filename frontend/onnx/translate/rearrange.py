"""ONNX's ops that cut, join, extend and repeat values along axes."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...errors import ModelError, ShapeError
from ...ops import Add, Array, Pad, Slice
from ...ops.base import MAX_ELEMENTS
from ..aligned import aligned
from ..call import Call, expect_distinct, meant, shown
from ..steps import Steps, without
from ..values import Activation, Builder, Constant, RefusedError, Value, expect_foldable
from .shape import sliced


def concat(builder: Builder, call: Call) -> Value:
    values = [value for value in call.inputs if value is not None]
    constants = tuple(value for value in values if isinstance(value, Constant))
    axis = call.get("axis", 1)
    if len(constants) == len(values):
        arrays = [value.stored for value in constants]
        shapes = [array.shape for array in arrays]
        for array in arrays:
            builder.spend(array)
        try:
            joined = np.concatenate(arrays, axis)
        except (ValueError, OverflowError):
            raise ShapeError("constants cannot be joined", found=shapes, expected=axis) from None
        (repeated, *others) = {value.repeated for value in constants}
        if others or (repeated is not None and axis % joined.ndim == repeated):
            raise RefusedError("joins constants of which not all are repeated for each sample")
        return Constant(call.output, lambda: joined, constants, repeated=repeated)
    data = [
        call.data(i, anywhere=True)
        for i, value in enumerate(call.inputs)
        if not isinstance(value, Constant)
    ]
    if len({part.rank for part in data}) != 1:
        raise ShapeError("joins values of different ranks", found=[part.rank for part in data])
    parts = aligned(builder, data)
    own = call.axis(parts[0], axis)
    if constants:
        return _around_constants(builder, call, parts, own)
    return builder.joined(tuple(parts), own, call.name, call.output)


def _around_constants(builder: Builder, call: Call, parts: list[Activation], axis: int) -> Value:
    """Data and constants: the data with zeros in the constants' places, plus the constants."""
    like, steps, left = parts[0], Steps(builder, call), iter(parts)
    padded: list[Activation] = []
    constants: list[Array] = []
    zeros = 0
    for index, value in enumerate(call.inputs):
        if isinstance(value, Constant):
            array = _of_each_sample(builder, call.weight(index, repeated=True), like, axis)
            zeros += array.shape[axis]
        else:
            part = next(left)
            array = np.zeros(part.shape, np.float32)
            padded.append(steps.padded(part, axis, zeros, 0))
            zeros = 0
        constants.append(array)
    padded[-1] = steps.padded(padded[-1], axis, 0, zeros)
    y = steps.joined(padded, axis)
    total = np.concatenate(constants, axis)
    return steps.done(steps.apply(Add(), y, steps.weight("constants", total)))


def _of_each_sample(builder: Builder, source: Constant, like: Activation, axis: int) -> Array:
    """A constant as a part of each sample, beside a value ``like`` it along an axis of ours."""
    array = source.stored
    if array.ndim != like.rank:
        raise ShapeError("joins values of different ranks", found=[array.ndim, like.rank])
    if array.size == 0:
        raise RefusedError(f"joins an empty constant of shape {array.shape}")
    if like.batch is not None:
        first = array.take(0, like.batch)
        whole = source.repeated == like.batch
        if builder.batch is not None:
            whole = array.shape[like.batch] == builder.batch
        if like.merged or not whole or (array != np.expand_dims(first, like.batch)).any():
            raise RefusedError("joins a constant that differs between samples")
        array = first
    if [n for i, n in enumerate(array.shape) if i != axis] != [*without(like, [axis])]:
        raise ShapeError("joins shapes that do not fit", found=[array.shape, like.shape])
    expect_foldable(array.shape)
    return array


def slice_(builder: Builder, call: Call) -> Value:
    """One of our slices for each axis; the batch must stay whole."""
    parts = _slices(call)
    axes = [axis for axis, *_ in parts]
    if isinstance(call.value(0), Constant):
        expect_distinct(axes, call.constant(0).stored.ndim)
        return sliced(builder, call, parts)
    x = call.data(anywhere=True)
    expect_distinct(axes, x.rank)
    for i, (axis, start, end, step) in enumerate(parts):
        whole = start == 0 and end >= 2**31 - 1 and step == 1
        if whole and -x.rank <= axis < x.rank and axis % x.rank == x.batch:
            continue
        own = call.axis(x, axis, "axes")
        size = x.shape[own]
        start, stop, step = slice(start, end, step).indices(size)
        step = max(-size, min(step, size))  # a larger one takes no more than the first value
        name = call.name if i == 0 else f"{call.name}_{i}"
        x = builder.sliced(x, Slice(own, start, stop, step), name, call.output)
    return x


def _slices(call: Call) -> list[tuple[int, int, int, int]]:
    """Axis, start, end and step of each slice, which moved from attributes to inputs."""
    if call.since < 10:
        starts, ends = call.get("starts", []), call.get("ends", [])
        axes, steps = call.get("axes", None), None
    else:
        starts, ends = call.integers(1), call.integers(2)
        axes = call.integers(3) if call.value(3) is not None else None
        steps = call.integers(4) if call.value(4) is not None else None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ModelError("its starts, ends, axes and steps do not fit", found=(starts, ends))
    if 0 in steps:
        raise ModelError("has a step of 0", found=shown(steps), expected="steps other than 0")
    return list(zip(axes, starts, ends, steps, strict=True))


def split(builder: Builder, call: Call) -> tuple[Value, ...]:
    """One slice for each part."""
    x = call.data(anywhere=True)
    own = call.axis(x, call.get("axis", 0))
    size, count = x.shape[own], len(call.outputs)
    sizes = call.get("split", None)
    if call.since >= 13 and call.value(1) is not None:
        sizes = call.integers(1)
    if sizes is not None and "num_outputs" in call.attributes:
        raise ModelError("has both sizes and a number of outputs", expected="one of them")
    if sizes is None:
        if call.get("num_outputs", count) != count:
            raise call.damaged("num_outputs", f"{count} outputs")
        chunk = -(-size // count)
        sizes = [min(chunk, size - start) for start in range(0, size, chunk)]
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != size:
        raise ShapeError("does not split the axis", found=sizes, expected=f"{size} in {count}")
    parts = []
    start = 0
    for i, (part, output) in enumerate(zip(sizes, call.outputs, strict=True)):
        op = Slice(own, start, start + part)
        parts.append(builder.sliced(x, op, f"{call.name}_{i}", output or call.output))
        start += part
    return tuple(parts)


PAD_MODES: dict[str, Literal["constant", "reflect", "edge", "wrap"]] = {
    "constant": "constant",
    "reflect": "reflect",
    "edge": "edge",
    "wrap": "wrap",
}
"""ONNX's modes of Pad, as NumPy calls them."""


def pad(builder: Builder, call: Call) -> Value:
    """With a constant, or with the data's own values; less than nothing cuts values off."""
    x = call.data(anywhere=True)
    mode = call.get("mode", "constant")
    value = _pad_value(call)
    steps = Steps(builder, call)
    y = x
    sizes = _pads(call, x)
    for axis, (before, after) in sizes.items():
        if mode == "constant" and min(before, after) < 0:
            start, stop = max(-before, 0), y.shape[axis] - max(-after, 0)
            if start >= stop:
                raise ShapeError("leaves nothing of an axis", found=(before, after), expected=">")
            y = steps.sliced(y, axis, start, stop)
        elif mode != "constant":
            y = steps.taken(y, axis, _repeats(mode, y.shape[axis], before, after))
    if mode == "constant":
        pairs = [sizes.get(axis, (0, 0)) for axis in range(len(x.shape))]
        ahead, behind = (tuple(max(pair[i], 0) for pair in pairs) for i in (0, 1))
        if any(ahead + behind) or y is x:
            y = steps.apply(Pad(ahead, behind, value), y)
    return steps.done(y)


def _pad_value(call: Call) -> float:
    value = call.get("value", 0.0)
    if call.since >= 11 and call.value(2) is not None:
        array = call.weight(2).array
        if array.size != 1:
            raise ModelError("its value is no number", found=array.shape)
        value = float(array.reshape(()))
    return meant(float(value))


def _pads(call: Call, x: Activation) -> dict[int, tuple[int, int]]:
    """For each axis of ours that changes, how much is added before and after it."""
    pads = call.get("pads", None) if call.since < 11 else call.integers(1)
    axes = call.integers(3) if call.value(3) is not None else list(range(x.rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise call.damaged("pads", f"{2 * len(axes)} sizes")
    expect_distinct(axes, x.rank)
    if any(abs(size) > MAX_ELEMENTS for size in pads):
        raise ShapeError("is by an impossible size", found=shown(pads), expected=MAX_ELEMENTS)
    pairs = zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True)
    return {call.axis(x, axis, "axes"): (b, a) for axis, b, a in pairs if b or a}


def _repeats(mode: str, size: int, before: int, after: int) -> list[int]:
    """The indices that stand along an axis of ``size`` once it is extended by its own values."""
    if min(before, after) < 0:
        raise RefusedError("cuts values off and repeats others; supported: one of them")
    if mode == "reflect" and max(before, after) >= size:
        raise RefusedError("reflects more than there is; supported: less than the axis")
    expect_foldable((before + size + after,))
    return [int(i) for i in np.pad(np.arange(size), (before, after), PAD_MODES[mode])]
