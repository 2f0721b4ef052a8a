"""Reshaping across the batch: axes split off from it, or joined with it.

The values of an array stand in one order, whatever its shape.  In that order the batch has its
place: so many values of a sample change slower than it, and so many faster.  A reshape keeps the
samples apart if some one axis of the new shape counts through the batch as a whole, perhaps
together with some of the values around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...errors import ShapeError
from ...ops import Shape
from ..call import Call, shown
from ..sizes import Number, Size
from ..values import Activation, Builder, RefusedError


def regrouped(builder: Builder, x: Activation, target: Sequence[Number], call: Call) -> Activation:
    """``x`` in the shape that the ONNX value is to have, in which one size may be -1.

    Raises:
        RefusedError: no axis of it holds the batch.
        ShapeError: it does not hold as many values.
    """
    if builder.batch is None and x.batch is not None:
        axis, factor, sizes = _with_symbolic_batch(x, target)
    else:
        count = (builder.batch or 1) if x.batch is not None else 1
        sizes = completed(_known(target), count * math.prod(x.shape))
        if x.batch is None or count == 1:
            return _single(builder, x, sizes, call)
        axis = _axis_of_batch(x, sizes, count)
        factor, left = divmod(sizes[axis], count)
        if left:
            raise _moves(target)
    before = math.prod(x.shape[: x.batch + x.outer]) if x.batch is not None else 1
    outer, left = divmod(before, math.prod(sizes[:axis]))
    inner, more = divmod(factor, max(outer, 1))
    if left or more or outer < 1:
        raise _moves(target)
    parts = [n for n in (outer, inner) if n > 1]
    shape = (*sizes[:axis], *parts, *sizes[axis + 1 :])
    y = builder.reshaped(x, shape, axis, call.name, call.output)
    return replace(y, batch=axis, merged=len(parts), outer=int(outer > 1))


def _with_symbolic_batch(x: Activation, target: Sequence[Number]) -> tuple[int, int, Shape]:
    """The axis that holds the batch, how many values of a sample are in it, and all sizes.

    In the sizes, that of this axis is 1.
    """
    total = math.prod(x.shape)
    named = [(i, n) for i, n in enumerate(target) if isinstance(n, Size)]
    free = [i for i, n in enumerate(target) if n == -1]
    if len(named) > 1:
        raise _moves(target)
    if not named and not free:
        size = math.prod(x.shape[x.batch or 0 :])
        raise RefusedError(
            f"to {shown([str(n) for n in target])} does not keep the batch; "
            f"supported: (0, -1) or (-1, {size})"
        )
    sizes = [n if isinstance(n, int) else 1 for n in target]
    if not named:
        axis = free[0]
        sizes[axis] = 1
        known = math.prod(sizes)
        factor, left = divmod(total, known) if known else (0, 1)
        if left:
            raise _moves(target)
        return axis, factor, tuple(sizes)
    axis, count = named[0]
    if count.base or count.slope < 1:
        raise _moves(target)
    return axis, count.slope, completed(sizes, total, count.slope)


def _axis_of_batch(x: Activation, sizes: Shape, count: int) -> int:
    """The axis within which a batch of ``count`` samples, 2 and more, lies."""
    before = math.prod(x.shape[: (x.batch or 0) + x.outer])
    ahead = 1
    for axis, size in enumerate(sizes):
        if ahead * size > before:
            return axis
        ahead *= size
    raise _moves(sizes)


def _single(builder: Builder, x: Activation, sizes: Shape, call: Call) -> Activation:
    """A batch of one stays an axis of its own if one of size 1 is where it was."""
    if x.batch is not None:
        before = math.prod(x.shape[: x.batch + x.outer])
        places = [i for i, n in enumerate(sizes) if n == 1 and math.prod(sizes[:i]) == before]
        if places:
            axis = x.batch if x.batch in places else places[0]
            shape = (*sizes[:axis], *sizes[axis + 1 :])
            return builder.reshaped(x, shape, axis, call.name, call.output)
    return builder.reshaped(x, sizes, None, call.name, call.output)


def _known(target: Sequence[Number]) -> list[int]:
    known = [n for n in target if isinstance(n, int)]
    if len(known) != len(target):
        raise RefusedError("depends on how many samples there are")
    return known


def completed(target: Sequence[int], size: int, factor: int = 1) -> Shape:
    """``target`` with -1 worked out, so that it holds ``size / factor`` values.

    Raises:
        ShapeError: it cannot hold them.
    """
    known = math.prod(n for n in target if n != -1) * factor
    if -1 in target and known > 0 and size % known == 0:
        return tuple(size // known if n == -1 else n for n in target)
    if -1 in target or known != size:
        raise ShapeError("cannot hold the values", found=tuple(target), expected=f"{size} values")
    return tuple(target)


def _moves(target: Sequence[Number]) -> RefusedError:
    return RefusedError(f"to {shown([str(n) for n in target])} moves values between samples")
