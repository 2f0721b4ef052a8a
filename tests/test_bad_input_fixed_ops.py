"""A damaged ``FIXED.onnx`` of loops, rearrangements and norms: refused, or run without a crash."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from lutra.frontend.errors import LutraError
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel, from_fixed_onnx, to_fixed_onnx
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

from .cases import CASES
from .test_bad_input_fixed import Json, edited, metadata, mutate, run, with_metadata

Edit = Callable[[Json], Any]


@pytest.fixture(scope="module")
def saved() -> Callable[[str], onnx.ModelProto]:
    """The file of the first case of a kind, made once."""
    made: dict[str, onnx.ModelProto] = {}

    def of(kind: str) -> onnx.ModelProto:
        if kind not in made:
            graph = next(c for c in CASES if type(c.op).__name__ == kind).graph()
            x = np.random.default_rng(1).normal(size=(9, *graph.inputs[0].shape))
            precision = calibrate(graph, Settings(), x.astype(np.float32))
            made[kind] = to_fixed_onnx(FixedModel(graph, lower(graph, precision)))
        return made[kind]

    return of


def node(data: Json, kind: str) -> Json:
    """The first node of a kind, in the body of a loop too."""
    nodes = data["fixed"]["nodes"]
    inner = [n for outer in nodes for n in outer.get("attributes", {}).get("body", [])]
    return next(n for n in [*nodes, *inner] if n["op"] == kind)


def attributes(kind: str, **changes: Any) -> Edit:
    return lambda data: node(data, kind)["attributes"].update(changes)


def axis(**changes: Any) -> Edit:
    return lambda data: node(data, "Rearrange")["attributes"]["axes"][0].update(changes)


def loop(change: Callable[[Json, Json], Any]) -> Edit:
    """A change of the loop's attributes, with its node at hand."""
    return lambda data: change(
        node(data, "Recurrence")["attributes"], node(data, "Recurrence")["inputs"]
    )


def formats(change: Callable[[Json], str]) -> Edit:
    """Another format for the value that ``change`` names."""
    return lambda data: data["fixed"]["formats"].update(
        {change(node(data, "Recurrence")["attributes"]): "fixed<5,2>"}
    )


EDITS: list[tuple[str, Edit, str]] = [
    ("Lstm", loop(lambda a, i: a["body"][1]["inputs"].__setitem__(0, i[0])), "no earlier node"),
    ("Lstm", loop(lambda a, i: a["body"][0].update(inputs=["x", "x"])), "not what it takes"),
    ("Lstm", loop(lambda a, i: a["constants"].pop()), "other constants than it reads"),
    ("Lstm", loop(lambda a, i: (a["constants"].pop(), i.pop())), "not what it takes"),
    ("Lstm", loop(lambda a, i: i.__setitem__(0, i[1])), "not what it takes"),
    ("Lstm", loop(lambda a, i: a.update(result=i[0])), "body of the loop does not fit"),
    ("Lstm", loop(lambda a, i: a.update(result=a["parts"][0])), "does not hold its values"),
    ("Lstm", loop(lambda a, i: a.update(states=[])), "no earlier node"),
    ("Lstm", loop(lambda a, i: a["states"].append(a["states"][0])), "body of the loop"),
    ("Lstm", loop(lambda a, i: a.update(body=[])), "body of the loop"),
    ("Lstm", loop(lambda a, i: a["body"].pop()), "body of the loop"),
    ("Lstm", loop(lambda a, i: a["states"][0].update(after=a["parts"][0])), "another format"),
    ("Lstm", formats(lambda a: str(a["states"][0]["before"])), "another format"),
    ("Lstm", formats(lambda a: str(a["parts"][0])), "another format"),
    ("SimpleRnn", loop(lambda a, i: a["parts"].pop()), "gates do not fit"),
    ("SimpleRnn", loop(lambda a, i: a["parts"].extend("pq")), "gates do not fit"),
    ("Gru", loop(lambda a, i: a["body"].reverse()), "no earlier node"),
    ("Lstm", attributes("Combine", shifts=[10**6, 10**6]), "do not align"),
    ("Lstm", attributes("Combine", shifts=[-1, -1]), "do not align"),
    ("Lstm", attributes("Lut", parameters=[float("nan")]), "a number that a float can hold"),
    ("Pad", axis(source=9), "every axis of its operand once"),
    ("Pad", axis(source=-1), "every axis of its operand once"),
    ("Pad", axis(size=10**9), "whole number up to"),
    ("Pad", axis(size=2**28), "too large"),
    ("Pad", axis(size=0), "every axis of its operand once"),
    ("Pad", axis(divisor=0), "every axis of its operand once"),
    ("Pad", axis(sparse=1), "one of False, True"),
    ("Pad", attributes("Rearrange", axes=[]), "every axis of its operand once"),
    ("Pad", attributes("Rearrange", fill=2**60), "whole number up to"),
    ("Pad", attributes("Rearrange", fill=2**52), "does not hold its values"),
    ("Concat", attributes("Concat", axis=99), "no such axis"),
    ("Concat", attributes("Concat", axis=-1), "no such axis"),
    ("Concat", lambda d: node(d, "Concat").update(inputs=["x"]), "not what it takes"),
    ("MatMul", attributes("MatMul", transposed=True), "matrices do not fit"),
    ("MatMul", lambda d: node(d, "MatMul").update(inputs=["x"]), "not what it takes"),
    ("LayerNorm", attributes("FloatIndex", bits=-1), "cannot have this width"),
    ("LayerNorm", attributes("FloatIndex", bits=60), "cannot have this width"),
    ("LayerNorm", attributes("FloatIndex", bits=2**28), "cannot have this width"),
    ("LeakyRelu", attributes("Leaky", fraction=-1), "another fraction"),
    ("LeakyRelu", attributes("Leaky", fraction=2**28), "another fraction"),
    ("Clip", attributes("Clamp", low=10, high=-10), "wrong order"),
    ("Clip", attributes("Clamp", low=-(2**60)), "whole number up to"),
]


