"""The bits of factors before a rounding: as few as equality with real numbers takes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lutra.frontend.ops import Array
from lutra.quantize.margin import Choice, Term, choose

HALVES = np.arange(-128, 128) + 0.5
RNG = np.random.default_rng(0)


def sums(terms: list[Term], addend: Array, fraction: int | None) -> Array:
    """The sums of all integers, (channels, ...), in steps of 1: real, or with rounded factors."""

    def part(values: Array) -> Array:
        kept = values if fraction is None else np.rint(values * 2.0**fraction) / 2.0**fraction
        return kept.reshape(-1, *(1,) * len(terms))

    total = part(addend)
    for i, term in enumerate(terms):
        shape = [1] * (len(terms) + 1)
        shape[i + 1] = -1
        total = total + part(term.factors) * np.arange(term.low, term.high + 1).reshape(shape)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_all_sums_round_as_real_numbers_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms = [Term(rng.normal(0, 0.02, 7), -4000, 5000)]
    addend = rng.normal(0, 9, 7)
    choice = choose(terms, addend, HALVES, 1)
    assert choice.error == 0
    true, made = (
        np.clip(np.rint(sums(terms, addend, p)), -128, 127) for p in (None, choice.fraction)
    )
    assert np.array_equal(true, made)
    fewer = np.clip(np.rint(sums(terms, addend, choice.fraction - 1)), -128, 127)
    assert not np.array_equal(true, fewer)


def test_two_terms() -> None:
    terms = [Term(RNG.normal(0, 0.01, 1), -3000, 3000), Term(RNG.normal(0, 0.5, 2), -128, 127)]
    addend = RNG.normal(0, 9, 1)
    choice = choose(terms, addend, HALVES, 1)
    assert choice.error == 0
    true, made = (
        np.clip(np.rint(sums(terms, addend, p)), -128, 127) for p in (None, choice.fraction)
    )
    assert np.array_equal(true, made)


def test_ties_that_few_bits_hold_are_kept() -> None:
    """Factors with a tie at every second integer."""
    choice = choose([Term(np.array([0.375]), -99, 99)], np.array([0.125]), HALVES, 1)
    assert choice == Choice(3, 0.0)


def test_a_tie_that_no_bits_hold_is_reached_by_rounding_the_sum() -> None:
    """3/6 is a tie, and 1/6 has no last bit."""
    term = Term(np.array([1 / 6]), -100, 100)
    choice = choose([term], np.zeros(1), HALVES, 1)
    assert choice.error == 0
    assert choice.snap is not None
    made = sums([term], np.zeros(1), choice.fraction)
    made = np.floor(made * 2.0**choice.snap + 0.5) / 2.0**choice.snap
    true = np.array([round(Fraction(n, 6)) for n in range(-100, 101)])
    assert np.array_equal(np.rint(made)[0], true)
    without = sums([term], np.zeros(1), choice.fraction + 20)
    assert not np.array_equal(np.rint(without)[0], true)


def test_too_little_room_leaves_a_known_error() -> None:
    """Sums of 2^-40 above a boundary, with integers of 30 bits."""
    term = Term(np.array([(1 + 2.0**-40) / 2]), -(2**30), 2**30)
    choice = choose([term], np.zeros(1), HALVES, 1)
    made = Fraction(round(term.factors[0] * 2.0**choice.fraction), 2**choice.fraction)
    assert 0 < 2**30 * abs(made - Fraction(term.factors[0])) <= choice.error < 2.0**9


def test_what_has_too_many_boundaries_is_exact_or_has_a_known_error() -> None:
    term = Term(np.array([0.75]), -(2**22), 2**22)
    assert choose([term], np.zeros(1), None, 1) == Choice(2, 0.0)
    term = Term(np.array([0.7]), -(2**22), 2**22)
    choice = choose([term], np.zeros(1), None, 1)
    assert 0 < choice.error < 2.0**-6
    assert (choice.fraction + 22) <= 52


def test_a_factor_of_zero_and_an_integer_of_one_value() -> None:
    term = Term(np.array([0.0, 0.31]), 5, 5)
    assert choose([term], np.array([0.25, 0.0]), HALVES, 1).error == 0
    assert choose([Term(np.zeros(1), 0, 0)], np.zeros(1), HALVES, 1) == Choice(1, 0.0)
