"""The smallest FIFO depths at which no frame leaves later than with unlimited ones.

The way, for docs/hardware.md says why it is right:

1. With unlimited FIFOs each access has an earliest time, and each frame a time at which it leaves.
2. Backwards from there each access has a latest time at which no frame is late.
3. Latest times alone are a way to run the design; the room that they take is enough.
4. No FIFO can do with less room than it takes if it is read as early and written as late as can be.
5. Between the two bounds, one FIFO after the other is made as small as it can be: latest times with
   limited FIFOs either lie before the start, or are a proof for the depths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...frontend.ops import Array
from ..plan import Plan
from .cycles import occupancy
from .deadlock import find_deadlock
from .flow import NEVER, Flow, TooLongError
from .network import Network
from .parts import Target
from .schedule import Schedule, schedules
from .timetable import Timetable

LEAST = 2
"""The depth of any FIFO: with less no beat could enter while one leaves."""

Times = Callable[[str, int], Array]
"""The times of a stream's beats in a frame."""

MOST_FRAMES = 30
LONGEST = 300
PATIENCE = 100
SETTLED = 8
"""Frames, and how often the accesses of a frame may be looked at, after which a steady state is not
awaited further: of unlimited FIFOs, and where it would only save room."""

WORK = 10_000_000
"""Accesses that the search for the smallest FIFOs may look at.  It is not begun where a frame has
more than a thousandth of that: then only some FIFOs are tried, and depths are proved to be enough,
but may not be the smallest."""

TRIAL = 20
TRIALS = 12_000_000
"""Of such a design: how often one trial may look at each access, and accesses of all trials."""


@dataclass(frozen=True)
class Sizes:
    """Depths, and times that prove them.

    Attributes:
        depths: of the streams between processes.
        low: for each of them a depth below which no frame could be on time.
        minimal: whether the search for smaller ones came to its end.
        finish: for the first frames the cycle after the last beat, with unlimited FIFOs.
        interval: cycles from each frame to the next after those.
        written, read: for each stream between processes the times of its beats in those frames and
            a few more; from frame to frame all of them are ``interval`` later from the last of
            ``finish`` on.
    """

    depths: Mapping[str, int]
    low: Mapping[str, int]
    minimal: bool
    finish: tuple[int, ...]
    interval: int
    written: Mapping[str, Array]
    read: Mapping[str, Array]


def size_fifos(plan: Plan, target: Target, calls: Mapping[str, Schedule] | None = None) -> Plan:
    """The design with the smallest FIFOs that delay no frame.

    Args:
        plan: the design.
        target: what it is made for.
        calls: the schedules of its processes, where they are known already.
    """
    calls = calls or schedules(plan, target)
    bits = {name: stream.bits for name, stream in plan.streams.items()}
    depths = smallest_depths(Network(calls.values()), bits).depths
    streams = {
        name: replace(stream, depth=depths.get(name, stream.depth))
        for name, stream in plan.streams.items()
    }
    return replace(plan, streams=streams)


def smallest_depths(network: Network, bits: Mapping[str, int] | None = None) -> Sizes:
    """Depths none of which could be smaller by one without delaying a frame, unless the search
    for them had to be given up.

    Args:
        network: processes and streams.
        bits: of a beat of each stream, which say where room is cheap.
    """
    return _Sizing(network, bits or {}).sizes()


