"""How each op of the graph is written as ONNX nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np

from ... import ops
from ...graph import Node
from ...ops import Op
from ..layout import channels_first, channels_last, keeps_order, operand, place
from .quantization import bipolar, quantize
from .recurrent import gru, lstm, simple_rnn
from .window import average_pool, conv, conv_transpose, spatial, window_attributes
from .writer import Writer

OPSETS: Mapping[type[Op], int] = {
    ops.HardSwish: 14,
    ops.LayerNorm: 17,
    ops.Mish: 18,
    ops.Gelu: 20,
    ops.RmsNorm: 23,
}
"""The operator sets that are needed for ops that :data:`~.writer.OPSET` does not have."""

NAMES: Mapping[type[Op], str] = {ops.Maximum: "Max", ops.Minimum: "Min"}
"""Ops of two values that ONNX calls otherwise."""

ROOTS: Mapping[float, str] = {0.5: "Sqrt", -1: "Reciprocal"}
"""Powers that ONNX has ops for."""


def write_node(writer: Writer, node: Node[Op]) -> None:
    """Write one node of the graph.

    Raises:
        ModelError: the node computes on constants alone, or reads a weight that is no constant.
    """
    writer.require(OPSETS.get(type(node.op), 0))
    match node.op:
        case (
            ops.Relu() | ops.LeakyRelu() | ops.PRelu() | ops.Clip() | ops.HardSigmoid()
            | ops.HardSwish() | ops.Sigmoid() | ops.Tanh() | ops.Elu() | ops.Selu() | ops.Gelu()
            | ops.Silu() | ops.Softplus() | ops.Softmax() | ops.LogSoftmax()
            | ops.ThresholdedRelu() | ops.Abs() | ops.Neg() | ops.Celu() | ops.Mish()
            | ops.Softsign() | ops.Exp() | ops.Log() | ops.Power() | ops.Erf() | ops.Sin()
            | ops.Cos()
        ):  # fmt: skip
            _activation(writer, node)
        case ops.Conv() as op:
            conv(writer, node, op)
        case ops.ConvTranspose() as op:
            conv_transpose(writer, node, op)
        case ops.MaxPool(window):
            spatial(writer, node, "MaxPool", window_attributes(window))
        case ops.AveragePool() as op:
            average_pool(writer, node, op)
        case ops.GlobalAveragePool():
            spatial(writer, node, "GlobalAveragePool", {})
        case ops.Dense():
            _dense(writer, node)
        case (
            ops.Add() | ops.Sub() | ops.Mul() | ops.Div() | ops.Maximum() | ops.Minimum()
        ) as op:  # fmt: skip
            layout = next(writer.layout(n) for n in node.inputs if not writer.is_constant(n))
            inputs = [writer.operand(name, layout) for name in node.inputs]
            writer.result(node, NAMES.get(type(op), type(op).__name__), inputs, layout)
        case ops.MatMul(transposed):
            _matmul(writer, node, transposed)
        case ops.Concat(axis):
            layout = writer.layout(node.inputs[0])
            inputs = [writer.read(name, layout) for name in node.inputs]
            writer.result(node, "Concat", inputs, layout, axis=layout[axis] + 1)
        case (
            ops.Flatten() | ops.Reshape() | ops.Transpose() | ops.Slice() | ops.Pad()
            | ops.Upsample()
        ):  # fmt: skip
            _rearrangement(writer, node)
        case ops.BatchNorm() | ops.LayerNorm() | ops.RmsNorm():
            _normalisation(writer, node)
        case ops.SimpleRnn() as op:
            simple_rnn(writer, node, op)
        case ops.Lstm() as op:
            lstm(writer, node, op)
        case ops.Gru() as op:
            gru(writer, node, op)
        case ops.Quantize() as op:
            quantize(writer, node, op)
        case ops.Bipolar() as op:
            bipolar(writer, node, op)
        case _:
            assert_never(node.op)


def _activation(writer: Writer, node: Node[Op]) -> None:
    """Functions of each value, and those over the last axis, in whatever layout the input has."""
    x, *weights = node.inputs
    layout = writer.layout(x)
    inputs = [x]
    op_type, attributes = type(node.op).__name__, dict[str, Any]()
    match node.op:
        case ops.LeakyRelu(slope):
            attributes = {"alpha": float(slope)}
        case ops.PRelu():
            op_type = "PRelu"
            inputs += [writer.constant(w, operand(writer.shape(w), layout)) for w in weights]
        case ops.Clip(low, high):
            inputs += [
                writer.tensor("bound", np.array(bound, np.float32)) if np.isfinite(bound) else ""
                for bound in (low, high)
            ]
        case ops.HardSigmoid(slope, offset):
            attributes = {"alpha": float(slope), "beta": float(offset)}
        case ops.Elu(alpha) | ops.Celu(alpha) | ops.ThresholdedRelu(alpha):
            attributes = {"alpha": float(alpha)}
        case ops.Power(exponent):
            op_type = ROOTS.get(exponent, "Pow")
            if op_type == "Pow":
                inputs.append(writer.tensor("exponent", np.array(exponent, np.float32)))
        case ops.Selu(alpha, gamma):
            attributes = {"alpha": float(alpha), "gamma": float(gamma)}
        case ops.Gelu(approximate):
            attributes = {"approximate": "tanh" if approximate else "none"}
        case ops.Silu():
            op_type = "Mul"
            inputs.append(writer.step(node, "sigmoid", "Sigmoid", inputs))
        case ops.Softmax() | ops.LogSoftmax():
            attributes = {"axis": layout[-1] + 1}
        case _:
            pass
    writer.result(node, op_type, inputs, layout, **attributes)


def _dense(writer: Writer, node: Node[Op]) -> None:
    """Gemm on vectors; MatMul, and Add for the bias, on anything with more axes."""
    x, *weights = node.inputs
    layout = channels_last(len(writer.shape(x)))
    inputs = [writer.read(x, layout), *(writer.constant(name) for name in weights)]
    if len(layout) == 1:
        writer.result(node, "Gemm", inputs, layout)
    elif len(weights) == 1:
        writer.result(node, "MatMul", inputs, layout)
    else:
        product = writer.value(f"{node.output}_product")
        writer.emit(node, "MatMul", inputs[:2], [product])
        writer.result(node, "Add", [product, inputs[2]], layout, f"{node.name}_bias")


def _matmul(writer: Writer, node: Node[Op], transposed: bool) -> None:
    """The product of matrices in the last two axes; a transposed operand is read that way."""
    inputs = []
    for i, name in enumerate(node.inputs):
        rank = len(writer.shape(name))
        layout = channels_last(rank)
        if transposed and i == 1:
            layout = (*layout[:-2], rank - 1, rank - 2)
        inputs.append(writer.operand(name, layout))
    writer.result(node, "MatMul", inputs, channels_last(len(writer.shape(node.output))))


def _rearrangement(writer: Writer, node: Node[Op]) -> None:
    """Ops on one activation that move its values."""
    (x,) = node.inputs
    layout = writer.layout(x)
    rank = len(layout)
    match node.op:
        case ops.Flatten():
            if not keeps_order(place(writer.shape(x), layout), layout):
                layout = channels_last(rank)
            writer.result(node, "Flatten", [writer.read(x, layout)], channels_last(1), axis=1)
        case ops.Reshape(shape):
            source = writer.read(x, channels_last(rank))
            target = writer.integers("shape", (0, *shape))
            writer.result(node, "Reshape", [source, target], channels_last(len(shape)))
        case ops.Transpose(axes):
            perm = [0, *(layout[axis] + 1 for axis in axes)]
            writer.result(node, "Transpose", [x], channels_last(rank), perm=perm)
        case ops.Slice(axis, start, stop, step):
            stop = stop if stop >= 0 else -(2**31)
            inputs = [
                writer.integers("slice", (number,))
                for number in (start, stop, layout[axis] + 1, step)
            ]
            writer.result(node, "Slice", [x, *inputs], layout)
        case ops.Pad(before, after, value):
            pads = (0, *place(before, layout), 0, *place(after, layout))
            inputs = [writer.integers("pads", pads)]
            if value:
                inputs.append(writer.tensor("padding", np.array(value, np.float32)))
            writer.result(node, "Pad", [x, *inputs], layout)
        case ops.Upsample(factors):
            scales = np.array((1, *place((*factors, 1), layout)), np.float32)
            writer.result(
                node, "Resize", [x, "", writer.tensor("scales", scales)], layout,
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )  # fmt: skip


def _normalisation(writer: Writer, node: Node[Op]) -> None:
    """BatchNormalization has the channels first, the others work on the last axis."""
    x, *weights = node.inputs
    rank = len(writer.shape(x))
    inputs = [writer.constant(name) for name in weights]
    match node.op:
        case ops.BatchNorm(epsilon):
            layout = channels_first(rank)
            inputs = [writer.read(x, layout), *inputs]
            writer.result(node, "BatchNormalization", inputs, layout, epsilon=float(epsilon))
        case ops.LayerNorm(epsilon):
            inputs = [writer.read(x, channels_last(rank)), *inputs]
            writer.result(
                node, "LayerNormalization", inputs, channels_last(rank), epsilon=float(epsilon)
            )
        case ops.RmsNorm(epsilon):
            inputs = [writer.read(x, channels_last(rank)), *inputs]
            writer.result(
                node, "RMSNormalization", inputs, channels_last(rank), epsilon=float(epsilon)
            )
