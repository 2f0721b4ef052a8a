"""The processes of each part of a network, with the streams that they read and write."""

from __future__ import annotations

import math

from ..frontend.errors import UnsupportedOpError
from ..frontend.ops import Concat, Conv, Dense, MatMul, MaxPool, ReduceSum, SumPool, Window
from ..quantize.exact_ops import BelowMax, Rearrange
from ..quantize.recurrence import Recurrence
from .clusters import Part, is_elementwise, is_map
from .linear import conv_lanes, dense_fold, grouped_fold, linear, matmul, windows
from .moves import concat, concat_lanes, rearrange, rearrange_lanes
from .processes import BelowMaxProcess, MapArrayProcess, MapProcess, MapRowProcess, PoolProcess
from .recurrent import recurrence, recurrence_lanes
from .site import Site


def add_part(site: Site, part: Part) -> None:
    """The processes of one part; its result is offered to those that read it.

    Raises:
        FoldingError: the layer's fold does not divide it.
        UnsupportedOpError: no kernel computes it.
    """
    match part.node.op:
        case Dense() | Conv() as op:
            stream = linear(site, part, op)
        case MatMul() as op:
            stream = matmul(site, part, op)
        case MaxPool() | SumPool() as op:
            stream = _pool(site, part, op.window)
        case ReduceSum():
            stream = _reduce(site, part)
        case BelowMax():
            stream = _below_max(site, part)
        case Rearrange() as op:
            stream = rearrange(site, part, op)
        case Concat() as op:
            stream = concat(site, part, op)
        case Recurrence() as op:
            stream = recurrence(site, part, op)
        case _ if is_elementwise(site.graph, part.node):
            stream = _map(site, part)
        case _ if is_map(part.node):
            stream = _broadcast(site, part)
        case op:
            raise UnsupportedOpError("no kernel computes this", found=type(op).__name__)
    site.wiring.share(part.result, stream, site.layer(part))


def lanes_in(site: Site, part: Part) -> int:
    """Lanes with which the part reads its first value."""
    match part.node.op:
        case Conv(groups=groups) as op if groups > 1:
            across, fold = grouped_fold(site, part, op)
            return across * fold.simd
        case Conv() as op:
            return conv_lanes(site, part, op)
        case Dense():
            return dense_fold(site, part).simd
        case MatMul():
            return site.fold(part).simd
        case MaxPool() | SumPool():
            return site.fold(part).pe
        case ReduceSum() | BelowMax():
            return 1
        case Rearrange() as op:
            return rearrange_lanes(site, part, op)
        case Concat():
            return concat_lanes(site, part)
        case Recurrence():
            return recurrence_lanes(site, part)
        case _:
            return site.fold(part).pe if site.graph.shapes[part.node.inputs[0]][-1] > 1 else 1


def _pool(site: Site, part: Part, window: Window) -> str:
    node, layer, pe = part.node, site.layer(part), site.fold(part).pe
    x = node.inputs[0]
    shape = site.graph.shapes[node.output]
    fill = site.graph.formats[site.wiring.source(x)].low if isinstance(node.op, MaxPool) else 0
    reads = windows(site, window, x, pe, layer, fill)
    stream = site.wiring.stream(part.result, part.result, pe)
    site.wiring.processes.append(
        PoolProcess(
            **site.common(part, "layer", stream),
            reads=(reads,),
            node=node,
            positions=math.prod(shape[:-1]),
            window=window.size,
            channels=shape[-1],
            pe=pe,
            post=site.post(part, node.output),
        )
    )
    return stream


def _reduce(site: Site, part: Part) -> str:
    """The sums of rows, as a pool with one window a row."""
    shape = site.graph.shapes[part.node.inputs[0]]
    reads = site.wiring.read(part.node.inputs[0], 1, site.layer(part))
    stream = site.wiring.stream(part.result, part.result, 1)
    site.wiring.processes.append(
        PoolProcess(
            **site.common(part, "stage", stream),
            reads=(reads,),
            node=part.node,
            positions=math.prod(shape[:-1]),
            window=shape[-1],
            channels=1,
            pe=1,
            post=site.post(part, part.node.output),
        )
    )
    return stream


def _below_max(site: Site, part: Part) -> str:
    shape = site.graph.shapes[part.node.inputs[0]]
    reads = site.wiring.read(part.node.inputs[0], 1, site.layer(part))
    stream = site.wiring.stream(part.result, part.result, 1)
    site.wiring.processes.append(
        BelowMaxProcess(
            **site.common(part, "stage", stream),
            reads=(reads,),
            node=part.node,
            rows=math.prod(shape[:-1]),
            length=shape[-1],
            post=site.post(part, part.node.output),
        )
    )
    return stream


def _map(site: Site, part: Part) -> str:
    """A function of one stream, or of two side by side."""
    pe = lanes_in(site, part)
    reads = tuple(site.wiring.read(value, pe, site.layer(part)) for value in part.reads)
    stream = site.wiring.stream(part.result, part.result, pe)
    site.wiring.processes.append(
        MapProcess(
            **site.common(part, "stage", stream),
            reads=reads,
            beats=math.prod(site.graph.shapes[part.node.output]) // pe,
            pe=pe,
            post=site.post(part, *part.reads),
        )
    )
    return stream


def _broadcast(site: Site, part: Part) -> str:
    """A function of a stream, and of one value a row or a constant array."""
    x, other = part.node.inputs
    shape = site.graph.shapes[x]
    constant = other in site.graph.constants
    if not constant and site.graph.shapes[other] != (*shape[:-1], 1):
        raise UnsupportedOpError(
            "no kernel repeats this operand",
            found=site.graph.shapes[other],
            expected=f"{shape}, or one value a row",
        )
    pe = lanes_in(site, part)
    reads = [site.wiring.read(x, pe, site.layer(part))]
    if not constant:
        reads.append(site.wiring.read(other, 1, site.layer(part)))
    stream = site.wiring.stream(part.result, part.result, pe)
    common = site.common(part, "stage", stream)
    beats = math.prod(shape) // pe
    if constant:
        post = site.post(part, part.reads[0], other)
        site.wiring.processes.append(
            MapArrayProcess(**common, reads=tuple(reads), beats=beats, pe=pe, post=post)
        )
    else:
        rows = math.prod(shape[:-1])
        post = site.post(part, *part.reads)
        site.wiring.processes.append(
            MapRowProcess(
                **common,
                reads=tuple(reads),
                rows=rows,
                beats_a_row=beats // rows,
                pe=pe,
                post=post,
            )
        )
    return stream
