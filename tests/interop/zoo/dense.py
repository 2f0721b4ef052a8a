"""Perceptrons: every activation, and the normalisations of rows."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from .case import NEVER, Case, Net, functional, nn


class RootMeanSquare(nn.Module):  # type: ignore[misc]
    """The norm as language models write it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size))

    def forward(self, x: Any) -> Any:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def perceptron(*activations: Any, sizes: tuple[int, ...] = (10, 16, 12, 4)) -> Any:
    """Linear layers with the activations between them, and behind the last if there are enough."""
    layers: list[Any] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        layers += activations[i : i + 1]
    return nn.Sequential(*layers)


CASES = [
    Case("mlp_relu", (10,), lambda: perceptron(nn.ReLU(), nn.ReLU())),
    Case("mlp_relu6_hardtanh", (10,), lambda: perceptron(nn.ReLU6(), nn.Hardtanh(-0.5, 2.0))),
    Case("mlp_gelu", (10,), lambda: perceptron(nn.GELU(), nn.GELU(approximate="tanh"))),
    Case("mlp_silu_mish", (10,), lambda: perceptron(nn.SiLU(), nn.Mish())),
    Case("mlp_tanh_sigmoid", (10,), lambda: perceptron(nn.Tanh(), nn.Sigmoid(), nn.Sigmoid())),
    Case("mlp_leaky_prelu", (10,), lambda: perceptron(nn.LeakyReLU(0.2), nn.PReLU(12))),
    Case("mlp_prelu_one_slope", (10,), lambda: perceptron(nn.PReLU(), nn.PReLU())),
    Case("mlp_elu", (10,), lambda: perceptron(nn.ELU(), nn.ELU(0.7))),
    Case("mlp_selu_celu", (10,), lambda: perceptron(nn.SELU(), nn.CELU(1.5))),
    Case("mlp_hard", (10,), lambda: perceptron(nn.Hardswish(), nn.Hardsigmoid())),
    Case("mlp_softplus", (10,), lambda: perceptron(nn.Softplus(), nn.Softplus(beta=2.0))),
    Case("mlp_softsign_logsigmoid", (10,), lambda: perceptron(nn.Softsign(), nn.LogSigmoid())),
    Case("mlp_tanhshrink_softmin", (10,), lambda: perceptron(nn.Tanhshrink(), nn.Softmin(dim=1))),
    Case("mlp_softmax", (10,), lambda: perceptron(nn.ReLU(), nn.Tanh(), nn.Softmax(dim=1))),
    Case("mlp_log_softmax", (10,), lambda: perceptron(nn.ReLU(), nn.ReLU(), nn.LogSoftmax(dim=-1))),
    Case(
        "mlp_batch_norm_dropout",
        (10,),
        lambda: nn.Sequential(
            nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4),
            nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8, affine=False), nn.Tanh(),
            nn.Linear(8, 3),
        ),
    ),
    Case(
        "mlp_layer_norm",
        (10,),
        lambda: nn.Sequential(
            nn.LayerNorm(10), nn.Linear(10, 16), nn.LayerNorm(16, elementwise_affine=False),
            nn.ReLU(), nn.Linear(16, 4),
        ),
    ),
    Case(
        "mlp_rms_norm",
        (10,),
        lambda: nn.Sequential(
            nn.Linear(10, 16), nn.RMSNorm(16, eps=1e-5), nn.ReLU(), nn.Linear(16, 4)
        ),
        opsets=NEVER,
    ),
    Case("mlp_gated", (10,), lambda: nn.Sequential(nn.Linear(10, 16), nn.GLU(), nn.Linear(8, 3))),
    Case(
        "mlp_residual",
        (8,),
        lambda: Net(
            lambda net, x: net.out(x + functional.dropout(net.b(net.a(x).relu()), 0.5, False)),
            a=nn.Linear(8, 16), b=nn.Linear(16, 8, bias=False), out=nn.Linear(8, 2),
        ),
    ),
    Case(
        "mlp_over_time",
        (5, 6),
        lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3, bias=False)),
    ),
    Case(
        "swiglu",
        (6, 8),
        lambda: Net(
            lambda net, x: x + net.down(functional.silu(net.gate(net.norm(x))) * net.up(x)),
            norm=RootMeanSquare(8), gate=nn.Linear(8, 12, bias=False),
            up=nn.Linear(8, 12, bias=False), down=nn.Linear(12, 8, bias=False),
        ),
    ),
]  # fmt: skip
