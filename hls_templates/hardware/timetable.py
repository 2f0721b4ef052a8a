"""Times of all accesses of a network that are allowed, and how to need less room with others.

Any times that keep the order of each process and let beats arrive before they are read are a way to
run the network, with FIFOs that hold what the times ask for.  Here all processes start out as late
as can be; then one after the other is moved to as early as its operands allow, where that takes no
more room: behind a pooling layer results take less room than its operands do before it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...frontend.ops import Array
from .cycles import fits, occupancy
from .network import End, Network

ROUNDS = 3
"""How often processes are tried: one that moved lets those move that read from it."""


class Timetable:
    """Times of all beats of the first frames; the last frames repeat.

    Args:
        network: processes and streams.
        interval: cycles from a frame to the next at the end.
        written, read: the times for each stream, those of the network's inputs and outputs too; all
            frames in a row.
        least: the smallest depth of a FIFO.
    """

    def __init__(
        self,
        network: Network,
        interval: int,
        written: Mapping[str, Array],
        read: Mapping[str, Array],
        least: int,
    ) -> None:
        self.network = network
        self.written, self.read = dict(written), dict(read)
        self._interval, self._least = interval, least
        self.depths = {name: self._depth(name) for name in network.streams}

    def improve(self, bits: Mapping[str, int]) -> None:
        """Move processes while that saves room; ``bits`` are those of a beat of each stream."""
        waiting = set(range(len(self.network.actors)))
        tries = ROUNDS * len(waiting)
        while waiting and tries:
            tries -= 1
            i = min(waiting)
            waiting.discard(i)
            if self._advance(i, bits):
                item = self.network.actors[i]
                after = (self.network.reader.get(end.stream) for end in item.writes)
                waiting |= {found[0] for found in after if found}

    def _depth(self, stream: str) -> int:
        return occupancy(self.written[stream], self.read[stream], self._least)

    def _advance(self, i: int, bits: Mapping[str, int]) -> bool:
        """Move a process to as early as its operands allow, unless that takes more room."""
        item = self.network.actors[i]
        reads = [end for end in item.reads if end.stream in self.depths]
        writes = [end for end in item.writes if end.stream in self.depths]
        if len(reads) < len(item.reads):
            return False
        touched = [end.stream for end in (*reads, *writes)]
        if all(self.depths[end.stream] == self._least for end in reads):
            return False
        moved = self._earliest(i)
        if moved is None:
            return False
        written, read = dict(self.written), dict(self.read)
        for end in reads:
            read[end.stream] = _times(moved, end, item.period, 0)
        for end in writes:
            written[end.stream] = _times(moved, end, item.period, item.depth - 1)
        room = sum((self.depths[name] - self._least) * bits.get(name, 1) for name in touched)
        depths = {}
        for name in touched:
            most = self._least + room // bits.get(name, 1)
            if not fits(written[name], read[name], most):
                return False
            depths[name] = occupancy(written[name], read[name], self._least)
            room -= (depths[name] - self._least) * bits.get(name, 1)
        self.written, self.read = written, read
        self.depths |= depths
        return True

    def _earliest(self, i: int) -> list[Array] | None:
        """What a process has waited at each access of each frame, if it starts as early as can be;
        None if the last frames would not repeat."""
        item = self.network.actors[i]
        end = item.reads[0]
        frames = self.read[end.stream].size // end.cycles.size
        found: list[Array] = []
        before = 0
        for f in range(frames):
            x = np.full(item.accesses, before)
            for end in item.reads:
                beats = end.cycles.size
                written = self.written[end.stream][f * beats : (f + 1) * beats]
                bound = written + 1 - f * item.period - end.cycles
                x[end.places] = np.maximum(x[end.places], bound)
            np.maximum.accumulate(x, out=x)
            found.append(x)
            before = int(x[-1])
        repeats = np.all(found[-1] - found[-2] == self._interval - item.period)
        return found if repeats else None


def _times(waited: list[Array], end: End, period: int, later: int) -> Array:
    return np.concatenate(
        [x[end.places] + end.cycles + (f * period + later) for f, x in enumerate(waited)]
    )
