"""What the importer makes of an ONNX model while it walks over its nodes.

The graph is built literally: an activation has the axes that ONNX gives it, without the batch, and
an op that wants them otherwise stands between two Transposes.  Names are given at the end, so that
a value that is dropped takes none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import ml_dtypes
import numpy as np

from ..errors import ModelError, ShapeError, clip
from ..graph import MAX_RANK, Graph, Grid, Node, Port, expect_small
from ..names import Names
from ..ops import (
    Array,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Op,
    Reshape,
    Shape,
    Slice,
    Transpose,
)
from ..ops.base import MAX_ELEMENTS
from .layout import inverse
from .masks import without_infinities
from .refused import RefusedError as RefusedError
from .sizes import settled

MAX_FOLDED = 2**30
"""Most bytes that constants made out of the model's own may take together."""


@dataclass(frozen=True)
class Linear:
    """The Dense or Conv that a value comes from, so that a bias can still join it.

    Attributes:
        op, x, weight, bias: the layer, its data and its weights.
        axis: where the value's channels are, without the batch.
        back: the Transpose behind a convolution.
        name: what the layer is called.
    """

    op: Dense | Conv | ConvTranspose
    x: str
    weight: str
    bias: Constant | None
    axis: int
    back: Shape | None
    name: str


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input.

    Our axes stand in the order of the ONNX value's, but for the batch, which is always our first.

    Attributes:
        id: its internal name.
        shape: without the batch.
        linear: the layer that it comes from.
        batch: which of the ONNX value's axes is the batch; None where none is, and all of the
            ONNX value is one sample's.
        merged: how many of our axes, from axis ``batch`` on, lie in that one axis of the ONNX
            value together with the batch, as the heads of attention do.
        outer: how many of these lie outside of the batch there, the others inside.
    """

    id: str
    shape: Shape
    linear: Linear | None = None
    batch: int | None = 0
    merged: int = 0
    outer: int = 0

    @property
    def rank(self) -> int:
        """How many axes the ONNX value has, the batch among them."""
        return len(self.shape) + (self.batch is not None) - self.merged

    def own_axis(self, axis: int) -> int:
        """The axis of ours that an axis of the ONNX value is; it is not the batch."""
        return axis if self.batch is None or axis < self.batch else axis - 1 + self.merged

    def own_axes(self, axes: Iterable[int]) -> Shape:
        """Our axes that these axes of the ONNX value are, those merged with the batch too."""
        own: list[int] = []
        for axis in axes:
            if axis == self.batch:
                own.extend(range(axis, axis + self.merged))
            else:
                own.append(self.own_axis(axis))
        return tuple(own)

    def sizes(self, batch: int) -> Shape:
        """The shape of the ONNX value for ``batch`` samples."""
        if self.batch is None:
            return self.shape
        end = self.batch + self.merged
        size = batch * math.prod(self.shape[self.batch : end])
        return (*self.shape[: self.batch], size, *self.shape[end:])

    def without(self, axes: Iterable[int]) -> int | None:
        """Where the batch is once these axes of the ONNX value, no batch among them, are gone."""
        if self.batch is None:
            return None
        return self.batch - len({axis % self.rank for axis in axes} & set(range(self.batch)))

    def leave(self, x: Array) -> Array:
        """The ONNX value, out of an array of ours with the batch first.

        Where the ONNX value has no batch, ``x`` is of one sample.
        """
        if self.batch is None:
            return x.reshape(x.shape[1:])
        y = np.moveaxis(x, 0, self.batch + self.outer)
        return y.reshape(self.sizes(len(x))) if self.merged else y

    def enter(self, value: Array) -> Array:
        """The array of ours, out of the ONNX value."""
        if self.batch is None:
            return value[None]
        at = self.batch + self.outer
        if self.merged:
            value = value.reshape(*self.shape[:at], -1, *self.shape[at:])
        return np.moveaxis(value, at, 0)

    def placed(self, like: Activation) -> Activation:
        """The same value of ours with the batch where ``like`` has it."""
        return replace(self, batch=like.batch, merged=like.merged, outer=like.outer)


@dataclass(frozen=True, eq=False)
class Codes:
    """What is known of a quantised constant: each value is ``q · scale``, with an integer q.

    Attributes:
        low, high: the least and the largest q.
        scale: of the constant's own shape.
    """

    low: int
    high: int
    scale: Array


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is known: its name in the file, how to read it, and what it was joined from.

    Attributes:
        codes: the integers behind the values, if they were quantised.
        repeated: the axis that is as long as there are samples, all of them alike.
    """

    name: str
    read: Callable[[], Array]
    parts: tuple[Constant, ...] = ()
    codes: Codes | None = None
    repeated: int | None = None
    _cache: list[Array] = field(default_factory=list)
    _floats: list[Constant] = field(default_factory=list)

    @property
    def array(self) -> Array:
        """The values in the type that the file gives them, read when first asked for.

        Integers that depend on the number of samples are objects of :mod:`.sizes`.

        Raises:
            RefusedError: there are as many of them as there are samples.
        """
        if self.repeated is not None:
            raise RefusedError("works with a constant that is repeated for each sample")
        return self.stored

    @property
    def stored(self) -> Array:
        """The values, once along the axis that is as long as there are samples."""
        if not self._cache:
            self._cache.append(self.read())
        return self._cache[0]

    def mapped(self, make: Callable[[Array], Array]) -> Constant:
        """``make`` of the values, which it moves or scales; codes go along."""
        with np.errstate(all="ignore"):
            value = np.asarray(make(self.stored))
            codes = self.codes and replace(self.codes, scale=make(self.codes.scale))
        if value.dtype == object:
            value = settled(value)
        return Constant(self.name, lambda: value, codes=codes)

    @property
    def floats(self) -> Constant:
        """The same constant as float32, if it is of any float type; always the same object."""
        if self.stored.dtype == np.float32 or not is_float(self.stored):
            return self
        if not self._floats:
            self._floats.append(replace(self, read=self._as_float32, _cache=[], _floats=[]))
        return self._floats[0]

    def _as_float32(self) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.stored.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Lattice:
    """The numbers ``(q - zero) · scale`` with integers q from ``low`` to ``high``.

    Attributes:
        scale, zero: float32 of shape (1,), or (channels,) for an axis that is known elsewhere.
        low, high: the integers.
    """

    scale: Array
    zero: Array
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Coded:
    """Integers that stand for data which depend on the input.

    Attributes:
        real: the data that they stand for.
        lattice: how the two relate.
        axis: the axis of the ONNX value that scales and zero points belong to, if they differ.
        within: gives the data again, quantised to other bounds, where that is known how.
    """

    real: Activation
    lattice: Lattice
    axis: int | None
    within: Callable[[int, int], Activation] | None = None

    def like(self, lattice: Lattice, axis: int | None) -> bool:
        """Whether the same integers stand for the same data in ``lattice``."""
        own = self.lattice
        same = np.array_equal(own.scale, lattice.scale) and np.array_equal(own.zero, lattice.zero)
        return self.axis == axis and same


