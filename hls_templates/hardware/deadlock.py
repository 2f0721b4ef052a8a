"""Whether a network of processes can stop for ever, by the order of its accesses alone.

No depth of a pipeline has a part in this: those are estimates, and whether a design hangs must not
depend on them.  An access waits for the one before it in its process, a read also for the write of
its beat, a write for the read that frees its place.  The design stops if and only if these waits
form a ring, and a frame that went through leaves all FIFOs empty, so one frame decides.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...frontend.errors import LutraError
from .flow import Flow
from .network import End, Network

PATIENCE = 60
"""Sweeps after which the moves are played one by one."""


class DeadlockError(LutraError):
    """A design stops for ever."""


@dataclass(frozen=True)
class Wait:
    """What a process waits for: a beat of ``stream``, or room in it, from the process ``other``."""

    process: str
    stream: str
    room: bool
    other: str

    def __str__(self) -> str:
        what = "room in" if self.room else "a beat of"
        return f"{self.process} waits for {what} {self.stream}, from {self.other}"


def find_deadlock(network: Network, depths: Mapping[str, int]) -> tuple[Wait, ...]:
    """Processes of which each waits for the next, and the last for the first; none if the design
    moves for ever."""
    ringed = in_rings(network.ends())
    tight = {
        name: depth
        for name, depth in depths.items()
        if name in ringed and depth < network.beats(name)
    }
    if not tight:
        return ()
    if Flow(network, tight, immediate=True).step(sweeps=PATIENCE):
        return ()
    return _Game(network, tight).ring()


def refuse_deadlock(network: Network, depths: Mapping[str, int]) -> None:
    """Raises:
    DeadlockError: the design stops; the message names who waits for whom.
    """
    if ring := find_deadlock(network, depths):
        full = sorted({wait.stream for wait in ring if wait.room})
        raise DeadlockError(
            "the design stops for ever",
            found="; ".join(map(str, ring)),
            remedy=f"Make one of these FIFOs deeper: {', '.join(full)}",
        )


def in_rings(streams: Mapping[str, tuple[str, str]]) -> set[str]:
    """Of streams with their two processes those on rings of processes, whatever their direction:
    only there can a design stop.

    The others are found by a search in depth: a stream is on no ring if nothing behind it leads
    back to where it came from (Tarjan's low points).
    """
    near: dict[str, list[tuple[str, str]]] = {}
    for name, (one, other) in streams.items():
        near.setdefault(one, []).append((name, other))
        near.setdefault(other, []).append((name, one))
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    bridges = set()
    for root in near:
        if root in order:
            continue
        order[root] = low[root] = len(order)
        stack = [(root, "", iter(near[root]))]
        while stack:
            i, came, rest = stack[-1]
            for name, j in rest:
                if name == came:
                    continue
                if j in order:
                    low[i] = min(low[i], order[j])
                else:
                    order[j] = low[j] = len(order)
                    stack.append((j, name, iter(near[j])))
                    break
            else:
                stack.pop()
                if stack:
                    parent = stack[-1][0]
                    low[parent] = min(low[parent], low[i])
                    if low[i] > order[parent]:
                        bridges.add(came)
    return streams.keys() - bridges


class _Game:
    """One frame played move by move: each process goes as far as it can, in turns."""

    def __init__(self, network: Network, depths: Mapping[str, int]) -> None:
        self.network = network
        self.depths = depths
        self.position = [0] * len(network.actors)
        self.written = dict.fromkeys(network.streams, 0)
        self.read = dict.fromkeys(network.streams, 0)
        self._places = {
            id(end): np.arange(item.accesses)[end.places].tolist()
            for item in network.actors
            for end in (*item.reads, *item.writes)
            if end.stream in self.written
        }
        waiting = set(range(len(network.actors)))
        while waiting:
            waiting |= self._move(waiting.pop())

    def _limits(self, i: int) -> list[tuple[int, End, bool]]:
        """How far a process may go, by each of its streams, and whether it lacks room there."""
        item = self.network.actors[i]
        limits = [
            (self._place(end, self.written[end.stream]), end, False)
            for end in item.reads
            if end.stream in self.written
        ]
        for end in item.writes:
            if end.stream in self.depths:
                beat = self.read[end.stream] + self.depths[end.stream]
                limits.append((self._place(end, beat), end, True))
        return limits

    def _place(self, end: End, beat: int) -> int:
        places = self._places[id(end)]
        return places[beat] if beat < len(places) else 1 << 60

    def _move(self, i: int) -> set[int]:
        """Go as far as possible; the processes that may now go on."""
        item = self.network.actors[i]
        limits = [limit for limit, _, _ in self._limits(i)]
        to = min([item.accesses, *limits])
        if to == self.position[i]:
            return set()
        self.position[i] = to
        after = set()
        for side, ends, other in (
            (self.read, item.reads, self.network.writer),
            (self.written, item.writes, self.network.reader),
        ):
            for end in ends:
                if end.stream in side:
                    count = bisect_left(self._places[id(end)], to)
                    if count != side[end.stream]:
                        side[end.stream] = count
                        after.add(other[end.stream][0])
        return after

    def ring(self) -> tuple[Wait, ...]:
        """A ring of waits among those that are stuck."""
        network = self.network
        stuck = [i for i, item in enumerate(network.actors) if self.position[i] < item.accesses]
        if not stuck:
            return ()
        path: list[tuple[int, Wait]] = []
        seen: dict[int, int] = {}
        i = stuck[0]
        while i not in seen:
            seen[i] = len(path)
            _, end, room = min(self._limits(i), key=lambda limit: limit[0])
            j = (network.reader if room else network.writer)[end.stream][0]
            names = network.actors[i].name, network.actors[j].name
            path.append((i, Wait(names[0], end.stream, room, names[1])))
            i = j
        return tuple(wait for _, wait in path[seen[i] :])
