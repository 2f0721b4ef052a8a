"""Matrix products in parts of the size that OpenBLAS is fastest at."""

from __future__ import annotations

from typing import Final

import numpy as np

from .base import Array

SMALL: Final = 10**6
"""Multiply-adds up to which OpenBLAS works in place, without a copy of the operands in its own
order: where there are few columns, products are up to 1.6 times as fast."""

FEWEST: Final = 16
"""Rows below which a product is slow in any case."""


def pieces(rows: int, size: int) -> int:
    """Into how many equal parts to cut the rows of a product with a matrix of ``size`` numbers."""
    least = -(-rows * size // SMALL)
    return next((n for n in range(max(least, 1), rows // FEWEST + 1) if rows % n == 0), 1)


def cut(x: Array, count: int) -> Array:
    """A view of rows ``(groups, rows, n)`` as ``(groups, count, rows / count, n)``."""
    return x.reshape(len(x), count, -1, x.shape[-1])


def product(x: Array, w: Array) -> Array:
    """``x @ w`` for matrices."""
    count = pieces(len(x), w.size)
    if count == 1:
        return np.asarray(x @ w)
    y: Array = np.matmul(cut(x[None], count), w)
    return y.reshape(len(x), w.shape[1])
