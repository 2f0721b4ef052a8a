"""Which memory holds what, and what it takes: decided here for the pragmas and for the estimates.

Formulas: block RAM and LUTs as FINN has them, which agree with published synthesis reports; FIFOs
in shift registers up to the size at which Vitis HLS chooses them (UG1702).  UltraRAM holds deep
FIFOs only: it has no initial content in UltraScale+, so no constants.
"""

from __future__ import annotations

from typing import Literal

from ..folding import Memory
from .parts import Part

Rom = Literal["lutram", "bram"]
Ram = Literal["registers", "lutram", "bram"]
Fifo = Literal["srl", "bram", "uram"]

LUTS_A_BRAM18 = 128
"""LUTs that a memory may take to save a block RAM.  The parts have 150 to 650 LUTs for each."""

SRL_BITS = 1024
"""Bits of the largest FIFO in shift registers."""

BRAM18_A_URAM = 8
"""Block RAMs that an UltraRAM must save at least.  It has the bits of 16; parts that have UltraRAM
have 4 to 8 block RAMs for each."""

NEAREST = 16
"""Iterations after which what a kernel keeps comes back from a memory: ``NEAREST`` in keep.h."""


def weight_memory(bits: int, words: int, choice: Memory = "auto") -> Rom:
    """What holds constants.

    Args:
        bits: of a word, all that is read in a cycle.
        words: how many there are.
        choice: what the folding says.
    """
    if choice != "auto":
        return choice
    return "bram" if rom_luts(bits, words) > LUTS_A_BRAM18 * bram18(bits, words) else "lutram"


def buffer_memory(bits: int, words: int) -> Ram:
    """What holds values that are written and read: rows of an image, frames, kept operands.

    No pragma binds them, since kernels do not know their sizes: it is what Vitis HLS is expected to
    choose.
    """
    if words <= 1:
        return "registers"
    return "bram" if ram_luts(bits, words) > LUTS_A_BRAM18 * bram18(bits, words) else "lutram"


def kept_memory(bits: int, words: int, distance: int) -> Ram:
    """What holds values that come back after ``distance`` iterations, changed by what they were."""
    return "registers" if distance <= NEAREST else buffer_memory(bits, words)


def fifo_memory(bits: int, depth: int, part: Part) -> Fifo:
    """What holds a FIFO."""
    if depth <= 2 or bits * depth <= SRL_BITS:
        return "srl"
    saves = bram18(bits, depth) >= BRAM18_A_URAM * uram(bits, depth)
    return "uram" if part.uram and saves else "bram"


def bram18(bits: int, words: int) -> int:
    """Block RAMs of 18 Kbit of a memory with one port for writing and one for reading."""
    if bits == 1:
        return _blocks(words, 16384)
    if bits == 2:
        return _blocks(words, 8192)
    if bits <= 4:
        return _blocks(words, 4096) * _blocks(bits, 4)
    if bits <= 9:
        return _blocks(words, 2048) * _blocks(bits, 9)
    if bits <= 18 or words > 512:
        return _blocks(words, 1024) * _blocks(bits, 18)
    return _blocks(words, 512) * _blocks(bits, 36)


def uram(bits: int, words: int) -> int:
    """UltraRAMs: 72 bits by 4096 words each."""
    return _blocks(bits, 72) * _blocks(words, 4096)


def rom_luts(bits: int, words: int) -> int:
    """LUTs of constants: one holds 64 of them with one bit each."""
    return bits * _blocks(words, 64)


def ram_luts(bits: int, words: int) -> int:
    """LUTs of a memory that is written and read in the same cycle: two for each 64 bits."""
    return 2 * bits * _blocks(words, 64)


def _blocks(size: int, block: int) -> int:
    return -(-size // block)
