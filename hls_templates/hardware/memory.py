"""Which memory holds what, and what it takes: decided here for the pragmas and for the estimates.

Formulas: block RAM, UltraRAM and LUTs as FINN has them, which agree with published synthesis
reports; FIFOs in shift registers up to the size at which Vitis HLS chooses them (UG1702).
"""

from __future__ import annotations

from typing import Literal

from ..folding import Memory
from .parts import Part

Rom = Literal["lutram", "bram"]
Ram = Literal["lutram", "bram", "uram"]
Fifo = Literal["srl", "bram"]

LUTS_A_BRAM18 = 128
"""LUTs that a memory may take to save a block RAM.  The parts have 150 to 650 LUTs for each."""

SRL_BITS = 1024
"""Bits of the largest FIFO in shift registers."""

URAM_BRAM18 = 16
"""The fewest block RAMs that UltraRAM is used instead of: the size of one."""


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


def buffer_memory(bits: int, words: int, part: Part) -> Ram:
    """What holds values that are written and read: line buffers, frames, operands that are kept."""
    blocks = bram18(bits, words)
    if ram_luts(bits, words) <= LUTS_A_BRAM18 * blocks:
        return "lutram"
    if part.uram and blocks >= URAM_BRAM18 * uram(bits, words):
        return "uram"
    return "bram"


def fifo_memory(bits: int, depth: int) -> Fifo:
    """What holds a FIFO."""
    return "srl" if depth <= 2 or bits * depth <= SRL_BITS else "bram"


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
    """UltraRAMs of a memory."""
    return _blocks(bits, 72) * _blocks(words, 4096)


def rom_luts(bits: int, words: int) -> int:
    """LUTs of constants: one holds 64 of them with one bit each."""
    return bits * _blocks(words, 64)


def ram_luts(bits: int, words: int) -> int:
    """LUTs of a memory that is written and read in the same cycle: two for each 64 bits."""
    return 2 * bits * _blocks(words, 64)


def _blocks(size: int, block: int) -> int:
    return -(-size // block)
