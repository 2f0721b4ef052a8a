"""What operators take of an FPGA, each with its range.

The lower end of a range is what is left after implementation, where neighbouring logic shares LUTs;
the upper end is what synthesis reports of Vitis HLS give for the operator, which count each one by
itself.  What is expected is what logic synthesis makes of it alone.

Sources: ``[R]`` published reports of Vitis HLS: a sum of w bits takes w + 7 LUTs, a comparison of
17 bits 13, of 32 bits 18, one of two values of w bits takes w, one of 2, 3, 4, 5, 8 values of 8
bits takes 9, 14, 20, 26, 43, one of 104 values of 27 bits 517, a product of 7 and 9 bits takes 50,
one of 8 and 3 bits 41, a FIFO of two beats takes 99 FF, one of 50 beats of 32 bits 154 FF, about
68 LUTs and 2 block RAMs; ``[F]`` FINN's formulas; ``[A]`` the architecture: a LUT
has six inputs, or computes two functions of the same five, and every bit of a sum goes through one.
"""

from __future__ import annotations

import math
from typing import Literal

from ...quantize.formats import Format
from ..folding import Fold, Multiply
from .figures import Figure, Resources
from .memory import Ram, Rom, bram18, fifo_memory, ram_luts, rom_luts, uram
from .parts import Target

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


def dsps(a: Format, b: Format, dsp_type: str) -> int:
    """DSP slices of one product: its operands are cut into pieces that a slice takes."""
    wide, narrow = {"DSP48E1": (25, 18), "DSP58": (27, 24)}.get(dsp_type, (27, 18))
    # All pieces but the highest are unsigned, and so are unsigned values: one bit less.
    first, second = (f.width if f.signed else f.width + 1 for f in (a, b))
    return min(
        _pieces(first, wide) * _pieces(second, narrow),
        _pieces(second, wide) * _pieces(first, narrow),
    )


def _halves(bits: int, words: int) -> int:
    """Block RAMs of a memory if only half their width is used, as with two ports for both [R]."""
    return math.ceil(bits / 18) * math.ceil(words / 1024)


def _pieces(width: int, port: int) -> int:
    return max(1, math.ceil((width - 1) / (port - 1)))


