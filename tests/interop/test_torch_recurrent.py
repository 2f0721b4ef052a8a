"""Recurrent layers against PyTorch's, outputs and all gradients, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from lutra.frontend.ops import Array, Concat, Gru, Lstm, SimpleRnn
from lutra.frontend.tensor import Tensor, Variable, apply

torch = pytest.importorskip("torch")

BATCH, STEPS, FEATURES, HIDDEN = 3, 6, 5, 4
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Kind:
    """One of PyTorch's layers and our op for it.

    Attributes:
        layer: the name of the class in ``torch.nn``.
        op: reads the sequence from its start and gives all states.
        order: for each of our gates, the place of PyTorch's.
        settings: further arguments of PyTorch's layer.
    """

    layer: str
    op: SimpleRnn | Lstm | Gru
    order: tuple[int, ...]
    settings: tuple[tuple[str, str], ...] = ()

    def module(self, layers: int, bidirectional: bool) -> Any:
        torch.manual_seed(3)
        module = getattr(torch.nn, self.layer)(
            FEATURES,
            HIDDEN,
            num_layers=layers,
            batch_first=True,
            bidirectional=bidirectional,
            dtype=torch.float64,
            **dict(self.settings),
        )
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(2)  # so that gates leave the middle
        return module

    def directed(self, *, reverse: bool, last: bool = False) -> SimpleRnn | Lstm | Gru:
        return replace(self.op, reverse=reverse, last=last)

    def ordered(self, rows: Array) -> Array:
        """PyTorch's rows, a block a gate, as our columns."""
        blocks = np.split(rows, len(self.order))
        return np.concatenate([blocks[i] for i in self.order]).T

    def variables(self, module: Any, layer: int, reverse: bool) -> list[Variable]:
        """Our weights of one direction of one layer."""
        w, r, b, c = (self.ordered(a) for a in values(parameters(module, layer, reverse)))
        if not isinstance(self.op, Gru):
            return [Variable(w), Variable(r), Variable(b + c)]
        gates = np.arange(len(b)) < 2 * HIDDEN
        return [Variable(w), Variable(r), Variable(b + gates * c), Variable(c[~gates])]

    def check(self, module: Any, layer: int, reverse: bool, ours: Sequence[Variable]) -> None:
        """Compare the gradients of one direction of one layer."""
        grads = [parameter.grad for parameter in parameters(module, layer, reverse)]
        w, r, b, c = (self.ordered(a) for a in values(grads))
        expected = [w, r, b] if not isinstance(self.op, Gru) else [w, r, b, c[2 * HIDDEN :]]
        for variable, grad in zip(ours, expected, strict=True):
            same(variable.grad, grad)


KINDS = [
    Kind("RNN", SimpleRnn("tanh"), (0,), (("nonlinearity", "tanh"),)),
    Kind("RNN", SimpleRnn("relu"), (0,), (("nonlinearity", "relu"),)),
    Kind("LSTM", Lstm(), (0, 3, 1, 2)),  # theirs: input, forget, candidate, output
    Kind("GRU", Gru(), (1, 0, 2)),  # theirs: reset, update, candidate
]


def parameters(module: Any, layer: int, reverse: bool) -> list[Any]:
    end = f"_l{layer}" + "_reverse" * reverse
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(module, name + end) for name in names]


def values(tensors: Sequence[Any]) -> list[Array]:
    return [tensor.detach().numpy() for tensor in tensors]


def same(ours: Array | None, theirs: Array) -> None:
    assert ours is not None
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def sequence(steps: int = STEPS) -> tuple[Variable, Any]:
    """The same random input for both."""
    x = np.random.default_rng(7).normal(size=(BATCH, steps, FEATURES))
    return Variable(x), torch.tensor(x, requires_grad=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.op))
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_stacked_and_bidirectional(kind: Kind, layers: int, bidirectional: bool) -> None:
    module = kind.module(layers, bidirectional)
    x, their_x = sequence()
    directions = [False, True] if bidirectional else [False]
    weights = {
        (layer, reverse): kind.variables(module, layer, reverse)
        for layer in range(layers)
        for reverse in directions
    }
    y: Tensor = x
    for layer in range(layers):
        parts = [
            apply(kind.directed(reverse=reverse), y, *weights[layer, reverse])
            for reverse in directions
        ]
        y = apply(Concat(1), *parts) if bidirectional else parts[0]
    their_y, _ = module(their_x)
    same(y.data, their_y.detach().numpy())

    grad = np.random.default_rng(8).normal(size=y.shape)
    y.backward(grad)
    their_y.backward(torch.tensor(grad))
    same(x.grad, their_x.grad.numpy())
    for (layer, reverse), ours in weights.items():
        kind.check(module, layer, reverse, ours)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.op))
@pytest.mark.parametrize("steps", [1, STEPS])
def test_last_states(kind: Kind, steps: int) -> None:
    """Both directions end where PyTorch's final states are."""
    module = kind.module(1, True)
    x, their_x = sequence(steps)
    weights = {reverse: kind.variables(module, 0, reverse) for reverse in (False, True)}
    ends = [
        apply(kind.directed(reverse=reverse, last=True), x, *ours)
        for reverse, ours in weights.items()
    ]
    _, state = module(their_x)
    final = state[0] if kind.layer == "LSTM" else state
    for end, their_end in zip(ends, final, strict=True):
        same(end.data, their_end.detach().numpy())

    grad = np.random.default_rng(9).normal(size=(2, BATCH, HIDDEN))
    (ends[0] * grad[0] + ends[1] * grad[1]).sum().backward()
    final.backward(torch.tensor(grad))
    same(x.grad, their_x.grad.numpy())
    for reverse, ours in weights.items():
        kind.check(module, 0, reverse, ours)
