"""Lowering: exact formats hold every result, and the fixed graph verifies itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lutra.frontend.errors import FormatError, LutraError, ModelError
from lutra.frontend.graph import Graph, Node, Port, evaluate
from lutra.frontend.ops import (
    Add,
    AveragePool,
    Dense,
    Gru,
    Lstm,
    MatMul,
    Mul,
    Op,
    Pad,
    Relu,
    Shape,
    SimpleRnn,
    Softmax,
    Sub,
    Window,
)
from lutra.quantize.calibrate import Precision, calibrate
from lutra.quantize.cast import Cast
from lutra.quantize.exact import Operand, result
from lutra.quantize.exact_ops import Combine, Leaky
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.formats import Format, Overflow, Rounding, Target
from lutra.quantize.lower import lower
from lutra.quantize.lut import Lut
from lutra.quantize.precision import Settings
from lutra.quantize.recurrence import Recurrence
from lutra.sim.simulator import Simulator

from .cases import CASES, ROUNDED, Case
from .conftest import samples

X = Format(True, 8, 8)


def dense_graph(weight: np.ndarray, bias: np.ndarray) -> Graph:
    constants = {"w": weight.astype(np.float32), "b": bias.astype(np.float32)}
    node = Node("d", Dense(), ("x", "w", "b"), "d")
    ports = (Port.of("x", weight.shape[:1]),), (Port.of("d", weight.shape[1:]),)
    return Graph("dense", *ports, (node,), constants)


def fixed_dense(weight: np.ndarray, bias: np.ndarray) -> FixedGraph:
    target = Target(X, Rounding.RND, Overflow.SAT)
    precision = Precision({"x": target, "d": target}, {"w": Format(True, 8, 8)}, 12, 8, 12)
    return lower(dense_graph(weight, bias), precision)


def test_the_exact_format_of_a_dot_product_is_the_narrowest_that_holds_it() -> None:
    """Inputs in [-128, 127], weights 3 and -2, bias 5: from -633 to 642, so 11 bits."""
    graph = fixed_dense(np.array([[3], [-2]]), np.array([5]))
    bounds = graph.bounds["d.exact"]
    assert (bounds.low, bounds.high) == (-128 * 3 - 127 * 2 + 5, 127 * 3 + 128 * 2 + 5)
    assert graph.formats["d.exact"] == Format(True, 11, 11)


def test_the_bounds_are_met_by_the_extreme_inputs() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-100, 100, (7, 3))
    graph = fixed_dense(weight, rng.integers(-50, 50, 3))
    extremes = np.concatenate(
        [np.where(weight.T > 0, high, low) for high, low in ((127, -128), (-128, 127))]
    )
    exact = Simulator(graph, keep=True).trace_raw(extremes)["d.exact"]
    bounds = graph.bounds["d.exact"]
    assert (exact.min(), exact.max()) == (bounds.low, bounds.high)


def test_a_relu_leaves_only_the_positive_part() -> None:
    found = result(Relu(), [Operand(-100, 7, 3, (1,))])
    assert (found.low, found.high, found.fraction) == (0, 7, 3)


def test_a_result_beyond_53_bits_is_refused_with_its_node() -> None:
    rng = np.random.default_rng(0)
    graph = dense_graph(rng.normal(size=(64, 2)), np.zeros(2))
    x = rng.normal(size=(20, 64)).astype(np.float32)
    precision = calibrate(graph, Settings.uniform(32), x)
    with pytest.raises(FormatError, match=r"node 'd'.*too wide.*fewer bits"):
        lower(graph, precision)


def test_a_bias_too_large_for_its_accumulator_is_refused() -> None:
    graph = dense_graph(np.array([[1e-12]]), np.array([1e9]))
    with pytest.raises(FormatError, match=r"node 'd'.*fewer bits"):
        lower(graph, calibrate(graph, Settings.uniform(16), np.ones((2, 1), np.float32)))


def average(kernel: int, bits: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Averages of random raw inputs in fixed point and in exact float, and the output step."""
    node = Node("a", AveragePool(Window.of((kernel,))), ("x",), "a")
    graph = Graph("a", (Port.of("x", (kernel, 1)),), (Port.of("a", (1, 1)),), (node,), {})
    x = np.random.default_rng(0).normal(size=(500, kernel, 1)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(bits), x))
    values = Simulator(fixed, keep=True).trace(x)
    mean = (values["x"] * fixed.formats["x"].step).mean(axis=1, keepdims=True)
    step = fixed.formats["a"].step
    inside = np.abs(mean) < fixed.formats["a"].high * step
    return values["a"][inside] * step, mean[inside], step


@pytest.mark.parametrize("kernel", [2, 3, 4, 7, 9])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_an_average_is_right_to_half_a_step(kernel: int, bits: int) -> None:
    """Half a step of rounding, and a sixteenth for the reciprocal of a count that is no power of
    two."""
    fixed, mean, step = average(kernel, bits)
    slack = 0.0 if kernel & (kernel - 1) == 0 else 1 / 16
    assert np.abs(fixed - mean).max() <= (0.5 + slack) * step


