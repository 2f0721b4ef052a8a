"""Scales that are no powers of two: the network rewritten so that its core computes on integers.

Each value v of the float graph becomes ``v = v' · f`` with a factor f that is known beforehand, one
number or one a channel.  A Quantize gives integers, and its scale is their factor; weights on a
grid become integers, and the grid's scale joins the factor of what the layer gives.  Factors move
on through all ops that let them pass, and meet the next Quantize as one product with a constant;
that of an input or output is the scale of its port.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..frontend.graph import Graph, Grid, Node, Port
from ..frontend.names import Names
from ..frontend.ops import (
    Add,
    Array,
    Bipolar,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    MatMul,
    MaxPool,
    Mul,
    Op,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Sub,
)
from ..frontend.pass_tools import readers_of
from .factors import ONE, Channelwise, Moving, is_one, moved_factor, scales_ahead
from .grids import constant_fraction, first_quantizers, fraction_of, short_fraction, step_fraction

SAME = 2.0**-20
"""Relative difference of factors that are the same but for the rounding of float32 products."""


@dataclass
class Rescaled:
    """A graph whose quantisations have powers of two as scales, and what it has to do with the one
    that it was made from.

    Attributes:
        graph: the network.  Constants that were made from scales are float64.
        factors: of the values of both graphs that differ: what 1 stands for, float64.
        layers: for nodes that were added, the node of the original graph that they belong to.
        waiting: values that an added node alone reads, and that need no format of their own.
    """

    graph: Graph
    factors: dict[str, Array] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)


def rescale(graph: Graph) -> Rescaled:
    """The network with integers where scales are no powers of two; any other one as it is."""
    wanted = any(not _is_plain(graph, node) for node in graph.nodes)
    return _Rescaler(graph).run() if wanted else Rescaled(graph)


def _is_plain(graph: Graph, node: Node[Op]) -> bool:
    """Whether a node has no scale but powers of two."""
    match node.op:
        case Quantize():
            return step_fraction(graph.constants[node.inputs[1]]) is not None
        case Bipolar():
            return fraction_of(graph.constants[node.inputs[1]]) is not None
        case Dense() | Conv() | ConvTranspose() | MatMul():
            grids = [graph.grids[name] for name in node.inputs if name in graph.grids]
            return all(fraction_of(grid.scale) is not None for grid in grids)
        case _:
            return True


class _Rescaler:
    """Rewrites node by node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = Names({*graph.shapes, *(node.name for node in graph.nodes)})
        self.nodes: list[Node[Op]] = []
        self.constants: dict[str, Array] = dict(graph.constants)
        self.grids: dict[str, Grid] = dict(graph.grids)
        self.values: dict[str, tuple[str, Array]] = {}
        self.whole: set[str] = set()
        self.real: dict[str, str] = {}
        self.ahead = scales_ahead(graph)
        self.readers = readers_of(graph)
        self.made = Rescaled(graph)
        self.node = graph.nodes[0]

    def run(self) -> Rescaled:
        ports = tuple(self._entered(port) for port in self.graph.inputs)
        for node in self.graph.nodes:
            self.node = node
            self._rewrite(node)
        outputs = tuple(self._left(port) for port in self.graph.outputs)
        self.made.graph = Graph(
            self.graph.name, ports, outputs, tuple(self.nodes), self.constants, self.grids
        )
        self.made.factors = {
            name: factor
            for name, (own, factor) in self.values.items()
            if own == name and not is_one(factor)
        }
        return self.made

    # Ports

    def _entered(self, port: Port) -> Port:
        """An input has the scale of the Quantize that is all that reads it."""
        nodes = first_quantizers(self.graph, port.name, self.readers) or ()
        scales = {float(s) for node in nodes for s in self.graph.constants[node.inputs[1]]}
        scale = scales.pop() if len(scales) == 1 else 1.0
        if fraction_of(np.array([scale])) is not None:
            scale = 1.0
        self.values[port.name] = (port.name, np.array([scale]))
        return replace(port, scale=scale)

    def _left(self, port: Port) -> Port:
        """An output has its factor as scale, if it is one number."""
        _, factor = self.values[port.name]
        if factor.min() == factor.max():
            return replace(port, scale=float(factor[0]))
        inner = self.names.new(f"{port.name}.scaled")
        self.nodes = [
            replace(
                node,
                inputs=tuple(inner if name == port.name else name for name in node.inputs),
                output=inner if node.output == port.name else node.output,
            )
            for node in self.nodes
        ]
        self.node = next(n for n in self.graph.nodes if n.output == port.name)
        self._multiply(inner, factor, port.name)
        self.values[port.name] = (port.name, ONE)
        return port

    # What nodes are made of

    def _emit(self, node: Node[Op], op: Op, inputs: Sequence[str], factor: Array) -> None:
        self.nodes.append(Node(node.name, op, tuple(inputs), node.output))
        self.values[node.output] = (node.output, factor)

    def _constant(self, wish: str, value: Array) -> str:
        name = self.names.new(wish)
        self.constants[name] = value
        return name

    def _multiply(self, x: str, factor: Array, output: str = "") -> str:
        """``x`` times a factor, as a value of the node that is rewritten."""
        if is_one(factor):
            return x
        output = output or self.names.new(f"{x}.rescaled")
        name = self.names.new(f"{self.node.name}.rescale")
        constant = self._constant(f"{output}.factor", factor)
        self.nodes.append(Node(name, Mul(), (x, constant), output))
        self.made.layers[name] = self.node.name
        self.made.waiting.add(x)
        return output

    def _read(self, name: str) -> tuple[str, Array]:
        """A value of the new graph, and its factor."""
        return self.values.get(name, (name, ONE))

    def _real(self, name: str) -> str:
        """A value as it is in the original graph."""
        if name not in self.real:
            x, factor = self._read(name)
            self.real[name] = self._multiply(x, factor)
        return self.real[name]

    def _integers(self, name: str, like: Array | None = None) -> tuple[str, Array] | None:
        """A constant on a grid of scales that are no powers of two, or are those of ``like``, as
        integers; and the scales."""
        grid = self.grids.get(name)
        if grid is None:
            return None
        scale = grid.scale.astype(np.float64)
        if like is None and fraction_of(scale) is not None:
            return None
        if like is not None and not np.allclose(scale, like, rtol=SAME, atol=0):
            return None
        q = grid.integers(self.constants[name])
        kind = np.float32 if np.abs(q).max(initial=0) < 1 << 24 else np.float64
        made = self._constant(f"{name}.integers", q.astype(kind))
        self.grids[made] = Grid(grid.low, grid.high, np.ones(1, np.float32))
        return made, scale if like is None else like

    def _divided(self, name: str, factor: Array) -> str:
        """A constant that is added to a value of this factor."""
        if is_one(factor):
            return name
        known = self._integers(name, factor)
        if known is not None:
            return known[0]
        return self._constant(f"{name}.divided", self.constants[name] / factor)

    # Ops

    def _rewrite(self, node: Node[Op]) -> None:
        constants = self.graph.constants
        moving = [name for name in node.inputs if name not in constants]
        x, factor = self._read(moving[0])
        shape = self.graph.shapes[moving[0]]
        plain = [self._read(name) for name in moving]
        match node.op:
            case Quantize() as op:
                self._quantize(node, op, x, factor)
            case Bipolar() as op:
                self._bipolar(node, op, x)
            case Dense() | Conv() | ConvTranspose():
                self._layer(node, x, factor)
            case MatMul() if len(moving) == 1:
                self._layer(node, x, factor)
            case _ if all(is_one(f) for _, f in plain) and not self._absorbs(node, moving):
                self._emit(node, node.op, [self._read(name)[0] for name in node.inputs], ONE)
                self._note_whole(node, moving)
            case op if isinstance(op, Channelwise):
                self._emit(node, op, (x, *node.inputs[1:]), factor)
                self._note_whole(node, moving)
            case op if isinstance(op, Moving):
                moved = moved_factor(op, shape, factor)
                if moved is None:
                    x, moved = self._real(moving[0]), ONE
                self._emit(node, op, (x,), moved)
                self._note_whole(node, moving)
            case Pad(before, after, 0.0) as op if factor.size == 1 or not before[-1] + after[-1]:
                self._emit(node, op, (x,), factor)
            case Clip(low, high) if (scale := self.ahead.get(node.output)) is not None:
                x = self._multiply(x, factor / scale)
                self._emit(node, Clip(low / scale, high / scale), (x,), np.array([scale]))
            case Mul() if len(moving) == 1:
                self._times_constant(node, moving[0])
            case Mul() | MatMul(False) if self._alike(node):
                self._emit(node, node.op, [name for name, _ in plain], plain[0][1] * plain[1][1])
            case MatMul() if all(f.size == 1 for _, f in plain):
                self._emit(node, node.op, [name for name, _ in plain], plain[0][1] * plain[1][1])
            case Add() | Sub() | Concat() as op:
                self._together(node, op, moving)
            case op:
                inputs = [n if n in constants else self._real(n) for n in node.inputs]
                self._emit(node, op, inputs, ONE)

    def _note_whole(self, node: Node[Op], moving: Sequence[str]) -> None:
        """Integers stay integers behind an op that moves them, takes some, or adds them up, and so
        do multiples of a power of two."""
        exact = all(
            constant_fraction(self.graph, name) is not None
            for name in node.inputs
            if name in self.graph.constants
        )
        whole = all(self._read(name)[0] in self.whole for name in moving)
        if isinstance(node.op, Relu | MaxPool | Moving | Add | Sub | Mul) and exact and whole:
            self.whole.add(node.output)

    def _quantize(self, node: Node[Op], op: Quantize, x: str, factor: Array) -> None:
        scale = self.graph.constants[node.inputs[1]].astype(np.float64)
        self.whole.add(node.output)
        if step_fraction(scale) is not None:
            inputs = (self._multiply(x, factor), *node.inputs[1:])
            self._emit(node, op, inputs, ONE)
            return
        one = self._constant(f"{node.inputs[1]}.one", np.ones(1, np.float32))
        self._emit(node, op, (self._multiply(x, factor / scale), one, node.inputs[2]), scale)

    def _bipolar(self, node: Node[Op], op: Bipolar, x: str) -> None:
        """A factor is positive and changes no sign."""
        self.whole.add(node.output)
        scale = self.graph.constants[node.inputs[1]].astype(np.float64)
        if fraction_of(scale) is not None:
            self._emit(node, op, (x, node.inputs[1]), ONE)
            return
        one = self._constant(f"{node.inputs[1]}.one", np.ones(1, np.float32))
        self._emit(node, op, (x, one), scale)

    def _layer(self, node: Node[Op], x: str, factor: Array) -> None:
        """Integers as weights, and a bias that is divided by the factor of the result."""
        at = 1 if node.inputs[0] not in self.graph.constants else 0
        weight = node.inputs[at]
        grid = self.grids.get(weight)
        summed = isinstance(node.op, MatMul) and (node.op.transposed or not at)
        if factor.size > 1:
            groups = node.op.groups if isinstance(node.op, Conv) else 1
            if groups == factor.size:
                factor = np.repeat(factor, self.graph.shapes[weight][-1] // groups)
            else:
                x, factor = self._real(node.inputs[1 - at]), ONE
        whole = grid is not None and x in self.whole
        if grid is not None and not (summed and grid.scale.size > 1):
            known = self._integers(weight)
            if known is not None:
                weight, factor = known[0], factor * known[1]
        bias = [self._divided(name, factor) for name in node.inputs[2:]]
        inputs = (x, weight, *bias) if at else (weight, x)
        self._emit(node, node.op, inputs, factor)
        if whole and all(name in self.grids for name in bias):
            self.whole.add(node.output)

    def _absorbs(self, node: Node[Op], moving: Sequence[str]) -> bool:
        """Whether a product of integers with a constant is better left a factor."""
        if not isinstance(node.op, Mul) or len(moving) > 1:
            return False
        constant = self._factor_of(node)
        whole = self._read(moving[0])[0] in self.whole
        return whole and constant is not None and short_fraction(constant) is None

    def _factor_of(self, node: Node[Op]) -> Array | None:
        """The constant of a product if it can be a factor: positive, one number or one a channel,
        for a result of the value's shape."""
        (value,) = (name for name in node.inputs if name not in self.graph.constants)
        (name,) = (name for name in node.inputs if name in self.graph.constants)
        constant = self.graph.constants[name].astype(np.float64)
        shape = self.graph.shapes[value]
        if shape != self.graph.shapes[node.output] or not (constant > 0).all():
            return None
        if constant.size > 1 and (constant.size, constant.shape[-1]) != (shape[-1], shape[-1]):
            return None
        return constant.reshape(-1)

    def _times_constant(self, node: Node[Op], value: str) -> None:
        """A product with a constant is no node, but part of the factor."""
        constant = self._factor_of(node)
        if constant is None:
            inputs = [n if n in self.graph.constants else self._real(n) for n in node.inputs]
            self._emit(node, node.op, inputs, ONE)
            return
        x, factor = self._read(value)
        if any(port.name == node.output for port in self.graph.outputs):
            self._emit(node, Reshape(self.graph.shapes[value]), (x,), factor * constant)
        else:
            self.values[node.output] = (x, factor * constant)

    def _alike(self, node: Node[Op]) -> bool:
        """Whether the factors of two operands belong to the last axis of the result, too."""
        last = self.graph.shapes[node.output][-1]
        product = isinstance(node.op, MatMul)
        sizes = [self._read(name)[1].size for name in node.inputs]
        return sizes[1] in (1, last) and sizes[0] in ((1,) if product else (1, last))

    def _together(self, node: Node[Op], op: Add | Sub | Concat, moving: Sequence[str]) -> None:
        """Values that are added up or stand side by side get one factor, or one a channel."""
        shape = self.graph.shapes[node.output]
        plain = [self._read(name) for name in moving]
        factors = [factor for _, factor in plain]
        if isinstance(op, Concat) and op.axis == len(shape) - 1:
            sizes = [self.graph.shapes[name][-1] for name in moving]
            parts = [np.broadcast_to(f, (n,)) for f, n in zip(factors, sizes, strict=True)]
            joined = np.concatenate(parts)
            common = joined[:1] if joined.min() == joined.max() else joined
            self._emit(node, op, [name for name, _ in plain], common)
            return
        first = factors[0]
        wide = first.size > 1 and any(self.graph.shapes[n][-1:] != shape[-1:] for n in moving)
        if wide or any(f.shape != first.shape or (f != first).any() for f in factors):
            scale = self.ahead.get(node.output)
            first = ONE if scale is None else np.array([scale])
        inputs = []
        for name in node.inputs:
            if name in self.graph.constants:
                inputs.append(self._divided(name, first))
            else:
                x, factor = self._read(name)
                inputs.append(self._multiply(x, factor / first))
        self._emit(node, op, inputs, first)
