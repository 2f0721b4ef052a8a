"""What the importer makes of an ONNX model while it walks over its nodes.

The graph is built literally: an activation has the axes that ONNX gives it, without the batch, and
an op that wants them otherwise stands between two Transposes.  Names are given at the end, so that
a value that is dropped takes none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from .errors import ModelError, ShapeError, clip
from .graph import MAX_ELEMENTS, Graph, Node, Port
from .names import Names
from .onnx_layout import inverse
from .ops import Array, Conv, Dense, Op, Shape, Transpose

MAX_FOLDED = 2**32
"""Most bytes that constants made out of the model's own may take together."""


class RefusedError(Exception):
    """One node cannot be expressed, for the reason given; collected, never seen by the user."""


@dataclass(frozen=True)
class Linear:
    """The Dense or Conv that a value comes from, so that a bias can still join it.

    Attributes:
        op, x, weight, bias: the layer, its data and its weights.
        axis: where the value's channels are, without the batch.
        back: the Transpose behind a Conv.
        name, bias_name: what the layer and its bias are called.
    """

    op: Dense | Conv
    x: str
    weight: str
    bias: Array | None
    axis: int
    back: Shape | None
    name: str
    bias_name: str = ""


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input: its internal name, and its shape without the batch."""

    id: str
    shape: Shape
    linear: Linear | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is known: its name in the file, and how to read it."""

    name: str
    read: Callable[[], Array]
    _cache: list[Array] = field(default_factory=list)

    @property
    def array(self) -> Array:
        """The values, read when first asked for."""
        if not self._cache:
            self._cache.append(self.read())
        return self._cache[0]


@dataclass(frozen=True)
class Unknown:
    """A value that could not be worked out, because a node before it could not."""


Value = Activation | Constant | Unknown


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
        self._made: dict[tuple[Constant, str], str] = {}
        self._wishes: dict[str, tuple[str, bool]] = {}
        self._folded = 0

    def new(self, wish: str, shape: Shape, made_up: bool = False) -> str:
        """An internal name for a value that is called ``wish`` in the file, or only by us."""
        name = f"%{len(self._wishes)}"
        self._wishes[name] = (wish, made_up)
        self._shapes[name] = shape
        return name

    def emit(
        self, op: Op, inputs: tuple[str, ...], name: str, wish: str, made_up: bool = False
    ) -> Activation:
        """Add a node on values with these internal names.

        Raises:
            ShapeError: the op does not take them.
        """
        shape = op.infer(*(self._shapes[value] for value in inputs))
        if math.prod(shape) > MAX_ELEMENTS:
            raise ShapeError(
                "the result is too large",
                found=shape,
                expected=f"at most {MAX_ELEMENTS} elements a sample",
            )
        output = self.new(wish, shape, made_up)
        self._nodes.append(Node(name, op, inputs, output))
        return Activation(output, shape)

    def turned(self, x: Activation, axes: Shape, name: str, wish: str) -> Activation:
        """``x`` with its axes reordered, by a node of our own."""
        if axes == tuple(range(len(x.shape))):
            return x
        return self.emit(Transpose(axes), (x.id,), name, wish, made_up=True)

    def between(self, op: Op, axes: Shape, x: Activation, name: str, wish: str) -> Activation:
        """``op`` on ``x`` with its axes reordered, and the result's axes put back."""
        turned = self.turned(x, axes, f"{name}_in", f"{wish}_in")
        y = self.emit(op, (turned.id,), name, wish)
        return self.turned(y, inverse(axes), f"{name}_out", f"{wish}_out")

    def linear(
        self, layer: Linear, wish: str, bias: Array | None = None, bias_name: str = ""
    ) -> Activation:
        """Add a Dense or Conv, with ``bias`` on top of the one it has.

        A bias that comes later adds the layer once more; the one without it then falls away,
        unless something else reads it.
        """
        inputs = [layer.x, layer.weight]
        if bias is not None and layer.bias is not None:
            with np.errstate(all="ignore"):
                bias = layer.bias.astype(np.float64) + bias
        total = layer.bias if bias is None else bias
        if total is not None:
            inputs.append(self.add_weight(bias_name or layer.bias_name, total))
        y = self.emit(layer.op, tuple(inputs), layer.name, wish)
        if layer.back is not None:
            y = self.turned(y, layer.back, f"{layer.name}_out", f"{wish}_out")
        known = replace(layer, bias=total, bias_name=bias_name or layer.bias_name)
        return replace(y, linear=known)

    def weight(self, source: Constant, how: str, make: Callable[[Array], Array]) -> str:
        """The internal name of ``make(source)``, made once for each ``how``."""
        key = (source, how)
        if key not in self._made:
            with np.errstate(all="ignore"):
                self._made[key] = self.add_weight(source.name, make(source.array))
        return self._made[key]

    def add_weight(self, wish: str, value: Array) -> str:
        """The internal name of a new weight."""
        if value.size == 0:
            raise ModelError(f"weight '{clip(wish)}' is empty", found=value.shape)
        self.spend(value)
        name = self.new(wish, value.shape)
        with np.errstate(all="ignore"):
            self._weights[name] = np.array(value, np.float32, order="C")
        self._weights[name].flags.writeable = False
        return name

    def spend(self, value: Array) -> Array:
        """``value``, counted against the memory that constants may take."""
        self._folded += value.nbytes
        if self._folded > MAX_FOLDED:
            raise ModelError(
                "the constants of the model grow too large when they are folded",
                expected=f"at most {MAX_FOLDED} bytes",
            )
        return value

    def finish(self, name: str, inputs: dict[str, str], outputs: dict[str, Activation]) -> Graph:
        """The graph with the input and output ports that are given by their names in the file.

        Raises:
            ModelError: a weight holds NaN or infinite values.
        """
        final = {internal: name for name, internal in inputs.items()}
        for port, y in list(outputs.items()):
            if y.id in final:
                same = Transpose(tuple(range(len(y.shape))))
                outputs[port] = y = self.emit(same, (y.id,), f"{port}_identity", port)
            final[y.id] = port
        nodes = self._live({y.id for y in outputs.values()})
        self._name(final, nodes)
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
            {final[i]: value for i, value in self._weights.items() if i in final},
        )

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
