"""From float graph to fixed graph: ops become exact ops, ``Cast`` and ``Lut``, in one place."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ..frontend.errors import FormatError, LutraError, UnsupportedOpError
from ..frontend.graph import Graph, Node, expect_single
from ..frontend.ops import (
    Abs,
    Add,
    Array,
    AveragePool,
    BatchNorm,
    Bipolar,
    Celu,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Cos,
    Dense,
    Div,
    Elu,
    Erf,
    Exp,
    Flatten,
    Gelu,
    GlobalAveragePool,
    Gru,
    HardSigmoid,
    HardSwish,
    LayerNorm,
    LeakyRelu,
    Log,
    LogSoftmax,
    Lstm,
    MatMul,
    Maximum,
    MaxPool,
    Minimum,
    Mish,
    Mul,
    Neg,
    Op,
    Pad,
    Power,
    PRelu,
    Quantize,
    Relu,
    Reshape,
    RmsNorm,
    Selu,
    Sigmoid,
    Silu,
    SimpleRnn,
    Sin,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    Sub,
    Tanh,
    ThresholdedRelu,
    Transpose,
    Upsample,
)
from ..frontend.passes import drop_unused
from . import lower_linear as linear
from . import lower_move as move
from . import lower_quantize as quantized
from . import lower_rows as rows
from . import lower_tail
from .builder import Builder
from .calibrate import Precision
from .exact_ops import Clamp, Leaky
from .fixed import FixedGraph, whole
from .formats import MAX_WIDTH, Format, Overflow, Rounding, Target
from .lower_recurrent import recurrent
from .lut import Function, Lut
from .scales import rescale
from .tails import Tail, find_tails

SLOPE_BITS = 8
"""Bits of a slope beyond those of weights: it costs one multiplication a value."""


def lower(graph: Graph, precision: Precision) -> FixedGraph:
    """Lower every node of ``graph`` that an output needs, with the formats of ``precision``.

    Raises:
        UnsupportedOpError: an op has no fixed-point form, or there are several inputs or outputs.
        FormatError: an exact result is wider than 53 bits.
    """
    expect_single(graph)
    rescaled = rescale(graph)
    graph = drop_unused(rescaled.graph)
    builder = Builder(graph, precision, rescaled.factors)
    tails = find_tails(graph, precision.settled)
    absorbed = {name: tail for tail in tails.values() for name in tail.absorbed}
    for port in graph.inputs:
        format_ = precision.points[port.name].format
        builder.define(port.name, format_, whole(format_), port.shape)
    for node in graph.nodes:
        builder.layer = rescaled.layers.get(node.name, node.name)
        try:
            if node.name in absorbed:
                _lower_absorbed(builder, node, absorbed[node.name])
            else:
                _lower(builder, node)
        except LutraError as error:
            error.node = node.name
            if isinstance(error, FormatError):
                error.remedy = "Give this layer, or the one before it, fewer bits"
            raise
    return builder.finish()


def _lower_absorbed(builder: Builder, node: Node[Op], tail: Tail) -> None:
    """A node that a tail stands for: what it adds up; the tail itself at the last of them."""
    if node.output in tail.sources:
        lower_tail.source(builder, node)
    if node.output == tail.value:
        lower_tail.tail(builder, tail)


def _lower(builder: Builder, node: Node[Op]) -> None:
    x = node.inputs[0]
    match node.op:
        case Dense() | Conv() | ConvTranspose() as op:
            linear.linear(builder, op, node)
        case BatchNorm() as op:
            linear.batch_norm(builder, op, node)
        case Add() | Sub():
            linear.add(builder, node)
        case Mul():
            linear.multiply(builder, node)
        case MatMul() as op:
            linear.matrix_product(builder, op, node)
        case AveragePool() | GlobalAveragePool() as op:
            linear.average(builder, op, node)
        case MaxPool() | Relu() | Flatten() | Reshape() as op:
            builder.close(node.output, op, x)
        case Clip() as op:
            builder.close(node.output, _clamp(builder, op, x), x)
        case LeakyRelu(slope):
            _leaky(builder, node, np.array([slope]))
        case PRelu():
            _leaky(builder, node, builder.graph.constants[node.inputs[1]])
        case Transpose() | Slice() | Pad() | Upsample() as op:
            move.rearrange(builder, op, node)
        case Concat() as op:
            move.concat(builder, op, node)
        case Softmax():
            rows.softmax(builder, node)
        case LogSoftmax():
            rows.log_softmax(builder, node)
        case LayerNorm() | RmsNorm() as op:
            rows.normalise(builder, op, node)
        case SimpleRnn() | Lstm() | Gru() as op:
            recurrent(builder, op, node)
        case Quantize() as op:
            quantized.quantize(builder, op, node)
        case Bipolar():
            quantized.bipolar(builder, node)
        case (
            Div() | Maximum() | Minimum() | ThresholdedRelu() | Abs() | Neg() | Softsign() | Mish()
            | Celu() | Exp() | Log() | Power() | Erf() | Sin() | Cos()
        ) as op:  # fmt: skip
            raise UnsupportedOpError("there is no fixed-point form of this op", found=op)
        case op:
            _function(builder, op, node)


Smooth = Sigmoid | Tanh | Elu | Selu | Gelu | Silu | Softplus | HardSigmoid | HardSwish
"""Functions of one value that are looked up."""


def _function(builder: Builder, op: Smooth, node: Node[Op]) -> None:
    """A function of one value; sigmoid and its kin change no more beyond a certain argument."""
    target = builder.precision.points[node.output]
    flat = None
    match op:
        case Sigmoid():
            lut = Lut(Function.SIGMOID)
            flat = rows.vanishing(target.format.fraction) + 1
        case Tanh():
            lut = Lut(Function.TANH)
            flat = rows.vanishing(target.format.fraction)
        case Elu(alpha):
            lut = Lut(Function.ELU, (alpha,))
        case Selu(alpha, gamma):
            lut = Lut(Function.SELU, (alpha, gamma))
        case Gelu(approximate):
            lut = Lut(Function.GELU_TANH if approximate else Function.GELU)
        case Silu():
            lut = Lut(Function.SILU)
        case Softplus():
            lut = Lut(Function.SOFTPLUS)
        case HardSigmoid(slope, offset):
            lut = Lut(Function.HARD_SIGMOID, (slope, offset))
        case HardSwish():
            lut = Lut(Function.HARD_SWISH)
        case _:
            assert_never(op)
    builder.function(node.output, lut, node.inputs[0], target, flat=flat)


def _clamp(builder: Builder, op: Clip, x: str) -> Clamp:
    """The bounds as raw values of x, rounded to them; a bound beyond x's own does nothing."""
    fraction, bounds = builder.formats[x].fraction, builder.bounds[x]
    low, high = (
        int(np.floor(np.clip(end * 2.0**fraction, bounds.low - 1, bounds.high + 1) + 0.5))
        for end in (op.low, op.high)
    )
    return Clamp(low, high)


