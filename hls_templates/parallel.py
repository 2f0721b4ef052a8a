"""The plan of a fully parallel design: the whole network is one pipelined function.

A frame is a beat, and one enters each cycle.  Products with constants become adders
(:mod:`.adders`), everything that only moves values is wiring.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from ..frontend.errors import LutraError
from ..frontend.graph import Node, Port
from ..frontend.ops import (
    Array,
    Concat,
    Conv,
    Dense,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Reshape,
    Shape,
    SumPool,
    Window,
)
from ..quantize.exact_ops import Rearrange
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Format
from ..quantize.recurrence import Recurrence
from .adders import ConstantMatrix, count_terms
from .bus import Bus
from .plan import Plan, as_image, find_sources
from .processes import ParallelProcess, Sums
from .wiring import Wiring

WIDEST = 4096
"""Bits of the widest ``ap_uint`` that the tools take."""

MOST_OPERATIONS = 30_000
"""Additions, products and functions of single values that one function may have."""

MOST_FACTORS = 512
"""Most constants that one node's values are multiplied by as adders; of more it is left to HLS what
it makes of each."""

LUT_PRODUCT = 144
"""Bits of one operand times bits of the other up to which LUTs multiply, since they take a cycle
and a DSP slice three."""

REMEDY = "Leave out --parallel and fold the layers instead: pe and simd, see lutra generate --fold"


class ParallelError(LutraError):
    """A network is not made to be computed in one cycle."""


def parallel_plan(graph: FixedGraph, bus: Bus | None) -> Plan:
    """One process for the whole network, between those of the bus if there is one.

    Raises:
        ParallelError: a frame is wider than 4096 bits, the network is too large, or it has a loop
            over time.
    """
    (inlet,), (outlet,) = graph.inputs, graph.outputs
    sources = find_sources(graph)
    _check_sizes(graph)
    wiring = Wiring(graph, sources, ())
    reads, writes = (_frame(wiring, port) for port in (inlet, outlet))
    name = wiring.names.fresh("network")
    sums = {
        node.output: _sums(graph, node, wiring.names.fresh(f"{node.output}_sums"))
        for node in graph.nodes
        if is_sum(graph, node)
    }
    port_in = wiring.enter(bus, reads, inlet.name) if bus else reads
    wiring.processes.append(ParallelProcess(name, graph.name, (reads,), (writes,), sums))
    port_out = wiring.leave(bus, writes, outlet.name) if bus else writes
    return Plan(
        graph,
        tuple(wiring.processes),
        wiring.streams,
        (port_in,),
        (port_out,),
        (),
        sources,
        {node.output: i for i, node in enumerate(graph.traced())},
        bus,
    )


def _frame(wiring: Wiring, port: Port) -> str:
    """A stream that carries a port's frame in one beat."""
    value, lanes = wiring.source(port.name), math.prod(port.shape)
    width = wiring.graph.formats[value].width
    if lanes * width > WIDEST:
        raise ParallelError(
            "a frame is too wide to be one beat",
            node=port.name,
            found=f"{lanes} values of {width} bits: {lanes * width} bits",
            expected=f"at most {WIDEST} bits",
            remedy=REMEDY,
        )
    return wiring.stream(port.name, value, lanes, 1)


def is_sum(graph: FixedGraph, node: Node[FixedOp]) -> bool:
    """Whether all that a node multiplies are values times constants."""
    match node.op:
        case Dense() | Conv():
            return True
        case Mul():
            factor = graph.constants.get(node.inputs[1])
            return factor is not None and factor.size <= MOST_FACTORS
        case _:
            return False


def _check_sizes(graph: FixedGraph) -> None:
    """Refuse loops, and networks that no compiler would get through, before they cost anything."""
    total = 0
    for node in graph.nodes:
        if isinstance(node.op, Recurrence):
            raise ParallelError(
                "a recurrent layer takes a step after the other, not one cycle",
                node=graph.layers[node.name],
                remedy=REMEDY,
            )
        total += _operations(graph, node)
        if total > MOST_OPERATIONS:
            raise ParallelError(
                "the network is too large to be computed in one cycle",
                node=graph.layers[node.name],
                found=f"{total} operations up to this layer",
                expected=f"at most {MOST_OPERATIONS}",
                remedy=REMEDY,
            )


