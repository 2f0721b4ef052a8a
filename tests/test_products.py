"""Layers that the simulator computes in one step with their neighbours."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import ConvTranspose, Dense
from lutra.quantize.calibrate import calibrate
from lutra.quantize.cast import Cast
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.products import find_products
from lutra.sim.simulator import Simulator

from .cases import CASES, Case
from .test_simulator import chain

TRANSPOSED = [case for case in CASES if isinstance(case.op, ConvTranspose)]


def lowered(case: Case, bits: int) -> FixedGraph:
    """A network of this op alone."""
    rng = np.random.default_rng(0)
    constants = {
        f"w{i}": rng.normal(size=shape).astype(np.float32) for i, shape in enumerate(case.weights)
    }
    node = Node("op", case.op, ("x", *constants), "y")
    outlet = Port.of("y", case.op.infer(case.shape, *case.weights))
    graph = Graph("one", (Port.of("x", case.shape),), (outlet,), (node,), constants)
    x = rng.normal(size=(50, *case.shape)).astype(np.float32)
    return lower(graph, calibrate(graph, Settings(bits=bits, weight_bits=bits), x))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("case", TRANSPOSED, ids=lambda case: case.name)
def test_transposed_convolutions(case: Case, bits: int) -> None:
    graph = lowered(case, bits)
    (product,) = find_products(graph, {"y"})
    assert isinstance(case.op, ConvTranspose)
    assert (product.spread is not None) == (max(case.op.window.stride) > 1)
    assert product.cast is not None
    x = np.random.default_rng(1).normal(size=(20, *case.shape))
    expected = Simulator(graph, keep=True).run(x)
    assert np.array_equal(Simulator(graph).run(x)["y"], expected["y"])
    asked = Simulator(graph, keep=product.node.inputs[:1]).run(x)
    for name, value in asked.items():
        assert np.array_equal(value, expected[name])


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shift", [-1, 0, 1, 5])
def test_casts_behind(shift: int, bias: bool, rounding: Rounding, overflow: Overflow) -> None:
    """All pairs of values of five bits, ties among them; only a floor is taken along."""
    source = Format(True, 5, 5)
    weights = np.array([[1, 3], [-2, 5]]), *([np.array([7, -40])] if bias else [])
    cast = Cast(shift, Format(True, 6, 6 + shift), rounding, overflow)
    graph = chain((2,), source, (Dense(), *weights), (cast,))
    raw = np.array(list(itertools.product(range(-16, 16), repeat=2)))
    expected = Simulator(graph, keep=True).trace_raw(raw)["v2"]
    assert np.array_equal(Simulator(graph).trace_raw(raw)["v2"], expected)
    floor = shift > 0 and rounding is Rounding.RND and overflow is Overflow.SAT
    assert len(find_products(graph, {"v2"})) == floor
    assert not find_products(graph, {"v1", "v2"})


@pytest.mark.parametrize("more", [0, 1])
def test_a_half_that_would_not_fit_is_left_to_the_cast(more: int) -> None:
    """The sums end at 2^24 - 128, or one beyond: with the half they would then take 25 bits."""
    weight, bias = np.array([[65792], [0]]), np.array([128 + more])
    cast = Cast(8, Format(False, 16, 24))
    graph = chain((2,), Format(False, 8, 8), (Dense(), weight, bias), (cast,))
    assert graph.bounds["v1"].partial == (1 << 24) - 128 + more
    assert len(find_products(graph, {"v2"})) == 1 - more
    raw = np.array([[0, 0], [1, 0], [254, 0], [255, 0]])
    expected = Simulator(graph, keep=True).trace_raw(raw)["v2"]
    assert np.array_equal(Simulator(graph).trace_raw(raw)["v2"], expected)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize(("bias", "shift"), [(0, 9), (0, 8), (64, 9), (256, 9), (-256, 9)])
def test_powers_of_two_that_all_terms_share(bias: int, shift: int, more: int) -> None:
    """Weights are multiples of 256: sums up to 255 · 65537 · 256 need 24 bits, if the half and the
    bias are such multiples, and there is none to carry into the next bit."""
    weight = np.array([[65537 - more], [more]]) * 256
    layer = (Dense(), weight, np.array([bias])) if bias else (Dense(), weight)
    cast = Cast(shift, Format(True, 22, 22 + shift))
    graph = chain((2,), Format(False, 8, 8), layer, (cast,))
    (product,) = find_products(graph, {"v2"})
    assert product.kind == (np.float32 if shift == 9 and bias % 256 == 0 else np.float64)
    raw = np.array(list(itertools.product(range(256), [0, 1, 255])))
    expected = Simulator(graph, keep=True).trace_raw(raw)["v2"]
    assert np.array_equal(Simulator(graph).trace_raw(raw)["v2"], expected)


def test_a_second_reader_keeps_a_value() -> None:
    cast = Cast(1, Format(True, 3, 4))
    graph = chain((2,), Format(True, 4, 4), (Dense(), np.eye(2, dtype=int)), (cast,))
    again = replace(graph.nodes[1], name="again", output="again")
    both = replace(
        graph,
        nodes=(*graph.nodes, again),
        formats={**graph.formats, "again": graph.formats["v2"]},
        layers={**graph.layers, "again": "again"},
    )
    assert len(find_products(graph, {"v2"})) == 1
    assert not find_products(both, {"v2", "again"})
