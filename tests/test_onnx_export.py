"""Export: what we write means in onnxruntime what our graph means, and files are whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lutra.frontend.errors import ModelError, OutputError, ShapeError
from lutra.frontend.graph import Graph, Node, Port, evaluate
from lutra.frontend.onnx import exporter
from lutra.frontend.onnx.exporter import arrangements, save, to_onnx
from lutra.frontend.onnx.layout import Arrangement
from lutra.frontend.onnx.write.insert import insert_after
from lutra.frontend.ops import (
    Add,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Gelu,
    GlobalAveragePool,
    HardSwish,
    LayerNorm,
    MaxPool,
    Mul,
    Op,
    Relu,
    RmsNorm,
    Shape,
    Softmax,
    Transpose,
    Window,
)

from .cases import CASES, ROUNDED, Case
from .onnx_models import chain, data, op_types, run

CNN = chain(
    (8, 6, 2),
    [
        (Conv(Window.of((3, 3))), ((3, 3, 2, 4), (4,))),
        (Relu(), ()),
        (MaxPool(Window.of((2, 2), (2, 2))), ()),
        (Conv(Window.of((2, 2))), ((2, 2, 4, 3), (3,))),
        (Relu(), ()),
        (Flatten(), ()),
        (Dense(), ((6, 5), (5,))),
        (Softmax(), ()),
    ],
)


def assert_same(graph: Graph, model: onnx.ModelProto, batch: int = 3) -> None:
    """Our graph and onnxruntime agree.

    Both add in float32, in orders of their own, so the last bits may differ.
    """
    feeds = {port.name: data((batch, *port.outer_shape)) for port in graph.inputs}
    ours = evaluate(graph, feeds)
    for port, theirs in zip(graph.outputs, run(model, **feeds), strict=True):
        np.testing.assert_allclose(ours[port.name], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [*CASES, *ROUNDED], ids=lambda case: case.name)
def test_every_op_equals_onnxruntime(case: Case) -> None:
    assert_same(case.graph(), to_onnx(case.graph()))


def test_the_batch_is_symbolic() -> None:
    model = to_onnx(CNN)
    for port in (*model.graph.input, *model.graph.output):
        assert port.type.tensor_type.shape.dim[0].dim_param == "batch"
    for batch in (1, 5):
        assert_same(CNN, model, batch)


def test_a_chain_needs_two_transposes() -> None:
    assert op_types(to_onnx(CNN)) == [
        *["Transpose", "Conv", "Relu", "MaxPool", "Conv", "Relu", "Transpose"],
        *["Flatten", "Gemm", "Softmax"],
    ]


def test_a_channels_first_interface_needs_no_transpose_before_the_convolution() -> None:
    graph = chain((8, 6, 2), [(Conv(Window.of((3, 3))), ((3, 3, 2, 4),)), (Relu(), ())], (1, 2, 0))
    (out,) = graph.outputs
    graph = Graph(
        "g",
        graph.inputs,
        (Port(out.name, out.shape, (1, 2, 0)),),
        graph.nodes,
        graph.constants,
    )
    model = to_onnx(graph)
    assert op_types(model) == ["Conv", "Relu"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:] == [2, 8, 6]
    assert_same(graph, model)


def test_no_transpose_before_a_flatten_of_one_position() -> None:
    graph = chain((4, 4, 3), [(GlobalAveragePool(), ()), (Flatten(), ())], (1, 2, 0))
    assert op_types(to_onnx(graph)) == ["GlobalAveragePool", "Flatten"]
    assert_same(graph, to_onnx(graph))


def test_a_fork_shares_one_transpose_and_outputs_may_be_read_inside() -> None:
    kernel = data((1, 1, 2, 2))
    nodes = (
        Node("a", Conv(Window.of((1, 1))), ("x", "w"), "a"),
        Node("b", Relu(), ("x",), "b"),
        Node("c", MaxPool(Window.of((1, 1))), ("x",), "c"),
        Node("d", MaxPool(Window.of((2, 1))), ("a",), "d"),
        Node("e", Softmax(), ("d",), "e"),
    )
    outputs = (
        *(Port.of(name, (4, 3, 2)) for name in "abc"),
        Port("d", (3, 3, 2), (2, 0, 1)),
        Port.of("e", (3, 3, 2)),
    )
    graph = Graph("fork", (Port.of("x", (4, 3, 2)),), outputs, nodes, {"w": kernel})
    model = to_onnx(graph)
    readers_of_x = [n.op_type for n in model.graph.node if "x" in n.input]
    assert sorted(readers_of_x) == ["Relu", "Transpose"]
    assert_same(graph, model)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_any_outer_layout(axes: tuple[int, ...]) -> None:
    ops: list[tuple[Op, tuple[Shape, ...]]] = [
        (Transpose((1, 0, 2)), ()),
        (MaxPool(Window.of((2, 1))), ()),
        (Dense(), ((4, 6), (6,))),
        (Relu(), ()),
        (Transpose((2, 1, 0)), ()),
    ]
    graph = chain((2, 3, 4), ops, axes)
    (out,) = graph.outputs
    graph = Graph("g", graph.inputs, (Port("v4", out.shape, axes),), graph.nodes, graph.constants)
    assert_same(graph, to_onnx(graph))


def test_every_value_and_constant_keeps_its_name() -> None:
    model = to_onnx(CNN)
    defined = {name for n in model.graph.node for name in n.output} | {"x"}
    assert {n.output for n in CNN.nodes} <= defined
    assert {n.name for n in CNN.nodes} <= {n.name for n in model.graph.node}
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert weights.keys() == CNN.constants.keys()
    np.testing.assert_array_equal(weights["w0_0"], CNN.constants["w0_0"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(weights["w6_0"], CNN.constants["w6_0"])


@pytest.mark.parametrize(
    ("op", "weights", "opset"),
    [
        (Relu(), (), 13),
        (HardSwish(), (), 14),
        (LayerNorm(), ((3,), (3,)), 17),
        (AveragePool(Window((2,), (1,), ((0, 0),), (2,))), (), 19),
        (Gelu(), (), 20),
        (RmsNorm(), ((3,),), 23),
    ],
)
def test_the_operator_set_is_the_lowest_that_will_do(
    op: Op, weights: tuple[Shape, ...], opset: int
) -> None:
    graph = chain((4, 3), [(op, weights), (Relu(), ())])
    model = to_onnx(graph)
    assert model.opset_import[0].version == opset
    assert_same(graph, model)


def test_padding_of_an_average_that_counts_in_part() -> None:
    """What ``ceil_mode`` adds is said so; anything else is padded before."""
    ceil = AveragePool(Window((3,), (2,), ((1, 2),)), ((1, 1),))
    odd = AveragePool(Window((4,), (1,), ((2, 2),)), ((1, 0),))
    for op, written in ((ceil, ["AveragePool"]), (odd, ["Pad", "AveragePool"])):
        graph = chain((6, 2), [(op, ())], (1, 0))
        model = to_onnx(graph)
        assert [kind for kind in op_types(model) if kind != "Transpose"] == written
        assert_same(graph, model)


def test_a_constant_that_is_read_in_two_layouts_stands_there_twice() -> None:
    nodes = (
        Node("a", Mul(), ("x", "c"), "a"),
        Node("p", MaxPool(Window.of((1, 1))), ("x",), "p"),
        Node("b", Mul(), ("p", "c"), "b"),
        Node("y", Add(), ("a", "b"), "y"),
    )
    ports = (Port.of("x", (4, 3, 2)),), (Port.of("y", (4, 3, 2)),)
    graph = Graph("g", *ports, nodes, {"c": data((3, 2))})
    model = to_onnx(graph)
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    assert shapes == {"c": (3, 2), "c_rearranged": (2, 1, 3)}
    assert_same(graph, model)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_constant_can_be_read_back_from_the_model(case: Case) -> None:
    graph = case.graph()
    tensors = {t.name: numpy_helper.to_array(t) for t in to_onnx(graph).graph.initializer}
    for name, arrangement in arrangements(graph).items():
        np.testing.assert_array_equal(arrangement.read(tensors[name]), graph.constants[name])


def test_an_arrangement_holds_the_same_values() -> None:
    for broken in (((6,), (2, 3), (1, 0), (7,)), ((6,), (2, 3), (0, 0), (6,))):
        with pytest.raises(ShapeError, match="cannot be arranged so"):
            Arrangement(*broken)
    with pytest.raises(ShapeError, match="wrong shape"):
        Arrangement((6,), (2, 3), (1, 0), (3, 2)).read(np.zeros((2, 3)))


def test_made_up_names_avoid_the_graph_s_own() -> None:
    nodes = (
        Node("p_transpose", Relu(), ("x_transposed",), "p"),
        Node("q", MaxPool(Window.of((1, 1))), ("p",), "p_transposed"),
        Node("r", Relu(), ("p_transposed",), "out"),
    )
    graph = Graph(
        "g", (Port.of("x_transposed", (2, 2, 3)),), (Port.of("out", (2, 2, 3)),), nodes, {}
    )
    model = to_onnx(graph)
    names = [n.name for n in model.graph.node]
    assert len(set(names)) == len(names)
    assert_same(graph, model)


@pytest.mark.parametrize("name", ['"; rm -rf /', "a/b\\c", "int", "a\nb", "x" * 10_000, "Gewässer"])
def test_any_name_is_kept(name: str) -> None:
    graph = Graph(
        name, (Port.of("x", (3,)),), (Port.of(name, (3,)),), (Node(name, Relu(), ("x",), name),), {}
    )
    model = to_onnx(graph)
    assert model.graph.output[0].name == model.graph.node[0].name == model.graph.name == name
    assert_same(graph, model)


def test_a_network_too_large_for_onnx_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "MAX_BYTES", 100)
    with pytest.raises(ModelError, match="too large for an ONNX file"):
        to_onnx(CNN)


def test_weights_must_be_constants_and_data_must_not() -> None:
    port, out = Port.of("x", (3,)), Port.of("y", (3,))
    w = {"w": data((3, 3)), "b": data((3,))}
    for inputs, text in ((("b", "w"), "constant alone"), (("x", "w", "x"), "must be a constant")):
        graph = Graph("g", (port,), (out,), (Node("n", Dense(), inputs, "y"),), w)
        with pytest.raises(ModelError, match=f"node 'n'.*{text}"):
            to_onnx(graph)


def doubled(source: str, result: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Add", [source, source], [result])]


@pytest.mark.parametrize("name", ["x", "v0", "v2", "v4", "v7", "w0_0", "w6_1"])
def test_nodes_inserted_behind_a_value_reach_all_its_readers(name: str) -> None:
    model = to_onnx(CNN)
    changed = insert_after(model, {name: doubled})
    onnx.checker.check_model(changed, full_check=True)
    x = data((2, 8, 6, 2))
    if name in CNN.constants:
        constants = {**CNN.constants, name: 2 * CNN.constants[name]}
        expected = evaluate(Graph("g", CNN.inputs, CNN.outputs, CNN.nodes, constants), {"x": x})[
            "v7"
        ]
    elif name == "x":
        expected = evaluate(CNN, {"x": 2 * x})["v7"]
    elif name == "v7":
        expected = 2 * evaluate(CNN, {"x": x})["v7"]
    else:
        at = int(name[1:])
        head = Graph(
            "head",
            CNN.inputs,
            (Port.of(name, CNN.shapes[name]),),
            CNN.nodes[: at + 1],
            CNN.constants,
        )
        tail = Graph(
            "tail",
            (Port.of(name, CNN.shapes[name]),),
            CNN.outputs,
            CNN.nodes[at + 1 :],
            CNN.constants,
        )
        middle = evaluate(head, {"x": x})[name]
        expected = evaluate(tail, {name: 2 * middle})["v7"]
    np.testing.assert_allclose(run(changed, x=x)[0], expected, rtol=1e-4, atol=1e-5)
    assert [n.op_type for n in model.graph.node].count("Add") == 0


def test_inserting_behind_an_unknown_value_is_refused() -> None:
    with pytest.raises(ModelError, match=r"no such value.*nothing"):
        insert_after(to_onnx(CNN), {"nothing": doubled})


def test_save_writes_what_to_onnx_gives_and_the_same_bytes_twice(tmp_path: Path) -> None:
    save(CNN, tmp_path / "a.onnx")
    save(CNN, str(tmp_path / "b.onnx"))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert onnx.load(tmp_path / "a.onnx") == to_onnx(CNN)
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize(
    ("path", "text"),
    [("missing/m.onnx", "No such file"), (".", "is a folder"), ("file/m.onnx", "Not a dir")],
)
def test_a_place_that_cannot_be_written(tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=text) as caught:
        save(CNN, tmp_path / path)
    assert caught.value.file is not None
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    expected: type[BaseException],
) -> None:
    path = tmp_path / "m.onnx"
    path.write_text("before")

    def fail(_: int) -> None:
        raise raised

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected):
        save(CNN, path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["m.onnx"]
