"""Grids of a quantised model as fixed-point formats, and how a value is brought onto one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..frontend.graph import Graph, Grid, Node
from ..frontend.ops import Array, Flatten, MaxPool, Op, Quantize, Reshape, Round, Slice, Transpose
from .cast import symmetric_low
from .formats import Format, Overflow, Rounding, Target

Move = Flatten | Reshape | Transpose | Slice | MaxPool
"""Ops that give some of the values that they get: to round them before or after is the same."""

SHORT = 16
"""Bits of a constant up to which it is taken as it is rather than rounded."""

ROUNDINGS = {
    Round.HALF_EVEN: Rounding.RND_CONV,
    Round.HALF_UP: Rounding.RND_INF,
    Round.HALF_DOWN: Rounding.RND_ZERO,
    Round.FLOOR: Rounding.TRN,
    Round.DOWN: Rounding.TRN_ZERO,
}
"""The modes that a Cast has; the other two are made of TRN."""


def fraction_of(values: Array) -> int | None:
    """The fraction bits of the smallest of some positive numbers, if all are powers of two."""
    mantissa, exponent = np.frexp(values)
    return 1 - int(exponent.min()) if (mantissa == 0.5).all() else None


def step_fraction(scale: Array) -> int | None:
    """The fraction bits of a scale that is one power of two for all channels."""
    return fraction_of(scale) if scale.min() == scale.max() else None


def grid_fraction(graph: Graph, name: str) -> int | None:
    """The fraction bits that hold a constant exactly, if its grid has powers of two as scales."""
    grid = graph.grids.get(name)
    return None if grid is None else fraction_of(grid.scale)


def raw_range(grid: Grid, values: Array) -> tuple[int, int]:
    """The smallest and the largest raw value of a constant on a grid of powers of two: those of the
    grid, or of the values where channels have scales of their own."""
    if grid.scale.min() == grid.scale.max():
        return grid.low, grid.high
    raw = grid.integers(values) * (grid.scale / grid.scale.min()).astype(np.int64)
    return int(raw.min()), int(raw.max())


def dyadic_fraction(values: Array) -> int:
    """The fewest fraction bits that hold some floats exactly; 0 if all of them are 0."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64).ravel())
    used = mantissa != 0
    if not used.any():
        return 0
    whole = (mantissa[used] * 2.0**53).astype(np.int64)
    zeros = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return int((53 - exponent[used] - zeros).max())


def short_fraction(values: Array) -> int | None:
    """The fraction bits that hold some floats exactly, if they then have few bits."""
    fraction = dyadic_fraction(values)
    largest = float(np.abs(values).max(initial=0.0))
    return fraction if math.frexp(largest)[1] + fraction <= SHORT else None


def constant_fraction(graph: Graph, name: str) -> int | None:
    """The fraction bits that hold a constant exactly, as its grid says or as few bits do."""
    known = grid_fraction(graph, name)
    return short_fraction(graph.constants[name]) if known is None else known


NEAREST = (Rounding.RND_CONV, Rounding.RND_INF, Rounding.RND_ZERO)
"""The modes that differ in ties alone."""


def moves_ties(op: Quantize, zero: Array) -> bool:
    """Whether adding these zero points before rounding gives another result than after it."""
    match op.rounding:
        case Round.FLOOR | Round.CEIL:
            return False
        case Round.HALF_EVEN:
            return op.shifted and bool((zero % 2).any())
        case _:
            return op.shifted and bool(zero.any())


def cast_target(low: int, high: int, fraction: int, rounding: Rounding) -> Target:
    """A Cast to the narrowest format that has all raw values from ``low`` to ``high``, which
    saturates symmetrically if they are symmetric."""
    format_ = Format.holding(low, high, fraction)
    narrow = low == symmetric_low(format_) != format_.low and high == format_.high
    return Target(format_, rounding, Overflow.SAT_SYM if narrow else Overflow.SAT)


def fills(target: Target, low: int, high: int) -> bool:
    """Whether ``low`` and ``high`` are where a Cast saturates."""
    format_ = target.format
    least = symmetric_low(format_) if target.overflow is Overflow.SAT_SYM else format_.low
    return (low, high) == (least, format_.high)


def first_quantizers(
    graph: Graph, value: str, readers: Mapping[str, list[Node[Op]]]
) -> list[Node[Op]] | None:
    """The Quantize nodes that a value reaches through nothing but moves; None if it goes anywhere
    else, too."""
    found = []
    open_values = [value]
    while open_values:
        name = open_values.pop()
        if not readers[name] or any(port.name == name for port in graph.outputs):
            return None
        for node in readers[name]:
            if isinstance(node.op, Quantize):
                found.append(node)
            elif isinstance(node.op, Move):
                open_values.append(node.output)
            else:
                return None
    return found


def next_target(graph: Graph, value: str, readers: Mapping[str, list[Node[Op]]]) -> Target | None:
    """The Cast of a value that its Quantize finds rounded already; None if that is not all that
    happens to the value next, or takes more than one Cast."""
    nodes = first_quantizers(graph, value, readers)
    targets = {_single_target(graph, node) for node in nodes or ()}
    return targets.pop() if len(targets) == 1 else None


def _single_target(graph: Graph, node: Node[Op]) -> Target | None:
    """The Cast that a Quantize is, perhaps with a Clamp behind it."""
    op = node.op
    assert isinstance(op, Quantize)
    scale, zero = (graph.constants[name] for name in node.inputs[1:])
    fraction = step_fraction(scale)
    first = int(zero[0])
    if fraction is None or op.rounding not in ROUNDINGS or (zero != first).any():
        return None
    if moves_ties(op, zero):
        return None
    return cast_target(op.low - first, op.high - first, fraction, ROUNDINGS[op.rounding])
