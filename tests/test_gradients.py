"""Every gradient against numeric differentiation, in float64.

The tolerance is that of central differences: with steps of 1e-5 their error is about 1e-10 in
truncation and 1e-11 in rounding, relative to values of size 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.errors import ShapeError
from lutra.frontend.ops import Array, Operator
from tests.cases import CASES, Case

STEP = 1e-5
TOLERANCE = 1e-6


def numeric_gradient(op: Operator, inputs: Sequence[Array], which: int, grad: Array) -> Array:
    """Gradient of ``sum(grad · op(inputs))`` for one input, by central differences."""
    result = np.zeros(inputs[which].shape)
    for index in np.ndindex(*result.shape):
        ends = []
        for step in (STEP, -STEP):
            moved = [x.copy() for x in inputs]
            moved[which][index] += step
            ends.append(float((grad * op.forward(*moved)).sum()))
        result[index] = (ends[0] - ends[1]) / (2 * STEP)
    return result


def check(op: Operator, inputs: Sequence[Array], needs: Sequence[bool] | None = None) -> None:
    """Compare all gradients of an op that are asked for, and see that nothing was changed."""
    needs = [True] * len(inputs) if needs is None else needs
    before = [x.copy() for x in inputs]
    y, pullback = op.vjp(needs, *inputs)
    assert np.array_equal(y, op.forward(*inputs))
    grad = np.random.default_rng(5).normal(size=y.shape)
    kept = grad.copy()
    parts = pullback(grad)
    assert len(parts) == len(inputs)
    for i, part in enumerate(parts):
        if needs[i]:
            assert part is not None
            assert part.shape == inputs[i].shape
            expected = numeric_gradient(op, inputs, i, grad)
            np.testing.assert_allclose(part, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert np.array_equal(grad, kept), "the pullback changed the gradient that it was given"
    for x, original in zip(inputs, before, strict=True):
        assert np.array_equal(x, original), "the op changed an input"


def apart(shape: tuple[int, ...], seed: int = 3) -> Array:
    """Values that are at least 0.01 from each other and from 0, in random order."""
    n = int(np.prod(shape))
    values = (np.arange(n) - n // 2 + 0.5) * 0.03
    return np.random.default_rng(seed).permutation(values).reshape(shape)


WITH_KINKS = (
    ops.MaxPool
    | ops.Relu
    | ops.LeakyRelu
    | ops.PRelu
    | ops.Clip
    | ops.Abs
    | ops.ThresholdedRelu
    | ops.Softsign
    | ops.Celu
)


def smooth_inputs(case: Case) -> list[Array]:
    """Inputs of a case, none of them within a step of a kink."""
    inputs = case.arrays(batch=2)
    if isinstance(case.op, WITH_KINKS):
        inputs[0] = apart(inputs[0].shape)
    elif isinstance(case.op, ops.HardSigmoid | ops.HardSwish):
        inputs[0] = apart(inputs[0].shape) * 20  # far enough to reach both ends
    return inputs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case(case: Case) -> None:
    inputs = smooth_inputs(case)
    check(case.op, inputs)


@pytest.mark.parametrize("case", [c for c in CASES if c.weights], ids=lambda case: case.name)
def test_gradients_that_are_not_needed(case: Case) -> None:
    inputs = smooth_inputs(case)
    for i in range(len(inputs)):
        check(case.op, inputs, [i == k for k in range(len(inputs))])


@dataclass(frozen=True)
class Training:
    """An op that no network holds, on inputs of these shapes, batch included."""

    op: Operator
    shapes: tuple[tuple[int, ...], ...]


ARITHMETIC = [
    Training(ops.Add(), ((3, 4), (3, 4))),
    Training(ops.Add(), ((3, 1, 4), (2, 1))),
    Training(ops.Sub(), ((3, 4), (4,))),
    Training(ops.Sub(), ((), (2, 3))),
    Training(ops.Mul(), ((3, 4), (3, 1))),
    Training(ops.Mul(), ((2, 3), ())),
    Training(ops.MatMul(), ((3, 4), (4, 2))),
    Training(ops.MatMul(), ((5, 3, 4), (4, 2))),
    Training(ops.MatMul(), ((2, 1, 3, 4), (3, 4, 2))),
    Training(ops.Power(3), ((3, 4),)),
    Training(ops.Sum(), ((3, 4),)),
    Training(ops.Sum((0, -1)), ((3, 2, 4),)),
    Training(ops.Sum((1,), keepdims=True), ((3, 2, 4),)),
    Training(ops.Mean(), ((3, 4),)),
    Training(ops.Mean((0,)), ((3, 4),)),
    Training(ops.Mean((-1,), keepdims=True), ((3, 4),)),
    Training(ops.ReduceMax(), ((3, 4),)),
    Training(ops.ReduceSum(), ((3, 4),)),
    Training(ops.View((2, -1)), ((3, 4),)),
    Training(ops.SumPool(ops.Window((2, 3), (1, 2), ((1, 0), (0, 1)))), ((2, 4, 5, 2),)),
    Training(ops.MaxPool(ops.Window.of((2, 2), (2, 2))), ((2, 7, 5, 3),)),
    Training(ops.MaxPool(ops.Window.of((3, 2), (3, 2))), ((2, 6, 4, 1),)),
    Training(ops.Conv(ops.Window.of((3, 3))), ((2, 6, 6, 1), (3, 3, 1, 3), (3,))),
    Training(ops.BatchNormTraining(), ((5, 3), (3,), (3,))),
    Training(ops.BatchNormTraining(0.1), ((2, 3, 2, 5), (5,), (5,))),
]


@pytest.mark.parametrize("case", ARITHMETIC, ids=lambda case: f"{case.op}{case.shapes}")
def test_every_op_of_training(case: Training) -> None:
    inputs = [apart(shape, seed=i + 3) for i, shape in enumerate(case.shapes)]
    check(case.op, inputs)
    if not isinstance(case.op, ops.SumPool | ops.MaxPool | ops.Conv):  # these count no batch axis
        assert case.op.infer(*case.shapes) == case.op.forward(*inputs).shape


@pytest.mark.parametrize("reverse", [False, True])
def test_the_memory_of_an_lstm(reverse: bool) -> None:
    shapes = ((2, 4, 3), (3, 20), (5, 20), (20,))
    check(ops.Lstm(reverse, last=True, memory=True), [apart(s, i) for i, s in enumerate(shapes)])


@pytest.mark.parametrize("op", [ops.Div(), ops.Log(), ops.Power(0.5), ops.Power(-2)], ids=str)
def test_ops_of_positive_values(op: Operator) -> None:
    inputs = [np.abs(apart((3, 4), seed)) + 1 for seed in range(2 if op == ops.Div() else 1)]
    check(op, inputs)


def test_div_broadcasts() -> None:
    check(ops.Div(), [apart((3, 4)), np.abs(apart((4,))) + 1])


@pytest.mark.parametrize("op", [ops.Maximum(), ops.Minimum()], ids=str)
def test_the_larger_and_the_smaller_of_two(op: Operator) -> None:
    """Away from ties, and broadcast; of equal values the first gets the gradient."""
    check(op, [apart((3, 4)), apart((2, 1, 4)) + 0.01])
    one = np.ones((2, 2))
    _, pullback = op.vjp([True, True], one, one)
    first, second = pullback(one)
    np.testing.assert_array_equal(first, one)
    np.testing.assert_array_equal(second, 0 * one)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4), (1, 2)])
def test_losses(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    for op in (ops.SquaredError(), ops.SoftmaxCrossEntropy(), ops.SigmoidCrossEntropy()):
        assert op.infer(shape, shape) == ()
        with pytest.raises(ShapeError):
            op.infer(shape, shape[1:])
    check(ops.SquaredError(), [rng.normal(size=shape), rng.normal(size=shape)], [True, False])
    targets = rng.random(shape)
    check(ops.SigmoidCrossEntropy(), [rng.normal(size=shape), targets], [True, False])
    targets /= targets.sum(-1, keepdims=True)
    check(ops.SoftmaxCrossEntropy(), [rng.normal(size=shape), targets], [True, False])


def test_dropout() -> None:
    mask = np.array([[0, 2, 2], [2, 0, 2.0]])
    check(ops.Dropout(), [apart((2, 3)), mask], [True, False])
    check(ops.Dropout(), [apart((2, 3))])


@pytest.mark.parametrize(
    "window",
    [
        ops.Window.of((2, 2), (2, 2)),
        ops.Window.of((2, 3), (2, 3)),
        ops.Window.of((3, 3), (2, 1)),
        ops.Window((2, 2), (2, 2), ((1, 0), (1, 1))),
    ],
    ids=str,
)
def test_max_pool_gives_ties_to_the_first_position(window: ops.Window) -> None:
    """Once to each window: equal values must not multiply the gradient."""
    x = np.random.default_rng(1).integers(0, 2, (2, 6, 6, 3)).astype(np.float64)
    op = ops.MaxPool(window)
    y, pullback = op.vjp([True], x)
    grad = np.random.default_rng(2).integers(1, 9, y.shape).astype(np.float64)
    expected = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(*y.shape):
        places = [
            (n, i * window.stride[0] + a - window.pad[0][0], j * window.stride[1] + b, c)
            for a in range(window.kernel[0])
            for b in range(-window.pad[1][0], window.kernel[1] - window.pad[1][0])
        ]
        inside = [p for p in places if 0 <= p[1] < 6 and 0 <= p[2] < 6]
        expected[max(inside, key=lambda place: x[place])] += grad[n, i, j, c]
    np.testing.assert_array_equal(pullback(grad)[0], expected)


@pytest.mark.parametrize("size", [1, 2**14 - 1, 2**14, 3 * 2**14 + 5])
def test_relu_of_many_values(size: int) -> None:
    x = np.random.default_rng(0).normal(size=(size, 1)).astype(np.float32)
    y = ops.Relu().forward(x.T)
    assert y.shape == (1, size)
    np.testing.assert_array_equal(y, np.where(x.T > 0, x.T, 0))


@pytest.mark.parametrize("shifted", [True, False])
def test_a_quantisation_passes_the_gradient_where_it_does_not_clip(shifted: bool) -> None:
    """Its own derivative is 0 but at the steps; scale and zero point get none."""
    x = np.array([[-9.0, -1.3], [0.2, 4.0]])
    weights = (np.array([0.5]), np.array([1.0]))
    op = ops.Quantize(-4, 3, shifted=shifted)
    y, pull = op.vjp([True] * 3, x, *weights)
    assert np.array_equal(y, op.forward(x, *weights))
    by_x, *others = pull(np.full((2, 2), 7.0))
    assert others == [None, None]
    assert by_x is not None
    assert np.array_equal(by_x, [[0, 7], [7, 0]])


def test_a_sign_passes_the_gradient_within_its_scale() -> None:
    x, scale = np.array([[-2.0, -0.4], [0.5, 0.0]]), np.array([0.5])
    y, pull = ops.Bipolar().vjp([True, True], x, scale)
    assert np.array_equal(y, [[-0.5, -0.5], [0.5, 0.5]])
    by_x, by_scale = pull(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert by_x is not None
    assert by_scale is not None
    assert np.array_equal(by_x, [[0, 2], [3, 4]])
    assert np.array_equal(by_scale, [-1 - 2 + 3 + 4])
