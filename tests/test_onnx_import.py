"""Import: what an ONNX file means in onnxruntime, our graph means too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lutra.frontend.graph import Graph, Port, evaluate
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx, load
from lutra.frontend.onnx.translate.forms import FORMS
from lutra.frontend.ops import (
    Array,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    MatMul,
    MaxPool,
    Op,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
    Transpose,
    Window,
)

from .cases import CASES, Case
from .onnx_models import assert_same, chain, data, model, node
from .test_onnx_export import CNN


def imported(original: ModelProto, batch: int = 3) -> Graph:
    return assert_same(from_onnx(original), original, batch)


def kinds(graph: Graph) -> list[type]:
    return [type(n.op) for n in graph.nodes]


def test_every_form_is_known_up_to_the_newest_version_that_was_read() -> None:
    for op, form in FORMS.items():
        schema = onnx.defs.get_schema(op)
        assert schema.since_version <= form.newest, f"read version {schema.since_version} of {op}"
        known = {name for name in schema.attributes if not name.startswith(("sparse", "value_s"))}
        assert known <= set(form.attributes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_export_then_import_is_the_identity(case: Case) -> None:
    """A product with a constant matrix alone comes back as the Dense that it is."""
    graph = case.graph()
    back = from_onnx(to_onnx(graph))
    assert (back.inputs, back.outputs) == (graph.inputs, graph.outputs)
    dense = isinstance(case.op, MatMul) and case.weights and len(case.weights[0]) == 2
    assert [n.op for n in back.nodes] == ([Dense()] if dense else [n.op for n in graph.nodes])
    for name, value in graph.constants.items():
        turned = dense and case.op == MatMul(transposed=True)
        np.testing.assert_array_equal(back.constants[name], value.T if turned else value)
    x = case.arrays(dtype=np.float32)[0]
    after, before = evaluate(back, {"x": x})["y"], evaluate(graph, {"x": x})["y"]
    np.testing.assert_allclose(after, before, rtol=1e-6 if dense else 0, atol=1e-6 if dense else 0)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0)])
def test_a_whole_network_comes_back_with_its_names(axes: tuple[int, ...]) -> None:
    graph = Graph("cnn", (Port("x", (8, 6, 2), axes),), CNN.outputs, CNN.nodes, CNN.constants)
    back = from_onnx(to_onnx(graph))
    assert (back.inputs, back.outputs, back.nodes) == (graph.inputs, graph.outputs, graph.nodes)
    assert {k: v.tolist() for k, v in back.constants.items()} == {
        k: v.tolist() for k, v in graph.constants.items()
    }


W = {
    "k": data((4, 3, 3, 2), 5),
    "k1": data((4, 3, 3), 6),
    "kb": data((4,), 7),
    "w": data((12, 5), 8),
    "wt": data((5, 12), 9),
    "b": data((5,), 10),
    "b2": data((1, 5), 11),
    "one": data((1,), 12),
    "scalar": data((), 13),
    "kb4": data((1, 4, 1, 1), 14),
    "kb3": data((4, 1, 1), 15),
    "w3": data((4, 6), 16),
}


def single(op: str, shape: list[Any], inputs: str = "x", opset: int = 17, **kw: Any) -> ModelProto:
    """One node on 'x', with those of the weights W that it reads."""
    names = inputs.split()
    weights = {name: W[name] for name in names if name in W}
    return model([node(op, names, "y", **kw)], shape, weights, opset=opset)


IMAGE: list[Any] = ["N", 3, 7, 8]
LINE: list[Any] = ["N", 3, 9]
FLAT: list[Any] = ["N", 12]
RESHAPES: list[tuple[Array, dict[str, Any]]] = [
    (np.array([0, -1]), {}),
    (np.array([-1, 12]), {}),
    (np.array([0, 12]), {}),
    (np.array([0, 0, 0, 0]), {}),
    (np.array([-1, 3, 4, 1]), {}),
    (np.array([-1, 12]), {"allowzero": 1}),
    (np.array([0, 0, -1, 1]), {}),
]
RIGHT_FORMS = [
    single("Gemm", FLAT, "x w"),
    single("Gemm", FLAT, "x w b"),
    single("Gemm", FLAT, "x w b2"),
    single("Gemm", FLAT, "x w one"),
    single("Gemm", FLAT, "x w scalar"),
    single("Gemm", FLAT, "x wt b", transB=1),
    single("Gemm", FLAT, "x w b", alpha=0.5, beta=-2.0),
    single("Gemm", FLAT, "x w b", beta=0.0, transA=0),
    single("Gemm", FLAT, "x w b", opset=7),
    single("MatMul", FLAT, "x w"),
    single("MatMul", ["N", 4, 12], "x w"),
    single("MatMul", ["N", 2, 3, 12], "x w"),
    single("Conv", IMAGE, "x k"),
    single("Conv", IMAGE, "x k kb"),
    single("Conv", LINE, "x k1 kb", pads=[1, 2], strides=[2]),
    single("Conv", IMAGE, "x k", kernel_shape=[3, 2], pads=[0, 1, 2, 3], strides=[2, 3]),
    single("Conv", IMAGE, "x k", dilations=[1, 1], group=1, opset=11),
    *(
        single("Conv", IMAGE, "x k", auto_pad=mode, strides=strides)
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        for strides in ([1, 1], [2, 3], [3, 2])
    ),
    single("MaxPool", IMAGE, kernel_shape=[2, 3]),
    single("MaxPool", LINE, kernel_shape=[2], strides=[2], opset=8),
    single("MaxPool", IMAGE, kernel_shape=[3, 3], pads=[1, 0, 2, 1], strides=[2, 2]),
    single("MaxPool", IMAGE, kernel_shape=[3, 2], auto_pad="SAME_UPPER", strides=[2, 2]),
    single("MaxPool", IMAGE, kernel_shape=[2, 2], auto_pad="SAME_LOWER", storage_order=0),
    single("MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
    single("AveragePool", IMAGE, kernel_shape=[2, 3], strides=[1, 2]),
    single("AveragePool", LINE, kernel_shape=[3], pads=[0, 0], count_include_pad=1),
    single("AveragePool", IMAGE, kernel_shape=[1, 2], strides=[1, 2], auto_pad="SAME_UPPER"),
    single("AveragePool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, opset=19),
    single("GlobalAveragePool", IMAGE),
    single("GlobalAveragePool", LINE),
    *(single(op, IMAGE) for op in ("Relu", "Sigmoid", "Tanh", "Identity", "Dropout")),
    single("Dropout", FLAT, opset=7, ratio=0.3),
    single("Softmax", FLAT),
    single("Softmax", FLAT, axis=1, opset=11),
    single("Softmax", FLAT, opset=8),
    single("Softmax", ["N", 6, 1, 1], axis=1, opset=11),
    single("Softmax", ["N", 3, 6], axis=2, opset=12),
    single("Softmax", ["N", 1, 6], axis=1, opset=12),
    single("Softmax", ["N", 1, 6], axis=1, opset=13),
    *(single("Softmax", IMAGE, axis=axis) for axis in (1, 2, 3, -1, -3)),
    single("Flatten", IMAGE),
    single("Flatten", IMAGE, axis=1, opset=9),
    single("Flatten", IMAGE, axis=-3, opset=11),
    single("Flatten", FLAT),
    single("Transpose", IMAGE, perm=[0, 3, 1, 2]),
    single("Transpose", IMAGE, perm=[0, 2, 3, 1], opset=7),
    *(
        model([node("Reshape", ["x", "shape"], "y", **kw)], ["N", 3, 4, 1], {"shape": shape})
        for shape, kw in RESHAPES
    ),
    model([node("Squeeze", ["x", "axes"], "y")], ["N", 5, 1, 1], {"axes": np.array([2, -1])}),
    model([node("Squeeze", ["x"], "y", axes=[2, 3])], ["N", 5, 1, 1], opset=11),
]


@pytest.mark.parametrize(
    "original", RIGHT_FORMS, ids=lambda m: f"{m.graph.node[0].op_type}-{m.opset_import[0].version}"
)
def test_every_form_equals_onnxruntime(original: ModelProto) -> None:
    graph = imported(original)
    assert sum(kind is Transpose for kind in kinds(graph)) <= 2


@pytest.mark.parametrize("opset", range(7, min(onnx.defs.onnx_opset_version(), 22) + 1))
def test_every_operator_set(opset: int) -> None:
    """One network of the commonest ops in each version (onnxruntime may lag behind the newest)."""
    nodes = [
        node("Conv", ["x", "k", "kb"], "c", pads=[1, 1, 1, 0]),
        node("Relu", ["c"], "r"),
        node("MaxPool", ["r"], "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Dropout", ["p"], "d"),
        node("Flatten", ["d"], "f"),
        node("Gemm", ["f", "g", "b"], "e"),
        node("Softmax", ["e"], "y", axis=1),
    ]
    weights = {"k": W["k"], "kb": W["kb"], "g": data((48, 5)), "b": W["b"]}
    graph = imported(model(nodes, IMAGE, weights, opset=opset))
    assert kinds(graph) == [Conv, Relu, MaxPool, Flatten, Dense, Softmax]
    assert graph.inputs[0].axes == (1, 2, 0)
    assert [n.name for n in graph.nodes] == ["n_c", "n_r", "n_p", "n_f", "n_e", "n_y"]
    assert [n.output for n in graph.nodes] == ["c", "r", "p", "f", "e", "y"]


@pytest.mark.parametrize("bias", ["kb3", "kb4", "one", "scalar"])
def test_a_bias_behind_a_convolution_joins_it(bias: str) -> None:
    for inputs in (["c", bias], [bias, "c"]):
        for layer in ("x k", "x k kb"):
            nodes = [node("Conv", layer.split(), "c"), node("Add", inputs, "y")]
            used = {name: W[name] for name in ("k", "kb", bias)}
            graph = imported(model(nodes, IMAGE, used))
            assert kinds(graph) == [Conv]
            assert len(graph.constants) == 2


@pytest.mark.parametrize("shape", [FLAT, ["N", 3, 12]])
@pytest.mark.parametrize("bias", ["b", "b2", "one"])
def test_biases_behind_a_product_join_it(shape: list[Any], bias: str) -> None:
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("Identity", ["m"], "i"),
        node("Add", ["i", bias], "a"),
        node("Add", ["a", "b"], "y"),
    ]
    graph = imported(model(nodes, shape, {n: W[n] for n in ("w", "b", bias)}))
    assert kinds(graph) == [Dense]


def test_a_product_that_is_also_read_without_its_bias_stays() -> None:
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("Add", ["m", "b"], "a"),
        node("Relu", ["m"], "r"),
        node("MatMul", ["r", "v"], "s"),
        node("Relu", ["a"], "y"),
    ]
    graph = imported(model(nodes, FLAT, {"w": W["w"], "b": W["b"], "v": data((5, 2))}))
    assert kinds(graph) == [Dense, Relu]


def constant(name: str, **kw: Any) -> NodeProto:
    return node("Constant", [], name, **kw)


def test_constants_fold_through_what_moves_them() -> None:
    nodes = [
        constant("c", value=numpy_helper.from_array(data((5, 3, 4)))),
        constant("two", value_ints=[12, -1]),
        constant("axes", value_ints=[0, -1]),
        constant("half", value_float=0.5),
        node("Transpose", ["c"], "t", perm=[1, 2, 0]),
        node("Reshape", ["t", "two"], "m"),
        node("Unsqueeze", ["m", "axes"], "u"),
        node("Squeeze", ["u"], "s"),
        node("Identity", ["s"], "i"),
        node("MatMul", ["x", "i"], "p"),
        node("Add", ["p", "half"], "y"),
    ]
    assert kinds(imported(model(nodes, FLAT))) == [Dense]
    old = [
        node("Transpose", ["w"], "t"),
        node("Unsqueeze", ["t"], "u", axes=[0]),
        node("Squeeze", ["u"], "s", axes=[0]),
        node("Gemm", ["x", "s"], "y", transB=1),
    ]
    assert kinds(imported(model(old, FLAT, {"w": W["w"]}, opset=11))) == [Dense]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_other_float_types(dtype: Any, raw: bool) -> None:
    value = W["w"].astype(dtype)
    original = single("MatMul", FLAT, "x w")
    if raw:
        tensor = numpy_helper.from_array(value, "w")
    else:
        tensor = helper.make_tensor(
            "w", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.flatten()
        )
    original.graph.initializer[0].CopyFrom(tensor)
    got = from_onnx(original).constants["w"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, value.astype(np.float32))


def test_weights_as_typed_data_and_as_inputs_of_an_old_file() -> None:
    original = single("Gemm", FLAT, "x w b", opset=8)
    original.ir_version = 3
    for name in "wb":
        tensor = helper.make_tensor(name, TensorProto.FLOAT, W[name].shape, W[name].flatten())
        original.graph.initializer["wb".index(name)].CopyFrom(tensor)
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, W[name].shape)
        original.graph.input.append(info)
    assert kinds(imported(original)) == [Dense]


def test_a_fixed_batch_is_the_batch() -> None:
    nodes = [
        node("Flatten", ["x"], "f", axis=0),
        node("Reshape", ["f", "s"], "r"),
        node("MatMul", ["r", "w"], "y"),
    ]
    weights = {"w": W["w"], "s": np.array([1, -1])}
    graph = imported(model(nodes, [1, 3, 4], weights), batch=1)
    assert kinds(graph) == [Flatten, Dense]
    assert evaluate(graph, {"x": data((6, 3, 4))})["y"].shape == (6, 5)
    nodes = [node("Reshape", ["x", "s"], "y")]
    assert kinds(imported(model(nodes, [4, 3, 2], {"s": np.array([4, 6])}), batch=4)) == [Flatten]


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    original = single("Gemm", FLAT, "x w b")
    path = tmp_path / "m.onnx"
    onnx.save(original, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert_same(load(path), single("Gemm", FLAT, "x w b"))


def test_names_are_kept_or_made_unique() -> None:
    long = "x" * 10_000
    names = ['"; rm -rf /', "int", "a\nb", long, "", "", "int"]
    nodes = [helper.make_node("Relu", ["x"], ["v0"], name=names[0])]
    for i, name in enumerate(names[1:], 1):
        output = "y" if i == len(names) - 1 else f"v{i}"
        nodes.append(helper.make_node("Tanh", [f"v{i - 1}"], [output], name=name))
    graph = from_onnx(model(nodes, FLAT))  # onnxruntime refuses a name that stands twice
    assert [n.name for n in graph.nodes] == [*names[:4], "Tanh_4", "Tanh_5", "int_2"]


def test_made_up_names_stay_clear_of_the_file_s() -> None:
    """An unused Transpose of ours must not take the name of a value that follows."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], name="n", axis=1),
        helper.make_node("Relu", ["s"], ["s_in"], name="n_in"),
        helper.make_node("Softmax", ["s_in"], ["s_out"], name="n_out", axis=2),
        helper.make_node("Tanh", ["s_out"], ["y"], name="t"),
    ]
    graph = imported(model(nodes, IMAGE))
    named = {n.output: type(n.op) for n in graph.nodes}
    assert [named[name] for name in ("s", "s_in", "s_out", "y")] == [Softmax, Relu, Softmax, Tanh]


