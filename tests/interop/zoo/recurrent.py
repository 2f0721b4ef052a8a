"""LSTM, GRU and RNN, in every direction and layout, and what is made of their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .case import NEVER, Case, Net, functional, nn


def last(layer: Any, out: Any) -> Any:
    """A linear layer on the last step's state."""
    return Net(lambda net, x: net.out(net.layer(x)[0][:, -1]), layer=layer, out=out)


def sequence(layer: Any) -> Any:
    return Net(lambda net, x: net.layer(x)[0], layer=layer)


def of(layer: Any, compute: Callable[[Any, Any], Any], **layers: Any) -> Any:
    """``compute(net, what the layer gives)``."""
    return Net(lambda net, x: compute(net, net.layer(x)), layer=layer, **layers)


def lstm(**kw: Any) -> Any:
    return nn.LSTM(4, 6, batch_first=True, **kw)


def gru(**kw: Any) -> Any:
    return nn.GRU(4, 6, batch_first=True, **kw)


def rnn(**kw: Any) -> Any:
    return nn.RNN(4, 6, batch_first=True, **kw)


def turned(layer: Any) -> Any:
    """A layer with time in front, in a network with the batch in front."""
    return Net(
        lambda net, x: net.layer(x.transpose(0, 1))[0].transpose(0, 1),
        layer=layer,
    )


def echo() -> Any:
    """A code of the whole sequence, and a second layer that spells it out again."""

    def compute(net: Any, x: Any) -> Any:
        _, (code, _) = net.encoder(x)
        repeated = code[-1].unsqueeze(1).repeat(1, x.size(1), 1)
        return net.out(net.decoder(repeated)[0])

    return Net(
        compute, encoder=nn.LSTM(3, 5, batch_first=True), decoder=nn.LSTM(5, 5, batch_first=True),
        out=nn.Linear(5, 3),
    )  # fmt: skip


def attentive() -> Any:
    """A sum of the states, weighted by a softmax over time."""

    def compute(net: Any, x: Any) -> Any:
        states, _ = net.layer(x)
        weights = functional.softmax(net.score(torch.tanh(states)), dim=1)
        return net.out((states * weights).sum(dim=1))

    return Net(
        compute, layer=gru(bidirectional=True), score=nn.Linear(12, 1, bias=False),
        out=nn.Linear(12, 3),
    )  # fmt: skip


def convolved() -> Any:
    """A convolution over time, then an LSTM."""

    def compute(net: Any, x: Any) -> Any:
        x = functional.max_pool1d(functional.relu(net.conv(x)), 2)
        states, _ = net.layer(x.permute(0, 2, 1))
        return net.out(states[:, -1, :])

    return Net(compute, conv=nn.Conv1d(3, 4, 3, padding=1), layer=lstm(), out=nn.Linear(6, 2))


def by_hand() -> Any:
    """An LSTM cell, stepped by the module itself."""

    def compute(net: Any, x: Any) -> Any:
        h = c = torch.zeros(x.size(0), 5)
        for t in range(3):
            h, c = net.cell(x[:, t], (h, c))
        return net.out(h)

    return Net(compute, cell=nn.LSTMCell(3, 5), out=nn.Linear(5, 2))


TWO = {"num_layers": 2, "bidirectional": True}

CASES = [
    Case("lstm_sequence", (7, 4), lambda: sequence(lstm())),
    Case("lstm_last_linear", (7, 4), lambda: last(lstm(), nn.Linear(6, 3))),
    Case("lstm_every_step_linear", (7, 4), lambda: of(
        lstm(), lambda net, y: net.out(y[0]), out=nn.Linear(6, 3)
    )),
    Case("lstm_hidden", (7, 4), lambda: of(
        lstm(), lambda net, y: net.out(y[1][0].squeeze(0)), out=nn.Linear(6, 3)
    )),
    Case("lstm_cell_state", (7, 4), lambda: of(lstm(), lambda net, y: y[1][1][-1])),
    Case("lstm_slices", (8, 4), lambda: of(
        lstm(), lambda net, y: torch.cat([y[0][:, 1::2], y[0][:, :4]], dim=-1)
    )),
    Case("lstm_no_bias", (5, 4), lambda: last(lstm(bias=False), nn.Linear(6, 3, bias=False))),
    Case("lstm_two_layers", (5, 4), lambda: last(lstm(num_layers=2, dropout=0.3), nn.Linear(6, 3))),
    Case("lstm_bidirectional", (5, 4), lambda: of(
        lstm(bidirectional=True), lambda net, y: net.out(y[0]), out=nn.Linear(12, 3)
    )),
    Case("lstm_both_ends", (5, 4), lambda: of(
        lstm(**TWO), lambda net, y: net.out(torch.cat([y[1][0][-2], y[1][0][-1]], 1)),
        out=nn.Linear(12, 3),
    )),
    Case("lstm_two_bidirectional", (5, 4), lambda: of(
        lstm(**TWO), lambda net, y: net.out(y[0].mean(dim=1)), out=nn.Linear(12, 3)
    )),
    Case("lstm_time_major", (5, 4), lambda: sequence(nn.LSTM(4, 6)), batch_axis=1),
    Case("lstm_turned", (5, 4), lambda: turned(nn.LSTM(4, 6))),
    Case(
        "lstm_projection", (5, 4), lambda: last(lstm(proj_size=3), nn.Linear(3, 2)), opsets=NEVER
    ),
    Case("lstm_echo", (5, 3), echo),
    Case("lstm_by_hand", (3, 3), by_hand),
    Case("cnn_lstm", (3, 10), convolved),
    Case("gru_sequence", (7, 4), lambda: sequence(gru())),
    Case("gru_last_linear", (7, 4), lambda: last(gru(), nn.Linear(6, 3))),
    Case("gru_hidden", (6, 4), lambda: of(
        gru(num_layers=2), lambda net, y: net.out(y[1][-1]), out=nn.Linear(6, 3)
    )),
    Case("gru_all_hidden", (6, 4), lambda: of(
        gru(num_layers=2), lambda net, y: net.out(y[1].permute(1, 0, 2).flatten(1)),
        out=nn.Linear(12, 3),
    )),
    Case("gru_two_bidirectional", (5, 4), lambda: sequence(gru(**TWO))),
    Case("gru_no_bias", (5, 4), lambda: sequence(gru(bias=False))),
    Case("gru_time_major", (5, 4), lambda: sequence(nn.GRU(4, 6, num_layers=2)), batch_axis=1),
    Case("gru_attentive", (6, 4), attentive),
    Case("rnn_tanh_sequence", (7, 4), lambda: sequence(rnn())),
    Case("rnn_relu_last", (5, 4), lambda: last(rnn(nonlinearity="relu"), nn.Linear(6, 3))),
    Case("rnn_two_bidirectional", (5, 4), lambda: last(rnn(**TWO), nn.Linear(12, 3))),
    Case("rnn_turned", (5, 4), lambda: turned(nn.RNN(4, 6, bias=False))),
]  # fmt: skip
