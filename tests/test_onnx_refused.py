"""Import of what cannot be expressed: refused by name, all at once, and never computed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from lutra.frontend.onnx import importer
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.translate.forms import FORMS
from lutra.frontend.onnx.unsupported import Refusal, UnsupportedModelError
from lutra.frontend.ops import Array

from .onnx_models import data, model, node

IMAGE: list[Any] = ["N", 3, 7, 8]
FLAT: list[Any] = ["N", 12]
W: dict[str, Array] = {
    "k": data((4, 3, 3, 2)),
    "group": data((3, 1, 3, 2)),
    "k5": data((2, 3, 1, 1, 1)),
    "w": data((12, 5)),
    "samples": data((4, 12)),
    "t": data((3,)),
    "three": np.array([3]),
    "cut": np.array([0, -1, 0, 0]),
    "much": np.array([0, 12, 0, 0]),
    "before": np.array([1, 0, 0, 0]),
    "pads": np.array([0, 1, 0, 1]),
    "roi": np.array([], np.float32),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "half": np.array([1, 1, 1, 0.5], np.float32),
    "halves": np.array([1, 1, 1.5, 1.5], np.float32),
    "w3": data((1, 12, 5)),
    "vector": data((12,)),
    "zeros": np.array([1, 0] * 6, np.float32),
    "deep": np.full((1, 1, 1), 0.5, np.float32),
    "bias": data((12,)),
    "plane": data((7, 8)),
    "integers": np.ones((12, 5), np.int64),
    "cubes": data((2, 12, 4)),
    "bytes": np.ones((12, 5), np.int8),
    "true": np.array(True),
    "flat2": np.array([2, -1]),
    "none": np.array([], np.int64),
    "split": np.array([0, 3, 4]),
    "first": np.array([0]),
}


def single(
    op: str, inputs: str, shape: list[Any] = IMAGE, opset: int = 17, **kw: Any
) -> ModelProto:
    names = inputs.split()
    weights = {name: W[name] for name in names if name in W}
    return model([node(op, names, "y", **kw)], shape, weights, opset=opset)


POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
REFUSED = [
    (single("Tan", "x"), "not supported"),
    (single("Conv", "x k", auto_pad="SAME_UPPER", pads=[1, 1, 1, 1]), "'pads' and 'auto_pad'"),
    (single("Conv", "x x"), "input 2 is not a constant"),
    (single("Conv", "x k x"), "input 3 is not a constant"),
    (single("Conv", "k k"), "constants alone"),
    (single("MaxPool", "x", storage_order=1, **POOL), "'storage_order' is 1; supported: 0"),
    (single("MaxPool", "x", kernel_shape=[1, 1], strides=[2, 2], auto_pad="SAME_UPPER"), "skip"),
    (single("GlobalAveragePool", "x", ["N", 3]), "has 0 spatial axes"),
    (single("Softmax", "x", axis=0), "over the batch"),
    (single("Reshape", "x flat2", FLAT), "moves values between samples"),
    (single("Reshape", "x none", FLAT), "does not keep the batch"),
    (single("Reshape", "x first", FLAT, allowzero=1), "does not keep the batch"),
    (single("Reshape", "x x", FLAT), "input 2 is not a constant"),
    (single("Squeeze", "x", ["N", 3, 1]), "names no axes"),
    (single("Squeeze", "x first", ["N", 3, 1]), "drops the batch axis"),
    (single("Gemm", "x w", FLAT, transA=1), "is over the batch"),
    (single("Gemm", "w x", FLAT), "a product over the batch"),
    (single("Gemm", "x integers", FLAT), "weight 'integers' is of type int64"),
    (single("Gemm", "x bytes", FLAT), "weight 'bytes' is of type int8; supported: floats"),
    (single("MatMul", "w x", FLAT), "a product over the batch"),
    (single("MatMul", "x cubes", ["N", 5, 12]), "which differs between samples"),
    (single("MatMul", "x x", FLAT), "a product over the batch"),
    (single("Add", "x samples", FLAT), "differs between samples"),
    (single("CastLike", "x integers", FLAT), "is to int64"),
    (single("Div", "x zeros", FLAT), "divides by zero"),
    (single("Pow", "x vector", FLAT), "an exponent that is not one number"),
    (single("Pow", "x x", FLAT), "an exponent that is not one number"),
    (single("Pow", "vector x", FLAT), "constants alone"),
    (single("Pow", "x deep", FLAT), "with more axes than the data"),
    (single("Max", "x samples", FLAT), "differs between samples"),
    (single("Shrink", "x", FLAT, bias=0.25), "a bias of 0 or lambd"),
    (single("Shrink", "x", FLAT, lambd=-1.0), "a lambd of at least 0"),
    (single("PRelu", "x plane"), "one a channel, or one"),
    (single("Clip", "x x", FLAT), "input 2 is not a constant"),
    (single("Concat", "x x", FLAT, axis=0), "over the batch"),
    (single("Slice", "x first three first", FLAT), "over the batch"),
    (single("Gather", "x w", FLAT, axis=1), "has indices of type float32"),
    (single("Gather", "x first", FLAT), "over the batch"),
    (single("Pad", "x cut", FLAT, mode="edge"), "cuts values off"),
    (single("Pad", "x before", FLAT), "over the batch"),
    (single("Pad", "x much", FLAT, mode="reflect"), "reflects more than there is"),
    (single("Pad", "x pads", FLAT, mode="mirror"), "'mode' is mirror; supported: constant, "),
    (single("Split", "x", axis=0, num_outputs=1, opset=18), "over the batch"),
    (single("ReduceMean", "x"), "over the batch"),
    (single("ReduceSum", "x", axes=[0, 1], opset=11), "over the batch"),
    (single("LayerNormalization", "x vector", ["N", 12, 12], axis=0), "over the batch"),
    (
        single("BatchNormalization", "x vector vector vector vector", FLAT, training_mode=1),
        "'training_mode' is 1; supported: 0",
    ),
    (
        single("ConvTranspose", "x k t", output_shape=[40, 40]),
        "gives less than the [40, 40] that it asks for",
    ),
    (single("Dropout", "x vector true", FLAT), "training mode"),
]


@pytest.mark.parametrize(
    ("refused", "reason"), REFUSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_forms_that_are_refused(refused: ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=re.escape(reason)) as caught:
        from_onnx(refused)
    assert f"{refused.graph.node[0].op_type} at 'n_y'" in str(caught.value)


def test_a_bias_that_differs_between_samples_is_refused() -> None:
    nodes = [node("Gemm", ["x", "w", "c"], "y")]
    with pytest.raises(UnsupportedModelError, match="differs between samples"):
        from_onnx(model(nodes, FLAT, {"w": W["w"], "c": data((4, 5))}))
    nodes = [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "c"], "y")]
    with pytest.raises(UnsupportedModelError, match="differs between samples"):
        from_onnx(model(nodes, FLAT, {"w": W["w"], "c": data((4, 5))}))


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (
            node("Transpose", ["x"], "t", perm=[1, 0, 2]),
            "MaxPool at 'n_y' (has the batch on axis 1",
        ),
        (node("Transpose", ["x"], "t", perm=[1, 2, 0]), "MatMul at 'n_y' (is over the batch"),
    ],
    ids=["pool", "product"],
)
def test_a_batch_that_is_not_the_first_axis(first: NodeProto, text: str) -> None:
    """Layers that do not care take it anywhere; others refuse it."""
    nodes = [first]
    if "Pool" in text:
        nodes.append(node("MaxPool", ["t"], "y", kernel_shape=[1]))
    if "MatMul" in text:
        nodes.append(node("MatMul", ["t", "w"], "y"))
    weights = {"a": np.array([0]), "w": data((4, 5))}
    with pytest.raises(UnsupportedModelError, match=re.escape(text)):
        from_onnx(model(nodes, ["N", 3, 4], weights))


LSTM = {"W": data((1, 8, 3)), "R": data((1, 8, 2)), "P": data((1, 6)), "s": data((1, 4, 2))}
LSTM |= {"B": data((1, 16)), "n": np.array([5, 5, 4, 5], np.int32)}
RECURRENT: list[tuple[str, dict[str, Any], str]] = [
    ("n", {}, "has sequence_lens; export with sequences of one length"),
    (" s", {}, "an initial_h that is not zero; export without a start state"),
    ("  s", {}, "an initial_c that is not zero; export without a start state"),
    ("   P", {}, "has peepholes (P); export without them"),
    ("", {"clip": 3.0}, "'clip' is not supported; train and export without it"),
    ("", {"input_forget": 1}, "'input_forget' is 1; supported: 0"),
    ("", {"activations": ["Sigmoid", "Relu", "Tanh"]}, "supported: sigmoid, tanh, tanh"),
    ("", {"activation_alpha": [0.5]}, "'activation_alpha' is not supported"),
    ("", {"layout": 1}, "supported: (batch, time, features)"),
]


@pytest.mark.parametrize(("inputs", "attributes", "reason"), RECURRENT)
def test_forms_of_a_recurrent_layer_that_are_refused(
    inputs: str, attributes: dict[str, Any], reason: str
) -> None:
    names = ["t", "W", "R", "B", *inputs.split(" ")]
    nodes = [
        node("Transpose", ["x"], "t", perm=[1, 0, 2]),
        node("LSTM", names, ["", "y"], "n_y", **attributes),
    ]
    used = {name: LSTM[name] for name in names if name in LSTM}
    with pytest.raises(UnsupportedModelError, match=re.escape(reason)) as caught:
        from_onnx(model(nodes, [4, 5, 3], used))
    assert "LSTM at 'n_y'" in str(caught.value)


def test_outputs_beyond_the_first_are_refused_where_they_are_read() -> None:
    nodes = [node("MaxPool", ["x"], ["p", "i"], **POOL), node("Relu", ["i"], "y")]
    with pytest.raises(UnsupportedModelError, match="further outputs"):
        from_onnx(model(nodes, IMAGE))
    nodes[0].output[0] = ""
    with pytest.raises(UnsupportedModelError, match="further outputs"):
        from_onnx(model(nodes, IMAGE))
    nodes = [node("Dropout", ["x"], ["p", "y"])]
    with pytest.raises(UnsupportedModelError, match="further outputs"):
        from_onnx(model(nodes, IMAGE))


def with_outputs(original: ModelProto, *names: str) -> ModelProto:
    """The model with further outputs."""
    for name in names:
        original.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return original


def test_everything_is_named_at_once() -> None:
    """Nodes behind one that is not understood are looked at too, as far as they can be."""
    nodes = [
        node("ScatterND", ["x", "group"], "a"),
        node("Tan", ["a"], "b"),
        node("MaxPool", ["b"], "c", storage_order=1, **POOL),
        node("Tan", ["c"], "d"),
        node("Relu", ["d"], "e"),
        node("Softmax", ["x"], "g", axis=0),
        helper.make_node("FloatQuant", ["e"], ["y"], name="q", domain="onnx.brevitas"),
    ]
    refused = with_outputs(model(nodes, IMAGE, {"group": W["group"]}), "g")
    with pytest.raises(UnsupportedModelError) as caught:
        from_onnx(refused, "net.onnx")
    assert caught.value.refusals == (
        Refusal("ScatterND", "not supported", ("n_a",)),
        Refusal("Tan", "not supported", ("n_b", "n_d")),
        Refusal("MaxPool", "attribute 'storage_order' is 1; supported: 0", ("n_c",)),
        Refusal("Softmax", "is over the batch", ("n_g",)),
        Refusal("onnx.brevitas::FloatQuant", "not an op of ONNX itself", ("q",)),
    )
    text = str(caught.value)
    assert text.startswith("net.onnx: ")
    for part in ("Tan at 'n_b', 'n_d' (not supported)", "docs/onnx.md"):
        assert part in text


def test_long_lists_are_clipped() -> None:
    names = [f"v{i}" for i in range(50)]
    nodes = [node("Tan", ["x"], name) for name in names] + [node("Concat", names, "y", axis=1)]
    with pytest.raises(UnsupportedModelError, match="and 42 more") as caught:
        from_onnx(model(nodes, IMAGE))
    assert len(caught.value.refusals[0].nodes) == 50
    nodes = [helper.make_node("Op" * 999 + name, ["x"], [name]) for name in names]
    with pytest.raises(UnsupportedModelError, match="and 42 more") as caught:
        from_onnx(model([*nodes, node("Concat", names, "y", axis=1)], IMAGE))
    assert len(str(caught.value)) < 3000


def test_subgraphs_functions_and_ops_that_do_not_exist() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "body",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    branch = helper.make_node("If", ["c"], ["b"], name="n_if", then_branch=body, else_branch=body)
    nodes = [
        branch,
        node("Relu", ["x"], "r"),
        node("Sigh", ["b"], "y"),
        helper.make_node("Twice", ["x"], ["t"], name="n_t", domain="mine"),
    ]
    refused = with_outputs(model(nodes, FLAT, {"c": np.array(True)}), "r", "t")
    relu = helper.make_function(
        "", "Relu", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], refused.opset_import
    )
    refused.functions.append(relu)
    with pytest.raises(UnsupportedModelError) as caught:
        from_onnx(refused)
    assert {refusal.op: refusal.reason for refusal in caught.value.refusals} == {
        "If": "not supported",
        "Relu": "a function of the model's own; inline it before the export",
        "Sigh": "no op of ONNX operator set 17",
        "mine::Twice": "not an op of ONNX itself",
    }


def test_a_version_of_an_op_that_nobody_has_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older = {**FORMS, "Relu": replace(FORMS["Relu"], newest=13)}
    monkeypatch.setattr(importer, "FORMS", older)
    from_onnx(single("Relu", "x", FLAT, opset=13))
    with pytest.raises(UnsupportedModelError, match=r"is in version 14; supported: up to 13"):
        from_onnx(single("Relu", "x", FLAT, opset=14))


def test_unknown_and_mistyped_attributes_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="'alpha' is not supported"):
        from_onnx(single("Softmax", "x", FLAT, alpha=0.1))
    with pytest.raises(UnsupportedModelError, match="'axis' has another type"):
        from_onnx(single("Softmax", "x", FLAT, axis=1.0))
    with pytest.raises(UnsupportedModelError, match="'value_string' is not supported"):
        from_onnx(model([node("Constant", [], "y", value_string="a")], FLAT))
    with pytest.raises(UnsupportedModelError, match="has 2 inputs; its op takes 1"):
        from_onnx(single("Relu", "x x", FLAT))


def test_sparse_weights_are_refused() -> None:
    refused = single("Relu", "x", FLAT)
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    refused.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    with pytest.raises(UnsupportedModelError, match="sparse weights"):
        from_onnx(refused)
