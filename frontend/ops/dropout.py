"""Dropout: a layer of training only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Array, Pullback, Shape


@dataclass(frozen=True)
class Dropout:
    """The identity at inference; in training, values times a mask that the layer draws.

    The mask (0 where dropped, ``1 / (1 - rate)`` elsewhere) is the op's second input, so that the
    op itself is free of chance; the mask is not differentiated.
    """

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return inputs[0] * inputs[1] if len(inputs) == 2 else inputs[0]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        mask = inputs[1:]

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            return (grad * mask[0], None) if mask else (grad,)

        return self.forward(*inputs), pullback
