"""The process of a recurrent layer: its loop's body taken apart into products and cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..frontend.errors import UnsupportedOpError
from ..frontend.graph import Node
from ..frontend.ops import Dense
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Format
from ..quantize.recurrence import Recurrence
from .clusters import Part, is_elementwise
from .legal import expect_packed
from .processes import Cell, RecurrenceProcess
from .site import Site

Nodes = tuple[Node[FixedOp], ...]


def recurrence_lanes(site: Site, part: Part) -> int:
    """Lanes in and out: so many that both words of the products hold whole beats."""
    fold = site.fold(part)
    return math.gcd(fold.pe, fold.simd)


def recurrence(site: Site, part: Part, loop: Recurrence) -> str:
    """The loop, as one process; ``pe`` and ``simd`` are those of the product with the state."""
    x, layer, fold = part.node.inputs[0], site.layer(part), site.fold(part)
    steps, width = site.graph.shapes[x]
    units = width // len(loop.parts)
    lanes = recurrence_lanes(site, part)
    reads = site.wiring.read(x, lanes, layer)
    beats = units // lanes * (1 if loop.last else steps)
    stream = site.wiring.stream(part.result, part.result, lanes, beats)
    common = site.common(part, "loop", stream)
    cells = tuple(
        _cell(site, f"{common['name']}_{word}", *piece)
        for word, piece in zip(("cell", "second_cell"), _pieces(site.graph, loop), strict=False)
    )
    for cell in cells:
        expect_packed(layer, fold, site.graph.formats[cell.dense[0].inputs[0]], cell.weight)
    site.wiring.processes.append(
        RecurrenceProcess(
            **common,
            reads=(reads,),
            loop=loop,
            steps=steps,
            units=units,
            lanes=lanes,
            fold=fold,
            cells=cells,
            kept=_kept(loop, cells),
        )
    )
    return stream


def _cell(site: Site, near: str, dense: Nodes, nodes: Nodes, result: str) -> Cell:
    formats, constants = site.graph.formats, site.graph.constants
    weights = [constants[node.inputs[1]] for node in dense]
    sums = [formats[node.output] for node in dense]
    return Cell(
        name=site.wiring.names.fresh(near),
        dense=dense,
        nodes=nodes,
        result=result,
        weight=Format.holding(
            min(int(w.min()) for w in weights), max(int(w.max()) for w in weights), 0
        ),
        acc=Format.holding(min(f.low for f in sums), max(f.high for f in sums), 0),
    )


def _pieces(graph: FixedGraph, loop: Recurrence) -> list[tuple[Nodes, Nodes, str]]:
    """One or two times: the products of one value, the nodes that need no later ones, and the
    value that leaves.

    Raises:
        UnsupportedOpError: the body is not made like that.
    """
    dense = [node for node in loop.body if isinstance(node.op, Dense)]
    states = {state.before: state.after for state in loop.states}
    first = tuple(node for node in dense if node.inputs[0] in states)
    second = tuple(node for node in dense if node not in first)
    late = {node.output for node in second}
    early: list[Node[FixedOp]] = []
    after: list[Node[FixedOp]] = []
    for node in loop.body:
        if isinstance(node.op, Dense):
            continue
        if late.intersection(node.inputs):
            late.add(node.output)
        (after if node.output in late else early).append(node)
    operands = [{node.inputs[0] for node in group} for group in (first, second) if group]
    leaving = [*operands[1], loop.result] if len(operands) == 2 else [loop.result]
    sound = (
        first
        and all(len(group) == 1 for group in operands)
        and states[min(operands[0])] == loop.result
        and not late.intersection(leaving[:-1])
        and all(is_elementwise(graph, node) for node in (*early, *after))
    )
    if not sound:
        raise UnsupportedOpError(
            "no kernel runs this loop",
            expected="products of the result before, and of one other value at most",
        )
    if not second:
        return [(first, tuple(early), loop.result)]
    return [(first, tuple(early), leaving[0]), (second, tuple(after), loop.result)]


def _kept(loop: Recurrence, cells: Sequence[Cell]) -> tuple[str, ...]:
    """What a unit keeps: states that a cell reads, and what the first cell leaves to the second."""
    befores = {state.before: state.after for state in loop.states}
    read = [name for cell in cells for node in cell.nodes for name in node.inputs]
    kept = [before for before in befores if before in read] or [*befores][:1]  # never empty
    if len(cells) == 2:
        made = {node.output for node in (*cells[0].dense, *cells[0].nodes)}
        later = [name for node in cells[1].nodes for name in node.inputs]
        later += [cells[1].result, *(befores[before] for before in kept)]
        kept += [name for name in dict.fromkeys(later) if name in made]
    return tuple(kept)
