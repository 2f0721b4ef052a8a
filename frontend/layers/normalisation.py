"""Normalisation layers: to mean 0 and variance 1, then to a trained scale and offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import ops
from ..initialisers import Ones, Zeros
from ..ops import Shape
from ..tensor import Tensor, apply
from .base import Layer, Weight, probability


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each channel by its mean and variance over batch and positions (Ioffe and Szegedy, 2015).

    In training these are the batch's own, and running ones follow them:
    ``running = momentum · running + (1 - momentum) · batch``.  Inference goes by the running ones,
    which are weights of the model without being trained.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    prefix: ClassVar[str] = "batch_norm"
    differs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        probability("momentum", self.momentum)

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.BatchNorm(self.epsilon)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        channels = shapes[0][-1:]
        return {
            "gamma": Weight(channels, Ones()),
            "beta": Weight(channels, Zeros()),
            "mean": Weight(channels, Zeros(), "state"),
            "variance": Weight(channels, Ones(), "state"),
        }

    def train(
        self,
        op: ops.Op | ops.Dropout,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        generator: np.random.Generator,
    ) -> Tensor:
        (x,) = inputs
        gamma, beta, *running = weights
        for kept, value in zip(running, ops.batch_statistics(x.data), strict=True):
            moved = self.momentum * kept.data + (1 - self.momentum) * value
            kept.data = moved.astype(kept.dtype, copy=False)
        return apply(ops.BatchNormTraining(self.epsilon), x, gamma, beta)


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Each row of the last axis by its own mean and variance (Ba et al., 2016)."""

    epsilon: float = 1e-5
    prefix: ClassVar[str] = "layer_norm"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.LayerNorm(self.epsilon)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        row = shapes[0][-1:]
        return {"gamma": Weight(row, Ones()), "beta": Weight(row, Zeros())}


@dataclass(frozen=True)
class RmsNorm(Layer):
    """Each row of the last axis by its root mean square (Zhang and Sennrich, 2019)."""

    epsilon: float = 1e-5
    prefix: ClassVar[str] = "rms_norm"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.RmsNorm(self.epsilon)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        return {"gamma": Weight(shapes[0][-1:], Ones())}
