"""Lowering of sums and products: layers with weights, arithmetic, averages."""

from __future__ import annotations

import math

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import (
    Array,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    GlobalAveragePool,
    MatMul,
    Mul,
    Op,
    Reshape,
    Shape,
    Sub,
    SumPool,
    Window,
)
from .builder import Builder
from .calibrate import REACH, feeds_softmax
from .exact_ops import Axis, Rearrange
from .formats import MAX_WIDTH
from .grids import constant_fraction, grid_fraction

RECIPROCAL_BITS = 4
"""Significant bits of an average's reciprocal beyond the width of its result."""

ADDEND_BITS = 4
"""Fraction bits of a constant that is added, beyond those of what it is added to."""

FACTOR_BITS = 4
"""Bits of a constant factor beyond those of weights: it costs one multiplication a value."""

FLOAT_BITS = 24
"""Bits of the largest of some factors, as many as a float32 has: of those that a Quantize rounds
behind them, and of scales of a quantised model."""


def linear(builder: Builder, op: Dense | Conv | ConvTranspose, node: Node[Op]) -> None:
    """A product with weights, and a bias that is rounded to the fraction of the accumulator."""
    op, x, weight = _factors(builder, op, node)
    bias = node.inputs[2:]
    if not bias:
        builder.close(node.output, op, x, weight)
        return
    fraction = builder.formats[x].fraction + builder.formats[weight].fraction
    wanted = max(exact_fraction(builder, bias[0], node) or fraction, fraction)
    values = builder.graph.constants[bias[0]]
    constant = builder.rounded(builder.new(f"{node.name}.bias"), values, wanted)
    if wanted == fraction:
        builder.close(node.output, op, x, weight, constant)
        return
    product = builder.exact(builder.new(f"{node.name}.product"), op, x, weight)
    builder.close(node.output, builder.aligned(product, constant), product, constant)


def product(
    builder: Builder, op: Dense | Conv | ConvTranspose, node: Node[Op], output: str
) -> None:
    """A product with weights, without the bias."""
    op, x, weight = _factors(builder, op, node)
    builder.exact(output, op, x, weight)


def _factors(
    builder: Builder, op: Dense | Conv | ConvTranspose, node: Node[Op]
) -> tuple[Dense | Conv, str, str]:
    """The op as it is computed, and the value and the weight that it multiplies."""
    if isinstance(op, ConvTranspose):
        return _upside_down(builder, op, node)
    return op, node.inputs[0], builder.weight(node.inputs[1])


def exact_fraction(builder: Builder, name: str, node: Node[Op]) -> int | None:
    """The fraction bits with which a constant of a quantised model needs no rounding: where its
    grid says so, or where few bits do and the node's result has no Cast."""
    if node.output in builder.precision.settled:
        return constant_fraction(builder.graph, name)
    return grid_fraction(builder.graph, name)


def _upside_down(builder: Builder, op: ConvTranspose, node: Node[Op]) -> tuple[Conv, str, str]:
    """A transposed convolution as a convolution of the input with zeros between its values: the
    kernel is turned around, the stride becomes the distance of the values."""
    x, name = node.inputs[:2]
    shape, out = builder.shapes[x], builder.shapes[node.output]
    window = op.window
    axes = {}
    for i, (kernel, stride, (before, _), dilation) in enumerate(
        zip(window.kernel, window.stride, window.pad, window.dilation, strict=True)
    ):
        reach = dilation * (kernel - 1)
        axes[i] = Axis(out[i] + reach, i, before - reach, 1, stride, sparse=stride > 1)
    spread = builder.exact(builder.new(f"{node.name}.spread"), Rearrange.along(shape, axes), x)
    rank = len(window.kernel)
    turned = np.flip(builder.graph.constants[name], tuple(range(rank)))
    weight = builder.weight(name, turned)
    plain = Window(window.kernel, (1,) * rank, ((0, 0),) * rank, window.dilation)
    return Conv(plain, op.groups), spread, weight


def batch_norm(builder: Builder, op: BatchNorm, node: Node[Op]) -> None:
    """One factor and one addend a channel."""
    x = node.inputs[0]
    gamma, beta, mean, variance = (
        builder.graph.constants[name].astype(np.float64) for name in node.inputs[1:]
    )
    factor = gamma / np.sqrt(variance + op.epsilon)
    constant = factors(builder, f"{node.name}.factor", factor)
    scaled = builder.exact(builder.new(f"{node.name}.scaled"), Mul(), x, constant)
    shift = addend(builder, f"{node.name}.shift", beta - mean * factor, scaled, 0)
    builder.close(node.output, builder.aligned(scaled, shift), scaled, shift)


