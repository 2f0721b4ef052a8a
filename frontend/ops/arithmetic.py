"""Arithmetic: elementwise with broadcasting, matrix product, and reductions.

All of it is exact on integers but the quotient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ShapeError
from .base import Array, Pullback, Shape, expect, unbroadcast


def _broadcast(shapes: tuple[Shape, ...]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            "operands cannot be broadcast", found=shapes, expected="axes alike, or of size 1"
        ) from None


def expect_aligned(activations: Sequence[Shape], constants: Sequence[Shape]) -> None:
    """Raise a ShapeError where broadcasting would take a batch axis for another axis.

    Shapes are those of one op's operands, without the batch axis, which activations alone have.
    """
    ranks = sorted({len(shape) for shape in activations})
    expect(
        len(ranks) == 1,
        "operands must be activations with the same number of axes, or constants",
        found=f"activations {activations}, constants {constants}",
        expected="at least one activation, and no two ranks",
    )
    expect(
        all(len(shape) <= ranks[0] for shape in constants),
        "a constant has more axes than the activation that it meets",
        found=f"activations {activations}, constants {constants}",
        expected=f"constants with at most {ranks[0]} axes",
    )


@dataclass(frozen=True)
class Add:
    """``a + b``."""

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(shapes)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] + inputs[1])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs
        return self.forward(a, b), lambda grad: (
            unbroadcast(grad, a.shape) if needs[0] else None,
            unbroadcast(grad, b.shape) if needs[1] else None,
        )


@dataclass(frozen=True)
class Sub:
    """``a - b``."""

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(shapes)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] - inputs[1])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs
        return self.forward(a, b), lambda grad: (
            unbroadcast(grad, a.shape) if needs[0] else None,
            unbroadcast(-grad, b.shape) if needs[1] else None,
        )


@dataclass(frozen=True)
class Mul:
    """``a · b``, value by value."""

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(shapes)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] * inputs[1])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs
        return self.forward(a, b), lambda grad: (
            unbroadcast(grad * b, a.shape) if needs[0] else None,
            unbroadcast(grad * a, b.shape) if needs[1] else None,
        )


@dataclass(frozen=True)
class Div:
    """``a / b``, value by value."""

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(shapes)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0] / inputs[1])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs
        y = self.forward(a, b)
        return y, lambda grad: (
            unbroadcast(grad / b, a.shape) if needs[0] else None,
            unbroadcast(-grad * y / b, b.shape) if needs[1] else None,
        )


@dataclass(frozen=True)
class Maximum:
    """The larger of ``a`` and ``b``, value by value; of equal ones the gradient goes to ``a``."""

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(shapes)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.maximum(*inputs))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs
        first = a >= b
        return self.forward(a, b), lambda grad: (
            unbroadcast(grad * first, a.shape) if needs[0] else None,
            unbroadcast(grad * ~first, b.shape) if needs[1] else None,
        )


@dataclass(frozen=True)
class Minimum:
    """The smaller of ``a`` and ``b``, value by value; of equal ones the gradient goes to ``a``."""

    def infer(self, *shapes: Shape) -> Shape:
        return _broadcast(shapes)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(np.minimum(*inputs))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs
        first = a <= b
        return self.forward(a, b), lambda grad: (
            unbroadcast(grad * first, a.shape) if needs[0] else None,
            unbroadcast(grad * ~first, b.shape) if needs[1] else None,
        )


@dataclass(frozen=True)
class MatMul:
    """Matrix product over the last two axes, broadcast over those before: (n, k) · (k, m).

    Attributes:
        transposed: the second operand is stored as (..., m, k).
    """

    transposed: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        a, b = shapes
        inner, outer = (-1, -2) if self.transposed else (-2, -1)
        expect(
            len(a) >= 2 and len(b) >= 2 and a[-1] == b[inner],
            "matrices do not fit for a product",
            found=f"{a} and {b}",
            expected=f"(..., n, k) and (..., {'m, k' if self.transposed else 'k, m'})",
        )
        return (*_broadcast((a[:-2], b[:-2])), a[-2], b[outer])

    def forward(self, *inputs: Array) -> Array:
        a, b = inputs
        self.infer(a.shape, b.shape)
        return np.asarray(a @ (b.swapaxes(-1, -2) if self.transposed else b))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        a, b = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            da = grad @ (b if self.transposed else b.swapaxes(-1, -2)) if needs[0] else None
            db = None
            if needs[1]:
                left, right = (grad, a) if self.transposed else (a, grad)
                if b.ndim == 2:  # one product instead of one for each matrix, and a sum of them
                    left, right = (x.reshape(-1, x.shape[-1]) for x in (left, right))
                db = unbroadcast(left.swapaxes(-1, -2) @ right, b.shape)
            return None if da is None else unbroadcast(da, a.shape), db

        return self.forward(a, b), pullback


@dataclass(frozen=True)
class ReduceMax:
    """The largest value along the last axis, which stays with size 1."""

    def infer(self, *shapes: Shape) -> Shape:
        return (*shapes[0][:-1], 1)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0].max(axis=-1, keepdims=True))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        first = np.zeros(x.shape, x.dtype)
        np.put_along_axis(first, x.argmax(axis=-1, keepdims=True), 1, axis=-1)
        return self.forward(x), lambda grad: (first * grad,)


@dataclass(frozen=True)
class ReduceSum:
    """The sum along the last axis, which stays with size 1."""

    def infer(self, *shapes: Shape) -> Shape:
        return (*shapes[0][:-1], 1)

    def forward(self, *inputs: Array) -> Array:
        return np.asarray(inputs[0].sum(axis=-1, keepdims=True))

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        (x,) = inputs
        return self.forward(x), lambda grad: (np.broadcast_to(grad, x.shape),)
