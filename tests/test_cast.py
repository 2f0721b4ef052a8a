"""``Cast`` against the vendor's documented examples, exact arithmetic, and apytypes."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import apytypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.frontend.errors import FormatError
from lutra.quantize.cast import Cast, cast_float, round_to_integer
from lutra.quantize.formats import Format, Overflow, Rounding

from . import reference

TIES = np.array([2.5, -2.5, 2.75, -2.75])


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.RND, [3, -2, 3, -3]),
        (Rounding.RND_ZERO, [2, -2, 3, -3]),
        (Rounding.RND_MIN_INF, [2, -3, 3, -3]),
        (Rounding.RND_INF, [3, -3, 3, -3]),
        (Rounding.RND_CONV, [2, -2, 3, -3]),
        (Rounding.TRN, [2, -3, 2, -3]),
        (Rounding.TRN_ZERO, [2, -2, 2, -2]),
    ],
)
def test_rounding_modes(rounding: Rounding, expected: list[int]) -> None:
    assert round_to_integer(TIES, rounding).tolist() == expected


@pytest.mark.parametrize(
    ("overflow", "expected"),
    [(Overflow.SAT, 7), (Overflow.WRAP, -8), (Overflow.SAT_ZERO, 0), (Overflow.SAT_SYM, 7)],
)
def test_a_value_is_rounded_before_it_overflows(overflow: Overflow, expected: int) -> None:
    cast = Cast(1, Format(True, 4, 4), Rounding.RND, overflow)
    assert cast.forward(np.array([15.0])).tolist() == [expected]


def test_symmetric_saturation_never_gives_the_smallest_value() -> None:
    cast = Cast(0, Format(True, 4, 4), Rounding.RND, Overflow.SAT_SYM)
    assert cast.forward(np.array([-8.0, -9.0, -7.0])).tolist() == [-7, -7, -7]


casts = st.builds(
    Cast,
    st.integers(-30, 60),
    st.builds(Format, st.booleans(), st.integers(1, 53), st.just(5)),
    st.sampled_from(Rounding),
    st.sampled_from(Overflow),
)


@given(casts, st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=20))
def test_float64_is_exact_up_to_53_bits(cast: Cast, raws: list[int]) -> None:
    got = cast.forward(np.array(raws, np.float64))
    assert got.tolist() == [reference.cast(raw, cast) for raw in raws]


@given(casts, st.lists(st.integers(-(2**24), 2**24), min_size=1, max_size=20))
def test_float32_is_exact_up_to_24_bits(cast: Cast, raws: list[int]) -> None:
    if cast.format.width <= 24:
        got = cast.forward(np.array(raws, np.float32))
        assert got.dtype == np.float32
        assert got.tolist() == [reference.cast(raw, cast) for raw in raws]


@given(st.integers(1, 23), st.booleans(), st.integers(1, 20), st.data())
def test_the_quick_way_gives_the_same_wherever_it_is_allowed(
    shift: int, signed: bool, width: int, data: st.DataObject
) -> None:
    cast = Cast(shift, Format(signed, width, 0))
    bound = data.draw(st.integers(0, (1 << 24) - (1 << (shift - 1))))
    assert cast.is_quick(bound, 24)
    raws = np.array(data.draw(st.lists(st.integers(-bound, bound), min_size=1)), np.float32)
    assert cast.quick(raws).tolist() == cast.forward(raws).tolist()


def test_the_quick_way_is_refused_where_it_would_be_wrong() -> None:
    """0.5 - 2^-25 plus one half rounds up to 1 in float32."""
    cast = Cast(25, Format(True, 8, 8))
    raw = np.array([2**24 - 1], np.float32)
    assert not cast.is_quick(2**24 - 1, 24)
    assert cast.forward(raw).tolist() == [0]
    assert cast.quick(raw).tolist() == [1]


@given(casts, st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_are_cast_like_the_number_that_they_are(cast: Cast, xs: list[float]) -> None:
    got = cast_float(np.array(xs, np.float32), cast.format, cast.rounding, cast.overflow)
    for x, raw in zip(xs, got.tolist(), strict=True):
        scaled = Fraction(x) * Fraction(2) ** cast.format.fraction
        shift = scaled.denominator.bit_length() - 1
        same = Cast(shift, cast.format, cast.rounding, cast.overflow)
        assert raw == reference.cast(scaled.numerator, same)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    st.integers(1, 53),
    st.integers(-75, 140),
    st.booleans(),
    st.lists(st.integers(-(2**54), 2**54), min_size=1),
)
def test_floats_on_a_tie_and_beside_it(
    dtype: type[np.floating], width: int, fraction: int, signed: bool, halves: list[int]
) -> None:
    """Adding one half and rounding down would be wrong for the last number below a tie."""
    target = Format(signed, width, max(width - fraction, -128))
    near = [n >> shift for n in halves for shift in (0, 31, 45)]
    ties = np.array(near, dtype) * dtype(2.0 ** (-target.fraction - 1))
    infinity = dtype(np.inf)
    x = np.concatenate([ties, np.nextafter(ties, infinity), np.nextafter(ties, -infinity)])
    got = cast_float(x, target)
    expected = [reference.assign(Fraction(float(v)), target, Rounding.RND, Overflow.SAT) for v in x]
    assert got.tolist() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("width", [22, 23, 24, 25, 26, 51, 52, 53])
def test_floats_as_large_as_the_mantissa(
    width: int, signed: bool, dtype: type[np.floating]
) -> None:
    """From 2^24 or 2^53 half steps on, one half step more is not always a float of its own."""
    target = Format(signed, width, width)
    near = [(1 << bits) + k for bits in (22, 23, 24, 25, 26, 52, 53, 54) for k in range(-9, 10)]
    x = np.array([*near, *(-n for n in near)], dtype) * dtype(0.5)
    expected = [reference.assign(Fraction(float(v)), target, Rounding.RND, Overflow.SAT) for v in x]
    assert cast_float(x, target).tolist() == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_finite_floats_have_a_raw_value(value: float) -> None:
    with pytest.raises(FormatError, match="finite"):
        cast_float(np.array([value]), Format(True, 8, 3))


APY_ROUNDING = {
    Rounding.TRN: apytypes.QuantizationMode.TRN,
    Rounding.TRN_ZERO: apytypes.QuantizationMode.TRN_ZERO,
    Rounding.RND: apytypes.QuantizationMode.RND,
    Rounding.RND_ZERO: apytypes.QuantizationMode.RND_ZERO,
    Rounding.RND_INF: apytypes.QuantizationMode.RND_INF,
    Rounding.RND_MIN_INF: apytypes.QuantizationMode.RND_MIN_INF,
    Rounding.RND_CONV: apytypes.QuantizationMode.RND_CONV,
}
APY_OVERFLOW = {
    Overflow.WRAP: apytypes.OverflowMode.WRAP,
    Overflow.SAT: apytypes.OverflowMode.SAT,
}


@pytest.mark.parametrize("rounding", Rounding)
def test_every_pair_of_small_signed_formats_equals_apytypes(rounding: Rounding) -> None:
    """All values of all source formats up to 8 bits, every target up to 8 bits, shifts that reach
    from appended zeros to nothing left."""
    for width, target_width in itertools.product(range(1, 9), repeat=2):
        source = Format(True, width, width)
        raws = np.arange(source.low, source.high + 1)
        values = apytypes.APyFixedArray(raws.tolist(), int_bits=width, frac_bits=0)
        for shift in range(-2, width + 3):
            target = Format(True, target_width, target_width + shift)
            for overflow, theirs in APY_OVERFLOW.items():
                cast = Cast(shift, target, rounding, overflow)
                expected = values.cast(
                    target.integer, target.fraction, APY_ROUNDING[rounding], theirs
                )
                bits = np.array(expected.to_bits(), np.int64)
                signed = np.where(bits > target.high, bits - (1 << target.width), bits)
                assert np.array_equal(cast.forward(raws.astype(np.float64)), signed), cast
