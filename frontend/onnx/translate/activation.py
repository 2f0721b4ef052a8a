"""ONNX's activations: functions of each value, and those over one axis."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...errors import ModelError
from ...ops import (
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    LeakyRelu,
    LogSoftmax,
    Op,
    PRelu,
    Selu,
    Softmax,
)
from ..call import Call, meant
from ..steps import Steps, rows_of
from ..values import Builder, Constant, RefusedError, Value

Translator = Callable[[Builder, Call], Value]


def elementwise(make: Callable[[Call], Op]) -> Translator:
    """The translator of an op that works on each value alone."""

    def translate(builder: Builder, call: Call) -> Value:
        x = call.data(anywhere=True, merged=True)
        return builder.emit(make(call), (x.id,), call.name, call.output, like=x)

    return translate


def always(op: Op) -> Translator:
    """The translator of an op without attributes that works on each value alone."""
    return elementwise(lambda call: op)


def leaky_relu(call: Call) -> Op:
    return LeakyRelu(call.number("alpha", LeakyRelu().slope))


def elu(call: Call) -> Op:
    return Elu(call.number("alpha", Elu().alpha))


def selu(call: Call) -> Op:
    return Selu(call.number("alpha", Selu().alpha), call.number("gamma", Selu().gamma))


def hard_sigmoid(call: Call) -> Op:
    return HardSigmoid(
        call.number("alpha", HardSigmoid().slope), call.number("beta", HardSigmoid().offset)
    )


def gelu(call: Call) -> Op:
    return Gelu(call.get("approximate", "none") == "tanh")


def clip(call: Call) -> Op:
    """The bounds are attributes before opset 11, then constant inputs; either may be absent."""
    bounds = []
    for i, (key, default) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        bound = call.get(key, default)
        if call.value(i) is not None:
            array = call.weight(i).array
            if array.size != 1:
                raise ModelError(f"bound '{key}' is no number", found=array.shape)
            bound = float(array.reshape(()))
        # Before opset 11 the largest float32 stands for no bound.
        bounds.append(default if abs(bound) >= 3.4028234e38 and bound * default > 0 else bound)
    low, high = bounds
    if not low <= high:
        raise ModelError("has no value between its bounds", found=f"{low} and {high}")
    return Clip(meant(low), meant(high))


def prelu(builder: Builder, call: Call) -> Value:
    """One slope, or one for each index of an axis, which goes last."""
    x, source = call.data(), call.weight(1)
    slope = source.array
    wide = [i - slope.ndim for i, n in enumerate(slope.shape) if n != 1]
    if len(wide) > 1 or slope.ndim > x.rank or -x.rank in wide:
        raise RefusedError(f"has slopes of shape {slope.shape}; supported: one a channel, or one")
    weight = builder.weight(source, "slope", lambda s: s.reshape(-1))
    axis = len(x.shape) + wide[0] if wide else len(x.shape) - 1
    return builder.between(PRelu(), _last(x.shape, axis), x, call.name, call.output, (weight,))


def softmax(op: Softmax | LogSoftmax) -> Translator:
    """Over one axis, which goes last; before opset 13 over all axes from the given one on."""

    def translate(builder: Builder, call: Call) -> Value:
        x = call.data(anywhere=True, merged=True)
        own = call.axis(x, call.get("axis", -1 if call.since >= 13 else 1))
        axes = [own]
        if call.since < 13:
            if x.batch:  # the axes behind its own, all of them, are among those that it is over
                raise RefusedError(f"has the batch on axis {x.batch}; supported: on axis 0")
            after = range(own, len(x.shape))
            axes = [i for i in after if x.shape[i] != 1] or [len(x.shape) - 1]
        if len(axes) > 1:
            steps = Steps(builder, call)
            rows = steps.apply(op, rows_of(steps, x, axes))
            return steps.done(steps.reshaped(rows, x.shape))
        return builder.between(op, _last(x.shape, axes[0]), x, call.name, call.output)

    return translate


def _last(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The order of axes in which ``axis`` is the last."""
    return (*(i for i in range(len(shape)) if i != axis), axis)


def dropout(builder: Builder, call: Call) -> Value:
    """The identity, unless the file asks for training at inference."""
    training = call.value(2)
    if training is not None and (
        not isinstance(training, Constant) or training.array.size != 1 or training.array.any()
    ):
        raise RefusedError("is in training mode")
    return call.data(anywhere=True, merged=True)


def identity(builder: Builder, call: Call) -> Value:
    value = call.value(0)
    assert value is not None  # the schema asks for it
    return value
