"""Factors and addends that are constants, joined with each other and with the layer before them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .graph import Graph, Node
from .names import Names
from .ops import (
    Add,
    Array,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Div,
    LayerNorm,
    Mul,
    Neg,
    Op,
    RmsNorm,
    Shape,
    Sub,
)
from .pass_tools import Constants, readers_of


@dataclass(frozen=True)
class Affine:
    """``source · scale + offset``: constants in float64 that are broadcast; None where there is
    none."""

    source: str
    scale: Array | None = None
    offset: Array | None = None

    def then(self, other: Affine) -> Affine:
        """Both, ``other`` being of what this one gives."""
        scale, offset = self.scale, self.offset
        with np.errstate(all="ignore"):
            if other.scale is not None:
                scale = other.scale if scale is None else np.asarray(scale * other.scale)
                offset = None if offset is None else np.asarray(offset * other.scale)
            if other.offset is not None:
                offset = other.offset if offset is None else np.asarray(offset + other.offset)
        return Affine(self.source, scale, offset)


def affine_of(graph: Graph, node: Node[Op]) -> Affine | None:
    """What a node does to a value, if that is to scale and shift it by constants.

    Constants of a quantised model stay what they are, and so do those that make the value larger.
    """
    if isinstance(node.op, BatchNorm):
        return _normalised(graph, node)
    if isinstance(node.op, Neg):
        return Affine(node.inputs[0], np.array(-1.0))
    if not isinstance(node.op, Add | Sub | Mul | Div):
        return None
    known = [name in graph.constants and name not in graph.grids for name in node.inputs]
    if known.count(True) != 1:
        return None
    at = known.index(True)
    name, source = node.inputs[at], node.inputs[1 - at]
    if source in graph.constants or graph.shapes[source] != graph.shapes[node.output]:
        return None
    c = graph.constants[name].astype(np.float64)
    match node.op:
        case Add():
            return Affine(source, None, c)
        case Sub():
            return Affine(source, None, -c) if at else Affine(source, np.array(-1.0), c)
        case Mul():
            return Affine(source, c)
        case Div():
            return Affine(source, 1 / c) if at and np.all(c != 0) else None


def _normalised(graph: Graph, node: Node[Op]) -> Affine | None:
    assert isinstance(node.op, BatchNorm)
    source, *vectors = node.inputs
    if any(name not in graph.constants or name in graph.grids for name in vectors):
        return None
    gamma, beta, mean, variance = (graph.constants[name].astype(np.float64) for name in vectors)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + node.op.epsilon)
        return Affine(source, scale, beta - mean * scale)


def merge_affine(graph: Graph) -> Graph:
    """Write factors and addends in a row that are constants as one factor and one addend.

    Done where that makes fewer nodes, and nobody else reads what lies between.
    """
    ends = _runs(graph)
    names = Names(graph.shapes)
    constants = Constants(graph, names)
    nodes: list[Node[Op]] = []
    inside = {node.output for run, _ in ends.values() for node in run}
    for node in graph.nodes:
        if node.output in ends:
            nodes += _joined(*ends[node.output], constants, names)
        elif node.output not in inside:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants.values, grids=constants.grids)


def _runs(graph: Graph) -> dict[str, tuple[list[Node[Op]], Affine]]:
    """By what the last one gives, the nodes in a row that can be fewer, and what they do."""
    readers = readers_of(graph)
    outputs = {port.name for port in graph.outputs}
    runs: dict[str, tuple[list[Node[Op]], Affine]] = {}
    for node in graph.nodes:
        affine = None if isinstance(node.op, BatchNorm) else affine_of(graph, node)
        if affine is None:
            continue
        run = [node]
        alone = len(readers[affine.source]) == 1 and affine.source not in outputs
        if alone and affine.source in runs:
            before, first = runs.pop(affine.source)
            run, affine = [*before, node], first.then(affine)
        runs[node.output] = (run, affine)
    return {output: (run, affine) for output, (run, affine) in runs.items() if _fewer(run, affine)}


def _fewer(run: list[Node[Op]], affine: Affine) -> bool:
    parts = [part for part in (affine.scale, affine.offset) if part is not None]
    with np.errstate(all="ignore"):
        return len(parts) < len(run) and all(
            np.isfinite(part.astype(np.float32)).all() for part in parts
        )


def _joined(
    run: list[Node[Op]], affine: Affine, constants: Constants, names: Names
) -> list[Node[Op]]:
    """A factor and an addend, or one of them, in place of the nodes of a run."""
    first, last = run[0], run[-1]
    parts: list[tuple[Op, Array, str]] = []
    if affine.scale is not None:
        parts.append((Mul(), affine.scale, "scale"))
    if affine.offset is not None:
        parts.append((Add(), affine.offset, "offset"))
    made: list[Node[Op]] = []
    source = affine.source
    for i, (op, value, what) in enumerate(parts):
        place = last if i == len(parts) - 1 else first
        constant = constants.add(names.new(f"{last.output}_{what}"), value)
        made.append(Node(place.name, op, (source, constant), place.output))
        source = place.output
    return made


def fold_affine(graph: Graph) -> Graph:
    """Fold batch norms, and factors and addends that are constants, into the layer before them.

    That is a convolution, a Dense or a normalisation whose result nobody else reads, and they are
    one number, or one a channel.  ``(x w + b) s + o`` is ``x (w s) + (b s + o)``.
    """
    readers = readers_of(graph)
    outputs = {port.name for port in graph.outputs}
    names = Names(graph.shapes)
    constants = Constants(graph, names)
    makers: dict[str, int] = {}
    nodes: list[Node[Op] | None] = [*graph.nodes]
    for i, node in enumerate(graph.nodes):
        makers[node.output] = i
        affine = affine_of(graph, node)
        at = makers.get(affine.source) if affine else None
        if affine is None or at is None:
            continue
        layer = nodes[at]
        alone = len(readers[affine.source]) == 1 and affine.source not in outputs
        if layer is None or not alone:
            continue
        folded = _folded(graph, layer, affine, constants, names)
        if folded is not None:
            nodes[at], nodes[i] = replace(folded, output=node.output), None
            makers[node.output] = at
    kept = tuple(node for node in nodes if node is not None)
    return replace(graph, nodes=kept, constants=constants.values, grids=constants.grids)


def _folded(
    graph: Graph, layer: Node[Op], affine: Affine, constants: Constants, names: Names
) -> Node[Op] | None:
    """The layer with what follows it in its weights, or None if they cannot take it."""
    x, *weights = layer.inputs
    channels = graph.shapes[affine.source][-1:]
    scale, offset = _vector(affine.scale, 1, channels), _vector(affine.offset, 0, channels)
    if scale is None or offset is None or any(name not in constants.values for name in weights):
        return None
    match layer.op:
        case Dense() | Conv() | ConvTranspose():
            if weights[0] in constants.grids:
                return None  # a folded weight would leave its grid
            changed = weights[:2]
        case LayerNorm() | BatchNorm():
            changed = weights[:2]
        case RmsNorm() if affine.offset is None:
            changed = weights
        case _:
            return None
    values = [constants.values[name].astype(np.float64) for name in changed]
    with np.errstate(all="ignore"):
        new = [values[0] * scale, (values[1] if len(values) > 1 else 0) * scale + offset]
        if not all(np.isfinite(value.astype(np.float32)).all() for value in new):
            return None
    if affine.scale is not None:
        weights[0] = constants.change(weights[0], new[0])
    if len(values) > 1:
        weights[1] = constants.change(weights[1], new[1])
    elif not isinstance(layer.op, RmsNorm):
        weights.append(constants.add(names.new(f"{weights[0]}_bias"), new[1]))
    return replace(layer, inputs=(x, *weights))


def _vector(part: Array | None, neutral: float, channels: Shape) -> Array | None:
    """A factor or addend, ``neutral`` where there is none, as one number a channel; None if it is
    no such thing."""
    part = np.array(neutral) if part is None else part
    if not channels:
        return None
    if part.size not in (1, *part.shape[-1:]) or part.shape[-1:] not in ((), (1,), channels):
        return None
    return np.broadcast_to(part.reshape(-1), channels)
