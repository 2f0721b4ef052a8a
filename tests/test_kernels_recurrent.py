"""The C++ kernels of recurrent layers, on their own, against NumPy.

The cells here are no known ones: they have what a cell can have (states, parts of x, sums of
different formats, a second group of products), and little enough to be written twice.
"""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend.ops import Array
from lutra.hls_templates.pack import weight_rows
from lutra.quantize.cast import Cast
from lutra.quantize.formats import Format, Overflow, Rounding

from .kernel_bench import FRAMES, Case, Data, cpp_type, integers, raw_values, run_cases

X, WEIGHT, SUM = integers(8), integers(4), integers(16)
HIDDEN = Format(True, 6, 11)  # a unit is worth 32 of a sum

ONE = """
typedef ap_fixed<6, 11, AP_RND, AP_SAT> hidden_t;
struct state {
    ap_fixed<6, 11> hidden;
    ap_fixed<12, 12> memory;
    static state zero() {
        state value;
        value.hidden = 0;
        value.memory = 0;
        return value;
    }
};
struct group {
    static const int count = 2;
    static const int pe = PE;
    static const int simd = SIMD;
    typedef ap_fixed<6, 6> in;
    typedef ap_fixed<4, 4> weight;
    typedef ap_fixed<16, 16> acc;
    typedef lutra::multiply_dsp multiply;
};
struct cell {
    typedef ap_fixed<6, 11> out;
    static out apply(const ap_fixed<8, 8> (&x)[2], const ap_fixed<16, 16> (&sums)[2], state& kept) {
        ap_fixed<14, 14> v0 = lutra::low_bits<ap_fixed<14, 14> >(sums[0]);
        lutra::trace<0>(v0);
        ap_fixed<16, 14> v1 = lutra::low_bits<ap_fixed<16, 14> >(sums[1]);
        lutra::trace<1>(v1);
        ap_fixed<12, 12> v2 = v1 + kept.memory - kept.hidden + x[1];
        lutra::trace<2>(v2);
        hidden_t v3 = v0 + v2 + x[0];
        lutra::trace<3>(v3);
        kept.hidden = v3;
        kept.memory = v2;
        return v3;
    }
};
"""

TWO = """
typedef ap_fixed<6, 11, AP_RND, AP_SAT> hidden_t;
struct state {
    ap_fixed<6, 11> hidden;
    ap_fixed<14, 14> gate;
    static state zero() {
        state value;
        value.hidden = 0;
        value.gate = 0;
        return value;
    }
};
struct first_group {
    static const int count = 2;
    static const int pe = PE;
    static const int simd = SIMD;
    typedef ap_fixed<6, 6> in;
    typedef ap_fixed<4, 4> weight;
    typedef ap_fixed<16, 16> acc;
    typedef lutra::multiply_lut multiply;
};
struct second_group {
    static const int count = 1;
    static const int pe = SIMD;
    static const int simd = PE;
    typedef ap_ufixed<5, 5> in;
    typedef ap_fixed<4, 4> weight;
    typedef ap_fixed<16, 16> acc;
    typedef lutra::multiply_lut multiply;
};
struct first_cell {
    typedef ap_ufixed<5, 5> out;
    static out apply(const ap_fixed<8, 8> (&x)[3], const ap_fixed<16, 16> (&sums)[2], state& kept) {
        ap_fixed<14, 14> v0 = lutra::low_bits<ap_fixed<14, 14> >(sums[0]);
        lutra::trace<0>(v0);
        ap_fixed<14, 14> v1 = lutra::low_bits<ap_fixed<14, 14> >(sums[1]);
        lutra::trace<1>(v1);
        ap_fixed<14, 14> gate = v0 + x[0];
        kept.gate = gate;
        ap_ufixed<5, 5, AP_RND, AP_SAT> v2 = v1 + x[1] + kept.hidden;
        lutra::trace<2>(v2);
        return v2;
    }
};
struct second_cell {
    typedef ap_fixed<6, 11> out;
    static out apply(const ap_fixed<8, 8> (&x)[3], const ap_fixed<16, 16> (&sums)[1], state& kept) {
        ap_fixed<14, 14> v3 = lutra::low_bits<ap_fixed<14, 14> >(sums[0]);
        lutra::trace<3>(v3);
        hidden_t v4 = v3 + kept.gate + x[2] - kept.hidden;
        lutra::trace<4>(v4);
        kept.hidden = v4;
        return v4;
    }
};
"""


def cast(raw: Array, shift: int, to: Format, overflow: Overflow = Overflow.SAT) -> Array:
    rounding = Rounding.RND if overflow is Overflow.SAT else Rounding.TRN
    return Cast(shift, to, rounding, overflow).forward(raw.astype(np.float64)).astype(np.int64)


def matrices(rng: np.random.Generator, count: int, units: int) -> tuple[Array, Array]:
    """Weights of some Dense, and biases: none for the last."""
    weights = raw_values(rng, WEIGHT, count, units, units)
    bias = raw_values(rng, integers(9), count, units)
    bias[1:] = 0
    return weights, bias


