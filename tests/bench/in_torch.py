"""The networks of the benchmarks in PyTorch, written as its users do, with our weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lutra.frontend.model import Model
from lutra.frontend.ops import Array, Shape
from tests.bench.peers import CNN, LSTM_PEER, MLP

torch.set_num_threads(1)

LSTM_GATES = (0, 2, 3, 1)
"""Ours (input, output, forget, cell) in PyTorch's order: input, forget, cell, output."""

GRU_GATES = (1, 0, 2)
"""Ours (update, reset, candidate) in PyTorch's order: reset, update, candidate."""

ODD = nn.ZeroPad2d((0, 1, 0, 1))
"""Where a stride of 2 leaves one row and column to pad, ours stand behind; ``padding=1`` would put
them in front.  It takes about a hundredth of PyTorch's step."""


@dataclass(frozen=True)
class Network:
    """A network in PyTorch, where channels come first.

    Attributes:
        parts: its modules and parameters, in the order of our variables.
        run: the result for a batch.
        reads, writes: dense layers that read flattened images or write such, and the images'
            shapes in our layout.
    """

    parts: Sequence[Any]
    run: Callable[[Any], Any]
    reads: Mapping[Any, Shape] = field(default_factory=dict)
    writes: Mapping[Any, Shape] = field(default_factory=dict)

    @property
    def parameters(self) -> list[Any]:
        """What is trained."""
        found = [[p] if isinstance(p, nn.Parameter) else [*p.parameters()] for p in self.parts]
        return [parameter for part in found for parameter in part if parameter.requires_grad]

    def train(self, mode: bool = True) -> None:
        """Let chance and the batch's statistics be at work, or not."""
        for part in self.parts:
            if isinstance(part, nn.Module):
                part.train(mode)

    def enter(self, x: Array) -> Any:
        """Samples in its layout."""
        if x.ndim == 4:
            x = x.transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(x))

    def take(self, model: Model) -> Network:
        """Take up the weights of our model."""
        values = iter([variable.data for variable in model.variables])
        with torch.no_grad():
            for part in self.parts:
                self._fill(part, values)
        assert next(values, None) is None, "a variable is left over"
        return self

    def _fill(self, part: Any, values: Iterator[Array]) -> None:
        match part:
            case nn.Parameter():
                _set(part, next(values))
            case nn.Linear():
                weight = next(values).T
                out = self._order(self.writes.get(part, weight.shape[:1]))
                _set(
                    part.weight, weight[out][:, self._order(self.reads.get(part, weight.shape[1:]))]
                )
                if part.bias is not None:
                    _set(part.bias, next(values)[out])
            case nn.Conv2d() | nn.ConvTranspose2d():
                first = (3, 2) if isinstance(part, nn.Conv2d) else (2, 3)
                _set(part.weight, next(values).transpose(*first, 0, 1))
                if part.bias is not None:
                    _set(part.bias, next(values))
            case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.LayerNorm():
                _set(part.weight, next(values))
                _set(part.bias, next(values))
            case nn.LSTM() | nn.GRU():
                _fill_recurrent(part, values)
            case nn.TransformerEncoderLayer():
                for inner in (part.norm1, part.self_attn, part.norm2, part.linear1, part.linear2):
                    self._fill(inner, values)
            case nn.MultiheadAttention():
                weights = [next(values) for _ in range(6)]
                _set(part.in_proj_weight, np.concatenate([w.T for w in weights[::2]]))
                _set(part.in_proj_bias, np.concatenate(weights[1::2]))
                self._fill(part.out_proj, values)

    def _order(self, shape: Shape) -> Array:
        """Our places of the values of a flattened image, in PyTorch's order."""
        places = np.arange(math.prod(shape)).reshape(shape)
        if len(shape) == 1:
            return places
        return places.transpose(2, 0, 1).reshape(-1)


def _set(parameter: Any, value: Array) -> None:
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def _fill_recurrent(part: Any, values: Iterator[Array]) -> None:
    """The recurrent bias of an LSTM adds nothing to the other one: it stays 0, untrained."""
    gates = LSTM_GATES if isinstance(part, nn.LSTM) else GRU_GATES

    def sorted_gates(value: Array) -> Array:
        blocks = np.split(value, len(gates), axis=-1)
        return np.concatenate([blocks[gate] for gate in gates], axis=-1).T

    _set(part.weight_ih_l0, sorted_gates(next(values)))
    _set(part.weight_hh_l0, sorted_gates(next(values)))
    _set(part.bias_ih_l0, sorted_gates(next(values)))
    part.bias_hh_l0.zero_()
    if isinstance(part, nn.LSTM):
        part.bias_hh_l0.requires_grad_(False)
    else:
        _set(part.bias_hh_l0[2 * part.hidden_size :], next(values))


def sequential(what: str, *end: Any) -> Any:
    """One of the plain networks, with ``end`` behind it.

    That of the LSTM is for hls4ml alone: there, an LSTM gives its last state, and nothing else.
    """
    if what == LSTM_PEER:
        return nn.Sequential(nn.LSTM(6, 20, batch_first=True), nn.Linear(20, 5), *end)
    if what == MLP:
        return nn.Sequential(
            *(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()),
            *(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5), *end),
        )
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 10), *end),
    )


