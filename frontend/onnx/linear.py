"""ONNX's layers with weights: products with matrices, and convolutions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..errors import ShapeError
from ..ops import Array, Conv, ConvTranspose, Dense, MatMul, Shape
from .call import Call
from .layout import channels_first, inverse, transposed_kernel
from .values import Activation, Builder, Constant, Linear, RefusedError, Value
from .window import conv_window, transposed_window


def gemm(builder: Builder, call: Call) -> Value:
    """``alpha · A · B + beta · C``, with A the data and B, C constants."""
    x = call.data(anywhere=True, merged=True)
    if x.rank != 2:
        raise ShapeError("Gemm takes matrices", found=x.shape, expected="(batch, features)")
    if x.batch == 1:
        raise RefusedError("is over the batch")
    source, c = call.weight(1), call.value(2)
    if source.array.ndim != 2:
        raise ShapeError("Gemm takes matrices", found=source.array.shape, expected="two axes")
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    turned = bool(call.get("transB", 0))

    def make(b: Array) -> Array:
        b = b.T if turned else b
        return b if alpha == 1 else b * np.float64(alpha)

    weight = builder.weight(source, f"gemm {alpha} {turned}", make)
    layer = Linear(Dense(), x.id, weight, None, len(x.shape) - 1, None, call.name)
    if c is None:
        return builder.linear(layer, x, call.output)
    addend = call.weight(2)
    scaled = addend if beta == 1 else addend.mapped(lambda c: c * np.float64(beta))
    size = source.array.shape[0 if turned else 1]
    bias = per_channel(scaled, replace(x, shape=(*x.shape[:-1], size)), layer.axis)
    if bias is None:
        raise RefusedError(
            f"adds a constant of shape {scaled.array.shape}; supported: one number a channel"
        )
    return builder.linear(layer, x, call.output, bias)


def per_channel(source: Constant, x: Activation, axis: int) -> Constant | None:
    """A constant that is added to ``x``, as one number for each index of our ``axis``.

    Returns:
        None where the constant is no such thing.
    """
    sizes = own_shape(source.array.shape, x)
    if sizes is None:
        return None
    channels = sizes[axis]
    if math.prod(sizes) != channels or channels not in (1, x.shape[axis]):
        return None
    return source.mapped(lambda v: np.broadcast_to(v.reshape(-1), (x.shape[axis],)))


def own_shape(shape: Shape, x: Activation) -> Shape | None:
    """The shape of a constant operand of ``x`` in our axes, as many as ``x`` has.

    Returns:
        None where it has more axes than the ONNX value, or differs between samples.
    """
    sizes = [1] * (x.rank - len(shape)) + list(shape)
    if len(sizes) != x.rank:
        return None
    if x.batch is not None:
        if sizes[x.batch] != 1:
            return None
        sizes[x.batch : x.batch + 1] = [1] * x.merged
    return tuple(sizes)


def matmul(builder: Builder, call: Call) -> Value:
    """Dense with a matrix on the right, else the product over the last two axes."""
    a, b = call.value(0), call.value(1)
    if isinstance(a, Activation) and isinstance(b, Constant) and b.array.ndim == 2:
        weight = builder.weight(call.weight(1), "matmul", lambda b: b)
        axis = len(a.shape) - 1
        if a.batch == a.rank - 1:
            raise RefusedError("is over the batch")
        layer = Linear(Dense(), a.id, weight, None, axis, None, call.name)
        return builder.linear(layer, a, call.output)
    ids = []
    ranks = []
    for i, value in enumerate((a, b)):
        if isinstance(value, Constant):
            shape = call.weight(i).array.shape
            if len(shape) < 2:
                raise RefusedError(f"has a constant of {len(shape)} axes; supported: 2 and more")
            ids.append(builder.weight(value, "matmul", lambda b: b))
            ranks.append(len(shape))
        else:
            x = call.data(i)
            if x.rank < 3:
                raise RefusedError("is a product over the batch")
            ids.append(x.id)
            ranks.append(x.rank)
    constants = [isinstance(value, Constant) for value in (a, b)]
    if all(constants):
        call.data()
    if any(constants):
        _expect_lower(ranks[constants.index(True)], ranks[constants.index(False)])
    elif ranks[0] != ranks[1]:
        raise RefusedError("is of values with different numbers of axes")
    return builder.emit(MatMul(), tuple(ids), call.name, call.output)


def _expect_lower(constant: int, data: int) -> None:
    """A constant must not reach the data's batch axis."""
    if constant >= data:
        raise RefusedError(f"has a constant of {constant} axes for data of {data}")


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
