"""``Lut``: the only non-linear primitive besides ``Cast``, a table of correctly rounded values."""

from __future__ import annotations

import decimal
import enum
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from typing import assert_never

import numpy as np

from ..frontend.ops import Array, Shape
from .formats import Format

DIGITS = 60
"""Decimal digits of working precision: far beyond the 53 bits that a format can have."""

SPARE = 50
"""Digits more for pi and what is reduced by it: the largest angle of a format has 39 digits."""

FLAT = Decimal(5000)
"""Beyond this argument sigmoid, tanh and exp(-x) differ from their limits by less than 10^-2000,
far below half a step of any format."""

ERF_FLAT = Decimal(12)
"""Beyond this argument erf differs from its limit by less than 10^-63."""

Exact = Callable[[Decimal], Decimal]


class Function(enum.StrEnum):
    """The functions that tables are made of.

    Those of a MANTISSA and an EXPONENT are the factors, or for the logarithm the terms, of a
    function whose argument has a :class:`~.float_index.FloatIndex`.  The angles of ``SINE_TURNS``
    and ``COSINE_TURNS`` are in turns, those of ``SINE`` and ``COSINE`` in radians.
    """

    SIGMOID = "sigmoid"
    TANH = "tanh"
    ELU = "elu"
    SELU = "selu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SILU = "silu"
    SOFTPLUS = "softplus"
    HARD_SIGMOID = "hard_sigmoid"
    HARD_SWISH = "hard_swish"
    SOFTSIGN = "softsign"
    MISH = "mish"
    CELU = "celu"
    ERF = "erf"
    SINE = "sine"
    COSINE = "cosine"
    SINE_TURNS = "sine_turns"
    COSINE_TURNS = "cosine_turns"
    EXP = "exp"
    EXP_NEGATIVE = "exp_negative"
    LOG = "log"
    LOG_MANTISSA = "log_mantissa"
    LOG_EXPONENT = "log_exponent"
    POWER = "power"
    POWER_MANTISSA = "power_mantissa"
    POWER_EXPONENT = "power_exponent"
    RECIPROCAL = "reciprocal"
    ROOT_MANTISSA = "root_mantissa"
    ROOT_EXPONENT = "root_exponent"


@dataclass(frozen=True)
class Lut:
    """Look up a table by the bits of the input: inputs are x and the table.

    The table has one entry for each bit pattern of x, in the order of the patterns, so that a
    negative raw value counts from the end.

    Attributes:
        function: what the entries are values of.
        parameters: of the function; see :func:`evaluator`.
        slope: the entries are the function's slopes from one index to the next instead.
    """

    function: Function
    parameters: tuple[float, ...] = ()
    slope: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, *inputs: Array) -> Array:
        x, table = inputs
        index = x.astype(np.int32)  # floats become these several times faster than 64-bit ones
        # The second keeps the layout in memory, the first is faster.
        return table.take(index, mode="wrap") if index.flags.c_contiguous else table[index]

    def table(self, index: Format, output: Format) -> Array:
        """Raw outputs, int64, for every bit pattern of ``index``: rounded to nearest, ties up,
        then saturated, from the function's true value."""
        with decimal.localcontext(prec=DIGITS):
            return np.roll(_entries(self.exact(index), output), index.low)

    def exact(self, index: Format) -> tuple[Decimal, ...]:
        """The true values of the entries, in rising order of the index.

        They are kept for a while, since a function is often asked for in several formats.
        """
        with decimal.localcontext(prec=DIGITS):
            values = _values(self.function, self.parameters, index)
            if self.slope:
                scale = Decimal(2) ** index.fraction
                return tuple((b - a) * scale for a, b in itertools.pairwise(values))
            return values[: 1 << index.width]


@lru_cache(maxsize=16)
def _values(
    function: Function, parameters: tuple[float, ...], index: Format
) -> tuple[Decimal, ...]:
    """The function at every value of ``index`` in rising order, and at the next one after."""
    exact = evaluator(function, parameters)
    step = Decimal(2) ** -index.fraction
    return tuple(exact(raw * step) for raw in range(index.low, index.high + 2))


