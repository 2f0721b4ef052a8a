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
    Concat,
    Conv,
    Dense,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Reshape,
    SumPool,
    Window,
)
from lutra.quantize.cast import Cast
from lutra.quantize.exact_ops import (
    BelowMax,
    Clamp,
    Combine,
    Leaky,
    Rearrange,
    Square,
)
from lutra.quantize.fixed import FixedGraph, FixedOp
from lutra.quantize.float_index import FloatIndex
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lut import Lut
from lutra.quantize.recurrence import Recurrence


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
    """Raw integers of float samples in the user's layout and units."""
    (port,) = graph.inputs
    entry = graph.entry[port.name]
    return _each(
        lambda v: assign(Fraction(float(v)), entry.format, entry.rounding, entry.overflow),
        port.enter(x),
    )


def evaluate(graph: FixedGraph, raw: Array) -> dict[str, Array]:
    """Every value of the network, as arrays of Python integers, batch first, channels last."""
    (port,) = graph.inputs
    batches = []
    for sample in raw.astype(object):
        values = {name: np.asarray(value, object) for name, value in graph.constants.items()}
        values[port.name] = sample
        for node in graph.nodes:
            inputs = [values[name] for name in node.inputs]
            if isinstance(node.op, Recurrence):
                values |= _unroll(node.op, *inputs)
                sequence = values[node.op.result]
                final = 0 if node.op.reverse else -1
                values[node.output] = sequence[final] if node.op.last else sequence
            else:
                values[node.output] = _apply(node, *inputs)
        batches.append(values)
    names = [port.name, *(node.output for node in graph.every_node())]
    return {name: np.stack([values[name] for values in batches]) for name in names}


def _unroll(loop: Recurrence, x: Array, *constants: Array) -> dict[str, Array]:
    """All values of a loop's body, one step after the other, each in the order of time."""
    units = x.shape[1] // len(loop.parts)
    states = {state.before: np.array([0] * units, object) for state in loop.states}
    steps: dict[int, dict[str, Array]] = {}
    order = range(len(x))
    for t in reversed(order) if loop.reverse else order:
        values = dict(zip(loop.constants, constants, strict=True)) | states
        for i, part in enumerate(loop.parts):
            values[part] = x[t, i * units : (i + 1) * units]
        for node in loop.body:
            values[node.output] = _apply(node, *(values[name] for name in node.inputs))
        states = {state.before: values[state.after] for state in loop.states}
        steps[t] = values
    return {node.output: np.stack([steps[t][node.output] for t in order]) for node in loop.body}


def _each(function: Callable[..., int], *x: Array) -> Array:
    return np.asarray(
        np.frompyfunc(function, len(x), 1)(*(part.astype(object) for part in x)), object
    )


def _apply(node: Node[FixedOp], x: Array, *rest: Array) -> Array:
    match node.op:
        case Dense():
            return _dense(x, *rest)
        case Conv(window, groups):
            return _conv(window, groups, x, *rest)
        case MatMul(transposed):
            return _matmul(x, np.swapaxes(rest[0], -1, -2) if transposed else rest[0])
        case MaxPool(window):
            return _windowed(window, x, lambda part: part.reshape(-1, x.shape[-1]).max(0), None)
        case SumPool(window):
            return _windowed(window, x, lambda part: part.reshape(-1, x.shape[-1]).sum(0), 0)
        case Relu():
            return _each(lambda v: max(v, 0), x)
        case Clamp(low, high):
            return _each(lambda v: min(max(v, low), high), x)
        case Leaky(fraction):
            return _each(lambda v, slope: v * slope if v < 0 else v << fraction, x, *rest)
        case Square():
            return _each(lambda v: v * v, x)
        case Flatten():
            return x.reshape(-1)
        case Reshape(shape):
            return x.reshape(shape)
        case Rearrange():
            return _rearrange(node.op, x)
        case Concat(axis):
            return np.concatenate([x, *rest], axis)
        case BelowMax():
            return np.asarray(x.max(axis=-1, keepdims=True) - x)
        case ReduceSum():
            return np.asarray(x.sum(axis=-1, keepdims=True))
        case Mul():
            return _each(lambda a, b: a * b, x, *rest)
        case Combine((first, second), negative):
            sign = -1 if negative else 1
            return _each(lambda a, b: (a << first) + sign * (b << second), x, *rest)
        case Lut():
            return _each(lambda v: rest[0][v % len(rest[0])], x)
        case FloatIndex(bits):
            return _each(lambda v: _float_index(v, bits), x)
        case Cast() as step:
            return _each(lambda v: cast(v, step), x)
        case Recurrence():
            raise AssertionError("loops are unrolled")
        case op:
            assert_never(op)


