"""Every kind of layer, with what it computes written out in NumPy, slowly and plainly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from lutra.frontend.layers import (
    ELU,
    GELU,
    GRU,
    LSTM,
    SELU,
    Add,
    AveragePool1D,
    AveragePool2D,
    BatchNorm,
    Clip,
    Concat,
    Conv1D,
    Conv2D,
    ConvTranspose1D,
    ConvTranspose2D,
    Dense,
    DepthwiseConv1D,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool,
    HardSigmoid,
    HardSwish,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    MatMul,
    MaxPool1D,
    MaxPool2D,
    Multiply,
    Pad,
    PositionalEmbedding,
    PReLU,
    ReLU,
    Reshape,
    RmsNorm,
    Scale,
    Sigmoid,
    SiLU,
    SimpleRNN,
    Slice,
    Softmax,
    Softplus,
    Subtract,
    Tanh,
    Transpose,
    Upsample,
)
from lutra.frontend.layers.attention import Mask
from lutra.frontend.ops import Array, Shape

Weights = dict[str, Array]
Reference = Callable[..., Array]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def softmax(x: Array) -> Array:
    powers = np.exp(x)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def windows(
    x: Array, kernel: Shape, stride: Shape, pads: Shape, dilation: Shape
) -> Iterator[tuple[Shape, Array]]:
    """Each position of a window over the padded image (batch, H, W, C), and what it sees."""
    sizes = [n + 2 * p for n, p in zip(x.shape[1:], pads, strict=False)]
    wide = np.full((len(x), *sizes, x.shape[-1]), np.nan)
    wide[:, pads[0] : pads[0] + x.shape[1], pads[1] : pads[1] + x.shape[2]] = x
    counts = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)
    ]
    for i, j in itertools.product(*map(range, counts)):
        a, b = i * stride[0], j * stride[1]
        yield (
            (i, j),
            wide[
                :,
                a : a + dilation[0] * (kernel[0] - 1) + 1 : dilation[0],
                b : b + dilation[1] * (kernel[1] - 1) + 1 : dilation[1],
            ],
        )


def convolve(x: Array, w: Array, stride: Shape, pads: Shape, dilation: Shape, groups: int) -> Array:
    found: dict[Shape, Array] = {}
    share = w.shape[-1] // groups
    for place, seen in windows(x, w.shape[:2], stride, pads, dilation):
        seen = np.nan_to_num(seen)
        inputs = np.split(seen, groups, -1)
        outputs = [w[..., g * share : (g + 1) * share] for g in range(groups)]
        parts = [np.einsum("nhwc,hwcm->nm", a, b) for a, b in zip(inputs, outputs, strict=True)]
        found[place] = np.concatenate(parts, -1)
    rows, columns = (max(place[axis] for place in found) + 1 for axis in (0, 1))
    grid = [[found[i, j] for j in range(columns)] for i in range(rows)]
    return np.array(grid).transpose(2, 0, 1, 3)


def transposed(x: Array, w: Array, stride: Shape, crop: Shape, size: Shape) -> Array:
    """Each value adds its multiple of the kernel; then ``crop`` goes off in front."""
    wide = np.zeros((len(x), *(n + 20 for n in size), w.shape[-1]))
    for i, j in itertools.product(range(x.shape[1]), range(x.shape[2])):
        a, b = i * stride[0], j * stride[1]
        part = np.einsum("nc,hwcm->nhwm", x[:, i, j], w)
        wide[:, a : a + w.shape[0], b : b + w.shape[1]] += part
    return wide[:, crop[0] : crop[0] + size[0], crop[1] : crop[1] + size[1]]


def lstm(x: Array, w: Weights, reverse: bool = False) -> Array:
    units = len(w["recurrent_weight"])
    h = c = np.zeros((len(x), units))
    states = np.zeros((len(x), x.shape[1], units))
    order = range(x.shape[1])
    for t in reversed(order) if reverse else order:
        i, o, f, g = np.split(x[:, t] @ w["weight"] + h @ w["recurrent_weight"] + w["bias"], 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states[:, t] = h
    return states


def gru(x: Array, w: Weights, reset_after: bool) -> Array:
    units = len(w["recurrent_weight"])
    h = np.zeros((len(x), units))
    states = []
    for t in range(x.shape[1]):
        wz, wr, wn = np.split(x[:, t] @ w["weight"] + w["bias"], 3, -1)
        rz, rr, rn = np.split(w["recurrent_weight"], 3, -1)
        z, r = sigmoid(wz + h @ rz), sigmoid(wr + h @ rr)
        recalled = r * (h @ rn + w["recurrent_bias"]) if reset_after else (r * h) @ rn
        h = (1 - z) * np.tanh(wn + recalled) + z * h
        states.append(h)
    return np.stack(states, 1)


def rnn(x: Array, w: Weights, bend: Callable[[Array], Array]) -> Array:
    h = np.zeros((len(x), len(w["recurrent_weight"])))
    for t in range(x.shape[1]):
        h = bend(x[:, t] @ w["weight"] + h @ w["recurrent_weight"] + w["bias"])
    return h


def erf(x: Array) -> Array:
    return np.vectorize(math.erf)(x)  # type: ignore[no-any-return]


def pooled(x: Array, combine: Reference, kernel: Shape, stride: Shape, pads: Shape) -> Array:
    seen = dict(windows(x, kernel, stride, pads, (1, 1)))
    rows, columns = (max(place[axis] for place in seen) + 1 for axis in (0, 1))
    grid = [[combine(seen[i, j], axis=(1, 2)) for j in range(columns)] for i in range(rows)]
    return np.array(grid).transpose(2, 0, 1, 3)


@dataclass(frozen=True)
class Kind:
    """A layer, the shape of its input, and what it computes from the input and its weights."""

    layer: Layer
    shape: Shape
    reference: Reference
    more: tuple[Shape, ...] = field(default=())


IMAGE = (7, 6, 4)
KINDS = [
    Kind(Dense(5), (3, 4), lambda x, w: x @ w["weight"] + w["bias"]),
    Kind(Dense(5, bias=False), (4,), lambda x, w: x @ w["weight"]),
    Kind(Dropout(0.5), (4,), lambda x, w: x),
    Kind(
        Conv2D(6, kernel=(3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=2),
        IMAGE,
        lambda x, w: convolve(x, w["weight"], (2, 1), (1, 1), (1, 2), 2) + w["bias"],
    ),
    Kind(
        Conv2D(3, kernel=3, padding="same", dilation=2),
        IMAGE,
        lambda x, w: convolve(x, w["weight"], (1, 1), (2, 2), (2, 2), 1) + w["bias"],
    ),
    Kind(
        Conv1D(4, kernel=3, dilation=2, groups=2),
        (9, 4),
        lambda x, w: (
            convolve(x[:, None], w["weight"][None], (1, 1), (0, 0), (1, 2), 2).squeeze(1)
            + w["bias"]
        ),
    ),
    Kind(
        DepthwiseConv2D(multiplier=2),
        IMAGE,
        lambda x, w: convolve(x, w["weight"], (1, 1), (0, 0), (1, 1), 4) + w["bias"],
    ),
    Kind(
        DepthwiseConv1D(kernel=2, bias=False),
        (5, 3),
        lambda x, w: convolve(x[:, None], w["weight"][None], (1, 1), (0, 0), (1, 1), 3).squeeze(1),
    ),
    Kind(
        ConvTranspose2D(3, kernel=3, stride=2),
        (4, 3, 2),
        lambda x, w: transposed(x, w["weight"], (2, 2), (0, 0), (9, 7)) + w["bias"],
    ),
    Kind(
        ConvTranspose2D(3, kernel=(4, 3), stride=2, padding="same"),
        (4, 3, 2),
        lambda x, w: transposed(x, w["weight"], (2, 2), (1, 0), (8, 6)) + w["bias"],
    ),
    Kind(
        ConvTranspose2D(2, kernel=1, stride=3, padding="same"),
        (2, 3, 2),
        lambda x, w: transposed(x, w["weight"], (3, 3), (0, 0), (6, 9)) + w["bias"],
    ),
    Kind(
        ConvTranspose1D(3, kernel=3, stride=2, padding=1, output_padding=1, bias=False),
        (4, 2),
        lambda x, w: transposed(x[:, None], w["weight"][None], (1, 2), (0, 1), (1, 8)).squeeze(1),
    ),
    Kind(MaxPool2D(2), IMAGE, lambda x, w: pooled(x, np.nanmax, (2, 2), (2, 2), (0, 0))),
    Kind(
        MaxPool2D(3, stride=2, padding=1),
        IMAGE,
        lambda x, w: pooled(x, np.nanmax, (3, 3), (2, 2), (1, 1)),
    ),
    Kind(
        MaxPool2D(2, ceil=True),
        (5, 7, 3),
        lambda x, w: pooled(
            np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=np.nan),
            np.nanmax,
            (2, 2),
            (2, 2),
            (0, 0),
        ),
    ),
    Kind(
        MaxPool1D(3, stride=2),
        (8, 2),
        lambda x, w: pooled(x[:, None], np.nanmax, (1, 3), (1, 2), (0, 0)).squeeze(1),
    ),
    Kind(
        AveragePool2D(3, stride=2, padding=1),
        IMAGE,
        lambda x, w: pooled(x, np.nanmean, (3, 3), (2, 2), (1, 1)),
    ),
    Kind(
        AveragePool2D(3, stride=2, padding=1, count_padding=True),
        IMAGE,
        lambda x, w: pooled(x, np.nansum, (3, 3), (2, 2), (1, 1)) / 9,
    ),
    Kind(
        AveragePool1D(2, ceil=True),
        (5, 3),
        lambda x, w: np.stack([x[:, 0:2].mean(1), x[:, 2:4].mean(1), x[:, 4]], 1),
    ),
    Kind(GlobalAveragePool(), IMAGE, lambda x, w: x.mean((1, 2), keepdims=True)),
    Kind(ReLU(), (5,), lambda x, w: np.maximum(x, 0)),
    Kind(LeakyReLU(0.3), (5,), lambda x, w: np.where(x > 0, x, 0.3 * x)),
    Kind(PReLU(), (2, 5), lambda x, w: np.where(x > 0, x, w["slope"] * x)),
    Kind(Clip(-0.5, 0.25), (5,), lambda x, w: np.clip(x, -0.5, 0.25)),
    Kind(Sigmoid(), (5,), lambda x, w: sigmoid(x)),
    Kind(HardSigmoid(), (5,), lambda x, w: np.clip(0.2 * x + 0.5, 0, 1)),
    Kind(Tanh(), (5,), lambda x, w: np.tanh(x)),
    Kind(ELU(0.7), (5,), lambda x, w: np.where(x > 0, x, 0.7 * np.expm1(x))),
    Kind(
        SELU(),
        (5,),
        lambda x, w: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    ),
    Kind(GELU(), (5,), lambda x, w: x * (1 + erf(x / math.sqrt(2))) / 2),
    Kind(
        GELU(approximate=True),
        (5,),
        lambda x, w: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ),
    Kind(SiLU(), (5,), lambda x, w: x * sigmoid(x)),
    Kind(HardSwish(), (5,), lambda x, w: x * np.clip(x / 6 + 0.5, 0, 1)),
    Kind(Softplus(), (5,), lambda x, w: np.log(1 + np.exp(x))),
    Kind(Softmax(), (2, 5), lambda x, w: softmax(x)),
    Kind(LogSoftmax(), (2, 5), lambda x, w: np.log(softmax(x))),
    Kind(
        BatchNorm(),
        IMAGE,
        lambda x, w: w["gamma"] * (x - w["mean"]) / np.sqrt(w["variance"] + 1e-5) + w["beta"],
    ),
    Kind(
        LayerNorm(),
        (3, 6),
        lambda x, w: (
            (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w["gamma"]
            + w["beta"]
        ),
    ),
    Kind(
        RmsNorm(),
        (3, 6),
        lambda x, w: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w["gamma"],
    ),
    Kind(Flatten(), (2, 3, 4), lambda x, w: x.reshape(len(x), 24)),
    Kind(Reshape((4, 6)), (2, 3, 4), lambda x, w: x.reshape(len(x), 4, 6)),
    Kind(Transpose((1, 2, 0)), (2, 3, 4), lambda x, w: x.transpose(0, 2, 3, 1)),
    Kind(Slice(0, 1, 6, 2), (7, 2), lambda x, w: x[:, 1:6:2]),
    Kind(Slice(-1, step=-1), (3, 5), lambda x, w: x[..., ::-1]),
    Kind(Slice(0, -3, -1), (7, 2), lambda x, w: x[:, -3:-1]),
    Kind(
        Pad(1, 0.5), (2, 3), lambda x, w: np.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=0.5)
    ),
    Kind(Pad(((0, 1), (2, 0))), (2, 3), lambda x, w: np.pad(x, ((0, 0), (0, 1), (2, 0)))),
    Kind(Upsample((2, 3)), (2, 3, 2), lambda x, w: x.repeat(2, 1).repeat(3, 2)),
    Kind(Upsample(), (3, 2), lambda x, w: x.repeat(2, 1)),
    Kind(Scale(0.3), (2, 3), lambda x, w: x * np.float32(0.3)),
    Kind(PositionalEmbedding(), (3, 4), lambda x, w: x + w["weight"]),
    Kind(
        Mask(((True, False, True), (False, False, True))),
        (4, 2, 3),
        lambda x, w: x + np.array([[0, -32, 0], [-32, -32, 0]]),
    ),
    Kind(Add(), (3, 4), lambda x, y, w: x + y, ((3, 4),)),
    Kind(Add(), (3, 1, 4), lambda x, y, w: x + y, ((1, 5, 4),)),
    Kind(Subtract(), (3, 4), lambda x, y, w: x - y, ((3, 1),)),
    Kind(Multiply(), (3, 4), lambda x, y, w: x * y, ((1, 4),)),
    Kind(MatMul(), (3, 4), lambda x, y, w: x @ y, ((4, 5),)),
    Kind(MatMul(transposed=True), (2, 3, 4), lambda x, y, w: x @ y.swapaxes(-1, -2), ((2, 5, 4),)),
    Kind(Concat(), (3, 4), lambda x, y, w: np.concatenate([x, y], -1), ((3, 2),)),
    Kind(Concat(0), (3, 4), lambda x, y, z, w: np.concatenate([x, y, z], 1), ((1, 4), (2, 4))),
    Kind(SimpleRNN(5), (4, 3), lambda x, w: rnn(x, w, np.tanh)),
    Kind(
        SimpleRNN(5, activation="relu"), (4, 3), lambda x, w: rnn(x, w, lambda h: np.maximum(h, 0))
    ),
    Kind(LSTM(5, sequences=True), (4, 3), lambda x, w: lstm(x, w)),
    Kind(LSTM(5, reverse=True), (4, 3), lambda x, w: lstm(x, w, reverse=True)[:, 0]),
    Kind(GRU(5), (4, 3), lambda x, w: gru(x, w, True)[:, -1]),
    Kind(GRU(5, sequences=True, reset_after=False), (4, 3), lambda x, w: gru(x, w, False)),
]
