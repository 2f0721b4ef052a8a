"""Constants packed as rows of 64-bit words, the way the C++ kernels read them."""

from __future__ import annotations

import numpy as np

from ..frontend.ops import Array

WORD = 64


def pack_rows(raw: Array, width: int) -> Array:
    """Pack each row of raw integers into machine words.

    Args:
        raw: integers, ``(rows, lanes)``, each fit for ``width`` bits.
        width: bits a lane; lane i takes bits ``i · width`` and up of its row.

    Returns:
        uint64, ``(rows, words)``, the lowest bits in word 0.
    """
    rows, lanes = raw.shape
    shifts = np.arange(width, dtype=np.uint64)
    bits = (raw.astype(np.int64).view(np.uint64)[..., None] >> shifts) & np.uint64(1)
    words = -(-lanes * width // WORD)
    flat = np.zeros((rows, words * WORD), np.uint8)
    flat[:, : lanes * width] = bits.reshape(rows, lanes * width)
    packed: Array = np.packbits(flat, axis=1, bitorder="little").view("<u8")
    return packed


def weight_rows(weights: Array, pe: int, simd: int) -> Array:
    """Weights ``(inputs, outputs)`` in the order in which the dense kernel reads them.

    Returns:
        ``(groups · folds, pe · simd)``: a row for each output group and input fold, the simd
        values of one output side by side.
    """
    inputs, outputs = weights.shape
    split = weights.reshape(inputs // simd, simd, outputs // pe, pe)
    return split.transpose(2, 0, 3, 1).reshape(-1, pe * simd)


def grouped_rows(weights: Array, groups: int, across: int, pe: int, simd: int) -> Array:
    """Weights ``(taps, inputs of a group, outputs)`` as the kernel of grouped convolutions reads
    them.

    Returns:
        A row for each tap, beat of a tap and group of pe outputs: across times pe outputs, the simd
        values of one output side by side.
    """
    taps, inputs, outputs = weights.shape
    parts = outputs // groups // pe
    split = weights.reshape(taps, inputs // simd, simd, groups // across, across, parts, pe)
    return split.transpose(0, 3, 1, 5, 4, 6, 2).reshape(-1, across * pe * simd)
