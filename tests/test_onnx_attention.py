"""Import of ONNX's Attention, against onnx's own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.importer import literal
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, Softmax
from lutra.frontend.passes import simplify

from .onnx_models import data, node

STEPS, HEADS, SIZE = 5, 4, 6
RNG = np.random.default_rng(3)
W: dict[str, Array] = {
    "bools": RNG.random((STEPS, STEPS)) < 0.6,
    "floats": np.where(RNG.random((HEADS, STEPS, STEPS)) < 0.7, 0.5, -np.inf).astype(np.float32),
    "short": data((STEPS, STEPS - 2), 5),
    "some": np.array([3]),
}
W["bools"][2] = False  # a query that sees nothing gets zeros


def attention(
    names: str, opset: int = 23, batch: Any = "N", flat: bool = False, kv: int = HEADS, **kw: Any
) -> ModelProto:
    """Queries, keys and values of the same steps, and what else it reads of W or as data."""
    if flat:
        kw |= {"q_num_heads": HEADS, "kv_num_heads": kv}

    def shape(heads: int) -> list[Any]:
        return [batch, STEPS, heads * SIZE] if flat else [batch, heads, STEPS, SIZE]

    inputs = {"q": shape(HEADS), "k": shape(kv), "v": shape(kv)}
    if "pk" in names:
        inputs |= {"pk": [batch, kv, 3, SIZE], "pv": [batch, kv, 3, SIZE]}
    if "scores" in names:
        inputs |= {"scores": [batch, 1, STEPS, STEPS]}
    read = [*"qkv", *(name.replace("-", "") for name in names.split())]
    graph = helper.make_graph(
        [node("Attention", read, "y", **kw)],
        "attention",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(W[name], name) for name in read if name in W],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


FORMS = [
    *(
        attention("", opset, flat=flat, kv=kv, **form)
        for opset in (23, 24, 25)
        for flat in (False, True)
        for kv in (4, 2, 1)
        for form in ({}, {"is_causal": 1}, {"scale": 0.3, "softcap": 1.5})
    ),
    *(attention(mask, causal, is_causal=1) for mask in ("bools", "floats") for causal in (23, 25)),
    attention("bools"),
    attention("short", flat=True),
    attention("scores"),
    attention("- pk pv", is_causal=1),
    attention("- pk pv", flat=True, kv=2),
    attention("- - - some", 24, batch=1, is_causal=1),
    attention("", 25, left_window_size=1, right_window_size=2),
    attention("", 25, left_window_size=2, is_causal=1),
]


@pytest.mark.parametrize("original", FORMS)
def test_every_form_equals_the_reference(original: ModelProto) -> None:
    plain = literal(original)
    graph = simplify(plain.graph)
    fixed = original.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    feeds = {
        port.name: data((fixed or 2, *port.outer_shape), i) for i, port in enumerate(graph.inputs)
    }
    theirs = np.asarray(ReferenceEvaluator(original).run(None, feeds)[0])  # type: ignore[index]
    (ours,) = evaluate(graph, feeds).values()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert any(node.op == Softmax() for node in graph.nodes)


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (attention("", scale=-1.0), "'scale' is -1.0; supported: above 0"),
        (attention("", softmax_precision=10), "'softmax_precision' is 10"),
    ],
)
def test_forms_that_are_refused(refused: ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        literal(refused)