def plain(what: str, network: Any) -> Network:
    """What :func:`sequential` gives."""
    reads = {network[7]: (5, 5, 16)} if what == CNN else {}
    return Network([*network], network, reads)


def recurrent(layer: Any) -> Network:
    """An LSTM or a GRU of 40 units, and a dense layer on its last state."""
    before, dense, after = nn.Dropout(0.1), nn.Linear(layer.hidden_size, 10), nn.Dropout(0.2)

    def run(x: Any) -> Any:
        _, state = layer(before(x))
        last = state[0][-1] if isinstance(layer, nn.LSTM) else state[-1]
        return dense(after(last))

    return Network([before, layer, after, dense], run)


def lstm() -> Network:
    return recurrent(nn.LSTM(8, 40, batch_first=True))


def gru() -> Network:
    return recurrent(nn.GRU(8, 40, batch_first=True))


def attention() -> Network:
    """The last state of a GRU looks back at all of its states, additively."""
    before, after = nn.Dropout(0.1), nn.Dropout(0.2)
    layer, dense = nn.GRU(8, 32, batch_first=True), nn.Linear(64, 10)
    query, key = nn.Linear(32, 16), nn.Linear(32, 16, bias=False)
    score = nn.Linear(16, 1, bias=False)

    def run(x: Any) -> Any:
        states, last = layer(before(x))
        bent = torch.tanh(query(last[-1])[:, None] + key(states))
        weights = torch.softmax(score(bent).squeeze(-1), -1)
        context = torch.bmm(weights[:, None], states)[:, 0]
        return dense(after(torch.cat([last[-1], context], -1)))

    return Network([before, layer, query, key, score, after, dense], run)


def attention_multiplicative() -> Network:
    """The last state of a GRU looks back at all of its states by scaled dot products."""
    before, after = nn.Dropout(0.1), nn.Dropout(0.2)
    layer, dense = nn.GRU(8, 32, batch_first=True), nn.Linear(64, 10)

    def run(x: Any) -> Any:
        states, last = layer(before(x))
        asked = last[-1][:, None]
        context = functional.scaled_dot_product_attention(asked, states, states)[:, 0]
        return dense(after(torch.cat([last[-1], context], -1)))

    return Network([before, layer, after, dense], run)


def transformer() -> Network:
    """One encoder block, with dropout where ours has it."""
    before, after = nn.Dropout(0.1), nn.Dropout(0.2)
    embed, position = nn.Linear(8, 32), nn.Parameter(torch.zeros(8, 32))
    encoder = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True)
    encoder.self_attn.dropout = 0.0
    encoder.dropout = nn.Identity()
    norm, dense = nn.LayerNorm(32), nn.Linear(256, 10)

    def run(x: Any) -> Any:
        tokens = encoder(embed(before(x)) + position)
        return dense(after(norm(tokens).flatten(1)))

    return Network([before, embed, position, encoder, norm, after, dense], run)


def resnet() -> Network:
    """Two residual blocks, the second with twice the channels at half the resolution."""

    def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[Any]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 // stride, bias=False)
        return [layer, nn.BatchNorm2d(outputs)]

    first = nn.Sequential(*conv(1, 16), nn.ReLU())
    block = nn.Sequential(*conv(16, 16), nn.ReLU(), *conv(16, 16))
    again = nn.Sequential(ODD, *conv(16, 32, stride=2), nn.ReLU(), *conv(32, 32))
    shortcut = nn.Sequential(*conv(16, 32, kernel=1, stride=2))
    drop, dense = nn.Dropout(0.2), nn.Linear(32, 10)

    def run(x: Any) -> Any:
        x = first(x)
        x = torch.relu(block(x) + x)
        x = torch.relu(again(x) + shortcut(x))
        return dense(drop(x.mean((2, 3))))

    parts = [*first, *block, *again, *shortcut, drop, dense]
    return Network(parts, run)


def generator() -> Network:
    """Of the GAN."""
    dense = nn.Linear(26, 128, bias=False)
    network = nn.Sequential(
        *(dense, nn.BatchNorm1d(128), nn.ReLU(), nn.Unflatten(1, (32, 2, 2))),
        *(nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid()),
    )
    return Network([*network], network, writes={dense: (2, 2, 32)})


def discriminator() -> Network:
    """Of the GAN."""
    dense = nn.Linear(512, 64)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 1, 1), nn.LeakyReLU(0.2), nn.Dropout(0.3)),
        *(ODD, nn.Conv2d(16, 32, 3, 2), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Flatten()),
        *(dense, nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(64, 10)),
    )
    return Network([*network], network, reads={dense: (4, 4, 32)})


RECIPES = {
    "digits-lstm": lstm,
    "digits-gru": gru,
    "digits-attention": attention,
    "digits-attention-multiplicative": attention_multiplicative,
    "digits-transformer": transformer,
    "digits-resnet": resnet,
}


def network(what: str) -> Network:
    """The network of that name in :func:`tests.bench.peers.trained`."""
    return RECIPES[what]() if what in RECIPES else plain(what, sequential(what))
