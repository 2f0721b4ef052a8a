"""Tensors: arithmetic, backward over a DAG, and the printed graph."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend.errors import LutraError, ShapeError
from lutra.frontend.ops import Dense
from lutra.frontend.tensor import Tensor, Variable, apply, no_grad


def test_types() -> None:
    assert Tensor([1, 2]).dtype == np.float32
    assert Tensor(1.5).dtype == np.float32
    assert Tensor(np.arange(3)).dtype == np.float32
    assert Tensor(np.zeros(3)).dtype == np.float64
    assert (Variable([1.0]) * 2).dtype == np.float32
    assert (Variable(np.ones(2)) + np.float32(1)).dtype == np.float64


def test_operators_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 4)) + 1, rng.random((3, 4)) + 1
    x, y = Variable(a), Variable(b)
    for ours, expected in (
        (x + y, a + b),
        (x + 2, a + 2),
        (2 + x, 2 + a),
        (x - y, a - b),
        (1 - x, 1 - a),
        (x * y, a * b),
        (3 * x, 3 * a),
        (x / y, a / b),
        (1 / x, 1 / a),
        (x @ b.T, a @ b.T),
        (a.T @ y, a.T @ b),
        (a + y, a + b),
        (-x, -a),
        (x**3, a**3),
        (x.abs(), np.abs(a)),
        (x.exp(), np.exp(a)),
        (x.log(), np.log(a)),
        (x.sum(), a.sum()),
        (x.sum(axis=0), a.sum(axis=0)),
        (x.mean(axis=(0, 1), keepdims=True), a.mean(keepdims=True)),
        (x.relu(), np.maximum(a, 0)),
        (x.tanh(), np.tanh(a)),
        (x.reshape(2, -1), a.reshape(2, -1)),
        (x.reshape(3, 2, 2).flatten(), a),
    ):
        assert isinstance(ours, Tensor)
        np.testing.assert_array_equal(ours.data, expected)
    np.testing.assert_allclose(x.sigmoid().data, 1 / (1 + np.exp(-a)), rtol=1e-12)
    np.testing.assert_allclose(x.softmax().data.sum(-1), 1, rtol=1e-12)


def test_extreme_values_do_not_overflow() -> None:
    x = Tensor([-1e4, 0.0, 1e4])
    np.testing.assert_array_equal(x.sigmoid().data, [0, 0.5, 1])
    np.testing.assert_array_equal(x.softmax().data, [0, 0, 1])


def test_backward_over_a_diamond() -> None:
    """A value that is used several times gets the sum of its gradients."""
    x = Variable(np.array([2.0, 3.0]))
    shared = x * x
    (shared + shared * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * x.data + 3 * x.data**2)


def test_a_gradient_that_two_inputs_share_is_not_added_to_in_place() -> None:
    x, y = Variable(np.ones(3)), Variable(np.ones(3))
    ((x + y) + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])
    np.testing.assert_array_equal(y.grad, [1, 1, 1])


def test_backward_replaces_and_can_be_repeated() -> None:
    x = Variable(np.array(3.0))
    y = x * x
    y.backward()
    y.backward()
    assert x.grad == 6


def test_backward_with_a_gradient() -> None:
    x = Variable(np.ones((2, 2)))
    (x * 3).backward(np.array([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(x.grad, [[3, 6], [9, 12]])


def test_depth_has_no_limit() -> None:
    x = Variable(np.array(1.0))
    y: Tensor = x
    for _ in range(50_000):
        y = y + 0
    y.backward()
    assert x.grad == 1
    del y


def test_constants_get_no_gradient() -> None:
    x, c = Variable(np.ones(2)), Tensor(np.ones(2))
    (x * c).sum().backward()
    assert c.grad is None


def test_no_grad() -> None:
    x = Variable(np.ones(2))
    with no_grad():
        y = x * 2
        assert y.step is None
    assert (x * 2).step is not None
    with pytest.raises(LutraError, match="depends on no variable"):
        y.backward()


def test_no_grad_ends_with_an_error() -> None:
    x = Variable(np.ones(2))
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * 2).step is not None


def test_the_printed_graph() -> None:
    x = Tensor(np.zeros((2, 3)), "x")
    w, b = Variable(np.zeros((3, 4)), "w"), Variable(np.zeros(4), "b")
    y = apply(Dense(), x, w, b).relu()
    assert str((y + y).sum(axis=1).graph()) == "\n".join(
        [
            "%0 = Input x             (2, 3)",
            "%1 = Variable w          (3, 4)",
            "%2 = Variable b          (4,)",
            "%3 = Dense(%0, %1, %2)   (2, 4)",
            "%4 = Relu(%3)            (2, 4)",
            "%5 = Add(%4, %4)         (2, 4)",
            "%6 = Sum[axes=(1,)](%5)  (2,)",
            "7 tensors, 16 trainable values",
        ]
    )


def test_wrong_shapes() -> None:
    x = Variable(np.ones((2, 3)))
    for wrong in (
        lambda: x + np.ones(4),
        lambda: x @ np.ones((2, 3)),
        lambda: x @ np.ones(3),
        lambda: x.sum(axis=2),
        lambda: x.reshape(4),
        lambda: x.reshape(-1, -1),
        lambda: apply(Dense(), x, Variable(np.ones((4, 2)))),
        lambda: x.backward(),
        lambda: (x * 2).backward(),
        lambda: (x * 2).backward(np.ones(3)),
        lambda: x.item(),
        lambda: x.assign(np.ones(3)),
    ):
        with pytest.raises(ShapeError):
            wrong()


def test_variable_owns_its_data() -> None:
    data = np.ones(3)
    x = Variable(data, "x")
    x.assign([4, 5, 6])
    np.testing.assert_array_equal(data, 1)
    assert x.data.tolist() == [4, 5, 6]
    assert "x" in repr(x)
    assert len(x) == 3
    assert Tensor(2).item() == 2
    assert x.numpy() is x.data
