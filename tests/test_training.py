"""Losses, optimisers, datasets and fit."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from lutra.frontend.data import Dataset, require
from lutra.frontend.errors import LutraError, ModelError, ShapeError, ToolchainError
from lutra.frontend.history import History
from lutra.frontend.layers import Dense, Dropout, ReLU, Tanh
from lutra.frontend.losses import CrossEntropy, MeanSquaredError, correct, one_hot
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.optimisers import SGD, Adam, Optimiser
from lutra.frontend.tensor import Tensor, Variable
from lutra.frontend.training import accuracy, evaluate, fit


def rings(samples: int = 240) -> Dataset:
    """Points in the plane, in three classes by their distance from the origin."""
    points = np.random.default_rng(1).normal(size=(samples, 2))
    radius = np.hypot(points[:, 0], points[:, 1])
    return Dataset(points, np.digitize(radius, [0.8, 1.5]))


def train(
    seed: int = 0, epochs: int = 3, patience: int | None = None, console: Console | None = None
) -> tuple[Model, History]:
    data = rings().split(validation=40, test=40, seed=0)
    model = Model([Dense(16), ReLU(), Dropout(0.1), Dense(3)], (2,), seed)
    optimiser = Adam(model.variables, learning_rate=0.01)
    history = fit(
        model,
        CrossEntropy(),
        optimiser,
        data.train,
        data.validation,
        epochs=epochs,
        seed=seed,
        patience=patience,
        console=console,
    )
    return model, history


# Losses -----------------------------------------------------------------------------------------


def test_cross_entropy() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 4))
    labels = np.array([0, 3, 1, 2, 2, 0])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(p[np.arange(6), labels]).mean()
    loss = CrossEntropy()
    assert loss(Tensor(logits), labels).item() == pytest.approx(expected, rel=1e-12)
    assert loss(Tensor(logits), np.eye(4)[labels]).item() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_is_stable() -> None:
    logits = Variable(np.array([[1e4, -1e4], [0, 1e4]], np.float32))
    loss = CrossEntropy()(logits, np.array([1, 1]))
    assert loss.item() == 1e4
    loss.backward()
    np.testing.assert_array_equal(logits.grad, [[0.5, -0.5], [0, 0]])


def test_mean_squared_error() -> None:
    x = Variable(np.array([[1.0, 2], [3, 4]]))
    loss = MeanSquaredError()(x, np.array([[1, 0], [3, 3]]))
    assert loss.item() == (4 + 1) / 4
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[0, 1], [0, 0.5]])


def test_targets_that_do_not_fit() -> None:
    logits = Tensor(np.zeros((3, 4)))
    for loss, targets in (
        (CrossEntropy(), np.zeros((3, 3))),
        (CrossEntropy(), np.zeros(2, int)),
        (MeanSquaredError(), np.zeros(3)),
    ):
        with pytest.raises(ShapeError):
            loss(logits, targets)
    for label in (-1, 4):
        with pytest.raises(ModelError, match="label"):
            CrossEntropy()(logits, np.array([0, 1, label]))


def test_correct() -> None:
    predictions = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    assert correct(predictions, np.array([1, 1, 1])) == 2
    assert correct(predictions, np.eye(2)[[1, 0, 0]]) == 2
    assert correct(predictions, predictions) is None
    assert correct(predictions, np.zeros(3)) is None
    assert correct(predictions, np.zeros((3, 2), int)) is None


def test_one_hot() -> None:
    np.testing.assert_array_equal(one_hot(np.array([[2], [0]]), 3), [[[0, 0, 1]], [[1, 0, 0]]])


# Optimisers -------------------------------------------------------------------------------------


def reference(
    kind: str, values: list[Array], grads: list[list[Array]], decay: float
) -> list[Array]:
    """The published update rules, one variable and one step at a time."""
    values = [value.copy() for value in values]
    m = [np.zeros_like(value) for value in values]
    v = [np.zeros_like(value) for value in values]
    for t, step in enumerate(grads, 1):
        for i, g in enumerate(step):
            if kind == "adam":
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g * g
                change = (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-3)
                values[i] = values[i] * (1 - 0.1 * decay) - 0.1 * change
            else:
                m[i] = 0.5 * m[i] + g + decay * values[i]
                values[i] = values[i] - 0.1 * m[i]
    return values


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_updates(kind: str, decay: float) -> None:
    rng = np.random.default_rng(4)
    shapes = [(3, 2), (4,), (2, 2, 1)]
    start = [rng.normal(size=shape) for shape in shapes]
    grads = [[rng.normal(size=shape) for shape in shapes] for _ in range(5)]
    variables = [Variable(value) for value in start]
    optimiser: Optimiser = (
        Adam(variables, 0.1, epsilon=1e-3, weight_decay=decay)
        if kind == "adam"
        else SGD(variables, 0.1, momentum=0.5, weight_decay=decay)
    )
    kept = [[grad.copy() for grad in step] for step in grads]
    for step in grads:
        for variable, grad in zip(variables, step, strict=True):
            variable.grad = grad
        optimiser.step()
    expected = reference(kind, start, kept, decay)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.data, value, rtol=1e-9)
    for step, originals in zip(grads, kept, strict=True):
        for grad, original in zip(step, originals, strict=True):
            np.testing.assert_array_equal(grad, original)


def test_plain_descent() -> None:
    x = Variable(np.array([1.0, -2.0]))
    optimiser = SGD([x], 0.5)
    x.grad = np.array([2.0, 2.0])
    optimiser.step()
    np.testing.assert_array_equal(x.data, [0, -3])
    x.grad = None
    optimiser.step()
    np.testing.assert_array_equal(x.data, [0, -3])


def test_two_optimisers_and_replaced_data() -> None:
    """An optimiser follows a variable whose array was replaced since its last step."""
    x = Variable(np.array([1.0]))
    first, second = SGD([x], 1.0), SGD([x], 1.0)
    for optimiser in (first, second, first):
        x.grad = np.array([1.0])
        optimiser.step()
    assert x.data == -2
    x.data = np.array([10.0])
    x.grad = np.array([1.0])
    first.step()
    assert x.data == 9


def test_wrong_settings() -> None:
    x = [Variable(np.ones(2))]
    for wrong in (
        lambda: Adam(x, learning_rate=0),
        lambda: Adam(x, betas=(1.0, 0.9)),
        lambda: SGD(x, momentum=-0.1),
        lambda: SGD(x, learning_rate=float("nan")),
        lambda: SGD([]),
        lambda: Adam(x).restore({}),
        lambda: Adam(x).restore(SGD(x).state()),
        lambda: Adam([Variable(np.ones(3))]).restore(Adam(x).state()),
    ):
        with pytest.raises(LutraError):
            wrong()


# Data -------------------------------------------------------------------------------------------


def test_batches_hold_every_sample_once() -> None:
    data = Dataset(np.arange(10)[:, None], np.arange(10))
    parts = list(data.batches(4, np.random.default_rng(0)))
    assert [len(x) for x, _ in parts] == [4, 4, 2]
    labels = np.concatenate([y for _, y in parts])
    assert sorted(labels) == list(range(10))
    assert list(labels) != list(range(10))
    for x, y in parts:
        np.testing.assert_array_equal(x[:, 0], y)
    assert [list(y) for _, y in data.batches(6)] == [list(range(6)), list(range(6, 10))]


def test_split_is_stratified_and_complete() -> None:
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    data = Dataset(np.arange(100)[:, None], labels)
    parts = data.split(validation=20, test=30, seed=5)
    assert [len(part) for part in parts] == [50, 20, 30]
    assert sorted(np.concatenate([part.x[:, 0] for part in parts])) == list(range(100))
    for part in parts:
        share = np.bincount(part.y, minlength=3) / len(part)
        np.testing.assert_allclose(share, [0.7, 0.2, 0.1], atol=1.01 / len(part))
    again = data.split(validation=20, test=30, seed=5)
    other = data.split(validation=20, test=30, seed=6)
    np.testing.assert_array_equal(parts.test.x, again.test.x)
    assert (parts.test.x != other.test.x).any()


def test_wrong_data() -> None:
    good = np.zeros((4, 2))
    for x, y in (
        (good, np.zeros(3)),
        (np.zeros((0, 2)), np.zeros(0)),
        (np.full((4, 2), np.nan), np.zeros(4)),
        (good, np.full(4, np.inf)),
        (np.array(["a"]), np.zeros(1)),
        (np.array(3.0), np.zeros(1)),
    ):
        with pytest.raises(LutraError):
            Dataset(x, y)
    with pytest.raises(LutraError, match="parts"):
        Dataset(good, np.zeros(4)).split(validation=2, test=2, seed=0)
    with pytest.raises(ToolchainError, match=r"pip install 'lutra\[examples\]'"):
        require("no_such_module_anywhere", "examples")


# Fit --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights() -> None:
    (a, history), (b, again), (c, _) = train(5), train(5), train(6)
    assert history == again
    for x, y, z in zip(a.variables, b.variables, c.variables, strict=True):
        np.testing.assert_array_equal(x.data, y.data)
        assert (x.data != z.data).any()


def test_learning_reduces_the_loss() -> None:
    model, history = train(epochs=40)
    first, last = history.epochs[0], history.epochs[-1]
    assert [result.epoch for result in history.epochs] == list(range(1, 41))
    assert last.loss < 0.5 * first.loss
    assert last.validation_loss < 0.6 * first.validation_loss
    right = accuracy(model, rings())
    assert right is not None
    assert right > 0.85


def test_regression() -> None:
    x = np.linspace(-1, 1, 64)[:, None]
    data = Dataset(x, np.sin(3 * x))
    model = Model([Dense(16), Tanh(), Dense(1)], (1,))
    optimiser = SGD(model.variables, learning_rate=0.1, momentum=0.9)
    history = fit(model, MeanSquaredError(), optimiser, data, data, epochs=120, batch_size=16)
    assert history.epochs[-1].validation_loss < 0.02
    assert history.epochs[-1].validation_accuracy is None
    assert accuracy(model, data) is None


def test_early_stopping_restores_the_best_weights() -> None:
    """The validation targets contradict the training targets: the first epoch is the best."""
    data = rings()
    contrary = Dataset(data.x, (data.y + 1) % 3)
    model = Model([Dense(16), ReLU(), Dense(3)], (2,), seed=0)
    optimiser = Adam(model.variables, learning_rate=0.01)
    history = fit(model, CrossEntropy(), optimiser, data, contrary, epochs=50, patience=3)
    assert history.stopped_early
    assert history.best is not None
    assert len(history.epochs) == history.best.epoch + 3 < 50
    loss, _ = evaluate(model, CrossEntropy(), contrary)
    assert loss == history.best.validation_loss
    assert loss < history.epochs[-1].validation_loss


def test_without_patience_the_last_weights_stay() -> None:
    model, history = train(epochs=3)
    assert not history.stopped_early
    data = rings().split(validation=40, test=40, seed=0)
    assert evaluate(model, CrossEntropy(), data.validation)[0] == history.epochs[-1].validation_loss


def test_a_log_gets_a_line_an_epoch() -> None:
    text = io.StringIO()
    train(epochs=2, console=Console(file=text, force_terminal=False))
    lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss ")
    assert "accuracy" in lines[1]
    assert "\x1b" not in text.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    text = io.StringIO()
    train(epochs=2, patience=1, console=Console(file=text, force_terminal=True, width=120))
    assert "epoch 2/2" in text.getvalue()
    assert "\x1b" in text.getvalue()


def test_divergence_is_reported() -> None:
    data = rings()
    data = Dataset(data.x, one_hot(data.y, 3))
    model = Model([Dense(3)], (2,))
    optimiser = SGD(model.variables, learning_rate=1e30)
    with pytest.raises(ModelError, match="smaller learning rate"):
        fit(model, MeanSquaredError(), optimiser, data, data, epochs=5)


def test_wrong_numbers() -> None:
    data, model = rings(), Model([Dense(3)], (2,))
    optimiser = SGD(model.variables)
    for wrong in ({"epochs": 0}, {"batch_size": 0}, {"patience": 0}, {"resume": True}):
        settings = {"epochs": 1} | wrong
        with pytest.raises(LutraError):
            fit(model, CrossEntropy(), optimiser, data, data, **settings)  # type: ignore[arg-type]
