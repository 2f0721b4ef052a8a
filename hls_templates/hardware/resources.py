"""What a design takes of an FPGA."""

from __future__ import annotations

from typing import Literal

from ..folding import Multiply

Kind = Literal["dsp", "lut", "packed"]

LUT_PRODUCT = 32
"""Bits of one operand times bits of the other up to which LUTs multiply unless told otherwise."""


def multiplier(a_bits: int, b_bits: int, choice: Multiply = "auto") -> Kind:
    """What computes products of these widths.

    Left open it is LUTs for products that take fewer than about 40 of them, else DSP slices.
    """
    if choice != "auto":
        return choice
    return "lut" if a_bits * b_bits <= LUT_PRODUCT or min(a_bits, b_bits) <= 2 else "dsp"
