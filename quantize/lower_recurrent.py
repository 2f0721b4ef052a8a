"""Lowering of recurrent layers: the product with x ahead for all steps, then a loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..frontend.errors import UnsupportedOpError
from ..frontend.graph import Node
from ..frontend.ops import Array, Dense, Gru, Lstm, Mul, Op, Relu, SimpleRnn
from .builder import Builder
from .calibrate import gate_format
from .fixed import whole
from .formats import Overflow, Rounding, Target
from .lower_rows import vanishing
from .lut import Function, Lut
from .recurrence import Recurrence, State

Recurrent = SimpleRnn | Lstm | Gru


def recurrent(builder: Builder, op: Recurrent, node: Node[Op]) -> None:
    """``x · W + b`` for all steps, then the loop with the rest.

    Raises:
        UnsupportedOpError: the result is not what the steps hand on.
    """
    if isinstance(op, Lstm) and op.memory:
        raise UnsupportedOpError(
            "the memory of an LSTM cannot leave it in fixed point",
            found="c after the last step (Y_c)",
            expected="h (Y or Y_h)",
        )
    name = node.name
    x, weight, kernel, bias, *extra = node.inputs
    weight = builder.weight(weight)
    fraction = builder.formats[x].fraction + builder.formats[weight].fraction
    added = builder.rounded(builder.new(f"{name}.bias"), builder.graph.constants[bias], fraction)
    ahead = builder.exact(builder.new(f"{name}.ahead"), Dense(), x, weight, added)
    _Loop(builder, node, ahead, kernel, extra).run(op)


class _Loop:
    """One loop that is being made; its body's nodes are collected by the builder."""

    def __init__(
        self, builder: Builder, node: Node[Op], ahead: str, kernel: str, extra: Sequence[str]
    ) -> None:
        self.builder = builder
        self.node = node
        self.ahead = ahead
        self.kernel = kernel
        self.extra = extra
        self.units = builder.graph.constants[kernel].shape[0]
        self.states: list[State] = []
        self.known = set(builder.constants)

    def new(self, what: str) -> str:
        return self.builder.new(f"{self.node.output}.{what}")

    def point(self, what: str) -> Target:
        return self.builder.precision.points[f"{self.node.output}.{what}"]

    def run(self, op: Recurrent) -> None:
        builder = self.builder
        outer, builder.nodes = builder.nodes, []
        try:
            count = builder.shapes[self.ahead][1] // self.units
            parts = tuple(self.new(f"part{i}") for i in range(count))
            format_, bounds = builder.formats[self.ahead], builder.bounds[self.ahead]
            for part in parts:
                builder.define(part, format_, bounds, (self.units,))
            match op:
                case SimpleRnn():
                    result = self.simple(op, parts)
                case Lstm():
                    result = self.lstm(parts)
                case Gru():
                    result = self.gru(op, parts)
        finally:
            body, builder.nodes = tuple(builder.nodes), outer
        constants = tuple(name for name in builder.constants if name not in self.known)
        builder.loop(
            self.node,
            Recurrence(parts, tuple(self.states), constants, body, result, op.reverse, op.last),
            self.ahead,
        )

    def state(self, what: str) -> str:
        """The value that the step before left of an internal value with this name."""
        format_ = self.point(what).format
        before = self.new(f"{what}_before")
        return self.builder.define(before, format_, whole(format_), (self.units,))

    def keep(self, before: str, after: str) -> None:
        self.states.append(State(before, after))

    def product(self, gate: int, what: str, vector: str, bias: Array | None = None) -> str:
        """``vector`` times the columns of the recurrent weights that belong to a gate."""
        builder, units = self.builder, self.units
        columns = builder.graph.constants[self.kernel][:, gate * units : (gate + 1) * units]
        weight = builder.weight(self.kernel, np.ascontiguousarray(columns))
        inputs = [vector, weight]
        if bias is not None:
            fraction = builder.formats[vector].fraction + builder.formats[weight].fraction
            inputs.append(builder.rounded(self.new(f"{what}_bias"), bias, fraction))
        return builder.exact(self.new(f"{what}_sum"), Dense(), *inputs)

    def gate(self, function: Function, what: str, part: str, addend: str) -> str:
        """A gate: its argument, exactly summed, goes through a Cast and a table."""
        total = self.builder.combine(self.new(f"{what}_exact"), part, addend)
        argument = self.builder.cast(self.new(what), total, self.point(what))
        return self.squash(function, what, argument)

    def squash(self, function: Function, what: str, argument: str) -> str:
        """Sigmoid or tanh of a value, with the width of gates."""
        format_ = gate_format(self.builder.precision.gate_bits, function is Function.TANH)
        flat = vanishing(format_.fraction) + (function is Function.SIGMOID)
        target = Target(format_, Rounding.RND, Overflow.SAT)
        name = self.new(f"{what}_{function}")
        return self.builder.function(name, Lut(function), argument, target, flat=flat)

    def settle(self, what: str, exact: str) -> str:
        """The Cast of an internal value, in its own format."""
        return self.builder.cast(self.new(what), exact, self.point(what))

    # The cells

    def simple(self, op: SimpleRnn, parts: Sequence[str]) -> str:
        """h' = act(x W + h R + b)."""
        before = self.state("hidden")
        total = self.builder.combine(
            self.new("candidate_exact"), parts[0], self.product(0, "candidate", before)
        )
        if op.activation == "relu":
            exact = self.builder.exact(self.new("candidate_relu"), Relu(), total)
        else:
            argument = self.settle("candidate", total)
            exact = self.squash(Function.TANH, "candidate", argument)
        hidden = self.settle("hidden", exact)
        self.keep(before, hidden)
        return hidden

    def lstm(self, parts: Sequence[str]) -> str:
        """c' = f c + i g, h' = o tanh(c')."""
        builder = self.builder
        hidden, cell = self.state("hidden"), self.state("cell")
        gates = {"input_gate": 0, "output_gate": 1, "forget_gate": 2, "candidate": 3}
        sums = {what: self.product(i, what, hidden) for what, i in gates.items()}
        values = {
            what: self.gate(
                Function.TANH if what == "candidate" else Function.SIGMOID,
                what,
                parts[i],
                sums[what],
            )
            for what, i in gates.items()
        }
        kept = builder.exact(self.new("kept"), Mul(), values["forget_gate"], cell)
        added = builder.exact(self.new("added"), Mul(), values["input_gate"], values["candidate"])
        next_cell = self.settle("cell", builder.combine(self.new("cell_exact"), kept, added))
        shown = self.squash(Function.TANH, "cell", next_cell)
        exact = builder.exact(self.new("hidden_exact"), Mul(), values["output_gate"], shown)
        next_hidden = self.settle("hidden", exact)
        self.keep(hidden, next_hidden)
        self.keep(cell, next_cell)
        return next_hidden

    def gru(self, op: Gru, parts: Sequence[str]) -> str:
        """h' = n + z (h - n), which is (1 - z) n + z h."""
        builder = self.builder
        hidden = self.state("hidden")
        gates = {"update_gate": 0, "reset_gate": 1}
        sums = {what: self.product(i, what, hidden) for what, i in gates.items()}
        if op.reset_after:
            bias = builder.graph.constants[self.extra[0]]
            recurrent_sum = self.product(2, "recurrent_candidate", hidden, bias)
        update, reset = (
            self.gate(Function.SIGMOID, what, parts[i], sums[what]) for what, i in gates.items()
        )
        if op.reset_after:
            settled = self.settle("recurrent_candidate", recurrent_sum)
            addend = builder.exact(self.new("gated"), Mul(), reset, settled)
        else:
            gated = builder.exact(self.new("gated"), Mul(), reset, hidden)
            addend = self.product(2, "candidate", self.settle("reset_hidden", gated))
        candidate = self.gate(Function.TANH, "candidate", parts[2], addend)
        difference = builder.combine(self.new("difference"), hidden, candidate, negative=True)
        scaled = builder.exact(self.new("scaled"), Mul(), update, difference)
        next_hidden = self.settle(
            "hidden", builder.combine(self.new("hidden_exact"), candidate, scaled)
        )
        self.keep(hidden, next_hidden)
        return next_hidden
