"""Which folds a layer can have: one definition for the planner and for exploration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..frontend.graph import Node
from ..frontend.ops import Concat, Conv, Dense, MatMul, MaxPool, ReduceSum, SumPool
from ..quantize.exact_ops import BelowMax, Rearrange
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Format
from ..quantize.recurrence import Recurrence
from .clusters import find_parts
from .folding import Fold, Folding, FoldingError
from .orders import keeps_last_axis
from .plan import find_sources
from .windows import tap_groups

PACKED_BITS = 8
"""Bits of the widest factors of which two products fit in a DSP slice."""


@dataclass(frozen=True)
class Legal:
    """Any of ``pes`` with any of ``simds``, ascending; none where every number will do.

    Attributes:
        wide: what else ``pe`` can be with the largest of ``simds``, ascending.
    """

    pes: tuple[int, ...]
    simds: tuple[int, ...]
    wide: tuple[int, ...] = ()

    def allows(self, pe: int, simd: int) -> bool:
        """Whether a layer can have this fold."""
        if self.simds and simd not in self.simds:
            return False
        return not self.pes or pe in self.pes or (pe in self.wide and simd == self.simds[-1])

    def pairs(self) -> list[tuple[int, int]]:
        """Every ``(pe, simd)`` that makes a difference."""
        simds = self.simds or (1,)
        narrow = [(pe, simd) for pe in self.pes or (1,) for simd in simds]
        return narrow + [(pe, simds[-1]) for pe in self.wide]


def legal_folds(graph: FixedGraph, node: Node[FixedOp]) -> Legal:
    """The folds that the process with this head can have.

    A convolution of one group may take all channels of several of its kernel's taps.
    Rearrangements and joins take as much of ``pe`` as divides their last axis, so theirs are those
    that divide it; anything else is allowed there as well (see :func:`expect_legal`).
    """
    shape = graph.shapes[node.inputs[0]]
    match node.op:
        case Dense():
            inputs, outputs = graph.shapes[node.inputs[1]]
            units = _units(graph, node)
            return Legal(divisors(units or outputs), () if units else divisors(inputs))
        case Conv(groups=1):
            inputs, outputs = graph.shapes[node.inputs[1]][-2:]
            wider = (inputs * taps for taps in tap_groups(node.op.window))
            return Legal(divisors(outputs), tuple(sorted({*divisors(inputs), *wider})))
        case Conv(groups=groups):
            inputs, outputs = graph.shapes[node.inputs[1]][-2:]
            outputs //= groups
            wide = tuple(n * outputs for n in divisors(groups)[1:])
            return Legal(divisors(outputs), divisors(inputs), wide)
        case MatMul():
            return Legal(divisors(graph.shapes[node.output][-1]), divisors(shape[-1]))
        case Recurrence() as loop:
            each = divisors(shape[-1] // len(loop.parts))
            return Legal(each, each)
        case ReduceSum() | BelowMax():
            return Legal((), ())
        case Rearrange() as op if not keeps_last_axis(op, shape):
            return Legal((), ())
        case Concat():
            return Legal(divisors(math.gcd(*(graph.shapes[x][-1] for x in node.inputs))), ())
        case MaxPool() | SumPool() | _:
            return Legal(divisors(shape[-1]), ()) if shape[-1] > 1 else Legal((), ())


def layer_folds(graph: FixedGraph) -> dict[str, Legal]:
    """For each layer with processes the folds that all of them can have, in the network's order."""
    found: dict[str, Legal] = {}
    yielding: dict[str, Legal] = {}  # of processes that take what they can of pe
    for part in find_parts(graph, find_sources(graph)):
        layer, legal = graph.layers[part.node.name], legal_folds(graph, part.node)
        into = yielding if _yields(part.node) else found
        into[layer] = _both(into.get(layer, Legal((), ())), legal)
    return {
        layer: found[layer] if layer in found else yielding[layer]
        for layer in dict.fromkeys([*yielding, *found])
    }


def _yields(node: Node[FixedOp]) -> bool:
    return isinstance(node.op, Rearrange | Concat | ReduceSum | BelowMax)


def _both(one: Legal, other: Legal) -> Legal:
    """What both allow."""

    def common(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n for n in a if n in b) if a and b else a or b

    wide = one.wide or other.wide
    return Legal(common(one.pes, other.pes), common(one.simds, other.simds), wide)


