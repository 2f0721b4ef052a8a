"""The float graph: an immutable network of ops, in topological order, channels last.

A pass is a function from graph to graph; nothing is changed in place, and every graph verifies
itself when it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from .errors import LutraError, ModelError, ShapeError, UnsupportedOpError, clip
from .ops import (
    Add,
    Array,
    BatchNorm,
    Bipolar,
    Computable,
    Concat,
    Div,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    Op,
    Quantize,
    Shape,
    Sub,
)
from .ops.arithmetic import expect_aligned
from .ops.base import MAX_ELEMENTS, expect

OpT = TypeVar("OpT", bound=Computable, covariant=True)

MAX_RANK = 8
"""Most axes of one value, the batch among them."""


@dataclass(frozen=True)
class Node(Generic[OpT]):
    """One op at work: it reads the values named ``inputs`` and defines the value ``output``."""

    name: str
    op: OpT
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Port:
    """An input or output of the network.

    Attributes:
        name: the value's name.
        shape: its shape in the graph, channels last, without the batch axis.
        axes: how the user's array is laid out: axis i of the graph is axis ``axes[i]`` of the
            user's array, both counted without the batch.  A model that was channels first keeps
            its interface this way.
        scale: what 1 in the graph stands for in the user's array.
    """

    name: str
    shape: Shape
    axes: Shape
    scale: float = 1.0

    @staticmethod
    def of(name: str, shape: Shape) -> Port:
        """A port whose outer layout is the graph's own."""
        return Port(name, shape, tuple(range(len(shape))))

    @property
    def outer_shape(self) -> Shape:
        """The shape of the user's array, without the batch axis."""
        outer = [0] * len(self.shape)
        for size, axis in zip(self.shape, self.axes, strict=True):
            outer[axis] = size
        return tuple(outer)

    def enter(self, x: Array) -> Array:
        """Bring the user's array (batch first) into the graph's layout and scale."""
        inner = self.arrange(x)
        return inner if self.scale == 1 else np.asarray(inner / self.scale, inner.dtype)

    def leave(self, x: Array) -> Array:
        """Bring an array of the graph's layout and scale into the user's."""
        outer = self.restore(x)
        return outer if self.scale == 1 else np.asarray(outer * self.scale, outer.dtype)

    def arrange(self, x: Array) -> Array:
        """Bring the user's array (batch first) into the graph's layout, raw values as they are."""
        if x.ndim < 1 or x.shape[1:] != self.outer_shape:
            raise ShapeError(
                f"data for '{self.name}' has the wrong shape",
                found=x.shape,
                expected=f"(batch, {', '.join(map(str, self.outer_shape))})",
            )
        return x.transpose(0, *(a + 1 for a in self.axes))

    def restore(self, x: Array) -> Array:
        """Bring an array of the graph's layout into the user's, raw values as they are."""
        return x.transpose(0, *(int(a) + 1 for a in np.argsort(self.axes)))


