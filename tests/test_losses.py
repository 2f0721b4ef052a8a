"""Binary cross entropy, label smoothing, and what counts as right for a single logit."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend.errors import LutraError, ModelError, ShapeError
from lutra.frontend.losses import BinaryCrossEntropy, CrossEntropy, correct
from lutra.frontend.ops import Array
from lutra.frontend.tensor import Tensor, Variable

LOGITS = np.array([[0.3], [-1.2], [2.0], [0.0]])
LABELS = np.array([1, 1, 0, 0])


def binary(logits: Array, targets: Array) -> float:
    p = 1 / (1 + np.exp(-logits))
    return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean())


def test_binary_cross_entropy() -> None:
    loss, expected = BinaryCrossEntropy(), binary(LOGITS[:, 0], LABELS)
    for targets in (LABELS, LABELS[:, None], LABELS.astype(float)):
        assert loss(Tensor(LOGITS), targets).item() == pytest.approx(expected, rel=1e-12)


def test_binary_cross_entropy_of_several_logits() -> None:
    logits = np.random.default_rng(1).normal(size=(5, 3))
    targets = np.random.default_rng(2).random((5, 3))
    loss = BinaryCrossEntropy()(Tensor(logits), targets)
    assert loss.item() == pytest.approx(binary(logits, targets), rel=1e-12)


def test_binary_cross_entropy_is_stable() -> None:
    logits = Variable(np.array([[1e4], [-1e4], [1e4], [-200]], np.float32))
    loss = BinaryCrossEntropy()(logits, np.array([1, 0, 0, 0]))
    assert loss.item() == 1e4 / 4
    loss.backward()
    np.testing.assert_array_equal(logits.grad, [[0], [0], [0.25], [0]])


def test_smoothing() -> None:
    p = np.array([0.95, 0.95, 0.05, 0.05])
    loss = BinaryCrossEntropy(smoothing=0.1)(Tensor(LOGITS), LABELS)
    assert loss.item() == pytest.approx(binary(LOGITS[:, 0], p), rel=1e-12)
    logits = np.random.default_rng(3).normal(size=(2, 4))
    smooth = np.array([[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]])
    for targets in (np.array([1, 3]), np.eye(4)[[1, 3]]):
        loss = CrossEntropy(smoothing=0.2)(Tensor(logits), targets)
        expected = CrossEntropy()(Tensor(logits), smooth)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_that_is_no_share(smoothing: float) -> None:
    for loss in (CrossEntropy, BinaryCrossEntropy):
        with pytest.raises(LutraError, match="smoothing"):
            loss(smoothing)


def test_targets_of_binary_cross_entropy_that_do_not_fit() -> None:
    loss = BinaryCrossEntropy()
    for targets in (LABELS[:3], LABELS[None], np.zeros((4, 2))):
        with pytest.raises(ShapeError):
            loss(Tensor(LOGITS), targets)
    with pytest.raises(ShapeError):
        loss(Tensor(np.zeros((4, 2))), LABELS)
    for wrong in (np.array([0, 1, 2, 0]), np.array([0, 1, -0.5, 0]), np.full(4, np.nan)):
        with pytest.raises(ModelError, match="probability"):
            loss(Tensor(LOGITS), wrong)


def test_correct_of_a_single_logit() -> None:
    """A logit above 0 is class 1."""
    assert correct(LOGITS, LABELS) == 2
    assert correct(LOGITS, LABELS[:, None]) == 2
    assert correct(LOGITS, np.zeros(4, int)) == 2
    assert correct(LOGITS.reshape(2, 2, 1), LABELS.reshape(2, 2)) == 2


def test_targets_of_a_single_output_that_are_no_classes() -> None:
    assert correct(LOGITS, LABELS * 2) is None
    assert correct(LOGITS, LABELS.astype(np.float32)) is None
    assert correct(LOGITS, np.ones((4, 1), np.float32)) is None
    assert correct(LOGITS, np.zeros((4, 2), int)) is None
