"""Tables: correctly rounded everywhere, and looked up by bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from lutra.quantize.formats import Format
from lutra.quantize.lut import DIGITS, Function, Lut, evaluator

INDEX = Format(True, 9, 4)
REFERENCE: dict[Lut, Callable[[float], float]] = {
    Lut(Function.SIGMOID): lambda x: 1 / (1 + math.exp(-x)),
    Lut(Function.TANH): math.tanh,
    Lut(Function.ELU, (0.5,)): lambda x: x if x > 0 else 0.5 * math.expm1(x),
    Lut(Function.SELU, (1.5, 2.0)): lambda x: 2 * (x if x > 0 else 1.5 * math.expm1(x)),
    Lut(Function.GELU): lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    Lut(Function.GELU_TANH): lambda x: (
        x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    ),
    Lut(Function.SILU): lambda x: x / (1 + math.exp(-x)),
    Lut(Function.SOFTPLUS): lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0),
    Lut(Function.HARD_SIGMOID, (0.25, 0.5)): lambda x: min(max(0.25 * x + 0.5, 0), 1),
    Lut(Function.HARD_SWISH): lambda x: x * min(max(x + 3, 0), 6) / 6,
    Lut(Function.EXP_NEGATIVE): lambda x: math.exp(-x),
    Lut(Function.LOG, (1.0,)): lambda x: math.log(max(x, 1)),
    Lut(Function.SOFTSIGN): lambda x: x / (1 + abs(x)),
    Lut(Function.MISH): lambda x: x * math.tanh(math.log1p(math.exp(x))),
    Lut(Function.CELU, (0.5,)): lambda x: x if x > 0 else 0.5 * math.expm1(2 * x),
    Lut(Function.ERF): math.erf,
    Lut(Function.SINE): math.sin,
    Lut(Function.COSINE): math.cos,
    Lut(Function.SINE_TURNS): lambda x: math.sin(2 * math.pi * math.fmod(x, 1)),
    Lut(Function.COSINE_TURNS): lambda x: math.cos(2 * math.pi * math.fmod(x, 1)),
    Lut(Function.EXP): math.exp,
    Lut(Function.LOG, (0.03125,)): lambda x: math.log(max(x, 0.03125)),
    Lut(Function.LOG_MANTISSA, (5,)): lambda x: math.log1p(x / 32),
    Lut(Function.LOG_EXPONENT, (2, 3)): lambda x: ((int(x) >> 2) - 3) * math.log(2),
    Lut(Function.POWER, (0.5, 0.03125)): lambda x: math.sqrt(max(x, 0)),
    Lut(Function.POWER, (-0.75, 0.03125)): lambda x: max(x, 0.03125) ** -0.75,
    Lut(Function.POWER, (-1, 0.03125)): lambda x: 1 / (x or 0.03125),
    Lut(Function.POWER, (3, 0.03125)): lambda x: x**3,
    Lut(Function.POWER, (-2, 0.03125)): lambda x: (x or 0.03125) ** -2,
    Lut(Function.POWER, (0, 0.03125)): lambda x: 1,
    Lut(Function.POWER_MANTISSA, (5, 1.5)): lambda x: (1 + x / 32) ** 1.5,
    Lut(Function.POWER_MANTISSA, (5, -1.5)): lambda x: (2 / (1 + x / 32)) ** 1.5,
    Lut(Function.POWER_EXPONENT, (2, 1.5, 3)): lambda x: 2 ** (1.5 * ((int(x) >> 2) - 3)),
    Lut(Function.POWER_EXPONENT, (2, -1, 3)): lambda x: 2.0 ** (2 - (int(x) >> 2)),
    Lut(Function.ROOT_EXPONENT, (2,)): lambda x: 2.0 ** -((int(x) >> 2) // 2),
    Lut(Function.SIGMOID, slope=True): lambda x: (
        (1 / (1 + math.exp(-x - INDEX.step)) - 1 / (1 + math.exp(-x))) / INDEX.step
    ),
}


def raws(index: Format) -> list[int]:
    """Raw values in the order of a table's entries."""
    bits = range(1 << index.width)
    return [b - (1 << index.width) if b > index.high else b for b in bits]


@pytest.mark.parametrize("lut", REFERENCE, ids=str)
@pytest.mark.parametrize("output", [Format(True, 8, 1), Format(False, 12, 2), Format(True, 20, 9)])
def test_entries_are_the_nearest_raw_values(lut: Lut, output: Format) -> None:
    """Within half a step of the function in float64, with its own error of 1e-12 allowed for,
    or saturated where the function leaves the format."""
    for raw, entry in zip(raws(INDEX), lut.table(INDEX, output).tolist(), strict=True):
        true = REFERENCE[lut](raw * INDEX.step) / output.step
        clipped = min(max(true, output.low), output.high)
        assert output.low <= entry <= output.high
        assert abs(entry - clipped) <= 0.5 + 1e-12 * max(1, abs(true))


