"""Processes that only move values: rearrangements of a frame, and streams joined along an axis."""

from __future__ import annotations

import math

from ..frontend.ops import Concat
from ..quantize.exact_ops import Rearrange
from .clusters import Part
from .orders import keeps_last_axis, order_of
from .processes import ConcatProcess, Elementwise, RearrangeProcess
from .site import Site


def rearrange_lanes(site: Site, part: Part, op: Rearrange) -> int:
    """As many lanes of the layer's ``pe`` as divide the last axis; 1 if that axis is touched."""
    shape = site.graph.shapes[part.node.inputs[0]]
    return math.gcd(site.fold(part).pe, shape[-1]) if keeps_last_axis(op, shape) else 1


def rearrange(site: Site, part: Part, op: Rearrange) -> str:
    """A frame that leaves in another order."""
    x = part.node.inputs[0]
    shape = site.graph.shapes[x]
    lanes = rearrange_lanes(site, part, op)
    reads = site.wiring.read(x, lanes, site.layer(part))
    stream = site.wiring.stream(part.result, part.result, lanes)
    site.wiring.processes.append(
        RearrangeProcess(
            **site.common(part, "stage", stream),
            reads=(reads,),
            node=part.node,
            order=order_of(op, shape, lanes),
            lanes=lanes,
            fill=op.fill,
            post=site.post(part, part.node.output),
        )
    )
    return stream


def concat_lanes(site: Site, part: Part) -> int:
    """As many lanes of the layer's ``pe`` as divide the last axis of every operand."""
    return math.gcd(site.fold(part).pe, *(site.graph.shapes[x][-1] for x in part.node.inputs))


def concat(site: Site, part: Part, op: Concat) -> str:
    """Streams joined two at a time."""
    node, layer, lanes = part.node, site.layer(part), concat_lanes(site, part)
    shapes = [site.graph.shapes[x] for x in node.inputs]
    outer = math.prod(shapes[0][: op.axis])
    runs = [math.prod(shape[op.axis :]) // lanes for shape in shapes]
    streams = [site.wiring.read(x, lanes, layer) for x in node.inputs]
    joined, run = streams[0], runs[0]
    for i, other in enumerate(streams[1:], 1):
        last = i == len(streams) - 1
        near, post = f"{part.result}_part", Elementwise("", (node.output,), (), node.output)
        if last:
            near, post = part.result, site.post(part, node.output)
        beats = outer * (run + runs[i])
        stream = site.wiring.stream(near, post.result, lanes, beats)
        site.wiring.processes.append(
            ConcatProcess(
                **site.common(part, "stage", stream),
                reads=(joined, other),
                node=node,
                outer=outer,
                beats=(run, runs[i]),
                lanes=lanes,
                last=last,
                post=post,
            )
        )
        joined, run = stream, run + runs[i]
    return joined
