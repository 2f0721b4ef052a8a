"""Random networks: a hypothesis strategy that draws every op, window, format, mode and folding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import (
    Array,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Op,
    Relu,
    Shape,
    Sigmoid,
    Softmax,
    Tanh,
    Window,
)
from lutra.hls_templates.folding import Fold, Folding
from lutra.quantize.formats import Overflow, Rounding
from lutra.quantize.precision import LayerSettings, Settings

MOST_LAYERS = 5


@dataclass(frozen=True)
class Network:
    """A float network, how it is quantised and folded, and samples to calibrate and run it on."""

    graph: Graph
    settings: Settings
    folding: Folding
    x: Array


class Builder:
    """Grows a network layer by layer; weights come from a seeded generator, shapes from draws."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.shape: Shape = draw(self.input_shapes())
        self.port = Port.of("x", self.shape)
        self.nodes: list[Node[Op]] = []
        self.constants: dict[str, Array] = {}
        self.folds: dict[str, Fold] = {}

    @staticmethod
    def input_shapes() -> st.SearchStrategy[Shape]:
        channels = st.integers(1, 4)
        image = st.tuples(st.integers(1, 7), st.integers(1, 7), channels)
        sequence = st.tuples(st.integers(1, 9), channels)
        vector = st.tuples(st.integers(1, 12))
        return st.one_of(image, sequence, vector)

    def divisor(self, size: int) -> int:
        return self.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))

    def window(self, *, pad: bool, pooling: bool) -> Window:
        kernel, stride, pads = [], [], []
        for n in self.shape[:-1]:
            k = self.draw(st.integers(1, min(n, 4)))
            most = k - 1 if pooling else 2
            before, after = (
                (self.draw(st.integers(0, most)), self.draw(st.integers(0, most)))
                if pad
                else (0, 0)
            )
            kernel.append(k)
            stride.append(self.draw(st.integers(1, 3)))
            pads.append((before, after))
        return Window(tuple(kernel), tuple(stride), tuple(pads))

    def add(self, op: Op, *weights: Shape) -> None:
        i = len(self.nodes)
        name = f"layer{i}"
        names = []
        for j, shape in enumerate(weights):
            names.append(f"{name}.w{j}")
            scale = self.draw(st.sampled_from([0.01, 0.3, 1.0, 20.0]))
            self.constants[names[-1]] = self.rng.normal(0, scale, shape).astype(np.float32)
        source = self.nodes[-1].output if self.nodes else "x"
        self.nodes.append(Node(name, op, (source, *names), f"value{i}"))
        self.shape = op.infer(self.shape, *weights)

    def dense(self) -> None:
        inputs, outputs = self.shape[-1], self.draw(st.integers(1, 6))
        bias = [(outputs,)] if self.draw(st.booleans()) else []
        self.folds[f"layer{len(self.nodes)}"] = Fold(self.divisor(outputs), self.divisor(inputs))
        self.add(Dense(), (inputs, outputs), *bias)

    def conv(self) -> None:
        channels, outputs = self.shape[-1], self.draw(st.integers(1, 6))
        window = self.window(pad=True, pooling=False)
        bias = [(outputs,)] if self.draw(st.booleans()) else []
        self.folds[f"layer{len(self.nodes)}"] = Fold(self.divisor(outputs), self.divisor(channels))
        self.add(Conv(window), (*window.kernel, channels, outputs), *bias)

    def lanes(self) -> None:
        self.folds[f"layer{len(self.nodes)}"] = Fold(self.divisor(self.shape[-1]))

    def pool(self, kind: str) -> None:
        self.lanes()
        match kind:
            case "max":
                self.add(MaxPool(self.window(pad=True, pooling=True)))
            case "average":
                self.add(AveragePool(self.window(pad=False, pooling=True)))
            case _:
                self.add(GlobalAveragePool())

    def layer(self) -> None:
        spatial = len(self.shape) > 1
        kinds = ["dense", "relu", "sigmoid", "tanh", "softmax", "flatten"]
        if spatial:
            kinds += ["conv", "conv", "max", "average", "global"]
        kind = self.draw(st.sampled_from(kinds))
        match kind:
            case "dense":
                self.dense()
            case "conv":
                self.conv()
            case "max" | "average" | "global":
                self.pool(kind)
            case "flatten":
                self.add(Flatten())
            case "softmax":
                self.add(Softmax())
            case _:
                self.lanes()
                ops: dict[str, Op] = {"relu": Relu(), "sigmoid": Sigmoid(), "tanh": Tanh()}
                self.add(ops[kind])


@st.composite
def layer_settings(draw: st.DrawFn) -> LayerSettings:
    """Widths from 1 bit up, and every mode."""
    return LayerSettings(
        bits=draw(st.integers(1, 12)),
        weight_bits=draw(st.integers(1, 10)),
        rounding=draw(st.sampled_from(Rounding)),
        overflow=draw(st.sampled_from(Overflow)),
    )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A network of one to five layers, on an image, a sequence or a vector."""
    builder = Builder(draw)
    for _ in range(draw(st.integers(1, MOST_LAYERS))):
        builder.layer()
    graph = Graph(
        "random",
        (builder.port,),
        (Port.of(builder.nodes[-1].output, builder.shape),),
        tuple(builder.nodes),
        builder.constants,
    )
    names = ["x", *(node.name for node in builder.nodes)]
    settings = Settings(
        bits=draw(st.integers(2, 16)),
        weight_bits=draw(st.integers(2, 12)),
        index_bits=draw(st.integers(3, 10)),
        layers={name: draw(layer_settings()) for name in names if draw(st.booleans())},
    )
    spread = draw(st.sampled_from([0.05, 1.0, 30.0]))
    x = builder.rng.normal(0, spread, (6, *builder.port.shape)).astype(np.float32)
    return Network(graph, settings, Folding(builder.folds), x)
