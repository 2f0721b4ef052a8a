"""Models that arrive quantised: what fixed point gives is what they say, integer for integer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.errors import FormatError, ModelError
from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.ops import (
    Array,
    Concat,
    Flatten,
    MaxPool,
    Relu,
    Round,
    Transpose,
    Window,
)
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel, load_fixed, save_fixed
from lutra.quantize.formats import Format
from lutra.quantize.lower import lower
from lutra.quantize.precision import LayerSettings, Settings
from lutra.sim.simulator import Simulator

from .onnx_models import run
from .quantised_graphs import Quantised
from .test_end_to_end import verified


def lowered(graph: Graph, settings: Settings | None = None) -> FixedGraph:
    """The network in fixed point, without any data."""
    return lower(graph, calibrate(graph, settings or Settings()))


def expect_equal(graph: Graph, x: Array, settings: Settings | None = None) -> FixedGraph:
    """Every value that both networks have under one name, bit for bit."""
    fixed = lowered(graph, settings)
    values = Simulator(fixed, keep=True).trace(x)
    common = [name for name in values if name in graph.shapes]
    floats = evaluate(graph, {graph.inputs[0].name: x}, common)
    quantised = [node.output for node in graph.nodes if node.output in common]
    assert graph.outputs[0].name in quantised
    for name in quantised:
        assert np.array_equal(floats[name], values[name] * fixed.formats[name].step), name
    return fixed


def inputs(shape: tuple[int, ...], count: int = 200, spread: float = 2.0) -> Array:
    """Samples of which many lie half-way between two steps, or beyond the ends."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, spread, (count, *shape))
    return (np.rint(x * 64) / 64).astype(np.float32)


MODES = [(how, shifted) for how in Round for shifted in (False, True)]


@pytest.mark.parametrize(("how", "shifted"), MODES)
@pytest.mark.parametrize("zero", [0, 3, 4, [1, 0, -2, 5]])
def test_every_rounding_of_a_value_that_is_computed(
    how: Round, shifted: bool, zero: int | list[int]
) -> None:
    """Ties among them: the values have two bits more than the result."""
    net = Quantised((4,))
    first = net.quantize("q1", "x", 1 / 64, low=-512, high=511)
    net.add("act", Relu(), first)
    net.sum("sum", "q1", "act")
    net.quantize("q2", "sum", 0.0625, low=-20, high=77, zero=zero, rounding=how, shifted=shifted)
    expect_equal(net.graph(), inputs((4,)))


@pytest.mark.parametrize(("how", "shifted"), MODES)
@pytest.mark.parametrize("zero", [0, 3])
def test_every_rounding_of_the_input(how: Round, shifted: bool, zero: int) -> None:
    """Floats are rounded once where one Cast is all that the mode takes."""
    net = Quantised((4,))
    net.quantize("q", "x", 0.25, low=-10, high=11, zero=zero, rounding=how, shifted=shifted)
    graph = net.graph()
    one = how not in (Round.CEIL, Round.UP)
    needs_more = shifted and zero and how is not Round.FLOOR
    if one and not needs_more:
        rng = np.random.default_rng(0)
        expect_equal(graph, rng.normal(0, 2, (300, 4)).astype(np.float32))
    else:
        named = Settings(layers={"x": LayerSettings(format=Format(True, 12, 4))})
        expect_equal(graph, inputs((4,)), named)


def test_a_dense_network() -> None:
    net = Quantised((12,))
    net.quantize("q0", "x", 2**-4)
    net.dense("d1", "q0", (12, 9), 2**-3, 2**-7)
    net.add("r1", Relu(), "d1")
    net.quantize("q1", "r1", 2**-3, low=0, high=15)
    net.dense("d2", "q1", (9, 5), [2**-2, 2**-4, 1, 2**-3, 2**-5], 2**-9)
    net.quantize("q2", "d2", 2**-2, low=-7, high=7)
    fixed = expect_equal(net.graph(), inputs((12,)))
    assert str(fixed.formats["x"]) == "fixed<8,4>"
    assert str(fixed.formats["q1"]) == "ufixed<4,1>"


def test_a_residual_network_with_branches() -> None:
    net = Quantised((6, 6, 3))
    net.quantize("q0", "x", 2**-4)
    net.conv("c1", "q0", (3, 3, 3, 4), 2**-4, 2**-8)
    net.add("r1", Relu(), "c1")
    net.quantize("q1", "r1", 2**-3, low=0, high=255)
    net.conv("c2", "q1", (3, 3, 4, 4), 2**-5, 2**-6)
    net.quantize("q2", "c2", 2**-3)
    net.sum("sum", "q2", "q1")
    net.add("r2", Relu(), "sum")
    net.add("pool", MaxPool(Window.of((2, 2), (2, 2))), "r2")
    net.quantize("q3", "pool", 2**-2, low=0, high=255)
    net.conv("c3", "q3", (1, 1, 4, 2), 2**-3)
    net.conv("c4", "q3", (1, 1, 4, 3), 2**-2, 1.0)
    net.add("both", Concat(2), "c3", "c4")
    net.add("turned", Transpose((2, 0, 1)), "both")
    net.add("flat", Flatten(), "turned")
    net.quantize("q4", "flat", 2**-1)
    net.dense("last", "q4", (45, 4), 2**-3, 2**-6)
    expect_equal(net.graph(), inputs((6, 6, 3), 50))


