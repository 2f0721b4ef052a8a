"""Passes: each keeps what the graph computes, and does what it is there for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.frontend.graph import Graph, Node, Port, evaluate
from lutra.frontend.ops import (
    Add,
    Array,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    MatMul,
    MaxPool,
    Mul,
    Op,
    Pad,
    Relu,
    Shape,
    Sigmoid,
    Slice,
    Softmax,
    Sub,
    Tanh,
    Transpose,
    Upsample,
    Window,
)
from lutra.frontend.pass_sink import sink_transposes
from lutra.frontend.passes import (
    PASSES,
    Pass,
    absorb_inputs,
    absorb_outputs,
    drop_unused,
    fold_flatten,
    simplify,
)

from .onnx_models import chain, data

FIRST, LAST = Transpose((2, 0, 1)), Transpose((1, 2, 0))
"""To channels first, and back to channels last."""


def build(
    shape: Shape,
    nodes: Sequence[tuple[str, Op, str]],
    outputs: Sequence[str],
    constants: dict[str, Array] | None = None,
    axes: Shape | None = None,
) -> Graph:
    """A graph from triples of output, op and space-separated inputs."""
    made = tuple(Node(f"n_{out}", op, tuple(ins.split()), out) for out, op, ins in nodes)
    shapes = {"x": shape} | {name: value.shape for name, value in (constants or {}).items()}
    for node in made:
        shapes[node.output] = node.op.infer(*(shapes[name] for name in node.inputs))
    ports = tuple(Port.of(name, shapes[name]) for name in outputs)
    port = Port("x", shape, axes or tuple(range(len(shape))))
    return Graph("g", (port,), ports, made, constants or {})


def check(step: Pass, graph: Graph) -> Graph:
    """Apply a pass; the ports' names and the result stay (rows of a sum may change places)."""
    after = step(graph)
    feeds = {port.name: data((2, *port.outer_shape)) for port in graph.inputs}
    before = evaluate(graph, feeds)
    result = evaluate(after, feeds)
    assert [port.name for port in after.outputs] == [port.name for port in graph.outputs]
    for name, value in before.items():
        np.testing.assert_allclose(result[name], value, rtol=1e-4, atol=1e-5)
    return after


def ops(graph: Graph) -> list[Op]:
    return [node.op for node in graph.nodes]


def test_unused_nodes_and_constants_go() -> None:
    graph = build(
        (3,),
        [("a", Relu(), "x"), ("b", Dense(), "x w"), ("c", Tanh(), "b"), ("y", Tanh(), "a")],
        ["y"],
        {"w": data((3, 2)), "v": data((1,))},
    )
    after = check(drop_unused, graph)
    assert [node.output for node in after.nodes] == ["a", "y"]
    assert not after.constants


def test_transposes_cancel_across_elementwise_ops() -> None:
    graph = build(
        (4, 3, 2),
        [
            ("a", FIRST, "x"),
            ("b", Relu(), "a"),
            ("c", Tanh(), "b"),
            ("d", LAST, "c"),
            ("y", MaxPool(Window.of((2, 2))), "d"),
        ],
        ["y"],
    )
    assert ops(check(sink_transposes, graph)) == [Relu(), Tanh(), MaxPool(Window.of((2, 2)))]


def test_transposes_in_a_row_become_one() -> None:
    graph = build((4, 3, 2), [("a", FIRST, "x"), ("b", FIRST, "a"), ("y", Softmax(), "b")], ["y"])
    assert ops(check(sink_transposes, graph)) == [Transpose((1, 2, 0)), Softmax()]


def test_a_transpose_passes_ops_on_an_axis_that_stays_last() -> None:
    swap = Transpose((1, 0, 2))
    graph = build(
        (4, 3, 2),
        [("a", swap, "x"), ("b", Softmax(), "a"), ("c", Dense(), "b w"), ("y", swap, "c")],
        ["y"],
        {"w": data((2, 5))},
    )
    assert ops(check(sink_transposes, graph)) == [Softmax(), Dense()]


@pytest.mark.parametrize("op", [Softmax(), Dense(), MaxPool(Window.of((1, 1)))])
def test_a_transpose_does_not_pass_an_op_that_it_changes(op: Op) -> None:
    graph = build(
        (4, 3, 2),
        [("a", FIRST, "x"), ("b", op, "a w" if op == Dense() else "a"), ("y", LAST, "b")],
        ["y"],
        {"w": data((3, 3))},
    )
    assert ops(check(sink_transposes, graph)) == [FIRST, op, LAST]


