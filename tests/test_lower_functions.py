"""How far lowered functions are from the true ones, over every raw value of their operand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import (
    Abs,
    Array,
    Celu,
    Cos,
    Div,
    Elu,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LayerNorm,
    Log,
    LogSoftmax,
    Maximum,
    Minimum,
    Mish,
    Neg,
    Op,
    Power,
    RmsNorm,
    Selu,
    Sigmoid,
    Silu,
    Sin,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
)
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format
from lutra.quantize.lower import lower
from lutra.quantize.precision import LayerSettings, Settings
from lutra.sim.simulator import Simulator

FUNCTIONS: list[Op] = [
    Sigmoid(),
    Tanh(),
    Elu(),
    Elu(0.3),
    Selu(),
    Gelu(),
    Gelu(approximate=True),
    Silu(),
    Softplus(),
    HardSigmoid(),
    HardSwish(),
    Softsign(),
    Mish(),
    Celu(),
    Celu(0.1),
    Erf(),
    Sin(),
    Cos(),
]


def alone(op: Op, x: Array, settings: Settings, *weights: Array) -> tuple[FixedGraph, Array, Array]:
    """An op as a network: its fixed graph, and for samples x the values that it gives and those
    that the op gives in float64 for the quantised x."""
    names = [f"w{i}" for i in range(len(weights))]
    node = Node("op", op, ("x", *names), "y")
    constants = {n: w.astype(np.float32) for n, w in zip(names, weights, strict=True)}
    ports = (Port.of("x", x.shape[1:]),), (Port.of("y", x.shape[1:]),)
    graph = Graph("alone", *ports, (node,), constants)
    fixed = lower(graph, calibrate(graph, settings, x))
    values = Simulator(fixed, keep=True).trace(x)
    seen = values["x"].astype(np.float64) * fixed.formats["x"].step
    true = op.forward(seen, *(w.astype(np.float64) for w in constants.values()))
    return fixed, values["y"].astype(np.float64) * fixed.formats["y"].step, true


def every_value(format_: Format) -> tuple[Array, Settings]:
    raw = np.arange(format_.low, format_.high + 1)[:, None]
    settings = Settings(bits=format_.width, layers={"x": LayerSettings(format=format_)})
    return raw * format_.step, settings


def steps_off(fixed: FixedGraph, y: Array, true: Array) -> float:
    """The worst error in steps of the output; beyond the format's ends saturation is right."""
    format_ = fixed.formats["y"]
    inside = np.clip(true, format_.low * format_.step, format_.high * format_.step)
    return float(np.abs(y - inside).max() / format_.step)


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
@pytest.mark.parametrize("width", [6, 12])
def test_a_function_of_few_bits_is_rounded_correctly(op: Op, width: int) -> None:
    """Half a step, and the error of the float64 reference itself."""
    for integer in (2, 5):
        x, settings = every_value(Format(True, width, integer))
        assert steps_off(*alone(op, x, settings)) <= 0.5 + 1e-9


@pytest.mark.parametrize("op", FUNCTIONS, ids=str)
@pytest.mark.parametrize("integer", [1, 4, 9])
def test_a_function_of_16_bits_is_right_to_three_quarters_of_a_step(op: Op, integer: int) -> None:
    """Half a step of rounding, an eighth from each table, and what the curve bends between two
    entries, which in a range of 2^9 is a fraction of a step more."""
    x, settings = every_value(Format(True, 16, integer))
    fixed, y, true = alone(op, x, settings)
    assert steps_off(fixed, y, true) < 0.77
    if isinstance(op, Sigmoid | Tanh):
        assert np.abs(y - true).max() < 2**-9


STEEP: list[tuple[Op, bool, str]] = [
    (Exp(), True, "ufixed<{0},6>"),
    (Exp(), True, "ufixed<{0},-3>"),
    (Log(), False, "fixed<{0},5>"),
    (Log(), True, "fixed<{0},3>"),
    (Power(0.5), False, "ufixed<{0},4>"),
    (Power(0.5), True, "ufixed<{0},1>"),
    (Power(-1), True, "fixed<{0},4>"),
    (Power(-1), False, "ufixed<{0},-2>"),
    (Power(-0.5), False, "ufixed<{0},2>"),
    (Power(2.5), False, "ufixed<{0},6>"),
    (Power(3), True, "fixed<{0},6>"),
    (Power(-2), True, "ufixed<{0},3>"),
    (Power(0), True, "ufixed<{0},1>"),
]
"""Functions, whether their operand is signed, and a format of the result."""


def within(op: Op, x: Array) -> Array:
    """The nearest value that the function is defined for: the positive one of two."""
    least = np.abs(x[x != 0]).min()
    if isinstance(op, Log):
        return np.asarray(np.maximum(x, least))
    if isinstance(op, Power) and op.exponent % 1:
        x = np.maximum(x, 0)
    if isinstance(op, Power) and op.exponent < 0:
        x = np.where(x == 0, least, x)
    return x


