"""Gates of a recurrent layer in one go: a product whose results are places in a table.

Where nobody asks for the values between, the product, the sum, the Cast and the table of a gate
become one product and one look-up, for all gates on a state together.  Powers of two and whatever
is added stand in the product's weights: powers of two cost a float nothing, and the rest is
counted in the bound that proves the sums exact.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Array, Dense
from ..quantize.cast import Cast
from ..quantize.exact_ops import Combine
from ..quantize.fixed import FixedGraph
from ..quantize.formats import Format, Overflow, Rounding
from ..quantize.lut import Lut
from ..quantize.recurrence import Recurrence
from .exactness import DOUBLE, FloatType, holding, mantissa

Values = dict[str, Array]


@dataclass(frozen=True)
class Gate:
    """``table[cast(part · 2^a + (state · weight + bias) · 2^b)]``.

    Attributes:
        graph: where it stands.
        part: number of the loop's part that it reads.
        nodes: product, sum, Cast if there is one, and table.
    """

    graph: FixedGraph
    part: int
    nodes: tuple[Node[Any], ...]

    @property
    def state(self) -> str:
        return self.nodes[0].inputs[0]

    @property
    def value(self) -> str:
        return self.nodes[-1].output

    @property
    def index(self) -> Format:
        return self.graph.formats[self.nodes[-1].inputs[0]]

    @cached_property
    def table(self) -> Array:
        """Entries in the order of raw values, from the lowest one on."""
        return np.roll(self.graph.constants[self.nodes[-1].inputs[1]], -self.index.low)

    @property
    def drop(self) -> int:
        """Bits that the Cast drops."""
        cast = self.nodes[2].op
        return cast.shift if isinstance(cast, Cast) else 0

    @property
    def half(self) -> float:
        """What is added before the dropped bits are cut off."""
        cast = self.nodes[2].op
        rounds = isinstance(cast, Cast) and cast.shift > 0 and cast.rounding is Rounding.RND
        return 0.5 if rounds else 0.0

    def largest(self, entries: int) -> int:
        """Bound of the sums that make places among ``entries``, in units of their last bit."""
        a, b = self.nodes[1].op.shifts
        x, product = (self.graph.bounds[name].partial for name in self.nodes[1].inputs)
        sums: int = (x << a) + (product << b)
        return (sums << max(-self.drop, 0)) + (entries << max(self.drop, 0))

    def weight(self, ahead: Node[Any], base: int) -> Array:
        """The product's weights for a state, the layer's input and 1: (units, H + n + 1).

        Args:
            ahead: the dense layer that makes the parts.
            base: place of the table's first entry.
        """
        shift, again = (2.0 ** (shift - self.drop) for shift in self.nodes[1].op.shifts)
        state, *bias = (self.graph.constants[name] for name in self.nodes[0].inputs[1:])
        units = state.shape[1]
        columns = slice(self.part * units, (self.part + 1) * units)
        first, *more = (self.graph.constants[name][..., columns] for name in ahead.inputs[1:])
        added = np.full(units, base - self.index.low + self.half)
        for values, factor in [(value, again) for value in bias] + [(v, shift) for v in more]:
            added += values * factor
        return np.concatenate([state.T * again, first.T * shift, added[:, None]], axis=1)


def find_gates(graph: FixedGraph, loop: Recurrence, kept: Collection[str]) -> list[Gate]:
    """The gates whose inner values nobody else reads, and nobody keeps."""
    makers = {node.output: node for node in loop.body}
    read = [name for node in loop.body for name in node.inputs]
    hidden = {loop.result, *kept, *(state.after for state in loop.states)}
    found = []
    for lut in loop.body:
        nodes = _chain(lut, makers)
        if nodes is None or nodes[1].inputs[0] not in loop.parts:
            continue
        between = [node.output for node in nodes[:-1]]
        gate = Gate(graph, loop.parts.index(nodes[1].inputs[0]), nodes)
        if (
            gate.state in {state.before for state in loop.states}
            and not any(name in hidden or read.count(name) != 1 for name in between)
            and gate.largest(len(gate.table) * (len(loop.parts) + 1)) <= 1 << mantissa(DOUBLE)
        ):
            found.append(gate)
    return found


def _chain(lut: Node[Any], makers: dict[str, Node[Any]]) -> tuple[Node[Any], ...] | None:
    """Product, sum, Cast if there is one, and table, if this is the table behind such."""
    if not isinstance(lut.op, Lut):
        return None
    nodes = [lut]
    maker = makers.get(lut.inputs[0])
    if maker is not None and isinstance(maker.op, Cast) and _cuts(maker.op):
        nodes.insert(0, maker)
        maker = makers.get(maker.inputs[0])
    if maker is None or not isinstance(maker.op, Combine) or maker.op.negative:
        return None
    product = makers.get(maker.inputs[1])
    if product is None or not isinstance(product.op, Dense):
        return None
    return (product, maker, *nodes)


def _cuts(cast: Cast) -> bool:
    """Whether the Cast is the floor of its operand, plus one half perhaps, and saturates."""
    floors = cast.rounding in (Rounding.RND, Rounding.TRN) or cast.shift <= 0
    return floors and cast.overflow is Overflow.SAT


def by_state(gates: Sequence[Gate]) -> list[list[Gate]]:
    """Gates on the same state together, those with the same table side by side."""
    keys = [(gate.state, gate.table.tobytes()) for gate in gates]
    order = sorted(range(len(gates)), key=lambda i: keys.index(keys[i]))
    groups: dict[str, list[Gate]] = {}
    for i in order:
        groups.setdefault(gates[i].state, []).append(gates[i])
    return list(groups.values())


class Gates:
    """Gates on one state, ready to run.

    Args:
        gates: at least one.
        ahead: the dense layer that makes the loop's x.
        kind: type of the results.
    """

    def __init__(self, gates: Sequence[Gate], ahead: Node[Any], kind: FloatType) -> None:
        self.gates = gates
        tables: dict[bytes, tuple[int, Array]] = {}
        size = 0
        weights = []
        self.ranges: list[tuple[slice, int, int]] = []
        for gate in gates:
            table = gate.table
            base, _ = tables.setdefault(table.tobytes(), (size, table))
            size = max(size, base + len(table))
            weights.append(gate.weight(ahead, base))
            rows = slice(sum(map(len, weights[:-1])), sum(map(len, weights)))
            last = base + len(table) - 1
            if self.ranges and self.ranges[-1][1:] == (base, last):
                rows = slice(self.ranges.pop()[0].start, rows.stop)
            self.ranges.append((rows, base, last))
        most = max(gate.largest(size) for gate in gates)
        self.kind = holding(most)
        self.weight = np.concatenate(weights).astype(self.kind)
        self.table = np.concatenate([table for _, table in tables.values()]).astype(kind)

    def start(self, batch: int) -> Callable[[Values, Array], None]:
        """The function that adds the gates' values to those of a step, of which it takes the state
        before and what else is multiplied: a block of (H + n + 1, batch).  Its values are good
        until it is called again."""
        rows = len(self.weight)
        sums = np.empty((rows, batch), self.kind)
        places = np.empty((rows, batch), np.int32)
        found = np.empty((rows, batch), self.table.dtype)
        parts = np.split(found, len(self.gates))
        values = {gate.value: part for gate, part in zip(self.gates, parts, strict=True)}
        state = self.gates[0].state
        units = rows // len(self.gates)

        def step(known: Values, block: Array) -> None:
            block[:units] = known[state]
            np.matmul(self.weight, block, out=sums)
            for part, low, high in self.ranges:
                np.clip(sums[part], low, high, out=sums[part])
            np.copyto(places, sums, casting="unsafe")
            self.table.take(places, mode="clip", out=found)
            known.update(values)

        return step
