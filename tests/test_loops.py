"""Loops and tables in the simulator, against Python's integers."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lutra.frontend.ops import Array, Dense, Mul, Relu
from lutra.quantize.codec import decode_fixed, encode_fixed
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.recurrence import Recurrence
from lutra.sim.gates import find_gates
from lutra.sim.shortcuts import shorten
from lutra.sim.simulator import Simulator

from . import reference
from .fixed_graphs import Maker, Recurrent
from .random_fixed import Drawn, fixed_graphs, loops

EXAMPLES = settings(
    max_examples=120, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)

KINDS = ["rnn", "relu", "lstm", "gru", "gru_before"]


def equal(found: dict[str, Array], expected: dict[str, Array]) -> None:
    for name, value in found.items():
        assert value.shape == expected[name].shape, name
        assert np.array_equal(value.astype(np.int64), expected[name]), name


def check(graph: FixedGraph, raw: Array, *keeps: list[str]) -> None:
    """Every value, asked for all at once, in the given choices, and the output alone."""
    expected = reference.evaluate(graph, raw)
    every = Simulator(graph, keep=True).trace_raw(raw)
    assert set(every) == set(expected)
    equal(every, expected)
    for keep in ([], *keeps):
        values = Simulator(graph, keep).trace_raw(raw)
        assert set(values) == {*keep, graph.outputs[0].name}
        equal(values, expected)


def loop_of(graph: FixedGraph) -> Recurrence:
    (loop,) = (node.op for node in graph.nodes if isinstance(node.op, Recurrence))
    return loop


def inputs(graph: FixedGraph, count: int = 3) -> Array:
    format_ = graph.formats["x"]
    shape = (count, *graph.inputs[0].shape)
    return np.random.default_rng(1).integers(format_.low, format_.high + 1, shape)


def check_drawn(drawn: Drawn, data: st.DataObject) -> None:
    """Against the reference, and the same after it was written down."""
    names = [node.output for node in drawn.graph.every_node()]
    check(drawn.graph, drawn.raw, data.draw(st.lists(st.sampled_from(names), unique=True)))
    read = decode_fixed(encode_fixed(drawn.graph))
    assert read.nodes == drawn.graph.nodes
    assert read.bounds == drawn.graph.bounds
    assert read.shapes == drawn.graph.shapes


@EXAMPLES
@given(fixed_graphs(), st.data())
def test_random_graphs(drawn: Drawn, data: st.DataObject) -> None:
    check_drawn(drawn, data)


@EXAMPLES
@given(loops(), st.data())
def test_random_loops(drawn: Drawn, data: st.DataObject) -> None:
    check_drawn(drawn, data)


@pytest.mark.parametrize("bits", [(6, 7), (8, 12), (12, 6)], ids=["narrow", "wide", "interpolated"])
@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_layers(kind: str, bits: tuple[int, int]) -> None:
    for reverse, last in itertools.product([False, True], repeat=2):
        graph = Recurrent(*bits, reverse=reverse, last=last).graph(kind)
        some = [node.output for node in loop_of(graph).body[::3]]
        check(graph, inputs(graph), some, ["hidden"], [graph.nodes[0].output])


def test_one_step_and_one_unit() -> None:
    graph = Recurrent(8, steps=1, units=1, classes=2).graph("lstm")
    check(graph, inputs(graph))


def test_gates_are_found_only_where_nobody_asks_for_what_is_inside() -> None:
    graph = Recurrent(8).graph("lstm")
    loop = loop_of(graph)
    gates = find_gates(graph, loop, [])
    assert [gate.part for gate in gates] == [0, 1, 2, 3]
    assert [gate.part for gate in find_gates(graph, loop, [gates[1].nodes[1].output])] == [0, 2, 3]
    assert [gate.part for gate in find_gates(graph, loop, [gates[1].value])] == [0, 1, 2, 3]


def gate(weights: tuple[int, int], to: Format, rounding: Rounding, overflow: Overflow) -> Maker:
    """A layer of one gate on x and on the state, times these weights; its value is the state."""
    make = Maker((2, 1), Format(True, 6, 6))
    first, second = (np.array([[weight]]) for weight in weights)
    ahead = make.add(Dense(), "x", make.constant(first), make.constant(np.array([3])))
    state = Format(True, 6, 6)

    def body() -> str:
        total = make.add(Dense(), "before", make.constant(second, 2))
        index = make.cast(make.combine("part", total), to, "", rounding, overflow)
        value = make.lut(index, lambda v: np.arange(len(v)) % 15.0 - 7, 0)
        return make.cast(value, state, "after")

    make.loop(ahead, ["part"], [("before", "after", state)], body)
    return make


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
def test_gates_with_every_mode(rounding: Rounding, overflow: Overflow) -> None:
    """Sums too wide for a table; with bits that are dropped and with zeros that are appended."""
    raw = np.array(list(itertools.product(range(-32, 32, 3), repeat=2))).reshape(-1, 2, 1)
    for to in (Format(True, 5, 17), Format(False, 4, 17), Format(True, 7, 3)):
        make = gate((4096, -4100), to, rounding, overflow)
        graph = make.graph(make.nodes[-1].output)
        whole = Simulator(graph, keep=True).trace_raw(raw)
        equal(whole, reference.evaluate(graph, raw))
        equal(Simulator(graph).trace_raw(raw), whole)


@pytest.mark.parametrize("bits", [15, 16, 17, 18, 19, 40])
def test_gates_at_the_edge_of_float32(bits: int) -> None:
    """Odd multiples of 2^bits - 1 lie just beside a tie of the rounding."""
    to = Format(True, 8, bits + 9)
    make = gate(((1 << bits) - 1, 1 - (1 << bits)), to, Rounding.RND, Overflow.SAT)
    graph = make.graph(make.nodes[-1].output)
    raw = np.array(list(itertools.product(range(-32, 32, 3), repeat=2))).reshape(-1, 2, 1)
    found = Simulator(graph).trace_raw(raw)
    equal(found, reference.evaluate(graph, raw))
    assert len(np.unique(found[graph.outputs[0].name])) > 9


def test_a_state_that_is_a_gate_itself() -> None:
    """The table's value is the state, and is read again after the gates of the next step."""
    make = Maker((4, 2), Format(True, 4, 2))
    ahead = make.add(Dense(), "x", make.constant(np.array([[3], [-2]]), 1))

    def body() -> str:
        total = make.add(Dense(), "before", make.constant(np.array([[-3]]), 0))
        index = make.cast(make.combine("part", total), Format(True, 6, 4))
        value = make.lut(index, lambda v: np.clip(np.floor(v * 2), -8, 7), 0, "value")
        return make.cast(make.combine(value, "before"), Format(True, 5, 5), "leaving")

    y = make.loop(ahead, ["part"], [("before", "value", Format(True, 4, 4))], body)
    graph = make.graph(y)
    assert [found.value for found in find_gates(graph, loop_of(graph), [])] == ["value"]
    check(graph, inputs(graph, 40), ["value"])


