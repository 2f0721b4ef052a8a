"""ONNX's ops that move values and change none; on constants they fold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .errors import ShapeError
from .onnx_call import Call
from .onnx_values import Activation, Builder, Constant, RefusedError, Value
from .ops import Array, Flatten, Shape, Transpose


def transpose(builder: Builder, call: Call) -> Value:
    """The batch must stay the first axis; a constant's axes may go anywhere."""
    x = call.value(0)
    shape = _shape(builder, x)
    perm = tuple(call.get("perm", range(len(shape))[::-1]))
    if sorted(perm) != list(range(len(shape))):
        raise call.damaged("perm", f"an order of {len(shape)} axes")
    if isinstance(x, Constant):
        return _fold(builder, call, np.transpose(x.array, perm))
    x = call.data()
    if perm[0] != 0:
        raise RefusedError("moves the batch axis")
    return builder.emit(
        Transpose(tuple(axis - 1 for axis in perm[1:])), (x.id,), call.name, call.output
    )


def flatten(builder: Builder, call: Call) -> Value:
    """From the first axis on; from the batch on only where the file fixes that to one."""
    x = call.data()
    rank = len(x.shape) + 1
    axis = call.get("axis", 1)
    if not -rank <= axis <= rank:
        raise call.damaged("axis", f"-{rank} to {rank}")
    axis = axis + rank if axis < 0 else axis
    if axis != 1 and not (axis == 0 and builder.batch == 1):
        raise RefusedError(f"attribute 'axis' is {axis}; supported: 1")
    return _as(builder, call, x, (math.prod(x.shape),))


def reshape(builder: Builder, call: Call) -> Value:
    """To a flat value, or to the shape that it has."""
    target = call.integers(1)
    if min(target, default=1) < -1 or target.count(-1) > 1:
        raise ShapeError("asks for an impossible shape", found=target, expected="sizes, one -1")
    x = call.value(0)
    copies = not call.get("allowzero", 0)
    resolved = _copied(target, _shape(builder, x)) if copies else target
    if isinstance(x, Constant):
        return _fold(builder, call, x.array.reshape(_complete(resolved, x.array.size)))
    x = call.data()
    size = math.prod(x.shape)
    rest = resolved[1:]
    if target[:1] == [-1]:
        if math.prod(rest) != size:
            raise RefusedError(f"to {target} moves values between samples")
        return _as(builder, call, x, tuple(rest))
    if (target[:1] == [0] and copies) or target[:1] == [builder.batch]:
        return _as(builder, call, x, _complete(rest, size))
    raise RefusedError(f"to {target} does not keep the batch; supported: (0, -1) or (-1, {size})")


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
    if isinstance(x, Activation) and 0 in axes:
        raise RefusedError("drops the batch axis")
    if any(shape[axis] != 1 for axis in axes):
        raise ShapeError("drops an axis that is not of size 1", found=shape, expected=axes)
    out = tuple(n for i, n in enumerate(shape) if i not in axes)
    if isinstance(x, Constant):
        return _fold(builder, call, x.array.reshape(out))
    return _as(builder, call, call.data(), out[1:])


def unsqueeze(builder: Builder, call: Call) -> Value:
    x = call.value(0)
    shape = list(_shape(builder, x))
    rank = len(shape) + len(call.get("axes", ()) or call.integers(1))
    axes = _axes(call, rank)
    for axis in sorted(axes or ()):
        shape.insert(axis, 1)
    if isinstance(x, Constant):
        return _fold(builder, call, x.array.reshape(shape))
    if axes and 0 in axes:
        raise RefusedError("adds an axis before the batch")
    return _as(builder, call, call.data(), tuple(shape[1:]))


def _shape(builder: Builder, value: Value | None) -> Shape:
    """The shape with the batch; a symbolic batch, which nothing may depend on, shows as -1."""
    if isinstance(value, Constant):
        return value.array.shape
    assert isinstance(value, Activation)  # no translator sees an unknown value
    return (builder.batch or -1, *value.shape)


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
    if len(set(axes)) != len(axes):
        raise ShapeError("names an axis twice", found=given, expected="different axes")
    return axes


def _complete(target: Sequence[int], size: int) -> Shape:
    """``target`` with -1 worked out, so that it holds ``size`` values."""
    known = math.prod(n for n in target if n != -1)
    if -1 in target and known > 0 and size % known == 0:
        return tuple(size // known if n == -1 else n for n in target)
    if -1 in target or known != size:
        raise ShapeError("cannot hold the values", found=tuple(target), expected=f"{size} values")
    return tuple(target)


def _fold(builder: Builder, call: Call, value: Array) -> Value:
    builder.spend(value)
    return Constant(call.output, lambda: value)


def _as(builder: Builder, call: Call, x: Activation, out: Shape) -> Value:
    """``x`` in another shape of as many values: as it is, or flat."""
    if out == x.shape:
        return x
    if len(out) == 1:
        return builder.emit(Flatten(), (x.id,), call.name, call.output)
    raise RefusedError(f"from {x.shape} to {out}; supported: to one axis")
