"""Import of ONNX's ops that choose, repeat and extend by known indices, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.steps import runs_of
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, Dense

from .onnx_models import assert_same, data, model, node

IMAGE: list[Any] = ["N", 8, 4, 6]
LINE: list[Any] = ["N", 4, 9]
W: dict[str, Array] = {
    "few": np.array([[3, -1], [0, 0]]),
    "backwards": np.array([3, 2, 1]),
    "shuffled": np.array([2, 0, 3, 1, 1, 3, 0, 2, 1, 0, 3, 0, 0, 1, 3, 3, 1, 2]),
    "pairs": np.array([[3, -1], [0, 0], [-4, 5]]),
    "single": np.array([[3], [-4], [1], [1]]),
    "none": np.array([], np.int64),
    "floats": np.array([1.0], np.float32),
    "twice": np.array([1, 1, 2, 3]),
    "batches": np.array([2, 1, 1, 1]),
    "wide": np.array([5, 1, 1, 1, 1]),
    "column": np.array([1, 9]),
    "wrong": np.array([1, 3, 9]),
    "one": np.array(1),
    "last": np.array([-1]),
    "k": np.array(-2),
    "pads": np.array([0, 0, 2, 3, 0, 0, 1, 5]),
    "cut": np.array([0, -2, 1, 0, 0, 0, -1, 4]),
    "wrap": np.array([0, 0, 1, 3, 0, 0, 2, 9]),
    "sizes": np.array([5, 3]),
}


def single(op: str, inputs: str, shape: list[Any], opset: int = 17, **kw: Any) -> ModelProto:
    names = inputs.split()
    return model([node(op, names, "y", **kw)], shape, {n: W[n] for n in names if n in W},
                 opset=opset)  # fmt: skip


def in_rows(indices: str, *perm: int, **kw: Any) -> ModelProto:
    """GatherND of a value whose batch is not in front."""
    nodes = [
        node("Transpose", ["x"], "turned", perm=list(perm)),
        node("GatherND", ["turned", indices], "taken", **kw),
        node("Transpose", ["taken"], "y", perm=[2, 0, 1] if indices == "single" else [1, 0]),
    ]
    return model(nodes, LINE, {indices: W[indices]})


def beside(*parts: str, axis: int = 1, batch: int | str = "N") -> ModelProto:
    """A Concat of data, x and r, and of constants, a and b, repeated for every sample."""
    sizes = {"a": (2, 9), "b": (1, 9)} if axis == 1 else {"a": (4, 2), "b": (4, 1)}
    nodes = [node("Relu", ["x"], "r"), node("Shape", ["x"], "n", end=1)]
    weights: dict[str, Array] = {}
    for name, size in sizes.items():
        weights |= {f"{name}_row": data(size), f"{name}_size": np.array(size)}
        nodes.append(node("Concat", ["n", f"{name}_size"], f"{name}_shape", axis=0))
        nodes.append(node("Expand", [f"{name}_row", f"{name}_shape"], name))
    nodes.append(node("Concat", parts, "y", axis=axis))
    return model(nodes, [batch, *LINE[1:]], weights)


READ = [
    beside("a", "x"),
    beside("x", "a", axis=2),
    beside("a", "b", "x", "r", "b", axis=-1),
    beside("b", "x", "a", "r", "x", "a", "a"),
    beside("x", "b", "x", batch=3),  # repeated to three equal ones
    in_rows("pairs", 1, 2, 0),
    in_rows("single", 1, 2, 0),
    *(
        single("Gather", f"x {indices}", LINE, opset, axis=axis)
        for indices in ("few", "backwards", "shuffled", "one")
        for axis in (1, -1)
        for opset in (7, 13)
    ),
    single("Tile", "x twice", IMAGE, 7),
    single("Tile", "x twice", IMAGE, 13),
    *(single("Pad", "x pads", IMAGE, opset, mode="edge") for opset in (11, 13, 18, 21, 25)),
    single("Pad", "x pads", IMAGE, mode="reflect"),
    single("Pad", "x cut", IMAGE),
    single("Pad", "x wrap", IMAGE, 19, mode="wrap"),
    single("Pad", "x", LINE, 7, mode="reflect", pads=[0, 1, 0, 0, 0, 8]),
    single("DepthToSpace", "x", IMAGE, 7, blocksize=2),
    *(
        single("DepthToSpace", "x", IMAGE, opset, blocksize=2, mode=mode)
        for mode in ("DCR", "CRD")
        for opset in (11, 13)
    ),
    single("SpaceToDepth", "x", IMAGE, 7, blocksize=2),
    single("SpaceToDepth", "x", IMAGE, 13, blocksize=2),
    *(
        single("CumSum", f"x {axis}", LINE, opset, exclusive=exclusive, reverse=reverse)
        for axis in ("one", "last")
        for exclusive in (0, 1)
        for reverse in (0, 1)
        for opset in (11, 14)
    ),
    *(single("Trilu", f"x {k}", IMAGE, 14, upper=upper) for upper in (0, 1) for k in ("k", "")),
    single("CenterCropPad", "x sizes", IMAGE, 18, axes=[1, -2]),
]


@pytest.mark.parametrize("original", READ, ids=lambda m: m.graph.node[0].op_type)
def test_every_form_equals_onnxruntime(original: ModelProto) -> None:
    graph = assert_same(from_onnx(original), original)
    assert_same(from_onnx(to_onnx(graph)), original)


def test_an_axis_of_size_one_is_repeated() -> None:
    nodes = [node("Slice", ["x", "zero", "first", "one"], "s"), node("Expand", ["s", "to"], "y")]
    for to in ([4, 5, 1], [1, 5, 9], [5, 9], [1, 1, 1]):
        weights = {"to": np.array(to), "zero": np.array([0]), "first": np.array([1])}
        original = model(nodes, ["N", 4, 9], weights | {"one": np.array([1])})
        if to[0] == 4:
            with pytest.raises(UnsupportedModelError, match="repeats the batch"):
                from_onnx(original)
        else:
            assert_same(from_onnx(original), original)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (single("Gather", "x floats", LINE, axis=1), "indices of type float32"),
        (single("Gather", "x none", LINE, axis=1), "takes nothing"),
        (single("Gather", "x one", LINE, axis=0), "over the batch"),
        (in_rows("single", 0, 1, 2), "over the batch"),
        (in_rows("pairs", 1, 0, 2), "over the batch"),
        (in_rows("pairs", 1, 2, 0, batch_dims=1), "batch_dims"),
        (single("Tile", "x batches", IMAGE), "over the batch"),
        (single("Pad", "x cut", IMAGE, mode="edge"), "cuts values off and repeats others"),
        (single("CenterCropPad", "x sizes", IMAGE, 18, axes=[0, 1]), "over the batch"),
    ],
)
def test_forms_that_are_refused(refused: ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        from_onnx(refused)


def test_indices_are_taken_as_stretches_where_they_are_few() -> None:
    assert runs_of([0, 0, 0, 1, 2, 3, 3]) == [(0, 3, 0), (1, 3, 1), (3, 1, 1)]
    assert runs_of([7, 5, 3, 0]) == [(7, 3, -2), (0, 1, 1)]
    few = from_onnx(single("Gather", "x backwards", LINE, axis=1))
    many = from_onnx(single("Gather", "x shuffled", LINE, axis=1))
    assert not any(isinstance(n.op, Dense) for n in few.nodes)
    assert any(isinstance(n.op, Dense) for n in many.nodes)
