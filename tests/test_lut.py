"""Tables: correctly rounded everywhere, and looked up by bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from lutra.quantize.formats import Format
from lutra.quantize.lut import Function, Lut, table

INDEX = Format(True, 9, 4)
REFERENCE: dict[Function, Callable[[float], float]] = {
    Function.SIGMOID: lambda x: 1 / (1 + math.exp(-x)),
    Function.TANH: math.tanh,
    Function.EXP_NEGATIVE: lambda x: math.exp(-x),
}


def raws(index: Format) -> list[int]:
    """Raw values in the order of a table's entries."""
    bits = range(1 << index.width)
    return [b - (1 << index.width) if b > index.high else b for b in bits]


@pytest.mark.parametrize("function", REFERENCE)
@pytest.mark.parametrize("output", [Format(True, 8, 1), Format(False, 12, 2), Format(True, 20, 9)])
def test_entries_are_the_nearest_raw_values(function: Function, output: Format) -> None:
    """Within half a step of the function in float64, with its own error of 1e-12 allowed for,
    or saturated where the function leaves the format."""
    for raw, entry in zip(raws(INDEX), table(function, INDEX, output).tolist(), strict=True):
        true = REFERENCE[function](raw * INDEX.step) / output.step
        clipped = min(max(true, output.low), output.high)
        assert output.low <= entry <= output.high
        assert abs(entry - clipped) <= 0.5 + 1e-12 * max(1, abs(true))


def test_reciprocals_are_exact_and_zero_saturates() -> None:
    index, output = Format(False, 8, 4), Format(False, 11, 1)
    entries = table(Function.RECIPROCAL, index, output).tolist()
    assert entries[0] == output.high
    for raw in range(1, 256):
        true = Fraction(1 << (index.fraction + output.fraction), raw)
        assert entries[raw] == min(math.floor(true + Fraction(1, 2)), output.high)


def test_a_tie_is_rounded_up() -> None:
    """1 / 0.5 = 2 exactly; 1 / 2 = 0.5 is a tie in whole numbers."""
    entries = table(Function.RECIPROCAL, Format(False, 3, 2), Format(False, 4, 4))
    assert entries[1] == 2
    assert entries[4] == 1


def test_sigmoid_of_zero_is_one_half_exactly() -> None:
    assert table(Function.SIGMOID, INDEX, Format(False, 8, 0))[0] == 128


def test_huge_arguments_reach_the_limits() -> None:
    index = Format(True, 4, 100)
    assert table(Function.TANH, index, Format(True, 8, 2)).tolist() == [0] + [64] * 7 + [-64] * 8
    assert table(Function.SIGMOID, index, Format(True, 8, 2)).tolist() == [32] + [64] * 7 + [0] * 8


def test_negative_raws_count_from_the_end_of_the_table() -> None:
    entries = np.arange(8)
    index = np.array([-4, -1, 0, 3], np.float32)
    assert Lut(Function.TANH).forward(index, entries).tolist() == [4, 7, 0, 3]
