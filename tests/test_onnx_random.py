"""Import of random networks, and of files with random damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, helper, numpy_helper

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import Graph
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx, load
from lutra.frontend.ops import Array

from .onnx_models import assert_same, data, model, node


@st.composite
def channels_first_networks(draw: st.DrawFn) -> ModelProto:
    """A random small network as an exporter with channels first writes it."""
    spatial = draw(st.lists(st.integers(4, 9), min_size=1, max_size=2))
    shape = [draw(st.integers(1, 3)), *spatial]
    start: list[Any] = ["N", *shape]
    nodes: list[NodeProto] = []
    weights: dict[str, Array] = {}
    value = "x"
    seed = draw(st.integers(0, 1000))

    def add(op: str, *inputs: str, **kw: Any) -> None:
        nonlocal value
        output = f"v{len(nodes)}"
        nodes.append(node(op, [value, *inputs], output, **kw))
        value = output

    def weight(*size: int) -> str:
        weights[f"w{len(weights)}"] = data(size, seed + len(weights))
        return f"w{len(weights) - 1}"

    for _ in range(draw(st.integers(0, 5))):
        rank = len(shape) - 1
        kernel = [draw(st.integers(1, min(3, n))) for n in shape[1:]]
        window: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        }
        op = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool", "Relu", "Tanh", "Softmax"]))
        if op in ("Conv", "MaxPool"):
            pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
            mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
            window |= {"pads": pads} if mode == "NOTSET" else {"auto_pad": mode}
            if op == "MaxPool" and mode.startswith("SAME"):  # onnxruntime has no other
                window["strides"] = [
                    min(pair) for pair in zip(window["strides"], kernel, strict=True)
                ]
        if op == "Conv":
            channels = draw(st.integers(1, 4))
            add(op, weight(channels, shape[0], *kernel), **window)
            shape[0] = channels
            bias = draw(st.sampled_from(["none", "add", "scalar"]))
            if bias != "none":
                sizes = (channels, *(1,) * rank) if bias == "add" else ()
                add("Add", weight(*sizes))
        elif op.endswith("Pool"):
            add(op, **window)
        elif op == "Softmax":
            add(op, axis=draw(st.integers(1, len(shape))))
        else:
            add(op)
        inferred = onnx.shape_inference.infer_shapes(model(nodes, start, weights, output=value))
        found = {v.name: v for v in (*inferred.graph.value_info, *inferred.graph.output)}
        dims = found[value].type.tensor_type.shape.dim
        shape = [d.dim_value for d in dims][1:]
    if draw(st.booleans()):
        add("GlobalAveragePool")
        shape = [shape[0], *(1 for _ in shape[1:])]
    if draw(st.booleans()) or not nodes:
        add("Flatten")
        if draw(st.booleans()):
            add("Relu")
        add("Gemm", weight(3, int(np.prod(shape))), weight(3), transB=1)
    return model(nodes, start, weights, output=value)


@settings(max_examples=150, deadline=None)
@given(channels_first_networks())
def test_random_networks_equal_onnxruntime(original: ModelProto) -> None:
    graph = from_onnx(original)
    assert_same(graph, original)
    again = from_onnx(to_onnx(graph))
    assert_same(again, original)


def victims() -> list[bytes]:
    """Small valid files that between them hold most of what the importer reads."""
    first = [
        node("Conv", ["x", "k", "b"], "c", pads=[1, 0, 1, 0], strides=[2, 1]),
        node("Relu", ["c"], "r"),
        node("MaxPool", ["r"], "p", kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
        node("Reshape", ["p", "s"], "f"),
        node("Gemm", ["f", "w"], "y", alpha=0.5),
    ]
    weights = {
        "k": data((2, 1, 3, 2)),
        "b": data((2,)),
        "s": np.array([0, -1]),
        "w": data((32, 2)),
    }
    second = [
        node("Transpose", ["x"], "t", perm=[0, 2, 1]),
        node("MatMul", ["t", "w"], "m"),
        node("Add", ["m", "b"], "a"),
        node("Squeeze", ["a", "i"], "q"),
        node("Softmax", ["q"], "y", axis=1),
    ]
    other = {"w": data((3, 2)), "b": data((2,)), "i": np.array([1])}
    typed = model(second, [2, 3, 1], other)
    for tensor in typed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        typed_tensor = helper.make_tensor(
            tensor.name, tensor.data_type, values.shape, values.flatten()
        )
        tensor.CopyFrom(typed_tensor)
    images = model(first, ["N", 1, 7, 5], weights)
    files = [images, typed, sequences(), pictures()]
    return [file.SerializeToString() for file in files]


def sequences() -> ModelProto:
    """Recurrent layers, slices, joins and arithmetic on shapes."""
    nodes = [
        node("Transpose", ["x"], "t", perm=[1, 0, 2]),
        node("Shape", ["t"], "s"),
        node("Gather", ["s", "one"], "n"),
        node("Concat", ["one", "n", "two"], "z", axis=0),
        node("ConstantOfShape", ["z"], "h"),
        node("LSTM", ["t", "W", "R", "", "", "h"], ["Y", "Yh"], hidden_size=2),
        node("Squeeze", ["Y", "one"], "q"),
        node("Transpose", ["q"], "b", perm=[1, 0, 2]),
        node("Slice", ["b", "one", "two", "one"], "l"),
        node("Split", ["b", "parts"], ["a", "c"], axis=1),
        node("Concat", ["l", "c"], "j", axis=1),
        node("MatMul", ["j", "l2"], "m"),
        node("LayerNormalization", ["m", "g"], "o"),
        node("ReduceMean", ["o"], "y", axes=[1], keepdims=0),
    ]
    weights = {
        "W": data((1, 8, 3)),
        "R": data((1, 8, 2)),
        "one": np.array([1]),
        "two": np.array([2]),
        "parts": np.array([1, 3]),
        "l2": data((2, 2)),
        "g": data((2,)),
    }
    return model(nodes, ["N", 4, 3], weights)


def pictures() -> ModelProto:
    """Transposed convolutions, pools with ceil mode, norms, padding and upsampling."""
    nodes = [
        node("ConvTranspose", ["x", "k"], "c", strides=[2, 1], output_padding=[1, 0], group=2),
        node("BatchNormalization", ["c", "v", "v", "v", "v"], "n", epsilon=0.01),
        node("Clip", ["n", "", "v1"], "r"),
        node("PRelu", ["r", "slope"], "e"),
        node("AveragePool", ["e"], "p", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("Resize", ["p", "", "f"], "u", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Pad", ["u", "pads"], "w"),
        node("Add", ["w", "w"], "a"),
        node("Reshape", ["a", "to"], "q"),
        node("Mul", ["q", "slope"], "y"),
    ]  # fmt: skip
    weights = {
        "k": data((2, 2, 2, 2)),
        "v": np.ones(4, np.float32),
        "v1": np.array(1, np.float32),
        "slope": data((4, 1, 1)),
        "f": np.array([1, 1, 2, 1], np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 0, 1, 0]),
        "to": np.array([0, 4, -1, 2]),
    }
    return model(nodes, ["N", 2, 3, 3], weights)


VICTIMS = victims()


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file with some bytes replaced, removed or repeated, or its end cut off."""
    file = bytearray(draw(st.sampled_from(VICTIMS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(file) - 1, 0)))
        match draw(st.sampled_from(["bit", "byte", "cut", "drop", "repeat", "end"])):
            case "bit":
                file[at : at + 1] = bytes(b ^ 1 << draw(st.integers(0, 7)) for b in file[at:][:1])
            case "byte":
                file[at : at + 1] = draw(st.binary(min_size=1, max_size=3))
            case "cut":
                del file[at:]
            case "drop":
                del file[at : at + draw(st.integers(1, 20))]
            case "repeat":
                file[at:at] = file[at : at + draw(st.integers(1, 60))]
            case _:
                file += draw(st.binary(max_size=20))
    return bytes(file)


