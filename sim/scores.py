"""How well a network does what it was trained for, in float and in fixed point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frontend.errors import ModelError, ShapeError
from ..frontend.graph import Graph
from ..frontend.ops import Array, Sigmoid

MAX_CLASSES = 1000
"""Most classes of which a confusion matrix is kept."""

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Classification:
    """Right and wrong answers.

    Attributes:
        classes: number of classes.
        total: answers compared: samples, times positions where a sample has several.
        float_correct, fixed_correct: answers that are the label.
        agreement: answers of the two networks that are the same, right or wrong.
        float_confusion, fixed_confusion: ``[label][answer]``, counts; None beyond 1000 classes.
    """

    classes: int
    total: int
    float_correct: int
    fixed_correct: int
    agreement: int
    float_confusion: Matrix | None
    fixed_confusion: Matrix | None

    @property
    def float_accuracy(self) -> float:
        """Share of right answers of the float graph, 0 to 1."""
        return self.float_correct / self.total

    @property
    def fixed_accuracy(self) -> float:
        """Share of right answers of the fixed graph, 0 to 1."""
        return self.fixed_correct / self.total

    @property
    def difference(self) -> float:
        """Fixed minus float, in percentage points."""
        return 100 * (self.fixed_correct - self.float_correct) / self.total

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": self.classes,
            "total": self.total,
            "float_correct": self.float_correct,
            "fixed_correct": self.fixed_correct,
            "float_accuracy": self.float_accuracy,
            "fixed_accuracy": self.fixed_accuracy,
            "difference_points": self.difference,
            "agreement": self.agreement / self.total,
            "float_confusion": _lists(self.float_confusion),
            "fixed_confusion": _lists(self.fixed_confusion),
        }


@dataclass(frozen=True)
class Regression:
    """Mean squared error to the targets, in their unit squared."""

    float_error: float
    fixed_error: float

    def to_dict(self) -> dict[str, Any]:
        return {"float_mse": self.float_error, "fixed_mse": self.fixed_error}


def _lists(matrix: Matrix | None) -> list[list[int]] | None:
    return None if matrix is None else [list(row) for row in matrix]


class ClassTally:
    """Compares answers with labels.

    The answer of an output is the place of its largest value along the last axis, the first of
    equal ones; of a single sigmoid it is 1 from one half on.

    Args:
        labels: class numbers, int64, sample axis first.
        outputs: size of the output's last axis.
    """

    def __init__(self, labels: Array, outputs: int) -> None:
        self.labels = labels
        self.outputs = outputs
        self.classes = max(outputs, 2)
        self.total = self.agreement = 0
        self.correct = [0, 0]
        size = self.classes if self.classes <= MAX_CLASSES else 0
        self.confusion = np.zeros((2, size, size), np.int64)

    def check_names(self, names: Sequence[str]) -> None:
        """Raise a :class:`ModelError` unless there is a name for each class, or none at all."""
        if names and len(names) != self.classes:
            raise ModelError(
                "the classes and their names differ in number",
                found=len(names),
                expected=self.classes,
            )

    def add(self, samples: slice, floats: Array, fixed: Array) -> None:
        """Compare a block of outputs, channels last, with the labels of these samples."""
        labels = self.labels[samples]
        answers = [self._answers(floats), self._answers(fixed)]
        self.total += labels.size
        self.agreement += int(np.count_nonzero(answers[0] == answers[1]))
        for i, answer in enumerate(answers):
            self.correct[i] += int(np.count_nonzero(answer == labels))
            if self.confusion.size:
                np.add.at(self.confusion[i], (labels, answer), 1)

    def _answers(self, y: Array) -> Array:
        if self.outputs == 1:
            return (y[..., 0] >= 0.5).astype(np.int64)
        return np.asarray(y.argmax(axis=-1))

    def result(self) -> Classification:
        matrices = [tuple(tuple(row) for row in m.tolist()) for m in self.confusion]
        return Classification(
            self.classes,
            self.total,
            float_correct=self.correct[0],
            fixed_correct=self.correct[1],
            agreement=self.agreement,
            float_confusion=matrices[0] or None,
            fixed_confusion=matrices[1] or None,
        )


class TargetTally:
    """Compares outputs with real targets, channels last, sample axis first."""

    def __init__(self, targets: Array) -> None:
        self.targets = targets
        self.total = 0
        self.errors = [0.0, 0.0]

    def add(self, samples: slice, floats: Array, fixed: Array) -> None:
        """Compare a block of outputs, channels last, with the targets of these samples."""
        targets = self.targets[samples]
        self.total += targets.size
        for i, y in enumerate((floats, fixed)):
            self.errors[i] += float(np.square(y.astype(np.float64) - targets).sum())

    def result(self) -> Regression:
        return Regression(self.errors[0] / self.total, self.errors[1] / self.total)


def score_tally(graph: Graph, y: Array, samples: int) -> ClassTally | TargetTally:
    """Find out what the labels are, and make the tally that compares with them.

    Args:
        graph: the float network, with one output of shape ``(..., n)``.
        y: class numbers ``(samples, ...)``, also with a last axis of 1; one-hot rows
            ``(samples, ..., n)``; or real targets of the output's shape.
        samples: how many there are.

    Raises:
        ShapeError: the labels fit neither the samples nor the output.
        ModelError: they are not finite numbers, or not classes of the network.
    """
    (port,) = graph.outputs
    y = np.asarray(y)
    if y.dtype.kind not in "buif":
        raise ModelError("the labels must be numbers", found=f"type {y.dtype}")
    if not np.isfinite(y).all():
        raise ModelError("the labels hold NaN or infinite values", expected="finite numbers")
    *lead, outputs = port.shape
    whole = bool((y == np.trunc(y)).all())
    if outputs > 1 and whole and y.shape in ((samples, *lead), (samples, *lead, 1)):
        return ClassTally(_labels(y.reshape(samples, *lead), outputs), outputs)
    if outputs == 1 and y.shape == (samples, *lead):
        y = y[..., None]
    if y.shape != (samples, *port.outer_shape):
        raise ShapeError(
            "the labels do not fit the data and the network's output",
            found=y.shape,
            expected=f"class numbers {(samples, *lead)}, or {(samples, *port.outer_shape)}",
        )
    y = port.enter(y)
    if outputs == 1 and whole and _is_sigmoid(graph) and y.min() >= 0 and y.max() <= 1:
        return ClassTally(y[..., 0].astype(np.int64), 1)
    if outputs > 1 and ((y == 0) | (y == 1)).all() and (y.sum(axis=-1) == 1).all():
        return ClassTally(y.argmax(axis=-1), outputs)
    return TargetTally(y.astype(np.float64))


def _labels(y: Array, classes: int) -> Array:
    if y.min() < 0 or y.max() >= classes:
        raise ModelError(
            "a label is not one of the network's classes",
            found=f"{y.min():g} to {y.max():g}",
            expected=f"0 to {classes - 1}",
        )
    return y.astype(np.int64)


def _is_sigmoid(graph: Graph) -> bool:
    (port,) = graph.outputs
    return any(node.output == port.name and isinstance(node.op, Sigmoid) for node in graph.nodes)
