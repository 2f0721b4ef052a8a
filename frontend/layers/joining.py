"""Layers that join several values, and constants that act on one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .. import ops
from ..errors import ShapeError
from ..initialisers import Constant, Initialiser, Normal
from ..ops import Shape
from ..ops.base import expect_finite
from .base import Layer, Weight

NEAR_ZERO = Normal(0.02)
"""Start values of embeddings: small beside what they are added to."""


class _Pair(Layer):
    """What layers of two values have in common."""

    fewest: ClassVar[int] = 2
    most: ClassVar[int] = 2


@dataclass(frozen=True)
class Add(_Pair):
    """``a + b``; axes of size 1 are repeated."""

    prefix: ClassVar[str] = "add"

    def op(self, *shapes: Shape) -> ops.Op:
        same_rank(shapes)
        return ops.Add()


@dataclass(frozen=True)
class Subtract(_Pair):
    """``a - b``; axes of size 1 are repeated."""

    prefix: ClassVar[str] = "subtract"

    def op(self, *shapes: Shape) -> ops.Op:
        same_rank(shapes)
        return ops.Sub()


@dataclass(frozen=True)
class Multiply(_Pair):
    """``a · b``, value by value; axes of size 1 are repeated."""

    prefix: ClassVar[str] = "multiply"

    def op(self, *shapes: Shape) -> ops.Op:
        same_rank(shapes)
        return ops.Mul()


@dataclass(frozen=True)
class MatMul(_Pair):
    """Matrix product over the last two axes: (..., n, k) and (..., k, m), or (..., m, k) if
    ``transposed``, to (..., n, m)."""

    transposed: bool = False
    prefix: ClassVar[str] = "matmul"

    def op(self, *shapes: Shape) -> ops.Op:
        same_rank(shapes)
        return ops.MatMul(self.transposed)


@dataclass(frozen=True)
class Concat(Layer):
    """Values one behind the other along an axis, counted without the batch; the last by default."""

    axis: int = -1
    prefix: ClassVar[str] = "concat"
    fewest: ClassVar[int] = 2
    most: ClassVar[int] = sys.maxsize

    def op(self, *shapes: Shape) -> ops.Op:
        same_rank(shapes)
        return ops.Concat(self.axis + len(shapes[0]) if self.axis < 0 else self.axis)


@dataclass(frozen=True)
class Scale(Layer):
    """The input times a constant."""

    factor: float
    prefix: ClassVar[str] = "scale"

    def __post_init__(self) -> None:
        expect_finite(factor=self.factor)

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Mul()

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        return {"factor": Weight((1,), Constant(self.factor), "constant")}


@dataclass(frozen=True)
class PositionalEmbedding(Layer):
    """A trained vector for each position is added: (T, d) to (T, d)."""

    initialiser: Initialiser = NEAR_ZERO
    prefix: ClassVar[str] = "positional_embedding"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Add()

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        return {"weight": Weight(shapes[0], self.initialiser)}


def same_rank(shapes: tuple[Shape, ...]) -> None:
    """Raise a :class:`ShapeError` unless the values have as many axes each: the batch would be
    broadcast against another axis."""
    if len({len(shape) for shape in shapes}) > 1:
        raise ShapeError(
            "the values have different numbers of axes",
            found=shapes,
            expected="the same number",
            remedy="Put a Reshape before one of them",
        )
