"""QONNX's ops on import: held against the executor of the qonnx package, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.importer import from_onnx, load
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import Array, Bipolar, Quantize, Round

from .onnx_models import node, run
from .qonnx_models import GOLDEN, MODELS, SAMPLES, cases, inputs, made, quant, shared

CASES = cases()
PLAIN: dict[str, Any] = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}


def computed(graph: Graph) -> Array:
    (port,), (output,) = graph.inputs, graph.outputs
    return evaluate(graph, {port.name: inputs(SAMPLES, *port.outer_shape)})[output.name]


def expected(name: str) -> Array:
    with np.load(GOLDEN) as golden:
        found: Array = golden[name]
        return found


@pytest.mark.parametrize("name", CASES)
def test_a_small_model_gives_what_its_executor_gives(name: str) -> None:
    assert np.array_equal(computed(from_onnx(CASES[name])), expected(name))


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is unset")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_made_by_others_gives_what_its_executor_gives(name: str) -> None:
    graph = from_onnx(shared(name))
    found, want = computed(graph), expected(name)
    assert graph.grids
    assert np.array_equal(found.reshape(want.shape), want)


@pytest.mark.parametrize("domain", ["", "onnx.brevitas", "finn.custom_op.general"])
@pytest.mark.parametrize("imported", [True, False])
def test_the_domain_has_many_names_and_need_not_be_imported(domain: str, imported: bool) -> None:
    proto = made([quant("x", "y", 0.5, 0, 4, **PLAIN)], (1, 8))
    proto.graph.node[0].domain = domain
    if not imported:
        del proto.opset_import[1]
    (only,) = from_onnx(proto).nodes
    assert only.op == Quantize(-8, 7, Round.HALF_EVEN, shifted=True)


def test_what_is_left_out_is_as_the_documents_say() -> None:
    (only,) = from_onnx(made([quant("x", "y", 0.5, 0, 4)], (1, 8))).nodes
    assert only.op == Quantize(-8, 7, Round.HALF_EVEN, shifted=True)


def test_rounding_to_zero_is_down() -> None:
    nodes = [quant("x", "y", 0.5, 0, 4, **PLAIN | {"rounding_mode": "round_to_zero"})]
    (only,) = from_onnx(made(nodes, (1, 8))).nodes
    assert only.op == Quantize(-8, 7, Round.DOWN, shifted=True)


def grids(*nodes: NodeProto, **weights: Array) -> Graph:
    return from_onnx(made(nodes, (1, 8), weights))


def test_a_quantised_weight_has_a_grid() -> None:
    graph = grids(
        quant("w", "wq", 0.25, 1, 3, **PLAIN), node("MatMul", ["x", "wq"], "y"), w=inputs(8, 3)
    )
    (grid,) = graph.grids.values()
    assert (grid.low, grid.high, grid.scale.tolist()) == (-5, 2, [0.25])


@pytest.mark.parametrize("alpha", [1.0, 2.0, -1.0])
def test_the_grid_of_a_gemm_is_scaled(alpha: float) -> None:
    graph = grids(
        quant("w", "wq", "s", 0, 3, **PLAIN),
        quant("b", "bq", 0.5, 0, 8, **PLAIN),
        node("Gemm", ["x", "wq", "bq"], "y", alpha=alpha, transB=1),
        w=inputs(2, 8),
        b=inputs(2),
        s=np.array([[0.25], [0.5]], np.float32),
    )
    weight, bias = graph.nodes[0].inputs[1:]
    assert graph.grids[weight].scale.tolist() == [0.25 * abs(alpha), 0.5 * abs(alpha)]
    assert graph.grids[bias].scale.tolist() == [0.5]


def test_scales_along_the_inputs_are_kept_in_the_values_alone() -> None:
    scale = np.array([0.25, 0.5] * 4, np.float32).reshape(8, 1)
    graph = grids(
        quant("w", "wq", "s", 0, 3, **PLAIN),
        node("MatMul", ["x", "wq"], "y"),
        w=inputs(8, 3),
        s=scale,
    )
    assert not graph.grids
    weight = graph.constants[graph.nodes[0].inputs[1]]
    assert np.array_equal(weight, np.clip(np.rint(inputs(8, 3) / scale), -4, 3) * scale)


def test_images_have_no_transposes_around_a_quantisation() -> None:
    graph = from_onnx(CASES["conv"])
    assert [type(node.op).__name__ for node in graph.nodes] == ["Conv", "Quantize"]
    (grid,) = graph.grids.values()
    assert grid.scale.tolist() == [0.5, 0.25, 0.5, 1.0]


def test_one_signed_bit_is_bipolar() -> None:
    assert [node.op for node in from_onnx(CASES["one bit"]).nodes] == [Bipolar()]


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("nodes", "weights", "reason"),
    [
        ([quant("x", "y", 0.5, 0, 3.5, **PLAIN)], {}, "bit width of 3.5"),
        ([quant("x", "y", 0.5, 0, 33, **PLAIN)], {}, "bit width of 33"),
        ([quant("x", "y", 0.5, 0, 0, **PLAIN)], {}, "bit width of 0"),
        ([quant("x", "y", 0.5, 0, "b", **PLAIN)], {"b": np.ones(2, np.float32)}, "one number"),
        ([quant("x", "y", 0, 0, 4, **PLAIN)], {}, "not positive"),
        ([quant("x", "y", -1, 0, 4, **PLAIN)], {}, "not positive"),
        ([quant("x", "y", "s", 0, 4, **PLAIN)], {"s": ONE * np.nan}, "not positive"),
        ([quant("x", "y", "s", 0, 4, **PLAIN)], {"s": ONE * 1e-45}, "not positive"),
        ([quant("x", "y", "s", 0, 4, **PLAIN)], {"s": ONE[:0]}, "one a channel"),
        ([quant("x", "y", 0.5, 0.5, 4, **PLAIN)], {}, "no integer"),
        ([quant("x", "y", 0.5, 1, 1, **PLAIN)], {}, "one bit and has a zero point"),
        ([quant("x", "y", 0.5, 0, 1, signed=0, narrow=1)], {}, "one integer alone"),
        ([quant("x", "y", 0.5, 0, 4, rounding_mode="TO_MARS")], {}, "rounds by TO_MARS"),
        ([quant("x", "y", 0.5, 0, 4, mode=1)], {}, "attribute 'mode' is not supported"),
        ([quant("x", "y", 0.5, 0, 4, signed=2)], {}, "'signed' is 2"),
        ([quant("x", "y", 0.5, 0, 4, signed=1.0)], {}, "another type"),
        ([quant("x", "y", 0.5, 0, 4, 5)], {}, "has 5 inputs"),
        ([quant("x", "y", "x", 0, 4)], {}, "input 2 is not a constant"),
        ([quant("x", "y", "s", 0, 4)], {"s": np.ones((4, 1, 1), np.float32)}, "one a channel"),
        ([quant("x", "y", "s", 0, 4)], {"s": np.ones((2, 8), np.float32)}, "one a channel"),
        ([quant("x", "y", "s", 0, 4)], {"s": np.ones(4, np.float32)}, "do not fit the data"),
        ([quant("x", "y", 0.5, 2, 8, 4, op="Trunc")], {}, "zero point"),
        ([quant("x", "y", 0.5, 0, 4, 8, op="Trunc")], {}, "drops -4 bits"),
        ([quant("x", "y", 0.5, 0, 8, 0.75, 4, op="Trunc")], {}, "no power of two times"),
        ([quant("x", "y", 0.3, 0, 24, 4, op="Trunc")], {}, "integers of a value of many bits"),
        (
            [quant("w", "q", "s", 0, 4), node("MatMul", ["x", "q"], "y")],
            {"w": inputs(8, 1), "s": np.ones((8, 3), np.float32)},
            "one a channel",
        ),
        (
            [quant("w", "q", "s", 0, 4), node("MatMul", ["x", "q"], "y")],
            {"w": inputs(8, 1), "s": np.ones((1, 3), np.float32)},
            "for (8, 1)",
        ),
    ],
)
def test_what_cannot_be_said_exactly_is_refused(
    nodes: list[NodeProto], weights: dict[str, Array], reason: str
) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        grids(*nodes, **weights)
    assert reason in str(caught.value)
    assert nodes[0].name in str(caught.value)


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is unset")
@pytest.mark.parametrize("name", MODELS)
def test_a_whole_model_made_by_others_ends_as_its_integers_say(name: str) -> None:
    """What stands behind the last integers is in the graph too, and read off the same values."""
    path = Path(os.environ["LUTRA_MODEL_DIR"]) / f"{name}.onnx"
    graph, cut = load(path), from_onnx(shared(name))
    x = inputs(SAMPLES, *graph.inputs[0].outer_shape)
    last = cut.outputs[0].name
    kept = evaluate(graph, {graph.inputs[0].name: x}, [last])
    assert np.isfinite(kept[graph.outputs[0].name]).all()
    if last in graph.shapes:
        assert np.array_equal(kept[last].ravel(), computed(cut).ravel())


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is unset")
@pytest.mark.parametrize("name", ["two_layer_keras", "conv1d_small_keras"])
def test_a_model_of_keras(name: str) -> None:
    """To float32's accuracy, as sums are in another order; the file's batch is one."""
    path = Path(os.environ["LUTRA_MODEL_DIR"]) / f"{name}.onnx"
    graph = load(path)
    (port,), (output,) = graph.inputs, graph.outputs
    for x in inputs(SAMPLES, 1, *port.outer_shape):
        (want,) = run(onnx.load(path), **{port.name: x})
        np.testing.assert_allclose(evaluate(graph, {port.name: x})[output.name], want, 1e-5, 1e-6)
