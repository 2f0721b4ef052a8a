"""ONNX's reductions: sums, means and extremes over axes of a sample.

A mean or maximum is a pool, over space where one axis is kept and over rows one behind the other
otherwise; a sum is the product with a column of ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...ops import (
    Abs,
    Add,
    AveragePool,
    Dense,
    Exp,
    GlobalAveragePool,
    Log,
    MaxPool,
    Mul,
    Neg,
    Power,
    Shape,
    Sub,
    Window,
)
from ..call import Call, Form, anything, expect_distinct, only
from ..steps import Steps, rows_of, without
from ..values import Activation, Builder, RefusedError, Value

MAX_REDUCED = 2**18
"""Most values that go into one."""

MAX_FACTORS = 64
"""Most values that are multiplied with each other."""

Reduction = Callable[[Steps, Activation, Sequence[int]], Activation]
"""Gives ``x`` with these axes of ours as size 1; over no axes it works on each value alone."""


def reduction(reduce: Reduction, inputs_since: int) -> Callable[[Builder, Call], Value]:
    """The translator of a reduction whose axes are an input from version ``inputs_since`` on."""

    def translate(builder: Builder, call: Call) -> Value:
        x = call.data(anywhere=True)
        axes = _axes(call, x, inputs_since)
        own = sorted(call.axis(x, axis, "axes") for axis in axes)
        steps = Steps(builder, call)
        y = reduce(steps, x, own)
        if call.get("keepdims", 1):
            return steps.done(y)
        y = steps.reshaped(y, without(x, own))
        return steps.done(y, x.without(axes))

    return translate


def _axes(call: Call, x: Activation, inputs_since: int) -> list[int]:
    """The axes of the ONNX value; all of them where none are named, unless the file says none."""
    given = call.get("axes", None)
    if call.since >= inputs_since:
        given = call.integers(1) if call.value(1) is not None else None
    if not given:
        return [] if call.get("noop_with_empty_axes", 0) else list(range(x.rank))
    expect_distinct(given, x.rank)
    for axis in given:
        call.axis(x, axis, "axes")
    return [axis % x.rank for axis in given]


def expect_reducible(x: Activation, axes: Sequence[int]) -> None:
    """Refuse a reduction over very many values, which would take a step for each."""
    if math.prod(x.shape[axis] for axis in axes) > MAX_REDUCED:
        raise RefusedError(f"is over too many values; supported: at most {MAX_REDUCED}")


def kept_shape(x: Activation, axes: Sequence[int]) -> Shape:
    """The shape of ``x`` with size 1 for each of these axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def total(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    if not axes:
        return x
    expect_reducible(x, axes)
    rows = rows_of(steps, x, axes)
    ones = steps.weight("ones", np.ones((rows.shape[-1], 1), np.float32))
    return steps.reshaped(steps.apply(Dense(), rows, ones), kept_shape(x, axes))


def mean(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    return _pooled(
        steps,
        x,
        axes,
        lambda kernel: GlobalAveragePool(),
        lambda size: AveragePool(Window.of((size,), (size,))),
    )


def largest(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    return _pooled(
        steps,
        x,
        axes,
        lambda kernel: MaxPool(Window.of(kernel)),
        lambda size: MaxPool(Window.of((size,), (size,))),
    )


def _pooled(
    steps: Steps,
    x: Activation,
    axes: Sequence[int],
    over_space: Callable[[Shape], MaxPool | GlobalAveragePool],
    over_rows: Callable[[int], MaxPool | AveragePool],
) -> Activation:
    if not axes:
        return x
    expect_reducible(x, axes)
    kept = [i for i in range(len(x.shape)) if i not in axes]
    if len(kept) == 1 and len(axes) in (1, 2):
        order = (*axes, *kept)
        turned = steps.turned(x, order)
        y = steps.apply(over_space(turned.shape[:-1]), turned)
        return steps.turned(y, tuple(order.index(i) for i in range(len(order))))
    rows = rows_of(steps, x, axes)
    size = rows.shape[-1]
    line = steps.reshaped(rows, (math.prod(rows.shape), 1))
    return steps.reshaped(steps.apply(over_rows(size), line), kept_shape(x, axes))


def smallest(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    if not axes:
        return x
    return steps.apply(Neg(), largest(steps, steps.apply(Neg(), x), axes))


def product(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    """Halves multiplied with each other, until one value is left."""
    if not axes:
        return x
    y = rows_of(steps, x, axes)
    last = len(y.shape) - 1
    if y.shape[last] > MAX_FACTORS:
        raise RefusedError(f"is a product of {y.shape[last]} values; supported: {MAX_FACTORS}")
    while y.shape[last] > 1:
        half, odd = divmod(y.shape[last], 2)
        parts = [steps.sliced(y, last, i * half, (i + 1) * half) for i in (0, 1)]
        rest = [steps.at(y, last, 2 * half)] if odd else []
        y = steps.joined([steps.apply(Mul(), *parts), *rest], last)
    return steps.reshaped(y, kept_shape(x, axes))


def absolute_total(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    return total(steps, steps.apply(Abs(), x), axes)


def square_total(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    return total(steps, steps.apply(Mul(), x, x), axes)


def length(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    if not axes:
        return steps.apply(Abs(), x)
    return steps.apply(Power(0.5), square_total(steps, x, axes))


def log_total(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    return steps.apply(Log(), total(steps, x, axes))


def log_total_exp(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    """The largest value is taken off first and added last, so that no power is too large."""
    if not axes:
        return x
    most = largest(steps, x, axes)
    powers = steps.apply(Exp(), steps.apply(Sub(), x, most))
    return steps.apply(Add(), log_total(steps, powers, axes), most)


_ATTRIBUTES = {"axes": anything, "keepdims": only(0, 1), "noop_with_empty_axes": only(0, 1)}

FORMS = {
    "ReduceL1": Form(18, reduction(absolute_total, 18), _ATTRIBUTES),
    "ReduceL2": Form(18, reduction(length, 18), _ATTRIBUTES),
    "ReduceLogSum": Form(28, reduction(log_total, 18), _ATTRIBUTES),
    "ReduceLogSumExp": Form(28, reduction(log_total_exp, 18), _ATTRIBUTES),
    "ReduceMax": Form(20, reduction(largest, 18), _ATTRIBUTES),
    "ReduceMean": Form(18, reduction(mean, 18), _ATTRIBUTES),
    "ReduceMin": Form(20, reduction(smallest, 18), _ATTRIBUTES),
    "ReduceProd": Form(18, reduction(product, 18), _ATTRIBUTES),
    "ReduceSum": Form(13, reduction(total, 13), _ATTRIBUTES),
    "ReduceSumSquare": Form(18, reduction(square_total, 18), _ATTRIBUTES),
}
