"""ONNX's ops of language models: gates, rotations by position, and convolutions with a state."""

from __future__ import annotations

import numpy as np

from ...errors import ShapeError
from ...ops import Add, Array, Conv, Mul, Sigmoid, Silu, Window
from ..call import Call, Form, anything, only
from ..steps import Steps
from ..values import Activation, Builder, RefusedError, Value
from .attention import split_heads


def swish(builder: Builder, call: Call) -> Value:
    x = call.data(anywhere=True, merged=True)
    steps = Steps(builder, call)
    return steps.done(_swished(steps, x, call.number("alpha", 1.0)))


def swiglu(builder: Builder, call: Call) -> Value:
    """A gate's Swish times a value."""
    gate, value = (call.data(i, anywhere=True, merged=True) for i in (0, 1))
    if (gate.batch, gate.shape) != (value.batch, value.shape):
        raise RefusedError("is of values with different axes, or the batch on different ones")
    steps = Steps(builder, call)
    return steps.done(steps.apply(Mul(), _swished(steps, gate, call.number("alpha", 1.0)), value))


def _swished(steps: Steps, x: Activation, alpha: float) -> Activation:
    """``x · sigmoid(alpha · x)``."""
    if alpha == 1:
        return steps.apply(Silu(), x)
    return steps.apply(Mul(), x, steps.apply(Sigmoid(), steps.scaled(x, alpha)))


def rotary_embedding(builder: Builder, call: Call) -> Value:
    """``x · cos + swapped x · sin``, by caches that are known; pairs of values are swapped."""
    x = call.data(anywhere=True)
    if x.batch not in (0, None):
        raise RefusedError(f"has the batch on axis {x.batch}; supported: on axis 0")
    if x.rank not in (3, 4):
        raise ShapeError("rotates what has 3 or 4 axes", found=x.rank, expected="3 or 4 axes")
    steps = Steps(builder, call)
    flat = x.rank == 3
    heads = split_heads(steps, x, call.get("num_heads", 0)) if flat else x
    size = heads.shape[-1]
    turning = call.get("rotary_embedding_dim", 0) or size
    if turning % 2 or not 0 < turning <= size:
        raise call.damaged("rotary_embedding_dim", f"an even size of at most {size}")
    pairs = bool(call.get("interleaved", 0))
    half = turning // 2
    first = np.arange(0, turning, 2) if pairs else np.arange(half)
    second = first + (1 if pairs else half)
    partner = np.arange(size)
    partner[first], partner[second] = second, first
    cosines, sines = (_angles(call, i, heads, half) for i in (1, 2))
    if cosines.shape != sines.shape:
        raise ShapeError(
            "has caches of different shapes", found=sines.shape, expected=cosines.shape
        )
    shape = (*cosines.shape[:-1], size)
    factor, other = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    factor[..., first] = factor[..., second] = cosines
    other[..., first], other[..., second] = -sines, sines
    last = len(heads.shape) - 1
    swapped = steps.taken(heads, last, [int(i) for i in partner])
    kept = steps.apply(Mul(), heads, steps.weight("cosines", factor))
    moved = steps.apply(Mul(), swapped, steps.weight("sines", other))
    y = steps.apply(Add(), kept, moved)
    if flat:
        y = steps.reshaped(steps.turned(y, (*range(last - 2), last - 1, last - 2, last)), x.shape)
    return steps.done(y)


def _angles(call: Call, index: int, heads: Activation, half: int) -> Array:
    """A cache for each step, ``(steps, half)``, or with a sample's axis and one for the heads."""
    cache = call.weight(index).array
    if call.value(3) is not None:
        ids = call.constant(3).array
        if cache.ndim != 2 or ids.ndim != 2 or ids.dtype.kind != "i":
            raise ShapeError("has a wrong cache", found=cache.shape, expected="two axes")
        if ids.size and not 0 <= ids.min() <= ids.max() < len(cache):
            raise ShapeError("has positions beyond the cache", found=ids.max(), expected=len(cache))
        cache = cache[ids]
    steps = heads.shape[-2]
    if cache.ndim != 3 or cache.shape[1:] != (steps, half) or not len(cache):
        raise ShapeError("has a wrong cache", found=cache.shape, expected=("N", steps, half))
    if heads.batch is None:
        if len(cache) != heads.shape[0]:
            raise ShapeError(
                "has a wrong cache", found=cache.shape, expected=(heads.shape[0], steps, half)
            )
        return cache[:, None]
    if not (cache == cache[:1]).all():
        raise RefusedError("has positions that differ between samples")
    return np.asarray(cache[0])


def causal_convolution(builder: Builder, call: Call) -> tuple[Value, ...]:
    """Each channel by its own kernel, over what came before; the last inputs are the new state."""
    x, source = call.data(), call.weight(1)
    kernel = source.array.shape
    if len(x.shape) != 2 or len(kernel) != 3 or kernel[:2] != (x.shape[0], 1):
        raise ShapeError("kernel and input do not fit", found=kernel, expected=f"{x.shape}")
    channels, size = kernel[0], kernel[2]
    steps = Steps(builder, call)
    if call.value(3) is None:
        longer = steps.padded(x, 1, size - 1, 0)
    else:
        longer = steps.joined((call.data(3), x), 1)
    weights = [builder.weight(source, "causal", lambda k: k.transpose(2, 1, 0))]
    if call.value(2) is not None:
        weights.append(builder.weight(call.weight(2), "vector", lambda b: b.reshape(-1)))
    op = Conv(Window.of((size,)), channels)
    y = steps.turned(steps.apply(op, steps.turned(longer, (1, 0)), *weights), (1, 0))
    if call.get("activation", "none") != "none":
        y = steps.apply(Silu(), y)
    if len(call.used) < 2 or not call.used[1]:
        return (steps.done(y),)
    if size == 1:
        raise RefusedError("has a state without values")
    length = longer.shape[1]
    state = steps.sliced(longer, 1, length - size + 1, length)
    return steps.done(y), state


FORMS = {
    "CausalConvWithState": Form(
        27, causal_convolution, {"activation": only("none", "silu", "swish")}, outputs=2
    ),
    "RotaryEmbedding": Form(
        23,
        rotary_embedding,
        {"interleaved": only(0, 1), "num_heads": anything, "rotary_embedding_dim": anything},
    ),
    "SwiGLU": Form(28, swiglu, {"alpha": anything}),
    "Swish": Form(24, swish, {"alpha": anything}),
}