def _entries(exact: Sequence[Decimal], output: Format) -> Array:
    """The raw values of ``output`` that are nearest, int64.

    A float64 tells them, unless it lies so near to a tie that its own rounding could matter.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        above = np.ldexp(np.array(exact, np.float64), output.fraction) + 0.5
        doubtful = ~(np.abs(above - np.rint(above)) > np.abs(above) * 2.0**-50)
    doubtful &= (above >= output.low) & (above <= output.high + 1)
    entries = np.clip(np.floor(above), output.low, output.high).astype(np.int64)
    for i in np.flatnonzero(doubtful):
        entries[i] = _entry(exact[int(i)], output)
    return entries


def _entry(exact: Decimal, output: Format) -> int:
    """The raw value of ``output`` that is nearest."""
    scaled = exact * Decimal(2) ** output.fraction
    if scaled.is_infinite():
        return output.high
    rounded = int((scaled + Decimal("0.5")).to_integral_value(decimal.ROUND_FLOOR))
    return min(max(rounded, output.low), output.high)


def evaluator(function: Function, parameters: tuple[float, ...] = ()) -> Exact:
    """The function with about 60 correct digits; none of its values but exact ones lies so near
    to a tie that this could round it wrongly (Lindemann: exp of a rational is transcendental).

    Parameters: alpha of ELU and CELU; alpha and gamma of SELU; slope and offset of the hard
    sigmoid.

    LOG of ``least``, and POWER of an exponent and ``least``: an argument outside of the function's
    domain is taken for the nearest value within it, where ``least`` is the smallest positive one.
    So LOG gives at least ln(least), a root of what is negative is 0, and a power with a negative
    exponent has its largest value at 0.

    The index of a MANTISSA holds, of an argument whose leading one has the weight 2^p, the b bits
    behind it, and that of an EXPONENT p · 2^b.  LOG_MANTISSA of b is ln(1 + m / 2^b), and
    LOG_EXPONENT of b and the argument's fraction bits F is (p - F) ln 2.  For an exponent e,
    POWER_MANTISSA of b and e is (1 + m / 2^b)^e, if e is negative times 2^-e, so that it is at
    least 1; POWER_EXPONENT of b, e and F is 2^(e (p - F)), if e is negative times 2^e.

    For ROOT_MANTISSA bits b, n and fraction F: the index holds the parity of the leading one's
    position and b bits m behind it, and the value is
    sqrt(n · 2^F / (2^parity · (1 + (m + 1/2) / 2^b))).  ROOT_EXPONENT of p · 2^b, with b its only
    parameter, is 2^-floor(p / 2).
    """
    p = [Decimal(value) for value in parameters]
    match function:
        case Function.SIGMOID:
            return _sigmoid
        case Function.TANH:
            return _tanh
        case Function.ELU:
            return lambda x: x if x > 0 else p[0] * (_clamp(x).exp() - 1)
        case Function.SELU:
            return lambda x: p[1] * (x if x > 0 else p[0] * (_clamp(x).exp() - 1))
        case Function.GELU:
            return lambda x: x * (1 + _erf(x / Decimal(2).sqrt())) / 2
        case Function.GELU_TANH:
            return lambda x: x * (1 + _tanh(_gelu_argument(x))) / 2
        case Function.SILU:
            return lambda x: x * _sigmoid(x)
        case Function.SOFTPLUS:
            return lambda x: max(x, Decimal(0)) + (1 + (-abs(_clamp(x))).exp()).ln()
        case Function.HARD_SIGMOID:
            return lambda x: min(max(p[0] * x + p[1], Decimal(0)), Decimal(1))
        case Function.HARD_SWISH:
            return lambda x: x * min(max(x + 3, Decimal(0)), Decimal(6)) / 6
        case Function.SOFTSIGN:
            return lambda x: x / (1 + abs(x))
        case Function.MISH:
            return _mish
        case Function.CELU:
            return lambda x: x if x > 0 else p[0] * (_clamp(x / p[0]).exp() - 1)
        case Function.ERF:
            return _erf
        case Function.SINE | Function.COSINE | Function.SINE_TURNS | Function.COSINE_TURNS:
            return _wave(function)
        case Function.EXP:
            return lambda x: _clamp(x).exp()
        case Function.EXP_NEGATIVE:
            return lambda x: (-_clamp(x)).exp()
        case Function.LOG:
            return lambda x: max(x, p[0]).ln()
        case Function.LOG_MANTISSA:
            return lambda x: (1 + x / 2 ** p[0]).ln()
        case Function.LOG_EXPONENT:
            return lambda x: (int(x) // 2 ** int(p[0]) - p[1]) * Decimal(2).ln()
        case Function.POWER:
            return lambda x: _power(x, p[0], p[1])
        case Function.POWER_MANTISSA:
            base = 2 if p[1] < 0 else 1
            return lambda x: _power((1 + x / 2 ** p[0]) / base, p[1], Decimal(1))
        case Function.POWER_EXPONENT:
            more = 1 if p[1] < 0 else 0
            return lambda x: _power_of_two(p[1] * (int(x) // 2 ** int(p[0]) - p[2] + more))
        case Function.RECIPROCAL:
            return lambda x: 1 / x if x else Decimal("Infinity")
        case Function.ROOT_MANTISSA:
            return lambda x: _root_mantissa(int(x), *map(int, parameters))
        case Function.ROOT_EXPONENT:
            return lambda x: Decimal(2) ** -((int(x) >> int(parameters[0])) // 2)
        case _:
            assert_never(function)


def _clamp(x: Decimal) -> Decimal:
    return max(min(x, FLAT), -FLAT)


def _sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-_clamp(x)).exp())


def _tanh(x: Decimal) -> Decimal:
    return 1 - 2 / ((2 * _clamp(x)).exp() + 1)


def _gelu_argument(x: Decimal) -> Decimal:
    return (2 / pi()).sqrt() * (x + Decimal("0.044715") * x**3)


def _erf(x: Decimal) -> Decimal:
    """The error function by its series with positive terms alone (Abramowitz and Stegun, 7.1.6)."""
    if abs(x) > ERF_FLAT:
        return Decimal(1).copy_sign(x)
    term = total = x
    n = 0
    while abs(term) > Decimal(10) ** -(DIGITS + 5) * abs(total):
        n += 1
        term = term * 2 * x * x / (2 * n + 1)
        total += term
    return 2 / pi().sqrt() * (-x * x).exp() * total


def _mish(x: Decimal) -> Decimal:
    """x tanh(ln(1 + e^x)), where with n = e^x (e^x + 2) the tangent is n / (n + 2)."""
    power = _clamp(x).exp()
    n = power * (power + 2)
    return x * n / (n + 2)


def _power(x: Decimal, exponent: Decimal, least: Decimal) -> Decimal:
    """x to the power of a constant; a value outside of its domain is taken for the nearest within,
    of which ``least`` is the smallest positive one.

    Ten digits less than it is worked out with, so that what is a short number is exactly that.
    """
    whole = exponent == exponent.to_integral_value()
    if x < 0 and not whole:
        x = Decimal(0)
    if x == 0 and exponent < 0:
        x = least
    if x == 0:
        return Decimal(0) if exponent else Decimal(1)
    logarithm = exponent * abs(x).ln()
    value = abs(x) ** exponent if abs(logarithm) < FLAT else _clamp(logarithm).exp()
    with decimal.localcontext(prec=DIGITS - 10):
        return -value if x < 0 and exponent % 2 else +value


def _power_of_two(exponent: Decimal) -> Decimal:
    return _power(Decimal(2), exponent, Decimal(1))


def _wave(function: Function) -> Exact:
    """Sine or cosine of an angle in radians or turns."""
    quarter = Decimal("0.25") if "cosine" in function else Decimal(0)
    radians = function in (Function.SINE, Function.COSINE)

    def wave(x: Decimal) -> Decimal:
        with decimal.localcontext(prec=DIGITS + SPARE):
            turns = (x / (2 * pi()) if radians else x) + quarter
            turns -= turns.to_integral_value()
            if abs(turns) > quarter_turn:
                turns = Decimal("0.5").copy_sign(turns) - turns
            return _sine(2 * pi() * turns)

    quarter_turn = Decimal("0.25")
    return wave


def _sine(x: Decimal) -> Decimal:
    """By its series, for an angle of at most a right one."""
    term = total = x
    n = 1
    while abs(term) > Decimal(10) ** -(DIGITS + 10):
        n += 2
        term *= -x * x / (n * (n - 1))
        total += term
    return total


@cache
def pi() -> Decimal:
    """Pi, with digits to spare: Machin's formula, 16 atan(1/5) - 4 atan(1/239)."""
    with decimal.localcontext(prec=DIGITS + SPARE + 10):
        return 16 * _inverse_tangent(5) - 4 * _inverse_tangent(239)


def _inverse_tangent(n: int) -> Decimal:
    """atan(1/n) by its series."""
    power = total = Decimal(1) / n
    k = 1
    while abs(power) > Decimal(10) ** -(DIGITS + SPARE + 10):
        power /= -n * n
        k += 2
        total += power / k
    return total


def _root_mantissa(index: int, bits: int, n: int, fraction: int) -> Decimal:
    parity, behind = divmod(index, 1 << bits)
    argument = (1 << parity) * (1 + (behind + Decimal("0.5")) / (1 << bits))
    return (n * Decimal(2) ** fraction / argument).sqrt()