@pytest.mark.parametrize(("op", "signed", "result"), STEEP, ids=str)
@pytest.mark.parametrize("integer", [0, 14])
@pytest.mark.parametrize(("width", "steps"), [(8, 0.5 + 1e-9), (16, 0.66)])
def test_steep_functions(
    op: Op, signed: bool, result: str, integer: int, width: int, steps: float
) -> None:
    """Right to half a step, or at 16 bits to two thirds, over all raw values of the operand,
    whatever its range; what the function is not defined for is taken for the nearest that is."""
    format_ = Format(signed, width, integer)
    x, settings = every_value(format_)
    out = LayerSettings(format=Format.parse(result.format(width)))
    settings = Settings(bits=width, layers={**settings.layers, "op": out})
    small = np.clip(within(op, x), -60, 60)  # for calibration, which changes nothing here
    fixed, _, _ = alone(op, small, settings)
    y = Simulator(fixed, keep=True).trace(x)["y"] * fixed.formats["y"].step
    with np.errstate(over="ignore"):
        true = op.forward(within(op, x))
    assert steps_off(fixed, y, true) < steps
    assert max(format_.width for format_ in fixed.formats.values()) <= 53


@pytest.mark.parametrize("op", [Elu(0.5), Gelu(), Silu(), Softplus(), Mish()], ids=str)
def test_a_wide_operand_of_a_small_result(op: Op) -> None:
    """Where the curve bends, an entry of the table stands for 2^-6 of the operand at most: chords
    are off by 2^-15 of its second derivative, which is below 1."""
    x, settings = every_value(Format(True, 16, 9))
    out = LayerSettings(format=Format(True, 16, 1))
    settings = Settings(bits=16, layers={**settings.layers, "op": out})
    assert steps_off(*alone(op, x, settings)) < 1.25


@pytest.mark.parametrize("op", [Neg(), Abs(), *map(ThresholdedRelu, (0, 0.3, -0.7, 1e9, -1e9))])
@pytest.mark.parametrize("signed", [False, True])
def test_pieces_are_exact(op: Op, signed: bool) -> None:
    x, settings = every_value(Format(signed, 8, 2))
    _, y, true = alone(op, x, settings)
    np.testing.assert_array_equal(y, true)


def of_two(op: Op, settings: Settings, x: Array) -> tuple[FixedGraph, Array, Array]:
    """As :func:`alone` for an op on the two columns of x."""
    nodes = (
        Node("a", Slice(0, 0, 1), ("x",), "a"),
        Node("b", Slice(0, 1, 2), ("x",), "b"),
        Node("c", Neg(), ("b",), "c"),
        Node("op", op, ("a", "c"), "y"),
    )
    graph = Graph("two", (Port.of("x", (2,)),), (Port.of("y", (1,)),), nodes, {})
    fixed = lower(graph, calibrate(graph, settings, x))
    values = Simulator(fixed, keep=True).trace(x)
    a, c = (values[n].astype(np.float64) * fixed.formats[n].step for n in "ac")
    return fixed, values["y"].astype(np.float64) * fixed.formats["y"].step, op.forward(a, c)


def pairs(format_: Format, count: int) -> tuple[Array, Settings]:
    """Random pairs of all sizes, none of them 0."""
    rng = np.random.default_rng(2)
    raw = np.ldexp(rng.uniform(1, 2, (count, 2)), rng.integers(0, format_.width - 1, (count, 2)))
    x = np.floor(raw) * rng.choice([-1, 1], raw.shape) * format_.step
    return x, Settings(bits=format_.width, layers={"x": LayerSettings(format=format_)})


@pytest.mark.parametrize("op", [Maximum(), Minimum()], ids=str)
def test_the_larger_and_the_smaller_are_exact(op: Op) -> None:
    x, settings = pairs(Format(True, 8, 2), 500)
    wide = LayerSettings(format=Format(True, 9, 3))
    fixed, y, true = of_two(op, Settings(bits=8, layers={**settings.layers, "op": wide}), x)
    np.testing.assert_array_equal(y, true)
    assert fixed.formats["y"].fraction == fixed.formats["x"].fraction


@pytest.mark.parametrize("op", [Maximum(), Minimum()], ids=str)
@pytest.mark.parametrize("bound", [0.375, -1e30, 1e30])
def test_a_constant_beyond_the_format_decides_or_does_nothing(op: Op, bound: float) -> None:
    """The other kind of bound, which every value would be, is too large for any format."""
    x, settings = every_value(Format(True, 8, 2))
    if bound in (-1e30, 1e30) and (bound > 0) == (op == Maximum()):
        with pytest.raises(LutraError, match="node 'op'"):
            alone(op, x, settings, np.array([bound]))
        return
    _, y, true = alone(op, x, settings, np.array([bound]))
    np.testing.assert_array_equal(y, true)


