"""The folds that a layer is said to have are those that can be planned, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lutra.frontend.ops import Concat, Conv, Dense, MatMul, SumPool, Window
from lutra.hls_templates.folding import Fold, Folding, FoldingError
from lutra.hls_templates.legal import Legal, divisors, layer_folds
from lutra.hls_templates.planner import plan
from lutra.quantize.exact_ops import BelowMax, Rearrange
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format

from .fixed_graphs import Maker, Recurrent

EIGHT = Format(True, 8, 3)


def dense() -> FixedGraph:
    make = Maker((6,), EIGHT)
    return make.graph(make.add(Dense(), "x", make.constant(np.ones((6, 4)))))


def conv() -> FixedGraph:
    make = Maker((6, 5, 4), EIGHT)
    return make.graph(make.add(Conv(Window.of((3, 2))), "x", make.constant(np.ones((3, 2, 4, 6)))))


def grouped() -> FixedGraph:
    make = Maker((5, 6), EIGHT)
    op = Conv(Window.of((3,)), groups=3)
    return make.graph(make.add(op, "x", make.constant(np.ones((3, 2, 6)))))


def product() -> FixedGraph:
    make = Maker((4, 4), EIGHT)
    return make.graph(make.add(MatMul(), "x", "x"))


def loop() -> FixedGraph:
    graph = Recurrent(6).graph("lstm")
    return dataclasses.replace(graph, layers=dict.fromkeys(graph.layers, "lstm"))


def others() -> FixedGraph:
    """A pool, a row's maximum, a rearrangement and a join."""
    make = Maker((4, 4, 6), EIGHT)
    pooled = make.add(SumPool(Window.of((2, 2), (2, 2))), "x")
    turned = make.add(Rearrange.transpose((2, 2, 6), (1, 0, 2)), make.cast(pooled, EIGHT))
    below = make.add(BelowMax(), make.cast(turned, EIGHT))
    return make.graph(make.add(Concat(2), make.cast(below, EIGHT), make.cast(below, EIGHT)))


def planned(graph: FixedGraph, layer: str, fold: Fold) -> bool:
    try:
        plan(graph, Folding({layer: fold}))
    except FoldingError:
        return False
    return True


@pytest.mark.parametrize("make", [dense, conv, grouped, product, loop, others])
def test_what_is_listed_can_be_planned_and_nothing_else(make: Callable[[], FixedGraph]) -> None:
    graph = make()
    for layer, legal in layer_folds(graph).items():
        assert legal.pairs()
        for pe in range(1, 9):
            for simd in range(1, 30):
                ask = planned(graph, layer, Fold(pe, simd))
                assert ask == legal.allows(pe, simd) or not (legal.pes and legal.simds)
        for pe, simd in legal.pairs():
            assert planned(graph, layer, Fold(pe, simd))


def test_a_layer_of_several_processes_has_the_folds_that_all_of_them_have() -> None:
    (legal,) = layer_folds(loop()).values()
    assert legal == Legal((1, 2, 4), (1, 2, 4))


@pytest.mark.parametrize(
    ("make", "fold", "problem"),
    [
        (dense, Fold(1, 1, "packed"), "found pe 1, 1 outputs of an input at a time"),
        (grouped, Fold(6, 2, "packed"), None),
        (grouped, Fold(1, 1, "packed"), "Choose an even pe"),
        (product, Fold(2, 1, "packed"), None),
        (product, Fold(2, 1, memory="bram"), "no weights to hold .found memory bram"),
        (loop, Fold(2, 1, "packed", "lutram"), None),
        (others, Fold(2, 1, "dsp"), "no sums of products .found multiply dsp"),
    ],
)
def test_a_choice_that_a_layer_does_not_have_is_refused(
    make: Callable[[], FixedGraph], fold: Fold, problem: str | None
) -> None:
    graph = make()
    layer = next(iter(layer_folds(graph)))
    if problem is None:
        assert plan(graph, Folding({layer: fold})).processes
        return
    with pytest.raises(FoldingError, match=f"'{layer}'.*{problem}"):
        plan(graph, Folding({layer: fold}))


def test_wide_factors_are_not_packed() -> None:
    make = Maker((6,), Format(True, 9, 3))
    graph = make.graph(make.add(Dense(), "x", make.constant(np.ones((6, 4)))))
    with pytest.raises(FoldingError, match=r"packed .found fixed<9,3> times .*8 bits each"):
        plan(graph, Folding({"v0": Fold(2, 1, "packed")}))


def test_divisors_ascend() -> None:
    assert [divisors(n) for n in (1, 7, 12, 16)] == [
        (1,),
        (1, 7),
        (1, 2, 3, 4, 6, 12),
        (1, 2, 4, 8, 16),
    ]
