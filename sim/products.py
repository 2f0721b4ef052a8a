"""Dense layers and convolutions in one step with what stands before and behind them.

Where nobody asks for the values between:

- A Cast behind becomes a floor: the weights are divided by the power of two that it drops, which
  costs a float nothing, and its half is part of the bias.
- Zeros that are spread between the values before a convolution are left out again: it becomes the
  transposed convolution that it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Array, Conv, ConvTranspose, Dense, Shape, Window
from ..quantize.cast import Cast, fit
from ..quantize.exact_ops import Axis, Rearrange
from ..quantize.fixed import FixedGraph
from .exactness import FloatType, float_type, holding, mantissa


@dataclass(frozen=True)
class Product:
    """A dense layer or convolution that takes along one of its neighbours, or both.

    Attributes:
        graph: where it stands.
        node: the layer.
        spread: what spreads its operand, if it is left out.
        cast: the Cast behind, if it becomes a floor.
    """

    graph: FixedGraph
    node: Node[Any]
    spread: Node[Any] | None
    cast: Node[Any] | None

    @property
    def nodes(self) -> list[Node[Any]]:
        """All that it computes."""
        return [node for node in (self.spread, self.node, self.cast) if node is not None]

    @property
    def x(self) -> str:
        """What it reads."""
        return (self.spread or self.node).inputs[0]

    @property
    def last(self) -> Node[Any]:
        """The node whose result it gives."""
        return self.cast or self.node

    @property
    def kind(self) -> FloatType:
        """The narrowest float type in which it is exact.

        All sums are multiples of the power of two that weights, bias and half share.
        """
        bounds = self.graph.bounds
        shift = self.cast.op.shift if self.cast else 0
        half = 1 << shift - 1 if shift else 0
        constants = [self.graph.constants[name].ravel() for name in self.node.inputs[1:]]
        unit = int(np.gcd.reduce(np.concatenate([*constants, [half]]).astype(np.int64)))
        shared = max(unit & -unit, 1)
        largest = max(bounds[name].partial for name in self.node.inputs[1:])
        sums = max(bounds[self.node.output].partial + half, largest) // shared
        return holding(max(sums, bounds[self.x].partial, bounds[self.last.output].partial))

    def function(self) -> Callable[[Array], Array]:
        """What computes it, in its float type."""
        op, (weight, *bias) = self.node.op, [self.graph.constants[n] for n in self.node.inputs[1:]]
        if self.spread is not None:
            op = transposed(op, self.spread.op, self.graph.shapes[self.x])
            weight = np.flip(weight, tuple(range(len(op.window.kernel))))
        if self.cast is None:
            constants = [np.ascontiguousarray(v, self.kind) for v in (weight, *bias)]
            return lambda x: np.asarray(op.forward(x, *constants))
        cast = self.cast.op
        scale = 2.0**-cast.shift
        half = np.full(weight.shape[-1], 0.5)
        added = half + bias[0] * scale if bias else half
        scaled = np.ascontiguousarray(weight * scale, self.kind)
        constants = [scaled, added.astype(self.kind)]

        def compute(x: Array) -> Array:
            y = op.forward(x, *constants)
            np.floor(y, out=y)
            return fit(y, cast.format, cast.overflow)

        return compute


def find_products(graph: FixedGraph, wanted: Collection[str]) -> list[Product]:
    """The layers that take along a neighbour."""
    read = Counter(name for node in graph.nodes for name in node.inputs)
    hidden = {name for name, count in read.items() if count == 1 and name not in wanted}
    makers = {node.output: node for node in graph.nodes}
    readers = {name: node for node in graph.nodes for name in node.inputs}
    found = []
    for node in graph.nodes:
        if not isinstance(node.op, Dense | Conv):
            continue
        before, behind = makers.get(node.inputs[0]), readers.get(node.output)
        spread = before if node.inputs[0] in hidden and _spreads(graph, before, node) else None
        cast = behind if node.output in hidden and _floors(graph, behind) else None
        if spread or cast:
            found.append(Product(graph, node, spread, cast))
    return found


def _floors(graph: FixedGraph, node: Node[Any] | None) -> bool:
    """Whether the node is a Cast that is a floor of the scaled operand and one half."""
    if node is None or not isinstance(node.op, Cast):
        return False
    kind = float_type(graph, node)
    return node.op.is_quick(graph.bounds[node.inputs[0]].partial, mantissa(kind))


def _spreads(graph: FixedGraph, spread: Node[Any] | None, conv: Node[Any]) -> bool:
    """Whether the first puts zeros between values, for a transposed convolution by the second."""
    if spread is None or not isinstance(spread.op, Rearrange) or not isinstance(conv.op, Conv):
        return False
    *spatial, channels = spread.op.axes
    window, shape = conv.op.window, graph.shapes[spread.inputs[0]]
    plain = not window.padded and max(window.stride) == 1 and spread.op.fill == 0
    return (
        plain
        and channels == Axis(shape[-1], len(spatial))
        and any(axis.sparse for axis in spatial)
        and all(
            axis == Axis(axis.size, i, axis.start, 1, axis.divisor, sparse=axis.divisor > 1)
            and axis.start + reach >= 1
            for i, (axis, reach) in enumerate(zip(spatial, window.reach, strict=True))
        )
    )


def transposed(op: Conv, spread: Rearrange, shape: Shape) -> ConvTranspose:
    """The transposed convolution of values of ``shape`` that equals ``op`` on the spread ones, with
    the kernel turned round."""
    window, pads, extra = op.window, [], []
    for n, axis, reach in zip(shape, spread.axes, window.reach, strict=False):
        before = axis.start + reach - 1
        after = (n - 1) * axis.divisor + reach - before - (axis.size - reach + 1)
        pads.append((before, max(after, 0)))
        extra.append(max(-after, 0))
    stride = tuple(axis.divisor for axis in spread.axes[:-1])
    turned = Window(window.kernel, stride, tuple(pads), window.dilation)
    return ConvTranspose(turned, tuple(extra), op.groups)
