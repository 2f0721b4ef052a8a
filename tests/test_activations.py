"""Activations and normalisation: precision, extreme values, types and shapes that do not fit.

Their gradients are checked with those of all ops, in ``test_gradients.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.errors import LutraError, ShapeError
from lutra.frontend.ops import Array, Operator
from lutra.frontend.ops.erf import BLOCK, erf
from lutra.frontend.tensor import Tensor
from tests.cases import CASES, Case

SMOOTH = [
    ops.Sigmoid(),
    ops.Tanh(),
    ops.Elu(),
    ops.Selu(),
    ops.Gelu(),
    ops.Gelu(approximate=True),
    ops.Silu(),
    ops.Softplus(),
    ops.Softmax(),
    ops.LogSoftmax(),
]


def exact_erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.astype(np.float64)])


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 5e-16), (np.float32, 2.5e-7)])
def test_erf(dtype: Any, error: float) -> None:
    """Relative errors against the C library's, which is good to one unit in the last place."""
    tiny = float(np.finfo(dtype).tiny)
    near = np.geomspace(tiny, 0.1, 2000)
    x: Array = np.concatenate([np.linspace(-7, 7, 3 * BLOCK + 5), near]).astype(dtype)
    y = erf(x)
    assert y.dtype == dtype
    expected = exact_erf(x)
    nonzero = expected != 0
    np.testing.assert_allclose(y[nonzero], expected[nonzero], rtol=error, atol=0)
    assert (y[~nonzero] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_of_special_values(dtype: Any) -> None:
    x: Array = np.array([[math.inf, -math.inf], [1e30, -1e30], [0, math.nan]]).astype(dtype)
    np.testing.assert_array_equal(erf(x), [[1, -1], [1, -1], [0, math.nan]])
    assert erf(x[:0]).shape == (0, 2)


@pytest.mark.parametrize("op", SMOOTH, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows(op: Operator, dtype: Any) -> None:
    """A warning would be an error; gradients of far values are those of the asymptotes."""
    x = np.array([[-1e4, -200, -90, 0, 90, 200, 1e4]], dtype)
    y, pullback = op.vjp([True], x)
    (dx,) = pullback(np.ones_like(y))
    assert dx is not None
    assert y.dtype == dx.dtype == dtype
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("far", [0.0, 49, 60, -60, -1e3, 1e5, -1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_rows_far_apart(far: float, dtype: Any) -> None:
    """A row far above or below the others, and a value that a mask puts out of reach."""
    x = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(dtype)
    x[1, 1] += dtype(far)
    x[0, 0, 2] = -abs(far)
    powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    expected = powers / powers.sum(-1, keepdims=True)
    error = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(ops.Softmax().forward(x), expected, rtol=error * 10, atol=error)
    logs = ops.LogSoftmax().forward(x)
    np.testing.assert_allclose(np.exp(logs), expected, rtol=error * 10, atol=error)


def test_asymptotes() -> None:
    """Far from 0 the gated activations are the identity, exactly, or nothing."""
    x = np.array([-1e3, -200.0, 200.0, 1e3], np.float32)
    gated: list[Operator] = [
        ops.Gelu(),
        ops.Gelu(approximate=True),
        ops.Silu(),
        ops.Softplus(),
        ops.HardSwish(),
    ]
    for op in gated:
        np.testing.assert_array_equal(op.forward(x), np.maximum(x, 0), err_msg=str(op))


@pytest.mark.parametrize(
    ("op", "values"),
    [
        (ops.Relu(), [0, 0, 0, 0.5, 4]),
        (ops.LeakyRelu(0.5), [-2, -0.25, 0, 0.5, 4]),
        (ops.LeakyRelu(2.0), [-8, -1, 0, 0.5, 4]),
        (ops.LeakyRelu(-1.0), [4, 0.5, 0, 0.5, 4]),
        (ops.Clip(-1, 2), [-1, -0.5, 0, 0.5, 2]),
        (ops.Clip(-math.inf, 0.25), [-4, -0.5, 0, 0.25, 0.25]),
        (ops.Clip(-math.inf, math.inf), [-4, -0.5, 0, 0.5, 4]),
        (ops.HardSigmoid(), [0, 0.4, 0.5, 0.6, 1]),
        (ops.HardSigmoid(0.5, 0.25), [0, 0, 0.25, 0.5, 1]),
        (ops.HardSwish(), [0, -0.5 * (0.5 - 0.5 / 6), 0, 0.5 * (0.5 + 0.5 / 6), 4]),
        (ops.Elu(2.0), [2 * math.expm1(-4), 2 * math.expm1(-0.5), 0, 0.5, 4]),
        (ops.Selu(2.0, 3.0), [6 * math.expm1(-4), 6 * math.expm1(-0.5), 0, 1.5, 12]),
    ],
    ids=str,
)
def test_values(op: Operator, values: list[float]) -> None:
    x = np.array([-4, -0.5, 0, 0.5, 4])
    np.testing.assert_allclose(op.forward(x), values, rtol=1e-15, atol=1e-15)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("op", "function"),
    [
        (ops.Sigmoid(), sigmoid),
        (ops.Tanh(), math.tanh),
        (ops.Silu(), lambda x: x * sigmoid(x)),
        (ops.Softplus(), lambda x: math.log1p(math.exp(x))),
        (ops.Gelu(), lambda x: x * math.erfc(-x / math.sqrt(2)) / 2),
        (
            ops.Gelu(approximate=True),
            lambda x: x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
        ),
    ],
    ids=lambda value: "" if callable(value) and not hasattr(value, "forward") else str(value),
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_definitions(op: Operator, function: Callable[[float], float], dtype: Any) -> None:
    """Within a few roundings of values of size 1."""
    x = np.linspace(-9, 9, 1001).astype(dtype)
    expected = [function(value) for value in x.astype(float)]
    error = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(op.forward(x), expected, rtol=error, atol=error)


def test_prelu_has_a_slope_for_each_channel() -> None:
    x = np.array([[-2.0, -2, 3], [4, -1, -1]])
    expected = [[-1, 4, 3], [4, 2, -3]]
    np.testing.assert_array_equal(ops.PRelu().forward(x, np.array([0.5, -2, 3])), expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_op_keeps_float32(case: Case) -> None:
    inputs = case.arrays(dtype=np.float32)
    y, pullback = case.op.vjp([True] * len(inputs), *inputs)
    assert y.dtype == np.float32
    assert y.shape[1:] == case.op.infer(case.shape, *case.more, *case.weights)
    for part, x in zip(pullback(y), inputs, strict=True):
        assert part is not None
        assert part.dtype == np.float32
        assert part.shape == x.shape


def test_batch_norm_of_training_is_batch_norm_of_its_statistics() -> None:
    """On a mean far from 0, where a variance as a difference of squares would be lost."""
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(6, 5, 7, 3)) + np.array([1e3, -50, 0])).astype(np.float32)
    gamma, beta = rng.normal(size=(2, 3)).astype(np.float32)
    mean, variance = ops.batch_statistics(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, exact.var((0, 1, 2)), rtol=1e-4)
    trained = ops.BatchNormTraining(0.01).forward(x, gamma, beta)
    given = ops.BatchNorm(0.01).forward(x, gamma, beta, mean, variance)
    assert trained.dtype == given.dtype == np.float32
    np.testing.assert_allclose(trained, given, atol=1e-3)  # float32 near 1e3 has steps of 6e-5
    np.testing.assert_allclose(
        trained,
        gamma * (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 0.01) + beta,
        atol=2e-4,
    )


def test_rows_of_one_value() -> None:
    """Their deviation is 0: epsilon alone stands in the denominator."""
    x, one, zero = np.full((2, 4), 3.0), np.ones(4), np.zeros(4)
    np.testing.assert_array_equal(ops.LayerNorm().forward(x, one, zero), np.zeros((2, 4)))
    np.testing.assert_allclose(ops.RmsNorm(7.0).forward(x, one), np.full((2, 4), 0.75))


@pytest.mark.parametrize(
    ("op", "shapes", "match"),
    [
        (ops.PRelu(), ((3, 4), (3,)), "slope"),
        (ops.PRelu(), ((3, 4), (3, 4)), "slope"),
        (ops.PRelu(), ((), ()), "slope"),
        (ops.LogSoftmax(), ((),), "needs an axis"),
        (ops.LayerNorm(), ((3, 4), (4,), (3,)), "beta does not fit"),
        (ops.LayerNorm(), ((3, 4), (1,), (4,)), "gamma does not fit"),
        (ops.LayerNorm(), ((), (), ()), "needs an axis"),
        (ops.RmsNorm(), ((3, 4), (3,)), "gamma does not fit"),
        (ops.BatchNorm(), ((4,), (4,), (4,), (4,), (4, 1)), "variance does not fit"),
        (ops.BatchNorm(), ((3, 4), (4,), (4,), (3,), (4,)), "mean does not fit"),
        (ops.BatchNormTraining(), ((3, 4), (4,), ()), "beta does not fit"),
    ],
)
def test_shapes_that_do_not_fit(
    op: Operator, shapes: tuple[tuple[int, ...], ...], match: str
) -> None:
    with pytest.raises(ShapeError, match=match):
        op.infer(*shapes)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (math.nan, 1.0), (0.0, math.nan)])
def test_bounds_that_are_not_in_order(low: float, high: float) -> None:
    with pytest.raises(LutraError, match="not in order"):
        ops.Clip(low, high)


def test_methods_of_tensors() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    t = Tensor(x)
    for result, op in (
        (t.leaky_relu(0.2), ops.LeakyRelu(0.2)),
        (t.gelu(), ops.Gelu()),
        (t.silu(), ops.Silu()),
        (t.softplus(), ops.Softplus()),
        (t.log_softmax(), ops.LogSoftmax()),
    ):
        np.testing.assert_array_equal(result.data, op.forward(x))
