"""ONNX's ops that give values other axes and change none; on constants they fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import ShapeError
from ..ops import Shape, Transpose
from .call import BATCH, Call, expect_distinct
from .values import Activation, Builder, Constant, RefusedError, Value, expect_foldable


def transpose(builder: Builder, call: Call) -> Value:
    """The axes of a sample are reordered; the batch, which is always our first, may go anywhere."""
    x = call.value(0)
    rank = x.array.ndim if isinstance(x, Constant) else call.data(0, True, True).rank
    perm = tuple(call.get("perm", range(rank)[::-1]))
    if sorted(perm) != list(range(rank)):
        raise call.damaged("perm", f"an order of {rank} axes")
    if isinstance(x, Constant):
        return builder.moved(call.output, x, lambda a: np.transpose(a, perm))
    x = call.data(anywhere=True, merged=True)
    moved = x if x.batch is None else replace(x, batch=perm.index(x.batch))
    axes = x.own_axes(perm)
    if axes == tuple(range(len(axes))) and perm != tuple(range(rank)):
        return builder.reshaped(x, x.shape, 0, call.name, call.output).placed(moved)
    return builder.emit(Transpose(axes), (x.id,), call.name, call.output, like=moved)


def flatten(builder: Builder, call: Call) -> Value:
    """From the first axis on; from the batch on only where the file fixes that to one."""
    x = call.data()
    axis = call.get("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise call.damaged("axis", f"-{x.rank} to {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    if axis != 1 and not (axis == 0 and builder.batch == 1):
        raise RefusedError(f"attribute 'axis' is {axis}; supported: 1")
    return builder.reshaped(x, (math.prod(x.shape),), 0, call.name, call.output)


def reshape(builder: Builder, call: Call) -> Value:
    """To any shape of a sample: the batch, and the axes before it, stay as they are."""
    x = call.value(0)
    copies = not call.get("allowzero", 0)
    target = _batch_copied(call.integers(1, batch=True), x, copies)
    if min(target, default=1) < -1 or target.count(-1) > 1:
        raise ShapeError("asks for an impossible shape", found=target, expected="sizes, one -1")
    resolved = _copied(target, _shape(builder, x)) if copies else target
    if isinstance(x, Constant):
        shape = _complete(resolved, x.array.size)
        expect_foldable(shape)
        return builder.moved(call.output, x, lambda a: a.reshape(shape))
    x = call.data(anywhere=True)
    if x.batch is None:
        shape = _complete(resolved, math.prod(x.shape))
        return builder.reshaped(x, shape, None, call.name, call.output)
    before = x.shape[: x.batch]
    size = math.prod(x.shape[x.batch :])
    own, batch, rest = resolved[: x.batch], target[x.batch : x.batch + 1], resolved[x.batch + 1 :]
    if batch == [-1] and tuple(own) == before:
        if math.prod(rest) != size:
            raise RefusedError(f"to {target} moves values between samples")
        shape = tuple(rest)
    elif ((batch == [0] and copies) or batch == [builder.batch]) and tuple(own) == before:
        shape = _complete(rest, size)
    else:
        raise RefusedError(
            f"to {target} does not keep the batch; supported: (0, -1) or (-1, {size})"
        )
    return builder.reshaped(x, (*before, *shape), x.batch, call.name, call.output)


def _batch_copied(target: list[int], x: Value | None, copies: bool) -> list[int]:
    """``target`` with the size of a symbolic batch, in its place, as the 0 that copies it."""
    if BATCH not in target:
        return target
    at = target.index(BATCH)
    if not isinstance(x, Activation) or at != x.batch or not copies:
        raise RefusedError("does not keep the batch")
    return [*target[:at], 0, *target[at + 1 :]]


def _copied(target: Sequence[int], shape: Shape) -> list[int]:
    """``target`` with each 0 replaced by the size of the same axis of ``shape``."""
    if any(n == 0 and i >= len(shape) for i, n in enumerate(target)):
        raise ShapeError("copies an axis that is not there", found=target, expected=shape)
    return [shape[i] if n == 0 else n for i, n in enumerate(target)]


def squeeze(builder: Builder, call: Call) -> Value:
    x = call.value(0)
    shape = _shape(builder, x)
    axes = _axes(call, len(shape))
    if axes is None:
        if isinstance(x, Activation):
            raise RefusedError("names no axes, so that a batch of one would lose its axis")
        axes = [i for i, n in enumerate(shape) if n == 1]
    if isinstance(x, Activation) and x.batch in axes:
        raise RefusedError("drops the batch axis")
    if any(shape[axis] != 1 for axis in axes):
        raise ShapeError("drops an axis that is not of size 1", found=shape, expected=axes)
    kept = [i for i in range(len(shape)) if i not in axes]
    if isinstance(x, Constant):
        out = tuple(shape[i] for i in kept)
        return builder.moved(call.output, x, lambda a: a.reshape(out))
    return _with_axes(builder, call, kept)


def unsqueeze(builder: Builder, call: Call) -> Value:
    x = call.value(0)
    given = len(call.get("axes", ()) or call.integers(1))
    rank = len(_shape(builder, x)) + given
    axes = _axes(call, rank) or []
    old = iter(range(rank - given))
    order = [-1 if axis in axes else next(old) for axis in range(rank)]
    if isinstance(x, Constant):
        sizes = tuple(1 if axis < 0 else x.array.shape[axis] for axis in order)
        expect_foldable(sizes)
        return builder.moved(call.output, x, lambda a: a.reshape(sizes))
    return _with_axes(builder, call, order)


def _with_axes(builder: Builder, call: Call, order: Sequence[int]) -> Value:
    """The data with these axes of its own, in their order; -1 is a new one of size 1."""
    x = call.data(anywhere=True, merged=True)
    batch = None if x.batch is None else list(order).index(x.batch)
    shape: list[int] = []
    for axis in order:
        shape += [1] if axis < 0 else [x.shape[own] for own in x.own_axes([axis])]
    y = builder.reshaped(x, tuple(shape), batch, call.name, call.output)
    return y.placed(replace(x, batch=batch))


def _shape(builder: Builder, value: Value | None) -> Shape:
    """The shape with the batch; a symbolic batch, which nothing may depend on, shows as -1."""
    if isinstance(value, Constant):
        return value.array.shape
    assert isinstance(value, Activation)  # no translator sees an unknown value
    sizes = list(value.sizes(builder.batch or 1))
    if value.batch is not None and builder.batch is None:
        sizes[value.batch] = -1
    return tuple(sizes)


def _axes(call: Call, rank: int) -> list[int] | None:
    """The axes to drop or add, which moved from an attribute to an input; None where absent."""
    given: Sequence[int] | None = call.get("axes", None)
    if call.since >= 13:
        given = None if call.value(1) is None else call.integers(1)
    if given is None:
        return None
    if any(not -rank <= axis < rank for axis in given):
        raise ShapeError("names axes that are not there", found=given, expected=f"{rank} axes")
    axes = [axis % rank for axis in given]
    expect_distinct(axes, rank)
    return axes


def _complete(target: Sequence[int], size: int) -> Shape:
    """``target`` with -1 worked out, so that it holds ``size`` values."""
    known = math.prod(n for n in target if n != -1)
    if -1 in target and known > 0 and size % known == 0:
        return tuple(size // known if n == -1 else n for n in target)
    if -1 in target or known != size:
        raise ShapeError("cannot hold the values", found=tuple(target), expected=f"{size} values")
    return tuple(target)
