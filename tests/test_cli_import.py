"""What the commands let a user choose of how a model is imported, and what they say of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from .commands import Run
from .onnx_models import data, model, node


def sequences() -> ModelProto:
    """Two values that may be the result, behind an input whose time is left open."""
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("Relu", ["m"], "r"),
        node("ReduceMean", ["r"], "y", axes=[1], keepdims=0),
    ]
    m = model(nodes, ["N", "time", 3], {"w": data((3, 4))})
    m.graph.output.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["N", "time", 4]))
    return m


def pair() -> ModelProto:
    """Two inputs."""
    m = model([node("Sub", ["x", "z"], "y")], ["N", 3])
    m.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3]))
    return m


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(sequences(), "m.onnx")
    onnx.save(pair(), "pair.onnx")
    np.savez("x.npz", x=data((20, 6, 3)))
    return tmp_path


def test_inspect_shows_every_port_and_its_layout(lutra: Run) -> None:
    outcome = lutra("inspect", "m.onnx", "--shape", "time=6", "--check")
    assert outcome.status == 0, outcome
    assert "input: x, batch x 6 x 3\n" in outcome.out
    assert "output: y, batch x 4\n" in outcome.out
    assert "output: r, batch x 6 x 4\n" in outcome.out
    assert outcome.out.count("  equal") == 2


def test_an_open_size_is_asked_for(lutra: Run) -> None:
    outcome = lutra("inspect", "m.onnx")
    assert outcome.status == 2
    assert "--shape time=N" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--shape", "time"], "takes NAME=N"),
        (["--shape", "=4"], "takes NAME=N"),
        (["--shape", "time=-4"], "takes NAME=N"),
        (["--shape", "time=" + "9" * 5000], "takes NAME=N"),
        (["--shape", "time=4", "--shape", "time=5"], "twice"),
        (["--shape", "tim=4"], "tim"),
        (["--shape", "time=4", "--take", "nothing"], "nothing"),
    ],
)
def test_choices_that_are_refused(lutra: Run, arguments: list[str], text: str) -> None:
    outcome = lutra("inspect", "m.onnx", *arguments)
    assert outcome.status == 2
    assert text in outcome.err
    assert "Traceback" not in outcome.err


def test_a_network_that_ends_where_the_user_says(lutra: Run) -> None:
    chosen = ("--shape", "time=6", "--take", "m")
    outcome = lutra("inspect", "m.onnx", *chosen, "--check", "--json")
    assert outcome.status == 0, outcome
    found = json.loads(outcome.out)
    assert [port["name"] for port in found["outputs"]] == ["m"]
    assert [output["value"] for output in found["check"]["outputs"]] == ["m"]
    assert lutra("quantize", "m.onnx", "-o", "f.onnx", "--data", "x.npz").status == 2
    outcome = lutra("quantize", "m.onnx", "-o", "f.onnx", "--data", "x.npz", *chosen)
    assert outcome.status == 0, outcome
    outcome = lutra("report", "m.onnx", "f.onnx", "--data", "x.npz", *chosen)
    assert outcome.status == 0, outcome
    outcome = lutra("inspect", "f.onnx", *chosen)
    assert outcome.status == 2
    assert "Leave out --shape and --take" in outcome.err


def test_a_second_output_needs_a_choice_in_fixed_point(lutra: Run) -> None:
    arguments = ("m.onnx", "-o", "f.onnx", "--data", "x.npz", "--shape", "time=6")
    outcome = lutra("quantize", *arguments)
    assert outcome.status == 2
    assert "--take" in outcome.err


def test_samples_of_several_inputs_go_by_name(lutra: Run) -> None:
    np.savez("both.npz", x=data((4, 3)), z=data((4, 3), 2))
    np.savez("uneven.npz", x=data((4, 3)), z=data((5, 3), 2))
    np.savez("one.npz", x=data((4, 3)))
    np.save("x.npy", data((4, 3)))
    assert lutra("inspect", "pair.onnx", "--check").status == 0
    outcome = lutra("inspect", "pair.onnx", "--check", "--data", "both.npz")
    assert outcome.status == 0
    assert "on 4 samples" in outcome.out
    for name, text in (
        ("uneven.npz", "different numbers of samples (found x 4, z 5"),
        ("one.npz", "nothing named z"),
        ("x.npy", "is no .npz file"),
        ("none.npz", "cannot be read"),
    ):
        outcome = lutra("inspect", "pair.onnx", "--check", "--data", name)
        assert outcome.status == 2
        assert f"{name}: " in outcome.err
        assert text in outcome.err


def test_inspect_says_how_a_model_was_read(lutra: Run) -> None:
    nodes = [node("Reshape", ["x", "s"], "r"), node("Relu", ["r"], "y")]
    onnx.save(model(nodes, [4, 6], {"s": np.array([3, 8])}), "whole.onnx")
    outcome = lutra("inspect", "whole.onnx", "--check")
    assert outcome.status == 0, outcome
    assert "note: the input 'x' is taken whole" in outcome.out
    assert "but for float rounding" in outcome.out
    assert "whole" in json.loads(lutra("inspect", "whole.onnx", "--json").out)["notes"][0]