def test_reciprocals_are_exact_and_zero_saturates() -> None:
    index, output = Format(False, 8, 4), Format(False, 11, 1)
    entries = Lut(Function.RECIPROCAL).table(index, output).tolist()
    assert entries[0] == output.high
    for raw in range(1, 256):
        true = Fraction(1 << (index.fraction + output.fraction), raw)
        assert entries[raw] == min(math.floor(true + Fraction(1, 2)), output.high)


def test_angles_of_any_size_are_reduced() -> None:
    """The C library's sine of a float64 is right whatever its size."""
    index = Format(True, 5, 100)
    with localcontext(prec=DIGITS):
        for function, reference in ((Function.SINE, math.sin), (Function.COSINE, math.cos)):
            exact = evaluator(function)
            for raw in range(index.low, index.high + 1):
                x = raw * index.step
                assert abs(float(exact(Decimal(x))) - reference(x)) < 1e-15


def test_huge_powers_saturate() -> None:
    """Beyond what a Decimal holds, and as small."""
    index, output = Format(True, 4, 100), Format(False, 8, 4)
    for exponent, expected in ((1e30, output.high), (-1e30, 0)):
        entries = Lut(Function.POWER, (exponent, index.step)).table(index, output).tolist()
        assert entries[1:] == [expected] * 15
    assert Lut(Function.EXP).table(index, output).tolist() == [16] + [255] * 7 + [0] * 8


def test_powers_that_are_short_numbers_are_exact() -> None:
    """A tie is rounded up: 2.25 to the power of 1.5 is 3.375."""
    entries = Lut(Function.POWER, (1.5, 0.25)).table(Format(False, 4, 2), Format(False, 4, 2))
    assert entries[9] == 14
    roots = Lut(Function.POWER, (0.5, 0.25)).table(Format(False, 8, 6), Format(False, 3, 3))
    assert roots[25] == 3


def test_a_tie_is_rounded_up() -> None:
    """1 / 0.5 = 2 exactly; 1 / 2 = 0.5 is a tie in whole numbers."""
    entries = Lut(Function.RECIPROCAL).table(Format(False, 3, 2), Format(False, 4, 4))
    assert entries[1] == 2
    assert entries[4] == 1


def test_sigmoid_of_zero_is_one_half_exactly() -> None:
    assert Lut(Function.SIGMOID).table(INDEX, Format(False, 8, 0))[0] == 128


def test_huge_arguments_reach_the_limits() -> None:
    index = Format(True, 4, 100)
    assert (
        Lut(Function.TANH).table(index, Format(True, 8, 2)).tolist() == [0] + [64] * 7 + [-64] * 8
    )
    assert (
        Lut(Function.SIGMOID).table(index, Format(True, 8, 2)).tolist() == [32] + [64] * 7 + [0] * 8
    )


def test_negative_raws_count_from_the_end_of_the_table() -> None:
    entries = np.arange(8)
    index = np.array([-4, -1, 0, 3], np.float32)
    assert Lut(Function.TANH).forward(index, entries).tolist() == [4, 7, 0, 3]


@pytest.mark.parametrize("bits", [3, 7])
def test_root_mantissas_stand_for_the_middle_of_their_interval(bits: int) -> None:
    """sqrt(n 2^F / x) for x from 1 to 4, with the bits behind the leading one halved between."""
    lut = Lut(Function.ROOT_MANTISSA, (bits, 6, 3))
    output = Format(False, 30, 3)
    entries = lut.table(Format(False, bits + 1, bits + 1), output).tolist()
    for index, entry in enumerate(entries):
        parity, behind = divmod(index, 1 << bits)
        x = 2**parity * (1 + (behind + 0.5) / 2**bits)
        assert abs(entry - math.sqrt(6 * 2**3 / x) / output.step) <= 0.5 + 1e-6


def test_gelu_is_right_where_cancellation_would_hurt() -> None:
    """Far to the left, 1 + erf is the small difference of two numbers of size 1."""
    exact = evaluator(Function.GELU)
    with localcontext(prec=DIGITS):
        for x in (-1.0, -5.0, -9.0):
            true = x * math.erfc(-x / math.sqrt(2)) / 2
            assert abs(float(exact(Decimal(x))) / true - 1) < 1e-12
