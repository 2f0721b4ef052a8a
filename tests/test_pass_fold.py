"""Passes that make ops a part of the layer before them."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend.graph import Graph
from lutra.frontend.ops import (
    Add,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Lstm,
    Op,
    Relu,
    Reshape,
    Slice,
    Tanh,
    Window,
)
from lutra.frontend.pass_affine import fold_affine
from lutra.frontend.pass_fold import take_last_states

from .onnx_models import data
from .test_passes import build, check, ops

NORMALISED: list[tuple[Op, str]] = [
    (Conv(Window.of((2, 2))), "k b"),
    (Conv(Window.of((2, 2))), "k"),
    (ConvTranspose(Window.of((2, 2), (2, 2))), "k"),
    (Dense(), "w b"),
    (Dense(), "w"),
]


def normalised(op: Op, weights: str, *more: tuple[str, Op, str], output: str = "y") -> Graph:
    sizes = {"k": (2, 2, 3, 5), "w": (3, 5), "b": (5,)}
    constants = {name: data(size, i) for i, (name, size) in enumerate(sizes.items())}
    used = {name: constants[name] for name in weights.split()}
    norm = {name: np.abs(data((5,), i)) + 0.1 for i, name in enumerate("gtmv", 10)}
    layer: list[tuple[str, Op, str]] = [("l", op, f"x {weights}")]
    layer += [("n", BatchNorm(0.01), "l g t m v"), ("y", Relu(), "n")]
    return build((4, 4, 3), [*layer, *more], [output], used | norm)


@pytest.mark.parametrize(("op", "weights"), NORMALISED)
def test_a_batch_norm_becomes_part_of_the_layer_before_it(op: Op, weights: str) -> None:
    after = check(fold_affine, normalised(op, weights))
    assert ops(after) == [op, Relu()]
    assert after.nodes[0].output == "n"
    assert len(after.nodes[0].inputs) == 3


def test_a_batch_norm_stays_where_others_read_the_layer() -> None:
    graph = normalised(Dense(), "w b", ("z", Tanh(), "l"), output="z")
    assert check(fold_affine, graph) == graph
    graph = normalised(Dense(), "w b", output="l")
    assert check(fold_affine, graph) == graph
    graph = build((3,), [("y", BatchNorm(), "x v v v v")], ["y"], {"v": np.ones(3, np.float32)})
    assert check(fold_affine, graph) == graph


def test_a_weight_that_two_layers_read_is_folded_for_one() -> None:
    graph = normalised(Dense(), "w b", ("o", Dense(), "x w b"), ("z", Add(), "o y"), output="z")
    after = check(fold_affine, graph)
    np.testing.assert_array_equal(after.constants["w"], graph.constants["w"])
    assert BatchNorm not in map(type, ops(after))


def test_a_batch_norm_without_a_finite_fold_stays() -> None:
    graph = normalised(Dense(), "w b")
    wild = {**graph.constants, "g": np.full(5, 3e38, np.float32)}
    graph = Graph("g", graph.inputs, graph.outputs, graph.nodes, wild)
    assert fold_affine(graph) == graph


def last_state(layer: Lstm, cut: Slice, drop: Op, *more: tuple[str, Op, str]) -> Graph:
    first: list[tuple[str, Op, str]] = [("l", layer, "x w r b"), ("c", cut, "l"), ("d", drop, "c")]
    nodes = [*first, ("y", Relu(), "d"), *more]
    weights = {"w": data((3, 8)), "r": data((2, 8)), "b": data((8,))}
    return build((5, 3), nodes, [nodes[-1][0]], weights)


@pytest.mark.parametrize("drop", [Flatten(), Reshape((2,))])
@pytest.mark.parametrize(("reverse", "at"), [(False, 4), (True, 0)])
def test_the_slice_of_the_last_step_is_the_last_state(reverse: bool, at: int, drop: Op) -> None:
    graph = last_state(Lstm(reverse), Slice(0, at, at + 1), drop)
    after = check(take_last_states, graph)
    assert ops(after) == [Lstm(reverse, last=True), Relu()]


@pytest.mark.parametrize(
    "graph",
    [
        last_state(Lstm(), Slice(0, 3, 4), Flatten()),
        last_state(Lstm(reverse=True), Slice(0, 4, 5), Flatten()),
        last_state(Lstm(), Slice(0, 4, 5), Flatten(), ("z", Tanh(), "l")),
        last_state(Lstm(), Slice(0, 4, 5), Flatten(), ("z", Tanh(), "c")),
        last_state(Lstm(), Slice(0, 4, 5), Tanh()),
    ],
    ids=["other step", "first step", "all read", "slice read", "axis stays"],
)
def test_all_states_stay_where_another_is_read(graph: Graph) -> None:
    assert check(take_last_states, graph) == graph
