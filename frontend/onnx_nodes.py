"""How each ONNX op becomes ops of ours.  What is not in :data:`FORMS` is refused.

A translator says literally what ONNX says: where our op wants other axes, it stands between two
Transposes, which the passes remove.  Anything that it does not know to be exact it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .errors import ShapeError
from .onnx_call import Call, Form, anything, constant_node, ones, only, require_floats
from .onnx_layout import channels_first, inverse
from .onnx_reshape import flatten, reshape, squeeze, transpose, unsqueeze
from .onnx_values import Activation, Builder, Constant, Linear, RefusedError, Value
from .onnx_window import average_pool, conv_window, max_pool
from .ops import Array, Conv, Dense, GlobalAveragePool, Op, Relu, Sigmoid, Softmax, Tanh


def elementwise(op: Op) -> Callable[[Builder, Call], Value]:
    """The translator of an op that works on each value alone."""

    def translate(builder: Builder, call: Call) -> Value:
        return builder.emit(op, (call.data().id,), call.name, call.output)

    return translate


def identity(builder: Builder, call: Call) -> Value:
    value = call.value(0)
    assert value is not None  # the schema asks for it
    return value


def dropout(builder: Builder, call: Call) -> Value:
    """The identity, unless the file asks for training at inference."""
    training = call.value(2)
    if training is not None and (
        not isinstance(training, Constant) or training.array.size != 1 or training.array.any()
    ):
        raise RefusedError("is in training mode")
    return call.data()


def gemm(builder: Builder, call: Call) -> Value:
    """``alpha · A · B + beta · C``, with A the data and B, C constants."""
    x = call.data()
    if len(x.shape) != 1:
        raise ShapeError("Gemm takes matrices", found=x.shape, expected="(batch, features)")
    source, c = call.weight(1), call.value(2)
    if source.array.ndim != 2:
        raise ShapeError("Gemm takes matrices", found=source.array.shape, expected="two axes")
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    turned = bool(call.get("transB", 0))

    def make(b: Array) -> Array:
        b = b.T if turned else b
        return b if alpha == 1 else b * np.float64(alpha)

    weight = builder.weight(source, f"gemm {alpha} {turned}", make)
    layer = Linear(Dense(), x.id, weight, None, 0, None, call.name)
    if c is None:
        return builder.linear(layer, call.output)
    addend = call.weight(2)
    with np.errstate(all="ignore"):
        scaled = addend.array if beta == 1 else addend.array * np.float64(beta)
    size = source.array.shape[0 if turned else 1]
    bias = per_channel(scaled, (size,), 0)
    return builder.linear(layer, call.output, bias, addend.name)


def matmul(builder: Builder, call: Call) -> Value:
    """Data times a constant matrix: Dense over the last axis."""
    if isinstance(call.value(0), Constant):
        raise RefusedError("has its constant on the left; supported: on the right")
    x, source = call.data(), call.weight(1)
    if source.array.ndim != 2:
        raise RefusedError(f"has a constant of {source.array.ndim} axes; supported: 2")
    weight = builder.weight(source, "matmul", lambda b: b)
    axis = len(x.shape) - 1
    return builder.linear(Linear(Dense(), x.id, weight, None, axis, None, call.name), call.output)


def conv(builder: Builder, call: Call) -> Value:
    x, source = call.data(), call.weight(1)
    rank = len(x.shape)
    if rank not in (2, 3):
        raise RefusedError(f"has {rank - 1} spatial axes; supported: 1 and 2")
    kernel = source.array.shape[2:]
    if len(kernel) != rank - 1:
        raise ShapeError(
            "kernel and input do not fit",
            found=f"input {x.shape}, weight {source.array.shape}",
            expected=f"{rank - 1} spatial axes in both",
        )
    window = conv_window(call, kernel, x.shape[1:])
    last = channels_first(rank)
    turned = builder.turned(x, last, f"{call.name}_in", f"{call.output}_in")
    weight = builder.weight(source, "conv", lambda k: np.moveaxis(k, (0, 1), (-1, -2)))
    layer = Linear(Conv(window), turned.id, weight, None, 0, inverse(last), call.name)
    if call.value(2) is None:
        return builder.linear(layer, call.output)
    bias = call.weight(2)
    if bias.array.shape != source.array.shape[:1]:
        raise ShapeError(
            "convolution bias does not fit",
            found=bias.array.shape,
            expected=source.array.shape[:1],
        )
    return builder.linear(layer, call.output, bias.array, bias.name)


def per_channel(value: Array, shape: tuple[int, ...], axis: int) -> Array:
    """A constant that is added to data of ``shape``, as one number for each index of ``axis``."""
    sizes = [1] * (len(shape) + 1 - value.ndim) + list(value.shape)
    channels = sizes.pop(axis + 1)
    if len(sizes) != len(shape) or set(sizes) != {1} or channels not in (1, shape[axis]):
        raise RefusedError(
            f"adds a constant of shape {value.shape}; supported: one number a channel"
        )
    return np.broadcast_to(value.reshape(-1), (shape[axis],))


def add(builder: Builder, call: Call) -> Value:
    """A constant bias right behind a layer; our graph has no other addition yet."""
    pair = (call.value(0), call.value(1))
    for x, c in (pair, pair[::-1]):
        if isinstance(x, Activation) and isinstance(c, Constant):
            if x.linear is None:
                raise RefusedError("supported: a bias right behind MatMul, Gemm or Conv")
            bias = per_channel(require_floats(c).array, x.shape, x.linear.axis)
            return builder.linear(x.linear, call.output, bias, c.name)
    raise RefusedError("supported: the addition of a constant bias")


def global_average_pool(builder: Builder, call: Call) -> Value:
    x = call.data()
    if len(x.shape) not in (2, 3):
        raise RefusedError(f"has {len(x.shape) - 1} spatial axes; supported: 1 and 2")
    last = channels_first(len(x.shape))
    return builder.between(GlobalAveragePool(), last, x, call.name, call.output)


def softmax(builder: Builder, call: Call) -> Value:
    """Over one axis, which goes last; before opset 13 over all axes from the given one on."""
    x = call.data()
    rank = len(x.shape) + 1
    axis = call.get("axis", -1 if call.since >= 13 else 1)
    if not -rank <= axis < rank:
        raise call.damaged("axis", f"-{rank} to {rank - 1}")
    axis %= rank
    if axis == 0:
        raise RefusedError("is over the batch")
    axes = [axis - 1]
    if call.since < 13:
        after = range(axis - 1, len(x.shape))
        axes = [i for i in after if x.shape[i] != 1] or [len(x.shape) - 1]
    if len(axes) > 1:
        raise RefusedError("is over several axes at once; supported: one")
    others = tuple(i for i in range(len(x.shape)) if i != axes[0])
    return builder.between(Softmax(), (*others, axes[0]), x, call.name, call.output)


_WINDOW = {"auto_pad": anything, "kernel_shape": anything, "pads": anything, "strides": anything}
_POOL = _WINDOW | {"ceil_mode": anything, "dilations": ones}
_CONSTANT = ("value", "value_float", "value_floats", "value_int", "value_ints")

FORMS: Mapping[str, Form] = {
    "Add": Form(14, add, {}),
    "AveragePool": Form(22, average_pool, _POOL | {"count_include_pad": anything}),
    "Constant": Form(25, constant_node, dict.fromkeys(_CONSTANT, anything)),
    "Conv": Form(22, conv, _WINDOW | {"dilations": ones, "group": only(1)}),
    "Dropout": Form(22, dropout, {"ratio": anything, "seed": anything}, extra_outputs=True),
    "Flatten": Form(25, flatten, {"axis": anything}),
    "Gemm": Form(
        13,
        gemm,
        {"alpha": anything, "beta": anything, "transA": only(0), "transB": anything},
    ),
    "GlobalAveragePool": Form(22, global_average_pool, {}),
    "Identity": Form(25, identity, {}),
    "MatMul": Form(13, matmul, {}),
    "MaxPool": Form(22, max_pool, _POOL | {"storage_order": only(0)}, extra_outputs=True),
    "Relu": Form(14, elementwise(Relu()), {}),
    "Reshape": Form(25, reshape, {"allowzero": only(0, 1)}),
    "Sigmoid": Form(13, elementwise(Sigmoid()), {}),
    "Softmax": Form(13, softmax, {"axis": anything}),
    "Squeeze": Form(25, squeeze, {"axes": anything}),
    "Tanh": Form(13, elementwise(Tanh()), {}),
    "Transpose": Form(25, transpose, {"perm": anything}),
    "Unsqueeze": Form(25, unsqueeze, {"axes": anything}),
}
"""The ONNX ops that are understood.  The tests hold this against the onnx package."""
