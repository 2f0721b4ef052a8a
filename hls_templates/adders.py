"""Sums of values times constants, as graphs of adders.

A constant is a sum of signed powers of two, as few as there can be (its canonical signed digits),
and a product with a power of two is wiring: what is left are additions and subtractions of shifted
values.  A pair of terms that occurs several times, with the same distance of their shifts and the
same signs up to all of them, is computed once: the most frequent pair first, for as long as there
is one, and never if that made the longest path longer (Hartley 1996; the distance of shifts and the
bound on the path are those of adder graphs for constant matrices such as Aksoy, Flores and
Monteiro describe).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..frontend.ops import Array

MOST_PAIRS = 400_000
"""Pairs of terms that a search for common ones looks at; more are searched block by block."""


class Adder(NamedTuple):
    """``(left << left_shift) + (right << right_shift)``, or the difference if ``negative``."""

    left: int
    left_shift: int
    right: int
    right_shift: int
    negative: bool


class Output(NamedTuple):
    """A sum: ``node << shift``."""

    node: int
    shift: int


@dataclass(frozen=True)
class AdderGraph:
    """``x · weights + bias`` for one matrix of integers.

    Nodes are numbered: first the inputs, then the constants, then the adders in an order in which
    they can be computed.

    Attributes:
        inputs: how many.
        constants: the numbers that are added.
        adders: the operations.
        outputs: where the sums stand.
        bounds: smallest and largest value of each node.
        levels: adders on the longest path to each node.
    """

    inputs: int
    constants: tuple[int, ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Output, ...]
    bounds: tuple[tuple[int, int], ...]
    levels: tuple[int, ...]

    @property
    def first_adder(self) -> int:
        return self.inputs + len(self.constants)

    def forward(self, x: Array) -> Array:
        """The sums of raw integers, ``(batch, inputs)`` to ``(batch, outputs)``."""
        rows = [*x.astype(np.int64).T, *(np.full(len(x), c) for c in self.constants)]
        for a in self.adders:
            right = rows[a.right] << a.right_shift
            rows.append((rows[a.left] << a.left_shift) + (-right if a.negative else right))
        return np.stack([rows[node] << shift for node, shift in self.outputs], axis=1)


@dataclass(frozen=True, eq=False)
class ConstantMatrix:
    """``x · weights + bias``, of which the adders are found when they are asked for.

    Attributes:
        weights: ``(inputs, outputs)``, integers.
        bias: ``(outputs,)``, integers.
        low, high: bounds of all inputs.
    """

    weights: Array
    bias: Array
    low: int
    high: int

    @cached_property
    def graph(self) -> AdderGraph:
        return adder_graph(self.weights, self.bias, self.low, self.high)

    @cached_property
    def terms(self) -> Array:
        """How many terms each output sums, its bias included."""
        counts = np.asarray(self.bias != 0).astype(np.int64)
        for _, digit in digits(self.weights):
            counts += np.count_nonzero(digit, axis=0)
        return counts

    @property
    def levels(self) -> int:
        """Adders on the longest path."""
        return max(int(self.terms.max()) - 1, 0).bit_length()


def digits(weights: Array) -> Iterator[tuple[int, Array]]:
    """Canonical signed digits: for each shift an array of -1, 0 and 1.

    Args:
        weights: integers of fewer than 62 bits.
    """
    rest, shift = weights.astype(np.int64), 0
    while rest.any():
        digit = np.where(rest & 1, 2 - (rest & 3), 0)
        yield shift, digit
        rest = (rest - digit) >> 1
        shift += 1


def count_terms(weights: Array) -> int:
    """Signed digits of all weights together: the terms of their sums."""
    return sum(int(np.count_nonzero(digit)) for _, digit in digits(weights))


class Term(NamedTuple):
    """A node times ``sign · 2^shift``."""

    shift: int
    node: int
    sign: int


def adder_graph(weights: Array, bias: Array, low: int, high: int) -> AdderGraph:
    """The adders of ``x · weights + bias``.

    Args:
        weights: ``(inputs, outputs)``, integers.
        bias: ``(outputs,)``, integers.
        low, high: bounds of all inputs.
    """
    builder = _Builder(weights, bias, low, high)
    builder.share()
    return builder.finish()


class _Builder:
    """Terms of each output, and the adders so far.

    A row is what an output sums of one block of inputs; pairs are looked for within rows.
    """

    def __init__(self, weights: Array, bias: Array, low: int, high: int) -> None:
        self.inputs, self.count = weights.shape
        self.constants = tuple(dict.fromkeys([*(int(b) for b in bias), 0]))
        self.places: dict[int, int] = {
            value: self.inputs + i for i, value in enumerate(self.constants)
        }
        self.bias = [int(b) for b in bias]
        self.low, self.high = low, high
        first = self.inputs + len(self.constants)
        self.adders: list[Adder] = []
        self.made: dict[Adder, int] = {}
        self.levels = [0] * first
        self.parts: list[dict[int, int]] = [{i: 1} for i in range(self.inputs)]
        self.parts += [{} for _ in self.constants]
        self.offsets = [0] * self.inputs + list(self.constants)
        self.rows = self._rows(weights)
        self.room = self._room()

    def _rows(self, weights: Array) -> list[list[set[Term]]]:
        """For each block the terms of each output."""
        found = [
            (shift, int(i), int(o), int(digit[i, o]))
            for shift, digit in digits(weights)
            for i, o in np.argwhere(digit)
        ]
        lengths = np.bincount([o for _, _, o, _ in found], minlength=self.count)
        blocks = max(1, -(-int((lengths**2).sum() // 2) // MOST_PAIRS))
        size = -(-self.inputs // min(blocks, self.inputs))
        rows: list[list[set[Term]]] = [
            [set() for _ in range(self.count)] for _ in range(-(-self.inputs // size))
        ]
        for shift, i, o, sign in found:
            rows[i // size][o].add(Term(shift, i, sign))
        return rows

    def _room(self) -> list[int]:
        """For each output how much longer its paths may still get: a term at level n takes 2^n
        places of a full tree as high as the highest must be."""
        taken = [
            sum(len(block[o]) for block in self.rows) + (self.bias[o] != 0)
            for o in range(self.count)
        ]
        places: int = 1 << (max(taken, default=1) - 1).bit_length() if max(taken) else 1
        return [places - n for n in taken]

    def share(self) -> None:
        """Compute pairs once that occur several times."""
        for block in self.rows:
            _Sharing(self, block).run()

    def add(self, adder: Adder) -> int:
        """The node of an adder; one that is there already is used again."""
        if adder in self.made:
            return self.made[adder]
        left, left_shift, right, right_shift, negative = adder
        sign = -1 if negative else 1
        parts = {i: w << left_shift for i, w in self.parts[left].items()}
        for i, w in self.parts[right].items():
            parts[i] = parts.get(i, 0) + (w << right_shift) * sign
        offset = (self.offsets[left] << left_shift) + (self.offsets[right] << right_shift) * sign
        self.made[adder] = len(self.levels)
        self.adders.append(adder)
        self.parts.append(parts)
        self.offsets.append(offset)
        self.levels.append(max(self.levels[left], self.levels[right]) + 1)
        return self.made[adder]

    def join(self, a: Term, b: Term) -> Term:
        """The sum of two terms, as a term."""
        if a.sign < b.sign:
            a, b = b, a
        shift = min(a.shift, b.shift)
        adder = Adder(a.node, a.shift - shift, b.node, b.shift - shift, a.sign != b.sign)
        return Term(shift, self.add(adder), a.sign)

    def finish(self) -> AdderGraph:
        """What is left of each output, as a tree that joins the lowest terms first."""
        outputs = []
        for o in range(self.count):
            terms = [term for block in self.rows for term in block[o]]
            if self.bias[o] or not terms:
                terms.append(Term(0, self.places[self.bias[o]], 1))
            outputs.append(self._tree(terms))
        return AdderGraph(
            self.inputs,
            self.constants,
            tuple(self.adders),
            tuple(outputs),
            tuple(self._bounds()),
            tuple(self.levels),
        )

    def _tree(self, terms: Iterable[Term]) -> Output:
        heap = [(self.levels[term.node], term) for term in terms]
        heapq.heapify(heap)
        while len(heap) > 1:
            (_, a), (_, b) = heapq.heappop(heap), heapq.heappop(heap)
            joined = self.join(a, b)
            heapq.heappush(heap, (self.levels[joined.node], joined))
        ((_, term),) = heap
        if term.sign < 0:
            return Output(self.add(Adder(self.places[0], 0, term.node, term.shift, True)), 0)
        return Output(term.node, term.shift)

    def _bounds(self) -> Iterator[tuple[int, int]]:
        for parts, offset in zip(self.parts, self.offsets, strict=True):
            up = sum(w for w in parts.values() if w > 0)
            down = sum(w for w in parts.values() if w < 0)
            yield (
                up * self.low + down * self.high + offset,
                up * self.high + down * self.low + offset,
            )


class _Sharing:
    """The search for common pairs in the terms of one block of inputs."""

    def __init__(self, builder: _Builder, rows: Sequence[set[Term]]) -> None:
        self.builder = builder
        self.rows = rows
        self.holders: dict[int, set[int]] = {}
        self.counts: dict[tuple[int, int, int, int], int] = {}
        for o, terms in enumerate(rows):
            ordered = sorted(terms)
            for i, a in enumerate(ordered):
                self.holders.setdefault(a.node, set()).add(o)
                for b in ordered[i + 1 :]:
                    key = (a.node, b.node, b.shift - a.shift, a.sign * b.sign)
                    self.counts[key] = self.counts.get(key, 0) + 1
        self.heap = [(-count, key) for key, count in self.counts.items() if count > 1]
        heapq.heapify(self.heap)

    def run(self) -> None:
        while self.heap:
            count, key = heapq.heappop(self.heap)
            now = self.counts.get(key, 0)
            if now != -count:
                if now > 1:
                    heapq.heappush(self.heap, (-now, key))
                continue
            found = self._occurrences(key)
            if len(found) > 1:
                self._replace(key, found)

    def _cost(self, key: tuple[int, int, int, int]) -> int:
        """Places of the tree that joining the two costs: none if both are at one level."""
        a, b = (self.builder.levels[node] for node in key[:2])
        return int(2 ** (max(a, b) + 1) - 2**a - 2**b)

    def _occurrences(self, key: tuple[int, int, int, int]) -> list[tuple[int, Term, Term]]:
        """Where the pair stands, no term twice, and where there is room for it."""
        first, second, distance, sign = key
        cost = self._cost(key)
        found = []
        for o in sorted(self.holders[first] & self.holders[second]):
            terms, used, room = self.rows[o], set[Term](), self.builder.room[o]
            for a in sorted(term for term in terms if term.node == first):
                b = Term(a.shift + distance, second, a.sign * sign)
                if b in terms and not used & {a, b} and room >= cost:
                    used |= {a, b}
                    room -= cost
                    found.append((o, a, b))
        return found

    def _replace(
        self, key: tuple[int, int, int, int], found: Sequence[tuple[int, Term, Term]]
    ) -> None:
        cost = self._cost(key)
        for o, a, b in found:
            terms = self.rows[o]
            terms -= {a, b}
            joined = self.builder.join(a, b)
            self._count(key, -1)
            for other in terms:
                self._count(_pair(a, other), -1)
                self._count(_pair(b, other), -1)
                self._count(_pair(joined, other), 1)
            terms.add(joined)
            self.holders.setdefault(joined.node, set()).add(o)
            self.builder.room[o] -= cost

    def _count(self, key: tuple[int, int, int, int], step: int) -> None:
        count = self.counts.get(key, 0) + step
        self.counts[key] = count
        if step > 0 and count > 1:
            heapq.heappush(self.heap, (-count, key))


def _pair(a: Term, b: Term) -> tuple[int, int, int, int]:
    """What two terms have in common with others: nodes, distance of shifts, product of signs."""
    if b < a:
        a, b = b, a
    return a.node, b.node, b.shift - a.shift, a.sign * b.sign
