"""Losses: how far predictions are from targets, as one number to make small."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from . import ops
from .errors import LutraError, ModelError, ShapeError
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

    Attributes:
        smoothing: share of each target that is spread evenly over all classes, at least 0 and
            below 1 (Szegedy et al., 2016).
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_smoothing(self.smoothing)

    def __call__(self, predictions: Tensor, targets: Array) -> Tensor:
        targets = np.asarray(targets)
        if np.issubdtype(targets.dtype, np.integer):
            _fit(targets.shape, predictions.shape[:-1])
            values = one_hot(targets, predictions.shape[-1], predictions.dtype)
        else:
            values = np.asarray(targets, predictions.dtype)
            _fit(values.shape, predictions.shape)
        values = _smooth(values, self.smoothing, 1 / predictions.shape[-1])
        return apply(ops.SoftmaxCrossEntropy(), predictions, Tensor(values, "target"))


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Mean cross entropy in nats between sigmoid(predictions) and the targets, over all values.

    Predictions are logits: the sigmoid is in the loss, which is exact and stable.  Targets are
    probabilities, 0 to 1, of the predictions' shape; for one logit a sample, ``(batch, ..., 1)``,
    the last axis may be missing.

    Attributes:
        smoothing: how far each target is moved towards 1/2: 0, not at all, to below 1, all the
            way.  For one-sided smoothing, as for a GAN's real samples, give such targets.

    Raises:
        ShapeError: the targets do not fit the predictions.
        ModelError: a target is not a probability.
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        _check_smoothing(self.smoothing)

    def __call__(self, predictions: Tensor, targets: Array) -> Tensor:
        values = np.asarray(targets, predictions.dtype)
        if values.shape == predictions.shape[:-1] and predictions.shape[-1:] == (1,):
            values = values[..., None]
        _fit(values.shape, predictions.shape)
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise ModelError(
                "a target of binary cross entropy is not a probability",
                found=f"targets from {values.min()} to {values.max()}",
                expected="0 to 1",
            )
        values = _smooth(values, self.smoothing, 0.5)
        return apply(ops.SigmoidCrossEntropy(), predictions, Tensor(values, "target"))


def _check_smoothing(smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise LutraError(
            "smoothing is a share of a target", found=smoothing, expected="0 <= smoothing < 1"
        )


def _smooth(targets: Array, smoothing: float, even: float) -> Array:
    """``targets`` moved by a share of ``smoothing`` towards ``even``."""
    return targets * (1 - smoothing) + smoothing * even if smoothing else targets


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

    Targets are class numbers of an integer type, or one-hot rows of the predictions' shape.  A
    single prediction ``(batch, ..., 1)`` is the logit of class 1 against class 0; its targets are
    class numbers with or without the last axis.
    """
    if predictions.shape[-1:] == (1,):
        return _correct_binary(predictions[..., 0], targets)
    if not np.issubdtype(targets.dtype, np.integer):
        ones = targets == 1
        if targets.ndim < 2 or (ones.sum(-1) != 1).any() or (targets[~ones] != 0).any():
            return None
        targets = targets.argmax(-1)
    elif targets.shape != predictions.shape[:-1]:
        return None
    return int((predictions.argmax(-1) == targets).sum())


def _correct_binary(logits: Array, targets: Array) -> int | None:
    if targets.shape == (*logits.shape, 1):
        targets = targets[..., 0]
    numbers = np.issubdtype(targets.dtype, np.integer) and targets.shape == logits.shape
    if not numbers or ((targets != 0) & (targets != 1)).any():
        return None
    return int(((logits > 0) == targets).sum())
