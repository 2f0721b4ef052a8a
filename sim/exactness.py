"""Which float type is exact for a node: proved from bounds, never measured or assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Array
from ..quantize.cast import LARGEST_SHIFT, Cast
from ..quantize.fixed import FixedGraph

FloatType = np.dtype[np.float32] | np.dtype[np.float64]

SINGLE: FloatType = np.dtype(np.float32)
DOUBLE: FloatType = np.dtype(np.float64)


def mantissa(kind: FloatType) -> int:
    """Up to two to this power the type holds every integer."""
    return 24 if kind == SINGLE else 53


def holding(bound: int) -> FloatType:
    """The narrowest type that holds all integers up to ``bound``, of 53 bits, in magnitude."""
    return SINGLE if bound <= 1 << mantissa(SINGLE) else DOUBLE


def widest(kinds: Iterable[FloatType]) -> FloatType:
    """The type that holds all that any of these types holds."""
    return DOUBLE if DOUBLE in set(kinds) else SINGLE


def float_type(graph: FixedGraph, node: Node[Any]) -> FloatType:
    """The narrowest float type in which the node is exact."""
    if isinstance(node.op, Cast) and abs(node.op.shift) > LARGEST_SHIFT:
        return DOUBLE
    return holding(max(graph.bounds[name].partial for name in (*node.inputs, node.output)))


def function_of(graph: FixedGraph, node: Node[Any], kind: FloatType) -> Callable[..., Array]:
    """What computes the node in a type that is exact for it."""
    if isinstance(node.op, Cast):
        bound = graph.bounds[node.inputs[0]].partial
        if node.op.is_quick(bound, mantissa(kind)):
            return node.op.quick
    compute: Callable[..., Array] = node.op.forward
    return compute
