"""What processes and streams take of an FPGA: estimates, each with its range.

Every kernel is read as the operators that it has (see :mod:`.operators`), times the lanes that it
computes side by side, and the registers between the stages of its pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

from ...frontend.graph import Node
from ...frontend.ops import MaxPool, Mul, Relu
from ...quantize.cast import Cast
from ...quantize.exact_ops import Clamp, Combine, Leaky, Square
from ...quantize.fixed import FixedOp
from ...quantize.float_index import FloatIndex
from ...quantize.formats import Format, Overflow, Rounding
from ...quantize.lut import Lut
from ..adders import ConstantMatrix
from ..folding import Fold
from ..plan import Plan, Stream
from ..processes import (
    AnyProcess,
    BelowMaxProcess,
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
from .figures import Resources
from .finn import MatrixVectorUnit, finn_mvu_luts
from .memory import buffer_memory, kept_memory, weight_memory
from .operators import Bill, multiplier
from .parallel import parallel_resources
from .parts import Target
from .pipeline import counter_bits, pipeline_depth

__all__ = ["multiplier", "process_resources", "stream_resources"]


def stream_resources(stream: Stream, target: Target) -> Resources:
    """What the FIFO of a stream takes."""
    bill = Bill(target)
    bill.fifo(stream.bits, stream.depth)
    return bill.total()


def process_resources(plan: Plan, process: AnyProcess, target: Target) -> Resources:
    """What a process takes, its constants and buffers included, its streams not."""
    if isinstance(process, ParallelProcess):
        return parallel_resources(plan, process, target)
    return _Process(plan, process, target).total()


class _Process:
    """Reads one process."""

    def __init__(self, plan: Plan, process: AnyProcess, target: Target) -> None:
        self.plan = plan
        self.bill = Bill(target)
        self.target = target
        self._read(process)
        # What waits between the stages: in the middle of the pipeline about as much as enters and
        # leaves.  Chained operations and shift registers need less.
        bits = sum(plan.streams[name].bits for name in (*process.reads, *process.writes))
        stages = pipeline_depth(plan, process, target)
        self.bill.registers(0.3 * bits, bits * (1 + stages / 4), bits * (1 + stages))

    def total(self) -> Resources:
        return self.bill.total()

    def _format(self, value: str) -> Format:
        return self.plan.format(value)

    def _read(self, process: AnyProcess) -> None:
        bill = self.bill
        match process:
            case DenseProcess() | GroupedProcess():
                self._products(process)
            case MatMulProcess():
                self._matmul(process)
            case WindowProcess():
                self._window(process)
            case PoolProcess():
                self._pool(process)
            case BelowMaxProcess():
                self._below_max(process)
            case MapProcess():
                bill.control(1, counter_bits(process.beats))
                self._post(process.post, process.pe)
            case MapRowProcess():
                bill.control(2, counter_bits(process.rows * process.beats_a_row))
                factor = self._format(process.post.operands[1]).width
                bill.registers(factor, factor, factor)
                self._post(process.post, process.pe)
            case MapArrayProcess():
                bill.control(2, counter_bits(process.beats))
                constant = process.post.operands[1]
                words = math.prod(self.plan.graph.shapes[constant]) // process.pe
                self._constants(process.pe * self._format(constant).width, words)
                self._post(process.post, process.pe)
            case RearrangeProcess():
                self._rearrange(process)
            case ConcatProcess():
                bill.control(1, counter_bits(process.outer * sum(process.beats)))
                bill.select(process.lanes * self._format(process.node.output).width)
                self._post(process.post, process.lanes)
            case RecurrenceProcess():
                self._recurrence(process)
            case WidenProcess() | NarrowProcess():
                wide = max(self.plan.streams[s].bits for s in (*process.reads, *process.writes))
                bill.control(2, counter_bits(process.beats * process.factor))
                bill.registers(wide, wide, wide)
                bill.select(wide // process.factor, process.factor)
            case DuplicateProcess():
                bill.control(1, counter_bits(process.beats))
            case EnterProcess() | LeaveProcess():
                self._bus(process)
            case ParallelProcess():
                raise AssertionError("its operations are counted one by one")
            case _:
                assert_never(process)

    def _constants(self, bits: int, words: int, fold: Fold | None = None) -> None:
        choice = fold.memory if fold else "auto"
        self.bill.rom(bits, words, weight_memory(bits, words, choice))

    def _buffer(self, bits: int, words: int, count: int = 1) -> None:
        self.bill.ram(bits, words, buffer_memory(bits, words), count)

    def _wired(self, process: DenseProcess, matrix: ConstantMatrix) -> None:
        """Adders of weights that are wires.  Sharing terms leaves two thirds of them or fewer."""
        self.bill.control(1, counter_bits(process.positions))
        count = sum(max(int(terms) - 1, 0) for terms in matrix.terms)
        x, result = (self._format(name) for name in (process.node.inputs[0], process.node.output))
        bits = (x.width + result.width) / 2 * count
        self.bill.logic(0.4 * bits, 0.65 * bits, bits + 7 * count)
        self.bill.registers(0, 0.3 * bits, bits)

    def _products(self, process: DenseProcess | GroupedProcess) -> None:
        if isinstance(process, DenseProcess) and process.wired:
            self._wired(process, process.wired.matrix)
            self._post(process.post, process.fold.pe)
            return
        x, weight = (self._format(name) for name in process.node.inputs[:2])
        result, fold = self._format(process.node.output), process.fold
        count = math.prod(self.plan.graph.shapes[process.node.inputs[1]])
        outputs = self.plan.graph.shapes[process.node.output][-1]
        across = process.across if isinstance(process, GroupedProcess) else 1
        lanes = across * fold.pe
        words = count // (lanes * fold.simd)
        core = Bill(self.target)
        core.dot_products(x, weight, result, fold, lanes)
        grouped = isinstance(process, GroupedProcess)
        core.control(6 if grouped else 4, counter_bits(process.positions * words) // 2)
        unit = MatrixVectorUnit(
            count // outputs, outputs, lanes, fold.simd, weight.width, x.width, x.signed,
            result.width, embedded=False,
        )  # fmt: skip
        kind = multiplier(weight.width, x.width, fold.multiply)
        self.bill.include(core, finn_mvu_luts(unit, dsp=kind != "lut"))
        self._constants(lanes * fold.simd * weight.width, words, fold)
        self._constants(lanes * result.width, outputs // lanes)
        if isinstance(process, GroupedProcess):
            # Sums grow while a group's part of a tap arrives, and wait for its next tap.
            parts, folds = process.outputs // fold.pe, process.inputs // fold.simd
            bits, sums = lanes * result.width, outputs // lanes
            distance = ((sums // parts - 1) * folds + 1) * parts
            if folds > 1:
                self.bill.ram(bits, parts, kept_memory(bits, parts, parts))
            self.bill.ram(bits, sums, kept_memory(bits, sums, distance))
            self.bill.select(bits, 3)
        elif outputs > fold.pe:
            self._buffer(fold.simd * x.width, process.inputs // fold.simd)
            self.bill.select(fold.simd * x.width)
        self._post(process.post, lanes)

    def _matmul(self, process: MatMulProcess) -> None:
        a, b = (self._format(name) for name in process.node.inputs)
        result, fold = self._format(process.node.output), process.fold
        self.bill.dot_products(a, b, result, fold, fold.pe)
        banks, width = fold.simd, fold.pe
        if process.transposed:
            banks, width = width, banks
        words = process.inner * process.columns // (banks * width)
        halves = 2 if process.batches > 1 else 1  # one is read while the other arrives
        self._buffer(width * b.width, halves * words, banks)
        self._buffer(fold.simd * a.width, process.inner // fold.simd)
        self.bill.select(fold.simd * a.width)
        self.bill.control(12, counter_bits(max(process.rows, banks) * words))
        self._post(process.post, fold.pe)

    def _window(self, process: WindowProcess) -> None:
        """Banks of rows, and for each row and column that leaves together its place in them."""
        way = slide(process.window, process.image, process.lanes, process.taps)
        bits = self.plan.streams[process.reads[0]].bits
        self._buffer(bits, way.words, way.row_banks * way.column_banks)
        rows, columns = way.group
        address = counter_bits(way.words)
        height, width, _ = process.image
        place = counter_bits(height) + counter_bits(width)
        # Where the next beat goes, and where the window, its row and the group begin.
        self.bill.control(8, address + 2)
        self.bill.control(6, place // 2 + 1)
        self.bill.add(address, 2 * (rows + columns) + way.row_banks * way.column_banks)
        self.bill.compare(place // 2 + 1, 2 * (rows + columns))
        self.bill.select(bits, way.row_banks * way.column_banks, rows * columns)
        self.bill.select(bits, count=rows * columns)

    def _pool(self, process: PoolProcess) -> None:
        bits, pe = self._format(process.node.output).width, process.pe
        folds = process.channels // pe
        if isinstance(process.node.op, MaxPool):
            self.bill.compare(bits, pe)
            self.bill.select(bits, count=pe)
        else:
            self.bill.add(bits, pe)
        self.bill.select(bits, count=pe)
        self.bill.ram(bits * pe, folds, kept_memory(bits * pe, folds, folds))
        self.bill.control(3, counter_bits(process.positions * process.window * folds) // 2)
        self._post(process.post, pe)

    def _below_max(self, process: BelowMaxProcess) -> None:
        x, result = self._format(process.node.inputs[0]), self._format(process.node.output)
        self._buffer(x.width, process.length)
        self.bill.compare(x.width)
        self.bill.add(result.width)
        self.bill.select(x.width)
        self.bill.registers(x.width, x.width, x.width)
        self.bill.control(2, counter_bits(process.rows * 2 * process.length))
        self._post(process.post, 1)

    def _rearrange(self, process: RearrangeProcess) -> None:
        order = process.order
        bits = self.plan.streams[process.reads[0]].bits
        self._buffer(bits, order.in_beats)
        address = counter_bits(order.in_beats)
        self.bill.control(1 + 3 * len(order.loops), address)
        self.bill.add(address, len(order.loops))
        self.bill.select(bits)
        self._post(process.post, process.lanes)

    def _recurrence(self, process: RecurrenceProcess) -> None:
        fold, lanes, units = process.fold, process.lanes, process.units
        part = self._format(process.loop.parts[0]).width
        steps = process.steps if process.loop.reverse else 1
        self._buffer(lanes * part, steps * units // lanes, len(process.loop.parts))
        for name in process.kept:
            self._buffer(lanes * self._format(name).width, units // lanes)
        for cell in process.cells:
            operand = self._format(cell.dense[0].inputs[0])
            self.bill.dot_products(operand, cell.weight, cell.acc, fold, fold.pe)
            rows = len(cell.dense) * units // fold.pe
            bits = fold.pe * fold.simd * cell.weight.width
            self._constants(bits, rows * units // fold.simd, fold)
            self._constants(fold.pe * cell.acc.width, rows)
            self._buffer(fold.simd * operand.width, units // fold.simd)
            self._buffer(fold.pe * cell.acc.width, units // fold.pe, len(cell.dense))
            self.bill.select(lanes * cell.acc.width, fold.pe // lanes, len(cell.dense))
            self.bill.control(12, counter_bits(rows * units))
            self._nodes(cell.nodes, lanes)
        if process.loop.reverse and not process.loop.last:
            bits = self.plan.streams[process.writes[0]].bits
            self._buffer(bits, process.steps * units // lanes)

    def _bus(self, process: EnterProcess | LeaveProcess) -> None:
        """Units that are kept; each is one of those behind it, or of what has come."""
        if process.whole:
            self.bill.control(0, 1)
            return
        words, lanes = process.values // process.unit, process.lanes // process.unit
        kept = process.places * process.unit * process.format.width
        self.bill.registers(kept, kept, kept)
        self.bill.select(kept, min(words, lanes) + 1)
        self.bill.add(process.places.bit_length(), 3)
        self.bill.control(3, counter_bits(process.steps))

    def _post(self, function: Elementwise, lanes: int) -> None:
        self._nodes(function.nodes, lanes)

    def _nodes(self, nodes: Sequence[Node[FixedOp]], lanes: int) -> None:
        """Functions of single values, ``lanes`` times each."""
        for node in nodes:
            self._node(node, lanes)
            bits = self._format(node.output).width
            self.bill.registers(0, bits / 2, 2 * bits, lanes)

    def _node(self, node: Node[FixedOp], lanes: int) -> None:
        bill = self.bill
        formats = [self._format(name) for name in node.inputs]
        x, bits = formats[0], self._format(node.output).width
        match node.op:
            case Relu():
                bill.logic(0, bits / 2, bits, lanes)
            case Clamp():
                bill.compare(x.width, 2 * lanes)
                bill.select(bits, 3, lanes)
            case Cast(format=format_, rounding=rounding, overflow=overflow):
                if rounding is not Rounding.TRN:
                    bill.add(format_.width, lanes)
                if overflow is not Overflow.WRAP:
                    dropped = max(0, x.integer - format_.integer) + 1
                    bill.logic(dropped / 6, bits / 2 + dropped / 4, 3 * bits + dropped, lanes)
            case Square():
                bill.multiply(x, x, multiplier(x.width, x.width), lanes)
            case Mul():
                bill.multiply(x, formats[1], multiplier(x.width, formats[1].width), lanes)
            case Leaky():
                bill.multiply(x, formats[1], multiplier(x.width, formats[1].width), lanes)
                bill.select(bits, count=lanes)
            case Combine():
                bill.add(bits, lanes)
            case FloatIndex():
                shift = x.width * math.ceil(math.log2(x.width + 1))
                bill.logic(shift / 3, shift / 2 + x.width, 2 * shift + 2 * x.width, lanes)
            case Lut():
                words = 1 << x.width
                bill.rom(bits, words, weight_memory(bits, words), lanes)
            case op:
                raise AssertionError(f"{op} is not a function of single values")