def test_unread_extra_outputs_and_dead_nodes_fall_away() -> None:
    nodes = [
        node("MaxPool", ["x"], ["p", "indices"], kernel_shape=[2, 2]),
        node("Dropout", ["p"], ["d", "mask"]),
        node("Tanh", ["d"], "dead"),
        node("Relu", ["d"], "y"),
    ]
    assert kinds(imported(model(nodes, IMAGE))) == [MaxPool, Relu]


@pytest.mark.parametrize("ops", [["Identity"], ["Identity", "Dropout"]])
def test_a_network_that_computes_nothing_is_still_one(ops: list[str]) -> None:
    nodes = [node(op, [f"v{i}" if i else "x"], f"v{i + 1}") for i, op in enumerate(ops)]
    nodes[-1].output[0] = "y"
    assert kinds(imported(model(nodes, IMAGE))) == [Transpose]


def models_folder() -> Path:
    folder = os.environ.get("LUTRA_MODEL_DIR")
    if not folder:
        pytest.skip("LUTRA_MODEL_DIR does not name a folder of models made by others")
    return Path(folder)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("two_layer_keras", [Dense, Relu, Dense, Sigmoid]),
        ("conv1d_small_keras", [*[Conv, Relu] * 3, Flatten, Dense, Relu, Dense, Softmax]),
    ],
)
def test_models_made_by_others(name: str, expected: list[type[Op]]) -> None:
    path = models_folder() / f"{name}.onnx"
    graph = load(path)
    assert kinds(graph) == expected
    assert_same(graph, onnx.load(path), batch=1)


def test_a_chain_without_softmax_over_space_has_no_transposes_left() -> None:
    graph = chain(
        (9, 2),
        [
            (Conv(Window.of((3,))), ((3, 2, 4), (4,))),
            (Relu(), ()),
            (AveragePool(Window.of((2,), (2,))), ()),
            (Tanh(), ()),
            (Conv(Window.of((2,))), ((2, 4, 3),)),
            (GlobalAveragePool(), ()),
            (Flatten(), ()),
            (Dense(), ((3, 2), (2,))),
            (Sigmoid(), ()),
        ],
    )
    assert from_onnx(to_onnx(graph)).nodes == graph.nodes