# Tables


def kinds(graph: FixedGraph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def interpolated(width: int) -> FixedGraph:
    make = Maker((3,), Format(True, width, 3))
    y = make.interpolated("x", np.tanh, Format(True, 8, 2), 5, "y")
    return make.graph(y)


def test_an_interpolation_is_one_table() -> None:
    graph = interpolated(9)
    assert len(graph.nodes) == 7
    assert kinds(shorten(graph, {"y"})) == ["Lut"]
    raw = np.arange(-256, 256)[:, None].repeat(3, 1)
    check(graph, raw, ["v1"], ["v2", "v4"])


def test_wide_values_are_not_tabulated() -> None:
    assert kinds(shorten(interpolated(16), {"y"})) == ["Lut"]
    assert len(shorten(interpolated(17), {"y"}).nodes) == 7


def test_what_is_asked_for_is_computed_step_by_step() -> None:
    graph = interpolated(9)
    every = {node.output for node in graph.nodes}
    assert shorten(graph, every).nodes == graph.nodes
    assert kinds(shorten(graph, {"y", "v2"})) == kinds(graph)


def test_functions_of_two_values_or_with_a_constant_for_each_channel_are_no_tables() -> None:
    make = Maker((2,), Format(True, 4, 4))
    table = make.lut("x", np.abs, 1)
    scaled = make.add(Mul(), table, make.constant(np.array([1, -2])))
    y = make.combine(scaled, make.add(Relu(), table))
    graph = make.graph(y)
    assert kinds(shorten(graph, {y})) == ["Lut", "Mul", "Lut", "Combine"]
    check(graph, np.array(list(itertools.product(range(-8, 8), repeat=2))))


def test_tables_within_bounds_that_are_narrower_than_their_format() -> None:
    """A ReLU's result is never negative, though its format could be."""
    make = Maker((1,), Format(True, 5, 5))
    positive = make.add(Relu(), "x")
    signed = make.cast(positive, Format(True, 6, 6))
    y = make.add(Relu(), make.lut(signed, lambda v: 7 - v, 0))
    graph = make.graph(y)
    assert kinds(shorten(graph, {y})) == ["Lut"]
    check(graph, np.arange(-16, 16)[:, None])


def test_the_loops_of_two_directions_share_their_input() -> None:
    """Then no loop can take the product to itself alone."""
    one = Recurrent(8, reverse=True).graph("lstm")
    node = one.nodes[-1]
    assert isinstance(node.op, Recurrence)
    again = {inner.output: f"{inner.output}.again" for inner in node.op.body}
    again |= {name: f"{name}.again" for name in node.op.parts}
    again |= {state.before: f"{state.before}.again" for state in node.op.states}

    def renamed(name: str) -> str:
        return again.get(name, name)

    body = tuple(
        dataclasses.replace(
            inner,
            name=renamed(inner.output),
            inputs=tuple(map(renamed, inner.inputs)),
            output=renamed(inner.output),
        )
        for inner in node.op.body
    )
    states = tuple(
        dataclasses.replace(s, before=renamed(s.before), after=renamed(s.after))
        for s in node.op.states
    )
    op = dataclasses.replace(
        node.op,
        parts=tuple(map(renamed, node.op.parts)),
        states=states,
        body=body,
        result=renamed(node.op.result),
        reverse=False,
    )
    other = dataclasses.replace(node, name="other", op=op, output="other")
    formats = {**one.formats, **{new: one.formats[old] for old, new in again.items()}}
    formats["other"] = one.formats[node.output]
    layers = {**one.layers, **{inner.name: "other" for inner in body}, "other": "other"}
    graph = dataclasses.replace(
        one,
        nodes=(*one.nodes, other),
        outputs=(dataclasses.replace(one.outputs[0], name="other"),),
        formats=formats,
        layers=layers,
    )
    check(graph, inputs(graph), [node.output], ["cell", "cell.again"])
