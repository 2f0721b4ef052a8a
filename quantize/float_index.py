"""``FloatIndex``: an index with the same relative resolution everywhere, for tables of functions
such as the reciprocal square root, whose argument may have any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..frontend.ops import Array, Shape
from .formats import Format


@dataclass(frozen=True)
class FloatIndex:
    """Position of the leading one, and the bits behind it.

    A raw value x > 0 whose leading one has the weight 2^p becomes ``p · 2^bits + m``, with m the
    ``bits`` bits behind the leading one; bits below those are dropped, missing ones are 0.  The
    value 0, which has no leading one, is taken for 1.

    Attributes:
        bits: width of m.
    """

    bits: int

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        """Exact for unsigned raw values in a float type that holds them."""
        (x,) = inputs
        mantissa, exponent = np.frexp(np.maximum(x, 1))  # x = mantissa · 2^exponent, from 1/2 on
        scale = np.asarray(2.0 ** (self.bits + 1), x.dtype)
        behind = np.floor(mantissa * scale) - scale / 2
        return np.asarray((exponent.astype(x.dtype) - 1) * (scale / 2) + behind)

    def apply(self, raw: int) -> int:
        """The index of one raw value."""
        raw = max(raw, 1)
        position = raw.bit_length() - 1
        behind = (raw << self.bits) >> position
        return (position << self.bits) + behind - (1 << self.bits)

    def format(self, source: Format) -> Format:
        """The format of the indices of values of ``source``, which is unsigned."""
        highest = self.apply(source.high)
        return Format.holding(0, highest, 0)
