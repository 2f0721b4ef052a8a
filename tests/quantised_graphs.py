"""Quantised networks made by hand, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lutra.frontend.graph import Graph, Grid, Node, Port
from lutra.frontend.ops import (
    Add,
    Array,
    Bipolar,
    Conv,
    Dense,
    Op,
    Quantize,
    Round,
    Shape,
    Window,
)


class Quantised:
    """Grows a network; every method that adds a node returns the name of its value, which is also
    the node's.

    Attributes:
        rng: where weights come from.
    """

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        self.nodes: list[Node[Op]] = []
        self.constants: dict[str, Array] = {}
        self.grids: dict[str, Grid] = {}

    def constant(self, name: str, values: float | Sequence[float] | Array) -> str:
        self.constants[name] = np.atleast_1d(np.asarray(values, np.float32))
        return name

    def on_grid(self, name: str, q: Array, scale: float | Sequence[float] | Array) -> str:
        """A constant of integers times a scale, as an importer leaves it."""
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        self.constants[name] = q.astype(np.float32) * scales
        self.grids[name] = Grid(int(q.min()), int(q.max()), scales)
        return name

    def add(self, name: str, op: Op, *inputs: str) -> str:
        self.nodes.append(Node(name, op, inputs, name))
        return name

    def quantize(
        self,
        name: str,
        x: str,
        scale: float | Sequence[float],
        *,
        low: int = -128,
        high: int = 127,
        zero: float | Sequence[float] = 0,
        rounding: Round = Round.HALF_EVEN,
        shifted: bool = False,
    ) -> str:
        inputs = (self.constant(f"{name}.s", scale), self.constant(f"{name}.z", zero))
        return self.add(name, Quantize(low, high, rounding, shifted), x, *inputs)

    def bipolar(self, name: str, x: str, scale: float | Sequence[float]) -> str:
        return self.add(name, Bipolar(), x, self.constant(f"{name}.s", scale))

    def weights(self, name: str, shape: Shape, scale: float | Sequence[float], most: int) -> str:
        return self.on_grid(name, self.rng.integers(-most, most, shape, endpoint=True), scale)

    def dense(
        self,
        name: str,
        x: str,
        shape: Shape,
        scale: float | Sequence[float],
        bias_scale: float | Sequence[float] | None = None,
        most: int = 7,
    ) -> str:
        inputs = [x, self.weights(f"{name}.w", shape, scale, most)]
        if bias_scale is not None:
            inputs.append(self.weights(f"{name}.b", shape[-1:], bias_scale, 100))
        return self.add(name, Dense(), *inputs)

    def conv(
        self,
        name: str,
        x: str,
        shape: Shape,
        scale: float | Sequence[float],
        bias_scale: float | Sequence[float] | None = None,
        groups: int = 1,
    ) -> str:
        """A 3x3 convolution, or whatever the shape says, that keeps the size of the image."""
        inputs = [x, self.weights(f"{name}.w", shape, scale, 7)]
        if bias_scale is not None:
            inputs.append(self.weights(f"{name}.b", shape[-1:], bias_scale, 100))
        pad = tuple((k // 2, k // 2) for k in shape[:-2])
        window = Window(shape[:-2], (1,) * len(pad), pad)
        return self.add(name, Conv(window, groups), *inputs)

    def sum(self, name: str, a: str, b: str) -> str:
        return self.add(name, Add(), a, b)

    def graph(self) -> Graph:
        """The network whose output is the last value."""
        last = self.nodes[-1].output
        port = Port.of("x", self.shape)
        bare = Graph("q", (port,), (), tuple(self.nodes), self.constants)
        out = Port.of(last, bare.shapes[last])
        return Graph("q", (port,), (out,), tuple(self.nodes), self.constants, self.grids)


def in_float64(graph: Graph, x: Array) -> dict[str, Array]:
    """Every value of a network without the roundings of float32, channels last."""
    (port,) = graph.inputs
    values = {name: value.astype(np.float64) for name, value in graph.constants.items()}
    values[port.name] = port.enter(x).astype(np.float64)
    for node in graph.nodes:
        values[node.output] = node.op.forward(*(values[name] for name in node.inputs))
    return values
