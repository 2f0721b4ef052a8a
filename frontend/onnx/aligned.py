"""Operands that broadcast against each other, brought to the same axes."""

from __future__ import annotations

from collections.abc import Sequence

from ..ops import Shape
from .values import Activation, Builder, Constant, RefusedError


def aligned(builder: Builder, values: Sequence[Activation], rank: int = 0) -> list[Activation]:
    """Operands with their batch on one axis, and as many axes, at least ``rank``, as any has.

    Broadcasting gives axes of size 1 to the front of those that have fewer.

    Raises:
        RefusedError: their batches are on different axes.
    """
    rank = max(rank, *(value.rank for value in values))
    wide = [builder.widened(value, rank) for value in values]
    x = wide[0]
    if all(_alike(value, x) for value in wide):
        return wide
    if builder.batch != 1:
        raise RefusedError("is of values with different axes, or the batch on different ones")
    return [builder.whole(value) for value in wide]


def _alike(y: Activation, x: Activation) -> bool:
    """Whether two values have the batch on the same axis, with the same axes merged."""
    if (y.batch, y.merged, y.outer) != (x.batch, x.merged, x.outer):
        return False
    return x.batch is None or all(
        y.shape[i] == x.shape[i] for i in range(x.batch, x.batch + x.merged)
    )


def own_shape(source: Constant, x: Activation) -> Shape | None:
    """The shape of a constant operand of ``x`` in our axes, as many as ``x`` has.

    Returns:
        None where it has more axes than the ONNX value, or differs between samples.
    """
    shape = source.stored.shape
    if source.repeated is not None and (
        x.merged or x.batch != x.rank - len(shape) + source.repeated
    ):
        return None
    sizes = [1] * (x.rank - len(shape)) + list(shape)
    if len(sizes) != x.rank:
        return None
    if x.batch is not None:
        if sizes[x.batch] != 1:
            return None
        sizes[x.batch : x.batch + 1] = [1] * x.merged
    return tuple(sizes)
