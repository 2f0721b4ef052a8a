"""Nodes that change nothing, and nodes in a row that are one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .errors import ShapeError
from .graph import Graph, Node
from .names import Names
from .ops import (
    Abs,
    Add,
    AveragePool,
    Clip,
    Conv,
    Div,
    Exp,
    Flatten,
    HardSigmoid,
    MaxPool,
    Mul,
    Op,
    Pad,
    Relu,
    Reshape,
    Shape,
    Sigmoid,
    Slice,
    Softmax,
    Softplus,
    Sub,
    Transpose,
    Upsample,
)
from .pass_tools import ARITHMETIC, POINTWISE, Constants

Sides = tuple[tuple[int, int], ...]
"""Positions before and after the values, along each axis."""


def fold_constants(graph: Graph) -> Graph:
    """Compute the nodes that read constants alone, value by value; those on a grid stay."""
    outputs = {port.name for port in graph.outputs}
    constants = Constants(graph, Names(graph.shapes))
    nodes: list[Node[Op]] = []
    for node in graph.nodes:
        known = constants.values.keys() - constants.grids.keys() >= set(node.inputs)
        if known and isinstance(node.op, POINTWISE | ARITHMETIC) and node.output not in outputs:
            with np.errstate(all="ignore"):
                value = node.op.forward(*(constants.values[name] for name in node.inputs))
            if np.isfinite(value).all():
                constants.add(node.output, value)
                continue
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants.values, grids=constants.grids)


def drop_identities(graph: Graph) -> Graph:
    """Remove the nodes whose result is what they read.

    One that gives an output stays, unless another node's result can have its name.
    """
    outputs = {port.name for port in graph.outputs}
    makers = {node.output for node in graph.nodes}
    same: dict[str, str] = {}
    given: dict[str, str] = {}
    nodes: list[Node[Op]] = []
    for node in graph.nodes:
        inputs = tuple(same.get(name, name) for name in node.inputs)
        source = _unchanged(graph, node)
        if source is not None:
            source = same.get(source, source)
            if node.output not in outputs:
                same[node.output] = source
                continue
            if source in makers and source not in outputs and source not in given:
                given[source] = node.output
                continue
        nodes.append(replace(node, inputs=inputs))
    return replace(graph, nodes=tuple(_renamed(node, given) for node in nodes))


def _renamed(node: Node[Op], names: dict[str, str]) -> Node[Op]:
    inputs = tuple(names.get(name, name) for name in node.inputs)
    return replace(node, inputs=inputs, output=names.get(node.output, node.output))


def _unchanged(graph: Graph, node: Node[Op]) -> str | None:
    """What a node reads, if that is what it gives."""
    source = node.inputs[0]
    match node.op:
        case Add() | Sub() | Mul() | Div():
            neutral = 0.0 if isinstance(node.op, Add | Sub) else 1.0
            places = (0, 1) if isinstance(node.op, Add | Mul) else (1,)
            for at in places:
                constant = graph.constants.get(node.inputs[at])
                if constant is not None and (constant == neutral).all():
                    source = node.inputs[1 - at]
                    same = graph.shapes[source] == graph.shapes[node.output]
                    return source if same and source not in graph.constants else None
            return None
        case Clip(low, high):
            unchanged = (low, high) == (-math.inf, math.inf)
        case Transpose(axes):
            unchanged = axes == tuple(range(len(axes)))
        case Reshape() | Flatten() | Slice():
            step = node.op.step if isinstance(node.op, Slice) else 1
            unchanged = graph.shapes[source] == graph.shapes[node.output] and step == 1
        case Pad() | Upsample():
            unchanged = graph.shapes[source] == graph.shapes[node.output]
        case MaxPool(window) | AveragePool(window):
            unchanged = window.size == 1 and graph.shapes[source] == graph.shapes[node.output]
            unchanged = unchanged and not window.padded and max(window.stride) == 1
        case _:
            unchanged = False
    return source if unchanged and source not in graph.constants else None


def merge_moves(graph: Graph) -> Graph:
    """Let a node read past the one before it, where one can do what both do.

    A Reshape needs no Reshape before it, and a Slice no Slice along its axis.
    """
    makers: dict[str, Node[Op]] = {}
    nodes: list[Node[Op]] = []
    for node in graph.nodes:
        before = makers.get(node.inputs[0])
        if before is not None:
            node = _past(node, before)
        makers[node.output] = node
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _past(node: Node[Op], before: Node[Op]) -> Node[Op]:
    match before.op, node.op:
        case ((Reshape() | Flatten()), (Reshape() | Flatten())):
            return replace(node, inputs=before.inputs)
        case Slice() as first, Slice() as second if first.axis == second.axis:
            stop = None if second.stop < 0 else second.stop
            kept = range(first.start, first.stop, first.step)[second.start : stop : second.step]
            end = kept[-1] + (1 if kept.step > 0 else -1)
            return replace(
                node, op=Slice(first.axis, kept.start, end, kept.step), inputs=before.inputs
            )
        case _:
            return node


def merge_pads(graph: Graph) -> Graph:
    """Let what follows a Pad do the padding, where that is the same.

    A convolution pads with zeros, and so does an average that counts them; a maximum leaves out
    what it pads with, as it would any number that no value is below.  Two Pads with one number are
    one.
    """
    makers: dict[str, Node[Op]] = {}
    nodes: list[Node[Op]] = []
    for node in graph.nodes:
        pad = makers.get(node.inputs[0])
        if pad is not None and isinstance(pad.op, Pad) and len(pad.inputs) == 1:
            op = _padding(node.op, pad.op, _floor(makers.get(pad.inputs[0])))
            shapes = (graph.shapes[name] for name in (*pad.inputs, *node.inputs[1:]))
            if op is not None and _fits(op, graph.shapes[node.output], *shapes):
                node = replace(node, op=op, inputs=(*pad.inputs, *node.inputs[1:]))
        makers[node.output] = node
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _padding(op: Op, pad: Pad, floor: float) -> Op | None:
    """``op`` on what ``pad`` pads; None if it cannot pad so, and no value is below ``floor``."""
    sides = tuple(zip(pad.before, pad.after, strict=True))
    if isinstance(op, Pad) and op.value == pad.value:
        return Pad(_added(op.before, pad.before), _added(op.after, pad.after), op.value)
    if not isinstance(op, Conv | MaxPool | AveragePool) or any(sides[-1]):
        return None
    window = replace(op.window, pad=_widened(op.window.pad, sides[:-1]))
    match op:
        case MaxPool():
            return MaxPool(window) if pad.value <= floor else None
        case AveragePool(_, counted):
            none = ((0, 0),) * len(window.pad)
            wider = _widened(counted or none, sides[:-1])
            return AveragePool(window, wider) if pad.value == 0 else None
        case Conv():
            return replace(op, window=window) if pad.value == 0 else None


def _added(a: Shape, b: Shape) -> Shape:
    return tuple(m + n for m, n in zip(a, b, strict=True))


def _widened(a: Sides, b: Sides) -> Sides:
    return tuple((m[0] + n[0], m[1] + n[1]) for m, n in zip(a, b, strict=True))


def _floor(maker: Node[Op] | None) -> float:
    """What no value that a node gives is below."""
    match maker and maker.op:
        case Relu() | Sigmoid() | HardSigmoid() | Softplus() | Softmax() | Exp() | Abs():
            return 0.0
        case Clip(low, _):
            return low
        case _:
            return -math.inf


def _fits(op: Op, result: Shape, *shapes: Shape) -> bool:
    """Whether an op takes values of these shapes, and gives one of the shape ``result``."""
    try:
        return op.infer(*shapes) == result
    except ShapeError:
        return False
