"""Models with branches: order, names, training, and the graph for export."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.checkpoint import Checkpoint
from lutra.frontend.data import Dataset
from lutra.frontend.errors import ModelError, ShapeError
from lutra.frontend.graph import evaluate
from lutra.frontend.layers import (
    LSTM,
    Add,
    BatchNorm,
    Bidirectional,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Input,
    Multiply,
    ReLU,
    Residual,
    Softmax,
    Symbol,
    Tanh,
)
from lutra.frontend.losses import CrossEntropy
from lutra.frontend.model import Model
from lutra.frontend.optimisers import Adam
from lutra.frontend.schedules import WarmUpCosine
from lutra.frontend.training import fit


def sample(*shape: int) -> ops.Array:
    return np.random.default_rng(0).normal(size=(6, *shape)).astype(np.float32)


def branched(seed: int = 0) -> Model:
    """A value that three layers read, dropout on one branch and at the end."""
    x = Input((4,))
    a = Dense(5)(x)
    b = Dropout(0.5)(ReLU()(a))
    c = Tanh()(Dense(5, bias=False)(x))
    d = Multiply()(Add()(b, c), a)
    return Model.of(Dropout(0.2)(Concat()(d, a, c)), seed)


def test_branches_against_numpy() -> None:
    model, x = branched(), sample(4)
    w = model.weights
    a = x @ w["dense1.weight"] + w["dense1.bias"]
    c = np.tanh(x @ w["dense2.weight"])
    expected = np.concatenate([(np.maximum(a, 0) + c) * a, a, c], -1)
    assert model.output_shape == (15,)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)  # float32


def test_inference_is_the_graph() -> None:
    model, x = branched(), sample(4)
    graph = model.graph("net")
    np.testing.assert_array_equal(model.predict(x), evaluate(graph, {"x": x})["y"])
    np.testing.assert_array_equal(model(x).data, evaluate(graph, {"x": x})["y"])
    assert [(node.name, node.inputs, node.output) for node in graph.nodes] == [
        ("dense1", ("x", "dense1.weight", "dense1.bias"), "dense1"),
        ("relu1", ("dense1",), "relu1"),
        ("dense2", ("x", "dense2.weight"), "dense2"),
        ("tanh1", ("dense2",), "tanh1"),
        ("add1", ("relu1", "tanh1"), "add1"),
        ("multiply1", ("add1", "dense1"), "multiply1"),
        ("concat1", ("multiply1", "dense1", "tanh1"), "y"),
    ]


def test_gradients_through_branches() -> None:
    """Against differences in float64: of all branches, but without dropout."""
    model = branched()
    for variable in model.variables:
        variable.data = variable.data.astype(np.float64)
    x = sample(4).astype(np.float64)
    weight = np.random.default_rng(1).normal(size=(6, 15))
    (model(x) * weight).sum().backward()
    for variable in model.variables:
        assert variable.grad is not None
        for place in np.ndindex(variable.shape):
            values = []
            for shift in (1e-6, -1e-6):
                variable.data[place] += shift
                values.append(float((model(x).data * weight).sum()))
                variable.data[place] -= shift
            slope = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(variable.grad[place], slope, rtol=1e-6, atol=1e-6)


def test_a_list_is_calls_in_a_row() -> None:
    layers = [Conv2D(4), BatchNorm(), ReLU(), GlobalAveragePool(), Flatten(), Dense(3)]
    listed = Model(layers, (6, 6, 2), seed=4)
    value = Input((6, 6, 2))
    for layer in layers:
        value = layer(value)
    called = Model.of(value, seed=4)
    assert listed.describe() == called.describe()
    assert listed.weights.keys() == called.weights.keys()
    for name, weight in listed.weights.items():
        np.testing.assert_array_equal(weight, called.weights[name])


def test_functions_stand_in_a_list() -> None:
    def gate(x: Symbol) -> Symbol:
        return Multiply()(x, Softmax()(Dense(4)(x)))

    model = Model([Dense(4), gate, Residual([Dense(4), ReLU()]), gate], (3,))
    assert [stage.name for stage in model.stages] == [
        "dense1",
        "dense2",
        "softmax1",
        "multiply1",
        "residual1.dense1",
        "residual1.relu1",
        "residual1.add1",
        "dense3",
        "softmax2",
        "multiply2",
    ]


def test_names_that_are_given() -> None:
    x = Input((3, 2))
    y = Bidirectional(LSTM(4))(x, name="encoder")
    y = Dense(2)(Dense(5)(y, name="hidden"), name="logits")
    model = Model.of(Dense(2)(y))
    assert [stage.name for stage in model.stages] == [
        "encoder.forward",
        "encoder.backward",
        "encoder.join",
        "hidden",
        "logits",
        "dense1",
    ]
    assert "encoder.forward.recurrent_weight" in model.weights


def test_names_that_cannot_be() -> None:
    x = Input((3,))
    with pytest.raises(ModelError, match="two layers are named 'a'"):
        Model.of(Dense(2)(Dense(2)(x, name="a"), name="a"))
    with pytest.raises(ModelError, match="two layers are named 'dense1'"):
        Model.of(Dense(2)(Dense(2)(x, name="dense1")))
    for name in ("x", "y", "", "a.b", "a b", "1a"):
        with pytest.raises(ModelError, match="cannot have this name"):
            Dense(2)(x, name=name)


def test_a_layer_twice_has_weights_twice() -> None:
    layer = Dense(3)
    model = Model([layer, layer], (3,))
    assert len(model.variables) == 4
    assert (model.weights["dense1.weight"] != model.weights["dense2.weight"]).any()


def test_one_input_is_needed() -> None:
    with pytest.raises(ModelError, match="one input") as caught:
        Model.of(Add()(Input((3,)), Input((3,))))
    assert "2 inputs" in str(caught.value)


def test_what_does_not_fit_is_named_in_its_branch() -> None:
    x = Input((4, 4, 2))
    a, b = Conv2D(3)(x), Conv2D(3, padding="same")(x)
    with pytest.raises(ShapeError) as caught:
        Add()(a, b)
    assert caught.value.node == "add1"
    with pytest.raises(ShapeError) as caught:
        Model([Residual([Conv2D(2, padding="same"), Conv2D(2, kernel=9)])], (4, 4, 2))
    assert caught.value.node == "residual1.conv2"


def test_then_leaves_the_model_alone() -> None:
    model, x = branched(), sample(4)
    before = model.predict(x)
    one, other = model.then(Dense(3), Softmax()), model.then(Dense(3), Softmax())
    assert [stage.name for stage in one.stages[-2:]] == ["dense3", "softmax1"]
    assert [stage.name for stage in other.stages[-2:]] == ["dense3", "softmax1"]
    assert one.variables[: len(model.variables)] == model.variables
    np.testing.assert_array_equal(model.predict(x), before)
    first = before @ one.weights["dense3.weight"] + one.weights["dense3.bias"]
    powers = np.exp(first)
    np.testing.assert_allclose(one.predict(x), powers / powers.sum(-1, keepdims=True), rtol=1e-4)


def test_a_long_chain() -> None:
    """No recursion, so depth has no limit."""
    model = Model([ReLU()] * 3000, (2,))
    assert model.predict(np.ones((1, 2), np.float32)).tolist() == [[1, 1]]
    assert model.stages[-1].name == "relu3000"


def test_values_are_dropped_once_they_were_read() -> None:
    """Without gradients, a deep model needs no more room than a few of its values."""
    model = Model([Residual([Tanh(), Tanh(), Tanh()])] * 5, (2**18,))
    x = np.ones((1, 2**18), np.float32)
    model.predict(x)
    tracemalloc.start()
    try:
        model.predict(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * x.nbytes


def resnet(seed: int) -> Model:
    block = [Conv2D(4, padding="same", bias=False), BatchNorm(), ReLU()]
    return Model(
        [*block, Residual([*block, Dropout(0.2)]), GlobalAveragePool(), Flatten(), Dense(3)],
        (5, 5, 2),
        seed,
    )


def data() -> tuple[Dataset, Dataset]:
    """Which quarter of an image is bright."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(192, 5, 5, 2)), rng.integers(0, 3, 192)
    x[np.arange(192), :, y] += 1.5
    x[..., 0] *= np.linspace(-1, 1, 5)[:, None] ** 2
    x[np.arange(192), y, y] += 3
    return Dataset(x[:128], y[:128]), Dataset(x[128:], y[128:])


def test_a_branched_model_trains_and_resumes_to_the_bit(tmp_path: Path) -> None:
    def run(epochs: int, path: Path | None = None, resume: bool = False) -> Model:
        model = resnet(1)
        schedule = WarmUpCosine(0.02, 8, 80)
        optimiser = Adam(model.variables, schedule, weight_decay=0.01, clip_norm=1.0)
        history = fit(
            model,
            CrossEntropy(),
            optimiser,
            *data(),
            epochs=epochs,
            batch_size=16,
            patience=None,
            checkpoint=path,
            resume=resume,
        )
        assert len(history.epochs) == epochs
        assert history.epochs[-1].loss < 0.9 * history.epochs[0].loss
        return model

    whole = run(6)
    path = tmp_path / "run.npz"
    run(3, path)
    resumed = run(6, path, resume=True)
    assert "batch_norm1.variance" in Checkpoint.load(path).weights
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(weight, resumed.weights[name])
    x = data()[1].x
    np.testing.assert_array_equal(whole.predict(x), evaluate(whole.graph(), {"x": x})["y"])
    other = resnet(2)
    other.assign(whole.weights)
    np.testing.assert_array_equal(other.predict(x), whole.predict(x))
