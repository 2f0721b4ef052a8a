"""Sums and means over whole axes of a tensor, the batch axis among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from .base import Array, Pullback, Shape


def _reduced(shape: Shape, axes: Shape | None, keepdims: bool) -> Shape:
    if axes is None:
        axes = tuple(range(len(shape)))
    if any(not -len(shape) <= a < len(shape) for a in axes):
        raise ShapeError(
            "a reduction names an axis that is not there",
            found=f"axes {axes}, shape {shape}",
            expected=f"axes from {-len(shape)} to {len(shape) - 1}",
        )
    gone = {a % len(shape) for a in axes}
    return tuple(1 if i in gone else n for i, n in enumerate(shape) if keepdims or i not in gone)


@dataclass(frozen=True)
class Sum:
    """The sum over ``axes``, all by default.  Shapes and axes count every axis of the tensor."""

    axes: Shape | None = None
    keepdims: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        return _reduced(shapes[0], self.axes, self.keepdims)

    def forward(self, *inputs: Array) -> Array:
        self.infer(inputs[0].shape)
        return np.asarray(inputs[0].sum(axis=self.axes, keepdims=self.keepdims))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        shape = inputs[0].shape
        kept = _reduced(shape, self.axes, True)
        return self.forward(*inputs), lambda grad: (np.broadcast_to(grad.reshape(kept), shape),)


@dataclass(frozen=True)
class Mean:
    """The mean over ``axes``, all by default.  Shapes and axes count every axis of the tensor."""

    axes: Shape | None = None
    keepdims: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        return _reduced(shapes[0], self.axes, self.keepdims)

    def forward(self, *inputs: Array) -> Array:
        self.infer(inputs[0].shape)
        return np.asarray(inputs[0].mean(axis=self.axes, keepdims=self.keepdims))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        y = self.forward(x)
        kept = _reduced(x.shape, self.axes, True)
        scale = np.asarray(y.size / max(x.size, 1), x.dtype)
        return y, lambda grad: (np.broadcast_to(grad.reshape(kept) * scale, x.shape),)
