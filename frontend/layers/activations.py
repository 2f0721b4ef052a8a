"""Activations: functions of each value alone, and softmax over the last axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from .. import ops
from ..initialisers import Constant
from ..ops import Shape
from ..ops.base import expect_finite
from .base import Layer, Weight


class Activation(Layer):
    """What activations have in common.

    Attributes:
        rectifies: whether it stops about half of a signal, so that the weights before it start
            larger (see :class:`lutra.frontend.initialisers.He`).
    """

    rectifies: ClassVar[bool] = False


@dataclass(frozen=True)
class ReLU(Activation):
    """``max(x, 0)``."""

    prefix: ClassVar[str] = "relu"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Relu()


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``x`` where it is positive, else ``slope · x``."""

    slope: float = 0.01
    prefix: ClassVar[str] = "leaky_relu"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.LeakyRelu(self.slope)


@dataclass(frozen=True)
class PReLU(Activation):
    """``x`` where it is positive, else times a trained slope, one a channel."""

    start: float = 0.25
    prefix: ClassVar[str] = "prelu"
    rectifies: ClassVar[bool] = True

    def __post_init__(self) -> None:
        expect_finite(slope=self.start)

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.PRelu()

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        return {"slope": Weight(shapes[0][-1:], Constant(self.start))}


@dataclass(frozen=True)
class Clip(Activation):
    """``x`` kept between ``low`` and ``high``; by default ReLU6."""

    low: float = 0.0
    high: float = 6.0
    prefix: ClassVar[str] = "clip"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Clip(self.low, self.high)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``."""

    prefix: ClassVar[str] = "sigmoid"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Sigmoid()


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """``slope · x + offset`` kept between 0 and 1."""

    slope: float = 0.2
    offset: float = 0.5
    prefix: ClassVar[str] = "hard_sigmoid"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.HardSigmoid(self.slope, self.offset)


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    prefix: ClassVar[str] = "tanh"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Tanh()


@dataclass(frozen=True)
class ELU(Activation):
    """``x`` where it is positive, else ``alpha · (exp(x) - 1)``."""

    alpha: float = 1.0
    prefix: ClassVar[str] = "elu"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Elu(self.alpha)


@dataclass(frozen=True)
class SELU(Activation):
    """The scaled ELU that keeps signals at mean 0 and variance 1 (Klambauer et al., 2017)."""

    prefix: ClassVar[str] = "selu"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Selu()


@dataclass(frozen=True)
class GELU(Activation):
    """``x`` times the normal distribution function of ``x``, or its approximation by tanh."""

    approximate: bool = False
    prefix: ClassVar[str] = "gelu"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Gelu(self.approximate)


@dataclass(frozen=True)
class SiLU(Activation):
    """``x · sigmoid(x)``."""

    prefix: ClassVar[str] = "silu"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Silu()


@dataclass(frozen=True)
class HardSwish(Activation):
    """``x · clip(x / 6 + 1 / 2, 0, 1)``."""

    prefix: ClassVar[str] = "hard_swish"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.HardSwish()


@dataclass(frozen=True)
class Softplus(Activation):
    """``log(1 + exp(x))``."""

    prefix: ClassVar[str] = "softplus"
    rectifies: ClassVar[bool] = True

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Softplus()


@dataclass(frozen=True)
class Softmax(Activation):
    """Probabilities over the last axis."""

    prefix: ClassVar[str] = "softmax"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Softmax()


@dataclass(frozen=True)
class LogSoftmax(Activation):
    """Logarithms of the probabilities over the last axis."""

    prefix: ClassVar[str] = "log_softmax"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.LogSoftmax()