class _Latest:
    """The latest times at which no frame is late: the earliest ones of the network backwards."""

    def __init__(self, sizing: _Sizing, depths: Mapping[str, int]) -> None:
        self.sizing = sizing
        self.flow = Flow(sizing.backwards, depths, NEVER)
        self.steady = 0

    def run(self, budget: int = 0) -> bool:
        """Whether the first frames can be on time, and all others.

        Raises:
            TooLongError: that is not known after looking at ``budget`` accesses.
        """
        self.flow.limit = budget
        flow, interval, finish = self.flow, self.sizing.interval, self.sizing.finish
        same = 0
        while same < flow.memory:
            if flow.frames == LONGEST:
                raise TooLongError
            flow.step(flow.frames * interval)
            self.steady = flow.frames - 1
            if not self._follows(len(finish) - 1):
                return False
            rates = flow.rates()
            same = same + 1 if rates and set(rates) == {interval} else 0
        for end in finish[-2::-1]:
            flow.step(self.steady * interval + finish[-1] - end)
        return self._follows(0)

    def _follows(self, frame: int) -> bool:
        """Whether no process would have to start ``frame``, the last that was added, before it can
        with unlimited FIFOs."""
        flow, before = self.flow, self.sizing.earliest.waited[frame]
        return all(
            self._end() + 1 - item.depth - (flow.frames + frame) * item.period - waited
            >= before[self.sizing.index[item.name]]
            for item, waited in zip(flow.network.actors, flow.waited[-1], strict=True)
        )

    def _end(self) -> int:
        """The time from which reversed times are counted backwards."""
        return self.sizing.finish[-1] - 1 + self.steady * self.sizing.interval

    def timetable(self) -> Timetable:
        """When the beats of all frames are written and read, and of some more frames, which
        repeat the last one."""
        frames = [self.flow.frames - 1 - f for f in range(len(self.sizing.finish))]

        def turned(times: Times) -> Times:
            return lambda stream, f: (self._end() - times(stream, f))[::-1]

        written, read = turned(self.flow.read_times), turned(self.flow.write_times)
        return self.sizing.timetable(written, read, frames, 1 + self.flow.memory)


