"""A damaged ``FIXED.onnx``: refused with an error of ours, or run without a crash."""

from __future__ import annotations

import base64
import copy
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from lutra.frontend.errors import LutraError, ModelError
from lutra.frontend.ops import Array
from lutra.quantize.fixed_onnx import (
    DIGEST_KEY,
    GRAPH_KEY,
    FixedModel,
    from_fixed_onnx,
    to_fixed_onnx,
)
from lutra.sim.simulator import Simulator

Json = Any
Place = tuple[Any, Any]
"""A container in the metadata, and a key or index of it."""


@pytest.fixture(scope="module")
def saved(fixed_cnn: FixedModel) -> onnx.ModelProto:
    return to_fixed_onnx(fixed_cnn)


def metadata(body: onnx.ModelProto, key: str = GRAPH_KEY) -> str:
    return next(str(entry.value) for entry in body.metadata_props if entry.key == key)


def with_metadata(body: onnx.ModelProto, text: str, key: str = GRAPH_KEY) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(body)
    for entry in changed.metadata_props:
        if entry.key == key:
            entry.value = text
    return changed


def edited(body: onnx.ModelProto, edit: Callable[[Json], object]) -> onnx.ModelProto:
    data = json.loads(metadata(body))
    edit(data)
    return with_metadata(body, json.dumps(data))


def places(data: Json) -> Iterator[Place]:
    """Every place of a tree."""
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield data, key
            yield from places(data[key])


def array(raw: Array, shape: list[int] | None = None) -> Json:
    data = base64.b64encode(zlib.compress(raw.astype("<i8").tobytes())).decode()
    return {"shape": shape or list(raw.shape), "type": "<i8", "data": data}


ODD: list[Json] = [
    None, True, False, 0, 1, -1, 2, 53, 54, 10**6, 2**31, 2**63, 10**400, 0.5, 1e300, "", "x", "y",
    "conv", "Relu", "Cast", "Lut", "Conv", "Mul", "Softmax", "SAT_ZERO", "WRAP", "TRN",
    "fixed<8,3>", "ufixed<53,-128>", "fixed<53,128>", "fixed<1,1>", "ufixed<1,0>", "fixed<0,0>",
    "\ud800", "a\0b", "[bold]", [], [0], [1, 1], [-1, 3], [[0, 0], [0, 0]], [[10**8, 0]], {},
    {"kernel": [1, 1], "stride": [1, 1], "pad": [[0, 0], [0, 0]]},
    {"kernel": [0, 0], "stride": [0, 0], "pad": [[-1, 0], [0, -1]]},
    {"shape": [], "type": "<i8", "data": ""},
    array(np.array([2**62, -(2**63)])),
    array(np.zeros(1)),
]  # fmt: skip
"""Values that may stand anywhere."""


