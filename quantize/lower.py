"""From float graph to fixed graph: ops become exact ops, ``Cast`` and ``Lut``, in one place."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ..frontend.errors import FormatError, LutraError
from ..frontend.graph import Graph, Node, expect_single
from ..frontend.ops import (
    Abs,
    Add,
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
from . import lower_functions as functions
from . import lower_linear as linear
from . import lower_move as move
from . import lower_pieces as pieces
from . import lower_quantize as quantized
from . import lower_rows as rows
from . import lower_tail
from .builder import Builder
from .calibrate import Precision
from .fixed import FixedGraph, whole
from .lower_recurrent import recurrent
from .lut import Function, Lut
from .scales import rescale
from .tails import Tail, find_tails


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
            builder.close(node.output, pieces.clamp(builder, op, x), x)
        case LeakyRelu(slope):
            pieces.leaky(builder, node, np.array([slope]))
        case PRelu():
            pieces.leaky(builder, node, builder.graph.constants[node.inputs[1]])
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
        case Neg():
            pieces.negative(builder, node)
        case Abs():
            pieces.absolute(builder, node)
        case ThresholdedRelu(alpha):
            pieces.threshold(builder, node, alpha)
        case Maximum() | Minimum() as op:
            pieces.extreme(builder, op, node)
        case Div():
            functions.divide(builder, node)
        case Exp():
            functions.exponential(builder, node)
        case Log():
            functions.logarithm(builder, node)
        case Power(exponent):
            functions.power(builder, node, exponent)
        case Sin() | Cos() as op:
            functions.angle(builder, node, op)
        case Celu(alpha):
            functions.celu(builder, node, alpha)
        case Softsign():
            functions.softsign(builder, node)
        case Elu(alpha):
            functions.rising(builder, node, Lut(Function.ELU, (alpha,)), alpha)
        case Gelu(approximate):
            function = Function.GELU_TANH if approximate else Function.GELU
            functions.rising(builder, node, Lut(function))
        case Silu():
            functions.rising(builder, node, Lut(Function.SILU))
        case Softplus():
            functions.rising(builder, node, Lut(Function.SOFTPLUS))
        case Mish():
            functions.rising(builder, node, Lut(Function.MISH))
        case op:
            _function(builder, op, node)


Smooth = Sigmoid | Tanh | Selu | HardSigmoid | HardSwish | Erf
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
        case Selu(alpha, gamma):
            lut = Lut(Function.SELU, (alpha, gamma))
        case HardSigmoid(slope, offset):
            lut = Lut(Function.HARD_SIGMOID, (slope, offset))
        case HardSwish():
            lut = Lut(Function.HARD_SWISH)
        case Erf():
            lut = Lut(Function.ERF)
            flat = (rows.vanishing(target.format.fraction) + 1) // 2 + 1  # it vanishes as exp(-x²)
        case _:
            assert_never(op)
    builder.function(node.output, lut, node.inputs[0], target, flat=flat)
