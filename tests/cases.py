"""The one list of op cases.

Every generic test runs over it: numeric gradient, ONNX round trip, float against onnxruntime, and
simulator against the compiled C++.  A new op adds its entries here and nowhere else.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

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
    Transpose,
    Window,
)


@dataclass(frozen=True)
class Case:
    """One op on one input shape (without batch), with weights of the given shapes."""

    name: str
    op: Op
    shape: Shape
    weights: tuple[Shape, ...] = ()

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def arrays(self, batch: int = 3, dtype: type = np.float64) -> list[Array]:
        """Random input (batch first) and weights."""
        rng = self.rng()
        shapes = [(batch, *self.shape), *self.weights]
        return [rng.normal(size=shape).astype(dtype) for shape in shapes]

    def graph(self) -> Graph:
        """The op alone as a network."""
        rng = self.rng()
        names = [f"w{i}" for i in range(len(self.weights))]
        constants = {
            name: rng.normal(size=shape).astype(np.float32)
            for name, shape in zip(names, self.weights, strict=True)
        }
        node = Node("op", self.op, ("x", *names), "y")
        shape = self.op.infer(self.shape, *self.weights)
        return Graph(
            self.name, (Port.of("x", self.shape),), (Port.of("y", shape),), (node,), constants
        )


CASES = [
    Case("dense", Dense(), (7,), ((7, 5), (5,))),
    Case("dense_no_bias", Dense(), (12,), ((12, 4),)),
    Case("dense_positions", Dense(), (3, 4), ((4, 6), (6,))),
    Case("conv", Conv(Window.of((3, 3))), (6, 5, 2), ((3, 3, 2, 4), (4,))),
    Case("conv_no_bias", Conv(Window.of((2, 2))), (4, 4, 3), ((2, 2, 3, 2),)),
    Case(
        "conv_same",
        Conv(Window((3, 3), (1, 1), ((1, 1), (1, 1)))),
        (5, 4, 3),
        ((3, 3, 3, 6), (6,)),
    ),
    Case(
        "conv_stride_uneven_pad",
        Conv(Window((3, 2), (2, 3), ((1, 0), (0, 2)))),
        (8, 7, 2),
        ((3, 2, 2, 3), (3,)),
    ),
    Case("conv_stride_skips", Conv(Window.of((1, 2), (3, 4))), (9, 11, 2), ((1, 2, 2, 2), (2,))),
    Case("conv_1x1", Conv(Window.of((1, 1))), (4, 3, 4), ((1, 1, 4, 2), (2,))),
    Case("conv_whole", Conv(Window.of((3, 4))), (3, 4, 2), ((3, 4, 2, 5), (5,))),
    Case(
        "conv_wide_pad",
        Conv(Window((1, 2), (1, 1), ((2, 1), (0, 3)))),
        (3, 3, 1),
        ((1, 2, 1, 2), (2,)),
    ),
    Case("conv1d", Conv(Window((4,), (2,), ((1, 2),))), (10, 3), ((4, 3, 2), (2,))),
    Case("max_pool", MaxPool(Window.of((2, 2), (2, 2))), (6, 4, 3)),
    Case("max_pool_overlap_pad", MaxPool(Window((3, 3), (2, 1), ((1, 1), (2, 0)))), (7, 5, 2)),
    Case("max_pool_1d", MaxPool(Window.of((3,), (2,))), (9, 2)),
    Case("average_pool", AveragePool(Window.of((2, 2), (2, 2))), (4, 6, 3)),
    Case("average_pool_three", AveragePool(Window.of((3, 2), (1, 2))), (5, 6, 2)),
    Case("average_pool_1d", AveragePool(Window.of((3,), (3,))), (9, 4)),
    Case("global_average_pool", GlobalAveragePool(), (5, 3, 4)),
    Case("global_average_pool_1d", GlobalAveragePool(), (7, 3)),
    Case("relu", Relu(), (4, 3)),
    Case("sigmoid", Sigmoid(), (6,)),
    Case("tanh", Tanh(), (3, 2, 4)),
    Case("softmax", Softmax(), (10,)),
    Case("softmax_rows", Softmax(), (3, 5)),
    Case("flatten", Flatten(), (3, 2, 4)),
    Case("transpose", Transpose((2, 0, 1)), (3, 2, 4)),
]