def test_the_files_to_be_damaged_are_whole() -> None:
    for file, batch in zip(VICTIMS, (3, 2, 3, 3), strict=True):
        whole = ModelProto.FromString(file)
        assert_same(from_onnx(whole), whole, batch)


def complaint(read: Callable[[], Graph]) -> str | None:
    """The one line that a file gets for an error, or None where it is read after all."""
    try:
        read()
    except LutraError as error:
        text = str(error)
    else:
        return None
    assert text.isprintable()
    assert len(text) < 5000
    return text


@settings(max_examples=800, deadline=None)
@given(damaged_files())
def test_a_damaged_file_gives_a_graph_or_one_clear_error(
    tmp_path_factory: Any, file: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(file)
    text = complaint(lambda: load(path))
    assert text is None or str(path) in text


@st.composite
def damaged_models(draw: st.DrawFn) -> ModelProto:
    """A valid model in which some fields hold what they should not."""
    damaged: ModelProto = ModelProto.FromString(draw(st.sampled_from(VICTIMS)))
    graph = damaged.graph
    names = sorted({n for nd in graph.node for n in (*nd.input, *nd.output)} | {""})
    number = st.sampled_from([-(2**63), -2, -1, 0, 1, 2, 3, 7, 2**31, 2**62])
    for _ in range(draw(st.integers(1, 3))):
        nd = draw(st.sampled_from(list(graph.node)))
        tensor = draw(st.sampled_from(list(graph.initializer)))
        match draw(st.integers(0, 7)):
            case 0:
                at = draw(st.integers(0, len(nd.input) - 1))
                nd.input[at] = draw(st.sampled_from(names))
            case 1:
                nd.output[0] = draw(st.sampled_from(names))
            case 2:
                nd.op_type = draw(st.sampled_from([n.op_type for n in graph.node] + ["Dropout"]))
            case 3 if nd.attribute:
                attribute = draw(st.sampled_from(list(nd.attribute)))
                attribute.i = draw(number)
                if attribute.ints:
                    attribute.ints[draw(st.integers(0, len(attribute.ints) - 1))] = draw(number)
            case 4 if tensor.dims:
                tensor.dims[draw(st.integers(0, len(tensor.dims) - 1))] = draw(number)
            case 5:
                tensor.data_type = draw(st.integers(0, 30))
            case 6:
                dims = graph.input[0].type.tensor_type.shape.dim
                dims[draw(st.integers(0, len(dims) - 1))].dim_value = draw(number)
            case _:
                damaged.opset_import[0].version = draw(st.integers(-1, 40))
    return damaged


@settings(max_examples=800, deadline=None)
@given(damaged_models())
def test_a_damaged_model_gives_a_graph_or_one_clear_error(damaged: ModelProto) -> None:
    complaint(lambda: from_onnx(damaged))
