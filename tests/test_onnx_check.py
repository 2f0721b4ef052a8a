"""The comparison of an imported graph with its file: it agrees, and it can disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from lutra.frontend import passes
from lutra.frontend.errors import ToolchainError
from lutra.frontend.graph import Graph
from lutra.frontend.onnx.check import OF_NETWORK, Check, check, compare
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.original import Original
from lutra.frontend.ops import Array, Conv, Relu, Softmax

from .commands import Run
from .onnx_models import data, model, node

IMAGE: list[Any] = ["N", 3, 6, 7]
WEIGHTS: dict[str, Array] = {"k": data((4, 3, 3, 2)), "b": data((4,)), "w": data((4 * 4 * 6, 5))}
NORM = {name: np.abs(data((4,), i)) + 0.5 for i, name in enumerate(("s", "o", "m", "v"))}


def network(batch: int | str = "N") -> ModelProto:
    nodes = [
        node("Conv", ["x", "k", "b"], "c"),
        node("BatchNormalization", ["c", *NORM], "n"),
        node("Relu", ["n"], "r"),
        node("Identity", ["r"], "i"),
        node("Flatten", ["i"], "f"),
        node("MatMul", ["f", "w"], "d"),
        node("Softmax", ["d"], "y"),
    ]
    return model(nodes, [batch, *IMAGE[1:]], WEIGHTS | NORM)


def result(m: ModelProto, **kw: Any) -> Check:
    return check(m, from_onnx(m), **kw)


def places(found: Check) -> list[str]:
    return [parting.where for parting in found.partings]


def shifted(amount: float) -> Callable[..., Array]:
    """The forward of Relu, off by ``amount``."""

    def forward(op: Relu, x: Array) -> Array:
        return np.asarray(np.maximum(x, 0) + np.float32(amount))

    return forward


@pytest.mark.parametrize(("batch", "samples"), [("N", 6), (4, 8)])
def test_equal_networks(batch: int | str, samples: int) -> None:
    found = result(network(batch))
    assert found.passed
    assert found.samples == samples
    assert found.runner.startswith("onnxruntime")
    assert [output.value for output in found.outputs] == ["y"]
    assert 0 < found.outputs[0].relative < OF_NETWORK
    assert not found.partings


def test_given_samples_are_compared_in_batches_that_the_file_takes() -> None:
    x = data((7, *IMAGE[1:]))
    assert result(network(), data={"x": x}).samples == 7
    found = result(network(3), data={"x": x})
    assert found.passed
    assert found.samples == 9  # the last one fills its batch


def test_a_broken_op_is_named_and_no_node_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relu, "forward", shifted(0.01))
    found = result(network())
    assert not found.passed
    assert places(found) == ["Relu 'n_r'"]
    assert found.partings[0].difference.value == "r"
    assert found.partings[0].difference.absolute == pytest.approx(0.01, rel=1e-3)


def test_each_broken_op_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Conv.forward
    monkeypatch.setattr(Conv, "forward", lambda op, *inputs: forward(op, *inputs)[:, ::-1])
    monkeypatch.setattr(Softmax, "forward", lambda op, x: x)
    assert places(result(network())) == ["Conv 'n_c'", "Softmax 'n_y'"]


def test_a_wrong_shape_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Softmax, "forward", lambda op, x: x[..., :-1])
    found = result(network())
    assert not found.passed
    assert "shape (1, 4)" in found.outputs[0].problem
    assert places(found) == ["Softmax 'n_y'"]


def test_a_broken_pass_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(graph: Graph) -> Graph:
        constants = {name: value * (1 + (name == "k")) for name, value in graph.constants.items()}
        return replace(graph, constants=constants)

    monkeypatch.setattr(passes, "PASSES", (passes.PASSES[0], spoil, *passes.PASSES[1:]))
    found = result(network())
    assert not found.passed
    assert places(found) == ["pass 'spoil'"]
    assert found.partings[0].difference.value.startswith("c")


def test_differences_that_only_the_network_makes_large_pass() -> None:
    """Numbers near zero times ten millions: rounding shows, and every node is right."""
    w = data((200, 40))
    nodes = [
        node("MatMul", ["x", "w"], "a"),
        node("Sub", ["a", "mean"], "b"),
        node("LeakyRelu", ["b"], "l"),
        node("Mul", ["l", "much"], "c"),
        node("Sigmoid", ["c"], "y"),
    ]
    x = data((1, 200)).repeat(8, 0)
    mean = (x[0].astype(np.float64) @ w).astype(np.float32)
    weights = {"w": w, "mean": mean, "much": np.array([1e6], np.float32)}
    found = result(model(nodes, ["N", 200], weights), data={"x": x})
    assert found.passed
    assert found.rounding
    assert not found.outputs[0].agrees


def test_a_model_in_half_precision() -> None:
    """The original rounds to 11 bits, the graph does not."""
    m = network()
    for tensor in m.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for port in (*m.graph.input, *m.graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    found = result(m)
    assert found.passed
    assert 2**-13 < found.outputs[0].relative < 2**-5


def test_what_compare_says() -> None:
    one = np.ones((2, 3), np.float32)
    spoilt = one.copy()
    spoilt[0, 0] = np.nan
    assert compare("v", one, one, 0.0).agrees
    assert compare("v", spoilt, spoilt, 0.0).agrees
    assert "has not" in compare("v", spoilt, one, 1.0).problem
    assert "lacks NaN" in compare("v", one, spoilt, 1.0).problem
    assert "lacks NaN" in compare("v", one * -np.inf, one * np.inf, 1.0).problem
    assert "everywhere" in compare("v", one * np.inf, one * np.inf, 1.0).problem
    assert "no array" in compare("v", one, None, 1.0).problem
    assert not compare("v", one, one * 1.5, 0.3).agrees
    assert compare("v", one, one * 1.5, 0.4).agrees
    assert not compare("v", one, one * 0, 1.0).agrees


def test_external_data_are_read_for_the_original(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    loaded = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    file = str(tmp_path / "m.onnx")
    assert check(loaded, from_onnx(loaded, file), file).passed


def test_the_reference_evaluator_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    found = result(network())
    assert found.passed
    assert found.runner.startswith("onnx.reference")


def foreign() -> ModelProto:
    m = network()
    m.opset_import.append(helper.make_opsetid("nowhere", 1))
    m.graph.node[2].domain = "nowhere"
    return m


def test_an_original_that_nothing_runs() -> None:
    with pytest.raises(ToolchainError, match=r"onnxruntime: .*; onnx\.reference: .*nowhere"):
        Original(foreign(), None).run({"x": data((1, *IMAGE[1:]))})


# The command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(network(), "m.onnx")
    np.savez("x.npz", x=data((5, *IMAGE[1:])))
    return tmp_path


def test_inspect_says_that_results_are_equal(here: Path, lutra: Run) -> None:
    outcome = lutra("inspect", "m.onnx", "--check", "--data", "x.npz")
    assert outcome.status == 0
    assert "on 5 samples" in outcome.out
    assert "but for float rounding" in outcome.out


def test_inspect_names_the_layer_and_fails(
    here: Path, lutra: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relu, "forward", shifted(0.5))
    outcome = lutra("inspect", "m.onnx", "--check")
    assert outcome.status == 1
    assert "parts at Relu 'n_r': value 'r' off by" in outcome.out
    assert "NOT equal to onnxruntime" in outcome.out
    outcome = lutra("inspect", "m.onnx", "--check", "--json")
    assert outcome.status == 1
    found = json.loads(outcome.out)["check"]
    assert found["passed"] is False
    assert found["partings"][0]["where"] == "Relu 'n_r'"


def test_a_check_that_cannot_run_is_not_passed(
    here: Path, lutra: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: ModelProto) -> tuple[str, Any]:
        raise RuntimeError("no\x1b such thing")

    for name in ("_onnxruntime", "_reference"):
        monkeypatch.setattr(f"lutra.frontend.onnx.original.{name}", refuse)
    outcome = lutra("inspect", "m.onnx", "--check")
    assert outcome.status == 1
    assert "NOT checked" in outcome.out
    assert "no\\x1b such thing" in outcome.out
    outcome = lutra("inspect", "m.onnx", "--check", "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out)["check"]["passed"] is False


def test_uses_of_check_that_are_refused(here: Path, lutra: Run) -> None:
    np.savez("wrong.npz", x=data((5, 4)))
    for arguments, text in (
        (("--data", "x.npz"), "give --check too"),
        (("--check", "--data", "wrong.npz"), "wrong.npz: data for 'x' has the wrong shape"),
        (("--check", "--data", "none.npz"), "none.npz: cannot be read"),
    ):
        outcome = lutra("inspect", "m.onnx", *arguments)
        assert outcome.status == 2
        assert text in outcome.err