def test_a_flatten_reads_past_a_transpose_that_moves_only_single_positions() -> None:
    graph = build(
        (4, 3, 2),
        [
            ("a", GlobalAveragePool(), "x"),
            ("b", FIRST, "a"),
            ("c", Relu(), "b"),
            ("y", Flatten(), "c"),
        ],
        ["y"],
    )
    assert ops(check(sink_transposes, graph)) == [GlobalAveragePool(), Relu(), Flatten()]


def test_a_fork_keeps_one_transpose_for_all_that_need_it() -> None:
    graph = build(
        (4, 3, 2),
        [
            ("a", FIRST, "x"),
            ("b", Softmax(), "a"),
            ("c", Flatten(), "a"),
            ("d", Relu(), "a"),
            ("e", LAST, "d"),
        ],
        ["b", "c", "e"],
    )
    after = check(sink_transposes, graph)
    assert ops(after) == [FIRST, Softmax(), Flatten(), Relu()]


def test_outputs_keep_their_names_where_transposes_cancel_or_pass() -> None:
    graph = build(
        (4, 3, 2),
        [
            ("a", Tanh(), "x"),
            ("b", FIRST, "a"),
            ("y", LAST, "b"),
            ("z", Relu(), "b"),
            ("y2", LAST, "z"),
            ("y3", LAST, "b"),
        ],
        ["y", "z", "y2", "y3"],
    )
    after = check(sink_transposes, graph)
    assert ops(after).count(FIRST) == 1
    assert after.nodes[0].output == "y"


def test_a_network_of_transposes_alone_stays_a_network() -> None:
    for order in (FIRST, Transpose((0, 1, 2))):
        graph = build((4, 3, 2), [("y", order, "x")], ["y"])
        assert ops(check(simplify, graph)) == [order]
    graph = build((4, 3, 2), [("a", FIRST, "x"), ("y", LAST, "a")], ["y"])
    assert ops(check(simplify, graph)) == [Transpose((0, 1, 2))]


def flat(**extra: tuple[str, Op, str]) -> Graph:
    return build(
        (4, 3, 2),
        [
            ("t", FIRST, "x"),
            ("f", Flatten(), "t"),
            ("r", Relu(), "f"),
            ("s", Tanh(), "f"),
            ("y", Dense(), "r w b"),
            ("z", Dense(), "s w"),
            ("u", Dense(), "s v"),
            *extra.values(),
        ],
        ["y", "z", "u"],
        {"w": data((24, 5)), "b": data((5,)), "v": data((24, 2), 3)},
    )


def test_dense_rows_take_the_order_of_the_flatten() -> None:
    graph = flat()
    after = drop_unused(check(fold_flatten, graph))
    assert Transpose not in map(type, ops(after))
    assert set(after.constants) == {"w_reordered", "b", "v"}
    np.testing.assert_array_equal(
        after.constants["v"].reshape(4, 3, 2, 2),
        graph.constants["v"].reshape(2, 4, 3, 2).transpose(1, 2, 0, 3),
    )


@pytest.mark.parametrize(
    "extra", [("p", Softmax(), "s"), ("p", Flatten(), "r")], ids=["softmax", "flatten"]
)
def test_dense_rows_stay_where_others_read_the_flat_value(extra: tuple[str, Op, str]) -> None:
    graph = flat(p=extra)
    assert check(fold_flatten, graph) == graph
    graph = build((4, 2), [("t", Transpose((1, 0)), "x"), ("f", Flatten(), "t")], ["f"])
    assert check(fold_flatten, graph) == graph


def test_an_output_takes_its_layout_from_the_transpose() -> None:
    graph = build((4, 3, 2), [("a", Relu(), "x"), ("y", FIRST, "a")], ["y"])
    after = check(absorb_outputs, graph)
    assert ops(after) == [Relu()]
    assert after.outputs == (Port("y", (4, 3, 2), (1, 2, 0)),)


def test_only_one_of_two_layouts_of_a_value_can_be_the_port_s() -> None:
    swap = Transpose((1, 0, 2))
    graph = build((4, 3, 2), [("a", Relu(), "x"), ("y", FIRST, "a"), ("z", swap, "a")], ["y", "z"])
    assert ops(check(absorb_outputs, graph)) == [Relu(), swap]
    graph = build((4, 3, 2), [("a", Relu(), "x"), ("y", FIRST, "a")], ["a", "y"])
    assert check(absorb_outputs, graph) == graph
    graph = build(
        (4, 3, 2), [("a", Relu(), "x"), ("y", FIRST, "a"), ("z", Relu(), "y")], ["y", "z"]
    )
    assert check(absorb_outputs, graph) == graph