def mutate(data: Json, rng: np.random.Generator) -> None:
    """Damage one place: another value, one from elsewhere, none, twice, or a number nearby."""
    found = list(places(data))
    holder, key = found[rng.integers(len(found))]
    value = holder[key]
    match int(rng.integers(6)):
        case 0:
            holder[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
        case 1:
            other, place = found[rng.integers(len(found))]
            holder[key] = copy.deepcopy(other[place])
        case 2:
            del holder[key]
        case 3 if isinstance(holder, list):
            holder.insert(int(rng.integers(len(holder) + 1)), copy.deepcopy(value))
        case 4 if isinstance(value, list):
            rng.shuffle(value)
        case _ if type(value) is int:
            holder[key] = value + int(rng.integers(-2, 3))
        case _ if isinstance(value, str) and value:
            at = int(rng.integers(len(value)))
            holder[key] = value[:at] + chr(int(rng.integers(32, 127))) + value[at + 1 :]
        case _:
            holder[key] = ODD[rng.integers(len(ODD))]


def run(model: FixedModel) -> None:
    """Whatever loads must run, on any input, with every intermediate."""
    (port,) = model.fixed.inputs
    if np.prod(port.shape) > 1e6:
        return
    x = np.random.default_rng(0).normal(size=(2, *port.outer_shape)).astype(np.float32)
    Simulator(model.fixed, keep=True).run(x)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_metadata_are_refused_or_harmless(saved: onnx.ModelProto, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = metadata(saved)
    refused = loaded = 0
    for _ in range(250):
        data = json.loads(text)
        for _ in range(rng.integers(1, 4)):
            mutate(data, rng)
        try:
            model = from_fixed_onnx(with_metadata(saved, json.dumps(data)))
        except LutraError:
            refused += 1
            continue
        loaded += 1
        run(model)
    assert refused > 100
    assert loaded > 0


def test_text_that_is_no_json(saved: onnx.ModelProto) -> None:
    text = metadata(saved)
    for damaged in ("", text[:-10], text + "}", "[" * 10**5, "{" * 10**5, "NaN", "[]", "7", "null"):
        with pytest.raises(ModelError):
            from_fixed_onnx(with_metadata(saved, damaged))


def node(data: Json, kind: str) -> Json:
    return next(n for n in data["fixed"]["nodes"] if n["op"] == kind)


def bomb(size: int) -> Json:
    packed = zlib.compress(bytes(size), 9)
    return {"shape": [4], "type": "<i1", "data": base64.b64encode(packed).decode()}


def wide_index(data: Json) -> None:
    """A table whose index has the widest format that there is."""
    data["fixed"]["formats"][node(data, "Lut")["inputs"][0]] = "fixed<53,46>"


def cycle(data: Json) -> None:
    nodes = data["fixed"]["nodes"]
    nodes[0]["inputs"][0] = nodes[-1]["output"]


EDITS: dict[str, tuple[Callable[[Json], object], str]] = {
    "another layout": (lambda d: d.update(layout=99), "another version of Lutra"),
    "no fixed network": (lambda d: d.pop("fixed"), "damaged"),
    "no nodes": (lambda d: d["fixed"].update(nodes=[]), "not what the nodes compute"),
    "a cycle": (cycle, "no earlier node defines"),
    "nodes in disorder": (lambda d: d["fixed"]["nodes"].reverse(), "no earlier node defines"),
    "an unknown op": (lambda d: node(d, "Relu").update(op="Gelu"), "found Gelu"),
    "a name twice": (
        lambda d: [n.update(name="same") for n in d["fixed"]["nodes"][:2]],
        "2 nodes bear the same name",
    ),
    "a value twice": (
        lambda d: d["fixed"]["nodes"][1].update(output=d["fixed"]["nodes"][0]["output"]),
        "second time",
    ),
    "no layer": (lambda d: d["fixed"]["layers"].popitem(), "belongs to no layer"),
    "an unknown layer": (
        lambda d: d["fixed"]["layers"].update({d["fixed"]["nodes"][0]["name"]: "elsewhere"}),
        "other layers than the float network",
    ),
    "a shift out of range": (
        lambda d: node(d, "Cast")["attributes"].update(shift=5000),
        "Cast does not fit",
    ),
    "an impossible format": (
        lambda d: d["fixed"]["formats"].update(x="fixed<99,3>"),
        "cannot have this width",
    ),
    "a format too narrow": (
        lambda d: d["fixed"]["formats"].update({node(d, "Conv")["output"]: "fixed<4,2>"}),
        "does not hold its values",
    ),
    "no format": (lambda d: d["fixed"]["formats"].pop("x"), "no format"),
    "an unknown mode": (
        lambda d: node(d, "Cast")["attributes"].update(rounding="UP"),
        "a known mode",
    ),
    "an index of 53 bits": (wide_index, "the table does not fit its index"),
    "a weight that is computed": (
        lambda d: node(d, "Dense")["inputs"].__setitem__(1, "x"),
        "not what it takes",
    ),
    "no table": (lambda d: node(d, "Lut")["inputs"].pop(), "not what it takes"),
    "another input": (
        lambda d: d["fixed"]["inputs"][0].update(axes=[1, 0, 2]),
        "other inputs or outputs",
    ),
    "a bomb": (
        lambda d: d["fixed"]["constants"].update({"conv.bias": bomb(10**8)}),
        "found 5 bytes; expected 4 bytes",
    ),
    "a huge shape": (
        lambda d: d["fixed"]["constants"].update({"conv.bias": array(np.zeros(1), [2**40])}),
        "whole number up to",
    ),
    "not base64": (
        lambda d: d["fixed"]["constants"].update({"conv.bias": bomb(4) | {"data": "%%%"}}),
        "compressed integers",
    ),
    "an empty constant": (
        lambda d: d["fixed"]["constants"].update(spare=array(np.zeros(0))),
        "the constant 'spare' is empty",
    ),
    "half a character": (lambda d: d["fixed"].update(name="\ud800"), "whole characters"),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_is_wrong_is_said(saved: onnx.ModelProto, name: str) -> None:
    edit, problem = EDITS[name]
    with pytest.raises(LutraError, match=problem):
        from_fixed_onnx(edited(saved, edit))


def test_a_body_that_another_tool_edited(saved: onnx.ModelProto) -> None:
    changes: list[Callable[[Any], object]] = [
        lambda body: body.graph.initializer[0].ClearField("raw_data"),
        lambda body: body.graph.node[0].attribute[0].ints.append(3),
        lambda body: body.graph.node.pop(),
        lambda body: body.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 7),
    ]
    for change in changes:
        body = onnx.ModelProto()
        body.CopyFrom(saved)
        change(body)
        with pytest.raises(LutraError):
            from_fixed_onnx(body)


def test_a_digest_that_is_missing_or_wrong(saved: onnx.ModelProto) -> None:
    for text in ("", "0" * 64, metadata(saved, DIGEST_KEY).upper()):
        with pytest.raises(ModelError, match="changed after it was quantised"):
            from_fixed_onnx(with_metadata(saved, text, DIGEST_KEY))


def test_what_was_not_damaged_is_the_same(saved: onnx.ModelProto, fixed_cnn: FixedModel) -> None:
    loaded = from_fixed_onnx(edited(saved, lambda data: None))
    assert loaded.fixed.nodes == fixed_cnn.fixed.nodes
    run(loaded)
