"""Scales that are no powers of two: an exact core of integers, and factors that round as real
numbers do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.ops import (
    Array,
    AveragePool,
    Clip,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    MatMul,
    MaxPool,
    Mul,
    Pad,
    Quantize,
    Relu,
    Reshape,
    Round,
    Sigmoid,
    Slice,
    Sub,
    Transpose,
    Upsample,
    Window,
)
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel, load_fixed, save_fixed
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.quantize.scales import rescale
from lutra.sim.report import accuracy_report
from lutra.sim.simulator import Simulator

from .quantised_graphs import Quantised, in_float64
from .test_end_to_end import verified


def samples(graph: Graph, count: int, spread: float = 1.5) -> Array:
    shape = (count, *graph.inputs[0].shape)
    return np.random.default_rng(1).normal(0, spread, shape).astype(np.float32)


def expect_equal(graph: Graph, count: int = 100) -> FixedGraph:
    """All quantised values, integer for integer, and the outputs as the user gets them."""
    x = samples(graph, count)
    wanted = in_float64(graph, x)
    rewritten = evaluate(rescale(graph).graph, {"x": x})
    fixed = lower(graph, calibrate(graph, Settings()))
    assert not fixed.inexact
    values = Simulator(fixed, keep=True).trace(x)
    for node in graph.nodes:
        if not isinstance(node.op, Quantize):
            continue
        scale = graph.constants[node.inputs[1]].astype(np.float64)
        factor = fixed.factors.get(node.output, np.ones(1))
        made = values[node.output] * fixed.formats[node.output].step * factor
        assert np.array_equal(np.rint(wanted[node.output] / scale), np.rint(made / scale))
    (port,) = graph.outputs
    # Products with a scale are rounded to float32, and so are the weights of the float network.
    np.testing.assert_allclose(Simulator(fixed).predict(x), wanted[port.name], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(rewritten[port.name], wanted[port.name], rtol=1e-6, atol=1e-6)
    return fixed


def dense_network(scales: tuple[float, ...] = (0.1037, 0.0313, 0.0719)) -> Quantised:
    first, weight, second = scales
    net = Quantised((8,))
    net.quantize("q0", "x", first, zero=3)
    net.dense("d1", "q0", (8, 6), weight, float(np.float32(first) * np.float32(weight)))
    net.add("r", Relu(), "d1")
    net.quantize("q1", "r", second, low=0, high=255)
    return net


def test_a_dense_network_with_integers_as_biases() -> None:
    net = dense_network()
    net.dense("d2", "q1", (6, 5), [0.0109, 0.0203, 0.0307, 0.0117, 0.3121])
    net.quantize("q2", "d2", 0.913, zero=-7)
    graph = net.graph()
    fixed = expect_equal(graph)
    assert fixed.inputs[0].scale == pytest.approx(0.1037)
    assert fixed.outputs[0].scale == pytest.approx(0.913)
    assert str(fixed.formats["x"]) == "fixed<9,9>"
    assert fixed.formats["d1"].fraction == fixed.formats["q1"].fraction == 0
    bias = fixed.constants["d1.bias"]
    assert np.array_equal(bias, graph.grids["d1.b"].integers(graph.constants["d1.b"]))


def test_what_lies_next_to_a_tie_goes_where_the_scales_say() -> None:
    """0.1 · 0.03 / 0.06 is not quite a twentieth: every tenth sum is a tie in decimals, and none in
    the scales that the file holds."""
    net = Quantised((1,))
    net.quantize("q0", "x", 0.1)
    net.on_grid("w", np.array([[7]]), 0.03)
    net.add("d", Dense(), "q0", "w")
    net.quantize("q1", "d", 0.06)
    graph = net.graph()
    fixed = lower(graph, calibrate(graph, Settings()))
    raw = np.arange(-128, 128)
    made = Simulator(fixed).run_raw(raw[:, None])["q1"][:, 0]
    first, weight, second = (Fraction(float(np.float32(s))) for s in (0.1, 0.03, 0.06))
    wanted = [round(int(q) * 7 * first * weight / second) for q in raw]
    assert np.array_equal(made, np.clip(wanted, -128, 127))
    decimal = [round(Fraction(int(q) * 7, 20)) for q in raw]
    assert not np.array_equal(made, np.clip(decimal, -128, 127))


@pytest.mark.parametrize("how", Round)
def test_every_rounding(how: Round) -> None:
    net = dense_network()
    net.dense("d2", "q1", (6, 5), 0.25, 0.125)
    net.quantize("q2", "d2", 0.4531, zero=5, rounding=how, shifted=True)
    expect_equal(net.graph())


def test_powers_of_two_stay_as_they_are() -> None:
    net = Quantised((4,))
    net.quantize("q0", "x", 0.25)
    net.dense("d", "q0", (4, 3), [0.5, 0.25, 2.0], 0.0625)
    net.bipolar("b", "d", [1.0, 0.5, 2.0])
    graph = net.graph()
    assert rescale(graph).graph is graph


def test_a_residual_network_with_zero_points() -> None:
    net = Quantised((7, 6, 3))
    net.quantize("q0", "x", 0.031, zero=10)
    net.conv("c1", "q0", (3, 3, 3, 4), [0.011, 0.02, 0.03, 0.007])
    net.add("cl", Clip(0, 6), "c1")
    net.quantize("q1", "cl", 6 / 255, low=0, high=255)
    net.conv("c2", "q1", (3, 3, 1, 4), [0.1, 0.2, 0.13, 0.07], groups=4)
    net.quantize("q2", "c2", 0.17, zero=-20)
    net.sum("s", "q2", "q1")
    net.add("r", Relu(), "s")
    net.add("p", MaxPool(Window.of((2, 2), (2, 2))), "r")
    net.quantize("q3", "p", 0.13, low=0, high=255)
    net.add("a", AveragePool(Window.of((2, 2))), "q3")
    net.quantize("q4", "a", 0.11, low=0, high=255)
    net.add("g", GlobalAveragePool(), "q4")
    net.add("f", Flatten(), "g")
    net.quantize("q5", "f", 0.1, low=0, high=255)
    net.dense("d", "q5", (4, 3), 0.05)
    expect_equal(net.graph(), 60)


def test_factors_pass_moves_and_stand_side_by_side() -> None:
    net = Quantised((4, 6, 2))
    net.quantize("q0", "x", [0.1, 0.07])
    net.add("u", Upsample((2, 1)), "q0")
    net.add("pad", Pad((1, 0, 0), (0, 1, 0)), "u")
    net.add("sl", Slice(0, 1, 9), "pad")
    net.conv("c1", "sl", (1, 1, 2, 3), 0.03)
    net.quantize("q1", "c1", [0.2, 0.3, 0.1])
    net.add("cat", Concat(2), "sl", "q1")
    net.add("t", Transpose((1, 0, 2)), "cat")
    net.add("v", Reshape((28, 10)), "t")
    net.add("rs", Reshape((56, 5)), "v")
    net.quantize("q2", "rs", 0.12)
    net.add("other", Concat(0), "q2", "q2")
    net.quantize("q3", "other", 0.31)
    graph = net.graph()
    assert rescale(graph).factors["cat"].size == 5
    with pytest.raises(Exception, match="calibration data"):
        lower(graph, calibrate(graph, Settings()))
    x = samples(graph, 30)
    wide = Settings(bits=16)
    values = Simulator(lower(graph, calibrate(graph, wide, x))).predict(x)
    off = np.rint((values - in_float64(graph, x)["q3"]) / 0.31)
    assert np.abs(off).max() <= 1
    assert (off != 0).mean() < 0.01


def test_products_with_constants_become_part_of_the_factor() -> None:
    net = dense_network()
    net.add("m", Mul(), "q1", net.constant("f", 0.3719))
    net.dense("d2", "m", (6, 5), 0.0207)
    net.add("m2", Mul(), "d2", net.constant("f2", [0.3, 0.5, 0.7, 1.1, 1.3]))
    net.add("s", Sub(), "m2", net.constant("c", 0.123))
    net.quantize("q2", "s", 0.2117)
    fixed = expect_equal(net.graph())
    assert "m" not in fixed.shapes


def test_products_of_two_values() -> None:
    net = Quantised((4, 3))
    net.quantize("q0", "x", 0.1037)
    net.dense("d1", "q0", (3, 3), 0.0313)
    net.quantize("q1", "d1", 0.0519)
    net.add("mm", MatMul(transposed=True), "q0", "q1")
    net.quantize("q2", "mm", 0.3111)
    net.dense("d2", "q2", (4, 4), 0.1041)
    net.quantize("q3", "d2", 0.2931)
    net.add("mul", Mul(), "q3", "q2")
    net.quantize("q4", "mul", 1.7123)
    expect_equal(net.graph())


def test_a_last_value_with_a_factor_a_channel_and_signs() -> None:
    net = dense_network()
    net.bipolar("b", "d1", 0.3)
    net.dense("d2", "b", (6, 4), [0.1, 0.2, 0.3, 0.7])
    graph = net.graph()
    x = samples(graph, 100)
    fixed = lower(graph, calibrate(graph, Settings(bits=16), x))
    wanted = in_float64(graph, x)["d2"]
    step = fixed.formats["d2"].step
    assert np.abs(Simulator(fixed).predict(x) - wanted).max() <= step


def test_weights_alone_on_a_grid() -> None:
    """A float network with integer weights: they are kept, and nothing is rounded twice."""
    net = Quantised((8,))
    net.dense("d1", "x", (8, 6), 0.013, 0.1, most=127)
    net.add("s", Sigmoid(), "d1")
    net.dense("d2", "s", (6, 3), [0.01, 0.02, 0.03], most=127)
    graph = net.graph()
    x = samples(graph, 200)
    fixed = lower(graph, calibrate(graph, Settings(bits=12), x))
    error = Simulator(fixed).predict(x) - evaluate(graph, {"x": x})["d2"]
    assert np.abs(error).max() < 4 * fixed.formats["d2"].step


def test_an_input_that_goes_elsewhere_has_a_format_of_its_own() -> None:
    net = Quantised((8,))
    net.quantize("q0", "x", 0.1)
    net.quantize("q1", "x", 0.2)
    net.sum("s", "q0", "q1")
    net.quantize("q2", "s", 0.3)
    graph = net.graph()
    x = samples(graph, 100)
    fixed = lower(graph, calibrate(graph, Settings(bits=12), x))
    assert fixed.inputs[0].scale == 1
    off = Simulator(fixed).predict(x) - in_float64(graph, x)["q2"]
    assert (np.abs(off) < 0.01).mean() > 0.97


def test_the_report_is_in_the_user_s_units(tmp_path: Path) -> None:
    net = dense_network()
    net.dense("d2", "q1", (6, 5), [0.0109, 0.0203, 0.0307, 0.0117, 0.3121])
    graph = net.graph()
    graph = Graph("q", graph.inputs, graph.outputs, graph.nodes, graph.constants, graph.grids)
    x = samples(graph, 50)
    model = FixedModel(graph, lower(graph, calibrate(graph, Settings(bits=14), x)))
    save_fixed(model, tmp_path / "fixed.onnx")
    loaded = load_fixed(tmp_path / "fixed.onnx")
    assert loaded.fixed.inputs == model.fixed.inputs
    assert {n: f.tolist() for n, f in loaded.fixed.factors.items()} == {
        n: f.tolist() for n, f in model.fixed.factors.items()
    }
    report = accuracy_report(loaded.source, loaded.fixed, x)
    found = {layer.value: layer for layer in report.layers}
    assert found["x"].step == pytest.approx(0.1037)
    assert found["q1"].worst_error < 1e-6
    assert found["q1"].step == pytest.approx(0.0719)
    assert report.at_output.sqnr_db > 60


def test_equals_csim(tmp_path: Path) -> None:
    net = Quantised((6, 6, 2))
    net.quantize("q0", "x", 0.1037, zero=-5)
    net.add("c1", Conv(Window.of((3, 3))), "q0", net.weights("c1.w", (3, 3, 2, 3), 0.0313, 7))
    net.add("r", Relu(), "c1")
    net.quantize("q1", "r", [0.0519, 0.0611, 0.0707], low=0, high=15)
    net.add("g", GlobalAveragePool(), "q1")
    net.add("f", Flatten(), "g")
    net.quantize("q2", "f", 0.0413, low=0, high=15)
    net.dense("d", "q2", (3, 4), 0.1, float(np.float32(0.0413) * np.float32(0.1)))
    graph = net.graph()
    fixed = expect_equal(graph, 40)
    result = verified(fixed, samples(graph, 40), tmp_path)
    assert (result.wrong, result.first) == (0, None)


def test_the_project_says_what_its_integers_stand_for() -> None:
    net = dense_network()
    fixed = lower(net.graph(), calibrate(net.graph(), Settings()))
    raw = np.zeros((1, 8), np.int64)
    text = str(project_files(fixed, Options(), raw, raw[:, :6])["README.md"])
    assert "divide floats by `0.103" in text
    assert "multiply its values by\n`0.071" in text
    plain = Quantised((8,))
    plain.quantize("q0", "x", 0.25)
    fixed = lower(plain.graph(), calibrate(plain.graph(), Settings()))
    text = str(project_files(fixed, Options(), raw, raw)["README.md"])
    assert "powers of two" not in text
