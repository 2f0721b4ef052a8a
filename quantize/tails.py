"""Sums and products with real constants on their way to a Quantize: what is taken together, so that
their bits can be chosen by what the Quantize tells apart."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..frontend.graph import Graph, Node
from ..frontend.ops import (
    Add,
    Array,
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
    MaxPool,
    Mul,
    Op,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Round,
    Slice,
    Sub,
    Transpose,
    Upsample,
)
from ..frontend.pass_tools import readers_of
from .grids import constant_fraction, step_fraction

MOST_TERMS = 4
"""Values that are added up in one tail at most."""

MOST_GRIDS = 16
"""Different grids that a value may go to and still have a tail."""

MOST_STEPS = 1 << 20
"""Boundaries of a tail that are looked at."""

Monotone = Relu | Clip | MaxPool | Flatten | Reshape | Transpose | Slice | Pad | Upsample | Concat
"""Ops behind which a value that lies on the same side of each boundary still does."""


@dataclass(frozen=True)
class Steps:
    """Where the result of a Quantize or Bipolar steps up: at multiples of ``2^-fraction`` from
    ``low`` to ``high``, or half a step below each of them."""

    low: int
    high: int
    fraction: int
    half: bool

    def boundaries(self, reach: float) -> Array | None:
        """Those up to ``reach`` in magnitude; None if there are too many."""
        limit = reach * 2.0**self.fraction + 1
        low, high = max(self.low, -limit), min(self.high, limit)
        if high - low > MOST_STEPS:
            return None
        raw = np.arange(math.floor(low), math.ceil(high) + 1) - (0.5 if self.half else 0.0)
        return np.asarray(raw * 2.0**-self.fraction)


@dataclass
class Tail:
    """``sum(source · factor) + addend``, the value of the float graph that a tail ends with.

    Attributes:
        value: its name.
        sources: factors of each value that is added up: float64, one or one a channel.  A layer
            with weights stands for its sum without the bias, an average for the sum.
        addend: float64, one or one a channel.
        absorbed: names of the nodes that the tail stands for.
        steps: of all that the value is rounded to.
    """

    value: str
    sources: dict[str, Array] = field(default_factory=dict)
    addend: Array = field(default_factory=lambda: np.zeros(1))
    absorbed: set[str] = field(default_factory=set)
    steps: frozenset[Steps] = frozenset()

    @property
    def fraction(self) -> int:
        """Fraction bits that hold all boundaries."""
        return max(each.fraction + each.half for each in self.steps)

    def boundaries(self, reach: float) -> Array | None:
        """Where a result steps up, up to ``reach``; None if there are too many of these places."""
        found = []
        for each in self.steps:
            some = each.boundaries(reach)
            if some is None:
                return None
            found.append(some)
        return np.unique(np.concatenate(found))


def find_tails(graph: Graph, settled: Container[str]) -> dict[str, Tail]:
    """All tails by the name of their value: sums and products that lead to nothing but Quantize
    and Bipolar nodes, and have constants that few bits do not hold."""
    steps = _all_steps(graph, settled)
    readers = readers_of(graph)
    makers = {node.output: node for node in graph.nodes}
    tails: dict[str, Tail] = {}
    absorbed: set[str] = set()
    for node in reversed(graph.nodes):
        ends = steps.get(node.output)
        if not ends or node.name in absorbed:
            continue
        tail = Tail(node.output, steps=ends)
        rounded = _Collector(graph, makers, readers, settled, tail).collect()
        if rounded:
            tails[node.output] = tail
            absorbed |= tail.absorbed
    return tails


def _all_steps(graph: Graph, settled: Container[str]) -> dict[str, frozenset[Steps] | None]:
    """Of each settled value the steps of all that it leads to, if that is quantisations alone."""
    readers = readers_of(graph)
    outputs = {port.name for port in graph.outputs}
    found: dict[str, frozenset[Steps] | None] = {}
    for node in reversed(graph.nodes):
        ends: frozenset[Steps] | None = frozenset()
        for reader in readers[node.output]:
            more = _steps(graph, reader, found)
            ends = None if ends is None or more is None else ends | more
        if node.output in outputs or node.output not in settled or len(ends or ()) > MOST_GRIDS:
            ends = None
        found[node.output] = ends
    return found


def _steps(
    graph: Graph, node: Node[Op], known: Mapping[str, frozenset[Steps] | None]
) -> frozenset[Steps] | None:
    match node.op:
        case Quantize(low, high, rounding):
            fraction = step_fraction(graph.constants[node.inputs[1]])
            zero = graph.constants[node.inputs[2]]
            if fraction is None:
                return None
            half = rounding in (Round.HALF_EVEN, Round.HALF_UP, Round.HALF_DOWN)
            ends = (low - int(zero.max()), high - int(zero.min()) + 1)
            return frozenset([Steps(*ends, fraction, half)])
        case Bipolar():
            return frozenset([Steps(0, 0, 0, False)])
        case op if isinstance(op, Monotone):
            return known[node.output]
        case _:
            return None


class _Collector:
    """Follows a tail from its end to its sources."""

    def __init__(
        self,
        graph: Graph,
        makers: Mapping[str, Node[Op]],
        readers: Mapping[str, list[Node[Op]]],
        settled: Container[str],
        tail: Tail,
    ) -> None:
        self.graph = graph
        self.makers = makers
        self.readers = readers
        self.settled = settled
        self.tail = tail
        self.shape = graph.shapes[tail.value]
        self.rounded = False

    def collect(self) -> bool:
        """Fill the tail; whether any of its constants needs rounding."""
        waiting = [(self.tail.value, np.ones(1))]
        while waiting:
            value, factor = waiting.pop()
            node = self.makers.get(value)
            parts = None
            room = len(waiting) + len(self.tail.sources) < MOST_TERMS
            if node is not None and room and self._mine(node):
                parts = self._parts(node, factor)
            if node is None or parts is None:
                self._source(value, factor)
            else:
                self.tail.absorbed.add(node.name)
                waiting += parts
        return self.rounded

    def _mine(self, node: Node[Op]) -> bool:
        """Whether nobody but the tail wants the result of a node."""
        if node.output == self.tail.value:
            return True
        return node.output in self.settled and len(self.readers[node.output]) == 1

    def _source(self, value: str, factor: Array) -> None:
        known = self.tail.sources
        known[value] = known[value] + factor if value in known else factor

    def _parts(self, node: Node[Op], factor: Array) -> list[tuple[str, Array]] | None:
        """What a node adds up, with factors; None if it is no part of a tail."""
        match node.op:
            case Dense() | Conv() | ConvTranspose() if len(node.inputs) == 3:
                return self._layer(node, factor)
            case AveragePool() | GlobalAveragePool() as op:
                return self._average(node, op, factor)
            case Mul() | Add() | Sub() | BatchNorm():
                return self._elementwise(node, factor)
            case _:
                return None

    def _elementwise(self, node: Node[Op], factor: Array) -> list[tuple[str, Array]] | None:
        fixed = [name for name in node.inputs if name in self.graph.constants]
        values = [name for name in node.inputs if name not in self.graph.constants]
        constants = [c for c in map(self._channels, fixed) if c is not None]
        shapes = {self.graph.shapes[name] for name in (*values, node.output)}
        if shapes != {self.shape} or len(constants) < len(fixed):
            return None
        exact = all(constant_fraction(self.graph, name) is not None for name in fixed)
        match node.op, constants:
            case Mul(), [by]:
                self.rounded |= not exact
                return [(values[0], factor * by)]
            case (Add() | Sub()) as op, []:
                sign = -1 if isinstance(op, Sub) else 1
                return [(values[0], factor), (values[1], sign * factor)]
            case (Add() | Sub()) as op, [by]:
                self.rounded |= not exact
                first = node.inputs[0] in self.graph.constants
                minus = isinstance(op, Sub)
                self._add(factor * by * (-1 if minus and not first else 1))
                return [(values[0], factor * (-1 if minus and first else 1))]
            case BatchNorm(epsilon), [gamma, beta, mean, variance]:
                self.rounded = True
                scale = gamma / np.sqrt(variance + epsilon)
                self._add(factor * (beta - mean * scale))
                return [(values[0], factor * scale)]
            case _:
                return None

    def _layer(self, node: Node[Op], factor: Array) -> list[tuple[str, Array]] | None:
        """The sum of a layer, whose bias joins the addend if it has many bits."""
        bias = node.inputs[2]
        if self.graph.shapes[node.output] != self.shape or node.inputs[0] in self.graph.constants:
            return None
        if constant_fraction(self.graph, bias) is not None:
            return None
        self.rounded = True
        self._add(factor * self.graph.constants[bias].astype(np.float64))
        self._source(node.output, factor)
        return []

    def _average(
        self, node: Node[Op], op: AveragePool | GlobalAveragePool, factor: Array
    ) -> list[tuple[str, Array]] | None:
        """The sum over a window, if there are as many values everywhere."""
        shape = self.graph.shapes[node.inputs[0]]
        if self.graph.shapes[node.output] != self.shape:
            return None
        if isinstance(op, GlobalAveragePool):
            counts = np.array([np.prod(shape[:-1])], np.int64)
        else:
            counts = np.unique(op.counts(shape))
        if counts.size > 1:
            return None
        self.rounded |= bool(counts[0] & (counts[0] - 1))
        self._source(node.output, factor / counts[0])
        return []

    def _channels(self, name: str) -> Array | None:
        """A constant as one number, or one a channel; None if it is neither."""
        value = self.graph.constants[name].astype(np.float64)
        if value.size == 1:
            return value.reshape(1)
        single = value.size == value.shape[-1] == self.shape[-1:][0]
        return value.reshape(-1) if single else None

    def _add(self, addend: Array) -> None:
        self.tail.addend = self.tail.addend + addend