@pytest.mark.parametrize(("kind", "edit", "problem"), EDITS)
def test_what_is_wrong_is_said(
    saved: Callable[[str], onnx.ModelProto], kind: str, edit: Edit, problem: str
) -> None:
    with pytest.raises(LutraError, match=problem):
        from_fixed_onnx(edited(saved(kind), edit))


@pytest.mark.parametrize("change", [{"step": 2**28}, {"start": -(2**28)}, {"divisor": 2**28}])
def test_places_far_outside_hold_the_fill(
    saved: Callable[[str], onnx.ModelProto], change: dict[str, int]
) -> None:
    run(from_fixed_onnx(edited(saved("Pad"), axis(**change))))


def test_a_long_body_takes_time_in_proportion(saved: Callable[[str], onnx.ModelProto]) -> None:
    """With work for each pair of nodes this would take a minute."""

    def lengthen(data: Json) -> None:
        body = node(data, "Recurrence")["attributes"]["body"]
        first = body[0]
        for i in range(5000):
            body.append(copy.deepcopy(first) | {"name": f"n{i}", "output": f"v{i}"})
            data["fixed"]["formats"][f"v{i}"] = data["fixed"]["formats"][first["output"]]
            data["fixed"]["layers"][f"n{i}"] = data["fixed"]["layers"][first["name"]]

    model = from_fixed_onnx(edited(saved("Lstm"), lengthen))
    assert sum(1 for _ in model.fixed.every_node()) > 5000
    Simulator(model.fixed, keep=True)


@pytest.mark.parametrize(
    "kind", ["Lstm", "Gru", "SimpleRnn", "ConvTranspose", "Pad", "MatMul", "Concat", "LayerNorm"]
)
def test_random_damage_is_refused_or_harmless(
    saved: Callable[[str], onnx.ModelProto], kind: str
) -> None:
    rng = np.random.default_rng(4)
    text = metadata(saved(kind))
    refused = 0
    for _ in range(50):
        data = json.loads(text)
        mutate(data, rng)
        try:
            model = from_fixed_onnx(with_metadata(saved(kind), json.dumps(data)))
        except LutraError:
            refused += 1
            continue
        run(model)
    assert refused > 30
