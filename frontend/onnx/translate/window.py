"""The windows of ONNX's convolutions and pools: padding in all its spellings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from ...ops import AveragePool, MaxPool, Shape, Window
from ...ops.base import MAX_ELEMENTS
from ...ops.window import ceil_pad
from ..call import Call
from ..layout import channels_first
from ..values import Builder, RefusedError, Value

Pads = tuple[tuple[int, int], ...]


def conv_window(call: Call, kernel: Shape, spatial: Shape) -> Window:
    """The window of a convolution whose weight has the spatial shape ``kernel``."""
    return _bounded(call, _padded(call, _kernel(call, kernel), spatial), spatial)


def transposed_window(call: Call, kernel: Shape, spatial: Shape) -> tuple[Window, Shape]:
    """The window of a transposed convolution, and the output padding.

    The output's shape follows from the pads, or the pads from the output's shape (``auto_pad``
    SAME wants the input's times the stride); then an odd one goes where ONNX says.
    """
    window = _plain(call, _kernel(call, kernel))
    rank = len(kernel)
    extra = tuple(call.get("output_padding", (0,) * rank))
    mode = _mode(call)
    wanted = call.get("output_shape", None)
    if len(extra) != rank or min(extra) < 0:
        raise call.damaged("output_padding", f"{rank} sizes of at least 0")
    if mode.startswith("SAME") and wanted is None:
        wanted = [n * step for n, step in zip(spatial, window.stride, strict=True)]
    if wanted is None:
        pad = _pads(call, rank) if mode == "NOTSET" else window.pad
        return replace(window, pad=pad), extra
    if len(wanted) != rank:
        raise call.damaged("output_shape", f"{rank} sizes")
    axes = zip(spatial, window.stride, window.reach, extra, wanted, strict=True)
    totals = [(n - 1) * step + reach + more - out for n, step, reach, more, out in axes]
    if min(totals) < 0:
        raise RefusedError(f"gives less than the {wanted} that it asks for")
    smaller = [(total // 2, total - total // 2) for total in totals]
    upper = mode == "SAME_UPPER"
    return replace(window, pad=tuple(p if upper else p[::-1] for p in smaller)), extra


def max_pool(builder: Builder, call: Call) -> Value:
    return _pool(builder, call, lambda window, pads: MaxPool(window))


def average_pool(builder: Builder, call: Call) -> Value:
    """Padding that the file asks for may count; what ``ceil_mode`` adds to it does not."""

    def make(window: Window, pads: Pads) -> AveragePool:
        counts = call.get("count_include_pad", 0) and any(map(any, pads))
        return AveragePool(window, pads if counts else ())

    return _pool(builder, call, make)


def _pool(
    builder: Builder, call: Call, make: Callable[[Window, Pads], MaxPool | AveragePool]
) -> Value:
    """``make`` gets the window, and its padding without that of ``ceil_mode``."""
    x = call.data()
    window, pads = pool_window(call, x.shape[1:])
    last = channels_first(len(x.shape))
    op = make(window, pads)
    return builder.between(op, last, x, call.name, call.output)


def pool_window(call: Call, spatial: Shape) -> tuple[Window, Pads]:
    """The window of a pool, and its padding without that of ``ceil_mode``."""
    if len(spatial) not in (1, 2):
        raise RefusedError(f"has {len(spatial)} spatial axes; supported: 1 and 2")
    kernel = tuple(call.get("kernel_shape", ()))
    if len(kernel) != len(spatial):
        raise call.damaged("kernel_shape", f"{len(spatial)} sizes")
    window = _padded(call, kernel, spatial)
    pads = window.pad
    if call.get("ceil_mode", 0):
        axes = zip(spatial, kernel, window.stride, pads, window.dilation, strict=True)
        more = tuple((p[0], p[1] + ceil_pad(n, k, s, p, d)) for n, k, s, p, d in axes)
        window = replace(window, pad=more)
    return _bounded(call, window, spatial), pads


def _kernel(call: Call, kernel: Shape) -> Shape:
    if tuple(call.get("kernel_shape", kernel)) != kernel:
        raise call.damaged("kernel_shape", f"{kernel}, as the weight has")
    return kernel


def _bounded(call: Call, window: Window, spatial: Shape) -> Window:
    padded = [size + sum(pad) for size, pad in zip(spatial, window.pad, strict=True)]
    if math.prod(padded) > MAX_ELEMENTS:
        raise call.damaged("pads", f"at most {MAX_ELEMENTS} positions")
    return window


def _plain(call: Call, kernel: Shape) -> Window:
    """The window without its padding."""
    rank = len(kernel)
    stride = tuple(call.get("strides", (1,) * rank))
    if min(kernel) < 1:
        raise call.damaged("kernel_shape", f"{rank} positive sizes")
    if len(stride) != rank or min(stride) < 1:
        raise call.damaged("strides", f"{rank} positive steps")
    dilation = tuple(call.get("dilations", (1,) * rank))
    if len(dilation) != rank or min(dilation) < 1:
        raise call.damaged("dilations", f"{rank} positive steps")
    return Window(kernel, stride, ((0, 0),) * rank, dilation)


def _mode(call: Call) -> str:
    """How padding is given: by ``pads`` (NOTSET), or in one of three ways by the op itself."""
    mode: str = call.get("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise call.damaged("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    if mode != "NOTSET" and any(call.get("pads", ())):
        raise RefusedError("has both 'pads' and 'auto_pad'; supported: one of them")
    return mode


def _pads(call: Call, rank: int) -> Pads:
    pads = call.get("pads", [0] * (2 * rank))
    if len(pads) != 2 * rank:
        raise call.damaged("pads", f"{2 * rank} sizes")
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def _padded(call: Call, kernel: Shape, spatial: Shape) -> Window:
    window = _plain(call, kernel)
    mode = _mode(call)
    if mode == "NOTSET":
        return replace(window, pad=_pads(call, len(kernel)))
    if mode == "VALID":
        return window
    totals = [
        (-(-size // step) - 1) * step + reach - size
        for size, reach, step in zip(spatial, window.reach, window.stride, strict=True)
    ]
    if min(totals) < 0 and call.op != "Conv":
        raise RefusedError(f"attribute 'auto_pad' is {mode}, and its windows skip values")
    less = [(max(total, 0) // 2, (max(total, 0) + 1) // 2) for total in totals]
    upper = mode == "SAME_UPPER"
    return replace(window, pad=tuple(pad if upper else pad[::-1] for pad in less))
