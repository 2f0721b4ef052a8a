"""ONNX's arithmetic on shapes, which exporters write for sizes that are known but for the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import ModelError, ShapeError
from ...ops import Array
from ..call import BATCH, Call
from ..sizes import SAMPLES, Number, dimensions, product, settled
from ..tensor import read_tensor
from ..values import Activation, Builder, Coded, Constant, RefusedError, Value, expect_foldable
from .codes import to_float


def shape_of(builder: Builder, call: Call) -> Value:
    """The sizes of a value; that of a symbolic batch is one that depends on it."""
    part = slice(call.get("start", 0), call.get("end", None))
    sizes = sizes_of(builder, call)[part]
    return builder.folded(call.output, settled(np.array(sizes, object)))


def size_of(builder: Builder, call: Call) -> Value:
    """How many numbers a value holds."""
    return builder.folded(call.output, settled(np.array(product(sizes_of(builder, call)), object)))


def sizes_of(builder: Builder, call: Call) -> list[Number]:
    """The shape of a node's first input."""
    x = call.value(0)
    if isinstance(x, Activation):
        return dimensions(builder, x)
    source = call.constant(0)
    sizes: list[Number] = list(source.stored.shape)
    if source.repeated is not None:
        sizes[source.repeated] = SAMPLES
    return sizes


def expand(builder: Builder, call: Call) -> Value:
    """Of constants alone: zeros for a start state, say, as many as there are samples."""
    if isinstance(call.value(0), Activation):
        raise RefusedError("repeats data; supported: constants")
    return _filled(builder, call, call.constant(0).array, call.integers(1, batch=True))


def constant_of_shape(builder: Builder, call: Call) -> Value:
    value = np.zeros(1, np.float32)
    if "value" in call.attributes:
        value = read_tensor(call.attributes["value"], None, call.output)
    if value.size != 1:
        raise call.damaged("value", "one number")
    return _filled(builder, call, value.reshape(()), call.integers(0, batch=True))


def _filled(builder: Builder, call: Call, value: Array, target: list[int]) -> Value:
    """``value`` repeated to a shape."""
    if not all(n >= 0 or n == BATCH for n in target):
        raise ShapeError("asks for an impossible shape", found=target, expected="sizes")
    sizes = tuple(1 if n == BATCH else n for n in target)
    try:
        shape = np.broadcast_shapes(value.shape, sizes)
    except ValueError:
        raise ShapeError("cannot be repeated", found=value.shape, expected=target) from None
    before = len(shape) - len(sizes)
    if any(n == BATCH and shape[before + i] != 1 for i, n in enumerate(target)):
        raise RefusedError("has a constant that differs between samples")
    expect_foldable(shape)
    axes = [before + i for i, n in enumerate(target) if n == BATCH]
    if len(axes) > 1:
        raise RefusedError("has the number of samples twice")
    made = builder.folded(call.output, np.broadcast_to(value, shape))
    return replace(made, repeated=axes[0]) if axes else made


def cast(builder: Builder, call: Call) -> Value:
    """Data stay floats; constants fold."""
    source = call.value(0)
    if isinstance(source, Coded):
        return to_float(builder, call, source)
    if isinstance(source, Activation) and call.get("to", 0) in (1, 10, 11):  # float32, 16 and 64
        return source
    raise RefusedError("supported: constants, and data that stay floats")


def cast_like(builder: Builder, call: Call) -> Value:
    """To the type of data, or of a constant that is a float32: data stay floats."""
    source, like = call.value(0), call.value(1)
    if isinstance(like, Constant) and like.array.dtype != np.float32:
        raise RefusedError(f"is to {like.array.dtype}; supported: to float32, or the type of data")
    if not isinstance(source, Constant):
        return call.data(anywhere=True, merged=True)
    array = source.array
    if array.dtype == np.float32:
        return source
    if array.dtype.kind not in "fiu":
        raise RefusedError("supported: floats, and integers that do not depend on the batch")
    with np.errstate(all="ignore"):
        return builder.folded(call.output, array.astype(np.float32))


def gathered(builder: Builder, call: Call) -> Value:
    """Some indices of a constant."""
    source, indices = call.constant(0), call.constant(1).array
    array = source.stored
    axis = call.get("axis", 0)
    if indices.dtype.kind != "i" or not -array.ndim <= axis < array.ndim:
        raise ModelError("takes what is not there", found=axis, expected=f"{array.ndim} axes")
    size = array.shape[axis]
    if indices.size and not -size <= indices.min() <= indices.max() < size:
        raise ModelError("takes what is not there", found=indices, expected=f"below {size}")
    axis %= array.ndim
    expect_foldable((*array.shape[:axis], *indices.shape, *array.shape[axis + 1 :]))
    repeated = source.repeated
    if repeated == axis:
        raise RefusedError("is over the batch")
    if repeated is not None and axis < repeated:
        repeated += indices.ndim - 1
    return builder.moved(call.output, source, lambda a: np.take(a, indices, axis), repeated)


def sliced(builder: Builder, call: Call, parts: list[tuple[int, int, int, int]]) -> Value:
    """A part of a constant: axis, start, end and step of each slice."""
    source = call.constant(0)
    rank = source.stored.ndim
    place = [slice(None)] * rank
    for axis, start, end, step in parts:
        if not -rank <= axis < rank:
            raise call.damaged("axes", f"{rank} axes")
        if axis % rank == source.repeated:
            raise RefusedError("is over the batch")
        place[axis] = slice(start, end, step)
    return builder.moved(call.output, source, lambda a: a[tuple(place)], source.repeated)
