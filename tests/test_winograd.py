"""Convolutions in fewer multiplications: the same integers, in float types that are proved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lutra.frontend.ops import Array, Conv, Shape, Window
from lutra.quantize.cast import Cast
from lutra.quantize.exact import Result
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format
from lutra.sim import winograd
from lutra.sim.products import find_products
from lutra.sim.simulator import Simulator

from . import reference
from .test_simulator import chain

NONE = ((0, 0), (0, 0))
SAME = ((1, 1), (1, 1))
BYTE = Format(True, 8, 8)


def conv(
    shape: Shape, source: Format, window: Window, filters: int, low: int, high: int, bias: int = 0
) -> FixedGraph:
    """One convolution with random weights, largest ones among them."""
    weights = (*window.kernel, shape[-1], filters)
    weight = np.random.default_rng(0).integers(low, high, weights, endpoint=True)
    weight[np.random.default_rng(1).random(weights) < 0.3] = high
    if not bias:
        return chain(shape, source, (Conv(window), weight))
    added = np.random.default_rng(2).integers(-bias, bias, filters)
    return chain(shape, source, (Conv(window), weight, added))


def values(graph: FixedGraph, count: int) -> Array:
    """Random raw inputs, half of which lie at the ends of the format."""
    rng, format_ = np.random.default_rng(3), graph.formats["v0"]
    raw = rng.integers(
        format_.low, format_.high, (count, *graph.inputs[0].shape), endpoint=True, dtype=np.int64
    )
    ends = np.where(rng.random(raw.shape) < 0.5, format_.low, format_.high)
    raw[::2] = ends[::2]
    raw[0], raw[1] = format_.low, format_.high
    return raw


def expect_same(graph: FixedGraph, raw: Array, *, fast: bool) -> None:
    """The simulator's results are those of integer arithmetic, with the algorithm or without."""
    last = graph.outputs[0].name
    found = [product.fast for product in find_products(graph, {last})]
    assert any(found) == fast
    result = Simulator(graph).trace_raw(raw)[last]
    assert np.array_equal(result.astype(np.int64), reference.evaluate(graph, raw)[last])


@pytest.mark.parametrize("bits", [4, 16])
@pytest.mark.parametrize("bias", [0, 1000])
@pytest.mark.parametrize(
    ("shape", "width", "pad", "filters"),
    [
        ((4, 4, 2), 3, SAME, 1),
        ((5, 4, 3), 3, SAME, 2),
        ((3, 5, 2), 3, NONE, 3),
        ((4, 3, 2), 1, NONE, 2),
        ((1, 1, 5), 3, SAME, 1),
        ((4, 5, 2), 2, ((0, 1), (1, 0)), 2),
        ((2, 3, 4), 4, ((2, 3), (0, 2)), 3),
    ],
)
def test_results(
    shape: Shape, width: int, pad: tuple[tuple[int, int], ...], filters: int, bias: int, bits: int
) -> None:
    window, end = Window((3, width), (1, 1), pad), (1 << bits - 1) - 1
    graph = conv(shape, Format(True, bits, bits), window, filters, -end - 1, end, bias)
    expect_same(graph, values(graph, 6), fast=True)