def expect_legal(graph: FixedGraph, node: Node[FixedOp], fold: Fold) -> None:
    """Raise a FoldingError that lists what would fit, unless the process can have this fold."""
    if _yields(node):
        return
    legal = legal_folds(graph, node)
    layer = graph.layers[node.name]
    if legal.simds and fold.simd not in legal.simds:
        raise _misfit(layer, "simd", fold.simd, legal.simds)
    if legal.wide and not legal.allows(fold.pe, fold.simd):
        raise FoldingError(
            "pe does not fit the groups",
            node=layer,
            found=f"pe {fold.pe}, simd {fold.simd}",
            expected=f"pe one of {_list(legal.pes)}, "
            f"or one of {_list(legal.wide)} with simd {legal.simds[-1]}",
        )
    if legal.pes and not legal.allows(fold.pe, fold.simd):
        raise _misfit(layer, "pe", fold.pe, legal.pes)


def expect_factors(graph: FixedGraph, node: Node[FixedOp], fold: Fold) -> None:
    """Raise a FoldingError unless the products of the process with this head can be packed, if they
    are to be; those of a loop's formats aside."""
    if fold.multiply != "packed":
        return
    layer = graph.layers[node.name]
    if isinstance(node.op, Dense | Conv | MatMul):
        expect_packed(layer, fold, *(graph.formats[name] for name in node.inputs[:2]))
    elif not isinstance(node.op, Recurrence):
        return
    outputs = math.gcd(fold.pe, legal_folds(graph, node).pes[-1])
    if outputs % 2:
        raise FoldingError(
            "two products are packed where two outputs of an input are computed at a time",
            node=layer,
            found=f"pe {fold.pe}, {outputs} outputs of an input at a time",
            expected="an even number",
            remedy='Choose an even pe, or multiply = "dsp"',
        )


def expect_packed(layer: str, fold: Fold, *factors: Format) -> None:
    """Raise a FoldingError if two products of such factors are to be packed and do not fit."""
    if fold.multiply == "packed" and any(factor.width > PACKED_BITS for factor in factors):
        raise FoldingError(
            "products of these formats cannot be packed",
            node=layer,
            found=" times ".join(map(str, factors)),
            expected=f"at most {PACKED_BITS} bits each",
            remedy='Choose fewer bits for this layer, or multiply = "dsp"',
        )


def expect_choices(graph: FixedGraph, folding: Folding) -> None:
    """Raise a FoldingError where a folding says what multiplies, or holds weights, for a layer that
    does not multiply, or has none."""
    heads: dict[str, list[FixedOp]] = {}
    for part in find_parts(graph, find_sources(graph)):
        heads.setdefault(graph.layers[part.node.name], []).append(part.node.op)
    for layer, fold in folding.layers.items():
        ops = heads.get(layer, [])
        weights = any(isinstance(op, Dense | Conv | Recurrence) for op in ops)
        if fold.memory != "auto" and not weights:
            raise FoldingError(
                "the layer has no weights to hold", node=layer, found=f"memory {fold.memory}"
            )
        if fold.multiply != "auto" and not (weights or any(isinstance(op, MatMul) for op in ops)):
            raise FoldingError(
                "the layer has no sums of products", node=layer, found=f"multiply {fold.multiply}"
            )


def _misfit(layer: str, what: str, lanes: int, fitting: tuple[int, ...]) -> FoldingError:
    return FoldingError(
        f"{what} does not divide the layer",
        node=layer,
        found=f"{what} {lanes} for {fitting[-1]}",
        expected=f"one of {_list(fitting)}",
    )


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def divisors(size: int) -> tuple[int, ...]:
    """Ascending; in the time of a square root."""
    low = [n for n in range(1, math.isqrt(size) + 1) if size % n == 0]
    return tuple(sorted({*low, *(size // n for n in low)}))


def _units(graph: FixedGraph, node: Node[FixedOp]) -> int:
    """Units of the loop in this node's layer, 0 if it has none.

    The product ahead of a loop follows the loop's fold: of ``simd`` it takes what divides its
    inputs.
    """
    layer = graph.layers[node.name]
    loops = [
        graph.shapes[other.output][-1]
        for other in graph.nodes
        if isinstance(other.op, Recurrence) and graph.layers[other.name] == layer
    ]
    return loops[-1] if loops else 0
