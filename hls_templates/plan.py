"""The plan of a design: which processes there are, and which stream joins which.

Everything that the C++ text needs is decided here or before; the text follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..frontend.graph import Port
from ..frontend.ops import Flatten, Reshape, Window
from ..quantize.fixed import FixedGraph
from ..quantize.formats import Format
from ..quantize.recurrence import Recurrence
from .bus import Bus
from .processes import AnyProcess, Elementwise


@dataclass(frozen=True)
class Stream:
    """A FIFO between two processes.

    Attributes:
        name: its identifier.
        format: format of one value.
        lanes: values a beat.
        beats: beats a frame.
        depth: beats that it can hold.
    """

    name: str
    format: Format
    lanes: int
    beats: int
    depth: int

    @property
    def bits(self) -> int:
        return self.lanes * self.format.width


@dataclass(frozen=True)
class Plan:
    """A whole design.

    Attributes:
        graph: the network that it computes.
        processes: in the order of the top function's calls.
        streams: by identifier, ports included.
        inputs, outputs: the streams that are ports of the top function.
        functions: the elementwise functions that do something, in the order of their processes.
        sources: for each value that no process computes the one whose stream carries it.
        ids: number of each traced value.
        bus: what the ports are connected to; none if they are the first and last FIFO.
    """

    graph: FixedGraph
    processes: tuple[AnyProcess, ...]
    streams: Mapping[str, Stream]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    functions: tuple[Elementwise, ...]
    sources: Mapping[str, str]
    ids: Mapping[str, int]
    bus: Bus | None = None

    def format(self, value: str) -> Format:
        """The format in which ``value`` is streamed, or held if it is a constant."""
        return self.graph.formats[self.sources.get(value, value)]

    @property
    def input_port(self) -> Port:
        return self.graph.inputs[0]

    @property
    def output_port(self) -> Port:
        return self.graph.outputs[0]


def find_sources(graph: FixedGraph) -> dict[str, str]:
    """For each value that no process computes the one whose stream carries it.

    Flattening and reshaping move nothing, and what leaves a loop is a value of its body.
    """
    sources: dict[str, str] = {}
    for node in graph.nodes:
        match node.op:
            case Flatten() | Reshape():
                sources[node.output] = sources.get(node.inputs[0], node.inputs[0])
            case Recurrence() as loop:
                sources[node.output] = loop.result
            case _:
                pass
    return sources


def as_image(shape: tuple[int, ...], window: Window) -> tuple[tuple[int, int, int], Window]:
    """One spatial axis as the height of an image of width 1, so that windows stream row by row."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2]), window
    length, channels = shape
    pad = (window.pad[0], (0, 0))
    return (length, 1, channels), Window(
        (*window.kernel, 1), (*window.stride, 1), pad, (*window.dilation, 1)
    )


def is_trivial(window: Window, shape: tuple[int, ...]) -> bool:
    """Whether the windows, one after the other, are just the image as it arrives."""
    if window.padded:
        return False
    whole = window.kernel == shape[:-1]
    single = window.size == 1 and all(stride == 1 for stride in window.stride)
    return whole or single
