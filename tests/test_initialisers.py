"""Start values of weights."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend.errors import LutraError, ShapeError
from lutra.frontend.initialisers import (
    Blocks,
    Constant,
    Distribution,
    He,
    Initialiser,
    Normal,
    Ones,
    Orthogonal,
    Xavier,
    Zeros,
)
from lutra.frontend.layers import (
    GRU,
    LSTM,
    Add,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPool2D,
    PositionalEmbedding,
    PReLU,
    ReLU,
    SimpleRNN,
    Tanh,
)
from lutra.frontend.model import Model
from lutra.frontend.ops import Array, Shape


def draw(initialiser: Initialiser, shape: Shape, seed: int = 0) -> Array:
    value = initialiser(shape, np.random.default_rng(seed))
    assert value.shape == shape
    assert value.dtype == np.float32
    return value


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
@pytest.mark.parametrize(
    ("shape", "fans"), [((200, 300), (200, 300)), ((3, 5, 30, 40), (450, 600))]
)
def test_variances(distribution: Distribution, shape: Shape, fans: tuple[int, int]) -> None:
    """Within 3 %, for the draws are at least 18,000."""
    he, xavier = draw(He(distribution), shape), draw(Xavier(distribution), shape)
    np.testing.assert_allclose(he.var(), 2 / fans[0], rtol=0.03)
    np.testing.assert_allclose(xavier.var(), 2 / sum(fans), rtol=0.03)
    reach = abs(he).max() / he.std()
    assert (reach < 1.74) == (distribution == "uniform")
    assert abs(he.mean()) < 0.05 * he.std()
    np.testing.assert_array_equal(he, draw(He(distribution), shape))
    assert (he != draw(He(distribution), shape, seed=1)).any()


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 2, 5)])
def test_orthogonal(shape: Shape) -> None:
    matrix = draw(Orthogonal(2.0), shape).reshape(-1, shape[-1]).astype(np.float64)
    rows, columns = matrix.shape
    gram = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)  # float32


def test_orthogonal_matrices_are_drawn_evenly() -> None:
    """Signs of the factorisation would make the diagonal negative more often than not."""
    corners = [draw(Orthogonal(), (2, 2), seed)[0, 0] for seed in range(400)]
    assert abs(np.sign(corners).mean()) < 0.15


def test_constants() -> None:
    assert (draw(Zeros(), (3,)) == 0).all()
    assert (draw(Ones(), (3,)) == 1).all()
    assert (draw(Constant(0.5), (2, 3)) == 0.5).all()
    assert abs(draw(Normal(0.1), (100, 100)).std() - 0.1) < 0.003


def test_blocks() -> None:
    parts = Blocks((Zeros(), Ones(), Orthogonal()))
    matrix = draw(parts, (4, 12))
    assert not matrix[:, :4].any()
    assert (matrix[:, 4:8] == 1).all()
    np.testing.assert_allclose(matrix[:, 8:].T @ matrix[:, 8:], np.eye(4), atol=1e-6)  # float32
    with pytest.raises(ShapeError, match="blocks"):
        draw(parts, (4, 10))


def test_what_cannot_be() -> None:
    for initialiser in (He(), Xavier(), Orthogonal()):
        with pytest.raises(ShapeError, match="matrices"):
            draw(initialiser, (3,))
    with pytest.raises(LutraError, match="distribution"):
        draw(He("triangular"), (3, 3))  # type: ignore[arg-type]


# In layers ----------------------------------------------------------------------------------------


def start(model: Model, name: str) -> Array:
    return model.weights[name]


def test_he_before_rectifiers_xavier_elsewhere() -> None:
    """What lies between a layer and its activation does not matter."""
    x = Input((8, 8, 32))
    a = MaxPool2D(2)(BatchNorm()(Conv2D(64, padding="same")(x)))
    b = ReLU()(Add()(a, Dense(64)(a)))
    c = Tanh()(Dense(512)(Dropout(0.5)(Flatten()(b))))
    y = Dense(256)(PReLU()(Dense(512)(Dense(400)(c))))
    model = Model.of(y)
    for name, variance in (
        ("conv1.weight", 2 / (9 * 32)),
        ("dense1.weight", 2 / 64),
        ("dense2.weight", 2 / (1024 + 512)),
        ("dense3.weight", 2 / (512 + 400)),
        ("dense4.weight", 2 / 400),
        ("dense5.weight", 2 / (512 + 256)),
    ):
        np.testing.assert_allclose(start(model, name).var(), variance, rtol=0.05)


def test_a_layers_own_initialiser() -> None:
    model = Model(
        [Dense(4, initialiser=Orthogonal(3.0)), ReLU(), Dense(2, initialiser=Ones())], (4,)
    )
    matrix = start(model, "dense1.weight")
    np.testing.assert_allclose(matrix.T @ matrix, 9 * np.eye(4), atol=1e-5)  # float32
    assert (start(model, "dense2.weight") == 1).all()
    assert not start(model, "dense1.bias").any()
    other = Model([Dense(4), ReLU(), Dense(2)], (4,))
    assert model.describe()["layers"] != other.describe()["layers"]


@pytest.mark.parametrize(("layer", "gates"), [(SimpleRNN(6), 1), (LSTM(6), 4), (GRU(6), 3)])
def test_recurrent_layers(layer: SimpleRNN | LSTM | GRU, gates: int) -> None:
    model = Model([layer], (5, 300), seed=1)
    name = model.stages[0].name
    blocks = np.split(start(model, f"{name}.recurrent_weight"), gates, -1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(6), atol=1e-6)  # float32
    assert len({block.tobytes() for block in blocks}) == gates
    for block in np.split(start(model, f"{name}.weight"), gates, -1):
        np.testing.assert_allclose(block.var(), 2 / 306, rtol=0.1)  # 1800 draws
    bias = np.split(start(model, f"{name}.bias"), gates)
    expected = [0, 0, 1, 0] if isinstance(layer, LSTM) else [0] * gates
    assert [set(part.tolist()) for part in bias] == [{value} for value in expected]


def test_embeddings_start_small() -> None:
    model = Model([PositionalEmbedding()], (50, 40))
    assert abs(start(model, "positional_embedding1.weight").std() - 0.02) < 0.002
