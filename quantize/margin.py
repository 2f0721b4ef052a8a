"""How many bits the factors before a rounding need, so that it gives what real numbers give.

A sum of integers times real factors is rounded to a grid.  With factors and addend rounded to
multiples of ``2^-P``, the result is the same for all integers that may occur, if it lies on the
same side of each boundary between two steps of the grid: it grows or falls with each integer, so
that only those need be looked at that are next to a boundary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..frontend.ops import Array
from .formats import MAX_WIDTH
from .grids import dyadic_fraction

MOST_PROBES = 1 << 22
"""Sums that are looked at; where it takes more, equality is not proved."""

MOST_OTHERS = 1 << 16
"""Combinations of all integers but the one with the widest range that are looked at."""

NOISE = 2.0**-50
"""Sums that are closer than this to a boundary, in parts of their terms, lie on it: float64 does
not tell them apart."""


@dataclass(frozen=True)
class Term:
    """An integer from ``low`` to ``high``, times factors in float64: one, or one a channel."""

    factors: Array
    low: int
    high: int

    @property
    def magnitude(self) -> int:
        return max(abs(self.low), abs(self.high))

    @property
    def count(self) -> int:
        return self.high - self.low + 1


@dataclass(frozen=True)
class Choice:
    """The fraction bits to which factors and addend are rounded.

    Attributes:
        fraction: these bits.
        error: how far the sum may be from that of real numbers, if the rounded results are not
            proved to be equal; 0 if they are.
        snap: the fraction bits to which the sum is rounded first, to the nearest, where some real
            sums lie on a boundary: so does then each sum that is very near to one.
    """

    fraction: int
    error: float
    snap: int | None = None


def choose(terms: Sequence[Term], addend: Array, boundaries: Array | None, least: int) -> Choice:
    """The bits that equality needs, or else as many as there is room for.

    Args:
        terms: what is added up.
        addend: float64, one or one a channel.
        boundaries: where the result steps up, ascending, float64; None if there are too many.
        least: fraction bits that hold the boundaries exactly.
    """
    size = reach(terms, addend)
    weight = sum(term.magnitude for term in terms) + 1
    most = max(MAX_WIDTH - 2 - math.frexp(size)[1], least) if size else least
    exact = max(dyadic_fraction(values) for values in (*(t.factors for t in terms), addend))
    probes = None if boundaries is None else _Probes.near(terms, addend, boundaries)
    if probes is None:
        return Choice(exact, 0.0) if exact <= most else Choice(most, weight * 2.0 ** -(most + 1))
    snap = max(least, math.frexp(1 / probes.margin)[1] + 1)
    wanted = max(least, math.frexp(weight / probes.margin)[1] + 1)
    exact = min(max(exact, least), most)
    tried: list[tuple[int, int | None]] = [(min(wanted, exact), None), (exact, None)]
    tried += [(min(wanted, most), snap), (most, snap)]
    for fraction, to in tried:
        if probes.agree(fraction, to):
            return Choice(_fewest(probes, least, fraction, to), 0.0, to)
    return Choice(most, weight * 2.0 ** -(most + 1))


def _fewest(probes: _Probes, low: int, high: int, snap: int | None) -> int:
    """Fewer bits than ``high`` with which the results are the same, which they are with those."""
    while low < high:
        middle = (low + high) // 2
        if probes.agree(middle, snap):
            high = middle
        else:
            low = middle + 1
    return high


def reach(terms: Sequence[Term], addend: Array) -> float:
    """A bound of the magnitude of a sum, and of each factor."""
    size = sum(float(np.abs(term.factors).max()) * max(term.magnitude, 1) for term in terms)
    return size + float(np.abs(addend).max())


@dataclass(frozen=True)
class _Block:
    """Some channels, for some values of all integers but one.

    Attributes:
        factors, addend: float64 of these channels, with two axes of size 1 behind.
        others: the values of the other integers, one row for each of them.
        probes: of the one with the widest range, the values next to each boundary.
        sides: the sign of the true sum minus the boundary.
    """

    factors: list[Array]
    addend: Array
    others: Array
    probes: Array
    sides: Array

    def rounded(self, fraction: int, snap: int | None) -> Array:
        """The sums with rounded factors, themselves rounded if wanted; exact in float64."""
        first, *more = (np.rint(f * 2.0**fraction) for f in self.factors)
        base = np.rint(self.addend * 2.0**fraction)
        for factor, raw in zip(more, self.others, strict=True):
            base = base + factor * raw[:, None]
        total = first * self.probes + base
        if snap is not None and snap < fraction:
            return np.floor(total * 2.0 ** (snap - fraction) + 0.5) * 2.0**-snap
        return np.asarray(total * 2.0**-fraction)


@dataclass(frozen=True)
class _Probes:
    """The sums next to the boundaries, and the least distance of those that lie on none."""

    blocks: list[_Block]
    boundaries: Array
    margin: float

    @staticmethod
    def near(terms: Sequence[Term], addend: Array, boundaries: Array) -> _Probes | None:
        """None if there are too many."""
        first, *more = sorted(terms, key=lambda term: -term.count)
        channels = max(addend.size, *(term.factors.size for term in terms))
        others = math.prod(term.count for term in more)
        if others > MOST_OTHERS or 3 * channels * others * boundaries.size > MOST_PROBES:
            return None
        ranges = [np.arange(term.low, term.high + 1, dtype=np.float64) for term in more]
        grid = np.array(list(itertools.product(*ranges))).reshape(others, len(more)).T
        near = np.repeat(boundaries, 3)
        blocks = []
        margin = math.inf
        for part in _slices(channels, max(1, (MOST_PROBES >> 2) // max(others * near.size, 1))):
            factors = [_column(t.factors, channels, part) for t in (first, *more)]
            shift = _column(addend, channels, part)
            base = shift + sum(f * raw[:, None] for f, raw in zip(factors[1:], grid, strict=True))
            probes = _next_to(factors[0], base, boundaries, first)
            distance = factors[0] * probes + base - near
            noise = NOISE * (np.abs(factors[0]) + np.abs(base) + np.abs(near))
            distance[np.abs(distance) < noise] = 0
            away = np.abs(distance)
            margin = min(margin, float(away.min(initial=math.inf, where=away > 0)))
            sides = np.sign(distance).astype(np.int8)
            blocks.append(_Block(factors, shift, grid, probes, sides))
        return _Probes(blocks, near, margin)

    def agree(self, fraction: int, snap: int | None) -> bool:
        """Whether rounded factors leave every sum on its side of the boundary."""
        return all(
            np.array_equal(np.sign(block.rounded(fraction, snap) - self.boundaries), block.sides)
            for block in self.blocks
        )


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)


def _column(values: Array, channels: int, part: slice) -> Array:
    """The values of some channels, along the first of three axes."""
    return np.broadcast_to(values, (channels,))[part, None, None].astype(np.float64)


def _next_to(factor: Array, base: Array, boundaries: Array, term: Term) -> Array:
    """For each boundary the integer whose sum is nearest to it, and those next to that."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        nearest = np.rint((boundaries - base) / factor)
    nearest = np.nan_to_num(nearest, nan=term.low)
    np.clip(nearest, term.low - 1, term.high + 1, out=nearest)
    probes: Array = np.repeat(nearest, 3, axis=-1) + np.tile([-1.0, 0.0, 1.0], boundaries.size)
    return probes.clip(term.low, term.high)