def _float_index(raw: int, bits: int) -> int:
    """By comparing with powers of two, and by division."""
    value = Fraction(max(raw, 1))
    position = 0
    while value >= 2:
        value /= 2
        position += 1
    return (position << bits) + math.floor((value - 1) * (1 << bits))


def _rearrange(op: Rearrange, x: Array) -> Array:
    """Position by position."""
    y = np.empty([axis.size for axis in op.axes], object)
    for place in np.ndindex(*y.shape):
        source: dict[int, int] = {}
        for i, axis in zip(place, op.axes, strict=True):
            index, rest = divmod(axis.start + axis.step * i, axis.divisor)
            inside = 0 <= index < x.shape[axis.source] and not (axis.sparse and rest)
            source[axis.source] = index if inside else -1
        index_of = tuple(source[i] for i in range(x.ndim))
        y[place] = op.fill if -1 in index_of else x[index_of]
    return y


def _matmul(a: Array, b: Array) -> Array:
    y = np.empty((*a.shape[:-1], b.shape[-1]), object)
    for *lead, i, j in np.ndindex(*y.shape):
        left, right = a[*lead, i], b[*lead[len(lead) + 2 - b.ndim :], :, j]
        y[*lead, i, j] = sum(p * q for p, q in zip(left, right, strict=True))
    return y


def _conv(window: Window, groups: int, x: Array, w: Array, *bias: Array) -> Array:
    """Each output channel from the input channels of its group."""
    wide = np.full((*w.shape[:-2], x.shape[-1], w.shape[-1]), 0, object)
    inputs, outputs = w.shape[-2], w.shape[-1] // groups
    for m in range(w.shape[-1]):
        first = m // outputs * inputs
        wide[..., first : first + inputs, m] = w[..., m]
    matrix = wide.reshape(-1, w.shape[-1])
    return _windowed(window, x, lambda part: _dense(part, matrix, *bias), 0)


def _dense(x: Array, w: Array, bias: Array | None = None) -> Array:
    rows = x.reshape(-1, len(w))
    sums = [[sum(a * b for a, b in zip(row, w[:, m], strict=True)) for m in range(w.shape[1])]
            for row in rows]  # fmt: skip
    y = np.array(sums, object).reshape(*x.shape[:-1], w.shape[1])
    return y if bias is None else y + bias


def _windowed(
    window: Window, x: Array, function: Callable[[Array], Array], fill: int | None
) -> Array:
    """``function`` of each window; padding is ``fill``, or less than anything."""
    least = min(x.ravel().tolist()) if fill is None else fill
    padded = np.pad(x, (*window.pad, (0, 0)), constant_values=least)
    out = window.infer(x.shape)
    y = {}
    spans = list(zip(window.stride, window.kernel, window.dilation, strict=True))
    for position in itertools.product(*map(range, out)):
        taps = (
            slice(p * s, p * s + k * d, d) for p, (s, k, d) in zip(position, spans, strict=True)
        )
        y[position] = function(padded[tuple(taps)].reshape(-1))
    return np.array(list(y.values()), object).reshape(*out, -1)
