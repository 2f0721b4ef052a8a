"""Several inputs and outputs, those that are left out, and what the options choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from lutra.frontend.errors import LutraError, ModelError, ShapeError, UnsupportedOpError
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.options import ImportOptions
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

from .commands import Run
from .onnx_models import assert_faithful, data, model, node


def with_input(original: ModelProto, name: str, shape: list[Any], kind: int = 1) -> ModelProto:
    original.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    return original


def two_branches(shape: list[Any] | None = None, second: list[Any] | None = None) -> ModelProto:
    nodes = [
        node("MatMul", ["x", "w"], "a"),
        node("MatMul", ["z", "v"], "b"),
        node("Add", ["a", "b"], "sum"),
        node("Relu", ["sum"], "y"),
        node("Sigmoid", ["b"], "gate"),
    ]
    weights = {"w": data((4, 3), 1), "v": data((5, 3), 2)}
    original = model(nodes, shape or ["N", 4], weights, output=["y", "gate"])
    return with_input(original, "z", second or ["N", 5])


def test_several_inputs_and_outputs() -> None:
    graph = assert_faithful(two_branches(), 1, 3)
    assert [port.name for port in graph.inputs] == ["x", "z"]
    assert [port.name for port in graph.outputs] == ["y", "gate"]
    assert_faithful(two_branches([2, 4], [2, 5]), 2)


def test_an_input_may_be_an_output_and_a_value_two() -> None:
    nodes = [node("Relu", ["x"], "r"), node("Identity", ["r"], "y"), node("Identity", ["r"], "z")]
    graph = assert_faithful(model(nodes, ["N", 4], output=["y", "x", "z"]), 2)
    assert [port.name for port in graph.outputs] == ["y", "x", "z"]


def test_the_batches_of_several_inputs_must_be_one() -> None:
    with pytest.raises(ShapeError, match=r"different batches \(found x: N, z: M.*--shape"):
        from_onnx(two_branches(["N", 4], ["M", 5]))
    shapes = {"N": 2, "M": 2}
    assert_faithful(two_branches(["N", 4], ["M", 5]), 2, options=ImportOptions(shapes))


def test_an_input_that_nothing_reads_is_left_out() -> None:
    """Whatever it is: it need not even be a tensor of floats."""
    nodes = [node("Relu", ["x"], "y"), node("Cast", ["tokens"], "t", to=1)]
    original = with_input(model(nodes, ["N", 4]), "tokens", ["K"], TensorProto.INT64)
    graph = from_onnx(original)
    assert [port.name for port in graph.inputs] == ["x"]
    assert graph.notes == ("the input 'tokens' is left out: nothing reads it",)


def test_outputs_that_are_no_floats_are_left_out() -> None:
    """As of a classifier that gives its labels too; what only they need is not looked at."""
    nodes = [
        node("Softmax", ["x"], "y"),
        node("ArgMax", ["y"], "label"),
        helper.make_node("ZipMap", ["y"], ["map"], domain="ai.onnx.ml"),
    ]
    original = model(nodes, ["N", 4])
    original.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    names = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    original.graph.output.append(
        helper.make_value_info("map", helper.make_sequence_type_proto(names))
    )
    graph = from_onnx(original)
    assert [port.name for port in graph.outputs] == ["y"]
    assert graph.notes == (
        "the output 'label' is left out: it is of type int64",
        "the output 'map' is given as the tensor 'y'",
    )
    del original.graph.output[2], original.graph.output[0]
    with pytest.raises(UnsupportedModelError, match=r"output at 'label' \(is of type int64"):
        from_onnx(original)
    with pytest.raises(UnsupportedModelError, match="ArgMax at 'n_label'"):
        from_onnx(original, options=ImportOptions(outputs=("label",)))


def test_any_value_may_be_chosen_as_an_output() -> None:
    """What it does not need, supported or not, goes."""
    nodes = [
        node("Relu", ["x"], "features"),
        node("Sigmoid", ["features"], "gate"),
        node("Unheard", ["features"], "y"),
    ]
    options = ImportOptions(outputs=("gate", "features"))
    graph = from_onnx(model(nodes, ["N", 4]), options=options)
    assert [port.name for port in graph.outputs] == ["gate", "features"]
    with pytest.raises(ModelError, match=r"no value 'feature' \(expected features\)"):
        from_onnx(model(nodes, ["N", 4]), options=ImportOptions(outputs=("feature",)))
    with pytest.raises(ModelError, match=r"expected one of its outputs y"):
        from_onnx(model(nodes, ["N", 4]), options=ImportOptions(outputs=("12345",)))


def test_open_dimensions_are_fixed_by_name() -> None:
    nodes = [node("Softmax", ["x"], "s", axis=2), node("MatMul", ["s", "w"], "y")]
    original = model(nodes, ["N", "time", 4], {"w": data((4, 3))})
    options = ImportOptions({"time": 5})
    assert assert_faithful(original, 1, 2, options=options).inputs[0].shape == (5, 4)
    with pytest.raises(ShapeError, match=r"axis 1 .*--shape time=N"):
        from_onnx(original)
    unnamed = model(nodes, ["N", None, 4], {"w": data((4, 3))})
    options = ImportOptions({"x.1": 5})
    assert assert_faithful(unnamed, 2, options=options).inputs[0].shape == (5, 4)


def test_the_batch_may_be_fixed() -> None:
    nodes = [node("Softmax", ["x"], "y", axis=0)]
    options = ImportOptions({"N": 3})
    graph = assert_faithful(model(nodes, ["N", 4]), 1, options=options)
    assert graph.inputs[0].outer_shape == (3, 4)


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"M": 3}, r"no open dimension 'M' \(expected N, time\)"),
        ({"time": 0}, "size of 'time' is impossible"),
        ({"time": 2**40}, "size of 'time' is impossible"),
    ],
)
def test_sizes_that_are_no_use(shapes: dict[str, int], reason: str) -> None:
    original = model([node("Relu", ["x"], "y")], ["N", "time", 4])
    with pytest.raises(LutraError, match=reason):
        from_onnx(original, options=ImportOptions(shapes))


def test_fixed_point_networks_have_one_input_and_one_output() -> None:
    x = data((4, 4))
    with pytest.raises(UnsupportedOpError, match=r"has 2 inputs \(found x, z"):
        calibrate(from_onnx(two_branches()), Settings(), x)
    nodes = [node("Relu", ["x"], "y"), node("Sigmoid", ["x"], "z")]
    both = from_onnx(model(nodes, ["N", 4], output=["y", "z"]))
    with pytest.raises(UnsupportedOpError, match=r"has 2 outputs .*--take NAME"):
        calibrate(both, Settings(), x)
    one = from_onnx(
        model(nodes, ["N", 4], output=["y", "z"]), options=ImportOptions(outputs=("z",))
    )
    with pytest.raises(UnsupportedOpError, match="has 2 outputs"):
        lower(both, calibrate(one, Settings(), x))


def test_commands_name_the_model_that_has_several_ports(
    here: Path, refused: Callable[..., str]
) -> None:
    onnx.save(two_branches(), "two.onnx")
    told = refused("quantize", "two.onnx", "-o", "fixed.onnx", "--data", "x.npy")
    assert told.startswith("error: two.onnx: the network has 2 inputs (found x, z;")


def test_samples_of_one_input_do_for_several_outputs(here: Path, lutra: Run) -> None:
    nodes = [node("Tanh", ["x"], "y"), node("Relu", ["x"], "z")]
    onnx.save(model(nodes, ["N", 4], {}, output=["y", "z"]), "two.onnx")
    np.save("two.npy", data((5, 4)))
    told = lutra("inspect", "two.onnx", "--check", "--data", "two.npy")
    assert told.status == 0, told
    assert "on 5 samples" in told.out
