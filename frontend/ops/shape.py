"""Ops that move values and change none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect


@dataclass(frozen=True)
class Flatten:
    """All axes but the batch in one, in the order in which they are stored."""

    def infer(self, *shapes: Shape) -> Shape:
        return (math.prod(shapes[0]),)

    def forward(self, *inputs: Array) -> Array:
        return inputs[0].reshape(len(inputs[0]), *self.infer(inputs[0].shape[1:]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        shape = inputs[0].shape
        return self.forward(*inputs), lambda grad: (grad.reshape(shape),)


@dataclass(frozen=True)
class Reshape:
    """The same values of a sample in another shape, in the order in which they are stored.

    ``shape`` counts no batch, and all its sizes are positive.
    """

    shape: Shape

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(
            min(self.shape, default=1) >= 1 and math.prod(x) == math.prod(self.shape),
            "the sizes do not fit for a reshape",
            found=f"{x} to {self.shape}",
            expected=f"{math.prod(x)} values",
        )
        return self.shape

    def forward(self, *inputs: Array) -> Array:
        return inputs[0].reshape(len(inputs[0]), *self.infer(inputs[0].shape[1:]))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        shape = inputs[0].shape
        return self.forward(*inputs), lambda grad: (grad.reshape(shape),)


@dataclass(frozen=True)
class View:
    """The same values in another shape, the batch axis included; one size may be -1."""

    shape: Shape

    def infer(self, *shapes: Shape) -> Shape:
        known = math.prod(n for n in self.shape if n != -1)
        whole = math.prod(shapes[0])
        fits = whole % known == 0 if -1 in self.shape and known else whole == known
        expect(
            fits and self.shape.count(-1) <= 1,
            "the sizes do not fit for a reshape",
            found=f"{shapes[0]} to {self.shape}",
            expected=f"{whole} values",
        )
        return tuple(whole // known if n == -1 else n for n in self.shape)

    def forward(self, *inputs: Array) -> Array:
        return inputs[0].reshape(self.infer(inputs[0].shape))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        shape = inputs[0].shape
        return self.forward(*inputs), lambda grad: (grad.reshape(shape),)


@dataclass(frozen=True)
class Transpose:
    """Axes reordered; ``axes`` counts without the batch: output axis i is input axis axes[i]."""

    axes: Shape

    def infer(self, *shapes: Shape) -> Shape:
        (x,) = shapes
        expect(
            sorted(self.axes) == list(range(len(x))),
            "transpose must name every axis once",
            found=self.axes,
            expected=f"an order of {len(x)} axes",
        )
        return tuple(x[a] for a in self.axes)

    def forward(self, *inputs: Array) -> Array:
        return inputs[0].transpose(0, *(a + 1 for a in self.axes))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        back = np.argsort(self.axes)
        return self.forward(*inputs), lambda grad: (grad.transpose(0, *(a + 1 for a in back)),)
