"""How far lowered functions are from the true ones, over every raw value of their operand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import (
    Array,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LayerNorm,
    LogSoftmax,
    Op,
    RmsNorm,
    Selu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Tanh,
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
