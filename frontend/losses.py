"""Losses: how far predictions are from targets, as one number to make small."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from . import ops
from .errors import ModelError, ShapeError
from .ops import Array, Shape
from .tensor import Tensor, apply


class Loss(Protocol):
    """Called with predictions (batch first) and targets; gives their mean loss, one number."""

    def __call__(self, predictions: Tensor, targets: Array) -> Tensor: ...


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean over all values of ``(prediction - target)²``; targets of the predictions' shape."""

    def __call__(self, predictions: Tensor, targets: Array) -> Tensor:
        values = np.asarray(targets, predictions.dtype)
        _fit(values.shape, predictions.shape)
        return apply(ops.SquaredError(), predictions, Tensor(values, "target"))


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross entropy in nats between softmax(predictions) and the targets.

    Predictions are logits ``(batch, ..., classes)``: the softmax is in the loss, which is exact
    and stable.  Targets are class numbers ``(batch, ...)`` of an integer type, or probabilities of
    the predictions' shape, such as one-hot rows.
    """

    def __call__(self, predictions: Tensor, targets: Array) -> Tensor:
        targets = np.asarray(targets)
        if np.issubdtype(targets.dtype, np.integer):
            _fit(targets.shape, predictions.shape[:-1])
            values = one_hot(targets, predictions.shape[-1], predictions.dtype)
        else:
            values = np.asarray(targets, predictions.dtype)
            _fit(values.shape, predictions.shape)
        return apply(ops.SoftmaxCrossEntropy(), predictions, Tensor(values, "target"))


def one_hot(labels: Array, classes: int, dtype: Any = np.float32) -> Array:
    """Rows of 0 with a 1 at the label: shape ``(*labels.shape, classes)``.

    Raises:
        ModelError: a label is not one of the classes.
    """
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ModelError(
            "a label is not one of the classes",
            found=f"labels from {labels.min()} to {labels.max()}",
            expected=f"0 to {classes - 1}",
            remedy=f"Give the last layer {labels.max() + 1} units, or mend the labels",
        )
    return _identity(classes, np.dtype(dtype))[labels]


@lru_cache(maxsize=8)
def _identity(classes: int, dtype: np.dtype[Any]) -> Array:
    return np.eye(classes, dtype=dtype)


def _fit(found: Shape, expected: Shape) -> None:
    if found != expected:
        raise ShapeError("the targets do not fit the predictions", found=found, expected=expected)


def correct(predictions: Array, targets: Array) -> int | None:
    """How many samples have their largest prediction at the right class; None for no classes.

    Targets are class numbers of an integer type, or one-hot rows of the predictions' shape.
    """
    if not np.issubdtype(targets.dtype, np.integer):
        ones = targets == 1
        if targets.ndim < 2 or (ones.sum(-1) != 1).any() or (targets[~ones] != 0).any():
            return None
        targets = targets.argmax(-1)
    elif targets.shape != predictions.shape[:-1]:
        return None
    return int((predictions.argmax(-1) == targets).sum())
