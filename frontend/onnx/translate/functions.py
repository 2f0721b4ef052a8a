"""ONNX's mathematical functions of each value, and those of several values at one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np

from ...errors import ShapeError
from ...ops import (
    Abs,
    Array,
    Celu,
    Clip,
    Cos,
    Div,
    Erf,
    Exp,
    Log,
    Maximum,
    Minimum,
    Mish,
    Mul,
    Neg,
    Power,
    Sin,
    Softsign,
    Sub,
    ThresholdedRelu,
)
from ..call import Call, Form, anything, meant
from ..steps import Steps
from ..values import Activation, Builder, Constant, RefusedError, Value, expect_foldable
from .activation import always, elementwise, identity
from .arithmetic import add, binary

Pair = Callable[[Builder, Call], Value]
"""The translator of an op on two values."""

PRODUCTS = (2, 3)
"""Exponents of a power that is written as products: exact, where a power is looked up."""


def div(builder: Builder, call: Call) -> Value:
    """By a constant whose reciprocal is exact it is a product."""
    divisor = call.value(1)
    if isinstance(divisor, Constant):
        values = call.weight(1).array
        if not values.all():
            raise RefusedError("divides by zero")
        if np.all(np.abs(np.frexp(values)[0]) == 0.5):
            return binary(Mul(), lambda c: 1 / c)(builder, call)
    return binary(Div())(builder, call)


def power(builder: Builder, call: Call) -> Value:
    """To a constant; the second and the third power are products."""
    x, exponent = call.data(anywhere=True, merged=True), call.value(1)
    if not isinstance(exponent, Constant) or exponent.array.size != 1:
        raise RefusedError("has an exponent that is not one number")
    if exponent.array.ndim > x.rank or exponent.array.dtype.kind not in "fi":
        raise RefusedError("has an exponent of another type or with more axes than the data")
    value = meant(float(exponent.array.reshape(())))
    if value == 1:
        return identity(builder, call)
    if value not in PRODUCTS:
        return builder.emit(Power(value), (x.id,), call.name, call.output, like=x)
    steps = Steps(builder, call)
    y = x
    for _ in range(int(value) - 1):
        y = steps.apply(Mul(), y, x)
    return steps.done(y)


def variadic(pair: Pair, fold: Callable[[Array, Array], Array]) -> Pair:
    """The translator of an op on one value or more, from that on two; constants are folded."""

    def translate(builder: Builder, call: Call) -> Value:
        values = [call.value(i) for i in range(len(call.inputs))]
        constants = [i for i, value in enumerate(values) if isinstance(value, Constant)]
        if len(constants) == len(values):
            call.data()
        rest = [value for value in values if isinstance(value, Activation)]
        total: Value = rest[0]
        others: list[Value] = list(rest[1:])
        if constants:
            known = [call.weight(i) for i in constants]
            others.append(known[0] if len(known) == 1 else _folded(builder, known, fold))
        for i, other in enumerate(others, 1):
            last = i == len(others)
            outputs = call.outputs if last else (f"{call.output}_{i}",)
            total = pair(builder, replace(call, inputs=(total, other), outputs=outputs))
        return total

    return translate


def _folded(
    builder: Builder, known: list[Constant], fold: Callable[[Array, Array], Array]
) -> Constant:
    """One constant for several."""
    arrays = [source.array for source in known]
    try:
        expect_foldable(np.broadcast_shapes(*(array.shape for array in arrays)))
    except ValueError:
        raise ShapeError(
            "constants cannot be broadcast", found=[array.shape for array in arrays]
        ) from None
    with np.errstate(all="ignore"):
        return builder.folded(known[0].name, reduce(fold, arrays))


def extreme(op: Maximum | Minimum) -> Pair:
    """The larger or smaller of two values; by one constant number it is a clip."""

    def translate(builder: Builder, call: Call) -> Value:
        x, bound = call.data(anywhere=True, merged=True), call.value(1)
        if isinstance(bound, Constant):
            array = call.weight(1).array
            if array.size == 1 and array.ndim <= x.rank:
                end = meant(float(array.reshape(())))
                clip = Clip(end, math.inf) if op == Maximum() else Clip(-math.inf, end)
                return builder.emit(clip, (x.id,), call.name, call.output, like=x)
        return binary(op)(builder, call)

    return translate


def mean(builder: Builder, call: Call) -> Value:
    """The sum, divided by how many there are."""
    if len(call.inputs) == 1:
        return call.data(anywhere=True, merged=True)
    count = builder.folded("count", np.array(len(call.inputs), np.float32))
    total = total_of(builder, replace(call, outputs=(f"{call.output}_sum",)))
    return div(builder, replace(call, inputs=(total, count)))


def shrink(builder: Builder, call: Call) -> Value:
    """What lies within the threshold becomes 0; the rest stays, or moves to 0 by the threshold."""
    x = call.data(anywhere=True, merged=True)
    threshold, bias = call.number("lambd", 0.5), call.number("bias", 0.0)
    if threshold < 0 or bias not in (0, threshold):
        raise RefusedError(
            f"has lambd {threshold} and bias {bias}; supported: a lambd of at least 0, "
            "and a bias of 0 or lambd"
        )
    steps = Steps(builder, call)
    if bias:
        return steps.done(steps.apply(Sub(), x, steps.apply(Clip(-threshold, threshold), x)))
    above = ThresholdedRelu(threshold)
    below = steps.apply(above, steps.apply(Neg(), x))
    return steps.done(steps.apply(Sub(), steps.apply(above, x), below))


total_of = variadic(add, np.add)

FORMS = {
    "Abs": Form(13, always(Abs()), {}),
    "Celu": Form(
        28, elementwise(lambda call: Celu(call.number("alpha", Celu().alpha))), {"alpha": anything}
    ),
    "Cos": Form(22, always(Cos()), {}),
    "Div": Form(14, div, {}),
    "Erf": Form(13, always(Erf()), {}),
    "Exp": Form(13, always(Exp()), {}),
    "Log": Form(13, always(Log()), {}),
    "Max": Form(13, variadic(extreme(Maximum()), np.maximum), {}),
    "Mean": Form(13, mean, {}),
    "Min": Form(13, variadic(extreme(Minimum()), np.minimum), {}),
    "Mish": Form(22, always(Mish()), {}),
    "Neg": Form(13, always(Neg()), {}),
    "Pow": Form(15, power, {}),
    "Reciprocal": Form(13, always(Power(-1.0)), {}),
    "Shrink": Form(9, shrink, {"bias": anything, "lambd": anything}),
    "Sin": Form(22, always(Sin()), {}),
    "Softsign": Form(22, always(Softsign()), {}),
    "Sqrt": Form(13, always(Power(0.5)), {}),
    "Sum": Form(13, total_of, {}),
    "ThresholdedRelu": Form(
        22,
        elementwise(lambda call: ThresholdedRelu(call.number("alpha", ThresholdedRelu().alpha))),
        {"alpha": anything},
    ),
}
"""The ONNX ops that this module translates."""
