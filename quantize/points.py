"""Where a float network is quantised: the values that get a format of their own."""

from __future__ import annotations

import enum
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from ..frontend.graph import Graph, Node
from ..frontend.ops import (
    Abs,
    Add,
    Array,
    AveragePool,
    BatchNorm,
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
    Minimum,
    Mish,
    Mul,
    Neg,
    Op,
    Power,
    PRelu,
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
)

Linear = (
    Dense
    | Conv
    | ConvTranspose
    | AveragePool
    | GlobalAveragePool
    | MatMul
    | Add
    | Sub
    | Mul
    | Maximum
    | Minimum
    | BatchNorm
    | LayerNorm
    | RmsNorm
)
"""Ops whose exact results are wider than their operands."""

Piecewise = Relu | LeakyRelu | PRelu | Clip | ThresholdedRelu | Abs | Neg
"""Activations that are exact, so that a wide operand can wait for its Cast until after them."""

Table = (
    Sigmoid
    | Tanh
    | Elu
    | Selu
    | Gelu
    | Silu
    | Softplus
    | HardSigmoid
    | HardSwish
    | Softsign
    | Mish
    | Celu
    | Exp
    | Log
    | Power
    | Erf
    | Sin
    | Cos
    | Softmax
    | LogSoftmax
)
"""Ops whose operand does nothing but look up tables."""

Internal = SimpleRnn | Lstm | Gru | LayerNorm | RmsNorm
"""Ops with values inside that have formats of their own."""


class Role(enum.Enum):
    """What a value is for, which decides how many bits it gets."""

    VALUE = enum.auto()
    """It goes on to a layer: the bits that the user asks for."""
    INDEX = enum.auto()
    """It only looks up tables."""
    STATE = enum.auto()
    """It is kept or passed on inside a layer, and only multiplied value by value."""
    SCALE = enum.auto()
    """The factor of a normalisation: the range of all that was seen, nothing clipped."""


@dataclass(frozen=True)
class Point:
    """A value that gets a Cast.

    Attributes:
        layers: whose settings rule it, the first before the others.
        role: how wide it is.
    """

    layers: tuple[str, ...]
    role: Role


def points(graph: Graph, free: Container[str] = ()) -> dict[str, Point]:
    """All quantisation points by the name of the value, but for the values in ``free``.

    A layer whose exact result feeds one ReLU (or the like) alone is cast after that, where no bit
    is spent on negative values.  The values inside a layer are called ``output.inside``, and
    ``layer.inside`` in settings.
    """
    outputs = {port.name for port in graph.outputs}
    found: dict[str, tuple[tuple[str, ...], bool]] = {
        port.name: ((port.name,), False) for port in graph.inputs
    }
    inside: dict[str, Point] = {}
    waiting: dict[str, str] = {}
    for node in graph.nodes:
        x = node.inputs[0]
        if isinstance(node.op, Internal):
            inside |= _inside(node)
        if isinstance(node.op, Linear):
            readers = graph.consumers(node.output)
            alone = len(readers) == 1 and isinstance(readers[0].op, Piecewise)
            if alone and node.output not in outputs:
                waiting[node.output] = node.name
            else:
                found[node.output] = ((node.name,), True)
        elif isinstance(node.op, Piecewise) and x in waiting:
            found[node.output] = ((node.name, waiting[x]), True)
        elif isinstance(node.op, Table | Div | LeakyRelu | PRelu | Concat):
            found[node.output] = ((node.name,), True)
    return {
        name: Point(layers, Role.INDEX if computed and only_indexes(graph, name) else Role.VALUE)
        for name, (layers, computed) in found.items()
        if name not in free
    } | inside


def _inside(node: Node[Op]) -> dict[str, Point]:
    roles: dict[str, Role]
    match node.op:
        case SimpleRnn():
            roles = {"candidate": Role.INDEX}
        case Lstm():
            gates = ("input_gate", "output_gate", "forget_gate", "candidate")
            roles = dict.fromkeys(gates, Role.INDEX) | {"cell": Role.STATE}
        case Gru(reset_after):
            roles = dict.fromkeys(("update_gate", "reset_gate", "candidate"), Role.INDEX)
            if reset_after:
                roles["recurrent_candidate"] = Role.STATE
            else:
                roles["reset_hidden"] = Role.VALUE
        case _:
            roles = {"inverse": Role.SCALE, "normalised": Role.STATE}
    found = {
        f"{node.output}.{what}": Point((f"{node.name}.{what}",), role)
        for what, role in roles.items()
    }
    if isinstance(node.op, SimpleRnn | Lstm | Gru):
        found[f"{node.output}.hidden"] = Point((node.name,), Role.VALUE)
    return found


def only_indexes(graph: Graph, value: str) -> bool:
    """Whether a value does nothing but look up tables, be it moved, or scaled or shifted by
    constants before, so that its width costs no arithmetic."""
    if any(port.name == value for port in (*graph.inputs, *graph.outputs)):
        return False
    readers = graph.consumers(value)
    return bool(readers) and all(_indexes(graph, node) for node in readers)


def _indexes(graph: Graph, node: Node[Op]) -> bool:
    match node.op:
        case Transpose() | Reshape() | Flatten() | Slice():
            return only_indexes(graph, node.output)
        case Add() | Sub() | Mul():
            constant = any(name in graph.constants for name in node.inputs)
            return constant and only_indexes(graph, node.output)
        case Div():
            return node.inputs[1] in graph.constants and only_indexes(graph, node.output)
        case Abs() | Neg():
            return only_indexes(graph, node.output)
        case op:
            return isinstance(op, Table)


def internals(op: Op, inputs: Sequence[Array]) -> dict[str, Array]:
    """The float values inside an op, by name; empty where it has none.

    A layer norm's deviations are taken n times, so that its factor is divided by n.
    """
    match op:
        case SimpleRnn() | Lstm() | Gru():
            return op.internals(*inputs)
        case LayerNorm() | RmsNorm():
            x = inputs[0].astype(np.float64)
            centred = isinstance(op, LayerNorm)
            if centred:
                x = x - x.mean(axis=-1, keepdims=True)
            inverse = 1 / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + op.epsilon)
            scale = x.shape[-1] if centred else 1
            return {"inverse": inverse / scale, "normalised": x * inverse}
        case _:
            return {}
