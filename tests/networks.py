"""Random networks of every op, with branches, formats, modes and foldings, each from a seed.

Everything is drawn from one generator with equal chances, so that rare ops come as often as others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lutra.frontend.errors import ShapeError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import (
    Abs,
    Add,
    Array,
    AveragePool,
    BatchNorm,
    Bipolar,
    Celu,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    Cos,
    Dense,
    Div,
    Elu,
    Erf,
    Exp,
    Flatten,
    Gelu,
    GlobalAveragePool,
    Gru,
    HardSigmoid,
    HardSwish,
    LayerNorm,
    LeakyRelu,
    Log,
    LogSoftmax,
    Lstm,
    MatMul,
    Maximum,
    MaxPool,
    Minimum,
    Mish,
    Mul,
    Neg,
    Op,
    Pad,
    Power,
    PRelu,
    Quantize,
    Relu,
    Reshape,
    RmsNorm,
    Round,
    Selu,
    Shape,
    Sigmoid,
    Silu,
    SimpleRnn,
    Sin,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    Sub,
    Tanh,
    ThresholdedRelu,
    Transpose,
    Upsample,
    Window,
)
from lutra.hls_templates.folding import Fold, Folding
from lutra.quantize.formats import Overflow, Rounding
from lutra.quantize.precision import LayerSettings, Settings

Item = TypeVar("Item")

MOST_LAYERS = 5

LARGEST = 160
"""Most elements of a value, so that a network compiles and runs in a moment."""

PLAIN: tuple[Op, ...] = (
    Relu(),
    LeakyRelu(0.1),
    LeakyRelu(0.25),
    Clip(0, 6),
    Clip(-0.7, 0.3),
    Sigmoid(),
    Tanh(),
    Elu(),
    Selu(),
    Gelu(),
    Gelu(approximate=True),
    Silu(),
    Softplus(),
    HardSigmoid(),
    HardSwish(),
    ThresholdedRelu(0.3),
    Abs(),
    Neg(),
    Softsign(),
    Mish(),
    Celu(0.5),
    Erf(),
    Sin(),
    Cos(),
)
"""Ops of one value."""

POSITIVE: tuple[Op, ...] = (
    Exp(),
    Log(),
    Power(0.5),
    Power(-1),
    Power(-0.5),
    Power(3),
    Power(1.25),
)
"""Ops of one value that are drawn on few values alone, where they are finite."""

FOLDED = (Relu, LeakyRelu, Clip, Sigmoid, Tanh)
"""Those of them that are drawn with several lanes."""


@dataclass(frozen=True)
class Network:
    """A float network, how it is quantised and folded, and samples to calibrate and run it on."""

    graph: Graph
    settings: Settings
    folding: Folding
    x: Array


class Draw:
    """Draws from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def flag(self) -> bool:
        return self.integer(0, 1) == 1

    def one_of(self, items: Sequence[Item]) -> Item:
        return items[self.integer(0, len(items) - 1)]


