"""The rules of docs/hardware.md once more, event by event, for tests of the cycle model; and random
networks of schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lutra.hls_templates.hardware.schedule import Schedule


@dataclass
class Times:
    """When each beat was written and read, all frames in one row; ``stuck`` if no more can move."""

    written: dict[str, list[int]] = field(default_factory=dict)
    read: dict[str, list[int]] = field(default_factory=dict)
    stuck: bool = False


@dataclass
class _Clock:
    """A process: what it does next, and when it could."""

    call: Schedule
    steps: list[tuple[int, list[str], list[str]]]
    next: int = 0
    wrote: bool = True
    due: int = 0


def _steps(call: Schedule) -> list[tuple[int, list[str], list[str]]]:
    """The iterations of a call that touch streams: cycle, reads, writes."""
    found: dict[int, tuple[list[str], list[str]]] = {}
    for side, streams in enumerate((call.reads, call.writes)):
        for name, cycles in streams.items():
            for cycle in cycles.tolist():
                found.setdefault(cycle, ([], []))[side].append(name)
    return [(cycle, *found[cycle]) for cycle in sorted(found)]


def naive(calls: Sequence[Schedule], depths: Mapping[str, int], frames: int) -> Times:
    """Every process does what it can, one access after the other, until nobody can."""
    times = Times()
    inputs = {name for call in calls for name in call.reads}
    outputs = {name for call in calls for name in call.writes}
    for call in calls:
        times.read |= {name: [] for name in call.reads}
        times.written |= {name: [] for name in call.writes}
    clocks = [_Clock(call, _steps(call)) for call in calls]
    moved = True
    while moved:
        moved = False
        for clock in clocks:
            while clock.next < frames * len(clock.steps) and _move(
                clock, times, depths, outputs - inputs, inputs - outputs
            ):
                moved = True
    times.stuck = any(clock.next < frames * len(clock.steps) for clock in clocks)
    return times


def _move(
    clock: _Clock, times: Times, depths: Mapping[str, int], last: set[str], first: set[str]
) -> bool:
    """Do a process's next access, if what it waits for has happened."""
    index = clock.next % len(clock.steps)
    cycle, reads, writes = clock.steps[index]
    call = clock.call
    before = clock.steps[index - 1][0] - (0 if index else call.period)
    if clock.wrote:  # reading is next
        start = clock.due + cycle - before if clock.next else cycle
        for name in reads:
            beat = len(times.read[name])
            if name in first:
                continue
            if beat >= len(times.written[name]):
                return False
            start = max(start, times.written[name][beat] + 1)
        for name in reads:
            times.read[name].append(start)
        clock.due, clock.wrote = start, False
        return True
    start = clock.due
    for name in writes:
        beat = len(times.written[name])
        if name in last or name not in depths or beat < depths[name]:
            continue
        if beat - depths[name] >= len(times.read[name]):
            return False
        start = max(start, times.read[name][beat - depths[name]] + 1 - (call.depth - 1))
    for name in writes:
        times.written[name].append(start + call.depth - 1)
    clock.due, clock.wrote, clock.next = start, True, clock.next + 1
    return True


def random_calls(seed: int, size: int = 4, beats: int = 6) -> list[Schedule]:
    """A network of forks and joins with random orders of accesses."""
    rng = np.random.default_rng(seed)
    open_streams = {"x": int(rng.integers(1, beats + 1))}
    calls: list[Schedule] = []
    names = iter(range(10_000))
    while len(calls) < size or len(open_streams) > 1:
        count = len(open_streams)
        taken = min(count, int(rng.integers(1, 3)) if len(calls) < size else 2)
        chosen = [str(name) for name in rng.choice(sorted(open_streams), taken, replace=False)]
        made = int(rng.integers(1, 3)) if len(calls) < size - 1 else 1
        sizes = {name: open_streams.pop(name) for name in chosen}
        results = {f"s{next(names)}": int(rng.integers(1, beats + 1)) for _ in range(made)}
        span = int(rng.integers(max([*sizes.values(), *results.values()]), 2 * beats + 2))

        def cycles(count: int, span: int = span) -> np.ndarray:
            return np.sort(rng.choice(np.arange(1, span + 1), count, replace=False)).astype(
                np.int64
            )

        depth = int(rng.integers(1, 7))
        calls.append(
            Schedule(
                f"p{len(calls)}",
                depth,
                span + max(depth - 1, 1) + 2,
                {name: cycles(count) for name, count in sizes.items()},
                {name: cycles(count) for name, count in results.items()},
            )
        )
        open_streams |= results
    return calls
