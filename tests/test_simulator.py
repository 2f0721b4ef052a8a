"""The simulator against Python's integers, in blocks, at the edges of its float types."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from lutra.frontend.errors import FormatError, ModelError, ShapeError
from lutra.frontend.graph import Node, Port
from lutra.frontend.ops import (
    Array,
    Conv,
    Dense,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Shape,
    SumPool,
    Window,
)
from lutra.quantize.calibrate import calibrate
from lutra.quantize.cast import Cast
from lutra.quantize.exact import ExactOp, Operand, result
from lutra.quantize.exact_ops import BelowMax
from lutra.quantize.fixed import FixedGraph, FixedOp, cast_bounds, whole
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lower import lower
from lutra.sim.shortcuts import shorten
from lutra.sim.simulator import Simulator

from . import reference
from .conftest import samples
from .networks import random_network

FIRST_SEED, SEEDS = 10_000, 150
"""Of networks that are not those of the C simulation."""


def chain(
    shape: Shape, source: Format, *parts: tuple[ExactOp | Cast, *tuple[Array, ...]]
) -> FixedGraph:
    """Ops in a row, each with its constants, which have no fraction; values are v0, v1, v2..."""
    nodes: list[Node[FixedOp]] = []
    constants: dict[str, Array] = {}
    formats = {"v0": source}
    inlet, bounds = Port.of("v0", shape), whole(source)
    for i, (op, *arrays) in enumerate(parts, 1):
        operands = [Operand(bounds.low, bounds.high, bounds.fraction, shape)]
        for j, array in enumerate(arrays):
            low, high = int(array.min()), int(array.max())
            constants[f"c{i}.{j}"] = array.astype(np.int64)
            formats[f"c{i}.{j}"] = Format.holding(low, high, 0)
            operands.append(Operand(low, high, 0, array.shape, array))
        bounds = cast_bounds(op, bounds) if isinstance(op, Cast) else result(op, operands)
        shape = op.infer(*(operand.shape for operand in operands))
        names = [name for name in constants if name.startswith(f"c{i}.")]
        nodes.append(Node(f"v{i}", op, (f"v{i - 1}", *names), f"v{i}"))
        formats[f"v{i}"] = Format.holding(bounds.low, bounds.high, bounds.fraction)
        if isinstance(op, Cast):
            formats[f"v{i}"] = op.format
    layers = {node.name: node.name for node in nodes}
    outlet = Port.of(nodes[-1].output, shape)
    entry = {"v0": Cast(0, source)}
    return FixedGraph("chain", (inlet,), (outlet,), entry, tuple(nodes), constants, formats, layers)


def equal(found: dict[str, Array], expected: dict[str, Array]) -> None:
    for name, value in found.items():
        assert value.shape == expected[name].shape
        assert np.array_equal(value.astype(np.int64), expected[name]), name


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_value_equals_integer_arithmetic(seed: int) -> None:
    network = random_network(FIRST_SEED + seed)
    try:
        graph = lower(network.graph, calibrate(network.graph, network.settings, network.x))
    except FormatError:
        return
    raw = reference.enter(graph, network.x[:2])
    expected = reference.evaluate(graph, raw)
    names = list(expected)
    equal(Simulator(graph, keep=True).trace(network.x[:2]), expected)
    some = np.random.default_rng(seed).random(len(names)) < 0.3
    for keep in ([], [name for name, kept in zip(names, some, strict=True) if kept]):
        values = Simulator(graph, keep).trace_raw(raw.astype(np.int64))
        assert set(values) == {*keep, graph.outputs[0].name}
        equal(values, expected)


@pytest.mark.parametrize("block", [1, 2, 7, 39, 40, 41])
def test_blocks_of_any_size_give_the_same(fixed_cnn: FixedModel, block: int) -> None:
    whole, parts = (Simulator(fixed_cnn.fixed, keep=True) for _ in range(2))
    whole.block, parts.block = 1000, block
    x = samples()
    expected = whole.trace(x)
    for name, value in parts.trace(x).items():
        assert np.array_equal(value, expected[name]), name


EDGES: dict[str, Callable[[int], FixedGraph]] = {
    # Largest magnitudes: 255 * 65793 = 2^24 - 1, and the bias on top; or multiples of 2^23.
    "dense": lambda more: chain(
        (2,), Format(False, 8, 8), (Dense(), np.array([[65792], [1]]), np.array([1 + more]))
    ),
    "conv": lambda more: chain(
        (3, 1),
        Format(False, 8, 8),
        (Conv(Window.of((2,))), np.array([65792, 1]).reshape(2, 1, 1), np.array([1 + more])),
    ),
    # The bias brings the sum back into 24 bits.
    "partial sums": lambda more: chain(
        (3,),
        Format(False, 8, 8),
        (Dense(), np.array([[65791 + 2 * more], [1], [1]]), np.array([-1 - 510 * more])),
    ),
    "sum": lambda more: chain((2 + more,), Format(True, 24, 24), (ReduceSum(),)),
    "window": lambda more: chain(
        (2 + more, 1), Format(True, 24, 24), (SumPool(Window.of((2 + more,))),)
    ),
    "product": lambda more: chain((1,), Format(True, 24, 24), (Mul(), np.array([2 + more]))),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("more", [0, 1])
def test_float32_as_far_as_it_is_exact_and_no_further(name: str, more: int) -> None:
    graph = EDGES[name](more)
    format_ = graph.formats["v0"]
    ends = [format_.low, format_.low + 1, format_.high - 1, format_.high]
    shape = graph.inputs[0].shape
    raw = np.array(list(itertools.product(ends, repeat=int(np.prod(shape))))).reshape(-1, *shape)
    values = Simulator(graph, keep=True).trace_raw(raw)
    equal(values, reference.evaluate(graph, raw))
    bound = graph.bounds["v1"].partial
    assert bound == 1 << 24 if not more else bound > 1 << 24
    assert values["v1"].dtype == (np.float64 if more else np.float32)


BYTE = Format(True, 8, 8)


def kinds(graph: FixedGraph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
def test_shortcuts_change_no_value(rounding: Rounding, overflow: Overflow, signed: bool) -> None:
    """All pairs of bytes; a Cast that keeps no order stays before the pool."""
    cast = Cast(2, Format(signed, 4, 6), rounding, overflow)
    graph = chain((2, 1), BYTE, (Relu(),), (cast,), (MaxPool(Window.of((2,))),))
    raw = np.array(list(itertools.product(range(-128, 128), repeat=2))).reshape(-1, 2, 1)
    whole_way = Simulator(graph, keep=True).trace_raw(raw)["v3"]
    assert np.array_equal(Simulator(graph).trace_raw(raw)["v3"], whole_way)
    found = kinds(shorten(graph, {"v3"}))
    if overflow in (Overflow.WRAP, Overflow.SAT_ZERO):
        assert found == ["Relu", "Cast", "MaxPool"]
    else:
        assert found == (["MaxPool", "Relu", "Cast"] if signed else ["MaxPool", "Cast"])


def test_values_that_are_asked_for_are_not_cut_away() -> None:
    cast = Cast(2, Format(False, 4, 6))
    graph = chain((2, 1), BYTE, (Relu(),), (cast,), (MaxPool(Window.of((2,))),))
    assert kinds(shorten(graph, {"v1", "v3"})) == ["Relu", "MaxPool", "Cast"]
    assert kinds(shorten(graph, {"v2", "v3"})) == ["Cast", "MaxPool"]
    assert kinds(shorten(graph, {"v1", "v2", "v3"})) == ["Relu", "Cast", "MaxPool"]


def test_values_with_another_reader_stay() -> None:
    """The last node reads what the ReLU, or the Cast before the pool, gives."""
    cast = Cast(2, Format(False, 4, 6))
    relu = chain((1, 1), BYTE, (Relu(),), (cast,))
    pool = chain((2, 1), BYTE, (cast,), (MaxPool(Window.of((2,))),))
    for graph in (relu, pool):
        last = Node[FixedOp]("v3", Mul(), ("v1", "v2"), "v3")
        factors = [graph.operand(name, graph.bounds) for name in last.inputs]
        bounds = result(Mul(), factors)
        fork = dataclasses.replace(
            graph,
            outputs=(Port.of("v3", Mul().infer(*(factor.shape for factor in factors))),),
            nodes=(*graph.nodes, last),
            formats={
                **graph.formats,
                "v3": Format.holding(bounds.low, bounds.high, bounds.fraction),
            },
            layers={**graph.layers, "v3": "v3"},
        )
        assert kinds(shorten(fork, {"v3"})) == kinds(fork)
        assert kinds(shorten(fork, ())) == kinds(fork)


def test_a_relu_stays_where_nothing_saturates() -> None:
    assert kinds(shorten(chain((3,), BYTE, (Relu(),), (BelowMax(),)), {"v2"}))[0] == "Relu"


def test_a_pool_that_gives_as_many_values_stays() -> None:
    pool = MaxPool(Window((2,), (1,), ((1, 0),)))
    graph = chain((3, 1), BYTE, (Cast(2, Format(True, 4, 6)),), (pool,))
    assert kinds(shorten(graph, {"v2"})) == ["Cast", "MaxPool"]


def test_layouts_of_the_user() -> None:
    """A network whose user has the channels first, and rows and columns of the output changed."""
    conv = Conv(Window.of((2, 2)))
    inner = chain((4, 3, 2), BYTE, (conv, np.arange(-8, 16).reshape(2, 2, 2, 3)))
    (inlet,), (outlet,) = inner.inputs, inner.outputs
    outer = dataclasses.replace(
        inner,
        inputs=(dataclasses.replace(inlet, axes=(1, 2, 0)),),
        outputs=(dataclasses.replace(outlet, axes=(2, 0, 1)),),
    )
    raw = np.random.default_rng(1).integers(-128, 128, (5, 4, 3, 2))
    expected = Simulator(inner).run_raw(raw)["v1"]
    first = raw.transpose(0, 3, 1, 2)
    y = Simulator(outer).run_raw(first)["v1"]
    assert y.shape == (5, 2, 3, 3)
    assert np.array_equal(y, expected.transpose(0, 2, 3, 1))
    assert np.array_equal(Simulator(outer).run(first.astype(np.float32))["v1"], y)
    assert np.array_equal(Simulator(outer).predict(first.astype(np.float64)), y)
    assert np.array_equal(Simulator(outer).trace_raw(raw)["v1"], expected)
    kept = Simulator(outer, keep=["v0"]).run_raw(first)
    assert np.array_equal(kept["v0"], raw)
    with pytest.raises(ShapeError, match="v0"):
        Simulator(outer).run_raw(raw)


def test_only_what_is_asked_for_is_returned(fixed_cnn: FixedModel) -> None:
    graph, x = fixed_cnn.fixed, samples(3)
    assert set(Simulator(graph).run(x)) == {"y"}
    assert set(Simulator(graph, keep=False).run(x)) == {"y"}
    assert set(Simulator(graph, keep=["pool", "x"]).run(x)) == {"pool", "x", "y"}
    every = {"x", *(node.output for node in graph.nodes)}
    assert set(Simulator(graph, keep=True).run(x)) == every


def test_results_are_floats_in_steps_of_the_format(fixed_cnn: FixedModel) -> None:
    simulator = Simulator(fixed_cnn.fixed)
    x = samples(4)
    step = fixed_cnn.fixed.formats["y"].step
    assert np.array_equal(simulator.predict(x), simulator.run(x)["y"] * step)


@pytest.mark.parametrize("wrong", [-129, 128])
def test_raw_values_outside_the_format_are_refused(wrong: int) -> None:
    simulator = Simulator(chain((2,), BYTE, (Relu(),)))
    raw = np.array([[-128, 127], [0, wrong]])
    with pytest.raises(ModelError, match=r"(?s)'v0'.*-128 to 127"):
        simulator.run_raw(raw)
    with pytest.raises(ModelError, match="'v0'"):
        simulator.trace_raw(raw)
    assert simulator.run_raw(raw[:1])["v1"].tolist() == [[0, 127]]


def test_no_sample_gives_no_result(fixed_cnn: FixedModel) -> None:
    graph = fixed_cnn.fixed
    values = Simulator(graph, keep=True).trace(samples(0))
    assert {name: value.shape[1:] for name, value in values.items()} == {
        name: graph.shapes[name] for name in values
    }
    assert {len(value) for value in values.values()} == {0}
    assert Simulator(graph).predict(samples(0)).shape == (0, 5)
    assert Simulator(graph).run_raw(samples(0).astype(np.int64))["y"].shape == (0, 5)