def test_signs() -> None:
    net = Quantised((8,))
    net.quantize("q0", "x", 1.0, low=-1, high=1)
    net.dense("d1", "q0", (8, 6), 1.0, most=1)
    net.bipolar("b1", "d1", 0.5)
    net.dense("d2", "b1", (6, 5), 0.5)
    net.bipolar("b2", "d2", [1, 2, 0.25, 1, 4])
    expect_equal(net.graph(), inputs((8,)))


def test_a_layers_own_weights_and_bits_come_before_the_grids() -> None:
    net = Quantised((4,))
    net.quantize("q0", "x", 2**-4)
    net.dense("d1", "q0", (4, 3), 2**-3)
    net.quantize("q1", "d1", 2**-2)
    graph = net.graph()
    wish = LayerSettings(weight_format=Format(True, 3, 1))
    assert str(lowered(graph, Settings(layers={"d1": wish})).formats["d1.w"]) == "fixed<3,1>"
    wide = LayerSettings(format=Format(True, 9, 5))
    fixed = lowered(graph, Settings(layers={"d1": wide}))
    assert str(fixed.formats["d1"]) == "fixed<9,5>"
    with pytest.raises(ModelError, match=r"node 'q1'.*the model itself says"):
        lowered(graph, Settings(layers={"q1": LayerSettings(bits=4)}))


def test_what_is_not_quantised_needs_data() -> None:
    net = Quantised((4,))
    net.dense("d1", "x", (4, 3), 2**-3)
    net.quantize("q1", "d1", 2**-2)
    graph = net.graph()
    with pytest.raises(ModelError, match=r"no format is known for 'x'.*calibration data"):
        lowered(graph)
    x = inputs((4,), 20, 1.0)
    fixed = lower(graph, calibrate(graph, Settings(), x))
    step = fixed.formats["x"].step
    x = np.clip(np.rint(x / step), -100, 100).astype(np.float32) * np.float32(step)
    assert np.array_equal(Simulator(fixed).predict(x), evaluate(graph, {"x": x})["q1"])


def test_a_value_that_grows_too_wide_is_refused_by_name() -> None:
    net = Quantised((4,))
    last = net.quantize("q0", "x", 2**-15, low=-(2**15), high=2**15 - 1)
    for i in range(4):
        last = net.dense(f"d{i}", last, (4, 4), 2**-12, most=2**12)
    net.quantize("q1", last, 1.0)
    with pytest.raises(FormatError, match=r"node 'd\d'.*too wide.*fewer bits"):
        lowered(net.graph())
    eight = Settings(layers={"d1": LayerSettings(format=Format(True, 8, 4))})
    lowered(net.graph(), eight)


def network() -> Graph:
    """A little of everything that a model says in powers of two."""
    net = Quantised((6, 6, 2))
    net.quantize("q0", "x", 2**-4)
    net.conv("c1", "q0", (3, 3, 2, 4), [2**-4, 2**-3, 2**-4, 2**-6], 2**-8)
    net.add("r1", Relu(), "c1")
    net.quantize("q1", "r1", 2**-2, low=0, high=15, rounding=Round.UP)
    net.conv("c2", "q1", (3, 3, 1, 4), 2**-5, groups=4)
    net.quantize("q2", "c2", 2**-3, low=-7, high=7, zero=1, shifted=True)
    net.sum("sum", "q2", "q1")
    net.bipolar("b", "sum", 0.5)
    net.add("flat", Flatten(), "b")
    net.dense("d", "flat", (144, 5), 2**-3)
    net.quantize("q3", "d", 0.25, low=0, high=200, zero=100, rounding=Round.CEIL)
    return net.graph()


def test_onnx_says_the_same() -> None:
    """Scales of powers of two: nothing is rounded anywhere but where the graph says so."""
    graph = network()
    x = inputs((6, 6, 2), 20)
    (theirs,) = run(to_onnx(graph), x=x)
    assert np.array_equal(theirs, evaluate(graph, {"x": x})["q3"])


@pytest.mark.parametrize(("how", "shifted"), MODES)
@pytest.mark.parametrize("zero", [0, 3, [1, 0, -2, 5]])
@pytest.mark.parametrize("low", [-128, -127])
def test_every_form_in_onnx(how: Round, shifted: bool, zero: int | list[int], low: int) -> None:
    net = Quantised((2, 2, 4))
    net.add("p", MaxPool(Window.of((1, 1))), "x")
    net.quantize("q", "p", 0.25, low=low, zero=zero, rounding=how, shifted=shifted)
    graph = net.graph()
    x = inputs((2, 2, 4), 20)
    (theirs,) = run(to_onnx(graph), x=x)
    assert np.array_equal(theirs, evaluate(graph, {"x": x})["q"])


def test_saving_and_loading_change_nothing(tmp_path: Path) -> None:
    graph = network()
    model = FixedModel(graph, expect_equal(graph, inputs((6, 6, 2), 20)))
    save_fixed(model, tmp_path / "fixed.onnx")
    loaded = load_fixed(tmp_path / "fixed.onnx")
    for mine, theirs in ((graph, loaded.source), (model.fixed, loaded.fixed)):
        assert mine.nodes == theirs.nodes
        assert mine.inputs == theirs.inputs
        for name, value in mine.constants.items():
            assert np.array_equal(value, theirs.constants[name])
    for name, grid in graph.grids.items():
        other = loaded.source.grids[name]
        assert (grid.low, grid.high) == (other.low, other.high)
        assert np.array_equal(grid.scale, other.scale)


def test_equals_csim(tmp_path: Path) -> None:
    fixed = lowered(network())
    result = verified(fixed, inputs((6, 6, 2), 30), tmp_path)
    assert (result.wrong, result.first) == (0, None)