def test_every_lossy_step_is_a_node(fixed_cnn: FixedModel) -> None:
    kinds = [type(node.op).__name__ for node in fixed_cnn.fixed.nodes]
    assert kinds == [
        "Conv", "Relu", "Cast", "MaxPool", "Flatten", "Dense", "Cast",
        "BelowMax", "Lut", "ReduceSum", "Cast", "Lut", "Mul", "Cast",
    ]  # fmt: skip


def test_narrow_inputs_need_no_index_cast() -> None:
    node = Node("s", Softmax(), ("x",), "s")
    graph = Graph("s", (Port.of("x", (2,)),), (Port.of("s", (2,)),), (node,), {})
    fixed = lower(graph, calibrate(graph, Settings.uniform(6), samples(8).reshape(-1, 2)))
    luts = [node for node in fixed.nodes if isinstance(node.op, Lut)]
    assert fixed.formats[luts[0].inputs[0]] == fixed.formats["s.below"]


# The fixed graph checks what it is given


def test_a_format_that_does_not_hold_its_values_is_refused(fixed_cnn: FixedModel) -> None:
    fixed = fixed_cnn.fixed
    formats = dict(fixed.formats)
    held = formats["conv"]
    formats["conv"] = Format(True, held.width - 1, held.integer - 1)
    with pytest.raises(FormatError, match=r"node 'conv'.*does not hold"):
        dataclasses.replace(fixed, formats=formats)


def test_a_cast_that_does_not_fit_its_edges_is_refused(fixed_cnn: FixedModel) -> None:
    fixed = fixed_cnn.fixed
    nodes = tuple(
        dataclasses.replace(node, op=dataclasses.replace(node.op, shift=node.op.shift + 1))
        if isinstance(node.op, Cast)
        else node
        for node in fixed.nodes
    )
    with pytest.raises(FormatError, match="does not fit its edges"):
        dataclasses.replace(fixed, nodes=nodes)


def test_a_table_of_the_wrong_length_is_refused(fixed_cnn: FixedModel) -> None:
    fixed = fixed_cnn.fixed
    name = next(node.inputs[1] for node in fixed.nodes if isinstance(node.op, Lut))
    constants = {**fixed.constants, name: fixed.constants[name][:-1]}
    with pytest.raises(LutraError, match="table does not fit"):
        dataclasses.replace(fixed, constants=constants)


def test_a_value_without_a_format_is_refused(fixed_cnn: FixedModel) -> None:
    formats = {n: f for n, f in fixed_cnn.fixed.formats.items() if n != "relu"}
    with pytest.raises(ModelError, match="no format"):
        dataclasses.replace(fixed_cnn.fixed, formats=formats)


def test_what_no_output_needs_is_not_lowered(cnn: Graph) -> None:
    dead = Node("dead", Relu(), ("pool",), "dead")
    nodes = (*cnn.nodes[:3], dead, *cnn.nodes[3:])
    graph = Graph(cnn.name, cnn.inputs, cnn.outputs, nodes, cnn.constants)
    fixed = lower(graph, calibrate(graph, Settings(), samples()))
    assert "dead" not in fixed.layers.values()


def test_padding_may_lie_beyond_what_it_pads() -> None:
    """Below zero around values that are not, and far above them."""
    for value in (-1.5, 40.0):
        nodes = (
            Node("r", Relu(), ("x",), "r"),
            Node("p", Pad((1,), (0,), value), ("r",), "y"),
        )
        ports = (Port.of("x", (3,)),), (Port.of("y", (4,)),)
        graph = Graph("padded", *ports, nodes, {})
        x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
        y = Simulator(lower(graph, calibrate(graph, Settings(), x))).predict(x)
        assert (y[:, 0] == value).all()
    graph = Graph("far", *ports, (nodes[0], Node("p", Pad((1,), (0,), 1e30), ("r",), "y")), {})
    with pytest.raises(FormatError, match="node 'p'"):
        lower(graph, calibrate(graph, Settings(), x))


@pytest.mark.parametrize("op", [Add(), Sub(), Mul()], ids=str)
def test_a_constant_may_stand_first(op: Op) -> None:
    constants = {"c": np.array([0.5, -1.25, 2], np.float32)}
    ports = (Port.of("x", (4, 3)),), (Port.of("y", (4, 3)),)
    graph = Graph("first", *ports, (Node("op", op, ("c", "x"), "y"),), constants)
    x = np.random.default_rng(0).normal(size=(50, 4, 3)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(16), x))
    true = evaluate(graph, {"x": x})["y"]
    assert np.abs(Simulator(fixed).predict(x) - true).max() < 4 * fixed.formats["y"].step


