"""How deep each kernel's pipeline is: cycles from an iteration's start to its writes.

An estimate: operations follow each other along the longest path through the kernel, see
:mod:`.clock`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import assert_never

from ...frontend.graph import Node
from ...frontend.ops import MaxPool, Mul, Relu
from ...quantize.cast import Cast
from ...quantize.exact_ops import Clamp, Combine, Leaky, Square
from ...quantize.fixed import FixedOp
from ...quantize.float_index import FloatIndex
from ...quantize.formats import Overflow, Rounding
from ...quantize.lut import Lut
from ..plan import Plan
from ..processes import (
    AnyProcess,
    BelowMaxProcess,
    Cell,
    ConcatProcess,
    DenseProcess,
    DuplicateProcess,
    Elementwise,
    EnterProcess,
    GroupedProcess,
    LeaveProcess,
    MapArrayProcess,
    MapProcess,
    MapRowProcess,
    MatMulProcess,
    NarrowProcess,
    ParallelProcess,
    PoolProcess,
    RearrangeProcess,
    RecurrenceProcess,
    WidenProcess,
    WindowProcess,
)
from ..windows import slide
from .clock import START, Clock, Moment
from .memory import buffer_memory, weight_memory
from .operators import multiplier
from .parallel import parallel_depth
from .parts import Target


def pipeline_depth(plan: Plan, process: AnyProcess, target: Target) -> int:
    """Cycles from the start of an iteration to its writes, at least 1.

    Of a process with several loops it is that of the longest.
    """
    if isinstance(process, ParallelProcess):
        return parallel_depth(plan, process, target)
    paths = _Paths(plan, Clock.of(target))
    end = paths.end(process)
    return max(1, end.cycle + (end.ns > 0))


class _Paths:
    """The longest path of each kernel.  ``_in`` and ``_out`` are an access of a FIFO."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan = plan
        self.clock = clock

    def _in(self) -> Moment:
        return self.clock.after(START, self.clock.delays.access)

    def _out(self, moment: Moment) -> Moment:
        return self.clock.after(moment, self.clock.delays.access)

    def _width(self, value: str) -> int:
        return self.plan.format(value).width

    def end(self, process: AnyProcess) -> Moment:
        """When the last write of an iteration is done."""
        match process:
            case DenseProcess() | GroupedProcess():
                moment = self._products(process)
            case MatMulProcess():
                moment = self._matmul(process)
            case WindowProcess():
                moment = self._window(process)
            case RearrangeProcess():
                moment = self._rearrange(process)
            case PoolProcess():
                moment = self._pool(process)
            case BelowMaxProcess():
                bits = self._width(process.node.output)
                kind = buffer_memory(bits, process.length)
                moment = self.clock.read(self._in(), bits, process.length, kind)
                moment = self._post(self.clock.add(moment, bits), process.post)
            case MapProcess() | MapRowProcess() | MapArrayProcess() | ConcatProcess():
                moment = self._post(self.clock.select(self._in()), process.post)
            case RecurrenceProcess():
                moment = self._recurrence(process)
            case WidenProcess() | NarrowProcess():
                moment = self.clock.select(self._in(), process.factor)
            case DuplicateProcess():
                moment = self._in()
            case EnterProcess(whole=True) | LeaveProcess(whole=True):
                moment = self._in()
            case EnterProcess() | LeaveProcess():
                # Whether there is room, and then to which of the places.
                moment = self.clock.add(self._in(), process.places.bit_length())
                moment = self.clock.select(moment, process.places)
            case ParallelProcess():
                raise AssertionError("its depth is found operation by operation")
            case _:
                assert_never(process)
        return self._out(moment)

    def _products(self, process: DenseProcess | GroupedProcess) -> Moment:
        x, weight = process.node.inputs[:2]
        result, fold = self._width(process.node.output), process.fold
        if isinstance(process, DenseProcess) and process.wired:
            moment = self._in()
            for _ in range(process.wired.matrix.levels):
                moment = self.clock.add(moment, result)
            return self._post(moment, process.post)
        lanes = process.across * fold.pe if isinstance(process, GroupedProcess) else fold.pe
        bits = lanes * fold.simd * self._width(weight)
        words = math.prod(self.plan.graph.shapes[weight]) // (lanes * fold.simd)
        row = self.clock.read(START, bits, words, weight_memory(bits, words, fold.memory))
        operand = max(row, self.clock.select(self._in()))
        widths = self._width(x), self._width(weight)
        moment = self.clock.multiply(operand, *widths, multiplier(*widths, fold.multiply))
        return self._post(self._summed(moment, fold.simd, result), process.post)

    def _summed(self, moment: Moment, terms: int, bits: int) -> Moment:
        """A tree of adders, and the accumulator behind it."""
        for _ in range(math.ceil(math.log2(terms))):
            moment = self.clock.add(moment, bits)
        return self.clock.add(self.clock.select(moment), bits)

    def _matmul(self, process: MatMulProcess) -> Moment:
        widths = [self._width(x) for x in process.node.inputs]
        kept = process.inner * process.columns // process.fold.simd
        operand = self.clock.read(self._in(), widths[1], kept, buffer_memory(widths[1], kept))
        kind = multiplier(widths[0], widths[1], process.fold.multiply)
        moment = self.clock.multiply(operand, widths[0], widths[1], kind)
        result = self._width(process.node.output)
        return self._post(self._summed(moment, process.fold.simd, result), process.post)

    def _window(self, process: WindowProcess) -> Moment:
        """For each bank its address, its word, and for each tap its bank."""
        way = slide(process.window, process.image, process.lanes, process.taps)
        banks = way.row_banks * way.column_banks
        address = counter_bits(way.words)
        clock = self.clock
        # Whether something leaves, and meanwhile a neighbour's place: counted on, and turned.
        moment = clock.select(clock.add(START, counter_bits(way.steps)))
        if banks > 1:
            place = clock.select(clock.add(clock.add(START, address), address))
            moment = clock.select(max(moment, place), max(way.group))
        moment = clock.add(clock.add(moment, address), address)
        bits = self.plan.streams[process.reads[0]].bits
        moment = clock.read(moment, bits, way.words, buffer_memory(bits, way.words))
        return clock.select(clock.select(moment, banks))

    def _rearrange(self, process: RearrangeProcess) -> Moment:
        """The sum of the axes' places, the frame there, or the fill."""
        beats, clock = process.order.in_beats, self.clock
        moment = START
        for _ in range(math.ceil(math.log2(len(process.order.loops) + 1))):
            moment = clock.add(moment, counter_bits(beats))
        bits = self.plan.streams[process.reads[0]].bits
        moment = clock.read(moment, bits, beats, buffer_memory(bits, beats))
        return self._post(max(clock.select(moment), self._in()), process.post)

    def _pool(self, process: PoolProcess) -> Moment:
        folds = process.channels // process.pe
        best = self.clock.select(START, folds)
        bits = self._width(process.node.output)
        moment = self.clock.add(max(best, self._in()), bits)
        if isinstance(process.node.op, MaxPool):
            moment = self.clock.select(moment)
        return self._post(self.clock.select(moment), process.post)

    def _recurrence(self, process: RecurrenceProcess) -> Moment:
        """The longest of the loops: of a cell, or of its products."""
        ends = []
        for cell in process.cells:
            ends.append(self._cell(process, cell))
            widths = self._width(cell.dense[0].inputs[0]), cell.weight.width
            bits = process.fold.pe * process.fold.simd * cell.weight.width
            words = len(cell.dense) * process.units**2 // (process.fold.pe * process.fold.simd)
            kind = weight_memory(bits, words, process.fold.memory)
            moment = self.clock.read(START, bits, words, kind)
            kind_of = multiplier(*widths, process.fold.multiply)
            moment = self.clock.multiply(moment, *widths, kind_of)
            ends.append(self._summed(moment, process.fold.simd, cell.acc.width))
        return max(ends)

    def _cell(self, process: RecurrenceProcess, cell: Cell) -> Moment:
        words = process.units // process.lanes
        arrived = self.clock.select(self.clock.read(START, 1, words, "lutram"), words)
        known = dict.fromkeys((*process.kept, *process.loop.parts), arrived)
        known |= {node.output: arrived for node in cell.dense}
        return self._nodes(known, cell.nodes)[cell.result]

    def _post(self, moment: Moment, function: Elementwise) -> Moment:
        known = dict.fromkeys(function.operands, moment)
        return self._nodes(known, function.nodes).get(function.result, moment)

    def _nodes(
        self, known: Mapping[str, Moment], nodes: Sequence[Node[FixedOp]]
    ) -> dict[str, Moment]:
        """When each value is there."""
        sources = self.plan.sources
        times = {sources.get(name, name): moment for name, moment in known.items()}
        for node in nodes:
            inputs = (sources.get(name, name) for name in node.inputs)
            moment = max((times[name] for name in inputs if name in times), default=START)
            times[node.output] = self._node(moment, node)
        return times | {name: times[sources.get(name, name)] for name in known}

    def _node(self, moment: Moment, node: Node[FixedOp]) -> Moment:
        bits = self._width(node.output)
        clock = self.clock
        match node.op:
            case Relu():
                return clock.after(moment, clock.delays.level)
            case Clamp():
                return clock.select(clock.add(moment, bits))
            case Cast(format=format_, rounding=rounding, overflow=overflow):
                if rounding not in (Rounding.TRN,):
                    moment = clock.add(moment, format_.width)
                return (
                    moment
                    if overflow is Overflow.WRAP
                    else clock.after(moment, 2 * clock.delays.level)
                )
            case Square():
                width = self._width(node.inputs[0])
                return clock.multiply(moment, width, width, multiplier(width, width))
            case Mul() | Leaky() as op:
                a, b = (self._width(name) for name in node.inputs[:2])
                moment = clock.multiply(moment, a, b, multiplier(a, b))
                return clock.select(moment) if isinstance(op, Leaky) else moment
            case Combine():
                return clock.add(moment, bits)
            case FloatIndex():
                # The leading one, and a shift by its position.
                depth = math.ceil(math.log2(self._width(node.inputs[0]) + 1))
                return clock.after(
                    clock.after(moment, depth * clock.delays.level), depth * clock.delays.level
                )
            case Lut():
                words = 1 << self._width(node.inputs[0])
                return clock.read(moment, bits, words, weight_memory(bits, words))
            case op:
                raise AssertionError(f"{op} is not a function of single values")


def counter_bits(steps: int) -> int:
    """Bits that count so many steps."""
    return max(1, (steps - 1).bit_length())