class Bill:
    """Sums up what operators take.

    Args:
        target: what they are made for.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._lut = [0.0, 0.0, 0.0]
        self._ff = [0.0, 0.0, 0.0]
        self._dsp = [0, 0, 0]
        self._bram18 = [0, 0, 0]
        self._uram = 0

    def total(self) -> Resources:
        """All of it."""
        lut, ff = ([math.floor(f[0]), round(f[1]), math.ceil(f[2])] for f in (self._lut, self._ff))
        return Resources(
            Figure(*lut),
            Figure(*ff),
            Figure(*self._dsp),
            Figure(*self._bram18),
            Figure.exact(self._uram),
        )

    def include(self, part: Bill, other_luts: int) -> None:
        """What ``part`` takes; its LUTs between bounds that hold what another model gives, too."""
        lut = part._lut
        self.logic(min(lut[0], other_luts), lut[1], max(lut[2], other_luts))
        self.registers(part._ff[0], part._ff[1], part._ff[2])
        for i in range(3):
            self._dsp[i] += part._dsp[i]
            self._bram18[i] += part._bram18[i]
        self._uram += part._uram

    def logic(self, low: float, expected: float, high: float, count: int = 1) -> None:
        """LUTs."""
        for i, value in enumerate((low, expected, high)):
            self._lut[i] += count * value

    def registers(self, low: float, expected: float, high: float, count: int = 1) -> None:
        """Flip-flops."""
        for i, value in enumerate((low, expected, high)):
            self._ff[i] += count * value

    def blocks(self, low: int, expected: int, high: int) -> None:
        """Block RAMs of 18 Kbit."""
        for i, value in enumerate((low, expected, high)):
            self._bram18[i] += value

    def control(self, counters: int, bits: int) -> None:
        """The states of a kernel's loop, its handshakes, and ``counters`` of ``bits`` bits.

        They are of type int in C++: tools keep all 32 bits of those whose range they cannot see,
        which is half of what is expected, and a sum, a comparison and a choice for each in reports.
        """
        width = (bits + 32) / 2
        self.logic(20 + counters * bits / 2, 50 + 1.2 * counters * width, 150 + 91 * counters)
        self.registers(15 + counters * bits, 40 + counters * width, 200 + 64 * counters)

    def add(self, bits: int, count: int = 1) -> None:
        """Sums, differences, comparisons of ``bits`` bits [A, R]."""
        self.logic(0.6 * bits, bits, bits + 7, count)

    def compare(self, bits: int, count: int = 1) -> None:
        """Comparisons: a LUT takes two bits of both values [A], or three with a constant."""
        self.logic(0.3 * bits, 0.6 * bits, bits + 7, count)

    def select(self, bits: int, values: int = 2, count: int = 1) -> None:
        """One of several values: a LUT takes four of them [A]; reports give 5 / 8 a value [R]."""
        if values > 1:
            each = math.ceil((values - 1) / 3)
            self.logic(0.5 * bits * each, bits * each, bits * (values - 1) + 2, count)

    def multiply(self, a: Format, b: Format, kind: Kind, count: int = 1) -> None:
        """Products [R, F]; packed ones two at a time, with a correction of the upper one."""
        bits = a.width + b.width
        if kind == "lut":
            if min(a.width, b.width) == 1:
                self.logic(0.5 * bits, bits, 1.5 * bits, count)
                return
            product = a.width * b.width
            finn = (2 * math.ceil(bits / 6) - 1) * bits
            self.logic(0.6 * product, 0.9 * product, max(1.45 * product + 12, finn), count)
            return
        slices = dsps(a, b, self.target.part.dsp_type)
        if kind == "packed":
            slices, count = 1, math.ceil(count / 2)
            self.logic(0.5 * bits, bits, 2 * bits + 14, count)
        for i, value in enumerate((math.ceil(0.75 * slices), slices, slices)):
            self._dsp[i] += count * value

    def dot_products(self, a: Format, b: Format, result: Format, fold: Fold, lanes: int) -> None:
        """``lanes`` sums of ``fold.simd`` products each, a tree of adders, and an accumulator."""
        kind = multiplier(a.width, b.width, fold.multiply)
        self.multiply(a, b, kind, lanes * fold.simd)
        product = min(a.width + b.width, result.width)
        if kind == "lut":
            self.registers(0, product, 2 * product, lanes * fold.simd)
        # A DSP slice has an adder behind its multiplier, which may do a sum of the tree.
        share = (0.15, 0.5, 1.0) if kind == "dsp" else (0.6, 1.0, 1.0)
        terms, level = fold.simd, 0
        while terms > 1:
            level += 1
            bits = min(product + level, result.width)
            sums = lanes * (terms // 2)
            self.logic(share[0] * bits, share[1] * bits, share[2] * result.width + 7, sums)
            self.registers(0, 0.7 * bits, 1.2 * result.width, sums)
            terms -= terms // 2
        bits = result.width
        self.logic(share[0] * bits if fold.simd == 1 else 0.6 * bits, bits, bits + 7, lanes)
        self.select(bits, count=lanes)
        self.registers(bits, 1.5 * bits, 3 * bits, lanes)

    def rom(self, bits: int, words: int, kind: Rom, count: int = 1) -> None:
        """Constants, ``count`` times the same: in LUTs equal and empty bits cost nothing [A]; a
        block RAM has two ports, which two readers may share."""
        if words <= 1:
            return
        if kind == "bram":
            blocks = bram18(bits, words)
            self.blocks(math.ceil(count / 2) * blocks, count * blocks, count * blocks)
            return
        luts = rom_luts(bits, words)
        held = bits * words / 64
        self.logic(0.4 * held, luts if words > 32 else luts / 2, 1.3 * luts, count)
        self.registers(0, bits, bits, count)

    def ram(self, bits: int, words: int, kind: Ram, count: int = 1) -> None:
        """Memories with a port for writing and one for reading."""
        if kind == "registers":
            held = bits * words
            self.registers(held, held, held, count)
            self.select(bits, words, count)
        elif kind == "lutram":
            # Measured for 64 words: 1.4 LUTs a bit in 7 series, 1.9 in Versal; 8 / 7 by structure.
            luts = ram_luts(bits, words)
            each = {"DSP48E1": 1.4, "DSP58": 1.9}.get(self.target.part.dsp_type, 8 / 7)
            self.logic(luts / 2, each * luts / 2, luts + 4, count)
            self.registers(0, bits, bits, count)
        else:
            blocks = count * bram18(bits, words)
            self.blocks(blocks, blocks, max(blocks, count * _halves(bits, words)))

    def fifo(self, bits: int, depth: int) -> None:
        """A FIFO: in shift registers two bits a LUT [A, F]."""
        address = math.ceil(math.log2(max(depth, 2)))
        kind = fifo_memory(bits, depth, self.target.part)
        if kind != "srl":
            if kind == "uram":
                self._uram += uram(bits, depth)
            else:
                blocks = bram18(bits, depth)
                self.blocks(blocks, blocks, max(blocks, _halves(bits, depth)))
            self.logic(20 + 2 * address, 40 + 3 * address, 80 + 6 * address)
            self.registers(3 * address, 10 + 3 * address + bits, 99 + 4 * address + 2 * bits)
            return
        deep = math.ceil(depth / 32)
        least = 2 * address + deep * math.ceil(bits / 2)
        if depth <= 2:
            # Too short for a shift register.
            self.logic(least, 8 + bits, 40 + 2 * bits)
            self.registers(bits, 5 + 2 * bits, 99 + 2 * bits)
            return
        self.logic(least, 10 + 2 * address + deep * bits, 40 + 4 * address + 2 * deep * bits)
        self.registers(2 + address, 6 + 2 * address, 99 + 2 * bits)
