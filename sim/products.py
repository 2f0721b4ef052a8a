"""Dense layers and convolutions in one step with what stands before and behind them.

Where nobody asks for the values between:

- A Cast behind becomes a floor: the weights are divided by the power of two that it drops, which
  costs a float nothing, and its half is part of the bias.
- Zeros that are spread between the values before a convolution are left out again: it becomes the
  transposed convolution that it stands for.

Convolutions whose kernels are three high take fewer multiplications (:mod:`.winograd`).
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
from .winograd import Winograd, bound, factors, suits


@dataclass(frozen=True)
class Product:
    """A dense layer or convolution, with one of its neighbours or both.

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
        """The narrowest float type in which it is exact, for any order of additions."""
        bounds = self.graph.bounds
        largest = max(bounds[name].partial for name in self.node.inputs[1:])
        sums = max(bounds[self.node.output].partial + self._half, largest) // self._unit
        return holding(max(sums, bounds[self.x].partial, bounds[self.last.output].partial))

    @property
    def takes(self) -> FloatType:
        """The type of its operand."""
        return holding(self.graph.bounds[self.x].partial) if self.fast else self.kind

    @property
    def fast(self) -> bool:
        """Whether it gains by Winograd's algorithm, in no wider float type."""
        weight, bounds = self._constants[0], self.graph.bounds
        if self.spread or not isinstance(self.node.op, Conv) or not suits(self.node.op, weight):
            return False
        added = self._half + sum(bounds[name].partial for name in self.node.inputs[2:])
        twice = bound(weight, bounds[self.x]) + 2 * added
        return twice // self._unit <= 1 << mantissa(self.kind)

    @property
    def _constants(self) -> list[Array]:
        return [self.graph.constants[name] for name in self.node.inputs[1:]]

    @property
    def _half(self) -> int:
        """What the Cast adds before it drops bits."""
        shift = self.cast.op.shift if self.cast else 0
        return 1 << shift - 1 if shift else 0

    @property
    def _unit(self) -> int:
        """The power of two that weights, bias and half share, and thus all sums."""
        numbers = [v.ravel() for v in self._constants]
        unit = int(np.gcd.reduce(np.concatenate([*numbers, [self._half]]).astype(np.int64)))
        return max(unit & -unit, 1)

    def function(self) -> Callable[[Array], Array]:
        """What computes it, in its float type."""
        op, (weight, *bias) = self.node.op, self._constants
        if self.spread is not None:
            op = transposed(op, self.spread.op, self.graph.shapes[self.x])
            weight = np.flip(weight, tuple(range(len(op.window.kernel))))
        if self.cast is not None:
            scale = 2.0**-self.cast.op.shift
            half = np.full(weight.shape[-1], 0.5)
            weight, bias = weight * scale, [half + bias[0] * scale if bias else half]
        weight, *bias = (np.ascontiguousarray(v, self.kind) for v in (weight, *bias))
        if self.fast:
            added = bias[0] if bias else np.zeros(weight.shape[-1], self.kind)
            result = holding(self.graph.bounds[self.last.output].partial)
            return Winograd(op.window, factors(weight) / 2, added, self._finish, result)
        return lambda x: self._finish(np.asarray(op.forward(x, weight, *bias)))

    def _finish(self, y: Array) -> Array:
        """What is left of the Cast, in place."""
        if self.cast is None:
            return y
        np.floor(y, out=y)
        return fit(y, self.cast.op.format, self.cast.op.overflow)


def find_products(graph: FixedGraph, wanted: Collection[str]) -> list[Product]:
    """The layers that take along a neighbour, or gain by Winograd's algorithm."""
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
        product = Product(graph, node, spread, cast)
        if spread or cast or product.fast:
            found.append(product)
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
