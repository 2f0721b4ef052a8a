"""What several passes over the float graph need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from .graph import Graph, Node
from .names import Names
from .onnx.layout import Layout
from .ops import (
    Add,
    Array,
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mul,
    Op,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Softplus,
    Sub,
    Tanh,
)

POINTWISE = (
    Relu | LeakyRelu | Clip | HardSigmoid | HardSwish | Sigmoid | Tanh | Elu | Selu | Gelu | Silu
    | Softplus
)  # fmt: skip
"""Functions of each value of one activation alone."""

ARITHMETIC = Add | Sub | Mul
"""Functions of the values of two operands at the same place, either of which may be constant."""


def readers_of(graph: Graph) -> dict[str, list[Node[Op]]]:
    """The nodes that read each value."""
    readers: dict[str, list[Node[Op]]] = defaultdict(list)
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name].append(node)
    return readers


def renamed_nodes(nodes: Iterable[Node[Op]], renamed: Mapping[str, str]) -> tuple[Node[Op], ...]:
    """The nodes with values under new names."""
    return tuple(
        replace(
            node,
            inputs=tuple(renamed.get(name, name) for name in node.inputs),
            output=renamed.get(node.output, node.output),
        )
        for node in nodes
    )


class Constants:
    """The constants of a graph, with changed ones under their own names where that can be.

    Attributes:
        values: the constants as they are now.
    """

    def __init__(self, graph: Graph, names: Names) -> None:
        self.values: dict[str, Array] = dict(graph.constants)
        self._original = graph.constants
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._names = names

    def change(self, name: str, value: Array) -> str:
        """The name of ``value``, which one reader reads in place of the constant ``name``."""
        if self._uses[name] > 1:
            name = self._names.new(f"{name}_changed")
        return self.add(name, value)

    def add(self, name: str, value: Array) -> str:
        """``name``, under which ``value`` now stands."""
        self.values[name] = np.array(value, np.float32, order="C")
        self.values[name].flags.writeable = False
        return name

    def moved(self, name: str, axes: Layout) -> str:
        """The name of a constant operand of values whose axes are reordered so."""
        value = self._original[name]
        if value.size == 1:
            return name
        full = value.reshape((1,) * (len(axes) - value.ndim) + value.shape).transpose(axes)
        wide = [i for i, size in enumerate(full.shape) if size != 1]
        return self.change(name, full.reshape(full.shape[wide[0] :]))
