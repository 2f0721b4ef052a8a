"""The one list of op cases.

Every generic test runs over it: numeric gradient, ONNX round trip, float against onnxruntime, and
simulator against the compiled C++.  A new op adds its entries here and nowhere else.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class Case:
    """One op on activations of the given shapes (without batch), and weights of theirs.

    Attributes:
        shape, more: shapes of the first activation and of any further ones.
        held: where the activations are held, for an op that is not defined everywhere.
    """

    name: str
    op: Op
    shape: Shape
    weights: tuple[Shape, ...] = ()
    more: tuple[Shape, ...] = ()
    held: Clip | None = None

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def arrays(self, batch: int = 3, dtype: type = np.float64) -> list[Array]:
        """Random activations (batch first) and weights, in the op's order."""
        rng = self.rng()
        shapes = [(batch, *shape) for shape in (self.shape, *self.more)]
        activations: list[Array] = [rng.normal(size=shape).astype(dtype) for shape in shapes]
        if self.held:
            activations = [self.held.forward(value) for value in activations]
        return [*activations, *self._weights(rng, dtype)]

    def _weights(self, rng: np.random.Generator, dtype: type) -> list[Array]:
        weights: list[Array] = [rng.normal(size=shape).astype(dtype) for shape in self.weights]
        if isinstance(self.op, BatchNorm):
            weights[-1] = np.abs(weights[-1]) + dtype(0.1)  # a variance
        if isinstance(self.op, Quantize | Bipolar):
            weights[0] = np.abs(weights[0]) / dtype(8) + dtype(0.1)  # a scale
            weights[1:] = [np.rint(2 * zero) for zero in weights[1:]]
        return weights

    def graph(self) -> Graph:
        """The op alone as a network of one input.

        Further activations are made from the input by dense layers, reshaped as they need be.
        """
        rng = self.rng()
        nodes, constants = self._further(rng)
        names = [f"w{i}" for i in range(len(self.weights))]
        constants |= dict(zip(names, self._weights(rng, np.float32), strict=True))
        activations = ["x", *(node.output for node in nodes if node.output.startswith("x"))]
        if self.held:
            nodes += [Node(f"hold_{x}", self.held, (x,), f"held_{x}") for x in activations]
            activations = [f"held_{x}" for x in activations]
        nodes.append(Node("op", self.op, (*activations, *names), "y"))
        shape = self.op.infer(self.shape, *self.more, *self.weights)
        return Graph(
            self.name, (Port.of("x", self.shape),), (Port.of("y", shape),), tuple(nodes), constants
        )

    def _further(self, rng: np.random.Generator) -> tuple[list[Node[Op]], dict[str, Array]]:
        """Nodes that make the further activations ``x1``, ``x2`` ..., and their weights."""
        nodes: list[Node[Op]] = []
        constants: dict[str, Array] = {}
        for i, shape in enumerate(self.more, 1):
            source, last = "x", self.shape[-1]
            if math.prod(shape[:-1]) != math.prod(self.shape[:-1]):
                nodes.append(Node(f"flatten{i}", Flatten(), ("x",), f"flat{i}"))
                source, last = f"flat{i}", math.prod(self.shape)
                outputs = math.prod(shape)
            else:
                outputs = shape[-1]
            weight = rng.normal(size=(last, outputs)) / math.sqrt(last)
            constants[f"v{i}"] = weight.astype(np.float32)
            same = source == "x" and (*self.shape[:-1], outputs) == shape
            made = f"x{i}" if same else f"made{i}"
            nodes.append(Node(f"dense{i}", Dense(), (source, f"v{i}"), made))
            if not same:
                nodes.append(Node(f"reshape{i}", Reshape(shape), (made,), f"x{i}"))
        return nodes, constants


