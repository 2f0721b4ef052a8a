"""ONNX's ops that give values other axes and change none; on constants they fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import ShapeError
from ...ops import Transpose
from ..call import Call, expect_distinct, shown
from ..sizes import Number, Size, dimensions, product
from ..values import Builder, Constant, RefusedError, Value, expect_foldable
from .regroup import completed, regrouped
from .shape import sizes_of


def transpose(builder: Builder, call: Call) -> Value:
    """The axes of a sample are reordered; the batch, which is always our first, may go anywhere."""
    x = call.value(0)
    rank = len(sizes_of(builder, call))
    perm = tuple(call.get("perm", range(rank)[::-1]))
    if sorted(perm) != list(range(rank)):
        raise call.damaged("perm", f"an order of {rank} axes")
    if isinstance(x, Constant):
        repeated = None if x.repeated is None else perm.index(x.repeated)
        return builder.moved(call.output, x, lambda a: np.transpose(a, perm), repeated)
    x = call.data(anywhere=True, merged=True)
    moved = x if x.batch is None else replace(x, batch=perm.index(x.batch))
    axes = x.own_axes(perm)
    if axes == tuple(range(len(axes))) and perm != tuple(range(rank)):
        return builder.reshaped(x, x.shape, 0, call.name, call.output).placed(moved)
    return builder.emit(Transpose(axes), (x.id,), call.name, call.output, like=moved)


def flatten(builder: Builder, call: Call) -> Value:
    """The axes before the given one in one, and those from it on in another."""
    x = call.data(anywhere=True, merged=True)
    axis = call.get("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise call.damaged("axis", f"-{x.rank} to {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    sizes = dimensions(builder, x)
    return regrouped(builder, x, [product(sizes[:axis]), product(sizes[axis:])], call)


def reshape(builder: Builder, call: Call) -> Value:
    """To any shape in which the values of one sample stay together."""
    x = call.value(0)
    target = call.sizes(1)
    known = [n for n in target if isinstance(n, int)]
    if min(known, default=1) < -1 or known.count(-1) > 1:
        raise ShapeError("asks for an impossible shape", found=shown(target), expected="sizes, -1")
    if isinstance(x, Constant):
        old: Sequence[Number] = x.array.shape
    else:
        x = call.data(anywhere=True, merged=True)
        old = dimensions(builder, x)
    if not call.get("allowzero", 0):
        target = _copied(target, old)
    if isinstance(x, Constant):
        shape = completed([n for n in target if isinstance(n, int)], x.array.size)
        if len(shape) != len(target):
            raise RefusedError("gives a constant as many values as there are samples")
        expect_foldable(shape)
        return builder.moved(call.output, x, lambda a: a.reshape(shape))
    return regrouped(builder, x, target, call)


def _copied(target: Sequence[Number], shape: Sequence[Number]) -> list[Number]:
    """``target`` with each 0 replaced by the size of the same axis of ``shape``."""
    if any(n == 0 and i >= len(shape) for i, n in enumerate(target)):
        raise ShapeError("copies an axis that is not there", found=shown(target), expected=shape)
    return [shape[i] if n == 0 else n for i, n in enumerate(target)]


def squeeze(builder: Builder, call: Call) -> Value:
    shape = sizes_of(builder, call)
    axes = _axes(call, len(shape))
    if axes is None:
        if any(isinstance(n, Size) for n in shape):
            raise RefusedError("names no axes, so that a batch of one would lose its axis")
        axes = [i for i, n in enumerate(shape) if n == 1]
    if any(isinstance(shape[axis], Size) for axis in axes):
        raise RefusedError("drops the batch axis")
    if any(shape[axis] != 1 for axis in axes):
        raise ShapeError("drops an axis that is not of size 1", found=shape, expected=axes)
    return _with_axes(builder, call, [i for i in range(len(shape)) if i not in axes])


def unsqueeze(builder: Builder, call: Call) -> Value:
    given = len(call.get("axes", ()) or call.integers(1))
    rank = len(sizes_of(builder, call)) + given
    axes = _axes(call, rank) or []
    old = iter(range(rank - given))
    return _with_axes(builder, call, [-1 if axis in axes else next(old) for axis in range(rank)])


def _with_axes(builder: Builder, call: Call, order: Sequence[int]) -> Value:
    """The value with these axes of its own, in their order; -1 is a new one of size 1."""
    source = call.value(0)
    if isinstance(source, Constant):
        sizes = tuple(1 if axis < 0 else source.stored.shape[axis] for axis in order)
        expect_foldable(sizes)
        repeated = None if source.repeated is None else list(order).index(source.repeated)
        return builder.moved(call.output, source, lambda a: a.reshape(sizes), repeated)
    x = call.data(anywhere=True, merged=True)
    if x.batch is not None and x.batch not in order:
        raise RefusedError("drops the batch axis")
    batch = None if x.batch is None else list(order).index(x.batch)
    shape: list[int] = []
    for axis in order:
        shape += [1] if axis < 0 else [x.shape[own] for own in x.own_axes([axis])]
    y = builder.reshaped(x, tuple(shape), batch, call.name, call.output)
    return y.placed(replace(x, batch=batch))


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
