"""The processes of a design, kind by kind: what each needs to know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..frontend.graph import Node
from ..frontend.ops import Array, Window
from ..quantize.fixed import FixedOp
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