def test_an_input_takes_its_layout_from_its_transposes() -> None:
    pool, wide = MaxPool(Window.of((2, 2))), MaxPool(Window.of((1, 2)))
    graph = build(
        (2, 4, 3),
        [
            ("r", Sigmoid(), "x"),
            ("a", LAST, "x"),
            ("b", LAST, "r"),
            ("y", pool, "a"),
            ("z", wide, "b"),
            ("b2", LAST, "r"),
            ("u", pool, "b2"),
        ],
        ["y", "z", "u"],
    )
    after = check(absorb_inputs, graph)
    assert ops(after) == [Sigmoid(), pool, wide, pool]
    assert after.inputs == (Port("x", (4, 3, 2), (1, 2, 0)),)


@pytest.mark.parametrize("other", [FIRST, Softmax(), Transpose((1, 0, 2))])
def test_an_input_stays_where_its_readers_disagree(other: Op) -> None:
    graph = build(
        (2, 4, 3), [("a", LAST, "x"), ("y", Softmax(), "a"), ("z", other, "x")], ["y", "z"]
    )
    assert check(absorb_inputs, graph) == graph


def test_a_chain_of_convolutions_loses_every_transpose() -> None:
    def wrap(name: str, op: Op, source: str, weights: str = "") -> list[tuple[str, Op, str]]:
        return [
            (f"{name}_in", LAST, source),
            (f"{name}_op", op, f"{name}_in {weights}"),
            (name, FIRST, f"{name}_op"),
        ]

    conv, pool = Conv(Window.of((3, 3))), MaxPool(Window.of((2, 2), (2, 2)))
    graph = build(
        (2, 8, 8),
        [
            *wrap("c", conv, "x", "k b"),
            ("r", Relu(), "c"),
            *wrap("p", pool, "r"),
            *wrap("c2", conv, "p", "k2"),
            ("f", Flatten(), "c2"),
            ("t", Tanh(), "f"),
            ("d", Dense(), "t w"),
            ("y", Softmax(), "d"),
        ],
        ["y"],
        {"k": data((3, 3, 2, 4)), "b": data((4,)), "k2": data((3, 3, 4, 3)), "w": data((3, 5))},
    )
    after = check(simplify, graph)
    assert ops(after) == [conv, Relu(), pool, conv, Flatten(), Tanh(), Dense(), Softmax()]
    assert after.inputs[0].axes == (1, 2, 0)


def test_a_graph_without_transposes_stays_as_it_is() -> None:
    graph = chain((4, 4, 2), [(Conv(Window.of((3, 3))), ((3, 3, 2, 4),)), (Relu(), ())])
    for step in PASSES:
        assert step(graph) == graph


def test_operands_sink_together_with_their_constants() -> None:
    graph = build(
        (2, 4, 3),
        [
            ("a", LAST, "x"),
            ("c1", Conv(Window.of((1, 1))), "a k"),
            ("t1", FIRST, "c1"),
            ("c2", Conv(Window.of((1, 1))), "a k"),
            ("t2", FIRST, "c2"),
            ("s", Add(), "t1 t2"),
            ("m", Mul(), "g s"),
            ("j", Concat(1), "m s"),
            ("l", Slice(2, 0, 2), "j"),
            ("p", Pad((0, 1, 0), (1, 0, 2), 0.5), "l"),
            ("u", Upsample((1, 2)), "p"),
            ("e", LAST, "u"),
            ("z", BatchNorm(), "e v v v v"),
            ("y", GlobalAveragePool(), "z"),
        ],
        ["y"],
        {"k": data((1, 1, 2, 2)), "g": data((2, 1, 3)), "v": np.ones(3, np.float32)},
    )
    after = check(sink_transposes, graph)
    conv = Conv(Window.of((1, 1)))
    sunk: list[Op] = [LAST, conv, conv, Add(), Mul(), Concat(0), Slice(1, 0, 2)]
    assert ops(after)[:8] == [*sunk, Pad((1, 0, 0), (0, 2, 1), 0.5)]
    assert after.constants["g"].shape == (3, 2)


def test_an_operand_without_transpose_is_read_through_one_that_is_there() -> None:
    """A shortcut from the network's input, which a convolution reads transposed anyway."""
    conv = Conv(Window.of((1, 1)))
    nodes: list[tuple[str, Op, str]] = [
        ("a", LAST, "x"),
        ("c", conv, "a k"),
        ("t", FIRST, "c"),
        ("s", Add(), "x t"),
        ("e", LAST, "s"),
        ("y", GlobalAveragePool(), "e"),
    ]
    weights = {"k": data((1, 1, 2, 2))}
    graph = build((2, 4, 3), nodes, ["y"], weights)
    assert ops(check(simplify, graph)) == [conv, Add(), GlobalAveragePool()]
    other = build((2, 4, 3), [*nodes, ("q", Softmax(), "x")], ["y", "q"], weights)
    assert ops(check(simplify, other)).count(FIRST) == 0


