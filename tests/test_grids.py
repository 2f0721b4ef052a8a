"""The grids of quantised constants: when there is one, and that passes carry it along."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.frontend.errors import ModelError
from lutra.frontend.graph import Graph, Grid, Node, Port, evaluate
from lutra.frontend.ops import (
    Add,
    Array,
    BatchNorm,
    Bipolar,
    Dense,
    Flatten,
    Op,
    Quantize,
    Transpose,
)
from lutra.frontend.passes import fold_flatten, simplify


def scales(*values: float) -> Array:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (np.full((3, 2), 0.5), [0.5]),
        (np.full((3, 2), (0.5, 0.25)), [0.5, 0.25]),
        (np.full((3, 2), ((0.5,), (0.25,), (0.5,))), None),
        (np.full((3, 2), 0.0), None),
        (np.full((3, 2), (0.5, -0.5)), None),
        (np.full((3, 2), np.nan), None),
    ],
)
def test_a_grid_has_one_scale_or_one_for_each_channel(scale: Array, expected: Array | None) -> None:
    q = np.arange(6).reshape(3, 2)
    grid = Grid.fitted(0, 5, scale, (q * scale).astype(np.float32))
    assert (grid and grid.scale.tolist()) == expected


def test_negative_scales_turn_the_integers_round() -> None:
    q = np.array([-8, 3])
    grid = Grid.fitted(-8, 7, np.full(2, -0.5), (q * -0.5).astype(np.float32))
    assert grid is not None
    assert (grid.low, grid.high, grid.scale.tolist()) == (-7, 8, [0.5])


def test_values_beside_the_grid_have_none() -> None:
    value = scales(0.5, 0.75)
    assert Grid.fitted(-8, 7, np.full(2, 0.5), value) is None
    assert Grid.fitted(0, 2, np.full(2, 0.25), value) is None
    with pytest.raises(ModelError, match="does not lie on its grid"):
        Graph(
            "off",
            (Port.of("x", (2,)),),
            (Port.of("y", (2,)),),
            (Node("n", Add(), ("x", "w"), "y"),),
            {"w": value},
            {"w": Grid(-8, 7, scales(0.5))},
        )


def image(
    *nodes: Node[Op], shape: tuple[int, ...], axes: tuple[int, ...], **weights: Array
) -> Graph:
    """A graph on a (2, 3, 4) image whose weights lie on a grid of halves."""
    return Graph(
        "image",
        (Port("x", (2, 3, 4), axes),),
        (Port.of("y", shape),),
        nodes,
        weights,
        {name: Grid(-40, 40, scales(0.5)) for name in weights if name.startswith("w")},
    )


def same(before: Graph, after: Graph) -> None:
    x = np.random.default_rng(0).normal(size=(3, *before.inputs[0].outer_shape))
    for name, value in evaluate(before, {"x": x}).items():
        assert np.array_equal(evaluate(after, {"x": x})[name], value)


def test_reordered_rows_keep_their_grid() -> None:
    weight = (np.arange(24 * 2).reshape(24, 2) % 41 * 0.5).astype(np.float32)
    graph = image(
        Node("turn", Transpose((2, 0, 1)), ("x",), "t"),
        Node("flat", Flatten(), ("t",), "f"),
        Node("quant", Quantize(-4, 3), ("f", "s", "z"), "q"),
        Node("dense", Dense(), ("q", "w"), "y"),
        shape=(2,),
        axes=(0, 1, 2),
        w=weight,
        s=scales(0.5),
        z=scales(0),
    )
    folded = fold_flatten(graph)
    assert folded.grids["w"].scale.tolist() == [0.5]
    assert not np.array_equal(folded.constants["w"], weight)
    same(graph, simplify(graph))


def test_a_moved_operand_keeps_its_grid_and_a_batch_norm_takes_it() -> None:
    operand = (np.arange(24).reshape(4, 2, 3) * 0.5).astype(np.float32)
    graph = image(
        Node("turn", Transpose((2, 0, 1)), ("x",), "t"),
        Node("add", Add(), ("t", "w"), "a"),
        Node("bipolar", Bipolar(), ("a", "s"), "b"),
        Node("back", Transpose((1, 2, 0)), ("b",), "y"),
        shape=(2, 3, 4),
        axes=(0, 1, 2),
        w=operand,
        s=scales(0.25),
    )
    after = simplify(graph)
    assert [type(node.op) for node in after.nodes] == [Add, Bipolar]
    assert after.grids["w"].high == 40
    same(graph, after)


def test_a_bias_that_takes_a_batch_norm_in_leaves_its_grid() -> None:
    graph = Graph(
        "norm",
        (Port.of("x", (2,)),),
        (Port.of("y", (2,)),),
        (
            Node("dense", Dense(), ("x", "w", "b"), "d"),
            Node("norm", BatchNorm(), ("d", "g", "o", "m", "v"), "y"),
        ),
        {
            "w": np.eye(2, dtype=np.float32),
            "b": scales(1, 2),
            "g": scales(0.3, 0.4),
            "o": scales(0.1, 0.2),
            "m": scales(0, 1),
            "v": scales(1, 2),
        },
        {"b": Grid(0, 3, scales(1))},
    )
    after = simplify(graph)
    assert len(after.nodes) == 1
    assert not after.grids


def test_a_constant_that_changed_is_looked_at_again() -> None:
    value = np.ones((2, 2), np.float32)
    ports = ((Port.of("x", (2,)),), (Port.of("y", (2,)),))
    nodes = (Node("n", Dense(), ("x", "w"), "y"),)
    Graph("g", *ports, nodes, {"w": value})
    value[0, 0] = np.nan
    with pytest.raises(ModelError, match="NaN or infinite"):
        Graph("g", *ports, nodes, {"w": value})
    value[0, 0] = 1
    value.flags.writeable = False
    for _ in range(2):
        Graph("g", *ports, nodes, {"w": value})
    with pytest.raises(ModelError, match="NaN or infinite"):
        Graph("g", *ports, nodes, {"w": value * np.float32(np.inf)})
