"""What several passes over the float graph need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from .graph import Graph, Grid, Node
from .names import Names
from .onnx.layout import Layout
from .ops import (
    Abs,
    Add,
    Array,
    Bipolar,
    Celu,
    Clip,
    Cos,
    Div,
    Elu,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Maximum,
    Minimum,
    Mish,
    Mul,
    Neg,
    Op,
    Power,
    PRelu,
    Quantize,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Sin,
    Softplus,
    Softsign,
    Sub,
    Tanh,
    ThresholdedRelu,
)

POINTWISE = (
    Relu | LeakyRelu | ThresholdedRelu | Clip | Abs | Neg | HardSigmoid | HardSwish | Sigmoid | Tanh
    | Elu | Selu | Celu | Gelu | Silu | Mish | Softplus | Softsign | Exp | Log | Power | Erf | Sin
    | Cos
)  # fmt: skip
"""Functions of each value of one activation alone."""

ARITHMETIC = Add | Sub | Mul | Div | Maximum | Minimum
"""Functions of the values of two operands at the same place, either of which may be constant."""


def alike(graph: Graph, node: Node[Op]) -> bool:
    """Whether the node works on each value of one activation alone, and alike on all of them."""
    if isinstance(node.op, PRelu | Quantize | Bipolar):
        return all(graph.shapes[name] == (1,) for name in node.inputs[1:])
    return isinstance(node.op, POINTWISE)


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
        grids: the grids of those that lie on one.
    """

    def __init__(self, graph: Graph, names: Names) -> None:
        self.values: dict[str, Array] = dict(graph.constants)
        self.grids: dict[str, Grid] = dict(graph.grids)
        self._original = graph.constants
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._names = names

    def change(self, name: str, value: Array, grid: Grid | None = None) -> str:
        """The name of ``value``, which one reader reads in place of the constant ``name``."""
        if self._uses[name] > 1:
            name = self._names.new(f"{name}_changed")
        return self.add(name, value, grid)

    def add(self, name: str, value: Array, grid: Grid | None = None) -> str:
        """``name``, under which ``value`` now stands, with its grid if it lies on one."""
        self.grids.pop(name, None)
        if grid is not None:
            self.grids[name] = grid
        self.values[name] = np.array(value, np.float32, order="C")
        self.values[name].flags.writeable = False
        return name

    def moved(self, name: str, axes: Layout) -> str:
        """The name of a constant operand of values whose axes are reordered so."""
        value = self._original[name]
        if value.size == 1:
            return name

        def make(array: Array) -> Array:
            full = array.reshape((1,) * (len(axes) - array.ndim) + array.shape).transpose(axes)
            wide = [i for i, size in enumerate(full.shape) if size != 1]
            return full.reshape(full.shape[wide[0] :])

        grid = self.grids.get(name)
        return self.change(name, make(value), grid and grid.mapped(value, make))