class _Sizing:
    """The search for the depths of a network."""

    def __init__(self, network: Network, bits: Mapping[str, int]) -> None:
        self.network = network
        self.bits = bits
        self.budget = WORK
        self.backwards = network.reverse()
        self.index = {item.name: i for i, item in enumerate(network.actors)}
        self.interval = max(item.period for item in network.actors)
        self.paced = False
        self.earliest = self._earliest()
        (last,) = network.outputs
        frames = range(self.earliest.frames)
        self.finish = [int(self.earliest.write_times(last, f)[-1]) + 1 for f in frames]

    def _earliest(self) -> Flow:
        """The times with unlimited FIFOs, until all frames to come are like the last.

        Where that takes too many frames, the input of each is held back until the interval allows
        for it: then every process has settled after as many frames as there are processes.
        """
        flow = Flow(self.network, {})
        while not self._goes_on(flow):
            if flow.frames == MOST_FRAMES and not self.paced:
                self.paced = True
                flow = Flow(self.network, {})
            flow.step(self.release(flow.frames))
        return flow

    def _goes_on(self, flow: Flow) -> bool:
        """Whether every process keeps its pace: its own, or that of the slowest one before it."""
        rates = flow.rates()
        if rates is None:
            return False
        writer = self.network.writer
        for rate, item in zip(rates, self.network.actors, strict=True):
            before = [rates[writer[end.stream][0]] for end in item.reads if end.stream in writer]
            own = self.interval if self.paced and not before else item.period
            if rate != max([own, *before]):
                return False
        return True

    def release(self, frame: int) -> int | None:
        """When the input of a frame is there, if not from the start."""
        return frame * self.interval if self.paced else None

    def sizes(self) -> Sizes:
        latest = _Latest(self, {})
        assert latest.run()
        table = latest.timetable()
        frames = range(len(self.finish))
        low = {}
        for name in self.network.streams:
            early = np.concatenate([self.earliest.read_times(name, f) for f in frames])
            low[name] = occupancy(table.written[name][: early.size], early, LEAST)
        table.improve(self.bits)
        depths = self._moving(table.depths)
        table, depths = self._settled(table, depths)
        loose = [name for name in depths if depths[name] > low[name]]
        minimal = not loose
        if loose:
            search = self._shrink if self.network.accesses < WORK // 1000 else self._trim
            depths, found, minimal = search(depths, low, loose)
            table = found.timetable() if found else table
        return Sizes(
            depths,
            low,
            minimal,
            tuple(self.finish),
            self.interval,
            table.written,
            table.read,
        )

    def _settled(
        self, table: Timetable, depths: dict[str, int]
    ) -> tuple[Timetable, dict[str, int]]:
        """The room that is taken if everything moves as early as these depths allow, which is less
        where a FIFO held what need not have arrived yet; as before if it never gets steady."""
        flow = Flow(self.network, depths)
        flow.limit = PATIENCE * self.network.accesses
        same = 0
        while same < flow.memory:
            if flow.frames == SETTLED:
                return table, depths
            try:
                flow.step(self.release(flow.frames))
            except TooLongError:
                return table, depths
            rates = flow.rates()
            same = same + 1 if rates and set(rates) == {self.interval} else 0
        frames = list(range(flow.frames))
        found = self.timetable(flow.write_times, flow.read_times, frames, 1 + flow.memory)
        if find_deadlock(self.network, found.depths):
            return table, depths
        return found, found.depths

    def timetable(self, written: Times, read: Times, frames: list[int], more: int) -> Timetable:
        """The times of all beats in ``frames``, and in more frames that repeat the last."""
        later = np.arange(1, more + 1)[:, None] * self.interval

        def row(times: Times, stream: str) -> Array:
            found = [times(stream, frame) for frame in frames]
            return np.concatenate([*found, (found[-1] + later).ravel()])

        names = self.network.streams
        return Timetable(
            self.network,
            self.interval,
            {name: row(written, name) for name in names},
            {name: row(read, name) for name in names},
            LEAST,
        )

    def _moving(self, depths: dict[str, int]) -> dict[str, int]:
        """Depths at which the design never stops: FIFOs where it would get room for a frame."""
        while ring := find_deadlock(self.network, depths):
            full = [wait.stream for wait in ring if wait.room]
            name = min(full, key=self.network.beats)
            depths = depths | {name: self.network.beats(name)}
        return depths

    def _shrink(
        self, depths: dict[str, int], low: Mapping[str, int], loose: list[str]
    ) -> tuple[dict[str, int], _Latest | None, bool]:
        """Make one FIFO after the other as small as it can be while the others stay.

        Returns:
            The depths, latest times with them if they are others than before, and whether the
            search came to its end.
        """
        best = None
        try:
            found = self._try(depths | {name: low[name] for name in loose})
            if found:
                return dict(found.flow.depths), found, True
            loose.sort(key=lambda name: (low[name] - depths[name]) * self.bits.get(name, 1))
            for name in loose:
                bottom, guess = low[name], depths[name] - 1
                while bottom < depths[name]:
                    found = self._try(depths | {name: guess})
                    if found:
                        first = best is None or best.flow.depths[name] != depths[name]
                        depths, best = depths | {name: guess}, found
                        guess = bottom if first else (bottom + guess) // 2
                    else:
                        bottom = guess + 1
                        guess = (bottom + depths[name]) // 2
        except TooLongError:
            return depths, best, False
        return depths, best, True

    def _trim(
        self, depths: dict[str, int], low: Mapping[str, int], loose: list[str]
    ) -> tuple[dict[str, int], _Latest | None, bool]:
        """Make the FIFOs that may save most as small as they could be, or half as large.

        Returns:
            As :meth:`_shrink` does.
        """
        best = None
        left = TRIALS
        loose.sort(key=lambda name: (low[name] - depths[name]) * self.bits.get(name, 1))
        for name in loose:
            for guess in (low[name], (low[name] + depths[name]) // 2):
                self.budget = TRIAL * self.network.accesses
                if left < self.budget:
                    return depths, best, False
                left -= self.budget
                try:
                    found = self._try(depths | {name: guess})
                except TooLongError:
                    continue
                if found:
                    depths, best = depths | {name: guess}, found
                    break
        return depths, best, all(depths[name] == low[name] for name in loose)

    def _try(self, depths: Mapping[str, int]) -> _Latest | None:
        """Latest times with these depths, if no frame is late and the design never stops."""
        if find_deadlock(self.network, depths):
            return None
        latest = _Latest(self, depths)
        try:
            return latest if latest.run(self.budget) else None
        finally:
            self.budget -= latest.flow.work
