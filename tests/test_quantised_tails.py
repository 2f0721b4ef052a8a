"""Real factors and addends before a Quantize: the result is that of real numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.graph import Graph
from lutra.frontend.ops import (
    Add,
    Array,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    Mul,
    Relu,
    Round,
    Sub,
    Window,
)
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

from .quantised_graphs import Quantised, in_float64
from .test_end_to_end import verified


def norm(net: Quantised, name: str, x: str, channels: int) -> str:
    """A batch norm as training leaves it."""
    made = {
        "gamma": net.rng.normal(1, 0.7, channels),
        "beta": net.rng.normal(size=channels),
        "mean": net.rng.normal(size=channels),
        "variance": net.rng.uniform(0.1, 3, channels),
    }
    names = [net.constant(f"{name}.{part}", values) for part, values in made.items()]
    return net.add(name, BatchNorm(), x, *names)


def expect_equal(graph: Graph, count: int = 200, spread: float = 2.0) -> FixedGraph:
    """All quantised values that both networks have, bit for bit."""
    fixed = lower(graph, calibrate(graph, Settings()))
    assert not fixed.inexact
    shape = (count, *graph.inputs[0].shape)
    x = np.random.default_rng(1).normal(0, spread, shape).astype(np.float32)
    made = Simulator(fixed, keep=True).trace(x)
    wanted = in_float64(graph, x)
    names = [node.output for node in graph.nodes if node.output[0] == "q"]
    for name in names:
        assert np.array_equal(wanted[name], made[name] * fixed.formats[name].step), name
    return fixed


@pytest.mark.parametrize("how", Round)
def test_a_batch_norm(how: Round) -> None:
    net = Quantised((20,))
    net.quantize("q0", "x", 2**-4)
    net.dense("d", "q0", (20, 12), 2**-3)
    norm(net, "bn", "d", 12)
    net.quantize("q1", "bn", 2**-3, low=-8, high=7, rounding=how)
    fixed = expect_equal(net.graph())
    assert fixed.formats["bn"].width < 40


def test_a_batch_norm_before_a_sign_and_behind_other_ops() -> None:
    net = Quantised((6, 6, 2))
    net.quantize("q0", "x", 2**-4)
    net.conv("c", "q0", (3, 3, 2, 5), 2**-3)
    norm(net, "bn", "c", 5)
    net.add("r", Relu(), "bn")
    net.add("p", MaxPool(Window.of((2, 2), (2, 2))), "r")
    net.quantize("q1", "p", 2**-3, low=0, high=15)
    net.conv("c2", "q1", (3, 3, 5, 4), 2**-3)
    norm(net, "bn2", "c2", 4)
    net.bipolar("q2", "bn2", 1.0)
    expect_equal(net.graph(), 50)


def test_factors_and_addends_in_a_row() -> None:
    net = Quantised((8,))
    net.quantize("q0", "x", 2**-4)
    net.dense("d", "q0", (8, 6), 2**-3)
    net.add("a", Mul(), "d", net.constant("f", 0.3))
    net.add("b", Sub(), net.constant("c", net.rng.normal(size=6)), "a")
    net.add("e", Mul(), net.constant("g", net.rng.normal(size=6)), "b")
    net.add("h", Add(), "e", net.constant("i", 0.7))
    net.quantize("q1", "h", 2**-4)
    fixed = expect_equal(net.graph())
    assert "a" not in fixed.shapes


def test_a_bias_of_floats() -> None:
    net = Quantised((8,))
    net.quantize("q0", "x", 2**-4)
    net.dense("d", "q0", (8, 6), 2**-3, 2**-3)
    net.constants["d.b"] = net.rng.normal(size=6).astype(np.float32)
    del net.grids["d.b"]
    net.quantize("q1", "d", 2**-2)
    expect_equal(net.graph())


def test_averages() -> None:
    net = Quantised((6, 6, 3))
    net.quantize("q0", "x", 2**-5)
    net.add("p", AveragePool(Window.of((2, 3))), "q0")
    net.quantize("q1", "p", 2**-4)
    net.conv("c", "q1", (3, 3, 3, 4), 2**-3)
    net.add("g", GlobalAveragePool(), "c")
    net.add("f", Flatten(), "g")
    net.quantize("q2", "f", 2**-3)
    expect_equal(net.graph(), 60)


def test_a_sum_of_two_normalised_values_that_goes_to_two_grids() -> None:
    net = Quantised((5, 5, 2))
    net.quantize("q0", "x", 2**-4)
    net.conv("c1", "q0", (3, 3, 2, 3), 2**-3)
    norm(net, "bn1", "c1", 3)
    net.quantize("q1", "bn1", 2**-3, low=-8, high=7)
    net.conv("c2", "q0", (1, 1, 2, 3), 2**-3)
    net.quantize("q2", "c2", 2**-2, low=-8, high=7)
    net.add("m", Mul(), "q2", net.constant("f", [0.31, 0.7, 1.9]))
    net.sum("s", "q1", "m")
    net.add("r", Relu(), "s")
    net.quantize("q3", "r", 2**-3, low=0, high=15)
    net.quantize("q4", "r", 2**-2, low=0, high=7, rounding=Round.FLOOR)
    net.add("q5", Concat(2), "q3", "q4")
    expect_equal(net.graph(), 60)


def test_what_there_is_no_room_for_is_told() -> None:
    net = Quantised((4,))
    net.quantize("q0", "x", 2**-15, low=-(2**15), high=2**15 - 1)
    net.dense("d1", "q0", (4, 4), 2**-15, most=2**15)
    net.add("m", Mul(), "d1", net.constant("f", 1 + 2**-23))
    net.quantize("q1", "m", 2**-14, low=-(2**15), high=2**15 - 1)
    graph = net.graph()
    fixed = lower(graph, calibrate(graph, Settings()))
    assert list(fixed.inexact) == ["m"]
    assert 0 < fixed.inexact["m"] < 0.1


def test_equals_csim(tmp_path: Path) -> None:
    net = Quantised((6, 6, 2))
    net.quantize("q0", "x", 2**-4)
    net.conv("c", "q0", (3, 3, 2, 4), 2**-3)
    norm(net, "bn", "c", 4)
    net.add("cl", Clip(0, 6), "bn")
    net.quantize("q1", "cl", 2**-3, low=0, high=63)
    net.add("p", AveragePool(Window.of((3, 3))), "q1")
    norm(net, "bn2", "p", 4)
    net.sum("s", "bn2", "bn2")
    net.quantize("q2", "s", 2**-2)
    graph = net.graph()
    fixed = expect_equal(graph, 40)
    x: Array = np.random.default_rng(1).normal(0, 2, (40, 6, 6, 2)).astype(np.float32)
    result = verified(fixed, x, tmp_path)
    assert (result.wrong, result.first) == (0, None)
