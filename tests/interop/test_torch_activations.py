"""Activations, normalisation and losses against PyTorch: outputs and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.losses import BinaryCrossEntropy, CrossEntropy
from lutra.frontend.ops import Array, Operator
from lutra.frontend.tensor import Variable

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = 1e-10
"""Both sides round differently; sums are over a few hundred values of size 1."""

Reference = Callable[..., Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape) * 3


def compare(op: Operator, reference: Reference, *inputs: Array) -> None:
    """Outputs, and the gradients of all inputs for a random gradient of the output."""
    y, pullback = op.vjp([True] * len(inputs), *inputs)
    theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = reference(*theirs)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)
    grad = normal(*y.shape, seed=1)
    expected.backward(torch.tensor(grad))
    for ours, tensor in zip(pullback(grad), theirs, strict=True):
        assert ours is not None
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("op", "reference"),
    [
        (ops.Relu(), F.relu),
        (ops.LeakyRelu(0.2), lambda x: F.leaky_relu(x, 0.2)),
        (ops.LeakyRelu(1.5), lambda x: F.leaky_relu(x, 1.5)),
        (ops.Clip(0, 6), F.relu6),
        (ops.Clip(-0.5, 1.5), lambda x: F.hardtanh(x, -0.5, 1.5)),
        (ops.HardSigmoid(0.3, 0.4), lambda x: torch.clamp(0.3 * x + 0.4, 0, 1)),
        (ops.HardSwish(), F.hardswish),
        (ops.Sigmoid(), torch.sigmoid),
        (ops.Tanh(), torch.tanh),
        (ops.Elu(), F.elu),
        (ops.Elu(0.7), lambda x: F.elu(x, 0.7)),
        (ops.Selu(1.6732632423543772, 1.0507009873554805), F.selu),  # ONNX's are of float32
        (ops.Gelu(), F.gelu),
        (ops.Gelu(approximate=True), lambda x: F.gelu(x, approximate="tanh")),
        (ops.Silu(), F.silu),
        (ops.Softplus(), lambda x: F.softplus(x, threshold=50)),
        (ops.Softmax(), lambda x: F.softmax(x, -1)),
        (ops.LogSoftmax(), lambda x: F.log_softmax(x, -1)),
    ],
    ids=lambda value: str(value) if not callable(value) else "",
)
def test_activation(op: Operator, reference: Reference) -> None:
    compare(op, reference, normal(7, 3, 11))


@pytest.mark.parametrize("slopes", [1, 5])
def test_prelu(slopes: int) -> None:
    """PyTorch's channels are the second axis: here the last of two."""
    compare(ops.PRelu(), F.prelu, normal(30, 5), normal(slopes, seed=2))


def test_layer_norm() -> None:
    compare(
        ops.LayerNorm(0.01),
        lambda x, gamma, beta: F.layer_norm(x, (11,), gamma, beta, 0.01),
        normal(4, 3, 11),
        normal(11, seed=2),
        normal(11, seed=3),
    )


def test_rms_norm() -> None:
    compare(
        ops.RmsNorm(0.01),
        lambda x, gamma: F.rms_norm(x, (11,), gamma, 0.01),
        normal(4, 3, 11),
        normal(11, seed=2),
    )


def test_batch_norm_of_training() -> None:
    def reference(x: Any, gamma: Any, beta: Any) -> Any:
        y = F.batch_norm(x.permute(0, 3, 1, 2), None, None, gamma, beta, training=True, eps=0.01)
        return y.permute(0, 2, 3, 1)

    inputs = normal(6, 5, 3, 4), normal(4, seed=2), normal(4, seed=3)
    compare(ops.BatchNormTraining(0.01), reference, *inputs)


def test_batch_norm() -> None:
    """PyTorch has no gradient for the statistics; the others are compared."""
    x, gamma, beta, mean = normal(6, 5, 3, 4), *(normal(4, seed=i) for i in (2, 3, 4))
    variance = np.abs(normal(4, seed=5)) + 0.1
    grad = normal(*x.shape, seed=1)
    y, pullback = ops.BatchNorm(0.01).vjp([True] * 5, x, gamma, beta, mean, variance)
    theirs = [torch.tensor(value, requires_grad=True) for value in (x, gamma, beta)]
    statistics = torch.tensor(mean), torch.tensor(variance)
    scores = theirs[0].permute(0, 3, 1, 2)
    expected = F.batch_norm(scores, *statistics, *theirs[1:], eps=0.01).permute(0, 2, 3, 1)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)
    expected.backward(torch.tensor(grad))
    for ours, tensor in zip(pullback(grad)[:3], theirs, strict=True):
        assert ours is not None
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def test_batch_statistics() -> None:
    x = normal(6, 5, 3, 4)
    variance, mean = torch.var_mean(torch.tensor(x), (0, 1, 2), correction=0)
    for ours, theirs in zip(ops.batch_statistics(x), (mean, variance), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("probabilities", [False, True])
def test_cross_entropy(smoothing: float, probabilities: bool) -> None:
    logits = Variable(normal(9, 5))
    targets: Array = np.random.default_rng(4).integers(0, 5, 9)
    if probabilities:
        targets = np.random.default_rng(4).dirichlet(np.ones(5), 9)
    loss = CrossEntropy(smoothing)(logits, targets)
    loss.backward()
    theirs = torch.tensor(logits.data, requires_grad=True)
    expected = F.cross_entropy(theirs, torch.tensor(targets), label_smoothing=smoothing)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=TOLERANCE)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, theirs.grad.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy(smoothing: float) -> None:
    logits = Variable(normal(9, 5) * 10)
    targets = np.random.default_rng(4).random((9, 5))
    loss = BinaryCrossEntropy(smoothing)(logits, targets)
    loss.backward()
    theirs = torch.tensor(logits.data, requires_grad=True)
    moved = torch.tensor(targets * (1 - smoothing) + smoothing / 2)
    expected = F.binary_cross_entropy_with_logits(theirs, moved)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=TOLERANCE)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, theirs.grad.numpy(), rtol=TOLERANCE, atol=TOLERANCE)
