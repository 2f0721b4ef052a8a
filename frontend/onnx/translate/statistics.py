"""ONNX's normalisations by a sample's own statistics, and pools by powers.

Where a row is normalised it is our LayerNorm of the rows without factor and addend, which follow
one a channel; the hardware has that as one layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ShapeError
from ...ops import Abs, Add, Array, Clip, Conv, Dense, Div, LayerNorm, Mul, Power, Sub
from ..call import Call, Form, anything, expect_distinct, only
from ..layout import channels_first, inverse
from ..steps import Steps, expect_matrix
from ..values import Activation, Builder, RefusedError, Value
from .reduce import absolute_total, largest, length, mean, total
from .window import pool_window

SMALLEST = float(np.finfo(np.float32).tiny)
"""The smallest normal float32."""


def instance_norm(builder: Builder, call: Call) -> Value:
    """Each channel by its own mean and variance over space."""
    x = call.data()
    return _normalised(builder, call, x, (x.shape or (0,))[0])


def group_norm(builder: Builder, call: Call) -> Value:
    """Channels in groups; before version 21 factor and addend are one a group."""
    x = call.data()
    groups = call.get("num_groups", 0)
    if groups < 1 or (x.shape or (0,))[0] % groups:
        raise call.damaged("num_groups", f"a divisor of the channels of {x.shape}")
    return _normalised(builder, call, x, groups)


def _normalised(builder: Builder, call: Call, x: Activation, groups: int) -> Value:
    """Rows of one group each, then a factor and an addend a channel."""
    channels = (x.shape or (0,))[0]
    if len(x.shape) < 2:
        raise ShapeError("works on images and sequences", found=x.shape, expected="(C, ...)")
    old = call.op == "GroupNormalization" and call.since < 21
    expected = (groups if old else channels,)
    steps = Steps(builder, call)
    size = math.prod(x.shape) // groups
    rows = rows_normalised(steps, steps.reshaped(x, (groups, size)), call.number("epsilon", 1e-5))
    y = steps.reshaped(rows, x.shape)
    for index, op in ((1, Mul()), (2, Add())):
        source = call.weight(index)
        if source.array.shape != expected:
            raise ShapeError("weights do not fit", found=source.array.shape, expected=expected)
        y = steps.apply(op, y, builder.weight(source, f"channels {len(x.shape)}", _beside(x)))
    return steps.done(y)


def _beside(x: Activation) -> Callable[[Array], Array]:
    """Makes one number a channel, or a group of them, stand beside ``x``."""
    channels = x.shape[0]

    def make(value: Array) -> Array:
        wide = value.repeat(channels // len(value))
        return wide.reshape(channels, *(1,) * (len(x.shape) - 1))

    return make


def rows_normalised(steps: Steps, rows: Activation, epsilon: float) -> Activation:
    """Rows along the last axis, with mean 0 and variance 1."""
    size = rows.shape[-1]
    ones = steps.weight("factor", np.ones(size, np.float32))
    zeros = steps.weight("addend", np.zeros(size, np.float32))
    return steps.apply(LayerNorm(epsilon), rows, ones, zeros)


def mean_variance_norm(builder: Builder, call: Call) -> Value:
    """``(x - mean) / (√variance + 1e-9)``, as the op's own function says."""
    x = call.data(anywhere=True)
    axes = call.get("axes", [0, 2, 3])
    expect_distinct(axes, x.rank)
    own = sorted(call.axis(x, axis, "axes") for axis in axes)
    steps = Steps(builder, call)
    centred = steps.apply(Sub(), x, mean(steps, x, own))
    variance = mean(steps, steps.apply(Mul(), centred, centred), own)
    deviation = steps.apply(Power(0.5), variance)
    least = steps.weight("least", np.full((1,) * len(x.shape), 1e-9, np.float32))
    return steps.done(steps.apply(Div(), centred, steps.apply(Add(), deviation, least)))


def lp_norm(builder: Builder, call: Call) -> Value:
    """Divided by the norm along one axis; a row of zeros stays one."""
    x = call.data(anywhere=True)
    axes = [call.axis(x, call.get("axis", -1))]
    steps = Steps(builder, call)
    norm = (absolute_total if call.get("p", 2) == 1 else length)(steps, x, axes)
    divisor = steps.apply(Clip(SMALLEST, math.inf), norm)
    return steps.done(steps.apply(Div(), x, divisor))


