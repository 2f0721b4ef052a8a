"""The plan of a design: which processes there are, and which stream joins which.

Everything that the C++ text needs is decided here or before; the text follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..frontend.graph import Node, Port
from ..frontend.ops import Array, Flatten, Reshape, Window
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Format
from ..quantize.recurrence import Recurrence
from .adders import ConstantMatrix
from .bus import Bus
from .folding import Fold
from .orders import Order


@dataclass(frozen=True)
class Elementwise:
    """A part of the graph that computes value by value, as one function.

    Attributes:
        name: identifier, unique in the design.
        operands: the values that go in, one or two; the second may be a constant array.
        nodes: in topological order; none if the value comes out as it goes in.
        result: the value that comes out.
    """

    name: str
    operands: tuple[str, ...]
    nodes: tuple[Node[FixedOp], ...]
    result: str


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
class Process:
    """One process of the dataflow.

    Attributes:
        name: identifier, unique in the design.
        layer: the model's layer that it belongs to.
        reads, writes: streams, in the order of the kernel's arguments.
    """

    name: str
    layer: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True)
class Sums:
    """Sums of values times constants, the same ones at each position.

    Attributes:
        name: identifier, unique in the design.
        matrix: weights and biases at one position.
        index: places of what each position reads in the node's operand, -1 where a zero stands;
            ``(positions, inputs)``.
    """

    name: str
    matrix: ConstantMatrix
    index: Array


@dataclass(frozen=True)
class DenseProcess(Process):
    """Matrix-vector products: a dense layer, or a convolution behind its window.

    ``constant`` are its sums where all of a vector's products are there at once.
    """

    node: Node[FixedOp]
    positions: int
    inputs: int
    outputs: int
    fold: Fold
    post: Elementwise
    constant: Sums | None = None

    @property
    def wired(self) -> Sums | None:
        """The sums, if nothing says that weights shall be multiplied otherwise."""
        return self.constant if self.fold.multiply in ("auto", "lut") else None


@dataclass(frozen=True)
class GroupedProcess(Process):
    """A grouped convolution behind its window: ``groups`` products of ``inputs`` to ``outputs``
    channels, ``across`` of them at a time, with ``fold`` for one of them."""

    node: Node[FixedOp]
    positions: int
    taps: int
    groups: int
    inputs: int
    outputs: int
    across: int
    fold: Fold
    post: Elementwise


@dataclass(frozen=True)
class MatMulProcess(Process):
    """Products of matrices, ``(rows, inner)`` times ``(inner, columns)``."""

    node: Node[FixedOp]
    batches: int
    rows: int
    inner: int
    columns: int
    transposed: bool
    fold: Fold
    post: Elementwise


@dataclass(frozen=True)
class WindowProcess(Process):
    """The sliding window of a convolution or a pooling layer, as two spatial axes.

    ``lanes`` values arrive at a time, those of so many ``taps`` leave.
    """

    window: Window
    image: tuple[int, int, int]
    lanes: int
    taps: int
    fill: int


@dataclass(frozen=True)
class PoolProcess(Process):
    """A reduction of windows, channel by channel."""

    node: Node[FixedOp]
    positions: int
    window: int
    channels: int
    pe: int
    post: Elementwise


@dataclass(frozen=True)
class MapProcess(Process):
    """A function of one stream, or of two that run side by side."""

    beats: int
    pe: int
    post: Elementwise


@dataclass(frozen=True)
class MapRowProcess(Process):
    """A function of each value of a row and of one value that belongs to the row."""

    rows: int
    beats_a_row: int
    pe: int
    post: Elementwise


@dataclass(frozen=True)
class MapArrayProcess(Process):
    """A function of a stream and of a constant array that repeats, its second operand."""

    beats: int
    pe: int
    post: Elementwise


@dataclass(frozen=True)
class BelowMaxProcess(Process):
    """Distance of each value below its row's maximum."""

    node: Node[FixedOp]
    rows: int
    length: int
    post: Elementwise