@pytest.mark.parametrize(("width", "steps"), [(8, 0.57), (12, 0.57), (16, 0.66)])
@pytest.mark.parametrize("integer", [-2, 3])
@pytest.mark.parametrize("result", [-3, 2, 8])
def test_quotients(width: int, steps: float, integer: int, result: int) -> None:
    """Half a step of rounding, a sixteenth for the reciprocal, and at 16 bits a tenth for its two
    tables."""
    x, settings = pairs(Format(True, width, integer), 4000)
    out = LayerSettings(format=Format(True, width, result))
    settings = Settings(bits=width, layers={**settings.layers, "op": out})
    fixed, y, true = of_two(Div(), settings, x)
    assert steps_off(fixed, y, true) < steps
    inside = np.abs(true) < fixed.formats["y"].high * fixed.formats["y"].step
    assert 0.05 < inside.mean() < 1


@pytest.mark.parametrize("width", [8, 16])
def test_a_divisor_of_zero_is_the_smallest_positive_one(width: int) -> None:
    x, settings = pairs(Format(True, width, 3), 100)
    out = LayerSettings(format=Format(True, 20, 18))
    settings = Settings(bits=width, layers={**settings.layers, "op": out})
    nodes = (
        Node("a", Slice(0, 0, 1), ("x",), "a"),
        Node("b", Slice(0, 1, 2), ("x",), "b"),
        Node("op", Div(), ("a", "b"), "y"),
    )
    graph = Graph("two", (Port.of("x", (2,)),), (Port.of("y", (1,)),), nodes, {})
    fixed = lower(graph, calibrate(graph, settings, x))
    zero = np.array([[1.5, 0], [-2, 0], [0, 0]])
    values = Simulator(fixed).predict(zero)
    np.testing.assert_array_equal(values[:, 0], zero[:, 0] / fixed.formats["x"].step)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_constant_divisor_is_a_factor(bits: int) -> None:
    """Its reciprocal has four bits more than weights have."""
    x, settings = every_value(Format(True, bits, 2))
    settings = Settings(bits=bits, weight_bits=bits, layers=settings.layers)
    fixed, y, true = alone(Div(), x, settings, np.array([3.0]))
    assert steps_off(fixed, y, true) < 0.55
    fixed, y, true = alone(Div(), 1 + np.abs(x), settings, np.array([3.0]))
    assert [node for node in fixed.nodes if "inverse" in node.name] == []


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("classes", [2, 10, 33, 64])
@pytest.mark.parametrize("deviation", [1, 4, 10])
def test_softmax_gives_usable_probabilities(bits: int, classes: int, deviation: int) -> None:
    """Argmax as in float where the two largest differ by more than a step; sums within as many
    steps of 1 as there are classes; the worst error under 2 steps at 8 bits, and at 16 far under
    the 2^-9 that probabilities need."""
    x = np.random.default_rng(classes).normal(0, deviation, (1500, classes)).astype(np.float32)
    format_ = Format(False, bits, 0)
    settings = Settings(bits=bits, layers={"op": LayerSettings(format=format_)})
    _, y, true = alone(Softmax(), x, settings)
    assert np.abs(y - true).max() < (2 * format_.step if bits == 8 else 1e-4)
    assert np.abs(y.sum(axis=1) - 1).max() <= classes * format_.step
    largest = np.sort(true, axis=1)
    clear = largest[:, -1] - largest[:, -2] > format_.step
    assert clear.any()
    assert (y.argmax(axis=1) == true.argmax(axis=1))[clear].all()


@pytest.mark.parametrize("classes", [1, 3, 64])
@pytest.mark.parametrize("bits", [8, 16])
def test_log_softmax_keeps_to_two_steps(bits: int, classes: int) -> None:
    x = np.random.default_rng(0).normal(0, 3, (500, classes)).astype(np.float32)
    assert steps_off(*alone(LogSoftmax(), x, Settings.uniform(bits))) < 2


@pytest.mark.parametrize("op", [LayerNorm(), RmsNorm()], ids=str)
@pytest.mark.parametrize("size", [7, 32, 64])
@pytest.mark.parametrize("deviation", [0.02, 1, 30])
def test_rows_of_any_size_are_normalised(op: Op, size: int, deviation: float) -> None:
    """At 8 bits to the rounding of the result; at 16 the mantissa's table, good for 2^-13 of the
    value, adds four steps."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, deviation, (800, size)) * rng.uniform(0.2, 2, (800, 1))
    weights = [np.ones(size)] + [np.zeros(size)] * isinstance(op, LayerNorm)
    for bits, steps in ((8, 0.65), (16, 4.5)):
        fixed, y, true = alone(op, x.astype(np.float32), Settings.uniform(bits), *weights)
        assert steps_off(fixed, y, true) < steps
        assert max(format_.width for format_ in fixed.formats.values()) <= 53


def test_a_constant_row_is_no_division_by_zero() -> None:
    x = np.concatenate([np.full((3, 8), 1.5), np.random.default_rng(0).normal(size=(50, 8))])
    fixed, y, true = alone(LayerNorm(), x, Settings.uniform(8), np.ones(8), np.zeros(8))
    assert np.array_equal(y[:3], np.zeros((3, 8)))
    assert math.isfinite(steps_off(fixed, y, true))
