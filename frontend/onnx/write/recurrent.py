"""Recurrent layers as ONNX nodes: time first, one direction, both biases of ONNX in one input."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...graph import Node
from ...ops import Gru, Lstm, Op, SimpleRnn
from ..layout import channels_last, recurrent
from .writer import Writer


def simple_rnn(writer: Writer, node: Node[Op], op: SimpleRnn) -> None:
    attributes = {} if op.activation == "tanh" else {"activations": ["Relu"]}
    _recurrent(writer, node, "RNN", op, attributes)


def lstm(writer: Writer, node: Node[Op], op: Lstm) -> None:
    _recurrent(writer, node, "LSTM", op, {})


def gru(writer: Writer, node: Node[Op], op: Gru) -> None:
    _recurrent(writer, node, "GRU", op, {"linear_before_reset": 1} if op.reset_after else {})


def _recurrent(
    writer: Writer,
    node: Node[Op],
    op_type: str,
    op: SimpleRnn | Lstm | Gru,
    attributes: dict[str, Any],
) -> None:
    """Write the layer, with its data and result turned from batch first to time first and back."""
    x, w, r, *biases = node.inputs
    hidden = writer.shape(r)[0]
    steps = writer.step(
        node, "steps", "Transpose", [writer.read(x, channels_last(2))], perm=[1, 0, 2]
    )
    inputs = [
        steps,
        *(writer.constant(name, recurrent(writer.shape(name))) for name in (w, r)),
        _biases(writer, node, writer.shape(r)[1], biases),
    ]
    if op.reverse:
        attributes = {"direction": "reverse"} | attributes
    states = writer.value(f"{node.output}_states")
    # The first output is every step's state, (T, 1, batch, H); the second is the last one's alone,
    # and the third its memory.
    outputs = ["", states] if op.last else [states]
    if isinstance(op, Lstm) and op.memory:
        outputs = ["", "", states]
    writer.emit(node, op_type, inputs, outputs, hidden_size=hidden, **attributes)
    if not op.last:
        states = writer.step(node, "batch_first", "Transpose", [states], perm=[2, 0, 1, 3])
    axis = writer.integers("direction_axis", [0 if op.last else 2])
    layout = channels_last(1 if op.last else 2)
    writer.result(node, "Squeeze", [states, axis], layout, f"{node.name}_squeeze")


def _biases(writer: Writer, node: Node[Op], width: int, biases: list[str]) -> str:
    """ONNX's bias, ``(1, 2 · width)``: the input's, then the state's.

    Ours is the input's; of the state's all is zero, but for the candidate of a GRU that has one.
    """
    b, *recurrent_bias = (writer.constant(name, recurrent(writer.shape(name))) for name in biases)
    missing = width - sum(writer.shape(name)[0] for name in biases[1:])
    zeros = writer.tensor("zeros", np.zeros((1, missing), np.float32))
    return writer.step(node, "bias", "Concat", [b, zeros, *recurrent_bias], axis=1)
