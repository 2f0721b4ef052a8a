"""What the importer makes of an ONNX model while it walks over its nodes.

The graph is built literally: an activation has the axes that ONNX gives it, without the batch, and
an op that wants them otherwise stands between two Transposes.  Names are given at the end, so that
a value that is dropped takes none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..errors import ModelError, clip
from ..graph import Graph, Grid, Node, Port, expect_small
from ..names import Names
from ..ops import (
    Array,
    Concat,
    Flatten,
    Op,
    Reshape,
    Shape,
    Slice,
    Transpose,
)
from .kinds import (
    Activation,
    Coded,
    Codes,
    Constant,
    Lattice,
    Linear,
    Unknown,
    Value,
    expect_foldable,
    in_float,
    is_float,
)
from .layout import inverse
from .masks import without_infinities
from .refused import RefusedError

__all__ = [
    "Activation",
    "Builder",
    "Coded",
    "Codes",
    "Constant",
    "Lattice",
    "Linear",
    "RefusedError",
    "Unknown",
    "Value",
    "expect_foldable",
    "is_float",
]

MAX_FOLDED = 2**30
"""Most bytes that constants made out of the model's own may take together."""


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
            if (value := in_float(known)) and value.id in self._final
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
