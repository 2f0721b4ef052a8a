"""Streams of a plan: who writes each value, who reads it, and what stands between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from ..quantize.fixed import FixedGraph
from .bus import BYTE, Bus
from .clusters import Part
from .folding import FoldingError
from .names import Names
from .plan import Stream
from .processes import (
    AnyProcess,
    DuplicateProcess,
    Elementwise,
    EnterProcess,
    LeaveProcess,
    MapProcess,
    NarrowProcess,
    WidenProcess,
)

DEFAULT_DEPTH = 2

MOST_PLACES = 4096
"""Elements up to which an array is split into registers: older tools fail beyond."""


class Wiring:
    """The streams of a design that is being planned, and the processes that only move values."""

    def __init__(
        self, graph: FixedGraph, sources: Mapping[str, str], parts: Iterable[Part]
    ) -> None:
        self.graph = graph
        self.names = Names()
        self.processes: list[AnyProcess] = []
        self.streams: dict[str, Stream] = {}
        self._sources = sources
        self._readers = Counter(value for part in parts for value in part.reads)
        self._readers.update(self.source(port.name) for port in graph.outputs)
        self._waiting: dict[str, list[str]] = {}

    def source(self, value: str) -> str:
        """The value whose stream carries ``value``."""
        return self._sources.get(value, value)

    def stream(self, near: str, value: str, lanes: int, beats: int = 0) -> str:
        """A new stream for ``value``; ``beats`` a frame unless they follow from its shape."""
        name = self.names.fresh(near)
        count = beats or math.prod(self.graph.shapes[value]) // lanes
        self.streams[name] = Stream(name, self.graph.formats[value], lanes, count, DEFAULT_DEPTH)
        return name

    def share(self, value: str, stream: str, layer: str) -> None:
        """Offer ``stream`` to readers of ``value``, through duplicators if there are several."""
        count = self._readers[value]
        offered = []
        while count > 1:
            source = self.streams[stream]
            branches = [
                self.stream(f"{source.name}_branch", value, source.lanes, source.beats)
                for _ in range(2)
            ]
            self.processes.append(
                DuplicateProcess(
                    self.names.fresh(f"{source.name}_duplicate"),
                    layer,
                    (stream,),
                    tuple(branches),
                    source.beats,
                )
            )
            offered.append(branches[0])
            stream = branches[1]
            count -= 1
        self._waiting[value] = [*offered, stream]

    def take(self, value: str) -> str:
        """The next stream that carries ``value``."""
        return self._waiting[self.source(value)].pop(0)

    def read(self, value: str, lanes: int, layer: str) -> str:
        """A stream of ``value`` with the wanted lanes, through adaptors where needed."""
        source = self.source(value)
        stream = self.take(value)
        have = self.streams[stream].lanes
        common = math.gcd(have, lanes)
        if have != common:
            stream = self._adapt(NarrowProcess, stream, source, common, layer)
        if lanes != common:
            stream = self._adapt(WidenProcess, stream, source, lanes, layer)
        return stream

    def _adapt(
        self,
        kind: type[NarrowProcess] | type[WidenProcess],
        stream: str,
        value: str,
        lanes: int,
        layer: str,
    ) -> str:
        old = self.streams[stream]
        word = "narrow" if kind is NarrowProcess else "wide"
        beats = old.beats * old.lanes // lanes
        new = self.stream(f"{old.name}_{word}", value, lanes, beats)
        factor = max(old.lanes, lanes) // min(old.lanes, lanes)
        name = self.names.fresh(f"{new}_adaptor")
        self.processes.append(kind(name, layer, (stream,), (new,), factor, min(old.beats, beats)))
        return new

    def copy(self, stream: str, output: str) -> str:
        """An output that is an input's own stream goes through a process that changes nothing."""
        source, value = self.streams[stream], self.source(output)
        new = self.stream(output, value, source.lanes)
        name = self.names.fresh(f"{new}_copy")
        same = Elementwise("", (value,), (), value)
        self.processes.append(
            MapProcess(name, output, (stream,), (new,), source.beats, source.lanes, same)
        )
        return new

    def enter(self, bus: Bus, stream: str, port: str) -> str:
        """The words of the bus from which an input's ``stream`` is filled."""
        return self._bus(EnterProcess, bus, stream, port)

    def leave(self, bus: Bus, stream: str, port: str) -> str:
        """The words of the bus that an output's ``stream`` fills."""
        return self._bus(LeaveProcess, bus, stream, port)

    def _bus(
        self, kind: type[EnterProcess] | type[LeaveProcess], bus: Bus, stream: str, port: str
    ) -> str:
        beats = self.streams[stream]
        values = bus.values(beats.format, port)
        count = -(-beats.beats * beats.lanes // values)
        words = self.names.fresh(f"{stream}_words")
        self.streams[words] = Stream(words, BYTE, bus.bits // BYTE.width, count, DEFAULT_DEPTH)
        enters = kind is EnterProcess
        process = kind(
            self.names.fresh(f"{stream}_{'enter' if enters else 'leave'}"),
            port,
            (words,) if enters else (stream,),
            (stream,) if enters else (words,),
            bus,
            beats.format,
            values,
            count,
            beats.lanes,
            beats.beats,
        )
        if process.places > MOST_PLACES:
            raise FoldingError(
                f"too many pieces between the words and the beats of '{port}'",
                found=f"{values} values a word, {beats.lanes} a beat",
                expected=f"sizes with a common divisor, of at most {MOST_PLACES} pieces together",
                remedy="Choose another width with --bus",
            )
        self.processes.append(process)
        return words