@pytest.mark.parametrize("masked", [-(2.0**127), -1e9, -100.0])
def test_a_mask_takes_no_bits_from_the_scores(masked: float) -> None:
    """However large what is added is, the softmax of the others is as close as without it."""
    mask = np.where(np.tri(4) > 0, 0, np.float32(masked))
    nodes = (Node[Op]("add", Add(), ("x", "mask"), "s"), Node[Op]("p", Softmax(), ("s",), "y"))
    ports = (Port.of("x", (4, 4)),), (Port.of("y", (4, 4)),)
    graph = Graph("masked", *ports, nodes, {"mask": mask})
    x = np.random.default_rng(2).normal(size=(100, 4, 4)).astype(np.float32) * 5
    fixed = lower(graph, calibrate(graph, Settings.uniform(16), x))
    y = Simulator(fixed).predict(x)
    assert (y[:, mask < 0] == 0).all()
    # 16 bits of scores up to 20 leave steps of 2^-11, and so does the softmax.
    assert np.abs(y - evaluate(graph, {"x": x})["y"]).max() < 2.0**-11


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("lead", [(), (2,), (3, 2), (1, 2)], ids=str)
def test_matrices_may_be_constant(first: bool, transposed: bool, lead: Shape) -> None:
    """On either side, one or several, shared along an axis or not."""
    rng = np.random.default_rng(1)
    left, right = (4, 5), (6, 5) if transposed else (5, 6)
    matrix, shape = (left, right) if first else (right, left)
    value = rng.normal(size=(*lead, *matrix)).astype(np.float32)
    inputs = ("c", "x") if first else ("x", "c")
    ports = (Port.of("x", (3, 2, *shape)),), (Port.of("y", (3, 2, 4, 6)),)
    node = Node[Op]("op", MatMul(transposed), inputs, "y")
    graph = Graph("matrices", *ports, (node,), {"c": value})
    x = rng.normal(size=(50, 3, 2, *shape)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(16), x))
    true = evaluate(graph, {"x": x})["y"]
    # Input and weights are rounded to 16 bits, and five products are added up.
    assert np.abs(Simulator(fixed).predict(x) - true).max() < 8 * fixed.formats["y"].step


@pytest.mark.parametrize(("bits", "most"), [(8, 0.06), (16, 4e-4)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_op_lowered_is_close_to_float(case: Case, bits: int, most: float) -> None:
    """The error's root mean square, as a share of the float values' deviation: with values of
    normal distribution, one step in 2^bits of the range is 0.4 % at 8 bits and 2^-8 of that at 16;
    what an op adds up, and loops repeat, makes it up to ten times as much."""
    graph = case.graph()
    x = case.rng().normal(size=(150, *case.shape)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(bits), x))
    true = evaluate(graph, {"x": x})["y"]
    error = Simulator(fixed).predict(x) - true
    assert np.sqrt(np.square(error).mean()) <= most * max(true.std(), np.abs(true).max() / 8)


@pytest.mark.parametrize("case", [*CASES, *ROUNDED], ids=lambda case: case.name)
def test_every_value_stays_within_its_bounds(case: Case) -> None:
    """For inputs at the ends of their format, where bounds are reached."""
    graph = case.graph()
    x = case.rng().normal(size=(20, *case.shape)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(5), x))
    format_ = fixed.formats["x"]
    ends = case.rng().integers(0, 2, (60, *case.shape)) * (format_.high - format_.low) + format_.low
    ends[0], ends[1] = format_.low, format_.high
    for name, values in Simulator(fixed, keep=True).trace_raw(ends).items():
        bounds = fixed.bounds[name]
        assert bounds.low <= values.min(), name
        assert values.max() <= bounds.high, name


def test_partial_sums_are_bounded_in_any_order() -> None:
    """What a float type must hold: both shifted operands of a sum, all terms of a product."""
    a, b = Operand(-3, 5, 2, (4, 3)), Operand(-7, 2, 0, (3, 4))
    found = result(Combine((0, 2), negative=True), [a, b])
    assert (found.low, found.high, found.partial) == (-3 - 8, 5 + 28, 5 + 28)
    found = result(MatMul(), [a, b])
    assert (found.low, found.high, found.partial) == (-35 * 3, 21 * 3, 35 * 3)
    found = result(Leaky(3), [a, Operand(-16, 4, 3, (3,))])
    assert (found.low, found.high, found.partial) == (-12, 48, 5 * 16)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if isinstance(case.op, SimpleRnn | Lstm | Gru)],
    ids=lambda case: case.name,
)
def test_a_loop_means_what_the_simulator_computes(case: Case) -> None:
    graph = case.graph()
    x = case.rng().normal(size=(10, *case.shape)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings(), x))
    (loop,) = (node for node in fixed.nodes if isinstance(node.op, Recurrence))
    values = Simulator(fixed, keep=True).trace(x)
    inputs = [values[loop.inputs[0]], *(fixed.constants[name] for name in loop.inputs[1:])]
    result = loop.op.forward(*(array.astype(np.float64) for array in inputs))
    assert np.array_equal(result, values[loop.output])