@dataclass(frozen=True)
class Unknown:
    """A value that could not be worked out, because a node before it could not."""


Value = Activation | Constant | Coded | Unknown


def is_float(array: Array) -> bool:
    """Whether the numbers are of a float type, bfloat16 among them."""
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def _in_float(value: Value) -> Activation | None:
    """The value of ours that is the same as one of the file's, number by number."""
    if isinstance(value, Coded):
        lattice = value.lattice
        return None if (lattice.scale != 1).any() or lattice.zero.any() else value.real
    return value if isinstance(value, Activation) else None


def expect_foldable(shape: Shape) -> None:
    """Raise a ShapeError unless a constant of this shape may be worked out from others."""
    if len(shape) > MAX_RANK or math.prod(shape) > MAX_ELEMENTS:
        raise ShapeError(
            "is too large",
            found=shape[: 2 * MAX_RANK],
            expected=f"at most {MAX_RANK} axes and {MAX_ELEMENTS} elements",
        )


class Builder:
    """Collects the nodes and weights of the graph to be.

    Attributes:
        opset: version of ONNX's own operator set.
        batch: size of the batch that the file fixes, or None where it is symbolic.
        file_names: all names of values in the file; made-up names stay clear of them.
        values: what is known so far, by ONNX name.
    """

    def __init__(self, opset: int, batch: int | None, file_names: Iterable[str]) -> None:
        self.opset = opset
        self.batch = batch
        self.file_names = set(file_names)
        self.values: dict[str, Value] = {}
        self._shapes: dict[str, Shape] = {}
        self._nodes: list[Node[Op]] = []
        self._weights: dict[str, Array] = {}
        self._grids: dict[str, Grid] = {}
        self._made: dict[tuple[Constant, str], str] = {}
        self._wishes: dict[str, tuple[str, bool]] = {}
        self._folded = 0
        self._roots: dict[str, str] = {}
        self._joined: dict[str, tuple[int, tuple[Activation, ...]]] = {}
        self._made_by: dict[str, Node[Op]] = {}
        self._final: dict[str, str] = {}
        self._views: dict[tuple[str, Shape], Activation] = {}

    def new(self, wish: str, shape: Shape, made_up: bool = False) -> str:
        """An internal name for a value that is called ``wish`` in the file, or only by us."""
        name = f"%{len(self._wishes)}"
        self._wishes[name] = (wish, made_up)
        self._shapes[name] = shape
        return name

    def emit(
        self,
        op: Op,
        inputs: tuple[str, ...],
        name: str,
        wish: str,
        made_up: bool = False,
        batch: int | None = 0,
        like: Activation | None = None,
    ) -> Activation:
        """Add a node on values with these internal names.

        Args:
            op, inputs, name: the node.
            wish, made_up: as for :meth:`new`.
            batch: the result's batch axis.
            like: the value whose batch axis the result has, whatever is merged with it.

        Raises:
            ShapeError: the op does not take them.
        """
        shape = op.infer(*(self._shapes[value] for value in inputs))
        expect_small(shape)
        output = self.new(wish, shape, made_up)
        self._nodes.append(Node(name, op, inputs, output))
        self._made_by[output] = self._nodes[-1]
        y = Activation(output, shape, batch=batch)
        return y if like is None else y.placed(like)

    def called(self, output: str, wish: str, name: str) -> None:
        """Let a value have a name of the file's, and its node one too."""
        self._wishes[output] = (wish, False)
        at = next(i for i in reversed(range(len(self._nodes))) if self._nodes[i].output == output)
        self._nodes[at] = self._made_by[output] = replace(self._nodes[at], name=name)

    def maker(self, x: Activation) -> Node[Op] | None:
        """The node that gives ``x``; None for the input."""
        return self._made_by.get(x.id)

    def reshaped(
        self, x: Activation, shape: Shape, batch: int | None, name: str, wish: str
    ) -> Activation:
        """``x`` in another shape of as many values; of several in a row only the last stays."""
        if shape == x.shape:
            return replace(x, batch=batch, merged=0, outer=0)
        root = self._roots.get(x.id, x.id)
        if self._shapes[root] == shape:
            self._wishes[root] = (wish, False)
            return Activation(root, shape, batch=batch)
        op = Flatten() if len(shape) == 1 else Reshape(shape)
        y = self.emit(op, (root,), name, wish, batch=batch)
        self._roots[y.id] = root
        return y

    def whole(self, x: Activation) -> Activation:
        """``x`` without a batch axis; the file fixes that to one sample."""
        if x.batch is None:
            return x
        return replace(self._viewed(x, x.sizes(1)), batch=None, merged=0, outer=0)

    def batched(self, x: Activation, axis: int) -> Activation:
        """``x`` with its batch on ``axis``; the file fixes that to one sample.

        Raises:
            RefusedError: the axis is not of size 1.
        """
        if (x.batch, x.merged) == (axis, 0):
            return x
        sizes = x.sizes(1)
        if axis >= len(sizes) or sizes[axis] != 1:
            raise RefusedError(f"wants the batch on axis {axis}, of a value of shape {sizes}")
        shape = (*sizes[:axis], *sizes[axis + 1 :])
        return replace(self._viewed(x, shape), batch=axis, merged=0, outer=0)

    def widened(self, x: Activation, rank: int) -> Activation:
        """``x`` with as many axes of size 1 in front as give the ONNX value ``rank`` of them."""
        more = rank - x.rank
        if more == 0:
            return x
        y = self._viewed(x, (*(1,) * more, *x.shape)).placed(x)
        return y if x.batch is None else replace(y, batch=x.batch + more)

    def _viewed(self, x: Activation, shape: Shape) -> Activation:
        """``x`` in another shape, by a node of our own that all who want it share."""
        if shape == x.shape:
            return x
        root = self._roots.get(x.id, x.id)
        if self._shapes[root] == shape:
            return Activation(root, shape)
        if (root, shape) not in self._views:
            wish = f"{self._wishes[x.id][0]}_view"
            y = self.emit(Reshape(shape), (root,), wish, wish, made_up=True)
            self._roots[y.id] = root
            self._views[root, shape] = y
        return self._views[root, shape]

    def joined(self, parts: tuple[Activation, ...], axis: int, name: str, wish: str) -> Activation:
        """The parts one behind the other along an axis of ours."""
        if len(parts) == 1:
            return parts[0]
        ids = tuple(part.id for part in parts)
        y = self.emit(Concat(axis), ids, name, wish, like=parts[0])
        self._joined[y.id] = (axis, parts)
        return y

    def sliced(self, x: Activation, op: Slice, name: str, wish: str) -> Activation:
        """A part of ``x``: all of it, one of the parts that it was joined from, or a Slice."""
        if (op.start, op.stop, op.step) == (0, x.shape[op.axis], 1):
            return x
        axis, parts = self._joined.get(x.id, (-1, ()))
        if axis == op.axis and op.step == 1:
            start = 0
            for part in parts:
                stop = start + part.shape[axis]
                if (start, stop) == (op.start, op.stop):
                    return part.placed(x)
                start = stop
        return self.emit(op, (x.id,), name, wish, like=x)

    def folded(
        self, name: str, value: Array, parts: tuple[Constant, ...] = (), codes: Codes | None = None
    ) -> Constant:
        """A constant worked out from others."""
        self.spend(value)
        return Constant(name, lambda: value, parts, codes)

    def moved(
        self,
        name: str,
        source: Constant,
        make: Callable[[Array], Array],
        repeated: int | None = None,
    ) -> Constant:
        """A constant whose values are moved ones of ``source``; ``repeated`` is of the result."""
        made = source.mapped(make)
        return replace(self.folded(name, made.array, codes=made.codes), repeated=repeated)

    def turned(self, x: Activation, axes: Shape, name: str, wish: str) -> Activation:
        """``x`` with our axes of it reordered, by a node of our own."""
        if axes == tuple(range(len(x.shape))):
            return x
        return self.emit(Transpose(axes), (x.id,), name, wish, made_up=True)

    def between(
        self,
        op: Op,
        axes: Shape,
        x: Activation,
        name: str,
        wish: str,
        weights: tuple[str, ...] = (),
    ) -> Activation:
        """``op`` on ``x`` with its axes reordered, and the result's axes put back."""
        turned = self.turned(x, axes, f"{name}_in", f"{wish}_in")
        y = self.emit(op, (turned.id, *weights), name, wish)
        return self.turned(y, inverse(axes), f"{name}_out", f"{wish}_out").placed(x)

    def linear(
        self, layer: Linear, like: Activation, wish: str, bias: Constant | None = None
    ) -> Activation:
        """Add a Dense or Conv, with ``bias`` on top of the one it has, and the batch of ``like``.

        A bias that comes later adds the layer once more; the one without it then falls away,
        unless something else reads it.
        """
        inputs = [layer.x, layer.weight]
        total = layer.bias if bias is None else bias
        if bias is not None and layer.bias is not None:
            with np.errstate(all="ignore"):
                both = layer.bias.array.astype(np.float64) + bias.array
            total = Constant(bias.name, lambda: both)
        if total is not None:
            inputs.append(self.add_weight(total.name, total.array, total.codes))
        y = self.emit(layer.op, tuple(inputs), layer.name, wish)
        if layer.back is not None:
            y = self.turned(y, layer.back, f"{layer.name}_out", f"{wish}_out")
        return replace(y, linear=replace(layer, bias=total)).placed(like)

    def weight(self, source: Constant, how: str, make: Callable[[Array], Array]) -> str:
        """The internal name of ``make(source)``, made once for each ``how``."""
        key = (source, how)
        if key not in self._made:
            made = source.mapped(make)
            self._made[key] = self.add_weight(made.name, made.array, made.codes)
        return self._made[key]

    def add_weight(self, wish: str, value: Array, codes: Codes | None = None) -> str:
        """The internal name of a new weight; its codes make its grid, if it has one."""
        if value.size == 0:
            raise ModelError(f"weight '{clip(wish)}' is empty", found=value.shape)
        self.spend(value)
        name = self.new(wish, value.shape)
        with np.errstate(all="ignore"):  # a view: what the file holds in order is not copied
            self._weights[name] = np.asarray(value, np.float32, order="C").view()
        self._weights[name].flags.writeable = False
        if codes is not None:
            grid = Grid.fitted(codes.low, codes.high, codes.scale, self._weights[name])
            self._grids |= {name: grid} if grid else {}
        return name

    def spend(self, value: Array) -> Array:
        """``value``, counted against the memory that constants may take: what is repeated along
        an axis lies there once."""
        self._folded += value.itemsize * math.prod(
            size for size, step in zip(value.shape, value.strides, strict=True) if step
        )
        if self._folded > MAX_FOLDED:
            raise ModelError(
                "the constants of the model grow too large when they are folded",
                expected=f"at most {MAX_FOLDED} bytes",
            )
        return value

    def finish(
        self,
        name: str,
        inputs: dict[str, str],
        outputs: dict[str, Activation],
        notes: tuple[str, ...] = (),
    ) -> Graph:
        """The graph with the input and output ports that are given by their names in the file.

        Raises:
            ModelError: a weight holds NaN or infinite values.
        """
        final = self._final = {internal: name for name, internal in inputs.items()}
        for port, y in list(outputs.items()):
            if final.get(y.id, port) != port:
                same = Transpose(tuple(range(len(y.shape))))
                outputs[port] = y = self.emit(same, (y.id,), f"{port}_identity", port)
            final[y.id] = port
        nodes = self._live({y.id for y in outputs.values()})
        self._name(final, nodes)
        weights = without_infinities(nodes, self._weights, {y.id for y in outputs.values()})
        labels = Names()
        return Graph(
            name,
            tuple(Port.of(port, self._shapes[i]) for port, i in inputs.items()),
            tuple(Port.of(port, y.shape) for port, y in outputs.items()),
            tuple(
                Node(
                    labels.new(node.name),
                    node.op,
                    tuple(final[value] for value in node.inputs),
                    final[node.output],
                )
                for node in nodes
            ),
            {final[i]: value for i, value in weights.items() if i in final},
            {final[i]: grid for i, grid in self._grids.items() if i in final},
            notes,
        )

    def found(self) -> dict[str, Activation]:
        """By its name in the file, each value that :meth:`finish` gave a name in the graph."""
        return {
            name: replace(value, id=self._final[value.id], linear=None)
            for name, known in self.values.items()
            if (value := _in_float(known)) and value.id in self._final
        }

    def _live(self, wanted: set[str]) -> list[Node[Op]]:
        """The nodes that the wanted values depend on, in order."""
        nodes = []
        for node in reversed(self._nodes):
            if node.output in wanted:
                nodes.append(node)
                wanted.update(node.inputs)
        return nodes[::-1]

    def _name(self, final: dict[str, str], nodes: list[Node[Op]]) -> None:
        """Complete ``final``, from internal names to unique ones: the file's where they can be."""
        names = Names(self.file_names | set(final.values()))
        claimed = set(final.values())
        for value in (value for node in nodes for value in (*node.inputs, node.output)):
            if value in final:
                continue
            wish, made_up = self._wishes[value]
            free = not made_up and wish in self.file_names and wish not in claimed
            final[value] = wish if free else names.new(wish)
            claimed.add(final[value])