ABOVE = Clip(0.125, math.inf)
BELOW = Clip(-math.inf, -0.125)

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
    # activations and normalisation
    Case("leaky_relu", LeakyRelu(), (4, 3)),
    Case("leaky_relu_steep", LeakyRelu(1.5), (7,)),
    Case("leaky_relu_falling", LeakyRelu(-0.25), (3, 5)),
    Case("prelu", PRelu(), (3, 2, 5), ((5,),)),
    Case("prelu_one_slope", PRelu(), (7, 3), ((1,),)),
    Case("clip_relu6", Clip(0.0, 6.0), (4, 3)),
    Case("clip", Clip(-0.2, 0.7), (9,)),
    Case("clip_above", Clip(-math.inf, 0.2), (3, 5)),
    Case("clip_below", Clip(-0.1, math.inf), (3, 5)),
    Case("hard_sigmoid", HardSigmoid(), (5, 3)),
    Case("hard_sigmoid_options", HardSigmoid(0.3, 0.4), (11,)),
    Case("hard_swish", HardSwish(), (3, 3, 2)),
    Case("elu", Elu(), (5, 3)),
    Case("elu_alpha", Elu(0.7), (7,)),
    Case("selu", Selu(), (5, 3)),
    Case("selu_options", Selu(1.5, 0.9), (7,)),
    Case("gelu", Gelu(), (5, 3)),
    Case("gelu_approximate", Gelu(approximate=True), (7,)),
    Case("silu", Silu(), (5, 3)),
    Case("softplus", Softplus(), (5, 3)),
    Case("thresholded_relu", ThresholdedRelu(0.3), (5, 3)),
    Case("abs", Abs(), (5, 3)),
    Case("neg", Neg(), (7,)),
    Case("softsign", Softsign(), (5, 3)),
    Case("mish", Mish(), (5, 3)),
    Case("celu", Celu(), (5, 3)),
    Case("exp", Exp(), (5, 3)),
    Case("log", Log(), (5, 3), held=ABOVE),
    Case("square_root", Power(0.5), (5, 3), held=ABOVE),
    Case("reciprocal", Power(-1), (7,), held=ABOVE),
    Case("reciprocal_negative", Power(-1), (5, 3), held=BELOW),
    Case("power", Power(1.5), (5, 3), held=ABOVE),
    Case("power_odd", Power(5), (7,)),
    Case("erf", Erf(), (5, 3)),
    Case("sin", Sin(), (5, 3)),
    Case("cos", Cos(), (7,)),
    Case("log_softmax", LogSoftmax(), (9,)),
    Case("log_softmax_rows", LogSoftmax(), (3, 5)),
    Case("batch_norm", BatchNorm(), (4, 3, 5), ((5,),) * 4),
    Case("batch_norm_epsilon", BatchNorm(0.1), (7,), ((7,),) * 4),
    Case("layer_norm", LayerNorm(), (3, 7), ((7,),) * 2),
    Case("layer_norm_epsilon", LayerNorm(0.1), (11,), ((11,),) * 2),
    Case("rms_norm", RmsNorm(), (3, 7), ((7,),)),
    Case("rms_norm_epsilon", RmsNorm(0.1), (11,), ((11,),)),
    # recurrent layers
    Case("rnn", SimpleRnn(), (5, 3), ((3, 4), (4, 4), (4,))),
    Case("rnn_relu", SimpleRnn("relu"), (4, 3), ((3, 5), (5, 5), (5,))),
    Case("rnn_one_step_reverse", SimpleRnn(reverse=True), (1, 4), ((4, 3), (3, 3), (3,))),
    Case("rnn_relu_reverse_last", SimpleRnn("relu", True, True), (3, 2), ((2, 3), (3, 3), (3,))),
    Case("lstm", Lstm(), (5, 3), ((3, 16), (4, 16), (16,))),
    Case("lstm_one_step", Lstm(), (1, 5), ((5, 12), (3, 12), (12,))),
    Case("lstm_one_unit_last", Lstm(last=True), (4, 1), ((1, 4), (1, 4), (4,))),
    Case("lstm_reverse", Lstm(reverse=True), (4, 2), ((2, 20), (5, 20), (20,))),
    Case("lstm_reverse_last", Lstm(True, True), (3, 5), ((5, 12), (3, 12), (12,))),
    Case("gru", Gru(), (5, 3), ((3, 12), (4, 12), (12,), (4,))),
    Case("gru_one_step_last", Gru(last=True), (1, 5), ((5, 9), (3, 9), (9,), (3,))),
    Case("gru_reverse", Gru(reverse=True), (4, 2), ((2, 15), (5, 15), (15,), (5,))),
    Case("gru_reset_before", Gru(False), (5, 3), ((3, 12), (4, 12), (12,))),
    Case("gru_reset_before_one_unit", Gru(False), (3, 1), ((1, 3), (1, 3), (3,))),
    Case("gru_reset_before_reverse_last", Gru(False, True, True), (4, 3), ((3, 9), (3, 9), (9,))),
    # windows: dilation, groups, padding that counts, and the transpose of a convolution
    Case(
        "conv_dilated",
        Conv(Window((3, 2), (1, 1), ((1, 2), (0, 3)), (2, 3))),
        (7, 5, 3),
        ((3, 2, 3, 2), (2,)),
    ),
    Case(
        "conv_dilated_stride_one_channel",
        Conv(Window((2, 3), (2, 1), ((0, 1), (2, 2)), (3, 2))),
        (7, 6, 1),
        ((2, 3, 1, 3), (3,)),
    ),
    Case("conv1d_dilated", Conv(Window((3,), (2,), ((4, 0),), (2,))), (9, 3), ((3, 3, 5), (5,))),
    Case(
        "conv_groups",
        Conv(Window((3, 2), (2, 1), ((1, 1), (0, 1))), 2),
        (5, 4, 6),
        ((3, 2, 3, 4), (4,)),
    ),
    Case(
        "conv_groups_dilated",
        Conv(Window((2, 2), (1, 2), ((0, 1), (1, 0)), (2, 1)), 3),
        (5, 6, 6),
        ((2, 2, 2, 3),),
    ),
    Case("conv1d_groups", Conv(Window.of((3,), (2,)), 2), (8, 4), ((3, 2, 6), (6,))),
    Case(
        "conv_depthwise",
        Conv(Window((3, 3), (1, 1), ((1, 1), (1, 1))), 5),
        (5, 4, 5),
        ((3, 3, 1, 5), (5,)),
    ),
    Case(
        "conv_depthwise_two_each",
        Conv(Window((2, 3), (2, 3), ((1, 0), (0, 2)), (2, 1)), 3),
        (6, 7, 3),
        ((2, 3, 1, 6), (6,)),
    ),
    Case(
        "conv1d_depthwise",
        Conv(Window((3,), (1,), ((4, 0),), (2,)), 3),
        (7, 3),
        ((3, 1, 3),),
    ),
    Case("conv_transpose", ConvTranspose(Window.of((3, 2))), (4, 3, 2), ((3, 2, 2, 3), (3,))),
    Case(
        "conv_transpose_stride",
        ConvTranspose(Window.of((2, 2), (2, 2))),
        (3, 4, 3),
        ((2, 2, 3, 2),),
    ),
    Case(
        "conv_transpose_every_option",
        ConvTranspose(Window((3, 2), (2, 3), ((1, 0), (2, 1)), (1, 2)), (1, 2), 2),
        (4, 3, 4),
        ((3, 2, 2, 6), (6,)),
    ),
    Case(
        "conv_transpose_gaps",
        ConvTranspose(Window.of((1, 2), (3, 4))),
        (3, 2, 2),
        ((1, 2, 2, 3), (3,)),
    ),
    Case(
        "conv_transpose_depthwise",
        ConvTranspose(Window((4, 4), (2, 2), ((1, 1), (1, 1))), groups=3),
        (3, 4, 3),
        ((4, 4, 1, 3), (3,)),
    ),
    Case(
        "conv_transpose_1d",
        ConvTranspose(Window((4,), (3,), ((2, 1),)), (1,)),
        (5, 3),
        ((4, 3, 2), (2,)),
    ),
    Case(
        "max_pool_dilated",
        MaxPool(Window((2, 3), (1, 2), ((0, 1), (2, 0)), (3, 2))),
        (6, 7, 2),
    ),
    Case(
        "average_pool_uncounted",
        AveragePool(Window((3, 2), (2, 1), ((1, 1), (0, 1)))),
        (6, 5, 3),
    ),
    Case(
        "average_pool_counted",
        AveragePool(Window((3, 3), (2, 2), ((1, 1), (2, 0))), ((1, 1), (2, 0))),
        (5, 6, 2),
    ),
    Case(
        "average_pool_ceil",
        AveragePool(Window((2, 3), (2, 2), ((0, 1), (1, 2))), ((0, 0), (1, 1))),
        (5, 6, 3),
    ),
    Case("average_pool_dilated", AveragePool(Window((3,), (1,), ((2, 1),), (2,))), (7, 2)),
    Case("average_pool_whole", AveragePool(Window.of((5, 3))), (5, 3, 4)),
    # operands alike
    Case("add", Add(), (4, 3, 2), more=((4, 3, 2),)),
    Case("add_constant", Add(), (4, 3, 5), ((3, 5),)),
    Case("add_constant_position", Add(), (4, 5), ((4, 1),)),
    Case("sub", Sub(), (3, 5), more=((3, 5),)),
    Case("sub_constant", Sub(), (7,), ((7,),)),
    Case("mul", Mul(), (4, 5), more=((4, 5),)),
    Case("mul_row", Mul(), (4, 5), more=((4, 1),)),
    Case("add_row", Add(), (3, 1), more=((3, 7),)),
    Case("mul_constant", Mul(), (4, 3, 5), ((5,),)),
    Case("mul_number", Mul(), (3, 5), ((1,),)),
    Case("div", Div(), (4, 5), more=((4, 5),), held=ABOVE),
    Case("div_row", Div(), (4, 5), more=((4, 1),), held=BELOW),
    Case("div_of_row", Div(), (4, 1), more=((4, 5),), held=ABOVE),
    Case("div_constant", Div(), (4, 3, 5), ((5,),)),
    Case("maximum", Maximum(), (4, 3, 2), more=((4, 3, 2),)),
    Case("maximum_row", Maximum(), (4, 5), more=((4, 1),)),
    Case("maximum_constant", Maximum(), (4, 5), ((4, 1),)),
    Case("minimum", Minimum(), (4, 5), more=((4, 5),)),
    Case("minimum_constant", Minimum(), (3, 5), ((5,),)),
    Case("matmul", MatMul(), (3, 5), more=((5, 4),)),
    Case("matmul_heads", MatMul(), (2, 3, 5), more=((2, 5, 4),)),
    Case("matmul_transposed", MatMul(transposed=True), (3, 5), more=((4, 5),)),
    Case("matmul_transposed_heads", MatMul(transposed=True), (2, 3, 5), more=((2, 4, 5),)),
    Case("matmul_shared", MatMul(), (2, 3, 5), more=((1, 5, 4),)),
    Case("matmul_constant", MatMul(), (2, 3, 5), ((5, 4),)),
    Case("matmul_constant_transposed", MatMul(transposed=True), (3, 5), ((4, 5),)),
    Case("matmul_constant_heads", MatMul(), (2, 3, 5), ((2, 5, 4),)),
    # values moved
    Case("slice", Slice(0, 1, 4), (5, 3)),
    Case("slice_step", Slice(1, 1, 7, 3), (3, 7, 2)),
    Case("slice_channels", Slice(2, 2, 5), (2, 3, 5)),
    Case("slice_backwards", Slice(0, 6, 1, -2), (7, 3)),
    Case("reverse", Slice(0, 4, -1, -1), (5, 3)),
    Case("pad", Pad((1, 0, 0), (2, 3, 0), 0.75), (3, 4, 2)),
    Case("pad_channels", Pad((0, 1), (0, 2)), (5, 3)),
    Case("upsample", Upsample((2, 3)), (3, 4, 2)),
    Case("upsample_1d", Upsample((3,)), (5, 3)),
    Case("concat", Concat(1), (4, 3), more=((4, 3),)),
    Case("concat_three", Concat(2), (3, 2, 4), more=((3, 2, 1), (3, 2, 5))),
    Case("concat_time", Concat(0), (3, 4), more=((5, 4),)),
]

ROUNDED = [
    Case("quantize", Quantize(-128, 127), (4, 3), ((1,), (1,))),
    Case("quantize_channels", Quantize(0, 255), (3, 2, 4), ((4,), (4,))),
    Case("quantize_up", Quantize(-7, 7, Round.UP, shifted=True), (3, 4), ((1,), (1,))),
    Case("quantize_ceil", Quantize(-7, 7, Round.CEIL), (9,), ((1,), (1,))),
    Case("bipolar", Bipolar(), (4, 3), ((1,),)),
    Case("bipolar_channels", Bipolar(), (2, 4, 3), ((3,),)),
]
"""Ops whose results are steps, for the tests that need neither a gradient nor what a step takes
from the file that it was read from."""
