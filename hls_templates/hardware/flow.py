"""Times of all accesses to streams, frame after frame: the inequalities of docs/hardware.md.

A process that never waits would touch its streams at known cycles.  What it waits adds up: an
access of frame f that is due at cycle v of a call happens at v + f * period + M, where M never
falls from one access to the next.  A beat that comes late, or a place that becomes free late,
bounds M from below, so a process is one running maximum over its accesses, and a frame the least
solution of such maxima.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from ...frontend.ops import Array
from .network import End, Network, Places

NEVER = -(1 << 60)
"""What a process that is bound by nothing has waited."""


@dataclass(frozen=True)
class Stall:
    """What a process waited in a frame.

    Attributes:
        cycles: in total.
        stream: the stream that it waited for most; empty if it never waited.
        room: whether it waited there for room, not for beats.
    """

    cycles: int
    stream: str
    room: bool


class TooLongError(Exception):
    """Times are not known after the work that was allowed for them."""


class Flow:
    """The earliest times at which a network can move, one frame after the other.

    Args:
        network: processes and streams.
        depths: of the FIFOs; those that are not there have room for everything.
        start: what processes have waited before the first frame.
        immediate: whether writes happen as their iteration starts, whatever the depths of the
            pipelines.
    """

    def __init__(
        self,
        network: Network,
        depths: Mapping[str, int],
        start: int = 0,
        *,
        immediate: bool = False,
    ) -> None:
        self.network = network
        self.depths = {name: depths[name] for name in network.streams if name in depths}
        self.frames = 0
        self.reads: list[dict[str, Array]] = []
        self.writes: list[dict[str, Array]] = []
        self.waited: list[list[int]] = [[start] * len(network.actors)]
        self._data: dict[str, Array] = {}
        self._space: dict[str, Array] = {}
        self._last: _Frame | None = None
        self.work, self.limit = 0, 0
        for name in network.streams:
            (i, source), (j, sink) = network.writer[name], network.reader[name]
            depth = 1 if immediate else network.actors[i].depth
            self._data[name] = source.cycles + depth - sink.cycles
            if name in self.depths:
                period = network.actors[j].period
                back, rest = divmod(self.depths[name], sink.cycles.size)
                freed = np.roll(sink.cycles, rest) - back * period
                freed[:rest] -= period
                self._space[name] = freed + (2 - depth) - source.cycles

    @property
    def memory(self) -> int:
        """How many frames before it a frame depends on."""
        beats = self.network.beats
        return 1 + max((depth // beats(name) for name, depth in self.depths.items()), default=0)

    def step(self, release: int | None = None, sweeps: int = 0) -> bool:
        """Add a frame whose input is there from cycle ``release`` on.

        Returns:
            False if it is not settled after ``sweeps``, where these are bounded.
        """
        frame = _Frame(self, release)
        settled = frame.solve(sweeps)
        self.reads.append(frame.reads)
        self.writes.append(frame.writes)
        self.waited.append(frame.waited)
        self.frames += 1
        self._last = frame
        return settled

    def spend(self, accesses: int) -> None:
        """Count what is looked at, against ``limit`` if there is one."""
        self.work += accesses
        if self.limit and self.work > self.limit:
            raise TooLongError

    def read_times(self, stream: str, frame: int) -> Array:
        i, end = self.network.reader[stream]
        period = self.network.actors[i].period
        times: Array = self.reads[frame][stream] + (end.cycles + frame * period)
        return times

    def write_times(self, stream: str, frame: int) -> Array:
        i, end = self.network.writer[stream]
        item = self.network.actors[i]
        times: Array = self.writes[frame][stream] + (
            end.cycles + (frame * item.period + item.depth - 1)
        )
        return times

    def stall(self, i: int) -> Stall:
        """What a process waited in the last frame."""
        assert self._last
        return self._last.stall(i)

    def rates(self) -> list[int] | None:
        """Cycles between the last two frames of each process, if all its accesses agree."""
        if self.frames < 2:
            return None
        rates = []
        for i, item in enumerate(self.network.actors):
            later = self.waited[-1][i] - self.waited[-2][i]
            for side, ends in ((self.reads, item.reads), (self.writes, item.writes)):
                for end in ends:
                    now, before = side[-1][end.stream], side[-2][end.stream]
                    if now[0] - before[0] != later or np.any(now - before != later):
                        return None
            rates.append(item.period + later)
        return rates


class _Frame:
    """One frame while it is solved."""

    def __init__(self, flow: Flow, release: int | None) -> None:
        self.flow = flow
        self.reads: dict[str, Array] = {}
        self.writes: dict[str, Array] = {}
        self.waited = list(flow.waited[-1])
        self._before = flow.waited[-1]
        self._release = release
        self._frame = flow.frames
        network, f = flow.network, flow.frames
        periods = [item.period for item in network.actors]
        self._data, self._space = {}, {}
        for name, data in flow._data.items():
            ahead = f * (periods[network.writer[name][0]] - periods[network.reader[name][0]])
            self._data[name] = data + ahead if ahead else data
            if name in flow._space:
                space = flow._space[name]
                self._space[name] = space - ahead if ahead else space

    def solve(self, sweeps: int) -> bool:
        """Evaluate processes until nothing changes."""
        network = self.flow.network
        dirty = set(range(len(network.actors)))
        done, sign = 0, 1
        while dirty:
            if sweeps and done >= sweeps:
                return False
            waiting = [sign * i for i in dirty]
            heapify(waiting)
            while waiting:
                i = abs(heappop(waiting))
                dirty.discard(i)
                for j in self._evaluate(i):
                    if j not in dirty:
                        dirty.add(j)
                        if (j - i) * sign > 0:
                            heappush(waiting, sign * j)
            done, sign = done + 1, -sign
        return True

    def _bounds(self, i: int) -> Iterator[tuple[End, bool, Array]]:
        """What a process waits for: each stream, whether for room there, and the bounds of M."""
        item = self.flow.network.actors[i]
        for end in item.reads:
            if end.stream in self.writes:
                yield end, False, self.writes[end.stream] + self._data[end.stream]
        for end in item.writes:
            if end.stream in self._space:
                yield end, True, self._freed(end.stream)

    def _evaluate(self, i: int) -> list[int]:
        """Solve one process; the processes for which something changed."""
        network = self.flow.network
        item = network.actors[i]
        self.flow.spend(item.accesses)
        x = np.full(item.accesses, self._before[i])
        for end, _, bound in self._bounds(i):
            x[end.places] = bound if item.apart else np.maximum(x[end.places], bound)
        if self._release is not None:
            for end in item.reads:
                if end.stream not in self._data:
                    first = _first(end.places)
                    due = int(end.cycles[0]) + self._frame * item.period
                    x[first] = max(int(x[first]), self._release - due)
        np.maximum.accumulate(x, out=x)
        np.maximum(x, self._before[i], out=x)
        self.waited[i] = int(x[-1])
        changed = []
        for mine, ends, other in (
            (self.reads, item.reads, network.writer),
            (self.writes, item.writes, network.reader),
        ):
            for end in ends:
                value = x[end.places]
                old = mine.get(end.stream)
                mine[end.stream] = value
                if end.stream not in other or (
                    mine is self.reads and end.stream not in self._space
                ):
                    continue
                if old is None or not np.array_equal(old, value):
                    changed.append(other[end.stream][0])
        return changed

    def stall(self, i: int) -> Stall:
        """What a process waited, and for what most."""
        item = self.flow.network.actors[i]
        x = np.empty(item.accesses, np.int64)
        for side, ends in ((self.reads, item.reads), (self.writes, item.writes)):
            for end in ends:
                x[end.places] = side[end.stream]
        added = np.diff(x, prepend=self._before[i])
        most, stall = 0, Stall(self.waited[i] - self._before[i], "", False)
        for end, room, bound in self._bounds(i):
            waited = int(added[end.places][bound == x[end.places]].sum())
            if waited > most:
                most, stall = waited, Stall(stall.cycles, end.stream, room)
        return stall

    def _freed(self, stream: str) -> Array:
        """The bounds of a stream's writes from the reads that free their places."""
        flow = self.flow
        back, rest = divmod(flow.depths[stream], flow._space[stream].size)
        bound = self._space[stream].copy()
        for part, frames in ((slice(None, rest), back + 1), (slice(rest, None), back)):
            size = bound[part].size
            if not size:
                continue
            at = self._frame - frames
            found = flow.reads[at][stream] if frames and at >= 0 else None
            if not frames:
                found = self.reads.get(stream)
            if found is None:
                bound[part] = NEVER
            else:
                bound[part] += found[found.size - rest :] if frames == back + 1 else found[:size]
        return bound


def _first(places: Places) -> int:
    return int(places.start or 0) if isinstance(places, slice) else int(places[0])
