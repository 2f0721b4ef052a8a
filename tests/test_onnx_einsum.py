"""Import of Einsum and of the ops of language models, against onnxruntime or onnx's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.translate.einsum import parsed
from lutra.frontend.ops import Array

from .onnx_models import assert_faithful, data, model, node

W: dict[str, Array] = {
    "m": data((4, 5), 1),
    "t": data((5, 4), 2),
    "v": data((4,), 3),
    "cube": data((3, 4, 2), 4),
    "wide": data((1, 3, 5), 5),
    "cos": data((9, 4), 6),
    "sin": data((9, 4), 7),
    "cos2": data((9, 2), 8),
    "sin2": data((9, 2), 9),
    "ids": np.array([[4, 0, 8]]),
    "twice": np.array([[4, 0, 8], [1, 2, 3]]),
    "k": data((6, 1, 4), 10),
    "b": data((6,), 11),
}


def sums(equation: str, inputs: str = "x m", shape: Any = ("N", 3, 4)) -> ModelProto:
    names = inputs.split()
    weights = {name: W[name] for name in names if name in W}
    return model([node("Einsum", names, "y", equation=equation)], list(shape), weights)


@pytest.mark.parametrize(
    "original",
    [
        sums("nij,jk->nik"),
        sums("nij, jk -> nki"),
        sums("nij,jk"),
        sums("nij,kj->nik", "x t"),
        sums("kj,nij->nik", "t x"),
        sums("jk,nij->nik", "m x"),
        sums("nij,j->ni", "x v"),
        sums("nij,j->n", "x v"),
        sums("nij,j->nij", "x v"),
        sums("nij,ijk->nik", "x cube"),
        sums("nij,ijk->nk", "x cube"),
        sums("nij,ijk->nijk", "x cube"),
        sums("nij,aik->njk", "x wide"),
        sums("...j,jk->...k"),
        sums("nij->nji", "x"),
        sums("nij->nj", "x"),
        sums("nij,nkj->nik", "x x"),
        sums("nij,nij->n", "x x"),
        sums("nij,nij->nij", "x x"),
        sums("bhqd,bhkd->bhqk", "x x", ("N", 2, 3, 4)),
        sums("bqhd,bkhd->bhqk", "x x", ("N", 3, 2, 4)),
    ],
    ids=lambda m: str(m.graph.node[0].attribute[0].s),
)
def test_every_equation_equals_onnxruntime(original: ModelProto) -> None:
    assert_faithful(original, 1, 3)


def test_letters_of_an_equation() -> None:
    assert parsed("ij,jk", [2, 2]) == ([("i", "j"), ("j", "k")], ("i", "k"))
    assert parsed("...b,a", [3, 1]) == ([("#0", "#1", "b"), ("a",)], ("#0", "#1", "a", "b"))
    assert parsed("a...,...->a...", [1, 2]) == ([("a",), ("#0", "#1")], ("a", "#0", "#1"))


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (sums("nii->n", "x", ("N", 4, 4)), "takes a diagonal"),
        (sums("nij,jk,k->ni", "x m v"), "has 3 operands"),
        (sums("nij->ij", "x"), "over the batch"),
        (sums("nij,mkj->nmik", "x x"), "over the batch"),
        (sums("nij,jk->nq"), "has a wrong result"),
        (sums("n...->n", "x"), "leaves out what its dots are"),
        (sums("nij,jk->n->"), "has a wrong equation"),
        (sums("nijl,jk->n"), "has an equation for other axes"),
        (sums("nij,ik->nk"), "has a letter of two sizes"),
    ],
)
def test_equations_that_are_refused(refused: ModelProto, reason: str) -> None:
    with pytest.raises(LutraError, match=reason):
        from_onnx(refused)


def single(op: str, inputs: str, shape: list[Any], opset: int, **kw: Any) -> ModelProto:
    names = [name.replace("-", "") for name in inputs.split()]
    weights = {name: W[name] for name in names if name in W}
    return model([node(op, names, "y", **kw)], shape, weights, opset=opset)


@pytest.mark.parametrize(
    "original",
    [
        single("SwiGLU", "x x", [2, 3, 4], 28, alpha=0.7),
        single("SwiGLU", "x x", [2, 3, 4], 28),
        single("Swish", "x", [2, 3, 4], 24, alpha=1.7),
        *(
            single("RotaryEmbedding", "x cos sin ids", [1, 2, 3, 8], 23, interleaved=pairs)
            for pairs in (0, 1)
        ),
        single("RotaryEmbedding", "x cos sin twice", [2, 2, 3, 8], 23),
        single("RotaryEmbedding", "x cos sin ids", [1, 3, 16], 23, num_heads=2),
        single("RotaryEmbedding", "x cos2 sin2 ids", [1, 2, 3, 8], 23, rotary_embedding_dim=4),
        single("CausalConvWithState", "x k", [2, 6, 5], 27),
        single("CausalConvWithState", "x k b", [2, 6, 5], 27, activation="silu"),
    ],
    ids=lambda m: m.graph.node[0].op_type,
)
def test_ops_of_language_models_equal_the_reference(original: ModelProto) -> None:
    shape = [dim.dim_value for dim in original.graph.input[0].type.tensor_type.shape.dim]
    x = data(shape)
    theirs = np.asarray(ReferenceEvaluator(original).run(None, {"x": x})[0])  # type: ignore[index]
    graph = from_onnx(original)
    whole = graph.inputs[0].shape == x.shape
    (ours,) = evaluate(graph, {"x": x[None] if whole else x}).values()
    np.testing.assert_allclose(ours[0] if whole else ours, theirs, rtol=1e-4, atol=1e-5)