def packed(weights: Array, bias: Array, pe: int, simd: int) -> tuple[tuple[Array, int], ...]:
    rows = np.concatenate([weight_rows(matrix, pe, simd) for matrix in weights])
    return (rows, WEIGHT.width), (bias.reshape(-1, pe), SUM.width)


def one_step(x: Array, weights: Array, bias: Array, state: dict[str, Array]) -> dict[int, Array]:
    """The C++ cell above: x is (frames, parts, units); the values by their numbers."""
    sums = [state["hidden"] @ weights[i] + bias[i] for i in range(2)]
    total = sums[1] + 4 * (state["memory"] - 32 * state["hidden"] + x[:, 1])
    memory = cast(total, 2, integers(12), Overflow.WRAP)
    hidden = cast(sums[0] + memory + x[:, 0], 5, HIDDEN)
    state |= {"hidden": hidden, "memory": memory}
    return {0: sums[0], 1: sums[1], 2: memory, 3: hidden}


def two_step(x: Array, weights: Array, bias: Array, state: dict[str, Array]) -> dict[int, Array]:
    hidden = state["hidden"]
    sums = [hidden @ weights[i] + bias[i] for i in range(2)]
    operand = cast(sums[1] + x[:, 1] + 32 * hidden, 0, integers(5, signed=False))
    third = operand @ weights[2] + bias[2]
    new = cast(third + sums[0] + x[:, 0] + x[:, 2] - 32 * hidden, 5, HIDDEN)
    state["hidden"] = new
    return {0: sums[0], 1: sums[1], 2: operand, 3: third, 4: new}


def case(
    name: str,
    steps: int,
    units: int,
    *,
    pe: int = 1,
    simd: int = 1,
    lanes: int = 1,
    reverse: bool = False,
    last: bool = False,
    two: bool = False,
) -> Case:
    rng = np.random.default_rng([steps, units, pe, simd])
    parts = 3 if two else 2
    x = raw_values(rng, X, FRAMES, steps, parts, units)
    weights, bias = matrices(rng, 3 if two else 2, units)
    state = {key: np.zeros((FRAMES, units), np.int64) for key in ("hidden", "memory")}
    step = two_step if two else one_step
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    values = [step(x[:, t], weights, bias, state) for t in order]
    traced = {i: np.stack([value[i] for value in values], axis=1) for i in values[0]}
    hidden = traced[max(traced)]
    in_time = hidden[:, ::-1] if reverse else hidden
    arrays = packed(weights[:2], bias[:2], pe, simd)
    types = {"in": cpp_type(X), "state": f"{name}::state"}
    words = (
        ("first_group", "first_cell", "second_group", "second_cell") if two else ("group", "cell")
    )
    return Case(
        name,
        "recurrent_two" if two else "recurrent",
        {"steps": steps, "units": units, "parts": parts, "lanes": lanes}
        | {"reverse": reverse, "last": last},
        types | {word: f"{name}::{word}" for word in words},
        (Data(x, X, lanes),),
        Data(hidden[:, -1] if last else in_time, HIDDEN, lanes),
        arrays=(*arrays, *packed(weights[2:], bias[2:], simd, pe)) if two else arrays,
        traced=traced,
        text=(TWO if two else ONE).replace("PE", str(pe)).replace("SIMD", str(simd)),
    )


CASES = [
    case("one_by_one", 4, 3),
    case("folded", 3, 6, pe=2, simd=3),
    case("lanes", 5, 8, pe=4, simd=2, lanes=2),
    case("unfolded", 3, 4, pe=4, simd=4, lanes=4),
    case("one_step", 1, 4, pe=2, simd=2),
    case("one_unit", 3, 1),
    case("last", 4, 4, pe=2, simd=4, lanes=2, last=True),
    case("backwards", 4, 4, pe=2, simd=2, lanes=2, reverse=True),
    case("backwards_one_by_one", 3, 3, reverse=True),
    case("backwards_last", 3, 6, pe=3, simd=1, reverse=True, last=True),
    case("two_one_by_one", 4, 3, two=True),
    case("two_folded", 4, 6, pe=2, simd=3, two=True),
    case("two_lanes", 3, 8, pe=4, simd=2, lanes=2, two=True),
    case("two_unfolded", 3, 4, pe=4, simd=4, lanes=4, two=True),
    case("two_last", 3, 4, pe=2, simd=4, lanes=2, last=True, two=True),
    case("two_backwards", 4, 4, pe=2, simd=4, reverse=True, two=True),
    case("two_backwards_last", 4, 4, pe=4, simd=4, reverse=True, last=True, two=True),
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each case gets wrong; one program runs them all."""
    return run_cases(CASES, tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_kernel_computes_what_numpy_does(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_values_are_not_all_saturated(case: Case) -> None:
    hidden = case.traced[max(case.traced)]
    assert np.mean((hidden == HIDDEN.low) | (hidden == HIDDEN.high)) < 0.5
