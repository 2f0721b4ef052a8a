"""Import of each ONNX op in its own forms and versions, against onnxruntime."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto
from onnx.reference import ReferenceEvaluator

from lutra.frontend.errors import UnsupportedOpError
from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.ops import (
    Add,
    Array,
    AveragePool,
    Clip,
    Concat,
    Dense,
    Div,
    Exp,
    Flatten,
    GlobalAveragePool,
    Gru,
    Log,
    Lstm,
    MatMul,
    Minimum,
    Mul,
    Op,
    Power,
    Silu,
    SimpleRnn,
    Slice,
    Transpose,
    Upsample,
    Window,
)
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

from .onnx_models import assert_same, data, model, node

IMAGE: list[Any] = ["N", 4, 7, 8]
LINE: list[Any] = ["N", 4, 9]
FLAT: list[Any] = ["N", 12]
HALF = np.array([0.5, -0.25, 2, 1], np.float32)
W: dict[str, Array] = {
    "k": data((6, 4, 3, 2)),
    "k2": data((6, 2, 3, 2)),
    "dw": data((8, 1, 3)),
    "kt": data((4, 3, 3, 2)),
    "kt1": data((4, 2, 4)),
    "b6": data((6,)),
    "b8": data((8,)),
    "v": np.abs(data((4,), 3)) + 0.1,
    "c": data((4,), 4),
    "c9": data((9,), 5),
    "c12": data((12,), 6),
    "s": data((), 7),
    "c411": data((4, 1, 1), 8),
    "plane": data((7, 8), 9),
    "whole": data((1, 4, 7, 8), 10),
    "half": HALF.reshape(4, 1, 1),
    "m": data((4, 9, 5), 11),
    "left": data((3, 4), 12),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
    "four": np.array([4]),
    "i": np.array(-1),
    "one": np.array(1, np.float32),
    "two": np.array([2], np.int64),
    "three": np.array(3, np.float32),
    "i1": np.array([2]),
    "roi": np.array([], np.float32),
    "x23": np.array([1, 1, 2, 3], np.float32),
    "x2": np.array([1, 1, 1, 2], np.float32),
    "to": np.array([2, 4, 14, 8]),
    "axes": np.array([2, 3]),
    "last": np.array([-1]),
    "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]),
    "pads1": np.array([1, 2]),
    "starts": np.array([1, -1, 0]),
    "ends": np.array([4, -100, 2**62]),
    "over": np.array([1, -1, 0]),
    "steps": np.array([2, -3, 1]),
    "parts": np.array([1, 3]),
}


def single(op: str, shape: list[Any], inputs: str = "x", opset: int = 17, **kw: Any) -> ModelProto:
    """One node on 'x', with those of the weights W that it reads; '-' is an input left out."""
    names = [name.replace("-", "") for name in inputs.split()]
    weights = {name: W[name] for name in names if name in W}
    return model([node(op, names, "y", **kw)], shape, weights, opset=opset)


def pools(op: str, **kw: Any) -> list[ModelProto]:
    """A pool with and without padding, dilation and ceil mode."""
    return [
        single(op, IMAGE, kernel_shape=[3, 2], strides=[2, 3], pads=pads, ceil_mode=ceil, **more)
        for pads in ([0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 2, 0])
        for ceil in (0, 1)
        for more in (kw, {**kw, "dilations": [2, 1], "opset": 19})
    ]


FORMS_READ = [
    single("Conv", IMAGE, "x k2 b6", group=2, pads=[1, 0, 1, 1]),
    single("Conv", LINE, "x dw b8", group=4),
    single("Conv", IMAGE, "x k", dilations=[2, 3], pads=[1, 0, 0, 2]),
    single("Conv", IMAGE, "x k b6", dilations=[3, 1], strides=[1, 2]),
    single("ConvTranspose", IMAGE, "x kt", strides=[2, 3], pads=[1, 0, 0, 1]),
    single("ConvTranspose", IMAGE, "x kt b6", group=2, output_padding=[1, 0], strides=[2, 1]),
    single("ConvTranspose", LINE, "x kt1 b8", group=4, dilations=[2], opset=11),
    *(
        single("ConvTranspose", IMAGE, "x kt", auto_pad=mode, strides=[2, 2])
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    single("ConvTranspose", LINE, "x kt1", output_shape=[19], strides=[2]),
    *pools("MaxPool"),
    *pools("AveragePool"),
    *pools("AveragePool", count_include_pad=1),
    single("AveragePool", IMAGE, kernel_shape=[2, 2], auto_pad="SAME_LOWER", count_include_pad=1),
    *(
        single("BatchNormalization", shape, "x c c c v", opset, epsilon=0.01)
        for shape in (IMAGE, LINE, ["N", 4])
        for opset in (7, 9, 14, 15)
    ),
    single("LayerNormalization", LINE, "x c9 c9"),
    single("LayerNormalization", LINE, "x c9", axis=2, epsilon=0.1),
    single("RMSNormalization", LINE, "x c9", opset=23),
    *(single("PRelu", IMAGE, f"x {slope}", opset) for slope in ("c411", "s") for opset in (9, 16)),
    single("PRelu", LINE, "x c9"),
    single("Clip", FLAT, min=-0.5, max=0.25, opset=6 + 1),
    single("Clip", FLAT, "x zero six"),
    single("Clip", FLAT, "x - six", opset=11),
    single("Clip", FLAT, "x zero"),
    *(single(op, IMAGE) for op in ("LeakyRelu", "HardSigmoid", "Elu", "Selu", "Softplus")),
    single("LeakyRelu", FLAT, alpha=0.2, opset=7),
    single("HardSigmoid", FLAT, alpha=1 / 6, beta=0.5),
    single("Elu", FLAT, alpha=0.5),
    single("Selu", FLAT, alpha=1.5, gamma=0.5),
    single("HardSwish", IMAGE),
    single("Gelu", FLAT, opset=20),
    single("Gelu", FLAT, opset=20, approximate="tanh"),
    single("LogSoftmax", IMAGE, axis=1),
    single("LogSoftmax", FLAT, opset=9),
    *(
        single(op, IMAGE, inputs, opset)
        for op in ("Add", "Sub", "Mul")
        for inputs in ("x x", "x s", "x c411", "c411 x", "x plane", "plane x", "x whole")
        for opset in (7, 14)
    ),
    *(
        single(op, IMAGE, inputs)
        for op in ("Div", "Max", "Min")
        for inputs in ("x half", "x c411", "x s", "x plane")
    ),
    *(single(op, IMAGE, inputs) for op in ("Max", "Min") for inputs in ("x x", "c411 x", "x")),
    *(
        single(op, IMAGE, inputs)
        for op in ("Max", "Min", "Sum", "Mean")
        for inputs in ("x", "x x", "x c411 x", "c411 x plane", "x s c411", "x x x x")
    ),
    *(single(op, IMAGE) for op in ("Abs", "Neg", "Exp", "Erf", "Sin", "Cos", "Softsign", "Celu")),
    single("Celu", FLAT, alpha=0.5),
    single("Mish", IMAGE, opset=18),
    single("ThresholdedRelu", FLAT),
    single("ThresholdedRelu", FLAT, alpha=0.25, opset=10),
    single("Shrink", FLAT),
    single("Shrink", FLAT, lambd=0.75),
    single("Shrink", FLAT, lambd=0.25, bias=0.25),
    *(single("Pow", IMAGE, f"x {exponent}") for exponent in ("one", "two", "i", "three")),
    single("MatMul", LINE, "left x"),
    single("Concat", IMAGE, "x x x", axis=1),
    single("Concat", IMAGE, "x x", axis=-2),
    single("Slice", IMAGE, "x starts ends over steps"),
    single("Slice", FLAT, starts=[0, 3], ends=[2**31, -1], opset=7),
    single("Slice", LINE, starts=[1], ends=[3], axes=[-1], opset=9),
    *(single("Gather", LINE, f"x {i}", axis=axis) for i in ("i", "i1") for axis in (1, -1)),
    single("Pad", IMAGE, "x pads"),
    single("Pad", IMAGE, "x pads six"),
    single("Pad", LINE, "x pads1 six last", opset=18),
    single("Pad", FLAT, pads=[0, 1, 0, 2], value=-1.5, opset=7),
    single("Upsample", IMAGE, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest", opset=7),
    single("Upsample", IMAGE, "x x23", opset=9),
    single("Resize", IMAGE, "x x23", opset=10),
    *(
        single(
            "Resize", IMAGE, f"x roi {scales}", opset,
            coordinate_transformation_mode=way, nearest_mode=rounding,
        )
        for scales in ("x23", "x2")
        for opset in (11, 13, 19)
        for way, rounding in (
            ("asymmetric", "floor"),
            ("half_pixel", "round_prefer_floor"),
            ("pytorch_half_pixel", "round_prefer_ceil"),
        )
    ),
    single(
        "Resize", [2, 4, 7, 8], "x - - to", coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    *(
        single("ReduceMean", IMAGE, axes=axes, keepdims=keep)
        for axes in ([2, 3], [1, -1])
        for keep in (0, 1)
    ),
    single("ReduceMean", IMAGE, "x axes", opset=18, keepdims=0),
    single("ReduceMean", LINE, axes=[1]),
    *(
        model([node("Reshape", ["x", "r"], "y")], LINE, {"r": np.array(shape)})
        for shape in ([0, 2, 18], [-1, 6, 2, 3], [0, 0, 3, 3], [0, 36])
    ),
    model([node("Unsqueeze", ["x", "a"], "y")], LINE, {"a": np.array([1, -1])}),
]  # fmt: skip


@pytest.mark.parametrize(
    "original", FORMS_READ, ids=lambda m: f"{m.graph.node[0].op_type}-{m.opset_import[0].version}"
)
def test_every_form_equals_onnxruntime(original: ModelProto) -> None:
    """As it is read, and as it is written and read again."""
    fixed = original.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    graph = assert_same(from_onnx(original), original, fixed or 3)
    assert_same(from_onnx(to_onnx(graph)), original, fixed or 3)


def ops(graph: Graph) -> list[Op]:
    return [n.op for n in graph.nodes]


def kinds(graph: Graph) -> list[type]:
    return [type(op) for op in ops(graph)]


def read(nodes: list[NodeProto], shape: list[Any], weights: dict[str, Array], **kw: Any) -> Graph:
    original = model(nodes, shape, weights, **kw)
    graph = assert_same(from_onnx(original), original)
    assert_same(from_onnx(to_onnx(graph)), original)
    return graph


POSITIVE: list[tuple[str, list[NodeProto], dict[str, Array], Op]] = [
    ("Log", [node("Log", ["p"], "y")], {}, Log()),
    ("Sqrt", [node("Sqrt", ["p"], "y")], {}, Power(0.5)),
    ("Reciprocal", [node("Reciprocal", ["p"], "y")], {}, Power(-1)),
    *(
        (f"Pow-{e}", [node("Pow", ["p", "e"], "y")], {"e": np.array(e, np.float32)}, Power(e))
        for e in (0.5, -0.5, 1.25, -1, 0)
    ),
    ("Div", [node("Div", ["x", "p"], "y")], {}, Div()),
    ("Div-first", [node("Div", ["c", "p"], "y")], {"c": np.array(3, np.float32)}, Div()),
]


@pytest.mark.parametrize(
    ("nodes", "weights", "op"), [case[1:] for case in POSITIVE], ids=[case[0] for case in POSITIVE]
)
def test_functions_of_positive_values(
    nodes: list[NodeProto], weights: dict[str, Array], op: Op
) -> None:
    graph = read([node("Exp", ["x"], "p"), *nodes], IMAGE, weights)
    assert ops(graph) == [Exp(), op]


def test_what_a_function_is_made_of() -> None:
    """Powers of two and three are products, bounds by one number are clips, division by a power
    of two is a product."""
    made = {
        ("Pow", "x two"): [Mul()],
        ("Pow", "x three"): [Mul(), Mul()],
        ("Max", "x s"): [Clip(float(str(W["s"])), math.inf)],
        ("Min", "x x"): [Minimum()],
        ("Div", "x half"): [Mul()],
        ("Div", "x c411"): [Div()],
        ("Mean", "x x"): [Add(), Mul()],
        ("Mean", "x x x"): [Add(), Add(), Div()],
    }
    for (op, inputs), expected in made.items():
        assert ops(from_onnx(single(op, IMAGE, inputs))) == expected, op


def test_casts_to_the_type_of_data_change_nothing() -> None:
    nodes = [
        node("CastLike", ["two", "x"], "c"),
        node("CastLike", ["x", "c"], "d"),
        node("Mul", ["d", "c"], "y"),
    ]
    assert ops(read(nodes, FLAT, {"two": np.array([2], np.int64)}, opset=19)) == [Mul()]


def test_transposes_sink_through_functions() -> None:
    """A network that came channels first computes channels last, constants and all."""
    nodes = [
        node("Conv", ["x", "k"], "c"),
        node("Exp", ["c"], "e"),
        node("Div", ["c", "e"], "d"),
        node("Max", ["d", "c411"], "m"),
        node("Erf", ["m"], "f"),
        node("Conv", ["f", "k"], "y"),
    ]
    graph = read(nodes, IMAGE, {"k": data((4, 4, 1, 1)), "c411": W["c411"]})
    assert Transpose not in kinds(graph)


def test_ceil_mode_adds_padding_that_does_not_count() -> None:
    form: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 3], "ceil_mode": 1}
    counted = node("AveragePool", ["x"], "y", pads=[0, 1, 1, 0], count_include_pad=1, **form)
    graph = from_onnx(model([counted], IMAGE))
    window = Window((3, 3), (2, 3), ((0, 2), (1, 0)))
    assert ops(graph) == [AveragePool(window, ((0, 1), (1, 0)))]


def test_a_value_times_its_sigmoid_is_silu() -> None:
    for inputs in (["x", "s"], ["s", "x"]):
        nodes = [node("Sigmoid", ["x"], "s"), node("Mul", inputs, "y")]
        assert ops(read(nodes, IMAGE, {})) == [Silu()]


def test_split_gives_several_values() -> None:
    nodes = [
        node("Split", ["x", "parts"], ["a", "b"], axis=1),
        node("Relu", ["a"], "r"),
        node("Concat", ["b", "r", "b"], "y", axis=1),
    ]
    graph = read(nodes, IMAGE, {"parts": np.array([1, 3])})
    assert ops(graph)[:2] == [Slice(0, 0, 1), Slice(0, 1, 4)]
    old = [node("Split", ["x"], ["a", "b"], axis=2), node("Mul", ["a", "b"], "y")]
    read(old, ["N", 3, 8], {}, opset=11)
    uneven = [
        node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3),
        node("Concat", ["c", "a"], "y", axis=1),
    ]
    read(uneven, ["N", 7], {}, opset=18)


def test_a_product_of_activations_reads_past_a_transpose() -> None:
    nodes = [node("Transpose", ["x"], "t", perm=[0, 2, 1]), node("MatMul", ["x", "t"], "y")]
    assert ops(read(nodes, LINE, {})) == [MatMul(transposed=True)]


def test_upsampling_has_the_channels_where_they_are() -> None:
    scales = np.array([1, 1, 2, 3], np.float32)
    nodes = [
        node("Conv", ["x", "k"], "c"),
        node("Resize", ["c", "", "s"], "r", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Conv", ["r", "k2"], "y"),
    ]  # fmt: skip
    graph = read(nodes, IMAGE, {"k": data((3, 4, 3, 3)), "s": scales, "k2": data((2, 3, 1, 1))})
    assert ops(graph)[1] == Upsample((2, 3))
    assert Transpose not in kinds(graph)


def test_a_residual_network_has_no_transpose_left() -> None:
    """Channels first, as PyTorch writes it: the sum, the join and the constants sink along."""
    names = ("g", "b", "m", "v")
    nodes = [
        node("Mul", ["x", "scale"], "n"),
        node("Sub", ["n", "mean"], "n2"),
        node("Conv", ["n2", "k1"], "c1", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", *names], "b1"),
        node("Relu", ["b1"], "r1"),
        node("Conv", ["r1", "k2", "kb"], "c2", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c2", *names], "b2"),
        node("Add", ["b2", "r1"], "a"),
        node("PRelu", ["a", "slope"], "r2"),
        node("Concat", ["r2", "r1"], "j", axis=1),
        node("Pad", ["j", "pads"], "p"),
        node("Slice", ["p", "one", "seven", "one"], "s"),
        node("Mul", ["s", "gate"], "w"),
        node("GlobalAveragePool", ["w"], "q"),
        node("Flatten", ["q"], "f"),
        node("Gemm", ["f", "d"], "y"),
    ]
    weights = {
        "scale": np.array([[[0.5]], [[2]], [[0.25]]], np.float32),
        "mean": data((1, 3, 1, 1)),
        "k1": data((4, 3, 3, 3)),
        "k2": data((4, 4, 3, 3)),
        "kb": data((4,)),
        **{name: np.abs(data((4,), 20 + i)) + 0.1 for i, name in enumerate(names)},
        "slope": data((4, 1, 1)),
        "pads": np.array([0, 0, 0, 1, 0, 0, 0, 1]),
        "one": np.array([1]),
        "seven": np.array([7]),
        "gate": data((6, 1, 1)),
        "d": data((6, 5)),
    }
    graph = read(nodes, ["N", 3, 8, 8], weights)
    expected = (
        "Mul Sub Conv Relu Conv Add PRelu Concat Pad Slice Mul GlobalAveragePool Flatten Dense"
    )
    assert [kind.__name__ for kind in kinds(graph)] == expected.split()
    assert graph.inputs[0].axes == (1, 2, 0)


def test_a_residual_that_starts_at_the_input() -> None:
    nodes = [
        node("Conv", ["x", "k"], "c", pads=[1, 1, 1, 1]),
        node("Add", ["x", "c"], "a"),
        node("MaxPool", ["a"], "y", kernel_shape=[2, 2]),
    ]
    graph = read(nodes, ["N", 3, 8, 8], {"k": data((3, 3, 3, 3))})
    assert [kind.__name__ for kind in kinds(graph)] == ["Conv", "Add", "MaxPool"]


T, N, H = 5, 3, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent_weights(op: str, directions: int, bias: bool = True) -> dict[str, Array]:
    rows = GATES[op] * H
    weights = {"W": data((directions, rows, N), 1), "R": data((directions, rows, H), 2)}
    return weights | ({"B": data((directions, 2 * rows), 3)} if bias else {})


def recurrent(
    op: str, direction: str, after: list[NodeProto], outputs: list[str], **kw: Any
) -> Graph:
    """A layer with the time first, as exporters write it, and what reads its outputs."""
    weights = recurrent_weights(op, 1 + (direction == "bidirectional"), kw.pop("bias", True))
    turn = node("Transpose", ["x"], "t", perm=[1, 0, 2])
    layer = node(op, ["t", *weights], outputs, direction=direction, hidden_size=H, **kw)
    more = {"first": np.array(0), "minus": np.array(-1), "axis1": np.array([1]),
            "axis0": np.array([0]), "flat": np.array([0, 0, -1])}  # fmt: skip
    return read([turn, layer, *after], ["N", T, N], weights | more)


ALL_STEPS = [
    node("Transpose", ["Y"], "b", perm=[0, 2, 1, 3]),
    node("Reshape", ["b", "flat"], "f"),
    node("Transpose", ["f"], "y", perm=[1, 0, 2]),
]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("RNN", {"activations": ["Relu"]}),
    ("GRU", {}),
    ("GRU", {"linear_before_reset": 1}),
    ("LSTM", {}),
    ("LSTM", {"bias": False}),
    ("GRU", {"linear_before_reset": 1, "bias": False}),
]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "form"), VARIANTS)
def test_all_states_of_a_recurrent_layer(op: str, form: dict[str, Any], direction: str) -> None:
    if direction == "bidirectional" and "activations" in form:
        form = {"activations": ["Relu", "Tanh"]}
    graph = recurrent(op, direction, ALL_STEPS, ["Y"], **form)
    both = [Concat(1)] if direction == "bidirectional" else []
    layers = [op for op in ops(graph) if isinstance(op, SimpleRnn | Lstm | Gru)]
    assert ops(graph) == [*layers, *both]
    assert [layer.reverse for layer in layers] == {
        "forward": [False], "reverse": [True], "bidirectional": [False, True]
    }[direction]  # fmt: skip


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize(("op", "form"), VARIANTS)
def test_the_last_state_of_a_recurrent_layer(op: str, form: dict[str, Any], direction: str) -> None:
    after = [node("Squeeze", ["h", "axis0"], "y")]
    graph = recurrent(op, direction, after, ["", "h"], **form)
    (layer,) = ops(graph)
    assert isinstance(layer, SimpleRnn | Lstm | Gru)
    assert layer.last


def test_both_last_states_of_two_directions() -> None:
    after = [
        node("Gather", ["h", "first"], "a", axis=0),
        node("Gather", ["h", "minus"], "b", axis=0),
        node("Concat", ["a", "b"], "y", axis=1),
    ]
    graph = recurrent("LSTM", "bidirectional", after, ["", "h"])
    assert ops(graph) == [Lstm(last=True), Lstm(reverse=True, last=True), Concat(0)]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_the_memory_after_the_last_step(direction: str) -> None:
    """It is read and written, and refused in fixed point, where no kernel hands it out."""
    after = [node("Transpose", ["c"], "t1", perm=[1, 0, 2]), node("Flatten", ["t1"], "y")]
    graph = recurrent("LSTM", direction, after, ["", "", "c"])
    assert Lstm(direction == "reverse", last=True, memory=True) in ops(graph)
    x = data((9, T, N))
    with pytest.raises(UnsupportedOpError, match="memory of an LSTM"):
        lower(graph, calibrate(graph, Settings(), x))
    added = node("Add", ["h", "m"], "c")
    both = recurrent("LSTM", direction, [added, *after], ["", "h", "m"])
    assert kinds(both).count(Lstm) == 2 * (1 + (direction == "bidirectional"))


def test_all_states_and_the_last_one() -> None:
    after = [
        node("Squeeze", ["Y", "axis1"], "s"),
        node("Transpose", ["s"], "all", perm=[1, 0, 2]),
        node("ReduceMean", ["all"], "mean", axes=[1], keepdims=0),
        node("Squeeze", ["h", "axis0"], "state"),
        node("Add", ["mean", "state"], "y"),
    ]
    for direction, at in (("forward", T - 1), ("reverse", 0)):
        graph = recurrent("GRU", direction, after, ["Y", "h"])
        assert kinds(graph).count(Gru) == 1
        assert Slice(0, at, at + 1) in ops(graph)


def test_the_last_of_all_states_is_the_last_state() -> None:
    """PyTorch's ``output[:, -1]``."""
    after = [
        node("Squeeze", ["Y", "axis1"], "s"),
        node("Transpose", ["s"], "all", perm=[1, 0, 2]),
        node("Gather", ["all", "minus"], "last", axis=1),
        node("Relu", ["last"], "y"),
    ]
    graph = recurrent("LSTM", "forward", after, ["Y"])
    assert [kind.__name__ for kind in kinds(graph)] == ["Lstm", "Relu"]
    assert ops(graph)[0] == Lstm(last=True)
    assert kinds(recurrent("LSTM", "reverse", after, ["Y"])) == [
        Lstm,
        Slice,
        Flatten,
        type(ops(graph)[1]),
    ]