def test_a_constant_that_others_read_too_stays_for_them() -> None:
    graph = build(
        (2, 2, 2),
        [("a", LAST, "x"), ("b", Sub(), "c a"), ("d", FIRST, "x"), ("e", Mul(), "d c")],
        ["b", "e"],
        {"c": data((2, 2, 1))},
    )
    check(sink_transposes, graph)
    check(simplify, graph)


def test_an_input_takes_its_layout_through_constants() -> None:
    graph = build(
        (2, 4, 3),
        [("m", Mul(), "x g"), ("s", Sub(), "o m"), ("a", LAST, "s"), ("y", Softmax(), "a")],
        ["y"],
        {"g": data((2, 1, 1)), "o": data((3,))},
    )
    after = check(absorb_inputs, graph)
    assert ops(after) == [Mul(), Sub(), Softmax()]
    assert {name: value.shape for name, value in after.constants.items()} == {
        "g": (2,),
        "o": (3, 1),
    }


def test_an_input_stays_where_it_is_an_operand_of_another_value() -> None:
    graph = build(
        (2, 3), [("r", Relu(), "x"), ("s", Add(), "r x"), ("y", Transpose((1, 0)), "s")], ["y"]
    )
    assert check(absorb_inputs, graph) == graph


def test_a_product_swaps_its_operand_itself() -> None:
    swap = Transpose((0, 2, 1))
    for transposed in (False, True):
        graph = build(
            (2, 3, 3),
            [("t", swap, "x"), ("y", MatMul(transposed), "x t"), ("z", MatMul(), "t x")],
            ["y", "z"],
        )
        assert ops(check(sink_transposes, graph)) == [MatMul(not transposed), swap, MatMul()]


@st.composite
def tangles(draw: st.DrawFn) -> Graph:
    """Random graphs, full of Transposes, with forks and several outputs."""
    shape = draw(st.permutations([1, 2, 3]).map(tuple) | st.just((2, 2, 3)))
    shapes: dict[str, Shape] = {"x": shape}
    constants: dict[str, Array] = {}
    nodes: list[tuple[str, Op, str]] = []
    for i in range(draw(st.integers(1, 12))):
        source = draw(st.sampled_from(sorted(shapes)))
        rank = len(shapes[source])
        order = draw(st.permutations(range(rank)).map(lambda axes: Transpose(tuple(axes))))
        kinds: list[Op] = [order, order, Relu(), Tanh(), Softmax(), Dense(), Flatten()]
        kinds += [Add(), Mul(), Concat(rank - 1), Slice(0, 0, 1), Pad((1,) * rank, (0,) * rank)]
        op = draw(st.sampled_from(kinds + [MaxPool(Window.of((1, 1)))] * (rank == 3)))
        reads = source
        if isinstance(op, Add | Mul | Concat):
            alike = [name for name, shape in shapes.items() if shape == shapes[source]]
            reads = " ".join(draw(st.permutations([source, draw(st.sampled_from(sorted(alike)))])))
            if draw(st.booleans()) and not isinstance(op, Concat):
                constants.setdefault(f"c{shapes[source]}".replace(" ", ""), data(shapes[source], i))
                reads = f"{source} " + f"c{shapes[source]}".replace(" ", "")
        if isinstance(op, Dense):
            weight = f"w{shapes[source][-1]}_{draw(st.integers(0, 1))}"
            constants.setdefault(weight, data((shapes[source][-1], 2), i))
            reads = f"{source} {weight}"
        known = shapes | {name: value.shape for name, value in constants.items()}
        shapes[f"v{i}"] = op.infer(*(known[name] for name in reads.split()))
        nodes.append((f"v{i}", op, reads))
    inner = sorted(shapes.keys() - {"x"})
    outputs = draw(st.lists(st.sampled_from(inner), min_size=1, max_size=3, unique=True))
    return build(shape, nodes, outputs, constants, draw(st.permutations(range(3)).map(tuple)))


@settings(max_examples=300, deadline=None)
@given(tangles())
def test_every_pass_keeps_the_result_of_any_graph(graph: Graph) -> None:
    for step in (*PASSES, simplify):
        check(step, graph)
    transposes = sum(isinstance(op, Transpose) for op in ops(graph))
    left = sum(isinstance(op, Transpose) for op in ops(simplify(graph)))
    assert left <= transposes + len(graph.outputs)