def _operations(graph: FixedGraph, node: Node[FixedOp]) -> int:
    """About how many statements a node becomes."""
    size = math.prod(graph.shapes[node.output])
    match node.op:
        case Flatten() | Reshape():
            return 0
        case Dense() | Conv() as op:
            weights = graph.constants[node.inputs[1]]
            outputs, groups = int(weights.shape[-1]), op.groups if isinstance(op, Conv) else 1
            inputs = weights.size // outputs * groups
            position = max(count_terms(weights), inputs) + 1
            # What stands between the groups costs no adders, but memory while they are looked for.
            return max(position * (size // outputs), inputs * outputs * (groups > 1) >> 7)
        case Mul() if is_sum(graph, node):
            factor = graph.constants[node.inputs[1]]
            return (count_terms(factor) + 1) * (size // int(factor.size))
        case MatMul():
            return size * graph.shapes[node.inputs[0]][-1]
        case MaxPool(window) | SumPool(window):
            return size * window.size
        case ReduceSum():
            return math.prod(graph.shapes[node.inputs[0]])
        case _:
            return size


def _sums(graph: FixedGraph, node: Node[FixedOp], name: str) -> Sums:
    """The adders of a node at one position, and what they read at each."""
    x = node.inputs[0]
    shape, bounds = graph.shapes[x], graph.bounds[x]
    low, high = bounds.low, bounds.high
    match node.op:
        case Conv(window=window):
            weights, index = conv_matrix(graph, node), window_index(shape, window)
            index = index.reshape(len(index), -1)
            if (index < 0).any():
                low, high = min(low, 0), max(high, 0)
        case Dense():
            weights = graph.constants[node.inputs[1]]
            index = np.arange(math.prod(shape)).reshape(-1, shape[-1])
        case _:
            factor = graph.constants[node.inputs[1]].ravel()
            weights = np.diag(factor)
            index = np.arange(math.prod(shape)).reshape(-1, factor.size)
    bias = np.zeros(weights.shape[1], np.int64)
    if isinstance(node.op, Dense | Conv) and node.inputs[2:]:
        bias = graph.constants[node.inputs[2]]
    return Sums(name, ConstantMatrix(weights, bias, low, high), index)


def multiplies(a: Format, b: Format) -> Literal["lut", "dsp"]:
    """What computes products of two values."""
    return "lut" if a.width * b.width <= LUT_PRODUCT else "dsp"


def conv_matrix(graph: FixedGraph, node: Node[FixedOp]) -> Array:
    """The weights of a convolution for all values of a window, zeros between its groups."""
    assert isinstance(node.op, Conv)
    groups, raw = node.op.groups, graph.constants[node.inputs[1]]
    *kernel, inputs, outputs = raw.shape
    matrix = np.zeros((math.prod(kernel), groups, inputs, groups, outputs // groups), np.int64)
    parts = raw.reshape(-1, inputs, groups, outputs // groups)
    for group in range(groups):
        matrix[:, group, :, group] = parts[:, :, group]
    return np.asarray(matrix.reshape(-1, outputs))


def window_index(shape: Shape, window: Window) -> Array:
    """For each position of a window the places of its values in the operand, -1 in the padding.

    Returns:
        ``(positions, taps, channels)``.
    """
    (height, width, channels), window = as_image(shape, window)
    grid = np.arange(height * width).reshape(height, width)
    grid = np.pad(grid, window.pad, constant_values=-1)
    rows, columns = (
        np.arange(out)[:, None] * stride + np.arange(kernel) * dilation
        for out, stride, kernel, dilation in zip(
            window.infer((height, width, channels)),
            window.stride,
            window.kernel,
            window.dilation,
            strict=True,
        )
    )
    taps = grid[rows[:, None, :, None], columns[None, :, None, :]].reshape(-1, window.size, 1)
    return np.where(taps < 0, -1, taps * channels + np.arange(channels))


def origins(graph: FixedGraph, node: Node[FixedOp]) -> tuple[Array, Array]:
    """Where a node that only moves values takes each of its results from: which operand, and the
    place there, -1 for the fill."""
    grids = [
        np.arange(math.prod(graph.shapes[x])).reshape(1, *graph.shapes[x]) for x in node.inputs
    ]
    match node.op:
        case Rearrange() as op:
            places = replace(op, fill=-1).forward(*grids).ravel()
            return np.zeros_like(places), places
        case Concat() as op:
            which = op.forward(*(np.full_like(grid, i) for i, grid in enumerate(grids)))
            return which.ravel(), op.forward(*grids).ravel()
        case op:
            raise AssertionError(f"{op} computes something")
