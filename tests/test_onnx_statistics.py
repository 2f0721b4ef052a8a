"""Import of ONNX's normalisations and pools by powers, against onnxruntime or onnx's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, GlobalAveragePool, LayerNorm, MaxPool

from .onnx_models import assert_same, data, model, node

IMAGE: list[Any] = ["N", 6, 5, 4]
LINE: list[Any] = ["N", 6, 5]
W: dict[str, Array] = {
    "c6": data((6,), 2),
    "d6": data((6,), 3),
    "g3": data((3,), 4),
    "h3": data((3,), 5),
    "row4": data((4,), 6),
    "plane": data((5, 4), 7),
    "lead": data((1, 1, 5, 4), 8),
    "whole": data((6, 5, 4), 9),
    "column": data((5, 1), 10),
    "one": data((1,), 11),
}


def single(op: str, inputs: str, shape: list[Any], opset: int = 17, **kw: Any) -> ModelProto:
    names = inputs.split()
    weights = {name: W[name] for name in names if name in W}
    return model([node(op, names, "y", **kw)], shape, weights, opset=opset)


READ = [
    *(single("GlobalMaxPool", "x", shape, 7) for shape in (IMAGE, LINE)),
    *(single("GlobalAveragePool", "x", shape, 22) for shape in (IMAGE, LINE)),
    *(single("GlobalLpPool", "x", IMAGE, 7, p=p) for p in (1, 2, 3)),
    single("LpPool", "x", IMAGE, 7, kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1]),
    single("LpPool", "x", LINE, 11, kernel_shape=[3], p=3),
    single("LpPool", "x", IMAGE, 18, kernel_shape=[2, 2], p=1, dilations=[2, 1]),
    single("LpPool", "x", IMAGE, 18, kernel_shape=[2, 2], auto_pad="SAME_UPPER", strides=[2, 2]),
    *(single("InstanceNormalization", "x c6 d6", shape, 7) for shape in (IMAGE, LINE)),
    single("InstanceNormalization", "x c6 d6", IMAGE, 22, epsilon=0.1),
    single("GroupNormalization", "x c6 d6", IMAGE, 21, num_groups=3, epsilon=0.1),
    single("GroupNormalization", "x c6 d6", LINE, 21, num_groups=2),
    *(
        single("LRN", "x", IMAGE, opset, size=size, alpha=0.3, beta=0.6, bias=1.5)
        for size in (1, 3, 5)
        for opset in (7, 13)
    ),
    *(
        single("LpNormalization", "x", LINE, opset, axis=axis, p=p)
        for axis in (1, -1)
        for p in (1, 2)
        for opset in (7, 22)
    ),
    single("MeanVarianceNormalization", "x", IMAGE, 9, axes=[2, 3]),
    single("MeanVarianceNormalization", "x", IMAGE, 13, axes=[1, -1]),
    *(single("LayerNormalization", "x row4", IMAGE, axis=axis) for axis in (-1, 3)),
    *(single("LayerNormalization", "x plane plane", IMAGE, axis=axis) for axis in (2, -2)),
    single("LayerNormalization", "x whole whole", IMAGE, axis=1, epsilon=0.25),
    single("LayerNormalization", "x lead", IMAGE, axis=2),
    single("LayerNormalization", "x column row4", IMAGE, axis=2),
    single("LayerNormalization", "x one", IMAGE, axis=2),
    *(single("RMSNormalization", "x row4", IMAGE, 23, axis=axis) for axis in (-1, 3)),
    single("RMSNormalization", "x whole", IMAGE, 23, axis=1),
    single("RMSNormalization", "x column", IMAGE, 23, axis=-2, epsilon=0.5),
    *(
        single(op, "x", IMAGE, opset, axis=axis)
        for op in ("Softmax", "LogSoftmax")
        for opset in (7, 11)
        for axis in (1, 2, 3)
    ),
]


@pytest.mark.parametrize("original", READ, ids=lambda m: m.graph.node[0].op_type)
def test_every_form_equals_onnxruntime(original: ModelProto) -> None:
    graph = assert_same(from_onnx(original), original)
    assert_same(from_onnx(to_onnx(graph)), original)


def test_pools_over_three_axes_of_space() -> None:
    for op in ("GlobalMaxPool", "GlobalAveragePool"):
        nodes = [node("Reshape", ["x", "to"], "v"), node(op, ["v"], "y")]
        original = model(nodes, IMAGE, {"to": np.array([0, 6, 5, 2, 2])})
        assert_same(from_onnx(original), original)


def test_factors_of_a_group_before_they_were_of_a_channel() -> None:
    """onnxruntime takes this version for the next one: onnx's own reference runs it."""
    original = single("GroupNormalization", "x g3 h3", IMAGE, 18, num_groups=3)
    x = data((2, 6, 5, 4))
    (expected,) = ReferenceEvaluator(original).run(None, {"x": x})
    (got,) = evaluate(from_onnx(original), {"x": x}).values()
    np.testing.assert_allclose(got, np.asarray(expected), rtol=1e-5, atol=1e-6)


def test_a_row_of_zeros_has_no_direction_and_stays() -> None:
    graph = from_onnx(single("LpNormalization", "x", LINE, 22))
    x = np.zeros((1, 6, 5), np.float32)
    (got,) = evaluate(graph, {"x": x}).values()
    np.testing.assert_array_equal(got, x)


def test_the_mean_and_the_deviation_of_a_layer_norm() -> None:
    nodes = [
        node("LayerNormalization", ["x", "row4"], ["a", "mean", "inverse"]),
        node("Mul", ["mean", "inverse"], "m"),
        node("Add", ["a", "m"], "y"),
    ]
    original = model(nodes, IMAGE, {"row4": W["row4"]})
    assert_same(from_onnx(original), original)


def test_pools_over_all_of_space_are_one_pool() -> None:
    for op, expected in (("GlobalMaxPool", MaxPool), ("GlobalAveragePool", GlobalAveragePool)):
        graph = from_onnx(single(op, "x", IMAGE))
        assert [type(n.op) for n in graph.nodes] == [expected]
    (row,) = from_onnx(single("LayerNormalization", "x row4", IMAGE)).nodes
    assert isinstance(row.op, LayerNorm)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (single("MeanVarianceNormalization", "x", IMAGE), "over the batch"),
        (single("LayerNormalization", "x row4", IMAGE, stash_type=0), "'stash_type' is 0"),
        (single("LpPool", "x", ["N", 6], kernel_shape=[1, 1, 1]), "has 0 spatial axes"),
        (single("LRN", "x", IMAGE, size=4), "size.* is 4"),
        (single("GlobalMaxPool", "x", ["N", 6]), "has no spatial axes"),
        (single("GlobalMaxPool", "x", ["N", 1, 2**19]), "is over too many values"),
    ],
)
def test_forms_that_are_refused(refused: ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        from_onnx(refused)
