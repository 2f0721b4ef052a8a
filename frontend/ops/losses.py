"""Losses as ops: predictions and targets for a batch in, one number out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .smooth import Sigmoid, Softplus


def _scalar(shapes: tuple[Shape, ...]) -> Shape:
    predictions, targets = shapes
    expect(
        predictions == targets,
        "predictions and targets do not fit",
        found=f"targets {targets}",
        expected=predictions,
    )
    return ()


@dataclass(frozen=True)
class SquaredError:
    """Mean over all values of ``(prediction - target)²``.  Targets are not differentiated."""

    def infer(self, *shapes: Shape) -> Shape:
        return _scalar(shapes)

    def forward(self, *inputs: Array) -> Array:
        difference = (inputs[0] - inputs[1]).ravel()
        return np.asarray(difference @ difference / difference.size)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        difference = inputs[0] - inputs[1]
        scale = np.asarray(2 / difference.size, difference.dtype)
        return self.forward(*inputs), lambda grad: (difference * (grad * scale), None)


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Mean over the batch of ``-sum(target · log softmax(logit))``, over the last axis.

    The targets are probabilities, such as one-hot rows, each of sum 1; they are not
    differentiated.  Only differences from the largest logit are raised to powers, so that nothing
    overflows.
    """

    def infer(self, *shapes: Shape) -> Shape:
        return _scalar(shapes)

    def forward(self, *inputs: Array) -> Array:
        return self._parts(*inputs)[0]

    def _parts(self, logits: Array, targets: Array) -> tuple[Array, Array, Array, float]:
        """The loss; the exponentials and their sums; the number of rows."""
        shifted = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
        powers = np.exp(shifted)
        sums = np.add.reduce(powers, axis=-1, keepdims=True)
        rows = sums.size
        picked = np.dot(targets.ravel(), shifted.ravel())
        return (
            np.asarray((np.add.reduce(np.log(sums), axis=None) - picked) / rows),
            powers,
            sums,
            rows,
        )

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        loss, powers, sums, rows = self._parts(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            share = powers / sums
            share -= inputs[1]
            share *= grad / np.asarray(rows, share.dtype)
            return (share, None)

        return loss, pullback


@dataclass(frozen=True)
class SigmoidCrossEntropy:
    """Mean over all values of ``-t · log sigmoid(x) - (1 - t) · log(1 - sigmoid(x))``.

    x are logits; the targets t are probabilities and are not differentiated.  Each term is
    computed as ``softplus(x) - t · x``, so that nothing overflows.
    """

    def infer(self, *shapes: Shape) -> Shape:
        return _scalar(shapes)

    def forward(self, *inputs: Array) -> Array:
        logits, targets = inputs
        terms = Softplus().forward(logits)
        terms -= targets * logits
        return np.asarray(terms.mean())

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        logits, targets = inputs

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            share = Sigmoid().forward(logits)
            share -= targets
            share *= grad / np.asarray(share.size, share.dtype)
            return (share, None)

        return self.forward(*inputs), pullback
