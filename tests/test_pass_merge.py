"""Passes that drop nodes which change nothing, and make one node of several in a row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lutra.frontend.graph import Graph, Grid, evaluate
from lutra.frontend.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Clip,
    Conv,
    Dense,
    Div,
    Flatten,
    LayerNorm,
    MaxPool,
    Mul,
    Neg,
    Op,
    Pad,
    Relu,
    Reshape,
    RmsNorm,
    Slice,
    Softmax,
    Sub,
    Tanh,
    Transpose,
    Upsample,
    Window,
)
from lutra.frontend.pass_affine import fold_affine, merge_affine
from lutra.frontend.pass_merge import drop_identities, fold_constants, merge_moves, merge_pads
from lutra.frontend.passes import PASSES, drop_unused, simplify

from .networks import random_network
from .onnx_models import data
from .test_passes import build, check, ops

NUMBERS = {
    "zero": np.zeros(1, np.float32),
    "one": np.ones((1, 2), np.float32),
    "two": np.array(2, np.float32),
    "three": np.array([3], np.float32),
    "row": data((2,), 5),
    "all": data((4, 3, 2), 6),
    "col": data((3, 1), 7),
    "n": data((2,), 8),
    "v": np.abs(data((2,), 9)) + 0.5,
}


def used(*nodes: tuple[str, Op, str], outputs: str = "y") -> Graph:
    """A graph of an image of (4, 3, 2) with those of the constants above that it reads."""
    read = {name for _, _, inputs in nodes for name in inputs.split()}
    constants = {name: value for name, value in NUMBERS.items() if name in read}
    return build((4, 3, 2), nodes, outputs.split(), constants)


IDENTITIES: list[tuple[Op, str]] = [
    (Add(), "zero a"),
    (Sub(), "a zero"),
    (Mul(), "one a"),
    (Div(), "a one"),
    (Transpose((0, 1, 2)), "a"),
    (Reshape((4, 3, 2)), "a"),
    (Slice(1, 0, 3), "a"),
    (Pad((0, 0, 0), (0, 0, 0), 7.0), "a"),
    (Upsample((1, 1)), "a"),
    (Clip(-math.inf, math.inf), "a"),
    (MaxPool(Window.of((1, 1))), "a"),
    (AveragePool(Window.of((1, 1))), "a"),
]


@pytest.mark.parametrize(("op", "inputs"), IDENTITIES)
def test_what_changes_nothing_goes(op: Op, inputs: str) -> None:
    inner = used(("a", Relu(), "x"), ("b", op, inputs), ("y", Softmax(), "b"))
    assert ops(check(drop_identities, inner)) == [Relu(), Softmax()]
    last = used(("a", Relu(), "x"), ("z", Tanh(), "a"), ("y", op, inputs), outputs="y z")
    assert ops(check(drop_identities, last)) == [Relu(), Tanh()]


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        (Sub(), "zero a"),
        (Div(), "one a"),
        (Add(), "one a"),
        (Mul(), "row a"),
        (Slice(1, 2, -1, -1), "a"),
        (MaxPool(Window.of((1, 1), (1, 2))), "a"),
        (Reshape((3, 4, 2)), "a"),
    ],
)
def test_what_changes_something_stays(op: Op, inputs: str) -> None:
    graph = used(("a", Relu(), "x"), ("b", op, inputs), ("y", Tanh(), "b"))
    assert check(drop_identities, graph) == graph


def test_an_input_and_an_output_that_others_have_too_stay() -> None:
    graph = used(("y", Add(), "x zero"))
    assert check(drop_identities, graph) == graph
    graph = used(("a", Relu(), "x"), ("y", Add(), "a zero"), outputs="a y")
    assert check(drop_identities, graph) == graph


def test_nodes_of_constants_are_computed() -> None:
    graph = used(("a", Neg(), "all"), ("b", Add(), "a two"), ("y", Mul(), "x b"))
    after = drop_unused(check(fold_constants, graph))
    assert ops(after) == [Mul()]
    np.testing.assert_array_equal(after.constants["b"], 2 - NUMBERS["all"])


AFFINE: list[tuple[list[tuple[Op, str]], list[Op]]] = [
    ([(Add(), "row"), (Add(), "two")], [Add()]),
    ([(Mul(), "row"), (Div(), "two")], [Mul()]),
    ([(Sub(), "row"), (Div(), "v"), (Add(), "col")], [Mul(), Add()]),
    ([(Mul(), "row"), (Add(), "all"), (Neg(), "")], [Mul(), Add()]),
    ([(Sub(), "row"), (Mul(), "two")], [Sub(), Mul()]),
    ([(Mul(), "row"), (Relu(), ""), (Mul(), "two")], [Mul(), Relu(), Mul()]),
]


@pytest.mark.parametrize(("steps", "expected"), AFFINE)
def test_factors_and_addends_in_a_row_are_one_of_each(
    steps: list[tuple[Op, str]], expected: list[Op]
) -> None:
    nodes = [(f"v{i + 1}", op, f"v{i} {name}") for i, (op, name) in enumerate(steps)]
    graph = used(("v0", Tanh(), "x"), *nodes, ("y", Tanh(), f"v{len(steps)}"))
    assert ops(check(merge_affine, graph))[1:-1] == expected


def test_a_factor_that_others_see_stays() -> None:
    graph = used(("a", Mul(), "x row"), ("y", Mul(), "a two"), outputs="a y")
    assert check(merge_affine, graph) == graph


def test_constants_on_a_grid_stay() -> None:
    graph = used(("a", Mul(), "x three"), ("b", Mul(), "a three"), ("y", Tanh(), "b"))
    grids = {"three": Grid(0, 3, np.ones(1, np.float32))}
    quantised = Graph("g", graph.inputs, graph.outputs, graph.nodes, graph.constants, grids)
    assert simplify(quantised).nodes == graph.nodes


LAYERS: list[tuple[Op, str]] = [(Dense(), "w b"), (Dense(), "w"), (LayerNorm(), "n n")]
LAYERS += [(BatchNorm(), "n n n v"), (Conv(Window.of((2, 2))), "k")]


@pytest.mark.parametrize(("op", "weights"), LAYERS)
def test_a_layer_takes_what_follows_it(op: Op, weights: str) -> None:
    constants = NUMBERS | {"w": data((2, 2)), "b": data((2,)), "k": data((2, 2, 2, 2))}
    nodes: list[tuple[str, Op, str]] = [
        ("l", op, f"x {weights}"),
        ("m", Mul(), "row l"),
        ("s", Sub(), "two m"),
        ("d", Div(), "s v"),
        ("y", Tanh(), "d"),
    ]
    graph = build((4, 3, 2), nodes, ["y"], constants)
    assert ops(check(fold_affine, graph)) == [op, Tanh()]


def test_an_rms_norm_takes_a_factor_and_no_addend() -> None:
    graph = used(("l", RmsNorm(), "x n"), ("m", Mul(), "l row"), ("y", Add(), "m two"))
    assert ops(check(fold_affine, graph)) == [RmsNorm(), Add()]


@pytest.mark.parametrize("step", [(Mul(), "l col"), (Add(), "l all"), (Div(), "two l")])
def test_what_differs_within_a_channel_stays(step: tuple[Op, str]) -> None:
    op, inputs = step
    graph = used(("l", LayerNorm(), "x n n"), ("y", op, inputs))
    assert check(fold_affine, graph) == graph


PLAIN, WIDE = Window.of((2, 2)), Window((2, 2), (1, 1), ((1, 0), (2, 1)))


@pytest.mark.parametrize(
    ("value", "op", "expected"),
    [
        (0.0, Conv(PLAIN), Conv(WIDE)),
        (0.5, Conv(PLAIN), None),
        (0.0, AveragePool(PLAIN), AveragePool(WIDE, WIDE.pad)),
        (1.0, AveragePool(PLAIN), None),
        (0.0, MaxPool(Window.of((3, 3))), MaxPool(Window((3, 3), (1, 1), WIDE.pad))),
        (-1.0, MaxPool(Window.of((3, 3))), MaxPool(Window((3, 3), (1, 1), WIDE.pad))),
        (0.5, MaxPool(Window.of((3, 3))), None),
        (0.0, MaxPool(PLAIN), None),
        (0.5, Pad((1, 0, 1), (0, 0, 0), 0.5), Pad((2, 2, 1), (0, 1, 0), 0.5)),
        (0.5, Pad((1, 0, 1), (0, 0, 0), 0.0), None),
        (0.0, Relu(), None),
    ],
)
def test_what_follows_a_pad_pads(value: float, op: Op, expected: Op | None) -> None:
    """A window of (2, 2) that lies in the padding alone has no maximum."""
    reads = "p k" if isinstance(op, Conv) else "p"
    pad = Pad((1, 2, 0), (0, 1, 0), value)
    nodes: list[tuple[str, Op, str]] = [("r", Relu(), "x"), ("p", pad, "r"), ("y", op, reads)]
    graph = build((4, 3, 2), nodes, ["y"], {"k": data((2, 2, 2, 3))} if "k" in reads else {})
    after = drop_unused(check(merge_pads, graph))
    assert ops(after)[1:] == ([pad, op] if expected is None else [expected])


def test_a_maximum_leaves_out_what_no_value_is_below_alone() -> None:
    pool = MaxPool(Window.of((3, 3)))
    for value, merged in ((0.0, False), (-math.inf, True)):
        graph = used(("p", Pad((1, 1, 0), (0, 0, 0), value), "x"), ("y", pool, "p"))
        assert (len(drop_unused(check(merge_pads, graph)).nodes) == 1) == merged


def test_a_pad_of_channels_stays() -> None:
    pad = Pad((0, 0, 1), (0, 0, 0))
    graph = used(("p", pad, "x"), ("y", MaxPool(Window.of((1, 2))), "p"))
    assert check(merge_pads, graph) == graph


def test_reshapes_in_a_row_are_the_last() -> None:
    graph = used(("a", Flatten(), "x"), ("b", Reshape((6, 4)), "a"), ("y", Reshape((8, 3)), "b"))
    assert ops(drop_unused(check(merge_moves, graph))) == [Reshape((8, 3))]
    graph = used(("a", Flatten(), "x"), ("b", Reshape((4, 3, 2)), "a"), ("y", Tanh(), "b"))
    assert ops(simplify(check(merge_moves, graph))) == [Tanh()]


@pytest.mark.parametrize("first", [Slice(0, 1, 9), Slice(0, 8, -1, -1), Slice(0, 9, 1, -2)])
@pytest.mark.parametrize("second", [Slice(0, 1, 4), Slice(0, 3, -1, -1), Slice(0, 0, 4, 2)])
def test_slices_of_one_axis_are_one(first: Slice, second: Slice) -> None:
    graph = build((10, 2), [("a", first, "x"), ("y", second, "a")], ["y"])
    assert len(drop_unused(check(merge_moves, graph)).nodes) == 1
    graph = build((10, 10), [("a", first, "x"), ("y", Slice(1, 1, 2), "a")], ["y"])
    assert check(merge_moves, graph) == graph


@pytest.mark.parametrize("seed", range(150))
def test_every_pass_keeps_what_a_random_network_computes(seed: int) -> None:
    """As closely as float32 adds and multiplies in another order, beside the largest value."""
    network = random_network(seed)
    graph = network.graph
    for step in (*PASSES, simplify):
        before, after = (evaluate(g, {"x": network.x}) for g in (graph, step(graph)))
        for name, expected in before.items():
            close = 1e-4 * max(1e-3, float(np.abs(expected).max()))
            np.testing.assert_allclose(
                after[name], expected, rtol=1e-3, atol=close, err_msg=str(step)
            )
