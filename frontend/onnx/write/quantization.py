"""How a quantisation of values is written as ONNX nodes.

Where ONNX has an integer type of the same range, it is QuantizeLinear and DequantizeLinear; with a
Clip between them for less than 8 bits.  What these do not have, odd ranges of more bits and other
roundings, is spelled out in arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...graph import Node
from ...ops import Bipolar, Op, Quantize, Round
from ..layout import Layout
from .writer import Writer

TYPES: Mapping[tuple[int, int], tuple[DTypeLike, int]] = {
    (-(2**7), 2**7 - 1): (np.int8, 13),
    (0, 2**8 - 1): (np.uint8, 13),
    (-(2**15), 2**15 - 1): (np.int16, 21),
    (0, 2**16 - 1): (np.uint16, 21),
}
"""ONNX's integers by their range, and the operator set that quantises to them."""


def quantize(writer: Writer, node: Node[Op], op: Quantize) -> None:
    """A Quantize, in the layout of its input."""
    x, scale, zero = node.inputs
    layout = writer.layout(x)
    points = writer.graph.constants[zero]
    kind, opset = _held_in(op)
    plain = op.rounding is Round.HALF_EVEN and not (op.shifted and (points % 2).any())
    limits = np.iinfo(kind or np.int8)
    within = bool(((points >= limits.min) & (points <= limits.max)).all())
    if kind is None or not plain or not within:
        _spelled_out(writer, node, op, layout)
        return
    writer.require(opset)
    size = max(writer.shape(scale)[0], points.size)
    scales = writer.constant(scale)
    if size > 1 == writer.shape(scale)[0]:
        scales = writer.tensor("scale", np.repeat(writer.graph.constants[scale], size))
    zeros = writer.tensor("zero_point", np.broadcast_to(points.astype(kind), (size,)).copy())
    attributes: dict[str, Any] = {"axis": layout[-1] + 1} if size > 1 else {}
    inputs = [scales, zeros]
    q = writer.step(node, "quantised", "QuantizeLinear", [x, *inputs], **attributes)
    if (op.low, op.high) not in TYPES:
        bounds = [writer.tensor("bound", np.array(end, kind)) for end in (op.low, op.high)]
        q = writer.step(node, "clipped", "Clip", [q, *bounds])
    writer.result(node, "DequantizeLinear", [q, *inputs], layout, **attributes)


def _held_in(op: Quantize) -> tuple[DTypeLike | None, int]:
    """The type that holds the integers, of which a Clip may leave some; 8 bits if these do."""
    if (op.low, op.high) in TYPES:
        return TYPES[op.low, op.high]
    for (low, high), (kind, opset) in TYPES.items():
        if low <= op.low and op.high <= high and high < 2**8:
            return kind, opset
    return None, 0


def _spelled_out(writer: Writer, node: Node[Op], op: Quantize, layout: Layout) -> None:
    """``(clip(round(x / scale) + zero, low, high) - zero) · scale`` as it stands."""
    x, scale, zero = (writer.operand(name, layout) for name in node.inputs)

    def step(suffix: str, op_type: str, *inputs: str) -> str:
        return writer.step(node, suffix, op_type, inputs)

    value = step("ratio", "Div", x, scale)
    if op.shifted:
        value = step("shifted", "Add", value, zero)
    value = _rounded(writer, node, op.rounding, value)
    if not op.shifted:
        value = step("shifted", "Add", value, zero)
    bounds = [writer.tensor("bound", np.array(end, np.float32)) for end in (op.low, op.high)]
    value = step("clipped", "Clip", value, *bounds)
    value = step("centred", "Sub", value, zero)
    writer.result(node, "Mul", [value, scale], layout)


def _rounded(writer: Writer, node: Node[Op], how: Round, x: str) -> str:
    """``x`` as integers.  What rounds by distance from zero works on the magnitude; half a step
    more or less may be lost in float32 beside values just below a half."""

    def step(suffix: str, op_type: str, inputs: Sequence[str]) -> str:
        return writer.step(node, suffix, op_type, inputs)

    plain = {Round.HALF_EVEN: "Round", Round.FLOOR: "Floor", Round.CEIL: "Ceil"}
    if how in plain:
        return step("rounded", plain[how], [x])
    size = step("size", "Abs", [x])
    if how in (Round.HALF_UP, Round.HALF_DOWN):
        half = writer.tensor("half", np.array(0.5, np.float32))
        size = step("moved", "Add" if how is Round.HALF_UP else "Sub", [size, half])
    down = how in (Round.HALF_UP, Round.DOWN)
    whole = step("whole", "Floor" if down else "Ceil", [size])
    return step("rounded", "Mul", [step("sign", "Sign", [x]), whole])


def bipolar(writer: Writer, node: Node[Op], op: Bipolar) -> None:
    """The scale with the sign of x; that of 0 is positive."""
    layout = writer.layout(node.inputs[0])
    x, scale = (writer.operand(name, layout) for name in node.inputs)
    nothing = writer.tensor("nothing", np.array(0, np.float32))
    below = writer.step(node, "below", "Less", [x, nothing])
    opposite = writer.step(node, "opposite", "Neg", [scale])
    writer.result(node, "Where", [below, opposite, scale], layout)
