"""FIXED.onnx: saved and loaded without change, readable by others, and guarded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from lutra.frontend.errors import LutraError, ModelError
from lutra.frontend.graph import Graph
from lutra.frontend.onnx.exporter import save
from lutra.frontend.ops import Lstm, Transpose
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import (
    DIGEST_KEY,
    GRAPH_KEY,
    QONNX_DOMAIN,
    FixedModel,
    from_fixed_onnx,
    load_fixed,
    save_fixed,
    to_fixed_onnx,
)
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

from .cases import CASES, ROUNDED, Case


def assert_same(a: Graph | FixedGraph, b: Graph | FixedGraph) -> None:
    """Equal in every field; arrays by value and type."""
    assert type(a) is type(b)
    for name in ("name", "inputs", "outputs", "nodes", "formats", "layers", "entry"):
        assert getattr(a, name, None) == getattr(b, name, None), name
    assert a.shapes == b.shapes
    assert sorted(a.constants) == sorted(b.constants)
    for name, value in a.constants.items():
        assert value.dtype == b.constants[name].dtype
        assert np.array_equal(value, b.constants[name])


STREAMED = [case for case in [*CASES, *ROUNDED] if not isinstance(case.op, Transpose)]


@pytest.mark.parametrize("case", STREAMED, ids=lambda case: case.name)
def test_saving_and_loading_change_nothing(case: Case, tmp_path: Path) -> None:
    graph = case.graph()
    x = case.arrays(10, np.float32)[0]
    model = FixedModel(graph, lower(graph, calibrate(graph, Settings(bits=7, weight_bits=5), x)))
    save_fixed(model, tmp_path / "fixed.onnx")
    loaded = load_fixed(tmp_path / "fixed.onnx")
    assert_same(loaded.source, model.source)
    assert_same(loaded.fixed, model.fixed)


def test_the_same_model_gives_the_same_bytes(fixed_cnn: FixedModel) -> None:
    first = to_fixed_onnx(fixed_cnn).SerializeToString(deterministic=True)
    assert to_fixed_onnx(fixed_cnn).SerializeToString(deterministic=True) == first


def test_the_body_is_onnx_with_a_quant_node_for_each_format(fixed_cnn: FixedModel) -> None:
    model = to_fixed_onnx(fixed_cnn)
    onnx.checker.check_model(model)
    quants = {node.input[0]: node for node in model.graph.node if node.op_type == "Quant"}
    assert {node.domain for node in quants.values()} == {QONNX_DOMAIN}
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name in ("x", "conv.weight", "relu", "dense.weight", "dense"):
        format_ = fixed_cnn.fixed.formats[name]
        scale, zero, width = (values[i].item() for i in quants[name].input[1:])
        attributes = {a.name: helper.get_attribute_value(a) for a in quants[name].attribute}
        assert (scale, zero, width) == (format_.step, 0, format_.width)
        assert attributes["signed"] == format_.signed


def test_a_float_model_is_no_fixed_one(cnn: Graph, tmp_path: Path) -> None:
    save(cnn, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: is not a fixed-point model.*lutra quantize"):
        load_fixed(tmp_path / "m.onnx")


def change_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "dense.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))


def change_node(model: onnx.ModelProto) -> None:
    next(n for n in model.graph.node if n.op_type == "Relu").op_type = "Tanh"


def change_attribute(model: onnx.ModelProto) -> None:
    quant = next(n for n in model.graph.node if n.op_type == "Quant")
    next(a for a in quant.attribute if a.name == "signed").i ^= 1


def change_wire(model: onnx.ModelProto) -> None:
    next(n for n in model.graph.node if n.op_type == "Relu").input[0] = "x"


@pytest.mark.parametrize("change", [change_weight, change_node, change_attribute, change_wire])
def test_a_body_edited_by_another_tool_is_refused(fixed_cnn: FixedModel, change: object) -> None:
    model = to_fixed_onnx(fixed_cnn)
    change(model)  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"changed after it was quantised.*again"):
        from_fixed_onnx(model)


def test_saving_with_another_encoding_is_no_change(fixed_cnn: FixedModel) -> None:
    """Documentation strings and producer may differ, as after a pass through a viewer."""
    model = to_fixed_onnx(fixed_cnn)
    model.producer_name = "viewer"
    model.graph.doc_string = "seen"
    for node in model.graph.node:
        node.doc_string = "seen"
    assert_same(from_fixed_onnx(model).fixed, fixed_cnn.fixed)


def edited(model: FixedModel, edit: object) -> onnx.ModelProto:
    """The file with its metadata changed and its digest right."""
    body = to_fixed_onnx(model)
    for entry in body.metadata_props:
        if entry.key == GRAPH_KEY:
            data = json.loads(entry.value)
            edit(data)  # type: ignore[operator]
            entry.value = json.dumps(data)
    return body


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(layout=99),
        lambda d: d.pop("fixed"),
        lambda d: d["fixed"].pop("nodes"),
        lambda d: d["fixed"].update(nodes={}),
        lambda d: d["fixed"]["nodes"][0].update(op="Exec"),
        lambda d: d["fixed"]["nodes"][0].update(inputs=[1]),
        lambda d: d["fixed"]["nodes"][0].update(attributes={}),
        lambda d: d["fixed"]["nodes"][0]["attributes"]["window"].update(stride=[0, 1]),
        lambda d: d["fixed"]["nodes"][0]["attributes"]["window"].update(kernel=[2**40, 1]),
        lambda d: d["fixed"]["nodes"][0]["attributes"]["window"].update(pad=[[0], [0]]),
        lambda d: d["fixed"]["nodes"].reverse(),
        lambda d: d["fixed"]["nodes"].append(d["fixed"]["nodes"][0]),
        lambda d: d["fixed"]["formats"].update(relu="fixed<99,1>"),
        lambda d: d["fixed"]["formats"].update(relu=8),
        lambda d: d["fixed"]["formats"].pop("relu"),
        lambda d: d["fixed"]["inputs"][0].update(shape=[2**14, 2**14, 2**14]),
        lambda d: d["fixed"]["inputs"][0].update(axes=[0, 0, 1]),
        lambda d: d["fixed"]["entry"].clear(),
        lambda d: d["fixed"]["entry"]["x"].update(rounding="NONE"),
        lambda d: d["fixed"]["constants"]["conv.weight"].update(data="!!"),
        lambda d: d["fixed"]["constants"]["conv.weight"].update(data="AAAA"),
        lambda d: d["fixed"]["constants"]["conv.weight"].update(shape=[2**20, 2**20]),
        lambda d: d["fixed"]["constants"]["conv.weight"].update(shape=[1]),
        lambda d: d["fixed"]["constants"]["conv.weight"].update(type="O"),
        lambda d: d["float"].update(constants=["nothing"]),
        lambda d: d["float"]["nodes"][0].update(op="Cast"),
    ],
)
def test_damaged_metadata_are_refused(fixed_cnn: FixedModel, edit: object) -> None:
    with pytest.raises(LutraError):
        from_fixed_onnx(edited(fixed_cnn, edit))


def first(data: dict[str, Any], op: str) -> dict[str, Any]:
    """The attributes of the first node of a kind, in a loop's body too."""
    nodes = data["fixed"]["nodes"]
    for node in nodes:
        nodes = [*nodes, *node.get("attributes", {}).get("body", [])]
    found: dict[str, Any] = next(node for node in nodes if node["op"] == op)["attributes"]
    return found


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: first(d, "Recurrence").update(reverse=0),
        lambda d: first(d, "Recurrence").update(result="nothing"),
        lambda d: first(d, "Recurrence").update(parts=[]),
        lambda d: first(d, "Recurrence")["parts"].append("more"),
        lambda d: first(d, "Recurrence").update(states=[["a", "b"]]),
        lambda d: first(d, "Recurrence")["states"][0].update(after="nothing"),
        lambda d: first(d, "Recurrence")["constants"].pop(),
        lambda d: first(d, "Recurrence")["body"].reverse(),
        lambda d: first(d, "Recurrence")["body"][0].update(op="BelowMax", attributes={}),
        lambda d: first(d, "Recurrence")["body"][0].update(op="Recurrence"),
        lambda d: first(d, "Combine").update(shifts=[0]),
        lambda d: first(d, "Combine").update(shifts=[2**27, 2**27]),
        lambda d: first(d, "Combine").update(shifts=[-1, -1]),
        lambda d: first(d, "Combine").update(negative="no"),
        lambda d: first(d, "Lut").update(function="exec"),
        lambda d: first(d, "Lut").update(parameters=[float("nan")]),
        lambda d: first(d, "Lut").update(parameters=[10**400]),
        lambda d: d["float"]["nodes"][0]["attributes"].update(last=None),
    ],
)
def test_damaged_loops_are_refused(fixed_lstm: FixedModel, edit: object) -> None:
    with pytest.raises(LutraError):
        from_fixed_onnx(edited(fixed_lstm, edit))


@pytest.fixture(scope="module")
def fixed_lstm() -> FixedModel:
    graph = next(case for case in CASES if isinstance(case.op, Lstm)).graph()
    x = np.random.default_rng(1).normal(size=(9, *graph.inputs[0].shape)).astype(np.float32)
    return FixedModel(graph, lower(graph, calibrate(graph, Settings(), x)))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "3"])
def test_metadata_that_are_no_json_are_refused(fixed_cnn: FixedModel, text: str) -> None:
    body = to_fixed_onnx(fixed_cnn)
    for entry in body.metadata_props:
        if entry.key == GRAPH_KEY:
            entry.value = text
    with pytest.raises(ModelError):
        from_fixed_onnx(body)


def test_a_missing_digest_is_refused(fixed_cnn: FixedModel) -> None:
    body = to_fixed_onnx(fixed_cnn)
    kept = [entry for entry in body.metadata_props if entry.key != DIGEST_KEY]
    del body.metadata_props[:]
    body.metadata_props.extend(kept)
    with pytest.raises(ModelError, match="changed after"):
        from_fixed_onnx(body)