def factors(builder: Builder, name: str, values: Array, bits: int | None = None) -> str:
    """Constant factors, with ``bits`` bits; by default with some more than weights have."""
    largest = float(np.abs(values).max(initial=0.0))
    bits = bits or builder.precision.weight_bits + FACTOR_BITS
    return builder.rounded(builder.new(name), values, bits - math.frexp(largest)[1])


def addend(builder: Builder, name: str, values: Array, x: str, extra: int = ADDEND_BITS) -> str:
    """A constant to be added to ``x``, with some fraction bits more."""
    return builder.rounded(builder.new(name), values, builder.formats[x].fraction + extra)


def suffix(constant: Array, shape: Shape) -> Array:
    """A constant that is broadcast to ``shape``, as the shortest array for the last axes."""
    full = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    while full.ndim > 1 and full.shape[0] == 1:
        full = full[0]
    if full.size == 1:
        return full.reshape(1)
    return np.ascontiguousarray(np.broadcast_to(full, shape[len(shape) - full.ndim :]))


def add(builder: Builder, node: Node[Op]) -> None:
    """A sum or a difference; of two values, or of one and a constant."""
    negative = isinstance(node.op, Sub)
    shape = builder.shapes[node.output]
    a, b = node.inputs
    if a in builder.graph.constants:
        a, b = b, a
        if negative:
            a = builder.scaled(builder.new(f"{node.name}.negative"), a, -1.0, 1)
            negative = False
    if b in builder.graph.constants:
        a = builder.expand(a, shape)
        values = suffix(builder.graph.constants[b], shape)
        b = constant_addend(builder, node, b, a, _within_reach(builder, node, values, a))
    elif negative:
        a, b = builder.expand(a, shape), _row_or_whole(builder, b, shape)
    else:
        a, b = fitted(builder, a, b, shape)
    builder.close(node.output, builder.aligned(a, b, negative=negative), a, b)


def _within_reach(builder: Builder, node: Node[Op], values: Array, x: str) -> Array:
    """The constants that ``x`` gets added.  If only softmaxes read the sum, those that make what
    they are added to nothing to them, whatever it is, are no larger than that takes."""
    if not feeds_softmax(builder.graph, node.output):
        return values
    format_ = builder.formats[x]
    spread = (format_.high - format_.low) * format_.step
    least = values.max(axis=-1, keepdims=True) - spread - 2 * REACH
    return np.asarray(np.maximum(values, least))


def constant_addend(builder: Builder, node: Node[Op], name: str, x: str, values: Array) -> str:
    """The values of the constant ``name`` for a sum with ``x``."""
    fraction = exact_fraction(builder, name, node)
    if fraction is None:
        return addend(builder, f"{node.name}.addend", values, x)
    return builder.rounded(builder.new(f"{node.name}.addend"), values, fraction)


def fitted(builder: Builder, a: str, b: str, shape: Shape) -> tuple[str, str]:
    """Two computed values as operands whose order does not matter: one of ``shape``, and one of it
    or with one value a row."""
    if _is_row(builder, a, shape):
        a, b = b, a
    return builder.expand(a, shape), _row_or_whole(builder, b, shape)


def multiply(builder: Builder, node: Node[Op]) -> None:
    shape = builder.shapes[node.output]
    a, b = node.inputs
    if a in builder.graph.constants:
        a, b = b, a
    if b in builder.graph.constants:
        values = suffix(builder.graph.constants[b], shape)
        a = builder.expand(a, shape)
        fraction = exact_fraction(builder, b, node)
        if fraction is None:
            exact = node.output in builder.precision.settled or values.dtype == np.float64
            room = MAX_WIDTH - 1 - builder.formats[a].width
            bits = min(FLOAT_BITS, max(room, 1)) if exact else None
            b = factors(builder, f"{node.name}.factor", values, bits)
        else:
            b = builder.rounded(builder.new(f"{node.name}.factor"), values, fraction)
    else:
        a, b = fitted(builder, a, b, shape)
    builder.close(node.output, Mul(), a, b)


def _is_row(builder: Builder, x: str, shape: Shape) -> bool:
    """Whether ``x`` has one value for each row of ``shape``."""
    return builder.shapes[x] == (*shape[:-1], 1) != shape


def _row_or_whole(builder: Builder, x: str, shape: Shape) -> str:
    return x if _is_row(builder, x, shape) else builder.expand(x, shape)


def matrix_product(builder: Builder, op: MatMul, node: Node[Op]) -> None:
    """Of two values; with constant matrices it is one dense layer or several."""
    a, b = node.inputs
    constants = builder.graph.constants
    if b in constants:
        matrices = constants[b].swapaxes(-1, -2) if op.transposed else constants[b]
        _close_by(builder, node, a, b, matrices)
        return
    if a in constants:
        _left_constant(builder, op, node)
        return
    lead = builder.shapes[node.output][:-2]
    a, b = (builder.expand(x, (*lead, *builder.shapes[x][-2:])) for x in (a, b))
    builder.close(node.output, op, a, b)


