"""Dense layers and dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import ops
from ..initialisers import Initialiser, Zeros
from ..ops import Array, Shape
from ..tensor import Tensor, apply
from .base import Layer, Weight, positive, probability


@dataclass(frozen=True)
class Dense(Layer):
    """Every one of ``units`` outputs sees every input feature: (..., n) to (..., units)."""

    units: int
    bias: bool = True
    initialiser: Initialiser | None = None
    prefix: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        positive("units", self.units)

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Dense()

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        return with_bias((*shapes[0][-1:], self.units), self.bias, self.initialiser)


@dataclass(frozen=True)
class Dropout(Layer):
    """In training each value is 0 with probability ``rate``, else scaled by 1 / (1 - rate).

    At inference it does nothing, and an exported network does not hold it.
    """

    rate: float
    prefix: ClassVar[str] = "dropout"
    differs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        probability("rate", self.rate)

    def op(self, *shapes: Shape) -> ops.Dropout:
        return ops.Dropout()

    def train(
        self,
        op: ops.Op | ops.Dropout,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        generator: np.random.Generator,
    ) -> Tensor:
        (x,) = inputs
        if self.rate == 0:
            return x
        return apply(op, x, Tensor(dropout_mask(x, self.rate, generator), "mask"))


def dropout_mask(value: Tensor, rate: float, generator: np.random.Generator) -> Array:
    """0 with probability ``rate``, else 1 / (1 - rate), in the value's shape and type."""
    mask = (generator.random(value.shape, np.float32) >= rate).astype(value.dtype)
    mask *= 1 / (1 - rate)
    return mask


def with_bias(weight: Shape, bias: bool, initialiser: Initialiser | None) -> dict[str, Weight]:
    """A weight, and a bias for each of its last axis."""
    own = {"weight": Weight(weight, initialiser)}
    return own | ({"bias": Weight(weight[-1:], Zeros())} if bias else {})
