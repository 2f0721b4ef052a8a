"""Latency and resources of a fully parallel design, operation by operation.

The scheduler of HLS is followed (:mod:`.clock`): an operation that fits in what is left of a cycle
is chained, else it starts in the next one, and each value is held in registers from the cycle in
which it is made to the last one in which it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...frontend.graph import Node
from ...frontend.ops import (
    Array,
    Concat,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Reshape,
    SumPool,
)
from ...quantize.cast import Cast
from ...quantize.exact_ops import BelowMax, Clamp, Combine, Leaky, Rearrange, Square
from ...quantize.fixed import FixedOp
from ...quantize.float_index import FloatIndex
from ...quantize.formats import Overflow, Rounding
from ...quantize.lut import Lut
from ..adders import AdderGraph
from ..parallel import multiplies, origins, window_index
from ..plan import Plan
from ..processes import ParallelProcess, Sums
from .clock import DSP_STAGES, Clock
from .figures import Resources
from .memory import weight_memory
from .operators import Bill
from .parts import Target


@dataclass
class Wires:
    """An array of values: the cycle in which each is made, ns since that cycle's start, and the
    last cycle in which it is needed."""

    cycle: Array
    ns: Array
    last: Array
    bits: Array

    @classmethod
    def at(cls, cycle: Array, ns: Array, bits: int | Array) -> Wires:
        return cls(cycle, ns, cycle.copy(), np.broadcast_to(np.asarray(bits), cycle.shape))

    def registers(self) -> int:
        """Flip-flops that hold the values."""
        return int(((self.last - self.cycle) * self.bits).sum())


class Walk:
    """The operations of a design in the order of its nodes, with their times and their LUTs."""

    def __init__(self, plan: Plan, process: ParallelProcess, target: Target) -> None:
        self.plan = plan
        self.process = process
        self.clock = Clock.of(target)
        self.level = self.clock.delays.level
        self.bill = Bill(target)
        self.values: dict[str, Wires] = {}
        self.inner: list[Wires] = []
        inlet = plan.input_port.name
        lanes = plan.streams[process.reads[0]].lanes
        start = self._then(np.zeros(lanes, np.int64), np.zeros(lanes), self.clock.delays.access)
        self.values[inlet] = Wires.at(*start, self._bits(inlet))
        for node in plan.graph.nodes:
            if not isinstance(node.op, Flatten | Reshape):
                self.values[node.output] = self._node(node)
        result = self._value(plan.output_port.name)
        latest = self._latest(result.cycle, result.ns)
        cycle, ns = self._then(*latest, self.clock.delays.access)
        self.depth = max(1, int(cycle) + bool(ns > 0))
        result.last = np.full_like(result.last, self.depth - 1)

    def _bits(self, value: str) -> int:
        return self.plan.format(value).width

    def _value(self, value: str) -> Wires:
        return self.values[self.plan.sources.get(value, value)]

    def _sum(self, bits: Array) -> Array:
        """ns of sums of so many bits."""
        return np.asarray(self.clock.delays.sum + self.clock.delays.carry * bits)

    def _add(self, bits: int) -> float:
        return float(self._sum(np.asarray(bits)))

    def _compare(self, bits: int) -> float:
        """A comparison: a carry chain, and what is made of its end."""
        return self._add(bits) + self.level / 4

    def registers(self) -> int:
        """Flip-flops between the stages."""
        return sum(wires.registers() for wires in (*self.values.values(), *self.inner))

    def _latest(self, cycle: Array, ns: Array) -> tuple[Array, Array]:
        """The latest along the last axis."""
        last = cycle.max(axis=-1)
        return last, np.where(cycle == last[..., None], ns, 0.0).max(axis=-1)

    def _then(self, cycle: Array, ns: Array, delay: float | Array) -> tuple[Array, Array]:
        """The end of an operation that starts at a time or later."""
        period = self.clock.period
        delay = np.broadcast_to(np.asarray(delay, np.float64), ns.shape)
        fits = ns + delay <= period
        longer = delay > period
        after = np.where(longer, cycle + (ns > 0) + np.ceil(delay / period).astype(np.int64), cycle)
        after = np.where(fits | longer, after, cycle + 1)
        return after, np.where(fits, ns + delay, np.where(longer, 0.0, delay))

    def _needs(self, wires: Wires, places: Array | slice, cycle: Array) -> None:
        """Operations in ``cycle`` read the values at ``places``."""
        if isinstance(places, slice):
            wires.last = np.maximum(wires.last, cycle)
            return
        real = places >= 0
        np.maximum.at(wires.last, places[real], np.broadcast_to(cycle, places.shape)[real])

    def _node(self, node: Node[FixedOp]) -> Wires:
        if node.output in self.process.sums:
            return self._sums(node, self.process.sums[node.output])
        match node.op:
            case MaxPool(window) | SumPool(window):
                index = window_index(self.plan.graph.shapes[node.inputs[0]], window)
                rows = index.transpose(0, 2, 1).reshape(-1, window.size)
                return self._tree(node, rows, largest=isinstance(node.op, MaxPool))
            case ReduceSum():
                shape = self.plan.graph.shapes[node.inputs[0]]
                rows = np.arange(math.prod(shape)).reshape(-1, shape[-1])
                return self._tree(node, rows, largest=False)
            case BelowMax():
                return self._below_max(node)
            case MatMul() as op:
                return self._matmul(node, op)
            case Rearrange() | Concat():
                return self._move(node)
            case _:
                return self._map(node)

    def _gather(self, wires: Wires, places: Array) -> tuple[Array, Array]:
        """Times of the values at places, of which negative ones are constants."""
        cycle = np.where(places < 0, 0, wires.cycle[places])
        return cycle, np.where(places < 0, 0.0, wires.ns[places])

    def _sums(self, node: Node[FixedOp], sums: Sums) -> Wires:
        """Adders, those of a level at all positions at once."""
        graph, x = sums.matrix.graph, self._value(node.inputs[0])
        positions = len(sums.index)
        count = len(graph.bounds)
        cycle, ns = np.zeros((count, positions), np.int64), np.zeros((count, positions))
        cycle[: graph.inputs], ns[: graph.inputs] = self._gather(x, sums.index.T)
        bits = node_bits(graph)
        last = cycle.copy()
        adders = np.array(graph.adders, np.int64).reshape(-1, 5)
        levels = np.array(graph.levels[graph.first_adder :])
        for level in range(1, max(graph.levels, default=0) + 1):
            (places,) = np.nonzero(levels == level)
            pair = adders[places][:, (0, 2)]
            start = self._latest(np.moveaxis(cycle[pair], 1, -1), np.moveaxis(ns[pair], 1, -1))
            here = places + graph.first_adder
            delay = self._sum(bits[here])[:, None]
            cycle[here], ns[here] = self._then(*start, delay)
            last[here] = np.maximum(last[here], cycle[here])
            for side in pair.T:
                np.maximum.at(last, side, cycle[here])
        for width in adder_bits(graph).tolist():
            self.bill.add(width, positions)
        inner = Wires(cycle, ns, last, np.broadcast_to(bits[:, None], cycle.shape))
        self._needs(x, sums.index.T, last[: graph.inputs])
        made = slice(graph.first_adder, None)
        self.inner.append(Wires(cycle[made], ns[made], last[made], inner.bits[made]))
        outputs = np.array([output.node for output in graph.outputs])
        return Wires.at(cycle[outputs].T.ravel(), ns[outputs].T.ravel(), self._bits(node.output))

    def _tree(self, node: Node[FixedOp], rows: Array, *, largest: bool) -> Wires:
        """Sums or maxima of the values in each row of places."""
        x = self._value(node.inputs[0])
        return self._joined(x, rows, self._bits(node.output), largest=largest)

    def _joined(self, x: Wires, rows: Array, bits: int, *, largest: bool) -> Wires:
        """As :meth:`_tree`, in pairs."""
        delay = self._compare(bits) + self.level if largest else self._add(bits)
        cycle, ns = self._gather(x, rows)
        self._needs(x, rows, cycle)
        pairs = int((rows >= 0).sum()) - len(rows)
        self.bill.add(bits, max(pairs, 0))
        if largest:
            self.bill.select(bits, count=max(pairs, 0))
        while cycle.shape[1] > 1:
            half = cycle.shape[1] // 2
            start = self._latest(
                np.stack([cycle[:, :half], cycle[:, half : 2 * half]], -1),
                np.stack([ns[:, :half], ns[:, half : 2 * half]], -1),
            )
            joined = self._then(*start, delay)
            self.inner.append(Wires.at(*joined, bits))
            rest = (cycle[:, 2 * half :], ns[:, 2 * half :])
            cycle, ns = (np.concatenate(pair, 1) for pair in zip(joined, rest, strict=True))
        return Wires.at(cycle[:, 0], ns[:, 0], bits)

    def _below_max(self, node: Node[FixedOp]) -> Wires:
        x, shape = self._value(node.inputs[0]), self.plan.graph.shapes[node.inputs[0]]
        rows = np.arange(math.prod(shape)).reshape(-1, shape[-1])
        best = self._tree(node, rows, largest=True)
        bits = self._bits(node.output)
        cycle, ns = self._then(best.cycle, best.ns, self._add(bits))
        self.bill.add(bits, math.prod(shape))
        self._needs(x, rows, np.repeat(cycle[:, None], shape[-1], 1))
        self._needs(best, slice(None), cycle)
        self.inner.append(best)
        return Wires.at(np.repeat(cycle, shape[-1]), np.repeat(ns, shape[-1]), bits)

    def _matmul(self, node: Node[FixedOp], op: MatMul) -> Wires:
        a, b = (self._value(value) for value in node.inputs)
        *batches, rows, inner = self.plan.graph.shapes[node.inputs[0]]
        columns = self.plan.graph.shapes[node.output][-1]
        count = math.prod(batches)
        first: Array = np.arange(count * rows * inner).reshape(count, rows, 1, inner)
        second: Array = np.arange(count * inner * columns).reshape(count, -1, inner)
        if not op.transposed:
            second = second.reshape(count, inner, columns).transpose(0, 2, 1)
        pair = np.broadcast_arrays(first, second[:, None])
        left, right = (places.reshape(-1, inner) for places in pair)
        cycle, ns = self._product(node, [(a, left), (b, right)])
        products = Wires.at(cycle.ravel(), ns.ravel(), self._bits(node.output))
        self.inner.append(products)
        terms = np.arange(cycle.size).reshape(-1, inner)
        return self._joined(products, terms, self._bits(node.output), largest=False)

    def _product(
        self, node: Node[FixedOp], operands: Sequence[tuple[Wires, Array]]
    ) -> tuple[Array, Array]:
        """Products of values at places."""
        formats = [self.plan.format(value) for value in node.inputs[:2]]
        formats = formats if len(formats) == 2 else formats * 2
        times = [self._gather(wires, places) for wires, places in operands]
        start = self._latest(
            np.stack([cycle for cycle, _ in times], -1), np.stack([ns for _, ns in times], -1)
        )
        widths = formats[0].width, formats[1].width
        kind = multiplies(*formats[:2])
        self.bill.multiply(formats[0], formats[1], kind, start[0].size)
        for wires, places in operands:
            self._needs(wires, places, start[0])
        if kind == "lut":
            levels = math.ceil(math.log2(min(widths) + 1))
            for _ in range(levels):
                start = self._then(*start, self._add(sum(widths)))
            return start
        wide = max(widths) > 18 or min(widths) > 17
        cycle, ns = self._then(*start, self.level)
        return cycle + DSP_STAGES + wide, np.zeros_like(ns)

    def _move(self, node: Node[FixedOp]) -> Wires:
        which, places = origins(self.plan.graph, node)
        cycle, ns = np.zeros(places.size, np.int64), np.zeros(places.size)
        for i, value in enumerate(node.inputs):
            wires, own = self._value(value), (which == i) & (places >= 0)
            cycle[own], ns[own] = wires.cycle[places[own]], wires.ns[places[own]]
        result = Wires.at(cycle, ns, self._bits(node.output))
        return result

    def _map(self, node: Node[FixedOp]) -> Wires:
        """A function of each value."""
        x = self._value(node.inputs[0])
        size = x.cycle.size
        every = np.arange(size)
        operands = [(x, every)]
        graph = self.plan.graph
        if len(node.inputs) == 2 and node.inputs[1] not in graph.constants:
            other = self._value(node.inputs[1])
            a, b = (graph.shapes[value] for value in node.inputs)
            operands.append((other, every if a == b else every // a[-1]))
        times = [self._gather(wires, places) for wires, places in operands]
        start = self._latest(
            np.stack([cycle for cycle, _ in times], -1), np.stack([ns for _, ns in times], -1)
        )
        bits, width = self._bits(node.output), self._bits(node.inputs[0])
        match node.op:
            case Mul() | Square():
                cycle, ns = self._product(node, (operands * 2)[:2])
                return Wires.at(cycle, ns, bits)
            case Lut():
                return self._table(node, operands[0][0], *start)
        cycle, ns = start
        first = cycle
        for delay in self._steps(node, width, bits, size):
            cycle, ns = self._then(cycle, ns, delay)
            first = np.where(first == start[0], cycle, first)
        for wires, places in operands:
            self._needs(wires, places, first)
        return Wires.at(cycle, ns, bits)

    def _steps(self, node: Node[FixedOp], width: int, bits: int, size: int) -> list[float]:
        """The delays of a function of one value, one after the other."""
        bill, level = self.bill, self.level
        match node.op:
            case Relu():
                bill.logic(0, bits / 2, bits, size)
                return [level]
            case Clamp():
                bill.add(width, 2 * size)
                bill.select(bits, 3, size)
                return [self._compare(width), level, level]
            case Cast(format=format_, rounding=rounding, overflow=overflow):
                steps = []
                if rounding is not Rounding.TRN:
                    bill.add(bits, size)
                    extra = 0.0 if rounding is Rounding.RND else 2 * level
                    steps += [extra, self._add(bits)]
                if overflow is not Overflow.WRAP:
                    source = self.plan.format(node.inputs[0])
                    dropped = max(0, source.integer - format_.integer) + 1
                    bill.logic(dropped / 6, bits / 2 + dropped / 4, 3 * bits + dropped, size)
                    steps += [self._compare(dropped), level, level]
                return steps
            case Leaky():
                slope = self.plan.format(node.inputs[1])
                bill.add(bits, slope.width // 3 * size)
                bill.select(bits, count=size)
                levels = max(1, math.ceil(math.log2(slope.width // 3 + 1)))
                return [*[self._add(bits)] * levels, level]
            case Combine():
                bill.add(bits, size)
                return [self._add(bits)]
            case FloatIndex():
                levels = math.ceil(math.log2(width + 1))
                shift = width * levels
                bill.logic(shift / 3, shift / 2 + width, 2 * shift + 2 * width, size)
                return [level] * (2 * levels)
            case op:
                raise AssertionError(f"{op} is not a function of single values")

    def _table(self, node: Node[FixedOp], x: Wires, cycle: Array, ns: Array) -> Wires:
        """Tables, as many as are looked up in at once."""
        bits, words = self._bits(node.output), 1 << self._bits(node.inputs[0])
        kind = weight_memory(bits, words)
        copies = -(-cycle.size // 2) if kind == "bram" else cycle.size  # a block has two ports
        for _ in range(copies):
            self.bill.rom(bits, words, kind)
        delay = 1.5 * self.level if kind == "lutram" else self.clock.delays.block
        cycle, ns = self._then(cycle, ns, delay)
        self._needs(x, slice(None), cycle)
        if kind == "lutram":
            delay += self.level * max(0, math.ceil(math.log(words / 64, 4)))
        return Wires.at(*self._then(cycle + 1, np.zeros_like(ns), delay), bits)


def node_bits(graph: AdderGraph) -> Array:
    """Bits of each node."""
    return np.array(
        [
            max(1, (-low - 1).bit_length() + 1 if low < 0 else 0, high.bit_length() + (low < 0))
            for low, high in graph.bounds
        ]
    )


def adder_bits(graph: AdderGraph) -> Array:
    """Bits that each adder computes: where one operand is shifted, the other's low bits pass."""
    bits = node_bits(graph)[graph.first_adder :]
    passed = np.array(
        [
            a.right_shift if not a.left_shift else 0 if a.negative else a.left_shift
            for a in graph.adders
        ],
        np.int64,
    )
    return np.maximum(bits - passed, 1)


def parallel_depth(plan: Plan, process: ParallelProcess, target: Target) -> int:
    """Cycles from a frame's beat to its result's."""
    return Walk(plan, process, target).depth


def parallel_resources(plan: Plan, process: ParallelProcess, target: Target) -> Resources:
    """What the design takes."""
    walk = Walk(plan, process, target)
    held = walk.registers()
    walk.bill.control(0, 0)
    walk.bill.registers(0.6 * held, held, 1.4 * held)
    return walk.bill.total()