BLOCK = 2**18
"""How many values of a constant are compared with its grid at a time."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What is known of a constant of a quantised model: each value is ``q · scale`` with an integer
    ``q`` from ``low`` to ``high``.

    Attributes:
        low, high: the integers.
        scale: float32 of shape (1,), or (channels,) for the constant's last axis; positive.
    """

    low: int
    high: int
    scale: Array
    _held: list[Array] = field(default_factory=list, repr=False)

    def integers(self, value: Array) -> Array:
        """The integers q of a constant on this grid, int64."""
        return np.rint(value.astype(np.float64) / self.scale).astype(np.int64)

    def holds(self, value: Array) -> bool:
        """Whether every value lies on the grid, as far as a float32 can say.

        What cannot change is looked at once, so that passes may ask again and again.
        """
        if any(known is value for known in self._held):
            return True
        if self.scale.shape != (1,) and self.scale.shape != value.shape[-1:]:
            return False
        rows = value.reshape(-1, value.shape[-1] if value.ndim else 1)
        step = max(1, BLOCK // max(1, rows.shape[1]))
        parts = (rows[i : i + step] for i in range(0, len(rows), step))
        holds = all(self._holds(part) for part in parts)
        if holds and not value.flags.writeable:
            self._held[:] = [value]
        return holds

    def _holds(self, rows: Array) -> bool:
        q = np.rint(rows.astype(np.float64) / self.scale)
        inside = bool((q >= self.low).all() and (q <= self.high).all())
        return inside and np.array_equal(q.astype(np.float32) * self.scale, rows)

    @staticmethod
    def fitted(low: int, high: int, scale: Array, value: Array) -> Grid | None:
        """The grid of ``value`` if it lies on one whose scale depends on the last axis alone.

        Args:
            low, high: the integers.
            scale: of the same shape as ``value``; negative ones turn the integers round.
            value: the constant.
        """
        if not scale.ndim or not scale.size:
            return None
        once = tuple(slice(1 if step == 0 else None) for step in scale.strides[:-1])
        rows = scale[once].reshape(-1, scale.shape[-1]).astype(np.float32)
        if (rows < 0).all():
            low, high, rows = -high, -low, -rows
        if not (np.isfinite(rows) & (rows > 0) & (rows == rows[0])).all():
            return None
        one = bool((rows == rows[0, 0]).all())
        grid = Grid(low, high, np.array(rows[0, :1] if one else rows[0]))
        return grid if grid.holds(value) else None

    def mapped(self, value: Array, make: Callable[[Array], Array]) -> Grid | None:
        """The grid of ``make(value)``, if it has one; ``make`` moves values or scales them."""
        scale = np.broadcast_to(self.scale, value.shape)
        return Grid.fitted(self.low, self.high, make(scale), make(value))


@dataclass(frozen=True)
class Graph:
    """A float network.

    Attributes:
        name: what the model calls itself.
        inputs, outputs: the ports.
        nodes: in topological order; each value is defined once.
        constants: weights, float32, read-only.
        grids: of those constants that are quantised, the grid that they lie on.
        notes: what a user should know of how the network was read from its file.
        shapes: shape of every value without the batch axis, inferred.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node[Op], ...]
    constants: Mapping[str, Array]
    grids: Mapping[str, Grid] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)
    shapes: Mapping[str, Shape] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", infer_shapes(self.inputs, self.nodes, self.constants))
        for port in self.outputs:
            if self.shapes.get(port.name) != port.shape:
                raise ShapeError(
                    f"output '{port.name}' has the wrong shape",
                    found=port.shape,
                    expected=self.shapes.get(port.name, "a value that the graph defines"),
                )
        for name, value in self.constants.items():
            if not _is_finite(value):
                raise ModelError(
                    f"weight '{name}' holds NaN or infinite values",
                    found=f"{np.count_nonzero(~np.isfinite(value))} of {value.size}",
                    expected="finite numbers",
                    remedy="Train again with a smaller learning rate, or mend the export",
                )
        for name, grid in self.grids.items():
            if name not in self.constants or not grid.holds(self.constants[name]):
                raise ModelError(f"weight '{name}' does not lie on its grid")

    def consumers(self, value: str) -> list[Node[Op]]:
        """The nodes that read ``value``."""
        return [node for node in self.nodes if value in node.inputs]


_FINITE: WeakValueDictionary[int, Array] = WeakValueDictionary()
"""Constants that cannot change and were found finite, by identity."""


def _is_finite(value: Array) -> bool:
    """Whether a constant holds numbers alone.

    What cannot change is looked at once: every pass makes another graph of the same constants.
    """
    if _FINITE.get(id(value)) is value:
        return True
    finite = bool(np.isfinite(value).all())
    if finite and not value.flags.writeable:
        _FINITE[id(value)] = value
    return finite


def expect_single(graph: Graph) -> tuple[Port, Port]:
    """The one input and the one output.

    Raises:
        UnsupportedOpError: there are several; fixed-point networks have one of each.
    """
    for what, ports in (("input", graph.inputs), ("output", graph.outputs)):
        if len(ports) != 1:
            raise UnsupportedOpError(
                f"the network has {len(ports)} {what}s",
                found=", ".join(clip(port.name) for port in ports[:8]),
                expected="one input and one output",
                remedy="Import the part of it that gives one output, as --take NAME does",
            )
    return graph.inputs[0], graph.outputs[0]


def infer_shapes(
    inputs: Iterable[Port],
    nodes: Sequence[Node[Computable]],
    constants: Mapping[str, Array],
) -> dict[str, Shape]:
    """Shape of every value; verifies that the nodes are in order and define each value once.

    Raises:
        ShapeError: at the first node whose inputs do not fit it, with its name.
    """
    shapes: dict[str, Shape] = {port.name: port.shape for port in inputs}
    shapes |= {name: value.shape for name, value in constants.items()}
    for node in nodes:
        for name in node.inputs:
            if name not in shapes:
                raise ModelError(
                    f"reads '{name}', which no earlier node defines",
                    node=node.name,
                    remedy="The model file is damaged; export it again",
                )
        if node.output in shapes:
            raise ModelError(f"defines '{node.output}' a second time", node=node.name)
        try:
            _expect_batches(node, shapes, constants)
            shape = node.op.infer(*(shapes[name] for name in node.inputs))
            _expect_variances(node, constants)
            _expect_divisors(node, constants)
            _expect_steps(node, constants)
            expect_small(shape)
        except LutraError as error:
            error.node = error.node or node.name
            raise
        shapes[node.output] = shape
    return shapes


def expect_small(shape: Shape) -> None:
    """Raise a ShapeError unless a value of this shape, without the batch, is one that we take."""
    expect(
        len(shape) < MAX_RANK and math.prod(shape) <= MAX_ELEMENTS,
        "a value is too large",
        found=shape[: 2 * MAX_RANK],
        expected=f"at most {MAX_RANK - 1} axes and {MAX_ELEMENTS} elements a sample",
    )


def _expect_batches(
    node: Node[Computable], shapes: Mapping[str, Shape], constants: Mapping[str, Array]
) -> None:
    """Raise a ShapeError unless an op of equal operands finds their batch axes in one place."""
    fixed = [shapes[name] for name in node.inputs if name in constants]
    moving = [shapes[name] for name in node.inputs if name not in constants]
    match node.op:
        case Add() | Sub() | Mul() | Div() | Maximum() | Minimum() | MatMul():
            expect_aligned(moving, fixed)
        case Concat():
            expect(
                not fixed,
                "a concatenation takes no constants",
                found=f"constants {fixed}",
                expected="activations",
            )


def _expect_variances(node: Node[Computable], constants: Mapping[str, Array]) -> None:
    """Raise a ModelError if a batch norm's variances have no root, or it divides by zero."""
    if not isinstance(node.op, BatchNorm) or node.inputs[-1] not in constants:
        return
    lowest = constants[node.inputs[-1]].min()
    if lowest + node.op.epsilon <= 0:
        raise ModelError(
            "a variance is not positive",
            found=f"{lowest} with epsilon {node.op.epsilon}",
            expected="a sum above 0",
            remedy="Train again, or mend the export",
        )


def _expect_divisors(node: Node[Computable], constants: Mapping[str, Array]) -> None:
    """Raise a ModelError if a quotient's constant divisor holds zero."""
    if not isinstance(node.op, Div) or node.inputs[-1] not in constants:
        return
    if not constants[node.inputs[-1]].all():
        raise ModelError("divides by zero", found=f"'{node.inputs[-1]}'", expected="no zeros")


def _expect_steps(node: Node[Computable], constants: Mapping[str, Array]) -> None:
    """Raise a ModelError unless the scales of a quantisation are positive constants, and its zero
    points integers."""
    if not isinstance(node.op, Quantize | Bipolar):
        return
    missing = [name for name in node.inputs[1:] if name not in constants]
    if missing:
        raise ModelError("a scale or zero point is no constant", found=missing[0])
    scale, *zeros = (constants[name] for name in node.inputs[1:])
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ModelError(
            "a scale is not positive",
            found=scale.min(),
            expected="finite numbers above 0",
            remedy="Quantise again, or mend the export",
        )
    for zero in zeros:
        if not (np.isfinite(zero) & (zero == np.rint(zero))).all():
            raise ModelError("a zero point is no integer", found=zero[:4], expected="integers")


def evaluate(
    graph: Graph, feeds: Mapping[str, Array], keep: Iterable[str] = ()
) -> dict[str, Array]:
    """Run the float graph on a batch.

    Args:
        graph: the network.
        feeds: one array an input port, in the user's layout, batch first.
        keep: further values to return; by default only the outputs are.

    Returns:
        Arrays by name: outputs in the user's layout, other kept values channels last.
    """
    wanted = set(keep)
    outputs = {port.name: port for port in graph.outputs}
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    values: dict[str, Array] = {
        port.name: port.enter(np.asarray(feeds[port.name], np.float32)) for port in graph.inputs
    }
    values |= graph.constants
    kept: dict[str, Array] = {name: values[name] for name in wanted if name in values}
    for i, node in enumerate(graph.nodes):
        with np.errstate(all="ignore"):  # a function may be undefined: NaN or infinity, as in ONNX
            values[node.output] = node.op.forward(*(values[name] for name in node.inputs))
        if node.output in wanted:
            kept[node.output] = values[node.output]
        for name in node.inputs:
            if last_use[name] == i and name not in outputs and name not in graph.constants:
                values.pop(name, None)
    return kept | {name: port.leave(values[name]) for name, port in outputs.items()}
