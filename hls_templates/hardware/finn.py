"""FINN's formulas for its matrix-vector unit, as a second opinion on our dense kernel.

From the public sources of FINN (``lut_estimation`` of ``MVAU``), which name as theirs: Blott et
al., FINN-R, 2018.  FINN's unit computes what our kernel does, but for its thresholds, which are
left out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EMBEDDED = 128
"""Words of weights up to which FINN keeps them in the unit, in LUTs."""


@dataclass(frozen=True)
class MatrixVectorUnit:
    """``outputs`` sums of ``inputs`` products.

    Attributes:
        pe, simd: sums and products of each in a cycle.
        weight_bits, input_bits, signed: of the operands; whether inputs are signed.
        acc_bits: of the accumulator, which may have more than the operands ask for.
        embedded: whether the unit holds its weights.
    """

    inputs: int
    outputs: int
    pe: int
    simd: int
    weight_bits: int
    input_bits: int
    signed: bool
    acc_bits: int = 32
    embedded: bool = True


def finn_mvu_luts(unit: MatrixVectorUnit, *, dsp: bool) -> int:
    """LUTs, with products in DSP slices or not."""
    bits = unit.weight_bits + unit.input_bits
    products = 0 if dsp else unit.simd * (2 * math.ceil(bits / 6) - 1) * bits
    tree = bits * (2 * unit.simd - 1)
    alpha = math.log2(unit.inputs) + bits - 1 - unit.signed
    accumulator = min(unit.acc_bits, math.ceil(alpha + math.log2(1 + 2**-alpha) + 1))
    words = unit.inputs * unit.outputs // (unit.pe * unit.simd)
    held = unit.pe * unit.simd * unit.weight_bits * math.ceil(words / 64)
    weights = held if unit.embedded and words <= EMBEDDED else 0
    return int(300 + 1.1 * unit.pe * (products + tree + accumulator) + weights)
