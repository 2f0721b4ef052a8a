"""ONNX's layers with weights: products with matrices, and convolutions."""

from __future__ import annotations

import math

import numpy as np

from ...errors import ShapeError
from ...ops import Conv, ConvTranspose, Dense, MatMul, Shape
from ..aligned import aligned, own_shape
from ..call import Call
from ..layout import channels_first, inverse, transposed_kernel
from ..values import Activation, Builder, Constant, Linear, RefusedError, Value
from .window import conv_window, transposed_window


def per_channel(source: Constant, x: Activation, axis: int) -> Constant | None:
    """A constant that is added to ``x``, as one number for each index of our ``axis``.

    Returns:
        None where the constant is no such thing.
    """
    sizes = own_shape(source, x)
    if sizes is None:
        return None
    channels = sizes[axis]
    if math.prod(sizes) != channels or channels not in (1, x.shape[axis]):
        return None
    return source.mapped(lambda v: np.broadcast_to(v.reshape(-1), (x.shape[axis],)))


def matmul(builder: Builder, call: Call) -> Value:
    """Dense with a constant matrix on the right, else the product over the last two axes.

    A vector is a row on the left and a column on the right; the axis that this adds goes again.
    """
    a, b = (_operand(call, i) for i in (0, 1))
    if isinstance(a, Constant) and isinstance(b, Constant):
        call.data()
    if 0 in (_rank(a), _rank(b)):
        raise ShapeError("MatMul takes vectors and matrices", found="a single number")
    row, column = _rank(a) == 1, _rank(b) == 1
    if isinstance(b, Constant) and _rank(b) <= 2:
        assert isinstance(a, Activation)
        weight = builder.weight(b, "matmul", lambda b: b if b.ndim == 2 else b[:, None])
        if a.batch == a.rank - 1:
            raise RefusedError("is over the batch")
        layer = Linear(Dense(), a.id, weight, None, len(a.shape) - 1, None, call.name)
        y = builder.linear(layer, a, call.output)
        row = False
    else:
        y = _product(
            builder, call, _as_matrix(builder, call, a, 0), _as_matrix(builder, call, b, 1)
        )
    for axis, drops in ((-1, column), (-2 + column, row)):
        if drops:
            shape = y.shape[:axis] + y.shape[len(y.shape) + axis + 1 :]
            y = builder.reshaped(y, shape, 0, f"{call.name}_drop", call.output).placed(y)
    return y


def _operand(call: Call, index: int) -> Activation | Constant:
    if isinstance(call.value(index), Constant):
        return call.weight(index)
    x = call.data(index, anywhere=True, merged=True)
    if x.rank == 1 and x.batch is not None:
        raise RefusedError("is a product over the batch")
    return x


def _rank(value: Activation | Constant) -> int:
    return value.rank if isinstance(value, Activation) else value.array.ndim


def _as_matrix(
    builder: Builder, call: Call, value: Activation | Constant, index: int
) -> Activation | Constant:
    """A vector as a row, or as a column on the right."""
    if _rank(value) > 1:
        return value
    if isinstance(value, Constant):
        return value.mapped(lambda v: v.reshape((1, -1) if index == 0 else (-1, 1)))
    shape = (1, *value.shape) if index == 0 else (*value.shape, 1)
    wish = f"{call.output}_operand"
    return builder.reshaped(value, shape, None, f"{call.name}_operand", wish)


def _product(
    builder: Builder, call: Call, a: Activation | Constant, b: Activation | Constant
) -> Activation:
    """The product over the last two axes of values that have as many, one of them data."""
    values = (a, b)
    at = [i for i, value in enumerate(values) if isinstance(value, Activation)]
    rank = max(map(_rank, values))
    data = aligned(builder, [v for v in values if isinstance(v, Activation)], rank)
    if data[0].batch is not None and data[0].batch >= rank - 2 and builder.batch == 1:
        data = [builder.whole(x) for x in data]
    x = data[0]
    if isinstance(a, Constant) and x.batch == rank - 1 and a.array.ndim == 2:
        weight = builder.weight(a, "left", np.transpose)
        return builder.emit(Dense(), (x.id, weight), call.name, call.output, like=x)
    if x.batch is not None and x.batch >= rank - 2:
        raise RefusedError("is a product over the batch")
    ids = tuple(
        data[at.index(i)].id if i in at else _matrices(builder, value, x)
        for i, value in enumerate(values)
    )
    return builder.emit(MatMul(), ids, call.name, call.output, like=x)


def _matrices(builder: Builder, source: Activation | Constant, x: Activation) -> str:
    """Constant matrices that meet those of ``x``."""
    assert isinstance(source, Constant)  # the others are data
    shape = own_shape(source, x)
    if shape is None:
        raise RefusedError(
            f"has a constant of shape {source.array.shape}, which differs between samples"
        )
    first = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    kept = shape[min(first, len(shape) - 2) :]
    return builder.weight(source, f"matmul {kept}", lambda m: m.reshape(kept))


def conv(builder: Builder, call: Call) -> Value:
    x, source, spatial = _convolved(call)
    group = call.get("group", 1)
    shape = source.array.shape
    if group < 1 or shape[0] % group:
        raise call.damaged("group", f"a divisor of {shape[0]} output channels")
    window = conv_window(call, spatial, x.shape[1:])
    weight = builder.weight(source, "conv", lambda k: np.moveaxis(k, (0, 1), (-1, -2)))
    return _convolution(builder, call, Conv(window, group), weight, shape[0])


def conv_transpose(builder: Builder, call: Call) -> Value:
    x, source, spatial = _convolved(call)
    group = call.get("group", 1)
    inputs, outputs = source.array.shape[:2]
    if group < 1 or inputs % group:
        raise call.damaged("group", f"a divisor of {inputs} input channels")
    window, extra = transposed_window(call, spatial, x.shape[1:])
    arrangement = transposed_kernel((*spatial, inputs // group, outputs * group), group)
    weight = builder.weight(source, f"conv transposed {group}", arrangement.read)
    op = ConvTranspose(window, extra, group)
    return _convolution(builder, call, op, weight, outputs * group)


def _convolved(call: Call) -> tuple[Activation, Constant, Shape]:
    """The data, the weight and its spatial shape."""
    x, source = call.data(), call.weight(1)
    rank = len(x.shape)
    if rank not in (2, 3):
        raise RefusedError(f"has {rank - 1} spatial axes; supported: 1 and 2")
    if source.array.ndim != rank + 1:
        raise ShapeError(
            "kernel and input do not fit",
            found=f"input {x.shape}, weight {source.array.shape}",
            expected=f"{rank - 1} spatial axes in both",
        )
    if 0 in source.array.shape:
        raise ShapeError(
            "the kernel is empty", found=source.array.shape, expected="sizes of at least 1"
        )
    return x, source, source.array.shape[2:]


def _convolution(
    builder: Builder, call: Call, op: Conv | ConvTranspose, weight: str, channels: int
) -> Value:
    x = call.data()
    last = channels_first(len(x.shape))
    turned = builder.turned(x, last, f"{call.name}_in", f"{call.output}_in")
    layer = Linear(op, turned.id, weight, None, 0, inverse(last), call.name)
    if call.value(2) is None:
        return builder.linear(layer, x, call.output)
    bias = call.weight(2)
    if bias.array.shape != (channels,):
        raise ShapeError(
            "convolution bias does not fit", found=bias.array.shape, expected=(channels,)
        )
    return builder.linear(layer, x, call.output, bias)
