"""The nodes of an ONNX file as patterns look at them: who makes a value, and who reads it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

from ...errors import LutraError
from ..tensor import read_tensor

MOST_NUMBERS = 8
"""Most elements of the constants that patterns look into: numbers, and lists of axes."""

_FLOATS: dict[int, np.dtype[np.floating[Any]]] = {
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
}

Numbers = tuple[float, ...]


class Nodes:
    """The nodes of a graph, by what they define and read, past those that change no value.

    Attributes:
        nodes: the graph's.
        sound: whether every value is defined once, and before it is read; there is no pattern in
            a graph where that is not so.
        opset: the version of ONNX's own operator set.
    """

    def __init__(self, model: ModelProto, opset: int, folder: Path | None) -> None:
        graph = model.graph
        self.nodes = graph.node
        self.sound = True
        self.opset = opset
        self._folder = folder
        self._functions = {f.name for f in model.functions if f.domain in ("", "ai.onnx")}
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {port.name: port.type.tensor_type.elem_type for port in graph.input}
        self._types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        self._constants = set(self._tensors)
        self._makers: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        self._aliasing: dict[str, list[int]] = {}
        self._readers: dict[str, set[int]] = {}
        self._known = {*self._types, ""}
        self._numbers: dict[str, Numbers | None] = {}
        self._ranks: dict[str, int] = {}
        for i, node in enumerate(self.nodes):
            self._enter(i, node)
        ports = [port.name for port in graph.output]
        within = [name for node in graph.node for name in _read_within(node)]
        self._kept = {self.source(name) for name in (*ports, *within)}

    def _enter(self, index: int, node: NodeProto) -> None:
        inputs, outputs = ([name for name in names if name] for names in (node.input, node.output))
        self.sound &= self._known.issuperset(inputs) and self._known.isdisjoint(outputs)
        self.sound &= len(set(outputs)) == len(outputs)
        self._known.update(outputs)
        self._makers.update(dict.fromkeys(outputs, index))
        if node.op_type == "Constant" or (inputs and self._constants.issuperset(inputs)):
            self._constants.update(outputs)
        if self._plain(node):
            self._types[outputs[0]] = self._type(node)
            if self._changes_nothing(node):
                source = self._aliases[outputs[0]] = self.source(node.input[0])
                self._aliasing.setdefault(source, []).append(index)
                return
        for name in inputs:
            self._readers.setdefault(self.source(name), set()).add(index)

    def _type(self, node: NodeProto) -> int:
        """The element type of a node's first output; 0 where it is not known."""
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Cast" and "to" in attributes:
            return int(attributes["to"].i)
        if node.op_type == "Constant" and "value" in attributes:
            return int(attributes["value"].t.data_type)
        same = _same_type(node.op_type, self.opset)
        return self._types.get(node.input[same], 0) if same < len(node.input) else 0

    def _changes_nothing(self, node: NodeProto) -> bool:
        """Whether the node gives its input as it is: a cast may do so to a wider float."""
        if node.op_type not in ("Identity", "Cast") or len(node.input) != 1:
            return False
        before, after = (
            _FLOATS.get(self._types.get(n, 0)) for n in (node.input[0], node.output[0])
        )
        if node.op_type == "Identity":
            return True
        return before is not None and after is not None and before.itemsize <= after.itemsize

    def _plain(self, node: NodeProto) -> bool:
        """Whether the node is of ONNX's own, with one result."""
        own = node.domain in ("", "ai.onnx") and node.op_type not in self._functions
        return own and len(node.output) == 1 and bool(node.output[0])

    def source(self, name: str) -> str:
        """The value that ``name`` is another name of."""
        return self._aliases.get(name, name)

    def result(self, index: int) -> str | None:
        """What a node of ONNX's own gives, and nothing else; None if it only names it anew."""
        node = self.nodes[index]
        if not self._plain(node) or node.output[0] in self._aliases:
            return None
        return str(node.output[0])

    def index(self, name: str) -> int | None:
        """The index of the node that gives the value."""
        return self._makers.get(self.source(name))

    def maker(self, name: str) -> NodeProto | None:
        """The node of ONNX's own that gives the value, and nothing else."""
        index = self.index(name)
        return self.nodes[index] if index is not None and self._plain(self.nodes[index]) else None

    def removable(self, found: Collection[int], root: int) -> set[int] | None:
        """Those of the nodes ``found`` that nobody else needs, if they are all but cheap ones.

        ``root`` is among them: its result stays, and all the others need it no more.
        """
        left = set(found)
        while True:
            needed = {index for index in left if index != root and self._needed(index, left)}
            if not needed:
                break
            left -= needed
        return left if all(self._cheap(self.nodes[index]) for index in set(found) - left) else None

    def _needed(self, index: int, found: Set[int]) -> bool:
        value = self.nodes[index].output[0]
        return value in self._kept or not self._readers[value] <= found

    def _cheap(self, node: NodeProto) -> bool:
        """Whether a node only scales or shifts by a number; exporters share such nodes."""
        if node.op_type == "Neg":
            return True
        numbers = [name for name in node.input if self.number(name) is not None]
        return node.op_type in ("Add", "Sub", "Mul", "Div") and len(numbers) == 1

    def aliases(self, found: Collection[int], root: int) -> list[int]:
        """The nodes that give what those ``found`` but ``root`` do under other names."""
        values = (self.nodes[index].output[0] for index in found if index != root)
        return [index for value in values for index in self._aliasing.get(value, ())]

    def constant(self, name: str) -> bool:
        """Whether the value depends on no input."""
        return name in self._constants

    def numbers(self, name: str) -> Numbers | None:
        """The elements of a constant that stands there as a number or a short list."""
        name = self.source(name)
        if name not in self._numbers:
            self._numbers[name] = self._read(name)
        return self._numbers[name]

    def number(self, name: str) -> float | None:
        """A constant that is one number, whatever its axes of size 1."""
        found = self.numbers(name)
        return found[0] if found is not None and len(found) == 1 else None

    def rank(self, found: Collection[int]) -> int:
        """The most axes that a number among what the nodes read has."""
        names = (self.source(name) for index in found for name in self.nodes[index].input)
        return max((self._ranks.get(name, 0) for name in names), default=0)

    def _read(self, name: str) -> Numbers | None:
        if name not in self._constants:
            return None
        if name in self._tensors:
            return self._elements(name, self._tensors[name])
        node = self.maker(name)
        if node is None or len(node.attribute) != 1:
            return None
        attribute = node.attribute[0]
        if node.op_type == "Cast" and len(node.input) == 1 and attribute.i in _FLOATS:
            before = self.maker(node.input[0])
            if before is not None and before.op_type == "Cast":
                return None
            found = self.numbers(node.input[0])
            with np.errstate(over="ignore"):
                return found and tuple(float(_FLOATS[attribute.i].type(x)) for x in found)
        if node.op_type != "Constant":
            return None
        match attribute.name, attribute.type:
            case "value", AttributeProto.TENSOR:
                return self._elements(name, attribute.t)
            case "value_float", AttributeProto.FLOAT:
                return (attribute.f,)
            case "value_int", AttributeProto.INT:
                return (float(attribute.i),)
            case "value_floats", AttributeProto.FLOATS:
                return _short(attribute.floats)
            case "value_ints", AttributeProto.INTS:
                return _short(attribute.ints)
            case _:
                return None

    def _elements(self, name: str, tensor: TensorProto) -> Numbers | None:
        size = math.prod(tensor.dims)
        if not 1 <= size <= (MOST_NUMBERS if len(tensor.dims) == 1 else 1):
            return None
        self._ranks[name] = len(tensor.dims)
        try:
            return tuple(float(x) for x in read_tensor(tensor, self._folder).reshape(-1))
        except LutraError:
            return None  # whoever translates it says what is wrong


def _short(values: Sequence[float]) -> Numbers | None:
    return tuple(map(float, values)) if len(values) <= MOST_NUMBERS else None


def _read_within(node: NodeProto) -> Iterator[str]:
    """What graphs within a node may read from outside of it."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from (port.name for port in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from _read_within(inner)


@lru_cache(maxsize=1024)
def _same_type(op: str, opset: int) -> int:
    """Which input of an op has the type of its first output; a large number if none has."""
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return 0
    types = [port.type_str for port in schema.inputs]
    wanted = schema.outputs[0].type_str if schema.outputs else ""
    return types.index(wanted) if wanted in types else 2**31
