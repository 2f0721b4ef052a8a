"""Import of ONNX's reductions over any axes of a sample, against onnxruntime."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest

from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError

from .onnx_models import assert_same, model, node

SHAPE: list[Any] = ["N", 3, 2, 4]
AXES = list(chain(*(combinations((1, 2, 3), n) for n in (1, 2, 3))))
INPUTS_SINCE = {
    "ReduceL1": 18,
    "ReduceL2": 18,
    "ReduceLogSum": 18,
    "ReduceLogSumExp": 18,
    "ReduceMax": 18,
    "ReduceMean": 18,
    "ReduceMin": 18,
    "ReduceProd": 18,
    "ReduceSum": 13,
    "ReduceSumSquare": 18,
}


@pytest.mark.parametrize("op", INPUTS_SINCE)
def test_a_reduction_over_any_axes(op: str) -> None:
    for axes in AXES:
        for keep in (0, 1):
            attributes: dict[str, Any] = {
                "axes": [a - 4 if a == 2 else a for a in axes],
                "keepdims": keep,
            }
            old = node(op, ["x"], "y", **attributes)
            assert_same(from_onnx(model([old], SHAPE, opset=11)), model([old], SHAPE, opset=11))
            new = node(op, ["x", "axes"], "y", keepdims=keep)
            weights = {"axes": np.array(axes)}
            opset = INPUTS_SINCE[op]
            given = model([new], SHAPE, weights, opset=opset)
            assert_same(from_onnx(given), given)


@pytest.mark.parametrize("op", INPUTS_SINCE)
def test_a_reduction_over_no_axes(op: str) -> None:
    """Nothing is reduced if the file says so; otherwise the batch would be."""
    for inputs in (["x"], ["x", "none"]):
        weights = {"none": np.array([], np.int64)} if len(inputs) == 2 else {}
        nodes = [node(op, inputs, "r", noop_with_empty_axes=1), node("Relu", ["r"], "y")]
        kept = model(nodes, SHAPE, weights, opset=18)
        assert_same(from_onnx(kept), kept)
        with pytest.raises(UnsupportedModelError, match="over the batch"):
            from_onnx(model([node(op, inputs, "y")], SHAPE, weights, opset=18))
