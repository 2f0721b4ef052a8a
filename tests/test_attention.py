"""Attention, residual blocks and the encoder block, against NumPy written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lutra.frontend.errors import LutraError, ShapeError
from lutra.frontend.graph import evaluate
from lutra.frontend.layers import (
    GELU,
    AdditiveAttention,
    Conv2D,
    Dense,
    Flatten,
    Input,
    Mask,
    MultiHeadAttention,
    MultiplicativeAttention,
    ReLU,
    Residual,
    Slice,
    SoftAttentionPooling,
    Symbol,
    TransformerEncoder,
)
from lutra.frontend.model import Model
from lutra.frontend.ops import Array

Weights = dict[str, Array]
CAUSAL = np.tri(5, dtype=bool)


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def masked(scores: Array, mask: Array | None) -> Array:
    return scores if mask is None else np.where(mask, scores, -np.inf)


def norm(x: Array, w: Weights, name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return np.asarray(centred / deviation * w[f"{name}.gamma"] + w[f"{name}.beta"])


def dense(x: Array, w: Weights, name: str) -> Array:
    return np.asarray(x @ w[f"{name}.weight"] + w.get(f"{name}.bias", 0))


def additive(q: Array, m: Array, w: Weights, mask: Array | None = None) -> Array:
    """A loop over pairs, as the paper has it."""
    asked, offered = dense(q, w, "query"), dense(m, w, "key")
    scores = np.zeros((len(q), q.shape[1], m.shape[1]))
    for i in range(q.shape[1]):
        for j in range(m.shape[1]):
            bent = np.tanh(asked[:, i] + offered[:, j])
            scores[:, i, j] = (bent @ w["score.weight"])[:, 0]
    return softmax(masked(scores, mask)) @ m


def multi_head(
    q: Array, m: Array, w: Weights, heads: int, mask: Array | None = None, path: str = ""
) -> Array:
    """Head by head."""
    queries, keys, values = (
        np.split(dense(x, w, path + name), heads, -1)
        for x, name in ((q, "query"), (m, "key"), (m, "value"))
    )
    parts = []
    for query, key, value in zip(queries, keys, values, strict=True):
        scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        parts.append(softmax(masked(scores, mask)) @ value)
    return dense(np.concatenate(parts, -1), w, path + "output")


def run(build: Callable[[Symbol], Symbol], x: Array, scope: str) -> tuple[Array, Weights]:
    """The result of a model that is also its graph's, and the weights within a composite."""
    model = Model.of(build(Input(x.shape[1:])), seed=3)
    rng = np.random.default_rng(5)
    # Biases start at 0, where a wrong one would not be seen.
    model.assign(
        {name: value + rng.normal(0, 0.1, value.shape) for name, value in model.weights.items()}
    )
    found = model.predict(x)
    np.testing.assert_array_equal(found, evaluate(model.graph(), {"x": x})["y"])
    weights = {
        name.removeprefix(f"{scope}."): value.astype(np.float64)
        for name, value in model.weights.items()
    }
    return found, weights


def sample(*shape: int) -> Array:
    return np.random.default_rng(7).normal(size=(4, *shape)).astype(np.float32)


