"""The accuracy report: figures that can be worked out by hand."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.frontend.errors import ModelError, ShapeError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import (
    Array,
    Conv,
    Dense,
    Flatten,
    Lstm,
    MaxPool,
    Op,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
    Window,
)
from lutra.quantize.calibrate import Precision, calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format, Overflow, Rounding, Target
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.report import Report, accuracy_report
from lutra.sim.scores import Classification, Regression
from lutra.sim.statistics import BINS, HistogramTally

RND, SAT = Rounding.RND, Overflow.SAT


def target(text: str, rounding: Rounding = RND, overflow: Overflow = SAT) -> Target:
    return Target(Format.parse(text), rounding, overflow)


def identity(size: int, *after: Op) -> Graph:
    """A dense layer that changes nothing, and ops on its result ``d``."""
    nodes: list[Node[Op]] = [Node("dense", Dense(), ("x", "w"), "d")]
    nodes += [Node(f"op{i}", op, (nodes[-1].output,), f"v{i}") for i, op in enumerate(after)]
    shape = (size,)
    ports = (Port.of("x", shape),), (Port.of(nodes[-1].output, shape),)
    return Graph("same", *ports, tuple(nodes), {"w": np.eye(size, dtype=np.float32)})


def quantised(graph: Graph, index_bits: int = 12, **points: Target) -> FixedGraph:
    return lower(graph, Precision(points, {"w": Format.parse("fixed<2,2>")}, index_bits, 8, 12))


def reported(
    x: list[list[float]], y: Any = None, *, entry: str = "fixed<16,8>", d: Target, **kw: Any
) -> Report:
    """Report on the identity, whose input is exact in the format ``entry``."""
    graph = identity(len(x[0]))
    labels = None if y is None else np.array(y)
    return accuracy_report(graph, quantised(graph, x=target(entry), d=d), np.array(x), labels, **kw)


def network(name: Callable[[str], str] = str, classes: int = 5) -> Graph:
    """A small convolutional classifier whose names are made by ``name``."""
    rng = np.random.default_rng(1)
    weights = {
        "k": rng.normal(size=(3, 3, 1, 4)) / 2,
        "w": rng.normal(size=(36, classes)) / 4,
        "b": rng.normal(size=classes),
    }
    v = {key: name(key) for key in ("x", "c", "r", "m", "f", "d", "y")}
    nodes: list[Node[Op]] = [
        Node(v["c"], Conv(Window.of((3, 3))), (v["x"], "k"), v["c"]),
        Node(v["r"], Relu(), (v["c"],), v["r"]),
        Node(v["m"], MaxPool(Window.of((2, 2), (2, 2))), (v["r"],), v["m"]),
        Node(v["f"], Flatten(), (v["m"],), v["f"]),
        Node(v["d"], Dense(), (v["f"], "w", "b"), v["d"]),
        Node(v["y"], Softmax(), (v["d"],), v["y"]),
    ]
    return Graph(
        name("net"),
        (Port.of(v["x"], (8, 8, 1)),),
        (Port.of(v["y"], (classes,)),),
        tuple(nodes),
        {key: value.astype(np.float32) for key, value in weights.items()},
    )


def network_report(graph: Graph, samples: int = 60, bits: int = 5, **kw: Any) -> Report:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(samples, 8, 8, 1))
    labels = rng.integers(0, graph.outputs[0].shape[0], samples)
    fixed = lower(graph, calibrate(graph, Settings.uniform(bits), x))
    return accuracy_report(graph, fixed, x, labels, **kw)


# Figures of one layer


def test_figures_of_a_layer() -> None:
    x = [[0.0, 0.125, 1.0, -3.0], [1.75, 0.5, -0.125, 1.0]]
    report = reported(x, d=target("fixed<4,2>"))  # -2 to 1.75 in steps of 0.25
    entry, layer = report.layers
    assert (entry.kind, entry.sqnr_db, entry.worst_error) == ("input", math.inf, 0)
    assert (entry.overflow, entry.underflow, entry.values) == (0, 0, 8)
    # 0.125 becomes 0.25, -3 becomes -2, -0.125 becomes 0
    signal = 0.125**2 + 1 + 9 + 1.75**2 + 0.25 + 0.125**2 + 1
    noise = 0.125**2 + 1 + 0.125**2
    assert layer.sqnr_db == pytest.approx(10 * math.log10(signal / noise), abs=1e-12)
    assert (layer.worst_error, layer.worst_error_steps) == (1, 4)
    assert (layer.overflow, layer.underflow, layer.values) == (1, 1, 8)
    assert (layer.float_low, layer.float_high) == (-3, 1.75)
    assert (layer.fixed_low, layer.fixed_high) == (-2, 1.75)
    assert (layer.lowest, layer.highest, layer.step) == (-2, 1.75, 0.25)
    assert layer.range_used == 1
    assert entry.range_used == pytest.approx(4.75 * 256 / 65535)
    assert (layer.layer, layer.value, layer.kind) == ("dense", "d", "cast")
    assert (layer.format, layer.rounding, layer.overflow_mode) == ("fixed<4,2>", "RND", "SAT")
    assert report.at_output is layer
    assert (report.samples, report.score) == (2, None)


@pytest.mark.parametrize(
    ("rounding", "overflow", "expected"),
    [  # of -2, -1.9, -0.2, 0, 0.2, 0.5, 1.7, 1.9 in fixed<3,2>: -2 to 1.5 in steps of 0.5
        (Rounding.RND, Overflow.SAT, (1, 2)),  # 1.9 is rounded to 2; ±0.2 vanish
        (Rounding.TRN, Overflow.SAT, (0, 1)),  # -0.2 becomes -0.5
        (Rounding.TRN_ZERO, Overflow.SAT, (0, 2)),
        (Rounding.RND, Overflow.SAT_SYM, (3, 2)),  # -2 and -1.9 become -1.5
        (Rounding.TRN_ZERO, Overflow.SAT_SYM, (1, 2)),  # -1.9 is cut to -1.5 before
        (Rounding.RND, Overflow.WRAP, (1, 2)),
        (Rounding.RND, Overflow.SAT_ZERO, (1, 2)),  # 2 becomes 0: overflow, not underflow
    ],
)
def test_overflow_and_underflow_of_each_mode(
    rounding: Rounding, overflow: Overflow, expected: tuple[int, int]
) -> None:
    x = [[-2.0, -1.9, -0.2, 0.0, 0.2, 0.5, 1.7, 1.9]]
    inside = reported(x, entry="fixed<30,5>", d=target("fixed<3,2>", rounding, overflow))
    assert (inside.layers[1].overflow, inside.layers[1].underflow) == expected
    graph = identity(8)
    mode = target("fixed<3,2>", rounding, overflow)
    entering = quantised(graph, x=mode, d=target("fixed<8,4>"))
    first = accuracy_report(graph, entering, np.array(x)).layers[0]
    assert (first.overflow, first.underflow) == expected


def test_an_error_without_a_signal_and_an_exact_output() -> None:
    graph = identity(2, Relu())
    fixed = quantised(graph, x=target("fixed<8,4>"), d=target("fixed<4,4>"))
    layers = accuracy_report(graph, fixed, np.array([[-3.0, -0.5], [0.0, -1.0]])).layers
    assert [layer.value for layer in layers] == ["x", "d", "v0"]
    output = layers[-1]
    assert (output.kind, output.rounding, output.values) == ("exact", None, 4)
    assert (output.overflow, output.underflow, output.sqnr_db) == (0, 0, math.inf)


def test_saturated_and_vanished_entries_of_tables() -> None:
    graph = identity(6, Sigmoid())
    fixed = quantised(
        graph, x=target("fixed<8,5>"), d=target("fixed<8,5>"), v0=target("ufixed<4,0>")
    )
    # 15/16 is the largest entry, 1/16 the smallest but 0: both ends lie at ln 31 = 3.43
    x = [[-4.0, -3.5, -3.375, 3.375, 3.5, 10.0]]
    layer = accuracy_report(graph, fixed, np.array(x)).at_output
    assert (layer.kind, layer.overflow, layer.underflow) == ("table", 2, 2)
    graph = identity(4, Tanh())
    fixed = quantised(
        graph, x=target("fixed<8,5>"), d=target("fixed<8,5>"), v0=target("fixed<3,1>")
    )
    layer = accuracy_report(graph, fixed, np.array([[0.0, 0.125, 2.0, -9.0]])).at_output
    assert (layer.overflow, layer.underflow) == (1, 1)  # 2.0; 0.125, but not 0


def test_steps_inside_a_layer_are_counted() -> None:
    graph = identity(2, Sigmoid())
    wide = {"x": target("fixed<12,5>"), "d": target("fixed<12,5>"), "v0": target("ufixed<8,1>")}
    x = np.array([[15.9921875, 0.0078125], [-16, 1.0]])
    report = accuracy_report(graph, quantised(graph, 6, **wide), x)
    near, base, slope = (
        report.inner
    )  # but not the upper and lower bits, which together lose nothing
    assert (near.value, near.layer, near.kind) == ("v0.near", "op0", "cast")
    assert (near.format, near.values) == ("fixed<11,4>", 4)
    assert (near.overflow, near.underflow) == (2, 0)  # beyond 8 a sigmoid of 8 bits is flat
    assert [(step.value, step.kind) for step in (base, slope)] == [
        ("v0.base", "table"),
        ("v0.slope", "table"),
    ]
    assert (base.underflow, slope.underflow) == (1, 2)  # sigmoid(-8) and both ends' slopes
    assert accuracy_report(graph, quantised(graph, 12, **wide), x).inner == ()


@pytest.mark.parametrize("reverse", [False, True])
def test_values_inside_a_recurrent_layer_stand_beside_the_float_ones(reverse: bool) -> None:
    """One unit that adds up: i = o = 1, f = 1, so that c is the sum of tanh(x) so far."""
    weights = np.array([[0.0, 0.0, 0.0, 1.0]], np.float32)
    bias = np.array([16.0, 16.0, 16.0, 0.0], np.float32)
    constants = {"w": weights, "r": np.zeros((1, 4), np.float32), "b": bias}
    node = Node("rec", Lstm(reverse=reverse), ("x", "w", "r", "b"), "h")
    graph = Graph("one", (Port.of("x", (3, 1)),), (Port.of("h", (3, 1)),), (node,), constants)
    x = np.array([[[0.5], [1.0], [-0.25]], [[1.5], [-1.0], [0.0]]], np.float32)
    fixed = lower(graph, calibrate(graph, Settings(bits=12, weight_bits=12), x))
    report = accuracy_report(graph, fixed, x)
    rows = {layer.inside: layer for layer in report.layers if layer.layer == "rec"}
    gates = ["input_gate", "output_gate", "forget_gate", "candidate"]
    assert list(rows) == [*gates, "cell", "hidden", ""]
    steps = np.tanh(x[:, ::-1] if reverse else x)
    cells = np.cumsum(steps, axis=1)
    assert rows["cell"].float_high == pytest.approx(cells.max(), abs=1e-5)
    assert rows["cell"].float_low == pytest.approx(cells.min(), abs=1e-5)
    assert rows["cell"].sqnr_db > 40
    assert rows["hidden"].sqnr_db > 40
    assert (rows["cell"].value, rows[""].value) == ("h.cell", "h")


# Scores


def test_confusion_and_agreement() -> None:
    # in steps of 1: 0.6 and 0.9 both become 1, and the first of equal ones wins
    x = [[0.9, 0.6, 0.0], [0.6, 0.9, 0.0], [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]]
    score = reported(x, [0, 1, 2, 1], d=target("fixed<4,4>")).score
    assert isinstance(score, Classification)
    assert (score.float_correct, score.fixed_correct, score.agreement, score.total) == (3, 2, 3, 4)
    assert (score.float_accuracy, score.fixed_accuracy, score.difference) == (0.75, 0.5, -25)
    assert score.float_confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 1))
    assert score.fixed_confusion == ((1, 0, 0), (2, 0, 0), (0, 0, 1))


FORMS: list[Callable[[Array], Array]] = [
    lambda y: y[:, None],
    lambda y: y.astype(np.float32),
    lambda y: np.eye(3)[y],
    lambda y: np.eye(3, dtype=bool)[y],
]


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_other_forms(form: Callable[[Array], Array]) -> None:
    x, labels = [[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]], np.array([0, 2, 1])
    d = target("fixed<4,4>")
    score = reported(x, form(labels), d=d).score
    assert score == reported(x, labels, d=d).score
    assert isinstance(score, Classification)
    assert score.fixed_correct == 2


def test_one_sigmoid_tells_two_classes() -> None:
    graph = identity(1, Sigmoid())
    inner = target("fixed<8,4>")
    fixed = quantised(graph, x=inner, d=inner, v0=target("ufixed<4,0>"))
    x = np.array([[-1.0], [1.0], [2.0], [0.0]])
    score = accuracy_report(graph, fixed, x, np.array([0, 1, 0, 1])).score
    assert isinstance(score, Classification)
    assert score.fixed_confusion == ((1, 1), (0, 2))


def test_mean_squared_error() -> None:
    x, y = [[0.25, 1.0], [2.0, 0.0]], [[0.5, 3.0], [2.0, 1.0]]
    report = reported(x, y, d=target("fixed<4,4>"), block=1)
    assert report.score == Regression((0.0625 + 4 + 1) / 4, (0.25 + 4 + 1) / 4)
    assert reported([[0.5]], [2.5], d=target("fixed<4,3>")).score == Regression(4.0, 4.0)


def test_outputs_in_the_layout_of_the_user() -> None:
    rng = np.random.default_rng(3)
    weights = {"w": rng.normal(size=(1, 1, 2, 4)).astype(np.float32)}
    node: Node[Op] = Node("conv", Conv(Window.of((1, 1))), ("x", "w"), "y")
    ports = Port("x", (3, 5, 2), (1, 2, 0)), Port("y", (3, 5, 4), (1, 2, 0))
    graph = Graph("first", ports[:1], ports[1:], (node,), weights)
    x = rng.normal(size=(6, 2, 3, 5))
    fixed = lower(graph, calibrate(graph, Settings.uniform(16), x))
    y = np.einsum("nihw,io->nohw", x, weights["w"][0, 0])
    score = accuracy_report(graph, fixed, x, y).score
    assert isinstance(score, Regression)
    assert max(score.float_error, score.fixed_error) < 1e-6  # 16 bits, and float32
    answers = accuracy_report(graph, fixed, x, y.argmax(axis=1)).score
    assert isinstance(answers, Classification)
    assert (answers.float_correct, answers.total) == (90, 90)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 3], ModelError, "0 to 2"),
        ([-1, 0], ModelError, "0 to 2"),
        ([0, 1, 2], ShapeError, r"\(2, 3\)"),
        ([0.5, 1], ShapeError, "labels do not fit"),
        ([[0.0, np.nan, 0]] * 2, ModelError, "NaN"),
        (["a", "b"], ModelError, "numbers"),
    ],
)
def test_bad_labels(labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        reported([[0.0, 1, 2]] * 2, labels, d=target("fixed<4,4>"))


def test_bad_data_and_graphs_that_do_not_belong_together() -> None:
    d = target("fixed<4,4>")
    with pytest.raises(ModelError, match="NaN"):
        reported([[np.nan, 1.0]], d=d)
    with pytest.raises(ModelError, match="differ in number"):
        reported([[0.0, 1.0]], [1], d=d, class_names=["only one"])
    fixed = quantised(identity(3), x=d, d=d)
    with pytest.raises(ShapeError, match="Quantise this float model again"):
        accuracy_report(identity(2), fixed, np.zeros((1, 2)))
    graph = identity(2)
    weights = {"w": np.full((2, 2), 3e38, np.float32)}
    large = Graph("", graph.inputs, graph.outputs, graph.nodes, weights)
    fixed = quantised(graph, x=d, d=d)
    with pytest.raises(ModelError, match="float network gives NaN or infinite"):
        accuracy_report(large, fixed, np.full((1, 2), 3e38))


# Blocks


@pytest.mark.parametrize("block", [1, 7, 59])
def test_blocks_give_the_same_as_one_block(block: int) -> None:
    whole, parts = (network_report(network(), block=size) for size in (60, block))
    assert parts.score == whole.score
    assert parts.inner == whole.inner
    for part, layer in zip(parts.layers, whole.layers, strict=True):
        # the float network's own sums depend on the block, in their last bits
        assert part.sqnr_db == pytest.approx(layer.sqnr_db, rel=1e-5)
        assert part.worst_error == pytest.approx(layer.worst_error, abs=1e-5)
        assert (part.overflow, part.underflow) == (layer.overflow, layer.underflow)
        assert (part.fixed_low, part.fixed_high) == (layer.fixed_low, layer.fixed_high)
        assert sum(part.histogram.counts) == sum(layer.histogram.counts) == layer.values
    assert np.allclose(parts.points, whole.points, atol=1e-5)


def test_points_are_spread_over_blocks_and_places_and_end_with_the_worst() -> None:
    x = np.arange(30_000).reshape(-1, 3).astype(np.float64)
    x[1234, 1] += 0.25
    one, parts = (
        reported(x.tolist(), entry="fixed<32,20>", d=target("fixed<20,20>"), block=size).points
        for size in (256, 7)
    )
    assert one == parts
    assert one[-1] == (3703.25, 3703.0)
    assert {float_ % 3 for float_, _ in one[:-1]} == {0, 1, 2}
    assert len(one) == 7501


def test_memory_does_not_grow_with_the_samples() -> None:
    graph = network()
    x = np.random.default_rng(0).normal(size=(4096, 8, 8, 1)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(8), x[:64]))
    peaks = []
    for samples in (512, 4096):
        tracemalloc.start()
        accuracy_report(graph, fixed, x[:samples], block=64)
        peaks.append(tracemalloc.get_traced_memory()[1] - x[:samples].nbytes)
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1), min_size=1))
def test_a_histogram_does_not_depend_on_the_order(blocks: list[list[float]]) -> None:
    forward, backward, whole = (HistogramTally(-4) for _ in range(3))
    for block in blocks:
        forward.add(np.array(block))
    for block in reversed(blocks):
        backward.add(np.array(block))
    values = np.array([v for block in blocks for v in block])
    whole.add(values)
    histogram = whole.result()
    assert forward.result() == backward.result() == histogram
    assert len(histogram.counts) <= BINS
    for i in {0, len(histogram.counts) // 2, len(histogram.counts) - 1}:
        low = histogram.start + i * histogram.width
        inside = (values >= low) & (values < low + histogram.width)
        assert histogram.counts[i] == np.count_nonzero(inside)
