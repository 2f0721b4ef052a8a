"""Cross-correlation with one input channel to each group, and its two gradients.

There is nothing to sum over but the kernel's positions, so that matrix products would be of single
columns.  Instead whole rows, places and channels together, are multiplied by rows of weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .base import Array, Shape
from .window import Window


@dataclass(frozen=True)
class Depthwise:
    """The way of :mod:`.correlation` for weights ``(K..., 1, M)``.

    Along the last spatial axis results are computed at every place, and those that the stride
    skips are left out: rows with gaps would cost more.
    """

    window: Window
    groups: int

    def forward(self, x: Array, w: Array, bias: Array | None, out: Shape) -> Array:
        rows = self._rows(self._padded(x, w), out)
        y = _sums(rows, w.astype(np.result_type(x, w), copy=False))
        if bias is not None:
            y = y + np.tile(bias, self._width(out))
        every = y.reshape(len(x), *out[:-1], self._width(out), w.shape[-1])
        return np.ascontiguousarray(every[..., :: self.window.stride[-1], :])

    def weight_gradient(self, grad: Array, x: Array, w: Array) -> Array:
        out = grad.shape[1:-1]
        every = np.zeros((*grad.shape[:-2], self._width(out), w.shape[-1]), grad.dtype)
        every[..., :: self.window.stride[-1], :] = grad
        rows = self._rows(self._padded(x, w), out)
        total = np.einsum("nhijr,nhr->ijr", rows, every.reshape(*rows.shape[:2], rows.shape[-1]))
        total = total.reshape(self.window.size, -1, w.shape[-1]).sum(axis=1)
        return np.asarray(total).reshape(w.shape)

    def input_gradient(self, grad: Array, w: Array, shape: Shape) -> Array:
        """The correlation of the gradient, its values a stride apart, with the reversed kernel."""
        window, rank = self.window, len(self.window.kernel)
        margins = [reach - 1 for reach in window.reach]
        extended = window.extended(shape)[1:-1]
        sizes = (n + margin for n, margin in zip(extended, margins, strict=True))
        apart = np.zeros((len(grad), *sizes, grad.shape[-1]), grad.dtype)
        spans = zip(margins, window.stride, grad.shape[1:-1], strict=True)
        apart[(slice(None), *(slice(m, m + s * (n - 1) + 1, s) for m, s, n in spans))] = grad
        seen = apart[(slice(None), *(slice(before, None) for before, _ in window.pad))]
        back = Window(window.kernel, (1,) * rank, ((0, 0),) * rank, window.dilation)
        rows = Depthwise(back, grad.shape[-1])._rows(seen, shape[1:-1])
        flipped = w[(slice(None, None, -1),) * rank].astype(grad.dtype, copy=False)
        total = _sums(rows, flipped)
        each = grad.shape[-1] // self.groups
        if each > 1:
            total = total.reshape(-1, each) @ np.ones(each, grad.dtype)
        return total.reshape(shape)

    def _padded(self, x: Array, w: Array) -> Array:
        """``x`` extended, with as many channels as outputs, each group's standing together."""
        each = w.shape[-1] // self.groups
        return np.ascontiguousarray(self.window.extend(x if each == 1 else x.repeat(each, -1)))

    def _width(self, out: Shape) -> int:
        """Places in a row, those that the stride skips among them."""
        return (out[-1] - 1) * self.window.stride[-1] + 1

    def _rows(self, padded: Array, out: Shape) -> Array:
        """A view: (batch, rows of places, kernel's rows, kernel's columns, places · channels).

        An array with one spatial axis has one row.
        """
        window = self.window
        lead = (1,) * (2 - len(out))
        down, right = padded[:, None].strides[1:3] if lead else padded.strides[1:3]
        run = self._width(out) * padded.shape[-1]
        return as_strided(
            padded,
            (len(padded), *lead, *out[:-1], *lead, *window.kernel, run),
            (
                padded.strides[0],
                down * (*lead, *window.stride)[0],
                down * (*lead, *window.dilation)[0],
                right * window.dilation[-1],
                padded.strides[-1],
            ),
            writeable=False,
        )


def _sums(rows: Array, w: Array) -> Array:
    """Rows of weighted sums: (batch, rows, places · outputs)."""
    places = rows.shape[-1] // w.shape[-1]
    weights = w.reshape(-1, 1, w.shape[-1]).repeat(places, 1).reshape(rows.shape[2:])
    return np.asarray(np.einsum("nhijr,ijr->nhr", rows, weights))