class Builder(Draw):
    """Grows a network layer by layer."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        shape = self.input_shape()
        self.port = Port.of("x", shape)
        self.values: dict[str, Shape] = {"x": shape}
        self.last = "x"
        self.nodes: list[Node[Op]] = []
        self.constants: dict[str, Array] = {}
        self.folds: dict[str, Fold] = {}

    @property
    def shape(self) -> Shape:
        return self.values[self.last]

    @property
    def name(self) -> str:
        """Of the layer that comes next."""
        return f"layer{len(self.nodes)}"

    def input_shape(self) -> Shape:
        """Of an image, a sequence or a vector."""
        channels = self.integer(1, 4)
        match self.integer(0, 2):
            case 0:
                return (self.integer(1, 7), self.integer(1, 7), channels)
            case 1:
                return (self.integer(1, 9), channels)
            case _:
                return (self.integer(1, 12),)

    def divisor(self, size: int) -> int:
        return self.one_of([n for n in range(1, size + 1) if size % n == 0])

    def window(self, *, pad: bool, pooling: bool, dilate: bool = True) -> Window:
        kernel, stride, pads, dilation = [], [], [], []
        for n in self.shape[:-1]:
            k = self.integer(1, min(n, 4))
            most = k - 1 if pooling else 2
            pads.append((self.integer(0, most), self.integer(0, most)) if pad else (0, 0))
            kernel.append(k)
            stride.append(self.integer(1, 3))
            room = n if pooling else n + sum(pads[-1])
            wide = dilate and k > 1 and 2 * (k - 1) < room and self.flag()
            dilation.append(2 if wide else 1)
        return Window(tuple(kernel), tuple(stride), tuple(pads), tuple(dilation))

    def add(
        self,
        op: Op,
        *weights: Shape | Array,
        others: tuple[str, ...] = (),
        turned: bool = False,
    ) -> None:
        """A node on the last value, further values and new weights, or in the turned order; left
        out, with its folding, if its result would be too large, or if the op does not take these
        sizes."""
        fold = self.folds.pop(self.name, None)
        shapes = [w.shape if isinstance(w, np.ndarray) else w for w in weights]
        try:
            shape = op.infer(self.shape, *(self.values[name] for name in others), *shapes)
        except ShapeError:
            return
        if math.prod(shape) > LARGEST:
            return
        name, names = self.name, []
        if fold is not None:
            self.folds[name] = fold
        for j, weight in enumerate(weights):
            names.append(f"{name}.w{j}")
            if isinstance(weight, np.ndarray):
                self.constants[names[-1]] = weight.astype(np.float32)
            else:
                scale = self.one_of([0.01, 0.3, 1.0, 20.0])
                self.constants[names[-1]] = self.rng.normal(0, scale, weight).astype(np.float32)
        output = f"value{len(self.nodes)}"
        inputs = (self.last, *others, *names)
        self.nodes.append(Node(name, op, inputs[::-1] if turned else inputs, output))
        self.values[output] = shape
        self.last = output

    def fold(self, outputs: int, inputs: int = 1) -> None:
        """A folding for the layer that comes next."""
        self.folds[self.name] = Fold(self.divisor(outputs), self.divisor(inputs))

    # Layers with weights

    def dense(self) -> None:
        inputs, outputs = self.shape[-1], self.integer(1, 6)
        bias = [(outputs,)] if self.flag() else []
        self.fold(outputs, inputs)
        self.add(Dense(), (inputs, outputs), *bias)

    def conv(self) -> None:
        channels = self.shape[-1]
        groups = self.divisor(channels)
        per_group = self.integer(1, 3 if groups > 1 else 6)
        outputs = groups * per_group
        window = self.window(pad=True, pooling=False)
        bias = [(outputs,)] if self.flag() else []
        self.fold(per_group, channels // groups)
        self.add(Conv(window, groups), (*window.kernel, channels // groups, outputs), *bias)

    def conv_transpose(self) -> None:
        channels, rank = self.shape[-1], len(self.shape) - 1
        groups = self.divisor(channels)
        outputs = groups * self.integer(1, 3)
        kernel = tuple(self.integer(1, 3) for _ in range(rank))
        stride = tuple(self.integer(1, 2) for _ in range(rank))
        pad = tuple((self.integer(0, k - 1), self.integer(0, k - 1)) for k in kernel)
        extra = tuple(self.integer(0, s - 1) for s in stride)
        op = ConvTranspose(Window(kernel, stride, pad), extra, groups)
        bias = [(outputs,)] if self.flag() else []
        self.add(op, (*kernel, channels // groups, outputs), *bias)

    def batch_norm(self) -> None:
        c = self.shape[-1]
        weights = [self.rng.normal(size=c) for _ in range(3)]
        self.add(BatchNorm(), *weights, self.rng.uniform(0.1, 3, c))

    def layer_norm(self) -> None:
        self.add(LayerNorm(), self.shape[-1:], self.shape[-1:])

    def rms_norm(self) -> None:
        self.add(RmsNorm(), self.shape[-1:])

    def prelu(self) -> None:
        self.add(PRelu(), self.shape[-1:] if self.flag() else (1,))

    def recurrent(self) -> None:
        n, units = self.shape[-1], self.integer(1, 4)
        options = {"reverse": self.flag(), "last": self.flag()}
        after = self.flag()
        choices: list[tuple[Op, int]] = [
            (SimpleRnn("tanh", **options), 1),
            (SimpleRnn("relu", **options), 1),
            (Lstm(**options), 4),
            (Gru(after, **options), 3),
        ]
        op, gates = self.one_of(choices)
        extra = [(units,)] if isinstance(op, Gru) and after else []
        columns = gates * units
        self.add(op, (n, columns), (units, columns), (columns,), *extra)

    # Activations and rows

    def plain(self) -> None:
        op = self.one_of(PLAIN)
        if isinstance(op, FOLDED):
            self.fold(self.shape[-1])
        self.add(op)

    def held(self) -> None:
        """Above 0, and not too far from it."""
        self.add(Clip(self.one_of([0.01, 0.1, 1.0]), self.one_of([2.0, 8.0, 40.0])))

    def positive(self) -> None:
        self.held()
        self.add(self.one_of(POSITIVE))

    def softmax(self) -> None:
        self.add(LogSoftmax() if self.integer(0, 3) == 0 else Softmax())

    def pool(self) -> None:
        self.fold(self.shape[-1])
        match self.integer(0, 2):
            case 0:
                self.add(MaxPool(self.window(pad=True, pooling=True)))
            case 1:
                window = self.window(pad=True, pooling=True)
                self.add(AveragePool(window, window.pad if self.flag() else ()))
            case _:
                self.add(GlobalAveragePool())

    # Two values

    def joined(self) -> None:
        """Two branches: the last value, and another of its shape or one made of it."""
        first, shape = self.last, self.shape
        same = [name for name, other in self.values.items() if other == shape and name != first]
        if same and self.flag():
            second = self.one_of(same)
        else:
            row = len(shape) > 1 and self.flag()
            self.add(Dense(), (shape[-1], 1 if row else shape[-1]))
            second, self.last = self.last, first
        ops: list[Op] = [Add(), Sub(), Mul(), Maximum(), Minimum()]
        if self.values[second] == shape:
            ops.append(Concat(self.integer(0, len(shape) - 1)))
        op = self.one_of(ops)
        if self.flag():
            self.last, second = second, self.last
        self.add(op, others=(second,))

    def constant(self) -> None:
        """A constant for the last axes, or one number."""
        start = self.integer(0, len(self.shape))
        ops: list[Op] = [Add(), Sub(), Mul(), Maximum(), Minimum()]
        self.add(self.one_of(ops), self.shape[start:], turned=self.flag())

    def quotient(self) -> None:
        """By a constant, or of two values, one of which may be one a row."""
        first, shape = self.last, self.shape
        if self.integer(0, 2) == 0:
            self.add(Div(), self.rng.uniform(0.2, 3, shape[-1:]) * self.one_of([1, -1]))
            return
        self.add(Dense(), (shape[-1], 1 if len(shape) > 1 and self.flag() else shape[-1]))
        self.held()
        if self.flag():
            self.add(Neg())
        divisor, self.last = self.last, first
        self.add(Div(), others=(divisor,))

    def matrix_product(self) -> None:
        """x · (x A)ᵀ or xᵀ-like products, as attention has them."""
        first, shape = self.last, self.shape
        self.add(Dense(), (shape[-1], shape[-1]))
        second, self.last = self.last, first
        if self.flag():
            self.add(MatMul(transposed=True), others=(second,))
        else:
            self.add(Transpose((*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)))
            self.add(MatMul(), others=(second,))

    # Values moved

    def moved(self) -> None:
        shape, rank = self.shape, len(self.shape)
        axis = self.integer(0, rank - 1)
        size = shape[axis]
        op: Op
        match self.integer(0, 5):
            case 0:
                op = Flatten()
            case 1:
                op = Transpose(tuple(self.rng.permutation(rank).tolist()))
            case 2:
                start = self.integer(0, size - 1)
                op = Slice(axis, start, self.integer(start + 1, size), self.integer(1, 2))
                if self.flag():
                    op = Slice(axis, size - 1, -1, -1)
            case 3:
                before = tuple(self.integer(0, 2) for _ in shape)
                after = tuple(self.integer(0, 1) for _ in shape)
                op = Pad(before, after, self.one_of([0.0, 0.5, -1.0]))
            case 4:
                op = Upsample(tuple(self.integer(1, 2) for _ in shape[1:]))
            case _:
                part = self.divisor(math.prod(shape))
                op = Reshape((math.prod(shape) // part, part))
        self.add(op)

    def quantized(self) -> None:
        """Onto any grid, of powers of two or not, or onto signs."""
        channels = self.shape[-1] if self.flag() else 1
        scale = 2.0 ** self.rng.integers(-5, 1, channels)
        if self.flag():
            scale = self.rng.uniform(0.02, 1.0, channels)
        elif self.flag():
            scale = scale[:1]
        self.fold(self.shape[-1])
        if self.integer(0, 3) == 0:
            self.add(Bipolar(), scale)
            return
        low = self.integer(-130, 3)
        op = Quantize(
            low, low + self.integer(1, 260), self.one_of(list(Round)), shifted=self.flag()
        )
        most = 0 if self.flag() else 9
        self.add(op, scale, np.array([self.integer(-most, most) for _ in scale]))

    def layer(self) -> None:
        rank = len(self.shape)
        kinds: list[Callable[[], None]] = [
            *(self.dense, self.plain, self.plain, self.softmax, self.moved, self.joined),
            *(self.constant, self.batch_norm, self.layer_norm, self.rms_norm, self.prelu),
            *(self.plain, self.plain, self.positive, self.positive, self.quotient),
            *(self.quantized, self.quantized),
        ]
        if rank > 1:
            kinds += [self.conv, self.conv, self.pool, self.conv_transpose, self.matrix_product]
        if rank == 2:
            kinds += [self.recurrent, self.recurrent]
        self.one_of(kinds)()


def layer_settings(draw: Draw) -> LayerSettings:
    """Widths from 1 bit up, and every mode."""
    return LayerSettings(
        bits=draw.integer(1, 12),
        weight_bits=draw.integer(1, 10),
        rounding=draw.one_of(list(Rounding)),
        overflow=draw.one_of(list(Overflow)),
    )


def random_network(seed: int) -> Network:
    """A network of one to five layers, on an image, a sequence or a vector."""
    builder = Builder(seed)
    for _ in range(builder.integer(1, MOST_LAYERS)):
        builder.layer()
    if builder.last == "x":
        builder.add(Relu())
    graph = Graph(
        "random",
        (builder.port,),
        (Port.of(builder.last, builder.shape),),
        tuple(builder.nodes),
        builder.constants,
    )
    own = (Quantize, Bipolar)
    names = ["x", *(node.name for node in builder.nodes if not isinstance(node.op, own))]
    settings = Settings(
        bits=builder.integer(2, 16),
        weight_bits=builder.integer(2, 12),
        index_bits=builder.integer(3, 10),
        layers={name: layer_settings(builder) for name in names if builder.flag()},
    )
    spread = builder.one_of([0.05, 1.0, 30.0])
    x = builder.rng.normal(0, spread, (6, *builder.port.shape)).astype(np.float32)
    used = {node.name for node in builder.nodes}
    folds = {name: fold for name, fold in builder.folds.items() if name in used}
    return Network(graph, settings, Folding(folds), x)