def local_response_norm(builder: Builder, call: Call) -> Value:
    """``x · (bias + alpha / size · sum of squares of neighbouring channels)^-beta``."""
    x = call.data()
    size = call.get("size", 0)
    if size < 1 or not x.shape:
        raise call.damaged("size", "at least 1")
    if size % 2 == 0:
        raise RefusedError(f"attribute 'size' is {size}, of which programs differ; supported: odd")
    channels = x.shape[0]
    expect_matrix(channels, channels)
    at = np.arange(channels)
    near = np.abs(at[:, None] - at) <= size // 2
    alpha, beta = call.number("alpha", 1e-4), call.number("beta", 0.75)
    steps = Steps(builder, call)
    order = channels_first(len(x.shape))
    squares = steps.turned(steps.apply(Mul(), x, x), order)
    window = steps.weight("window", (near * (alpha / size)).astype(np.float32))
    bias = steps.weight("bias", np.full(channels, call.number("bias", 1.0), np.float32))
    scale = steps.apply(Power(-beta), steps.apply(Dense(), squares, window, bias))
    return steps.done(steps.apply(Mul(), x, steps.turned(scale, inverse(order))))


def global_max_pool(builder: Builder, call: Call) -> Value:
    x = call.data()
    steps = Steps(builder, call)
    return steps.done(largest(steps, x, _spatial(x)))


def global_lp_pool(builder: Builder, call: Call) -> Value:
    x = call.data()
    steps = Steps(builder, call)
    p = _order(call)
    return steps.done(_root(steps, total(steps, _powers(steps, x, p), _spatial(x)), p))


def lp_pool(builder: Builder, call: Call) -> Value:
    """The p-th root of the sum of p-th powers: a convolution of each channel with ones."""
    x = call.data()
    p = _order(call)
    window, _ = pool_window(call, x.shape[1:])
    channels = x.shape[0]
    steps = Steps(builder, call)
    order = channels_first(len(x.shape))
    powers = steps.turned(_powers(steps, x, p), order)
    ones = steps.weight("ones", np.ones((*window.kernel, 1, channels), np.float32))
    sums = steps.apply(Conv(window, channels), powers, ones)
    return steps.done(steps.turned(_root(steps, sums, p), inverse(order)))


def _order(call: Call) -> int:
    p: int = call.get("p", 2)
    if p < 1:
        raise call.damaged("p", "at least 1")
    return p


def _powers(steps: Steps, x: Activation, p: int) -> Activation:
    if p == 2:
        return steps.apply(Mul(), x, x)
    size = steps.apply(Abs(), x)
    return size if p == 1 else steps.apply(Power(float(p)), size)


def _root(steps: Steps, x: Activation, p: int) -> Activation:
    return x if p == 1 else steps.apply(Power(1 / p), x)


def _spatial(x: Activation) -> Sequence[int]:
    if len(x.shape) < 2:
        raise RefusedError("has no spatial axes")
    return range(1, len(x.shape))


_LP_POOL = {
    "auto_pad": anything,
    "ceil_mode": anything,
    "dilations": anything,
    "kernel_shape": anything,
    "p": anything,
    "pads": anything,
    "strides": anything,
}
FORMS = {
    "GlobalLpPool": Form(22, global_lp_pool, {"p": anything}),
    "GlobalMaxPool": Form(22, global_max_pool, {}),
    "GroupNormalization": Form(
        21, group_norm, {"epsilon": anything, "num_groups": anything, "stash_type": only(1)}
    ),
    "InstanceNormalization": Form(22, instance_norm, {"epsilon": anything}),
    "LRN": Form(
        13,
        local_response_norm,
        {"alpha": anything, "beta": anything, "bias": anything, "size": anything},
    ),
    "LpNormalization": Form(22, lp_norm, {"axis": anything, "p": only(1, 2)}),
    "LpPool": Form(22, lp_pool, _LP_POOL),
    "MeanVarianceNormalization": Form(13, mean_variance_norm, {"axes": anything}),
}
