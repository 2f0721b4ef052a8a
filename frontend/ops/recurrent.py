"""Recurrent layers: what they share, and the simplest of them.

Inside, samples are the last axis and steps the first, in the order in which they are worked on.
All that a step reads, the state before it, the features and a 1 for the bias, stands in one block
``(hidden + features + 1, batch)``, and the weights in one matrix likewise.  So a step's sums are
one matrix product, each gate is contiguous, and the gradient of all weights is one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..errors import UnsupportedOpError
from .base import Array, Pullback, Shape, expect

Activation = Literal["tanh", "relu"]


def infer_states(layer: str, gates: int, last: bool, shapes: Sequence[Shape]) -> Shape:
    """Shape of the states, from those of x ``(T, n)``, W ``(n, gates · H)``, R and b.

    Raises:
        ShapeError: they do not fit; the error names ``layer``.
    """
    expect(
        len(shapes) == 4,
        f"{layer} has the wrong number of inputs",
        found=len(shapes),
        expected="4: a sequence, its weight, the recurrent weight and a bias",
    )
    x, w, r, b = shapes
    expect(
        len(x) == 2 and x[0] >= 1,
        f"{layer} needs a sequence of at least one step",
        found=x,
        expected="(steps, features)",
    )
    expect(
        len(r) == 2 and r[0] >= 1 and r[1] == gates * r[0],
        f"the recurrent weight of {layer} does not fit",
        found=r,
        expected=f"(hidden, {gates} * hidden)" if gates > 1 else "(hidden, hidden)",
    )
    expect(
        w == (x[1], r[1]),
        f"the input weight of {layer} does not fit",
        found=f"{w} for input {x} and recurrent weight {r}",
        expected=(x[1], r[1]),
    )
    expect(b == (r[1],), f"the bias of {layer} does not fit", found=b, expected=(r[1],))
    return (r[0],) if last else (x[0], r[0])


def merge(w: Array, r: Array, b: Array) -> Array:
    """Weights in one matrix, ``(H + n + 1, columns)``: rows in the order of a step's block."""
    return np.concatenate([r, w, b[np.newaxis]])


def unroll(x: Array, hidden: int, reverse: bool, dtype: np.dtype[Any]) -> Array:
    """What each step reads, ``(T + 1, H + n + 1, batch)``, from x ``(batch, T, n)``.

    The rows ``[:H]`` are the state before the step: zeros at first, then for the caller to fill
    in.  Of the block behind the last step only they mean something: they are the final state.
    """
    batch, length, features = x.shape
    blocks = np.empty((length + 1, hidden + features + 1, batch), dtype)
    blocks[0, :hidden] = 0
    blocks[:-1, hidden:-1] = (x[:, ::-1] if reverse else x).transpose(1, 2, 0)
    blocks[:, -1] = 1
    return blocks


def collect(values: Array, reverse: bool, last: bool = False) -> Array:
    """Values of the steps, ``(T, m, batch)``, as ``(batch, T, m)`` in time, or the last alone."""
    if last:
        return np.ascontiguousarray(values[-1].T)
    return np.ascontiguousarray((values[::-1] if reverse else values).transpose(2, 0, 1))


def spread(grad: Array, length: int, reverse: bool, last: bool) -> Array:
    """Bring a gradient of what :func:`collect` gives to the steps, in an array of its own."""
    if last:
        steps = np.zeros((length, *grad.shape[::-1]), grad.dtype)
        steps[-1] = grad.T
        return steps
    return (grad[:, ::-1] if reverse else grad).transpose(1, 2, 0).copy()


def product_gradient(blocks: Array, sums: Array) -> Array:
    """Gradient of a matrix ``(k, m)`` that every step multiplied its block by.

    Args:
        blocks: ``(T, k, batch)``.
        sums: gradient of ``matrix.T @ blocks``, ``(T, m, batch)``.
    """
    rows, columns = (a.swapaxes(0, 1).reshape(a.shape[1], -1) for a in (blocks, sums))
    return np.asarray(rows @ columns.T)


def gradients(
    needs: Sequence[bool], inputs: Sequence[Array], blocks: Array, sums: Array, reverse: bool
) -> tuple[Array | None, ...]:
    """Gradients of x, W, R and b, where ``sums`` is that of ``x_t · W + h_(t-1) · R + b``."""
    _, w, r, _ = inputs
    dx = collect(np.matmul(w, sums), reverse) if needs[0] else None
    if not any(needs[1:]):
        return dx, None, None, None
    matrix = product_gradient(blocks[:-1], sums)
    return dx, matrix[len(r) : -1], matrix[: len(r)], matrix[-1]


@dataclass(frozen=True)
class SimpleRnn:
    """``h_t = act(x_t · W + h_(t-1) · R + b)``, from a state of zeros.

    x ``(T, n)``, W ``(n, H)``, R ``(H, H)``, b ``(H,)``.  The result is the state after each step,
    ``(T, H)``, or with ``last`` after the step that is worked on last, ``(H,)``.  With ``reverse``
    steps are worked on from the last to the first; each state keeps the time of its step.
    The gradient of ReLU at 0 is taken as 0.
    """

    activation: Activation = "tanh"
    reverse: bool = False
    last: bool = False

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise UnsupportedOpError(
                "a simple RNN cannot have this activation",
                found=self.activation,
                expected=" or ".join(get_args(Activation)),
            )

    def infer(self, *shapes: Shape) -> Shape:
        return infer_states("a simple RNN", 1, self.last, shapes)

    def forward(self, *inputs: Array) -> Array:
        return self._result(self._run(*inputs), *inputs)

    def _result(self, blocks: Array, *inputs: Array) -> Array:
        return collect(blocks[1:, : len(inputs[2])], self.reverse, self.last)

    def _run(self, x: Array, w: Array, r: Array, b: Array) -> Array:
        """The blocks of all steps, with their states."""
        hidden = len(r)
        blocks = unroll(x, hidden, self.reverse, np.result_type(x, w, r, b))
        matrix = merge(w, r, b).T
        for block, after in zip(blocks, blocks[1:, :hidden], strict=False):
            np.matmul(matrix, block, out=after)
            if self.activation == "tanh":
                np.tanh(after, out=after)
            else:
                np.maximum(after, 0, out=after)
        return blocks

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, _, r, _ = inputs
        blocks = self._run(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            states = blocks[1:, : len(r)]
            slopes = 1 - states * states if self.activation == "tanh" else states > 0
            sums = spread(grad, x.shape[1], self.reverse, self.last)
            for t in range(len(sums) - 1, -1, -1):
                sums[t] *= slopes[t]
                if t:
                    sums[t - 1] += r @ sums[t]
            return gradients(needs, inputs, blocks, sums, self.reverse)

        return self._result(blocks, *inputs), pullback

    def internals(self, *inputs: Array) -> dict[str, Array]:
        """Values inside, ``(batch, T, H)`` in time: ``candidate`` before the activation, state."""
        _, w, r, b = inputs
        blocks = self._run(*inputs)
        values = {
            "candidate": np.matmul(merge(w, r, b).T, blocks[:-1]),
            "hidden": blocks[1:, : len(r)],
        }
        return {name: collect(value, self.reverse) for name, value in values.items()}
