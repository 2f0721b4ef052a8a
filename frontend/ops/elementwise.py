"""Functions of each value alone, as mathematics has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect_finite
from .erf import erf


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
    """``x`` to the power of a constant: 0.5 for the square root, -1 for the reciprocal."""

    exponent: float

    def __post_init__(self) -> None:
        expect_finite(exponent=self.exponent)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] ** self.exponent)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * (self.exponent * x ** (self.exponent - 1)),)


@dataclass(frozen=True)
class Erf:
    """The error function, ``2/√π · integral of exp(-t²) from 0 to x``."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return erf(inputs[0])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        slope = np.exp(-x * x) * (2 / math.sqrt(math.pi))
        return self.forward(x), lambda grad: (grad * slope,)


@dataclass(frozen=True)
class Sin:
    """Sine of an angle in radians."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.sin(inputs[0]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * np.cos(x),)


@dataclass(frozen=True)
class Cos:
    """Cosine of an angle in radians."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.cos(inputs[0]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (-grad * np.sin(x),)
