"""Smooth activations: functions of each value alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import LutraError
from .base import Array, Pullback, Shape, expect_finite
from .erf import erf


@dataclass(frozen=True)
class Sigmoid:
    """``1 / (1 + exp(-x))``, computed as ``(1 + tanh(x / 2)) / 2`` so that nothing overflows."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        y = np.tanh(inputs[0] * 0.5)
        y += 1
        y *= 0.5
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)
        return y, lambda grad: (grad * y * (1 - y),)


@dataclass(frozen=True)
class Tanh:
    """Hyperbolic tangent."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        return np.tanh(inputs[0])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y = self.forward(*inputs)
        return y, lambda grad: (grad * (1 - y * y),)


@dataclass(frozen=True)
class Elu:
    """``x`` where it is positive, ``alpha · (exp(x) - 1)`` elsewhere."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        expect_finite(alpha=self.alpha)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y = self._below(x)
        y += np.maximum(x, 0)  # one of the two is 0
        return y

    def _below(self, x: Array) -> Array:
        """The result where ``x`` is negative, 0 elsewhere."""
        y = np.expm1(np.minimum(x, 0))
        y *= self.alpha
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        below = self._below(x)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            slope = below + self.alpha  # alpha where x is positive
            if self.alpha != 1:
                slope += np.multiply(x > 0, 1 - self.alpha, dtype=x.dtype)
            slope *= grad
            return (slope,)

        return below + np.maximum(x, 0), pullback


@dataclass(frozen=True)
class Selu:
    """``gamma · Elu(alpha)``; the constants are those of Klambauer et al. (2017), as in ONNX."""

    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875

    def __post_init__(self) -> None:
        expect_finite(alpha=self.alpha, gamma=self.gamma)

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        y = Elu(self.alpha).forward(*inputs)
        y *= self.gamma
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        y, pullback = Elu(self.alpha).vjp(needs, *inputs)
        y *= self.gamma
        return y, lambda grad: pullback(grad * self.gamma)


@dataclass(frozen=True)
class Gelu:
    """``x`` times the probability that a normal variable is below it (Hendrycks, Gimpel 2016).

    Attributes:
        approximate: whether that probability is ``(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``
            instead of ``(1 + erf(x / √2)) / 2``.
    """

    approximate: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y = self._share(x)
        y *= x
        return y

    def _share(self, x: Array) -> Array:
        """What ``x`` is multiplied by: 0 to 1."""
        if self.approximate:
            inner = x * x
            inner *= 0.044715 * math.sqrt(2 / math.pi)
            inner += math.sqrt(2 / math.pi)
            inner *= x
            y: Array = np.tanh(inner)
        else:
            y = erf(x * math.sqrt(0.5))
        y += 1
        y *= 0.5
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        share = self._share(x)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            slope = self._slope(x, share)
            slope *= x
            slope += share
            slope *= grad
            return (slope,)

        return x * share, pullback

    def _slope(self, x: Array, share: Array) -> Array:
        """Derivative of :meth:`_share`."""
        slope = x * x
        if self.approximate:
            slope *= 6 * 0.044715 * math.sqrt(2 / math.pi)
            slope += 2 * math.sqrt(2 / math.pi)
            slope *= share
            slope *= 1 - share
        else:
            slope *= -0.5
            slope = np.exp(slope)
            slope *= 1 / math.sqrt(2 * math.pi)
        return slope


@dataclass(frozen=True)
class Silu:
    """``x · sigmoid(x)``, also called swish."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        y = Sigmoid().forward(*inputs)
        y *= inputs[0]
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        share = Sigmoid().forward(x)
        y = x * share

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            slope = 1 - share
            slope *= y
            slope += share
            slope *= grad
            return (slope,)

        return y, pullback


@dataclass(frozen=True)
class Softplus:
    """``log(1 + exp(x))``, computed as ``max(x, 0) + log(1 + exp(-|x|))``: nothing overflows."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y = np.log1p(np.exp(-np.abs(x)))
        y += np.maximum(x, 0)
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (Sigmoid().forward(x) * grad,)


@dataclass(frozen=True)
class Mish:
    """``x · tanh(softplus(x))`` (Misra, 2019)."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        y = np.tanh(Softplus().forward(*inputs))
        y *= inputs[0]
        return y

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        share = np.tanh(Softplus().forward(x))

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            slope = 1 - share * share
            slope *= Sigmoid().forward(x)
            slope *= x
            slope += share
            slope *= grad
            return (slope,)

        return x * share, pullback


@dataclass(frozen=True)
class Celu:
    """``x`` where it is positive, ``alpha · (exp(x / alpha) - 1)`` elsewhere (Barron, 2017).

    Raises:
        LutraError: alpha is not positive.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        expect_finite(alpha=self.alpha)
        if self.alpha <= 0:
            raise LutraError(
                "the alpha of a CELU is not positive", found=self.alpha, expected="above 0"
            )

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        y = self._below(x)
        y *= self.alpha
        y += np.maximum(x, 0)  # one of the two is 0
        return y

    def _below(self, x: Array) -> Array:
        """The result over alpha where ``x`` is negative, 0 elsewhere."""
        y = np.minimum(x, 0)
        y /= self.alpha
        return np.asarray(np.expm1(y))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad * (self._below(x) + 1),)


@dataclass(frozen=True)
class Softsign:
    """``x / (1 + |x|)``."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        (x,) = inputs
        return np.asarray(x / (1 + np.abs(x)))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (grad / np.square(1 + np.abs(x)),)
