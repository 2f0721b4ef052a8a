"""How the idioms are translated: by one op each, where its axes stand as that op wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...ops import (
    Add,
    Clip,
    HardSigmoid,
    LayerNorm,
    LeakyRelu,
    LogSoftmax,
    Mul,
    Op,
    Relu,
    RmsNorm,
    Softmax,
    Softplus,
)
from ..call import Call, expect_distinct, meant
from ..layout import inverse
from ..steps import Steps, rows_of
from ..translate import activation
from ..translate.activation import Translator
from ..translate.arithmetic import binary
from ..values import Activation, Builder, Value


def clip(call: Call) -> Op:
    """Within the bounds that were found."""
    low, high = (meant(call.get(key, math.nan)) for key in ("low", "high"))
    return Relu() if (low, high) == (0, math.inf) else Clip(low, high)


def hard_sigmoid(call: Call) -> Op:
    return HardSigmoid(call.number("alpha", math.nan), call.number("beta", math.nan))


def leaky_relu(call: Call) -> Op:
    """With the slope that was found, or the slope of the negated value."""
    if "negated" in call.attributes:
        return LeakyRelu(-call.number("negated", math.nan))
    return LeakyRelu(call.number("alpha", math.nan))


def scaled_softplus(builder: Builder, call: Call) -> Value:
    """``softplus(beta x) / beta``."""
    x = call.data(anywhere=True)
    beta = call.number("beta", 1.0)
    steps = Steps(builder, call)
    if beta == 1.0:
        return steps.done(steps.apply(Softplus(), x))
    factor, inverse = (
        steps.weight(what, np.array(value, np.float32))
        for what, value in (("beta", beta), ("inverse", 1 / beta))
    )
    y = steps.apply(Softplus(), steps.apply(Mul(), x, factor))
    return steps.done(steps.apply(Mul(), y, inverse))


def prelu(sign: int) -> Translator:
    """With ``sign`` times the slopes that were found."""

    def translate(builder: Builder, call: Call) -> Value:
        slope = call.weight(1)
        if sign < 0:
            slope = builder.folded(f"{slope.name}_negated", -slope.array)
        return activation.prelu(builder, replace(call, inputs=(call.value(0), slope)))

    return translate


def softmax(op: Softmax | LogSoftmax) -> Translator:
    """Over the axes that were reduced, as one row."""

    def translate(builder: Builder, call: Call) -> Value:
        x = call.data(anywhere=True)
        steps = Steps(builder, call)
        return steps.done(_over(steps, x, _reduced(call, x), op, ()))

    return translate


def log_of_softmax(builder: Builder, call: Call) -> Value:
    """As ONNX's LogSoftmax, with the axis of the Softmax."""
    part = replace(call, attributes={"axis": int(call.number("axis", -1))})
    return activation.softmax(LogSoftmax())(builder, part)


def layer_norm(builder: Builder, call: Call) -> Value:
    """The second input, where there is one, is a factor, and the third an addend."""
    epsilon = call.number("epsilon", LayerNorm().epsilon)
    return _normalised(builder, call, LayerNorm(epsilon), (1.0, 0.0))


def rms_norm(builder: Builder, call: Call) -> Value:
    epsilon = call.number("epsilon", RmsNorm().epsilon)
    return _normalised(builder, call, RmsNorm(epsilon), (1.0,))


def root_of_sum(builder: Builder, call: Call) -> Value:
    """``x / sqrt(sum(x²) + epsilon)``: of n values that is ``x / sqrt(mean(x²) + epsilon / n)``,
    divided by the root of n."""
    x = call.data(anywhere=True)
    n = math.prod(x.shape[axis] for axis in _reduced(call, x))
    epsilon = call.number("epsilon", RmsNorm().epsilon) / n
    return _normalised(builder, call, RmsNorm(epsilon), (n**-0.5,))


def _normalised(
    builder: Builder, call: Call, op: LayerNorm | RmsNorm, weights: Sequence[float]
) -> Value:
    """``op`` over the reduced axes with the same weights everywhere, then what is there of a
    factor and an addend."""
    x = call.data(anywhere=True)
    steps = Steps(builder, call)
    y = _over(steps, x, _reduced(call, x), op, weights)
    for i, scaling in ((1, Mul()), (2, Add())):
        operand = call.value(i)
        if operand is not None:
            part = replace(call, name=f"{call.name}_{i}", inputs=(y, operand))
            scaled = binary(scaling)(builder, part)
            assert isinstance(scaled, Activation)
            y = scaled
    return steps.done(y)


def _over(
    steps: Steps, x: Activation, axes: Sequence[int], op: Op, weights: Sequence[float]
) -> Activation:
    """``op`` over the row that these axes of ours are, with vectors of one number each."""
    kept = [i for i in range(len(x.shape)) if i not in axes]
    order = (*kept, *axes)
    rows = rows_of(steps, x, axes)
    vectors = (np.full(rows.shape[-1], weight, np.float32) for weight in weights)
    y = steps.apply(op, rows, *(steps.weight(f"w{i}", v) for i, v in enumerate(vectors)))
    y = steps.reshaped(y, tuple(x.shape[axis] for axis in order))
    return steps.turned(y, inverse(order))


def _reduced(call: Call, x: Activation) -> list[int]:
    """Our axes that the idiom reduces: those named, or all but the first two of the file's."""
    axes = call.get("axes", ()) or range(2, x.rank)
    expect_distinct(axes, x.rank)
    return sorted(call.axis(x, axis, "axes") for axis in axes)
