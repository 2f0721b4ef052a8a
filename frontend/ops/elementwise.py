"""Functions of each value alone that training needs and a network does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape


@dataclass(frozen=True)
class Neg:
    """``-x``."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(-inputs[0])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        return self.forward(*inputs), lambda grad: (-grad,)


@dataclass(frozen=True)
class Exp:
    """``e`` to the power of ``x``."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.exp(inputs[0]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)
        return y, lambda grad: (grad * y,)


@dataclass(frozen=True)
class Log:
    """Natural logarithm."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.log(inputs[0]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad / x,)


@dataclass(frozen=True)
class Abs:
    """Absolute value; its gradient at 0 is taken as 0."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.abs(inputs[0]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * np.sign(x),)


@dataclass(frozen=True)
class Power:
    """``x`` to the power of a constant."""

    exponent: float

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] ** self.exponent)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * (self.exponent * x ** (self.exponent - 1)),)