def _left_constant(builder: Builder, op: MatMul, node: Node[Op]) -> None:
    """``A x`` as the transpose of ``xᵀ Aᵀ``."""
    a, x = node.inputs
    if not op.transposed:
        x = builder.exact(builder.new(f"{node.name}.columns"), _swapped(builder.shapes[x]), x)
    matrices = builder.graph.constants[a].swapaxes(-1, -2)
    y = _close_by(builder, node, x, a, matrices, builder.new(f"{node.name}.rows"))
    builder.exact(node.output, _swapped(builder.shapes[y]), y)


def _swapped(shape: Shape) -> Rearrange:
    """A transpose of the last two axes."""
    *lead, rows, columns = range(len(shape))
    return Rearrange.transpose(shape, (*lead, columns, rows))


def _close_by(
    builder: Builder, node: Node[Op], x: str, name: str, matrices: Array, output: str = ""
) -> str:
    """``x`` times constant matrices ``(..., k, m)``, which are made of the constant ``name``.

    Where they differ along leading axes, these are one axis, and each of its indices is a layer.
    The result has the format of the node's value; it is that value unless ``output`` is given.
    """
    output = output or node.output
    target = builder.precision.points.get(node.output)
    lead = np.broadcast_shapes(builder.shapes[x][:-2], matrices.shape[:-2])
    *_, rows, inner = builder.shapes[x]
    if math.prod(matrices.shape[:-2]) == 1 and lead == builder.shapes[x][:-2]:
        weight = builder.weight(name, matrices.reshape(matrices.shape[-2:]))
        return builder.cast_to(target, output, Dense(), x, weight)
    x = builder.expand(x, (*lead, rows, inner))
    count = math.prod(lead)
    x = builder.exact(builder.new(f"{node.name}.stack"), Reshape((count, rows, inner)), x)
    each = np.broadcast_to(matrices, (*lead, *matrices.shape[-2:]))
    parts = _products(builder, node, x, name, each.reshape(count, *matrices.shape[-2:]))
    stacked = builder.cast_to(target, builder.new(f"{node.name}.stacked"), Concat(0), *parts)
    return builder.exact(output, Reshape((*lead, rows, matrices.shape[-1])), stacked)


def _products(builder: Builder, node: Node[Op], x: str, name: str, matrices: Array) -> list[str]:
    """Each index of the first axis of ``x`` times a matrix of its own."""
    shape = builder.shapes[x]
    products = []
    for i, matrix in enumerate(matrices):
        one = Rearrange.along(shape, {0: Axis(1, 0, i)})
        part = builder.exact(builder.new(f"{node.name}.slice{i}"), one, x)
        weight = builder.weight(name, np.ascontiguousarray(matrix))
        products.append(
            builder.exact(builder.new(f"{node.name}.product{i}"), Dense(), part, weight)
        )
    return products


def window_sum(
    builder: Builder, op: AveragePool | GlobalAveragePool, node: Node[Op], output: str
) -> str:
    """The sum of which an average is taken."""
    x = node.inputs[0]
    window = op.window if isinstance(op, AveragePool) else Window.of(builder.shapes[x][:-1])
    return builder.exact(output, SumPool(window), x)


def average(builder: Builder, op: AveragePool | GlobalAveragePool, node: Node[Op]) -> None:
    """Exact sum, times a fixed-point reciprocal: exact if the count is a power of two."""
    x = node.inputs[0]
    if isinstance(op, GlobalAveragePool):
        counts = np.array([math.prod(builder.shapes[x][:-1])])
    else:
        counts = op.counts(builder.shapes[x])[..., None]
        counts = suffix(counts, builder.shapes[node.output])
        if counts.min() == counts.max():
            counts = counts.reshape(-1)[:1]
    total = window_sum(builder, op, node, builder.new(f"{node.name}.sum"))
    width = builder.formats[total].width
    target = builder.precision.points.get(node.output)
    if target is not None:
        width = target.format.width
    largest = int(counts.max())
    fraction = largest.bit_length() - 1
    if any(count & (count - 1) for count in np.unique(counts).tolist()):
        fraction += width + RECIPROCAL_BITS
    raw = (2 * (1 << fraction) + counts) // (2 * counts)
    reciprocal = builder.constant(
        builder.new(f"{node.name}.reciprocal"), raw.astype(np.int64), fraction
    )
    builder.close(node.output, Mul(), total, reciprocal)
