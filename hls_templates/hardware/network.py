"""Processes joined by streams, each with its accesses in order: what times are found for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ...frontend.ops import Array
from .schedule import Schedule

Places = Array | slice


@dataclass(frozen=True)
class End:
    """One end of a stream.

    Attributes:
        stream: its name.
        cycles: when each beat of a frame is due.
        places: where each beat stands in the order of the process's accesses.
    """

    stream: str
    cycles: Array
    places: Places


@dataclass(frozen=True)
class Actor:
    """A process with its accesses in order: all reads of an iteration are one, and so are all its
    writes, which come after them."""

    name: str
    depth: int
    period: int
    accesses: int
    apart: bool
    reads: tuple[End, ...]
    writes: tuple[End, ...]


def actor(call: Schedule) -> Actor:
    """A schedule with its accesses in order; ``apart`` if no two streams share an access."""
    keys: list[Array] = []
    which: list[tuple[str, Array, int]] = []
    for late, side in enumerate((call.reads, call.writes)):
        first = len(keys)
        for name, cycles in side.items():
            key = 2 * cycles + late
            for i in range(first, len(keys)):
                if np.array_equal(keys[i], key):
                    which.append((name, cycles, i))
                    break
            else:
                which.append((name, cycles, len(keys)))
                keys.append(key)
    accesses, places = _merge(keys)
    ends = [End(name, cycles, places[i]) for name, cycles, i in which]
    count = len(call.reads)
    return Actor(
        call.process,
        call.depth,
        call.period,
        accesses,
        len(which) == len(keys) and accesses == sum(key.size for key in keys),
        tuple(ends[:count]),
        tuple(ends[count:]),
    )


def _merge(keys: list[Array]) -> tuple[int, list[Places]]:
    """How many different keys there are, and the ranks of each list's own."""
    if len(keys) == 2 and keys[0].size == keys[1].size and np.array_equal(keys[0] + 1, keys[1]):
        return 2 * keys[0].size, [slice(0, None, 2), slice(1, None, 2)]
    everything = np.concatenate(keys)
    order = np.argsort(everything, kind="stable")
    rank = np.empty(everything.size, np.intp)
    ordered = everything[order]
    rank[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    ends = np.cumsum([key.size for key in keys])[:-1]
    return int(rank.max()) + 1, list(np.split(rank, ends))


class Network:
    """Processes joined by streams; a stream without a writer is an input, one without a reader an
    output.

    Attributes:
        actors: each after those whose streams it reads.
        writer, reader: the end of each stream and the index of its process.
    """

    def __init__(self, calls: Iterable[Schedule | Actor]) -> None:
        self.actors = _in_order(
            [call if isinstance(call, Actor) else actor(call) for call in calls]
        )
        self.writer: dict[str, tuple[int, End]] = {}
        self.reader: dict[str, tuple[int, End]] = {}
        for i, item in enumerate(self.actors):
            self.writer |= {end.stream: (i, end) for end in item.writes}
            self.reader |= {end.stream: (i, end) for end in item.reads}
        self.streams = [name for name in self.writer if name in self.reader]
        self.inputs = [name for name in self.reader if name not in self.writer]
        self.outputs = [name for name in self.writer if name not in self.reader]

    def ends(self) -> dict[str, tuple[str, str]]:
        """The writer and the reader of each stream."""
        return {
            name: (self.actors[self.writer[name][0]].name, self.actors[self.reader[name][0]].name)
            for name in self.streams
        }

    def reverse(self) -> Network:
        """The same network with time running backwards: what was written is read, and the other
        way.  Its times are those of this one, negative."""
        return Network(_reverse(item) for item in reversed(self.actors))

    @property
    def accesses(self) -> int:
        """Of all processes, in a frame."""
        return sum(item.accesses for item in self.actors)

    def beats(self, stream: str) -> int:
        return (self.writer.get(stream) or self.reader[stream])[1].cycles.size


def _reverse(item: Actor) -> Actor:
    def turn(ends: tuple[End, ...]) -> tuple[End, ...]:
        return tuple(
            End(end.stream, item.period - end.cycles[::-1], _turned(end.places, item.accesses))
            for end in ends
        )

    return replace(item, reads=turn(item.writes), writes=turn(item.reads))


def _turned(places: Places, count: int) -> Places:
    """Places counted from the other end.  Of two slices, odd and even, one becomes the other."""
    if isinstance(places, slice):
        return slice(1 - places.start, None, 2)
    return (count - 1) - places[::-1]


def _in_order(actors: list[Actor]) -> list[Actor]:
    written = {end.stream: item for item in actors for end in item.writes}
    missing = {item.name: sum(end.stream in written for end in item.reads) for item in actors}
    readers = {end.stream: item for item in actors for end in item.reads}
    ready = [item for item in actors if not missing[item.name]]
    for item in ready:
        for end in item.writes:
            if after := readers.get(end.stream):
                missing[after.name] -= 1
                if not missing[after.name]:
                    ready.append(after)
    if len(ready) != len(actors):
        raise ValueError("the processes form a ring")
    return ready
