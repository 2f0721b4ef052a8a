"""Dense layer: every output sees every input feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .base import Array, Pullback, Shape, expect
from .product import product


@dataclass(frozen=True)
class Dense:
    """``y = x · W + b`` over the last axis: x ``(..., n)``, W ``(n, m)``, b ``(m,)`` or absent."""

    def infer(self, *shapes: Shape) -> Shape:
        x, w, *bias = shapes
        expect(len(w) == 2, "dense weight must be a matrix", found=w, expected="(in, out)")
        expect(
            len(x) >= 1 and x[-1] == w[0],
            "dense input and weight do not fit",
            found=f"input {x}, weight {w}",
            expected=f"{w[0]} input features",
        )
        if bias:
            expect(bias[0] == w[1:], "dense bias does not fit", found=bias[0], expected=w[1:])
        return (*x[:-1], w[1])

    def forward(self, *inputs: Array) -> Array:
        x, w, *bias = inputs
        y = product(x.reshape(-1, w.shape[0]), w)
        if bias:
            y += bias[0]
        return y.reshape(*x.shape[:-1], w.shape[1])

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, w, *bias = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            flat = grad.reshape(-1, w.shape[1])
            dx = product(flat, w.T).reshape(x.shape) if needs[0] else None
            dw = x.reshape(-1, w.shape[0]).T @ flat if needs[1] else None
            db = [flat.sum(axis=0) if needs[2] else None] if bias else []
            return (dx, dw, *db)

        return self.forward(*inputs), pullback
