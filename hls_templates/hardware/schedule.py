"""When each process touches its streams, were it never to wait: see docs/hardware.md.

The loops here are those of the kernels in ``include/lutra``, which say why they are so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from ...frontend.ops import Array
from ..folding import FoldingError
from ..plan import Plan
from ..processes import (
    AnyProcess,
    BelowMaxProcess,
    BusProcess,
    ConcatProcess,
    DenseProcess,
    DuplicateProcess,
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
from ..windows import paced, slide
from .parts import Target
from .pipeline import pipeline_depth

MOST_BEATS = 6_000_000
"""Beats of all streams in a frame whose times are worked out; that takes some gigabytes."""


@dataclass(frozen=True)
class Schedule:
    """One call of a process.

    Attributes:
        process: its name.
        depth: cycles from the start of an iteration to its writes, at least 1.
        period: cycles from the start of a call to the start of the next.
        reads: for each stream that it reads the cycle of each beat of a frame, counted from the
            start of the call; int64, strictly increasing.
        writes: for each stream that it writes the cycle in which the iteration starts that writes
            each beat of a frame; the write is ``depth - 1`` cycles later.
    """

    process: str
    depth: int
    period: int
    reads: Mapping[str, Array]
    writes: Mapping[str, Array]


@dataclass(frozen=True)
class Loop:
    """One pipelined loop of a call.

    Attributes:
        trips: its iterations.
        reads, writes: for each stream the iterations that touch it, in order.
    """

    trips: int
    reads: Mapping[str, Array] = field(default_factory=dict)
    writes: Mapping[str, Array] = field(default_factory=dict)


def schedule(plan: Plan, process: AnyProcess, target: Target) -> Schedule:
    """When ``process`` touches its streams in a call that never waits."""
    if isinstance(process, ParallelProcess) or (isinstance(process, BusProcess) and process.whole):
        now = np.zeros(1, np.int64)
        reads, writes = dict.fromkeys(process.reads, now), dict.fromkeys(process.writes, now)
        return Schedule(process.name, pipeline_depth(plan, process, target), 1, reads, writes)
    return lay(process, pipeline_depth(plan, process, target), loops(plan, process))


def schedules(plan: Plan, target: Target) -> dict[str, Schedule]:
    """The schedule of each process, by its name.

    Raises:
        FoldingError: a frame has more than ``MOST_BEATS`` in all streams together.
    """
    beats = sum(stream.beats for stream in plan.streams.values())
    if beats > MOST_BEATS:
        raise FoldingError(
            "this folding moves more values one by one than can be worked out",
            found=f"{beats:,} beats a frame",
            expected=f"at most {MOST_BEATS:,}",
            remedy="Choose a larger pe and simd for the largest layers",
        )
    return {process.name: schedule(plan, process, target) for process in plan.processes}


def lay(process: AnyProcess, depth: int, parts: Iterable[Loop]) -> Schedule:
    """Loops one after the other, as docs/hardware.md separates them."""
    drain = max(depth - 1, 1)
    reads: dict[str, list[Array]] = {name: [] for name in process.reads}
    writes: dict[str, list[Array]] = {name: [] for name in process.writes}
    start = 1
    for loop in parts:
        if not loop.trips:
            continue
        for found, touched in ((reads, loop.reads), (writes, loop.writes)):
            for name, iterations in touched.items():
                found[name].append(iterations + start)
        start += loop.trips + drain + 1
    return Schedule(
        process.name,
        depth,
        start,
        {name: _joined(pieces) for name, pieces in reads.items()},
        {name: _joined(pieces) for name, pieces in writes.items()},
    )


def _joined(pieces: list[Array]) -> Array:
    cycles = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return np.ascontiguousarray(cycles, np.int64)


def loops(plan: Plan, process: AnyProcess) -> Iterator[Loop]:
    """The pipelined loops of one call, in the order of the kernel."""
    match process:
        case DenseProcess():
            folds = process.inputs // process.fold.simd
            groups = process.outputs // process.fold.pe
            yield _products(process, process.positions, folds, groups, process.reads[0])
        case GroupedProcess():
            yield _grouped(process)
        case MatMulProcess():
            yield _matmul(process, plan.streams[process.reads[1]].beats)
        case WindowProcess():
            yield _window(process)
        case PoolProcess():
            folds = process.channels // process.pe
            yield _steps(
                process,
                process.positions * process.window * folds,
                writes=_runs(process.positions, process.window * folds, -folds),
            )
        case MapProcess() | MapArrayProcess() | DuplicateProcess():
            yield _steps(process, process.beats)
        case MapRowProcess():
            beats = process.rows * process.beats_a_row
            values, factors = process.reads
            every = np.arange(beats)
            yield Loop(
                beats,
                {values: every, factors: every[:: process.beats_a_row]},
                {process.writes[0]: every},
            )
        case BelowMaxProcess():
            row = 2 * process.length
            yield _steps(
                process,
                process.rows * row,
                reads=_runs(process.rows, row, process.length),
                writes=_runs(process.rows, row, -process.length),
            )
        case RearrangeProcess():
            order, beats = process.order, plan.streams[process.writes[0]].beats
            yield _steps(
                process,
                max(order.lead + beats, order.in_beats),
                reads=np.arange(order.in_beats),
                writes=np.arange(order.lead, order.lead + beats),
            )
        case ConcatProcess():
            (first, second), (a, b), row = process.reads, process.beats, sum(process.beats)
            yield Loop(
                process.outer * row,
                {first: _runs(process.outer, row, a), second: _runs(process.outer, row, -b)},
                {process.writes[0]: np.arange(process.outer * row)},
            )
        case RecurrenceProcess():
            yield from _recurrence(process)
        case WidenProcess():
            steps = np.arange(process.beats * process.factor)
            yield _steps(process, steps.size, writes=steps[process.factor - 1 :: process.factor])
        case NarrowProcess():
            steps = np.arange(process.beats * process.factor)
            yield _steps(process, steps.size, reads=steps[:: process.factor])
        case EnterProcess():
            reads = np.arange(process.words) * process.values // process.lanes
            writes = -(-np.arange(1, process.beats + 1) * process.lanes // process.values) - 1
            yield _bus(process, reads, writes)
        case LeaveProcess():
            reads = np.arange(process.beats) * process.lanes // process.values
            writes = -(-np.arange(1, process.words + 1) * process.values // process.lanes) - 1
            writes[-1] = process.steps - 1
            yield _bus(process, reads, writes)
        case ParallelProcess():
            raise AssertionError("it has no loops")
        case _:
            assert_never(process)


def _steps(
    process: AnyProcess, trips: int, reads: Array | None = None, writes: Array | None = None
) -> Loop:
    """A loop that touches all its streams in the given iterations, or in every one."""
    every = np.arange(trips)
    return Loop(
        trips,
        dict.fromkeys(process.reads, every if reads is None else reads),
        dict.fromkeys(process.writes, every if writes is None else writes),
    )


def _bus(process: EnterProcess | LeaveProcess, reads: Array, writes: Array) -> Loop:
    """Reads no sooner than there is room and writes no sooner than there are values, one of each in
    an iteration."""
    return _steps(
        process,
        process.steps,
        reads=np.maximum(reads, np.arange(reads.size)),
        writes=np.maximum(writes, np.arange(writes.size)),
    )


def _runs(count: int, row: int, length: int) -> Array:
    """The first ``length`` of each ``row`` of iterations, or the last if it is negative."""
    within = np.arange(length) if length >= 0 else np.arange(row + length, row)
    return (np.arange(0, count * row, row)[:, None] + within).ravel()


def _products(
    process: DenseProcess | MatMulProcess, rows: int, folds: int, groups: int, operand: str
) -> Loop:
    """Vectors times a matrix: one fold of one group of outputs in an iteration."""
    steps = folds * groups
    return Loop(
        rows * steps,
        {operand: _runs(rows, steps, folds)},
        {process.writes[0]: np.arange(folds - 1, rows * steps, folds)},
    )


def _grouped(process: GroupedProcess) -> Loop:
    parts = process.outputs // process.fold.pe
    folds = process.inputs // process.fold.simd
    groups = process.groups // process.across
    tap = groups * folds * parts
    last = (process.taps - 1) * tap + (folds - 1) * parts
    results = last + _runs(groups, folds * parts, parts)
    trips = process.positions * process.taps * tap
    starts = np.arange(0, trips, process.taps * tap)
    return _steps(
        process,
        trips,
        reads=np.arange(0, trips, parts),
        writes=(starts[:, None] + results).ravel(),
    )


def _matmul(process: MatMulProcess, beats: int) -> Loop:
    """The first right-hand side; then products, and the next one at an even pace meanwhile."""
    folds = process.inner // process.fold.simd
    groups = process.columns // process.fold.pe
    load = beats // process.batches
    multiply = _products(process, process.rows, folds, groups, process.reads[0])
    phase = max(load, multiply.trips)
    starts = load + phase * np.arange(process.batches)
    later = (starts[:-1, None] + paced(np.arange(load), load, phase)).ravel()
    left, right = process.reads
    (result,) = process.writes
    return Loop(
        int(starts[-1]) + multiply.trips,
        {
            left: (starts[:, None] + multiply.reads[left]).ravel(),
            right: np.concatenate([np.arange(load), later]),
        },
        {result: (starts[:, None] + multiply.writes[result]).ravel()},
    )


def _window(process: WindowProcess) -> Loop:
    run = slide(process.window, process.image, process.lanes, process.taps)
    return _steps(process, run.trips, run.reads(), run.writes())


def _recurrence(process: RecurrenceProcess) -> Iterator[Loop]:
    loop, (source,), (result,) = process.loop, process.reads, process.writes
    folds = process.units // process.lanes
    beats = len(loop.parts) * folds
    groups = process.units // process.fold.pe
    products = groups * (process.units // process.fold.simd)
    if loop.reverse:
        frame = process.steps * beats
        yield Loop(frame, {source: np.arange(frame)})
    for step in range(process.steps):
        for i, cell in enumerate(process.cells):
            load = 0 if i or loop.reverse else beats
            rows = len(cell.dense) * products
            yield Loop(max(rows, load), {source: np.arange(load)})
            leaves = step == process.steps - 1 if loop.last else not loop.reverse
            if i == len(process.cells) - 1 and leaves:
                yield Loop(folds, writes={result: np.arange(folds)})
            else:
                yield Loop(folds)
    if loop.reverse and not loop.last:
        frame = process.steps * folds
        yield Loop(frame, writes={result: np.arange(frame)})
