"""Convolutions and pools as ONNX nodes: channels first, padding in ONNX's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...graph import Node
from ...ops import AveragePool, Conv, ConvTranspose, Op, Window
from ...ops.window import ceil_pad
from ..layout import channels_first, kernel, place, transposed_kernel
from .writer import Writer

DILATED_AVERAGE = 19
"""The operator set whose AveragePool knows dilations."""


def spatial(
    writer: Writer,
    node: Node[Op],
    op_type: str,
    attributes: Mapping[str, Any],
    weights: Sequence[str] = (),
) -> None:
    """Write a node that reads and gives channels first."""
    layout = channels_first(len(writer.shape(node.inputs[0])))
    x = writer.read(node.inputs[0], layout)
    writer.result(node, op_type, [x, *weights], layout, **attributes)


def conv(writer: Writer, node: Node[Op], op: Conv) -> None:
    _, weight, *bias = node.inputs
    weights = [
        writer.constant(weight, kernel(writer.shape(weight))),
        *(writer.constant(name) for name in bias),
    ]
    attributes = window_attributes(op.window) | _unless({"group": op.groups}, 1)
    spatial(writer, node, "Conv", attributes, weights)


def conv_transpose(writer: Writer, node: Node[Op], op: ConvTranspose) -> None:
    _, weight, *bias = node.inputs
    weights = [
        writer.constant(weight, transposed_kernel(writer.shape(weight), op.groups)),
        *(writer.constant(name) for name in bias),
    ]
    attributes = window_attributes(op.window) | _unless({"group": op.groups}, 1)
    if any(op.output_padding):
        attributes["output_padding"] = op.output_padding
    spatial(writer, node, "ConvTranspose", attributes, weights)


def average_pool(writer: Writer, node: Node[Op], op: AveragePool) -> None:
    """Positions that count and are none of the input's are ONNX's ``count_include_pad``.

    Where padding is left that does not count, it is what ``ceil_mode`` adds, or else a Pad makes
    the positions that count.
    """
    window = op.window
    if set(window.dilation) != {1}:
        writer.require(DILATED_AVERAGE)
    pairs = zip(op.counted, window.pad, strict=False)
    counted = tuple((min(c[0], p[0]), min(c[1], p[1])) for c, p in pairs)
    if not any(map(any, counted)):
        spatial(writer, node, "AveragePool", window_attributes(window))
        return
    attributes = window_attributes(replace(window, pad=counted)) | {"count_include_pad": 1}
    if counted == window.pad:
        spatial(writer, node, "AveragePool", attributes)
    elif _ceil(window, counted, writer.shape(node.inputs[0])) == window.pad:
        spatial(writer, node, "AveragePool", attributes | {"ceil_mode": 1})
    else:
        _pad_and_average(writer, node, window, counted)


def _ceil(
    window: Window, pad: Sequence[tuple[int, int]], shape: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The padding that becomes of ``pad`` with ``ceil_mode``."""
    axes = zip(shape, window.kernel, window.stride, pad, window.dilation, strict=False)
    return tuple((p[0], p[1] + ceil_pad(n, k, s, p, d)) for n, k, s, p, d in axes)


def _pad_and_average(
    writer: Writer, node: Node[Op], window: Window, counted: Sequence[tuple[int, int]]
) -> None:
    layout = channels_first(len(window.kernel) + 1)
    before, after = ((*side, 0) for side in zip(*counted, strict=True))
    pads = (0, *place(before, layout), 0, *place(after, layout))
    inputs = [writer.read(node.inputs[0], layout), writer.integers("pads", pads)]
    padded = writer.step(node, "pad", "Pad", inputs)
    rest = tuple((p[0] - c[0], p[1] - c[1]) for p, c in zip(window.pad, counted, strict=True))
    attributes = window_attributes(replace(window, pad=rest))
    writer.result(node, "AveragePool", [padded], layout, **attributes)


def window_attributes(window: Window) -> dict[str, Any]:
    """ONNX's attributes of a window; dilations are left out where there are none."""
    before, after = zip(*window.pad, strict=True)
    ones = (1,) * len(window.kernel)
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": (*before, *after),
    } | _unless({"dilations": window.dilation}, ones)


def _unless(attribute: dict[str, Any], default: Any) -> dict[str, Any]:
    """The attribute, unless it says what its absence says too."""
    return {key: value for key, value in attribute.items() if value != default}
