"""Minus infinity in a file: where it masks the scores of a softmax, and elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from lutra.frontend.errors import ModelError
from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array

from .onnx_models import assert_same, model, node

LOWEST = np.finfo(np.float32).min


def masked(mask: Array, *more: str) -> ModelProto:
    """A softmax of what a mask is added to; ``more`` are ops on the sum."""
    nodes = [
        node("Add", ["x", "mask"], "s"),
        node("Softmax", ["s"], "p", axis=-1),
        *(node(op, ["s"], op) for op in more),
        node("Sum", ["p", *more], "y"),
    ]
    return model(nodes, ["N", 4, 4], {"mask": mask.astype(np.float32)})


@pytest.mark.parametrize("lowest", [-np.inf, LOWEST])
def test_a_mask_leaves_nothing_of_a_score(lowest: float) -> None:
    original = masked(np.where(np.tri(4) > 0, 0, lowest))
    graph = assert_same(from_onnx(original), original)
    x = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32) * 1e30
    y = evaluate(graph, {"x": x})["y"]
    assert (y[:, np.tri(4) == 0] == 0).all()
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-6)


W: dict[str, Array] = {
    "lower": np.tri(4) > 0,
    "row": np.array([True, False, False, True]),
    "column": np.array([[True], [False], [False], [True]]),
    "infinity": np.array(-np.inf, np.float32),
    "c": np.array([[3, -1, 0.5, 2]], np.float32),
    "number": np.array(-1e9, np.float32),
    "numbers": np.array([1.0, 0, 0, 1], np.float32),
}


def choice(condition: str, first: str, second: str, *more: str) -> ModelProto:
    nodes = [
        node("Relu", ["x"], "r"),
        node("ReduceMean", ["x"], "m", axes=[1], keepdims=1),
        node("Where", [condition, first, second], "w"),
        node(more[0] if more else "Identity", ["w"], "y"),
    ]
    used = {name: value for name, value in W.items() if name in (condition, first, second)}
    return model(nodes, ["N", 4, 4], used)


@pytest.mark.parametrize(
    "original",
    [
        choice("lower", "x", "infinity", "Softmax"),
        choice("row", "infinity", "x", "Softmax"),
        choice("row", "number", "x", "Softmax"),
        *(choice(condition, "x", "r") for condition in ("lower", "row", "column")),
        choice("lower", "m", "x"),
        choice("column", "c", "x"),
        choice("column", "m", "c"),
    ],
)
def test_a_choice_by_what_is_known(original: ModelProto) -> None:
    assert_same(from_onnx(original), original)


def test_other_choices_are_refused() -> None:
    nodes = [node("Greater", ["x", "r"], "more"), node("Where", ["more", "x", "r"], "y")]
    with pytest.raises(UnsupportedModelError, match="Greater"):
        from_onnx(model([node("Relu", ["x"], "r"), *nodes], ["N", 4, 4]))
    with pytest.raises(ModelError, match="no truth"):
        from_onnx(choice("numbers", "x", "r"))
    with pytest.raises(ModelError, match="infinite"):
        from_onnx(choice("lower", "x", "infinity"))


@pytest.mark.parametrize(
    ("mask", "more"),
    [
        (np.where(np.tri(4, k=-1) > 0, 0, -np.inf), ()),
        (np.where(np.tri(4) > 0, 0, np.inf), ()),
        (np.where(np.tri(4) > 0, 0, -np.inf), ("Relu",)),
        (np.array([-np.inf]), ()),
    ],
    ids=["a row of nothing", "above all", "read by others", "all of it"],
)
def test_other_infinities_are_refused(mask: Array, more: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="weight 'mask' holds NaN or infinite values"):
        from_onnx(masked(mask, *more))
