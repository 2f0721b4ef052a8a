"""Lowering of ops that move values and change none."""

from __future__ import annotations

import math
from typing import assert_never

from ..frontend.graph import Node
from ..frontend.ops import Concat, Op, Pad, Reshape, Shape, Slice, Transpose, Upsample
from .builder import Builder
from .exact_ops import Axis, Rearrange
from .formats import Format, Overflow, Rounding, Target

Move = Transpose | Slice | Pad | Upsample


def rearrange(builder: Builder, op: Move, node: Node[Op]) -> None:
    """Any of them is one Rearrange; a Transpose that only moves axes of size 1 moves nothing."""
    x = node.inputs[0]
    shape = builder.shapes[x]
    match op:
        case Transpose(axes):
            kept = [axis for axis in axes if shape[axis] > 1]
            if kept == sorted(kept):
                builder.exact(node.output, Reshape(op.infer(shape)), x)
                return
            moved = Rearrange.transpose(shape, axes)
        case Slice(axis, start, _, step):
            size = op.infer(shape)[axis]
            moved = Rearrange.along(shape, {axis: Axis(size, axis, start, step)})
        case Pad():
            moved = _pad(builder, op, x, shape)
        case Upsample(factors):
            changed = {
                i: Axis(n * factor, i, divisor=factor)
                for i, (n, factor) in enumerate(zip(shape, factors, strict=False))
            }
            moved = Rearrange.along(shape, changed)
        case _:
            assert_never(op)
    builder.exact(node.output, moved, x)


def _pad(builder: Builder, op: Pad, x: str, shape: Shape) -> Rearrange:
    """The fill is rounded to the operand's fraction; the result's format holds it."""
    changed = {
        i: Axis(before + n + after, i, -before)
        for i, (n, before, after) in enumerate(zip(shape, op.before, op.after, strict=True))
    }
    fill = math.floor(op.value * 2.0 ** builder.formats[x].fraction + 0.5)
    return Rearrange.along(shape, changed, fill)


def concat(builder: Builder, op: Concat, node: Node[Op]) -> None:
    """The operands in one format, that of the result, side by side."""
    target = builder.precision.points.get(node.output)
    if target is None:
        builder.exact(node.output, op, *_aligned(builder, node))
        return
    parts = []
    for x in node.inputs:
        if builder.formats[x] == target.format:
            parts.append(x)
        else:
            parts.append(builder.cast(builder.new(f"{node.name}.part"), x, target))
    builder.exact(node.output, op, *parts)


def _aligned(builder: Builder, node: Node[Op]) -> list[str]:
    """The operands with the finest fraction of any, without any loss."""
    fraction = max(builder.formats[x].fraction for x in node.inputs)
    parts = []
    for x in node.inputs:
        source = builder.formats[x]
        more = fraction - source.fraction
        if more:
            wide = Format(source.signed, source.width + more, source.integer)
            target = Target(wide, Rounding.TRN, Overflow.SAT)
            x = builder.cast(builder.new(f"{node.name}.part"), x, target)
        parts.append(x)
    return parts
