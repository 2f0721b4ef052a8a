"""The windows of ONNX's convolutions and pools: padding in all its spellings."""

from __future__ import annotations

import math
from collections.abc import Callable

from .graph import MAX_ELEMENTS
from .onnx_call import Call
from .onnx_layout import channels_first
from .onnx_values import Builder, RefusedError, Value
from .ops import AveragePool, MaxPool, Shape, Window


def conv_window(call: Call, kernel: Shape, spatial: Shape) -> Window:
    """The window of a convolution whose weight has the spatial shape ``kernel``."""
    if tuple(call.get("kernel_shape", kernel)) != kernel:
        raise call.damaged("kernel_shape", f"{kernel}, as the weight has")
    return _window(call, kernel, spatial)


def max_pool(builder: Builder, call: Call) -> Value:
    return _pool(builder, call, MaxPool)


def average_pool(builder: Builder, call: Call) -> Value:
    """Without padding, where it does not matter whether padding counts."""
    return _pool(builder, call, _average)


def _average(window: Window) -> AveragePool:
    if window.padded:
        raise RefusedError("averages over padding; supported: no padding")
    return AveragePool(window)


def _pool(builder: Builder, call: Call, make: Callable[[Window], MaxPool | AveragePool]) -> Value:
    x = call.data()
    spatial = x.shape[1:]
    if len(spatial) not in (1, 2):
        raise RefusedError(f"has {len(spatial)} spatial axes; supported: 1 and 2")
    kernel = tuple(call.get("kernel_shape", ()))
    if len(kernel) != len(spatial):
        raise call.damaged("kernel_shape", f"{len(spatial)} sizes")
    window = _window(call, kernel, spatial)
    if call.get("ceil_mode", 0) and any(
        (size + sum(pad) - k) % step
        for size, pad, k, step in zip(spatial, window.pad, kernel, window.stride, strict=True)
    ):
        raise RefusedError("attribute 'ceil_mode' adds windows beyond the input; supported: 0")
    last = channels_first(len(x.shape))
    return builder.between(make(window), last, x, call.name, call.output)


def _window(call: Call, kernel: Shape, spatial: Shape) -> Window:
    """The window, with its padding worked out for data of the spatial shape given."""
    window = _padded(call, kernel, spatial)
    padded = [size + sum(pad) for size, pad in zip(spatial, window.pad, strict=True)]
    if math.prod(padded) > MAX_ELEMENTS:
        raise call.damaged("pads", f"at most {MAX_ELEMENTS} positions")
    return window


def _padded(call: Call, kernel: Shape, spatial: Shape) -> Window:
    rank = len(kernel)
    stride = tuple(call.get("strides", (1,) * rank))
    if len(stride) != rank or min(stride, default=0) < 1 or min(kernel, default=0) < 1:
        raise call.damaged("strides", f"{rank} positive steps, and a kernel of positive size")
    mode = call.get("auto_pad", "NOTSET")
    pads = call.get("pads", [0] * (2 * rank))
    if len(pads) != 2 * rank:
        raise call.damaged("pads", f"{2 * rank} sizes")
    if mode == "NOTSET":
        return Window(kernel, stride, tuple(zip(pads[:rank], pads[rank:], strict=True)))
    if any(pads):
        raise RefusedError("has both 'pads' and 'auto_pad'; supported: one of them")
    if mode == "VALID":
        return Window.of(kernel, stride)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise call.damaged("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    totals = [
        (-(-size // step) - 1) * step + k - size
        for size, k, step in zip(spatial, kernel, stride, strict=True)
    ]
    if min(totals) < 0 and call.op != "Conv":
        raise RefusedError(f"attribute 'auto_pad' is {mode}, and its windows skip values")
    less = [(max(total, 0) // 2, (max(total, 0) + 1) // 2) for total in totals]
    return Window(kernel, stride, tuple(less if mode == "SAME_UPPER" else [p[::-1] for p in less]))