@pytest.mark.parametrize("bits", [4, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shift", [1, 9])
def test_a_cast_behind_becomes_a_floor(shift: int, signed: bool, bits: int) -> None:
    end = (1 << bits - 1) - 1
    weight = np.random.default_rng(0).integers(-end - 1, end, (3, 3, 2, 3), endpoint=True)
    cast = Cast(shift, Format(signed, bits, bits + shift))
    source = Format(False, bits, bits)
    layer = (Conv(Window((3, 3), (1, 1), SAME)), weight, np.array([end, 1, -end]))
    graph = chain((5, 4, 2), source, layer, (cast,))
    expect_same(graph, values(graph, 6), fast=True)
    assert Simulator(graph).trace_raw(values(graph, 6))["v2"].dtype == np.float32


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8])
def test_blocks_of_samples(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The last block is not smaller than the others: it overlaps with the one before."""
    graph = conv((4, 4, 2), BYTE, Window((3, 3), (1, 1), SAME), 2, -128, 127)
    raw = values(graph, 8)[:count]
    expected = Simulator(graph).trace_raw(raw)["v1"]
    monkeypatch.setattr(winograd, "BLOCK", 3 * 4 * 2 * (6 * 2 + 4 * 2) * 4)
    assert np.array_equal(Simulator(graph).trace_raw(raw)["v1"], expected)
    if count:
        expect_same(graph, raw, fast=True)


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("bits", [24, 53])
def test_only_where_all_numbers_on_the_way_fit(bits: int, more: int) -> None:
    """Weights (a, 0, 0) are multiplied by values up to 255 twice, to 510 and to 255 once: 5 * 255 a
    in all.  With twice the bias that takes ``bits`` bits, or more."""
    weight = np.zeros((3, 1, 2, 1), np.int64)
    weight[0, 0, :, 0] = (1 << bits) // 1275 - 4 | 1, 1
    bias = np.array([((1 << bits) - 1275 * int(weight.sum())) // 2 + more])
    graph = chain((4, 1, 2), Format(False, 8, 8), (Conv(Window.of((3, 1))), weight, bias))
    twice = winograd.bound(weight, graph.bounds["v0"]) + 2 * int(bias[0])
    assert twice == (1 << bits) + 2 * more
    ends = itertools.product([0, 1, 254, 255], repeat=4)
    raw = np.array([np.stack([v, v[::-1]], -1) for v in ends]).reshape(-1, 4, 1, 2)
    expect_same(graph, raw, fast=not more)


def test_more_bits_than_the_results_need() -> None:
    """Results have 24 bits, but halves on the way need one more: float32 would be wrong with fewer
    multiplications, and is right without."""
    weight = np.array([21845, 21843, 21845] * 2).reshape(2, 3).T.reshape(3, 1, 2, 1)
    graph = chain((6, 1, 2), Format(True, 8, 8), (Conv(Window.of((3, 1))), weight))
    assert graph.bounds["v1"].partial <= 1 << 24
    raw = np.random.default_rng(0).integers(-128, -126, (50, 6, 1, 2))
    expect_same(graph, raw, fast=False)
    assert Simulator(graph).trace_raw(raw)["v1"].dtype == np.float32


@pytest.mark.parametrize(("low", "high"), [(-8, 7), (0, 15), (3, 9), (-9, -2)])
def test_bounds_are_reached_and_count_the_padding(low: int, high: int) -> None:
    """The largest magnitude of each product, over all values, padding among them."""
    weight = np.random.default_rng(0).integers(-9, 9, (3, 1, 1, 5))
    d0, d1, d2, d3 = np.array(list(itertools.product({0, low, high}, repeat=4))).T[:, :, None]
    g0, g1, g2 = weight[:, 0, 0]
    twice = [
        2 * (d0 - d2) * g0,
        (d1 + d2) * (g0 + g1 + g2),
        (d2 - d1) * (g0 - g1 + g2),
        2 * (d1 - d3) * g2,
    ]
    largest = sum(np.abs(each).max(axis=0) for each in twice).max()
    assert winograd.bound(weight, Result(low, high, 0, max(-low, high))) == largest


@pytest.mark.parametrize(
    ("window", "groups", "channels"),
    [
        (Window.of((2, 3)), 1, 2),
        (Window.of((3, 3), stride=(2, 1)), 1, 2),
        (Window.of((3, 3), stride=(1, 2)), 1, 2),
        (Window((3, 3), (1, 1), NONE, (2, 1)), 1, 2),
        (Window((3, 3), (1, 1), NONE, (1, 2)), 1, 2),
        (Window.of((3, 3)), 2, 4),
        (Window.of((3, 3)), 1, 1),
    ],
)
def test_other_convolutions_are_left_alone(window: Window, groups: int, channels: int) -> None:
    weight = np.random.default_rng(0).integers(-8, 8, (*window.kernel, channels // groups, 2))
    graph = chain((6, 7, channels), BYTE, (Conv(window, groups), weight))
    expect_same(graph, values(graph, 4), fast=False)


def test_one_spatial_axis_is_left_alone() -> None:
    weight = np.random.default_rng(0).integers(-8, 8, (3, 2, 2))
    graph = chain((6, 2), BYTE, (Conv(Window.of((3,))), weight))
    expect_same(graph, values(graph, 4), fast=False)
