"""Adder graphs of constant matrices: right, as short as can be, and with what is shared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lutra.frontend.ops import Array
from lutra.hls_templates.adders import (
    AdderGraph,
    ConstantMatrix,
    Output,
    adder_graph,
    count_terms,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def sparse(inputs: int, outputs: int, bits: int = 6, zeros: float = 0.5) -> Array:
    """Weights of which about so many are zero."""
    high = 1 << bits - 1
    weights = rng().integers(-high, high, (inputs, outputs))
    return np.where(rng().random((inputs, outputs)) < zeros, 0, weights)


def wrong_sums(graph: AdderGraph, weights: Array, bias: Array) -> int:
    x = rng().integers(-100, 100, (40, len(weights)))
    return int(np.count_nonzero(graph.forward(x) != x @ weights + bias))


@pytest.mark.parametrize(
    ("inputs", "outputs", "bits", "zeros"),
    [(1, 1, 2, 0), (1, 6, 9, 0), (9, 1, 6, 0.3), (12, 10, 6, 0.4), (24, 16, 12, 0), (5, 4, 3, 1)],
)
def test_adders_compute_products_with_a_matrix(
    inputs: int, outputs: int, bits: int, zeros: float
) -> None:
    weights = sparse(inputs, outputs, bits, zeros)
    for bias in (np.zeros(outputs, np.int64), rng().integers(-9, 9, outputs)):
        graph = adder_graph(weights, bias, -100, 99)
        assert wrong_sums(graph, weights, bias) == 0
        assert len(graph.adders) <= count_terms(weights) + outputs
        rows = x_nodes(graph, rng().integers(-100, 100, (200, inputs)))
        for (low, high), values in zip(graph.bounds, rows, strict=True):
            assert low <= values.min()
            assert values.max() <= high


def x_nodes(graph: AdderGraph, x: Array) -> list[Array]:
    """The values of every node."""
    every = [Output(i, 0) for i in range(len(graph.bounds))]
    whole = dataclasses.replace(graph, outputs=tuple(every))
    return list(whole.forward(x).T)


def test_blocks_of_inputs_are_searched_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large matrix costs time in proportion to its terms, and is as right."""
    monkeypatch.setattr("lutra.hls_templates.adders.MOST_PAIRS", 200)
    weights, bias = sparse(40, 6), rng().integers(-9, 9, 6)
    graph = adder_graph(weights, bias, -100, 99)
    assert wrong_sums(graph, weights, bias) == 0
    assert len(graph.adders) < count_terms(weights)


def test_a_pair_of_terms_is_computed_once_and_the_path_is_as_short_as_without() -> None:
    graph = adder_graph(np.array([[5, 10], [-3, -6]]), np.array([0, 0]), -8, 7)
    assert len(graph.adders) == 3  # 5 x - 3 y, of which the other is the double
    weights = sparse(32, 32, 6, 0.3)
    graph = adder_graph(weights, np.zeros(32, np.int64), -8, 7)
    longest = max(count_terms(weights[:, o]) for o in range(32))
    assert max(graph.levels) == (longest - 1).bit_length()
    assert len(graph.adders) < 0.75 * (count_terms(weights) - 32)


def test_a_wrong_adder_is_a_wrong_sum() -> None:
    """Each adder matters: with any of them changed the sums differ."""
    weights, bias = sparse(6, 5), np.arange(5)
    graph = adder_graph(weights, bias, -100, 99)
    for i, adder in enumerate(graph.adders):
        for changed in (
            adder._replace(left_shift=adder.left_shift + 1),
            adder._replace(negative=not adder.negative),
        ):
            broken = (*graph.adders[:i], changed, *graph.adders[i + 1 :])
            assert wrong_sums(dataclasses.replace(graph, adders=broken), weights, bias)


def test_terms_and_levels_are_known_before_the_adders() -> None:
    for weights in (sparse(20, 7), np.zeros((3, 2), np.int64), np.array([[1]])):
        bias = np.arange(weights.shape[1])
        matrix = ConstantMatrix(weights, bias, -100, 99)
        assert matrix.terms.sum() == count_terms(weights) + np.count_nonzero(bias)
        assert matrix.levels == max(matrix.graph.levels[o.node] for o in matrix.graph.outputs)
