"""Fixed-point formats and the modes in which a value is brought into one.

Words and behaviour are those of ``ap_fixed<W,I,Q,O>``: W bits, I of them before the binary point,
F = W - I after it; a value is stored as the integer ``raw`` and means ``raw · 2^-F``.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from ..frontend.errors import FormatError

MAX_WIDTH = 53
"""Widest format: a float64 holds every raw value of it exactly."""

MAX_INTEGER = 128
"""Largest magnitude of I: it keeps every scale factor a normal float."""


class Rounding(enum.StrEnum):
    """What happens to bits below the last one kept (``ap_q_mode``)."""

    TRN = "TRN"
    TRN_ZERO = "TRN_ZERO"
    RND = "RND"
    RND_ZERO = "RND_ZERO"
    RND_INF = "RND_INF"
    RND_MIN_INF = "RND_MIN_INF"
    RND_CONV = "RND_CONV"


class Overflow(enum.StrEnum):
    """What happens to values beyond the largest or smallest one (``ap_o_mode``)."""

    WRAP = "WRAP"
    SAT = "SAT"
    SAT_ZERO = "SAT_ZERO"
    SAT_SYM = "SAT_SYM"


@dataclass(frozen=True)
class Format:
    """A fixed-point type: ``fixed<W,I>`` if signed, ``ufixed<W,I>`` if not.

    Raises:
        FormatError: W is not in 1..53 or I not in -128..128.
    """

    signed: bool
    width: int
    integer: int

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise FormatError(
                "a fixed-point format cannot have this width",
                found=f"{self.width} bits",
                expected=f"1 to {MAX_WIDTH} bits",
            )
        if not -MAX_INTEGER <= self.integer <= MAX_INTEGER:
            raise FormatError(
                "a fixed-point format cannot have this many integer bits",
                found=self.integer,
                expected=f"-{MAX_INTEGER} to {MAX_INTEGER}",
            )

    @property
    def fraction(self) -> int:
        """F, the bits after the point; negative where the last bit is worth more than 1."""
        return self.width - self.integer

    @property
    def step(self) -> float:
        """Worth of one raw unit, ``2^-F``."""
        return 2.0**-self.fraction

    @property
    def low(self) -> int:
        """Smallest raw value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest raw value."""
        return (1 << (self.width - self.signed)) - 1

    def __str__(self) -> str:
        return f"{'fixed' if self.signed else 'ufixed'}<{self.width},{self.integer}>"

    @staticmethod
    def parse(text: str) -> Format:
        """Read ``fixed<8,3>`` or ``ufixed<8,3>``; an ``ap_`` in front is accepted.

        Raises:
            FormatError: the text is not a format, or the format cannot exist.
        """
        match = re.fullmatch(r"\s*(?:ap_)?(u?)fixed\s*<\s*(\d{1,4})\s*,\s*(-?\d{1,4})\s*>\s*", text)
        if not match:
            raise FormatError(
                "this is not a fixed-point format", found=text, expected="e.g. fixed<8,3>"
            )
        return Format(not match[1], int(match[2]), int(match[3]))

    @staticmethod
    def holding(low: int, high: int, fraction: int) -> Format:
        """The narrowest format with ``fraction`` that holds all raw values from low to high.

        Raises:
            FormatError: it would be wider than 53 bits.
        """
        signed = low < 0
        width = max(max(high, 0).bit_length(), (-low - 1).bit_length() if signed else 0) + signed
        return Format(signed, max(width, 1), max(width, 1) - fraction)


@dataclass(frozen=True)
class Target:
    """The format of a quantisation point, and the modes of its Cast."""

    format: Format
    rounding: Rounding
    overflow: Overflow
