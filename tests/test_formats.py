"""Formats: ranges, names, and the narrowest one that holds a range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.frontend.errors import FormatError
from lutra.quantize.formats import Format


def test_a_signed_format_has_the_range_of_twos_complement() -> None:
    format_ = Format(True, 8, 3)
    assert (format_.fraction, format_.low, format_.high, format_.step) == (5, -128, 127, 2**-5)


def test_an_unsigned_format_starts_at_zero() -> None:
    assert (Format(False, 8, 3).low, Format(False, 8, 3).high) == (0, 255)


def test_integer_bits_may_be_negative_or_exceed_the_width() -> None:
    assert Format(True, 4, -2).fraction == 6
    assert Format(True, 4, 8).fraction == -4


@pytest.mark.parametrize(("width", "integer"), [(0, 0), (54, 1), (8, 129), (8, -129)])
def test_formats_that_cannot_exist_are_refused(width: int, integer: int) -> None:
    with pytest.raises(FormatError, match="cannot have"):
        Format(True, width, integer)


@pytest.mark.parametrize("text", ["fixed<8,3>", "ufixed<1,-4>", "fixed<53,60>"])
def test_parsing_undoes_printing(text: str) -> None:
    assert str(Format.parse(text)) == text


def test_parsing_accepts_the_vendors_prefix_and_spaces() -> None:
    assert Format.parse(" ap_ufixed< 8, 3 > ") == Format(False, 8, 3)


@pytest.mark.parametrize("text", ["", "fixed<8>", "float", "fixed<8,3,RND>", "fixed<99999,1>"])
def test_other_texts_are_no_formats(text: str) -> None:
    with pytest.raises(FormatError):
        Format.parse(text)


@given(st.integers(-(2**50), 2**50), st.integers(-(2**50), 2**50), st.integers(-20, 20))
def test_holding_is_the_narrowest_format(a: int, b: int, fraction: int) -> None:
    low, high = min(a, b), max(a, b)
    held = Format.holding(low, high, fraction)
    assert held.low <= low <= high <= held.high
    assert held.fraction == fraction
    assert held.signed == (low < 0)
    if held.width > 1:
        narrower = Format(held.signed, held.width - 1, held.integer - 1)
        assert not narrower.low <= low <= high <= narrower.high


def test_holding_refuses_what_is_too_wide() -> None:
    with pytest.raises(FormatError, match="width"):
        Format.holding(-(2**53), 0, 0)
