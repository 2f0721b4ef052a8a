"""What a quantised model has settled itself: which of its values need no format from us."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from ..frontend.graph import Graph, Node
from ..frontend.ops import (
    Abs,
    Add,
    AveragePool,
    BatchNorm,
    Bipolar,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    GlobalAveragePool,
    LeakyRelu,
    MatMul,
    Maximum,
    MaxPool,
    Minimum,
    Mul,
    Neg,
    Op,
    Pad,
    PRelu,
    Quantize,
    Relu,
    Reshape,
    Slice,
    Sub,
    ThresholdedRelu,
    Transpose,
    Upsample,
)
from ..frontend.pass_tools import readers_of
from .grids import constant_fraction, fraction_of, grid_fraction, short_fraction


def is_exact(graph: Graph, node: Node[Op]) -> bool:
    """Whether a node's integers can be computed without any loss, but for that of the factors and
    addends of a value before its rounding."""
    match node.op:
        case Dense() | Conv() | ConvTranspose():
            return grid_fraction(graph, node.inputs[1]) is not None
        case MatMul():
            weights = [name for name in node.inputs if name in graph.constants]
            return all(grid_fraction(graph, name) is not None for name in weights)
        case (
            Relu() | Clip() | LeakyRelu() | PRelu() | MaxPool() | Flatten() | Reshape()
            | Transpose() | Slice() | Pad() | Upsample() | Concat() | Add() | Sub() | Mul()
            | Maximum() | Minimum() | Abs() | Neg() | ThresholdedRelu()
            | BatchNorm() | AveragePool() | GlobalAveragePool() | Quantize() | Bipolar()
        ):  # fmt: skip
            return True
        case _:
            return False


def _keeps_grid(graph: Graph, node: Node[Op]) -> bool:
    """Whether the results of an exact node are integers times a power of two, if its inputs are."""
    match node.op:
        case Quantize() | Bipolar():
            return fraction_of(graph.constants[node.inputs[1]]) is not None
        case Clip(low, high):
            return short_fraction(np.array([v for v in (low, high) if np.isfinite(v)])) is not None
        case Pad(value=value):
            return short_fraction(np.array([value])) is not None
        case BatchNorm() | AveragePool() | GlobalAveragePool() | LeakyRelu() | PRelu():
            return False
        case _:
            known = (name for name in node.inputs if name in graph.constants)
            return all(constant_fraction(graph, name) is not None for name in known)


def settled(graph: Graph, named: Container[str], rescaled: Container[str] = ()) -> frozenset[str]:
    """The values that get no Cast of their own, because the model is quantised.

    Such is the result of a Quantize or Bipolar; a value that leads to nothing but those, through
    exact ops alone; and one that is computed from such results without any loss, if exact ops read
    it or it is an output.

    Args:
        graph: the network.
        named: layers to which the user wants to give a format, whose results are not settled.
        rescaled: values that wait for a factor of theirs.
    """
    readers = readers_of(graph)
    outputs = {port.name for port in graph.outputs}
    waiting: set[str] = set()
    for node in reversed(graph.nodes):
        leads = node.output not in outputs and _leads(graph, readers[node.output], waiting)
        summed = isinstance(node.op, Dense | Conv | ConvTranspose | MatMul)
        if (leads or node.output in rescaled) and (summed or is_exact(graph, node)):
            waiting.add(node.output)
    exact: set[str] = set()
    for node in graph.nodes:
        values = [name for name in node.inputs if name not in graph.constants]
        if isinstance(node.op, Quantize | Bipolar):
            exact.add(node.output)
        elif node.name in named or not is_exact(graph, node) or not _keeps_grid(graph, node):
            continue
        elif all(name in exact for name in values):
            exact.add(node.output)
    quantised = {n.output for n in graph.nodes if isinstance(n.op, Quantize | Bipolar)}
    free = {name for name in exact if all(is_exact(graph, reader) for reader in readers[name])}
    mine = {node.output for node in graph.nodes if node.name in named}
    return frozenset(quantised | ((waiting | free) - mine))


def _leads(graph: Graph, readers: Sequence[Node[Op]], waiting: set[str]) -> bool:
    """Whether all of a value's readers quantise it, or are exact and lead to such."""
    return bool(readers) and all(
        isinstance(node.op, Quantize | Bipolar)
        or (is_exact(graph, node) and node.output in waiting)
        for node in readers
    )