def test_layers_one_behind_the_other_with_the_time_first() -> None:
    weights = recurrent_weights("LSTM", 1)
    second = {"W2": data((1, 4 * H, H), 5), "R2": weights["R"], "d": data((H, 2)), "c": data((2,))}
    zeros = {"z": np.zeros((1, 1, H), np.float32), "axis1": np.array([1])}
    nodes = [
        node("Transpose", ["x"], "t", perm=[1, 0, 2]),
        node("LSTM", ["t", "W", "R", "B", "", "z", "z"], ["Y", "h1", "c1"], hidden_size=H),
        node("Squeeze", ["Y", "axis1"], "s"),
        node("Relu", ["s"], "r"),
        node("LSTM", ["r", "W2", "R2"], ["Y2"], hidden_size=H),
        node("Squeeze", ["Y2", "axis1"], "s2"),
        node("MatMul", ["s2", "d"], "m"),
        node("Add", ["m", "c"], "a"),
        node("Transpose", ["a"], "y", perm=[1, 0, 2]),
    ]
    original = model(nodes, [1, T, N], weights | second | zeros)
    graph = assert_same(from_onnx(original), original, 1)
    assert [kind.__name__ for kind in kinds(graph)] == ["Lstm", "Relu", "Lstm", "Dense"]
    assert len(graph.constants) == 8


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_layout_with_the_batch_first(direction: str) -> None:
    """onnxruntime does not run it: onnx's own reference does, and so does the other layout."""
    count = 1 + (direction == "bidirectional")
    weights = recurrent_weights("GRU", count)
    names = ["x", "W", "R", "B"]
    form: dict[str, Any] = {"layout": 1, "direction": direction, "hidden_size": H}
    last = [node("GRU", names, ["", "h"], **form), node("Flatten", ["h"], "y")]
    states = [node("GRU", names, ["Y"], **form), node("Reshape", ["Y", "to"], "y")]
    x = data((2, T, N))
    to = {"to": np.array([0, T, count * H])}
    turn = node("Transpose", ["x"], "t", perm=[1, 0, 2])
    form["layout"] = 0
    other = [
        turn,
        node("GRU", ["t", *names[1:]], ["", "h"], **form),
        node("Transpose", ["h"], "b", perm=[1, 0, 2]),
        node("Flatten", ["b"], "y"),
    ]
    (expected,) = evaluate(from_onnx(model(other, ["N", T, N], weights)), {"x": x}).values()
    (got,) = evaluate(from_onnx(model(last, ["N", T, N], weights)), {"x": x}).values()
    np.testing.assert_array_equal(got, expected)
    whole = model(states, ["N", T, N], weights | to)
    (got,) = evaluate(from_onnx(whole), {"x": x}).values()
    assert got.shape == (2, T, count * H)
    np.testing.assert_allclose(got[:, -1, :H], expected[:, :H], rtol=1e-6)
    if direction == "forward":
        (theirs,) = ReferenceEvaluator(model(last, ["N", T, N], weights)).run(None, {"x": x})
        np.testing.assert_allclose(np.asarray(theirs), expected, rtol=1e-5, atol=1e-6)


def test_a_mean_over_time_is_the_pool_over_space() -> None:
    graph = from_onnx(single("ReduceMean", ["N", 6, 3], axes=[1], keepdims=0))
    assert ops(graph) == [GlobalAveragePool(), Flatten()]


def test_dense_layers_with_a_constant_of_three_axes() -> None:
    original = model([node("MatMul", ["x", "m"], "y")], ["N", 4, 2, 9], {"m": W["m"]})
    graph = assert_same(from_onnx(original), original)
    assert kinds(graph) == [MatMul]
    two = model([node("MatMul", ["x", "m"], "y")], ["N", 4, 9], {"m": W["m"][0]})
    assert kinds(from_onnx(two)) == [Dense]


def test_sequences_that_all_have_every_step() -> None:
    weights = recurrent_weights("GRU", 1)
    turn = node("Transpose", ["x"], "t", perm=[1, 0, 2])
    layer = node("GRU", ["t", "W", "R", "B", "lens"], ["", "h"], hidden_size=H)
    last = node("Squeeze", ["h", "axis0"], "y")
    more = {"axis0": np.array([0]), "lens": np.array([T, T], np.int32)}
    original = model([turn, layer, last], [2, T, N], weights | more)
    assert_same(from_onnx(original), original, 2)