def _leaky(builder: Builder, node: Node[Op], slope: Array) -> None:
    """The slope is rounded to as many bits as the exact product has room for, up to a limit."""
    x = node.inputs[0]
    wanted = builder.precision.weight_bits + SLOPE_BITS
    source = builder.formats[x]
    if source.width + wanted > MAX_WIDTH - 1:
        width = MAX_WIDTH - 1 - wanted
        narrow = Format(source.signed, width, source.integer)
        target = Target(narrow, Rounding.RND, Overflow.SAT)
        x = builder.cast(builder.new(f"{node.name}.limited"), x, target)
    scaled = np.floor(slope.astype(np.float64) * 2.0**wanted + 0.5)
    if np.abs(scaled).max() > 1 << MAX_WIDTH:
        raise FormatError(
            "the slope is too large",
            node=node.name,
            found=float(np.abs(slope).max()),
            expected=f"at most {2.0 ** (MAX_WIDTH - wanted)}",
        )
    raw = scaled.astype(np.int64)
    common = int(np.gcd.reduce([*raw.tolist(), 1 << wanted]))
    fraction = wanted - common.bit_length() + 1
    constant = builder.constant(builder.new(f"{node.name}.slope"), raw // common, fraction)
    builder.close(node.output, Leaky(fraction), x, constant)
