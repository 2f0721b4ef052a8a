"""What a fixed graph computes, in Python's integers and fractions: slow, and by definition exact.

Nothing here is shared with the simulator: no floats, no matrix products, no windows in one piece.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import assert_never

import numpy as np

from lutra.frontend.graph import Node
from lutra.frontend.ops import (
    Array,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    SumPool,
    Window,
)
from lutra.quantize.cast import Cast
from lutra.quantize.exact import BelowMax
from lutra.quantize.fixed import FixedGraph, FixedOp
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lut import Lut


def assign(value: Fraction, target: Format, rounding: Rounding, overflow: Overflow) -> int:
    """The raw integer that ``value`` becomes."""
    v = value * Fraction(2) ** target.fraction
    floor = math.floor(v)
    rest = v - floor
    half = Fraction(1, 2)
    match rounding:
        case Rounding.TRN:
            up = False
        case Rounding.TRN_ZERO:
            up = v < 0 and rest > 0
        case Rounding.RND:
            up = rest >= half
        case Rounding.RND_MIN_INF:
            up = rest > half
        case Rounding.RND_INF:
            up = rest > half or (rest == half and v > 0)
        case Rounding.RND_ZERO:
            up = rest > half or (rest == half and v < 0)
        case Rounding.RND_CONV:
            up = rest > half or (rest == half and floor % 2 == 1)
    r = floor + up
    low, high = target.low, target.high
    match overflow:
        case Overflow.SAT:
            return min(max(r, low), high)
        case Overflow.SAT_SYM:
            mirrored = target.signed and target.width > 1
            return min(max(r, -high if mirrored else low), high)
        case Overflow.SAT_ZERO:
            return r if low <= r <= high else 0
        case Overflow.WRAP:
            return (r - low) % (1 << target.width) + low


def cast(raw: int, op: Cast) -> int:
    """One raw integer through a Cast."""
    value = Fraction(raw) * Fraction(2) ** -(op.shift + op.format.fraction)
    return assign(value, op.format, op.rounding, op.overflow)


def enter(graph: FixedGraph, x: Array) -> Array:
    """Raw integers of float samples (channels last)."""
    entry = graph.entry[graph.inputs[0].name]
    return _each(
        lambda v: assign(Fraction(float(v)), entry.format, entry.rounding, entry.overflow), x
    )


def evaluate(graph: FixedGraph, raw: Array) -> dict[str, Array]:
    """Every value of the network, as arrays of Python integers, batch first, channels last."""
    (port,) = graph.inputs
    batches = []
    for sample in raw.astype(object):
        values = {name: value.astype(object) for name, value in graph.constants.items()}
        values[port.name] = sample
        for node in graph.nodes:
            values[node.output] = _apply(node, *(values[name] for name in node.inputs))
        batches.append(values)
    names = [port.name, *(node.output for node in graph.nodes)]
    return {name: np.stack([values[name] for values in batches]) for name in names}


def _each(function: Callable[..., int], x: Array) -> Array:
    return np.asarray(np.frompyfunc(function, 1, 1)(x.astype(object)), object)


def _apply(node: Node[FixedOp], x: Array, *rest: Array) -> Array:
    match node.op:
        case Dense():
            return _dense(x, *rest)
        case Conv(window):
            return _windowed(window, x, lambda part: _dense(part, *_matrix(*rest)), 0)
        case MaxPool(window):
            return _windowed(window, x, lambda part: part.reshape(-1, x.shape[-1]).max(0), None)
        case SumPool(window):
            return _windowed(window, x, lambda part: part.reshape(-1, x.shape[-1]).sum(0), 0)
        case Relu():
            return _each(lambda v: max(v, 0), x)
        case Flatten():
            return x.reshape(-1)
        case BelowMax():
            return np.asarray(x.max(axis=-1, keepdims=True) - x)
        case ReduceSum():
            return np.asarray(x.sum(axis=-1, keepdims=True))
        case Mul():
            return np.asarray(x * rest[0])
        case Lut():
            return _each(lambda v: rest[0][v % len(rest[0])], x)
        case Cast() as step:
            return _each(lambda v: cast(v, step), x)
        case op:
            assert_never(op)


def _dense(x: Array, w: Array, bias: Array | None = None) -> Array:
    rows = x.reshape(-1, len(w))
    sums = [[sum(a * b for a, b in zip(row, w[:, m], strict=True)) for m in range(w.shape[1])]
            for row in rows]  # fmt: skip
    y = np.array(sums, object).reshape(*x.shape[:-1], w.shape[1])
    return y if bias is None else y + bias


def _matrix(w: Array, *bias: Array) -> tuple[Array, ...]:
    return (w.reshape(-1, w.shape[-1]), *bias)


def _windowed(
    window: Window, x: Array, function: Callable[[Array], Array], fill: int | None
) -> Array:
    """``function`` of each window; padding is ``fill``, or less than anything."""
    least = min(x.ravel().tolist()) if fill is None else fill
    padded = np.pad(x, (*window.pad, (0, 0)), constant_values=least)
    out = window.infer(x.shape)
    y = {}
    for position in itertools.product(*map(range, out)):
        starts = [p * s for p, s in zip(position, window.stride, strict=True)]
        part = padded[tuple(slice(a, a + k) for a, k in zip(starts, window.kernel, strict=True))]
        y[position] = function(part.reshape(-1))
    return np.array(list(y.values()), object).reshape(*out, -1)
