"""Rearrangements as the loops of the ``rearrange`` kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..frontend.ops import Shape
from ..quantize.exact_ops import Axis, Rearrange


@dataclass(frozen=True)
class Loop:
    """One ``lutra::axis`` of the kernel, where the fields are explained; ``stride`` is in beats."""

    size: int
    start: int
    step: int
    divisor: int
    limit: int
    sparse: bool
    stride: int


@dataclass(frozen=True)
class Order:
    """How the kernel goes through a frame.

    Attributes:
        loops: the outermost first.
        in_beats: beats of the frame that arrives.
        lead: beats that arrive before the first one leaves, so that from then on one beat a cycle
            can arrive and leave.
    """

    loops: tuple[Loop, ...]
    in_beats: int
    lead: int


def keeps_last_axis(op: Rearrange, shape: Shape) -> bool:
    """Whether neighbouring values stay neighbours, so that a beat may have several."""
    return op.axes[-1].source == len(shape) - 1 and op.axes[-1].plain(shape[-1])


def order_of(op: Rearrange, shape: Shape, lanes: int) -> Order:
    """How the kernel rearranges an operand of ``shape``.

    Args:
        lanes: values of a beat; more than one only if :func:`keeps_last_axis`, and then they
            divide the last axis.
    """
    beats = (*shape[:-1], shape[-1] // lanes)
    if lanes > 1:
        op = Rearrange((*op.axes[:-1], Axis(beats[-1], len(shape) - 1)), op.fill)
    strides = [math.prod(beats[i + 1 :]) for i in range(len(beats))]
    loops: list[Loop] = []
    for axis in op.axes:
        size, stride = beats[axis.source], strides[axis.source]
        loop = Loop(axis.size, axis.start, axis.step, axis.divisor, size, axis.sparse, stride)
        outer = loops[-1] if loops else None
        if outer and axis.plain(size) and _adjoins(outer, size * stride):
            loops[-1] = replace(
                outer,
                size=outer.size * size,
                start=outer.start * size,
                limit=outer.limit * size,
                stride=stride,
            )
        else:
            loops.append(loop)
    in_beats = math.prod(beats)
    frame = np.arange(in_beats).reshape(1, *beats)
    read = replace(op, fill=-1).forward(frame).ravel()
    lead = int(np.max(read + 1 - np.arange(read.size)))
    return Order(tuple(loops), in_beats, max(lead, 0))


def _adjoins(outer: Loop, extent: int) -> bool:
    """Whether a whole axis of ``extent`` beats inside ``outer`` makes one longer axis with it."""
    return outer.step == outer.divisor == 1 and outer.stride == extent
