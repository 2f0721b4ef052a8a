"""Import of files that are damaged, hostile or no ONNX at all: one clear error each."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lutra.frontend.errors import LutraError, ModelError, ShapeError
from lutra.frontend.onnx.importer import from_onnx, load
from lutra.frontend.ops import Array

from .onnx_models import data, model, node

FLAT: list[Any] = ["N", 12]
LAYER: dict[str, Array] = {"w": data((12, 5)), "b": data((5,))}


def dense() -> ModelProto:
    return model([node("Gemm", ["x", "w", "b"], "y")], FLAT, LAYER)


def complaint(path: Path, kind: type[LutraError] = ModelError) -> str:
    """What is said of a file, which it must name."""
    with pytest.raises(kind) as caught:
        load(path)
    assert caught.value.file == str(path)
    return str(caught.value)


def test_no_file_a_folder_and_what_cannot_be_opened(tmp_path: Path) -> None:
    assert "No such file" in complaint(tmp_path / "missing.onnx")
    assert "is a folder" in complaint(tmp_path)
    assert "cannot be read" in complaint(tmp_path / "a\0b")
    assert "too long" in complaint(tmp_path / ("x" * 10_000))
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in complaint(tmp_path / "file" / "m.onnx")
    os.mkfifo(tmp_path / "pipe")
    assert "device or pipe" in complaint(tmp_path / "pipe")


CONTENTS = {
    "nothing": (b"", "empty"),
    "text": (b"hello, this is text\n", "not ONNX"),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(50), "not ONNX"),
    "zeros": (bytes(1000), "not ONNX"),
    "no graph": (ModelProto(ir_version=8).SerializeToString(), "holds no network"),
    "a tensor": (numpy_helper.from_array(data((3, 3))).SerializeToString(), "no network"),
    "truncated": (dense().SerializeToString()[:-40], "damaged"),
    "half": (dense().SerializeToString()[:150], "damaged"),
    "nested": (b"\x3a\xff\xff\xff\xff\x07" + b"\x0a\x02" * 50, "damaged"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_model(tmp_path: Path, name: str) -> None:
    content, text = CONTENTS[name]
    (tmp_path / "m.onnx").write_bytes(content)
    assert text in complaint(tmp_path / "m.onnx")


def test_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    whole = dense().SerializeToString()
    for end in range(len(whole)):
        (tmp_path / "m.onnx").write_bytes(whole[:end])
        complaint(tmp_path / "m.onnx", LutraError)


def test_a_file_too_large_for_protobuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutra.frontend.onnx.read.MAX_FILE", 100)
    onnx.save(dense(), tmp_path / "m.onnx")
    text = complaint(tmp_path / "m.onnx")
    assert "too large" in text
    assert "external data" in text


def weight(m: ModelProto) -> TensorProto:
    tensor: TensorProto = m.graph.initializer[0]
    return tensor


def dims(*sizes: int) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        weight(m).dims[:] = sizes

    return change


def input_of(*sizes: int | str | None) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        info = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(sizes))
        m.graph.input[0].CopyFrom(info)

    return change


def rename(old: str, new: str) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        for n in m.graph.node:
            n.output[:] = [new if name == old else name for name in n.output]

    return change


def then(*nodes: onnx.NodeProto) -> Callable[[ModelProto], None]:
    """The model with further nodes, the last of which gives 'z'."""

    def change(m: ModelProto) -> None:
        m.graph.node.extend(nodes)
        m.graph.output[0].name = "z"

    return change


def values(array: Array) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        weight(m).CopyFrom(numpy_helper.from_array(array, "w"))

    return change


def spoilt(number: float) -> Array:
    array = LAYER["w"].copy()
    array[3, 2] = number
    return array


def typed(m: ModelProto) -> None:
    weight(m).ClearField("raw_data")
    weight(m).float_data[:] = [1.0, 2.0]


def drop(what: str) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        m.graph.ClearField(what)

    return change


def opset(version: int) -> Callable[[ModelProto], None]:
    def change(m: ModelProto) -> None:
        m.opset_import[0].version = version

    return change


DAMAGE: dict[str, tuple[Callable[[ModelProto], Any], str]] = {
    "dims": (dims(11, 5), "weight 'w' has data that disagree.*240 bytes; expected 220 bytes"),
    "negative dims": (dims(-12, 5), "weight 'w' has an impossible shape"),
    "twice negative": (dims(-12, -5), "weight 'w' has an impossible shape"),
    "enormous dims": (dims(2**62, 2**62), "weight 'w' has an impossible shape"),
    "huge claim": (dims(2**14, 2**14), "240 bytes; expected 1073741824 bytes"),
    "many dims": (dims(*[1] * 2000), "weight 'w' has too many axes"),
    "no elements": (dims(12, 0), "disagree"),
    "empty weight": (values(np.zeros((12, 0), np.float32)), "weight 'w' is empty|do not fit"),
    "too few values": (typed, "found 2 values; expected 60 values"),
    "data twice": (lambda m: weight(m).float_data.append(1), "holds its data twice"),
    "segment": (lambda m: weight(m).segment.SetInParent(), "split in segments"),
    "unknown type": (lambda m: setattr(weight(m), "data_type", 99), "type number 99"),
    "text weights": (lambda m: setattr(weight(m), "data_type", 8), "weight 'w'.*string"),
    "float8": (lambda m: setattr(weight(m), "data_type", 19), "weight 'w'.*float8e5m2"),
    "NaN": (values(spoilt(np.nan)), "weight 'w' holds NaN or infinite values.*1 of 60"),
    "infinity": (values(spoilt(-np.inf)), "weight 'w' holds NaN or infinite values"),
    "too large for float32": (values(spoilt(1).astype(np.float64) * 1e300), "weight 'w' holds NaN"),
    "wrong weight": (values(data((11, 5))), "node 'n_y': dense input and weight do not fit"),
    "wrong rank": (values(data((60,))), "node 'n_y': Gemm takes matrices"),
    "open axis": (input_of("N", "width"), r"axis 1 .*'width'.*--shape width=N"),
    "open axes": (input_of("N", 3, None, "w"), r"axis 2, 3 .*\('N', 3, 'x.2', 'w'\)"),
    "scalar": (input_of(), "the input 'x' has 0 axes"),
    "batch alone": (input_of("N"), "the input 'x' has 1 axes"),
    "rank 9": (input_of("N", *range(1, 9)), "has 9 axes.*expected at most 8"),
    "negative input": (input_of("N", -3), "impossible shape"),
    "empty batch": (input_of(0, 12), "impossible shape"),
    "enormous input": (input_of("N", 2**62), "impossible shape"),
    "no shape": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "known shape"),
    "no type": (lambda m: m.graph.input[0].ClearField("type"), "no tensor with a known shape"),
    "integer input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 7),
        "data type.*int64",
    ),
    "no nodes": (drop("node"), "has no nodes"),
    "no input": (drop("input"), "has no input"),
    "no output": (drop("output"), "has no output"),
    "no weights": (drop("initializer"), "node 'n_y': its input 'w' is defined nowhere"),
    "nameless input": (lambda m: setattr(m.graph.input[0], "name", ""), "input without a name"),
    "nameless weight": (lambda m: setattr(weight(m), "name", ""), "weight without a name"),
    "nameless output": (lambda m: setattr(m.graph.output[0], "name", ""), "defines the output ''"),
    "lost output": (lambda m: setattr(m.graph.output[0], "name", "q"), "defines the output 'q'"),
    "constant output": (lambda m: setattr(m.graph.output[0], "name", "w"), "depends on no input"),
    "unread result": (rename("y", ""), "no node defines the output 'y'"),
    "twice a weight": (lambda m: setattr(weight(m), "name", "b"), "defines 'b' twice"),
    "twice a value": (then(node("Relu", ["y"], "y")), "defines 'y' twice"),
    "twice the input": (then(node("Relu", ["y"], "x")), "defines 'x' twice"),
    "unsorted": (
        then(node("Relu", ["r"], "z"), node("Relu", ["y"], "r")),
        "node 'n_z': its input 'r' is read before the node that defines it",
    ),
    "cycle": (
        then(node("Relu", ["z"], "r"), node("Relu", ["r"], "z")),
        "its input 'z' is read before the node that defines it, or by way of itself",
    ),
    "itself": (then(node("Relu", ["z"], "z")), "read before"),
    "too few inputs": (then(node("Relu", [], "z")), "node 'n_z': lacks inputs"),
    "empty inputs": (then(node("MatMul", ["y", ""], "z")), "lacks inputs"),
    "repeated attribute": (
        lambda m: m.graph.node[0].attribute.extend([helper.make_attribute("alpha", 2.0)] * 2),
        "attribute twice",
    ),
    "old operators": (opset(6), "operator set 6.*version_converter"),
    "unborn operators": (opset(1000), "operator set 1000.*Update"),
    "no operators": (lambda m: m.ClearField("opset_import"), "does not say which"),
    "external": (
        lambda m: setattr(weight(m), "data_location", TensorProto.EXTERNAL),
        "external data",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_models(tmp_path: Path, name: str) -> None:
    damage, text = DAMAGE[name]
    broken = dense()
    damage(broken)
    (tmp_path / "m.onnx").write_bytes(broken.SerializeToString())
    assert re.search(text, complaint(tmp_path / "m.onnx", LutraError)), name


def test_names_that_are_no_text(tmp_path: Path) -> None:
    content = dense().SerializeToString().replace(b"n_y", b"\xff_y")
    (tmp_path / "m.onnx").write_bytes(content)
    assert "a name that is not text" in complaint(tmp_path / "m.onnx")


IMAGE: list[Any] = ["N", 3, 7, 8]
KERNEL: dict[str, Array] = {"k": data((4, 3, 3, 2)), "b": data((3,)), "s": np.array([0, -2])}
KERNEL |= {"line": data((4, 3, 3)), "nine": np.array([0, 9]), "two": np.array([-1, -1])}
KERNEL |= {"far": np.array([0, 0, 0, 0, 0]), "axes": np.array([7]), "same": np.array([2, 2])}
KERNEL |= {"one": np.array([1]), "real": data((2,))}
POOL: dict[str, Any] = {"kernel_shape": [2, 2]}
MISFITS: list[tuple[str, str, dict[str, Any], str]] = [
    ("Conv", "x k b", {}, "bias does not fit"),
    ("Conv", "x line", {}, "kernel and input do not fit"),
    ("Conv", "x k", {"kernel_shape": [3, 3]}, "'kernel_shape' is wrong"),
    ("Conv", "x k", {"pads": [1, 1]}, "'pads' is wrong"),
    ("Conv", "x k", {"pads": [-1, 0, 0, 0]}, "padding at least 0"),
    ("Conv", "x k", {"pads": [2**40, 0, 0, 0]}, "'pads' is wrong"),
    ("Conv", "x k", {"strides": [0, 1]}, "'strides' is wrong"),
    ("Conv", "x k", {"strides": [1]}, "'strides' is wrong"),
    ("Conv", "x k", {"auto_pad": "SOME"}, "'auto_pad' is wrong"),
    ("MaxPool", "x", {}, "'kernel_shape' is wrong"),
    ("MaxPool", "x", {"kernel_shape": [9, 1]}, "larger than the padded input"),
    ("MaxPool", "x", {"kernel_shape": [2**62, 1]}, "padding is too large"),
    ("MaxPool", "x", {"kernel_shape": [0, 1]}, "positive size"),
    ("MaxPool", "x", {**POOL, "pads": [2, 0, 0, 0]}, "padding alone"),
    ("Softmax", "x", {"axis": 4}, "'axis' is wrong"),
    ("Flatten", "x", {"axis": -5}, "'axis' is wrong"),
    ("Transpose", "x", {"perm": [0, 1, 1, 2]}, "'perm' is wrong"),
    ("Reshape", "x s", {}, "impossible shape"),
    ("Reshape", "x two", {}, "impossible shape"),
    ("Reshape", "x nine", {}, "cannot hold the values"),
    ("Reshape", "x far", {}, "copies an axis that is not there"),
    ("Reshape", "x real", {}, "no list of integers"),
    ("Squeeze", "x axes", {}, "axes that are not there"),
    ("Squeeze", "x same", {}, "names an axis twice"),
    ("Squeeze", "x one", {}, "not of size 1"),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "text"), MISFITS)
def test_nodes_that_no_valid_model_has(
    op: str, inputs: str, attributes: dict[str, Any], text: str
) -> None:
    names = inputs.split()
    weights = {name: KERNEL[name] for name in names if name in KERNEL}
    with pytest.raises((ModelError, ShapeError), match=text) as caught:
        from_onnx(model([node(op, names, "y", **attributes)], IMAGE, weights), "m.onnx")
    assert (caught.value.file, caught.value.node) == ("m.onnx", "n_y")


def test_what_is_unsupported_is_named_before_what_is_damaged() -> None:
    broken = dense()
    dims(11, 5)(broken)
    then(node("Tan", ["y"], "z"))(broken)
    with pytest.raises(LutraError, match="Tan at 'n_z'"):
        from_onnx(broken)


def test_folding_cannot_take_memory_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutra.frontend.onnx.values.MAX_FOLDED", 10_000)
    nodes = [node("Transpose", ["w"], "t0", perm=[1, 0])]
    nodes += [node("Transpose", [f"t{i}"], f"t{i + 1}", perm=[1, 0]) for i in range(100)]
    nodes.append(node("Gemm", ["x", "t100"], "y", transB=1))
    with pytest.raises(ModelError, match="grow too large when they are folded"):
        from_onnx(model(nodes, FLAT, {"w": LAYER["w"]}))


def test_a_long_model_takes_time_in_proportion() -> None:
    nodes = [node("Relu", [f"v{i}" if i else "x"], f"v{i + 1}") for i in range(4000)]
    nodes.append(node("Transpose", ["v4000"], "y", perm=[0, 2, 1]))
    assert len(from_onnx(model(nodes, ["N", 2, 3])).nodes) == 4000


def outside(folder: Path, location: str) -> ModelProto:
    """A model whose weight says that it lies at ``location``."""
    broken = dense()
    tensor = weight(broken)
    (folder / "w.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return broken


@pytest.mark.parametrize(
    ("location", "extra", "text"),
    [
        ("../w.data", {}, "outside the model's own folder"),
        ("{home}/w.data", {}, "outside the model's own folder"),
        ("{home}/home/here.data", {}, "outside the model's own folder"),
        ("link", {}, "outside the model's own folder"),
        ("folder/w.data", {}, "outside the model's own folder"),
        ("sub/../here.data", {}, "outside the model's own folder|cannot be read"),
        ("loop", {}, "cannot be read"),
        ("pipe", {}, "not there"),
        ("cut.data", {}, "not there.*200 bytes in 'cut.data'; expected 240 bytes"),
        ("here.data/x", {}, "cannot be read"),
        ("x" * 10_000, {}, "cannot be read"),
        ("sub/../../w.data", {}, "outside the model's own folder|cannot be read"),
        ("", {}, "outside the model's own folder"),
        (".", {}, "outside|not there"),
        ("missing.data", {}, "cannot be read"),
        ("a\0b", {}, "cannot be read"),
        ("here.data", {"offset": "8"}, "not there"),
        ("here.data", {"offset": "-8"}, "not there"),
        ("here.data", {"offset": "many"}, "cannot be read"),
        ("here.data", {"length": "8"}, "disagree"),
        ("here.data", {"length": "1" * 5000}, "cannot be read"),
    ],
)
def test_external_data_lie_in_the_model_s_folder_or_nowhere(
    tmp_path: Path, location: str, extra: dict[str, str], text: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    broken = outside(tmp_path, location.format(home=tmp_path))
    (home / "here.data").write_bytes((tmp_path / "w.data").read_bytes())
    (home / "cut.data").write_bytes((tmp_path / "w.data").read_bytes()[:200])
    (home / "link").symlink_to(tmp_path / "w.data")
    (home / "folder").symlink_to(tmp_path)
    (home / "loop").symlink_to("loop")
    os.mkfifo(home / "pipe")
    for key, value in extra.items():
        weight(broken).external_data.add(key=key, value=value)
    (home / "m.onnx").write_bytes(broken.SerializeToString())
    assert re.search(text, complaint(home / "m.onnx"))


def test_external_data_in_a_folder_below_are_read(tmp_path: Path) -> None:
    """Also by a link that stays inside, and where the model's folder is itself a link."""
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "link.data").symlink_to("sub/w.data")
    (tmp_path / "other").symlink_to(home)
    for location in ("sub/w.data", "./sub/w.data", "link.data"):
        (home / "m.onnx").write_bytes(outside(home / "sub", location).SerializeToString())
        for path in (home / "m.onnx", tmp_path / "other" / "m.onnx"):
            np.testing.assert_array_equal(load(path).constants["w"], LAYER["w"])


def test_external_data_that_are_right_are_read(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(outside(tmp_path, "w.data").SerializeToString())
    np.testing.assert_array_equal(load(tmp_path / "m.onnx").constants["w"], LAYER["w"])
