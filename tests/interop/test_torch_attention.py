"""Attention and an encoder block against PyTorch's, outputs and all gradients.

Weights and data are float64; the scale of the scores and the mask are float32 constants of a model,
which is what the tolerance allows for.  A masked score is lowered by 32 here and by infinity there:
exp(-32) is 1e-14.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lutra.frontend.layers import (
    AdditiveAttention,
    Input,
    MultiHeadAttention,
    MultiplicativeAttention,
    Slice,
    TransformerEncoder,
)
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.tensor import Tensor, Variable

torch = pytest.importorskip("torch")

BATCH, STEPS, MEMORY, SIZE, HEADS = 3, 5, 4, 16, 4
TOLERANCE = 1e-6


def prepared(model: Model) -> dict[str, Variable]:
    """The model's variables with random values in float64."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        variable.data = rng.normal(0, 0.4, variable.shape)
    return {variable.name.split(".", 1)[1]: variable for variable in model.variables}


def close(ours: Array | None, theirs: Any) -> None:
    assert ours is not None
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def parameter(value: Array) -> Any:
    return torch.tensor(value, requires_grad=True)


def copied(module: Any, ours: dict[str, Variable], names: dict[str, tuple[str, ...]]) -> None:
    """Give each of PyTorch's parameters the values of ours, stacked; matrices are turned."""
    for theirs, parts in names.items():
        stacked = np.concatenate([ours[part].data.T for part in parts])
        module.get_parameter(theirs).data = torch.tensor(stacked)


def compare_gradients(
    module: Any, ours: dict[str, Variable], names: dict[str, tuple[str, ...]]
) -> None:
    for theirs, parts in names.items():
        grads = [ours[part].grad for part in parts]
        close(np.concatenate([np.asarray(g).T for g in grads]), module.get_parameter(theirs).grad)


PROJECTIONS = {
    "in_proj_weight": ("query.weight", "key.weight", "value.weight"),
    "in_proj_bias": ("query.bias", "key.bias", "value.bias"),
    "out_proj.weight": ("output.weight",),
    "out_proj.bias": ("output.bias",),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_attention(cross: bool, masked: bool) -> None:
    """On one sequence, and from one part of it to the rest."""
    memory = MEMORY if cross else STEPS
    steps = STEPS + MEMORY if cross else STEPS
    allowed = np.random.default_rng(1).random((STEPS, memory)) < 0.6
    allowed[:, 0] = True
    layer = MultiHeadAttention(HEADS, mask=allowed if masked else None)
    x = Input((steps, SIZE))
    parts = (Slice(0, 0, STEPS)(x), Slice(0, STEPS, steps)(x)) if cross else (x,)
    model = Model.of(layer(*parts))
    ours = prepared(model)
    module = torch.nn.MultiheadAttention(SIZE, HEADS, batch_first=True, dtype=torch.float64)
    copied(module, ours, PROJECTIONS)

    data = np.random.default_rng(2).normal(size=(BATCH, steps, SIZE))
    tensor = Variable(data)
    tensor.data = data
    y = model(tensor)
    theirs = parameter(data)
    query, other = (theirs[:, :STEPS], theirs[:, STEPS:]) if cross else (theirs, theirs)
    hidden = torch.tensor(~allowed) if masked else None
    expected, _ = module(query, other, other, attn_mask=hidden)
    close(y.data, expected)

    grad = np.random.default_rng(3).normal(size=y.shape)
    y.backward(grad)
    expected.backward(torch.tensor(grad))
    close(tensor.grad, theirs.grad)
    compare_gradients(module, ours, PROJECTIONS)


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_encoder(norm_first: bool) -> None:
    names = {
        **{f"self_attn.{k}": tuple(f"attention1.{p}" for p in v) for k, v in PROJECTIONS.items()},
        **{f"norm{i}.weight": (f"layer_norm{i}.gamma",) for i in (1, 2)},
        **{f"norm{i}.bias": (f"layer_norm{i}.beta",) for i in (1, 2)},
        **{f"linear{i}.{k}": (f"dense{i}.{k}",) for i in (1, 2) for k in ("weight", "bias")},
    }
    model = Model([TransformerEncoder(HEADS, 24, norm_first=norm_first)], (STEPS, SIZE))
    ours = prepared(model)
    activation = TransformerEncoder(HEADS, 24).activation
    module = torch.nn.TransformerEncoderLayer(
        SIZE,
        HEADS,
        24,
        dropout=0,
        activation=type(activation).__name__.lower(),
        batch_first=True,
        norm_first=norm_first,
        dtype=torch.float64,
    )
    copied(module, ours, names)
    data = np.random.default_rng(2).normal(size=(BATCH, STEPS, SIZE))
    y = model(Tensor(data))
    expected = module(torch.tensor(data))
    close(y.data, expected)
    grad = np.random.default_rng(3).normal(size=y.shape)
    y.backward(grad)
    expected.backward(torch.tensor(grad))
    compare_gradients(module, ours, names)


def test_additive_attention() -> None:
    """Bahdanau's: softmax over v · tanh(W q + U k), written with PyTorch's tensors."""
    x = Input((STEPS, SIZE))
    model = Model.of(AdditiveAttention(6)(x))
    ours = prepared(model)
    data = np.random.default_rng(2).normal(size=(BATCH, STEPS, SIZE))
    w, b, u, v = (
        parameter(ours[name].data)
        for name in ("query.weight", "query.bias", "key.weight", "score.weight")
    )
    z = torch.tensor(data)
    pairs = torch.tanh((z @ w + b)[:, :, None] + (z @ u)[:, None])
    expected = torch.softmax((pairs @ v)[..., 0], -1) @ z
    y = model(Tensor(data))
    close(y.data, expected)
    grad = np.random.default_rng(3).normal(size=y.shape)
    y.backward(grad)
    expected.backward(torch.tensor(grad))
    for name, theirs in zip(
        ("query.weight", "query.bias", "key.weight", "score.weight"), (w, b, u, v), strict=True
    ):
        close(ours[name].grad, theirs.grad)


@pytest.mark.parametrize("kind", ["dot", "scaled_dot", "general"])
def test_multiplicative_attention(kind: Any) -> None:
    """Luong's forms, written with PyTorch's tensors."""
    x = Input((STEPS, SIZE))
    model = Model.of(MultiplicativeAttention(kind)(x))
    ours = prepared(model)
    data = np.random.default_rng(2).normal(size=(BATCH, STEPS, SIZE))
    tensor = Variable(data)
    tensor.data = data
    theirs = parameter(data)
    query = theirs
    weights = {name: parameter(variable.data) for name, variable in ours.items()}
    for weight in weights.values():
        query = query @ weight
    scores = query @ theirs.transpose(1, 2)
    if kind == "scaled_dot":
        scores = scores / SIZE**0.5
    expected = torch.softmax(scores, -1) @ theirs
    y = model(tensor)
    close(y.data, expected)
    grad = np.random.default_rng(3).normal(size=y.shape)
    y.backward(grad)
    expected.backward(torch.tensor(grad))
    close(tensor.grad, theirs.grad)
    for name, weight in weights.items():
        close(ours[name].grad, weight.grad)