@dataclass(frozen=True)
class RearrangeProcess(Process):
    """A frame that is kept and leaves in another order."""

    node: Node[FixedOp]
    order: Order
    lanes: int
    fill: int
    post: Elementwise


@dataclass(frozen=True)
class ConcatProcess(Process):
    """Two streams in turns.  Of several in a row only the ``last`` makes the node's value whole."""

    node: Node[FixedOp]
    outer: int
    beats: tuple[int, int]
    lanes: int
    last: bool
    post: Elementwise


@dataclass(frozen=True)
class Cell:
    """What one unit of a recurrent layer computes in a step, or a half of it.

    Attributes:
        name: identifier, unique in the design.
        dense: the products whose sums it takes, all of one operand.
        nodes: the elementwise nodes, in topological order.
        result: the value that leaves: the layer's, or the operand of the next products.
        weight, acc: formats that hold the raw weights, and the raw sums, of all products.
    """

    name: str
    dense: tuple[Node[FixedOp], ...]
    nodes: tuple[Node[FixedOp], ...]
    result: str
    weight: Format
    acc: Format


@dataclass(frozen=True)
class RecurrenceProcess(Process):
    """A recurrent layer: a loop over time with one cell or two.

    ``kept`` are the values that a unit keeps: states, and what the first cell leaves to the second.
    """

    loop: Recurrence
    steps: int
    units: int
    lanes: int
    fold: Fold
    cells: tuple[Cell, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class WidenProcess(Process):
    """Several narrow beats to one wide beat."""

    factor: int
    beats: int


@dataclass(frozen=True)
class NarrowProcess(Process):
    """One wide beat to several narrow beats."""

    factor: int
    beats: int


@dataclass(frozen=True)
class DuplicateProcess(Process):
    """Every beat to two streams."""

    beats: int


@dataclass(frozen=True)
class BusProcess(Process):
    """Between the words of a bus and beats.

    Attributes:
        bus: what carries the words.
        format: of a value.
        values, words: values a word, and words a frame.
        lanes, beats: values a beat, and beats a frame.
    """

    bus: Bus
    format: Format
    values: int
    words: int
    lanes: int
    beats: int

    @property
    def whole(self) -> bool:
        """Whether a frame is a word and a beat, so that one can pass each cycle."""
        return self.words == self.beats == 1

    @property
    def unit(self) -> int:
        """Values that always move together: they fill words as well as beats."""
        return math.gcd(self.values, self.lanes)

    @property
    def places(self) -> int:
        """Units that are kept: what has not left yet, and what came last."""
        return (self.values + self.lanes) // self.unit - 1


@dataclass(frozen=True)
class EnterProcess(BusProcess):
    """From the words of the bus to beats."""

    @property
    def steps(self) -> int:
        """Iterations: each reads a word or writes a beat, and most do both."""
        return max(self.words, self.beats)


@dataclass(frozen=True)
class LeaveProcess(BusProcess):
    """From beats to the words of the bus; what is left of a frame's last word is 0."""

    @property
    def steps(self) -> int:
        """Iterations: each reads a beat or writes a word, and most do both.  The last beat may fill
        a word and begin another one, which takes an iteration more."""
        before = (self.beats - 1) * self.lanes % self.values
        return max(self.words, self.beats + (before + self.lanes > self.values))


@dataclass(frozen=True)
class ParallelProcess(Process):
    """The whole network as one pipelined function; ``sums`` by the value that they define."""

    sums: Mapping[str, Sums]


AnyProcess = (
    DenseProcess
    | GroupedProcess
    | MatMulProcess
    | WindowProcess
    | PoolProcess
    | MapProcess
    | MapRowProcess
    | MapArrayProcess
    | BelowMaxProcess
    | RearrangeProcess
    | ConcatProcess
    | RecurrenceProcess
    | WidenProcess
    | NarrowProcess
    | DuplicateProcess
    | EnterProcess
    | LeaveProcess
    | ParallelProcess
)


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
