"""Gemm in all that it is used for, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from lutra.frontend.onnx.check import check
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, Dense

from .onnx_models import assert_faithful, data, model, node

B, TURNED, BIAS = data((4, 3), 1), data((3, 4), 2), data((3,), 3)
FORMS: dict[str, tuple[dict[str, Any], Array, Array | None]] = {
    "plain": ({}, B, BIAS),
    "scaled": ({"alpha": 0.3, "beta": -2.0, "transB": 1}, TURNED, BIAS),
    "one_number": ({}, B, data((1,), 4)),
    "row": ({"beta": 0.5}, B, data((1, 3), 5)),
    "nothing": ({"alpha": 3.0}, B, None),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_dense_layer(form: str) -> None:
    attributes, weight, bias = FORMS[form]
    weights = {"b": weight} | ({} if bias is None else {"c": bias})
    graph = assert_faithful(
        model([node("Gemm", ["x", *weights], "y", **attributes)], ["N", 4], weights), 1, 3
    )
    assert [type(each.op) for each in graph.nodes] == [Dense]


def assert_equal(original: ModelProto) -> None:
    """Whichever way the model of fixed shape is read."""
    (output,) = check(original, from_onnx(original)).outputs
    assert output.agrees
    assert output.relative < 1e-6  # sums of a few float32


@pytest.mark.parametrize("c", [(), (5, 1), (5, 3), (1, 1)])
@pytest.mark.parametrize("flags", [{}, {"transA": 1}, {"transA": 1, "alpha": 0.5, "beta": 3.0}])
def test_a_whole_matrix(flags: dict[str, Any], c: tuple[int, ...]) -> None:
    shape = [4, 5] if "transA" in flags else [5, 4]
    nodes = [node("Gemm", ["x", "b", "c"], "g", **flags), node("Transpose", ["g"], "y")]
    assert_equal(model(nodes, shape, {"b": B, "c": data(c, 6)}))


@pytest.mark.parametrize("flags", [{}, {"transB": 1}, {"transA": 1, "transB": 1}])
def test_weights_on_the_left(flags: dict[str, Any]) -> None:
    left = data((4, 5) if "transA" in flags else (5, 4), 7)
    shape = [3, 4] if "transB" in flags else [4, 3]
    nodes = [node("Gemm", ["a", "x"], "g", alpha=2.0, **flags), node("Relu", ["g"], "y")]
    assert_equal(model(nodes, shape, {"a": left}))


def test_data_on_both_sides_and_added() -> None:
    nodes = [
        node("MatMul", ["x", "b"], "m"),
        node("Gemm", ["m", "m", "m"], "y", alpha=0.25, transB=1, beta=2.0),
    ]
    assert_equal(model(nodes, [3, 4], {"b": B}))


def test_samples_do_not_meet() -> None:
    nodes = [node("Gemm", ["x", "b"], "y", transA=1)]
    with pytest.raises(UnsupportedModelError, match="over the batch"):
        from_onnx(model(nodes, ["N", 4], {"b": np.ones((4, 3), np.float32)}))
