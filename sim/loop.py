"""A recurrent layer, run step by step on a block of samples.

Inside, arrays are ``(units, batch)``: the gates that one matrix product gives are then contiguous,
and a short axis of units costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Array, Dense
from ..quantize.fixed import FixedGraph
from ..quantize.lut import Lut
from ..quantize.recurrence import Recurrence
from .exactness import SINGLE, FloatType, float_type, function_of, holding, widest
from .gates import Gate, Gates, by_state, find_gates

Values = dict[str, Array]
Task = Callable[[Values, Array], None]
"""Adds to the values of a step; takes what the step reads of the layer's input as well."""


WAITING = 16
"""One in so many of the values that wait for their step is counted as worked on."""


class Loop:
    """One loop of a graph, ready to run.

    Args:
        graph: the network.
        node, loop: the loop.
        ahead: the dense layer that gives the loop's x, if its product is to be taken step by step
            as well.  Sums, Casts and tables of gates then become one product and one look-up,
            where nobody asks for the values between.
        keep: values that are asked for, among them any of the loop's body.
    """

    def __init__(
        self,
        graph: FixedGraph,
        node: Node[Any],
        loop: Recurrence,
        ahead: Node[Any] | None,
        keep: Collection[str],
    ) -> None:
        self.graph = graph
        self.node = node
        self.loop = loop
        self.ahead = ahead
        self.units = graph.shapes[node.inputs[0]][1] // len(loop.parts)
        self.kept = [inner.output for inner in loop.body if inner.output in keep]
        found = by_state(find_gates(graph, loop, self.kept) if ahead else [])
        self.gates = [Gates(gates, ahead, self._kind(gates)) for gates in found if ahead]
        done = {inner.output for gates in found for gate in gates for inner in gate.nodes}
        self.rest = [inner for inner in loop.body if inner.output not in done]
        self.fleeting = {gate.value for gates in found for gate in gates}
        x = graph.bounds[node.inputs[0]].partial
        self.kind = widest([holding(x), *(gates.kind for gates in self.gates)])
        self.parts = self._parts()
        self.singles = [self._single(inner) for inner in self.rest]

    @property
    def size(self) -> int:
        """Bytes of a sample that one step works on, and some of what waits for the others."""
        steps, read = self.graph.shapes[(self.ahead or self.node).inputs[0]]
        values = len(self.loop.body) * self.units + steps * (read + self.units) // WAITING
        return values * self.kind.itemsize

    def _kind(self, gates: Sequence[Gate]) -> FloatType:
        """The type in which the readers of the gates work."""
        values = {gate.value for gate in gates}
        readers = (node for node in self.loop.body if not values.isdisjoint(node.inputs))
        return widest(float_type(self.graph, node) for node in readers)

    def run(self, x: Array) -> Values:
        """The loop's result, and the kept values of its body, in the order of time.

        Args:
            x: raw values, (batch, T, n), in a type that holds them: what the dense layer ahead
                reads, or what the loop does.
        """
        blocks = self._blocks(x)
        steps, _, batch = blocks.shape
        tasks = [self.parts, *(gates.start(batch) for gates in self.gates), *self.singles]
        states = {s.before: np.zeros((self.units, batch), SINGLE) for s in self.loop.states}
        result = self.loop.result
        wanted = {*self.kept, *(() if self.loop.last else (result,))}
        kept: Values = {}
        values: Values = {}
        for step in range(steps - 1, -1, -1) if self.loop.reverse else range(steps):
            values = dict(states)
            for task in tasks:
                task(values, blocks[step])
            for state in self.loop.states:
                after = values[state.after]
                states[state.before] = after.copy() if state.after in self.fleeting else after
            for name in wanted:
                if name not in kept:
                    kept[name] = np.empty((steps, *values[name].shape), values[name].dtype)
                kept[name][step] = values[name]
        found = {name: np.ascontiguousarray(kept[name].transpose(2, 0, 1)) for name in wanted}
        final = np.ascontiguousarray(values[result].T) if self.loop.last else found[result]
        return found | {self.node.output: final}

    def _blocks(self, x: Array) -> Array:
        """What each step reads: (T, n, batch); room for a state before it, and a row of ones after
        it, where there is a product to take."""
        batch, steps, width = x.shape
        before = self.units if self.ahead else 0
        blocks = np.empty((steps, before + width + (self.ahead is not None), batch), self.kind)
        blocks[:, before : before + width] = x.transpose(1, 2, 0)
        blocks[:, before + width :] = 1
        return blocks

    def _parts(self) -> Task:
        """Makes the parts of x that gates do not take in themselves."""
        units, read = self.units, {name for node in self.rest for name in node.inputs}
        parts = {
            part: slice(i * units, (i + 1) * units)
            for i, part in enumerate(self.loop.parts)
            if part in read
        }
        if self.ahead is None:
            return lambda values, block: values.update(
                {part: block[rows] for part, rows in parts.items()}
            )
        weight, *bias = (self.graph.constants[name] for name in self.ahead.inputs[1:])
        added = bias[0] if bias else np.zeros(weight.shape[1])
        both = np.concatenate([weight.T, added[:, None]], axis=1).astype(self.kind)
        matrices = {part: np.ascontiguousarray(both[rows]) for part, rows in parts.items()}
        return lambda values, block: values.update(
            {part: matrix @ block[units:] for part, matrix in matrices.items()}
        )

    def _single(self, node: Node[Any]) -> Task:
        """Computes one node of the body."""
        kind = float_type(self.graph, node)
        constants = {
            name: self._upright(node, self.graph.constants[name].astype(kind))
            for name in node.inputs
            if name in self.loop.constants
        }
        compute = _product if isinstance(node.op, Dense) else function_of(self.graph, node, kind)

        def task(values: Values, block: Array) -> None:
            inputs = [
                constants[name] if name in constants else values[name].astype(kind, copy=False)
                for name in node.inputs
            ]
            values[node.output] = compute(*inputs)

        return task

    @staticmethod
    def _upright(node: Node[Any], raw: Array) -> Array:
        """A constant as arrays of (units, batch) need it."""
        if isinstance(node.op, Lut):
            return raw
        return np.ascontiguousarray(raw.T) if raw.ndim > 1 else raw[..., None]


def products_ahead(graph: FixedGraph, wanted: Collection[str]) -> dict[str, Node[Any]]:
    """For each loop that alone reads the result of a dense layer, which nobody asks for: that
    layer, whose product the loop can take itself."""
    read = [name for node in graph.nodes for name in node.inputs]
    makers = {node.output: node for node in graph.nodes}
    return {
        node.output: makers[x]
        for node in graph.nodes
        if isinstance(node.op, Recurrence)
        and (x := node.inputs[0]) in makers
        and isinstance(makers[x].op, Dense)
        and x not in wanted
        and read.count(x) == 1
    }


def _product(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y: Array = weight @ x
    if bias is not None:
        y += bias
    return y