def close(found: Array, expected: Array) -> None:
    """The model computes in float32, the reference in float64."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# Each kind of attention ---------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, CAUSAL])
def test_additive_self_attention(mask: Array | None) -> None:
    x = sample(5, 3)
    found, w = run(AdditiveAttention(7, mask=mask), x, "additive_attention1")
    close(found, additive(x, x, w, mask))
    assert w["query.weight"].shape == (3, 7)


def test_additive_attention_to_a_memory() -> None:
    x = sample(9, 3)

    def build(symbol: Symbol) -> Symbol:
        return AdditiveAttention(6)(Slice(0, 0, 4)(symbol), Slice(0, 4)(symbol))

    found, w = run(build, x, "additive_attention1")
    close(found, additive(x[:, :4], x[:, 4:], w))


def test_a_single_query() -> None:
    """The last state of a recurrent layer is one; its result is one vector."""
    x = sample(5, 3)

    def build(symbol: Symbol) -> Symbol:
        return AdditiveAttention(6)(Flatten()(Slice(0, 4)(symbol)), symbol)

    found, w = run(build, x, "additive_attention1")
    close(found, additive(x[:, 4:], x, w)[:, 0])


@pytest.mark.parametrize("mask", [None, CAUSAL])
@pytest.mark.parametrize("kind", ["dot", "scaled_dot", "general"])
def test_multiplicative_attention(kind: str, mask: Array | None) -> None:
    x = sample(5, 3)
    layer = MultiplicativeAttention(kind, mask=mask)  # type: ignore[arg-type]
    found, w = run(layer, x, "multiplicative_attention1")
    query = dense(x, w, "query") if kind == "general" else x
    scores = query @ x.swapaxes(1, 2) / (np.sqrt(3) if kind == "scaled_dot" else 1)
    close(found, softmax(masked(scores, mask)) @ x)
    assert bool(w) == (kind == "general")


def test_general_attention_takes_queries_of_another_width() -> None:
    x = sample(5, 4)

    def build(symbol: Symbol) -> Symbol:
        return MultiplicativeAttention("general")(Dense(6)(symbol, name="wide"), symbol)

    found, w = run(build, x, "multiplicative_attention1")
    scores = dense(dense(x, w, "wide"), w, "query") @ x.swapaxes(1, 2)
    close(found, softmax(scores) @ x)


@pytest.mark.parametrize("mask", [None, CAUSAL])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_multi_head_self_attention(heads: int, mask: Array | None) -> None:
    x = sample(5, 8)
    found, w = run(MultiHeadAttention(heads, mask=mask), x, "attention1")
    close(found, multi_head(x, x, w, heads, mask))


def test_cross_attention_of_another_size() -> None:
    x = sample(9, 6)
    mask = np.random.default_rng(0).random((4, 5)) < 0.6
    mask[:, 0] = True

    def build(symbol: Symbol) -> Symbol:
        layer = MultiHeadAttention(3, size=12, mask=mask)
        return layer(Slice(0, 0, 4)(symbol), Slice(0, 4)(symbol), name="cross")

    found, w = run(build, x, "cross")
    assert w["value.weight"].shape == (6, 12)
    assert w["output.weight"].shape == (12, 6)
    close(found, multi_head(x[:, :4], x[:, 4:], w, 3, mask))


def test_pooling() -> None:
    x = sample(5, 3)
    found, w = run(SoftAttentionPooling(6), x, "attention_pooling1")
    weights = softmax((np.tanh(dense(x, w, "key")) @ w["score.weight"])[..., 0])
    close(found, (weights[..., None] * x).sum(1))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("mask", [None, CAUSAL])
def test_encoder(norm_first: bool, mask: Array | None) -> None:
    x = sample(5, 8)
    layer = TransformerEncoder(2, 12, dropout=0.5, norm_first=norm_first, mask=mask)
    found, w = run(layer, x, "encoder1")

    def attend(value: Array) -> Array:
        return multi_head(value, value, w, 2, mask, "attention1.")

    def feed(value: Array) -> Array:
        return dense(np.maximum(dense(value, w, "dense1"), 0), w, "dense2")

    if norm_first:
        middle = x + attend(norm(x, w, "layer_norm1"))
        expected = middle + feed(norm(middle, w, "layer_norm2"))
    else:
        middle = norm(x + attend(x), w, "layer_norm1")
        expected = norm(middle + feed(middle), w, "layer_norm2")
    close(found, expected)


def test_encoder_names_and_activation() -> None:
    model = Model([TransformerEncoder(2, 12, GELU(), dropout=0.1)], (5, 8))
    found = [stage.name for stage in model.stages]
    assert len(set(found)) == len(found)
    assert found[0] == "encoder1.layer_norm1"
    assert "encoder1.attention1.query" in found
    assert "encoder1.gelu1" in found
    assert found.count("encoder1.dropout2") == 1
    assert found[-1] == "encoder1.add2"


def test_residual() -> None:
    x = sample(4, 4, 3)
    blocks = [Conv2D(3, padding="same"), ReLU()]
    model = Model([Residual(blocks)], (4, 4, 3), seed=1)
    plain = Model(blocks, (4, 4, 3))
    plain.assign({name.removeprefix("residual1."): value for name, value in model.weights.items()})
    np.testing.assert_array_equal(model.predict(x), x + plain.predict(x))


def test_residual_with_a_shortcut() -> None:
    x = sample(4, 4, 3)
    model = Model([Residual([Conv2D(5, stride=2, padding="same")], [Conv2D(5, 1, 2)])], (4, 4, 3))
    w = model.weights
    main = Model([Conv2D(5, stride=2, padding="same")], (4, 4, 3))
    main.assign({f"conv1.{k}": w[f"residual1.conv1.{k}"] for k in ("weight", "bias")})
    kept = x[:, ::2, ::2] @ w["residual1.conv2.weight"][0, 0] + w["residual1.conv2.bias"]
    np.testing.assert_allclose(model.predict(x), main.predict(x) + kept, rtol=1e-5, atol=1e-6)


# Masks --------------------------------------------------------------------------------------------


def test_a_masked_step_has_no_influence() -> None:
    """Whatever stands there, as long as scores are of the usual size, no 16-bit result sees it."""
    x = sample(5, 8)
    model = Model([MultiHeadAttention(2, mask=CAUSAL)], (5, 8), seed=1)
    before = model.predict(x)
    changed = x.copy()
    changed[:, 3] *= -2
    after = model.predict(changed)
    assert abs(after[:, :3] - before[:, :3]).max() < 2**-17
    assert abs(after[:, 3:] - before[:, 3:]).max() > 0.01


def test_masks_that_cannot_be() -> None:
    nothing = CAUSAL.copy()
    nothing[[1, 3]] = False
    with pytest.raises(LutraError, match="nothing to attend to") as caught:
        Model([MultiHeadAttention(2, mask=nothing)], (5, 8))
    assert caught.value.node == "attention1.mask"
    assert "1, 3" in str(caught.value)
    for mask in (np.tri(4), np.ones((5, 6)), np.ones((0, 5))):
        with pytest.raises(ShapeError, match="mask does not fit") as refused:
            Model([Dense(4), AdditiveAttention(2, mask=mask)], (5, 8))
        assert refused.value.node == "additive_attention1.mask"
    with pytest.raises(ShapeError, match="row for each query"):
        MultiplicativeAttention(mask=np.ones(5))


def test_masks_are_told_apart() -> None:
    """A checkpoint of another mask does not fit, though the weights would."""
    texts = {
        str(Model([MultiHeadAttention(2, mask=mask)], (5, 8)).describe()["layers"])
        for mask in (CAUSAL, CAUSAL.T, None)
    }
    assert len(texts) == 3
    assert max(map(len, texts)) < 2000
    assert MultiHeadAttention(2, mask=CAUSAL) == MultiHeadAttention(2, mask=Mask.of(CAUSAL))


def test_the_mask_is_not_a_weight() -> None:
    model = Model([MultiHeadAttention(2, mask=CAUSAL)], (5, 8))
    assert not [name for name in model.weights if "mask" in name or "scale" in name]
    constants = model.graph().constants
    assert set(np.unique(constants["attention1.mask.penalty"])) == {0, -32}


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda x: MultiHeadAttention(3)(x), "attention1"),
        (lambda x: MultiHeadAttention(2)(x, x, x), "attention1"),
        (lambda x: MultiHeadAttention(2)(Input((2, 2, 8))), "attention1"),
        (lambda x: MultiplicativeAttention()(x, Dense(3)(x)), "multiplicative_attention1.scores"),
        (lambda x: SoftAttentionPooling(3)(Flatten()(x)), "attention_pooling1"),
        (lambda x: Residual([Dense(4)])(x), "residual1"),
        (lambda x: Residual([Dense(1)])(x), "residual1"),
        (lambda x: TransformerEncoder(3, 4)(x), "encoder1.attention1"),
    ],
)
def test_what_does_not_fit_is_named(make: Callable[[Symbol], Symbol], where: str) -> None:
    with pytest.raises(ShapeError) as caught:
        make(Input((5, 8)))
    assert caught.value.node == where


def test_settings_that_cannot_be() -> None:
    for wrong in (
        lambda: MultiHeadAttention(0),
        lambda: MultiplicativeAttention("cosine"),  # type: ignore[arg-type]
        lambda: TransformerEncoder(2, 0),
        lambda: TransformerEncoder(2, 4, dropout=1.0),
    ):
        with pytest.raises(LutraError):
            wrong()
