"""ONNX nodes that are damaged or hostile: one error that names the node, and little memory."""

from __future__ import annotations

import itertools
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, numpy_helper

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.translate.forms import FORMS
from lutra.frontend.ops import Array

from .cases import CASES
from .onnx_models import data, model, node
from .test_bad_input import MODEL_COMMANDS

IMAGE: list[Any] = ["N", 4, 6, 5]
STEPS: list[Any] = ["N", 5, 4]
MOST = 2**63 - 1
LEAST = -(2**63)


def integers(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


WEIGHTS: dict[str, Array] = {
    "k": data((4, 4, 3, 3)),
    "four": np.abs(data((4,))),
    "negative": floats(-1, 1, 1, 1),
    "zero": integers(0),
    "one": integers(1),
    "two": integers(2),
    "most": integers(MOST),
    "least": integers(LEAST),
    "both": integers(1, 1),
    "front": integers(1, -2),
    "twos": integers(2, 2),
    "ones": floats(1, 1, 1, 1),
    "sizes": integers(1, 4, 6, 5),
    "double": floats(2, 2),
    "pads": integers(1, 1, 0, 0),
    "axes": integers(0, 5, *[1] * 100, 4),
    "split": integers(2, 3),
    "many": integers(*[0] * 40_000),
}
BIG: dict[str, Any] = {"strides": [MOST, 1]}
NEAREST: dict[str, Any] = {
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
WRONG: list[tuple[str, str, list[Any], dict[str, Any], str]] = [
    ("Conv", "x k", IMAGE, BIG, "too large"),
    ("Conv", "x k", IMAGE, {"pads": [7000] * 4}, "too large"),
    ("Conv", "x k", IMAGE, {"group": 0}, "'group' is wrong"),
    ("Conv", "x k", IMAGE, {"group": -1}, "'group' is wrong"),
    ("Conv", "x k", IMAGE, {"group": 3}, "'group' is wrong"),
    ("Conv", "x k", IMAGE, {"dilations": [0, 1]}, "'dilations' is wrong"),
    ("Conv", "x k", IMAGE, {"dilations": [2**40, 1]}, "too large"),
    ("ConvTranspose", "x k", IMAGE, {"group": 3}, "'group' is wrong"),
    ("ConvTranspose", "x k", IMAGE, {"strides": [0, 1]}, "'strides' is wrong"),
    ("ConvTranspose", "x k", IMAGE, {"output_padding": [-1, 0]}, "'output_padding' is wrong"),
    ("ConvTranspose", "x k", IMAGE, {"output_shape": [0, 0]}, "cuts off the whole result"),
    (
        "ConvTranspose",
        "x k",
        IMAGE,
        {"auto_pad": "SAME_UPPER", "dilations": [2**30, 1]},
        "too large",
    ),
    (
        "ConvTranspose",
        "x k",
        IMAGE,
        {"auto_pad": "SAME_UPPER", "dilations": [2**27, 1]},
        "before its padding is cut off",
    ),
    ("MaxPool", "x", IMAGE, {"kernel_shape": [2, 2], **BIG}, "too large"),
    ("MaxPool", "x", IMAGE, {"kernel_shape": [3, 3], "pads": [8000] * 4}, "too large"),
    ("MaxPool", "x", IMAGE, {"kernel_shape": [3, 3], "pads": [3] * 4}, "padding alone"),
    ("MaxPool", "x", IMAGE, {"kernel_shape": [0, 2]}, "'kernel_shape' is wrong"),
    ("AveragePool", "x", IMAGE, {"kernel_shape": [2, 2], "pads": [2] * 4}, "no position"),
    ("Slice", "x zero two both both", STEPS, {}, "do not fit"),
    ("Slice", "x twos twos front", STEPS, {}, "names an axis twice"),
    ("Slice", "x zero two one zero", STEPS, {}, "a step of 0"),
    ("Slice", "x most least one one", STEPS, {}, "at least one value"),
    ("Slice", "x zero two least", STEPS, {}, "'axes' is wrong"),
    ("ReduceMean", "x", IMAGE, {"axes": [2, -2]}, "names an axis twice"),
    ("Pad", "x pads  both", STEPS, {}, "names an axis twice"),
    ("Resize", "x  double", IMAGE, {"axes": [2, -2], **NEAREST}, "names an axis twice"),
    ("Resize", "x  ones sizes", IMAGE, NEAREST, "either scales or sizes"),
    ("Resize", "x", IMAGE, NEAREST, "either scales or sizes"),
    ("Split", "x split", STEPS, {"axis": 1, "num_outputs": 1}, "both sizes and a number"),
    ("Split", "x twos", STEPS, {"axis": 1}, "does not split the axis"),
    ("Reshape", "x axes", STEPS, {}, "too large"),
    ("BatchNormalization", "x four four four negative", IMAGE, {}, "variance is not positive"),
    ("BatchNormalization", "x four four four four", IMAGE, {"epsilon": -9.0}, "epsilon"),
    ("LayerNormalization", "x four four", STEPS, {"epsilon": -1e-7}, "epsilon"),
    ("LayerNormalization", "x four four", STEPS, {"epsilon": np.nan}, "'epsilon' is wrong"),
    ("LeakyRelu", "x", STEPS, {"alpha": np.inf}, "'alpha' is wrong"),
]


@pytest.mark.parametrize(("op", "inputs", "shape", "attributes", "problem"), WRONG)
def test_the_node_is_named(
    op: str, inputs: str, shape: list[Any], attributes: dict[str, Any], problem: str
) -> None:
    names = inputs.split(" ")
    used = {name: WEIGHTS[name] for name in names if name in WEIGHTS}
    broken = model([node(op, names, "y", "bad", **attributes)], shape, used, opset=18)
    if op == "ReduceMean":
        broken.opset_import[0].version = 17
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LutraError, match=re.escape(problem)) as caught:
        from_onnx(broken, "m.onnx")
    assert (caught.value.file, caught.value.node) == ("m.onnx", "bad")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB


def test_constants_that_grow() -> None:
    nodes = [
        node("Gather", ["table", "many"], "wide", axis=0),
        node("Gather", ["wide", "many"], "bad", "bad", axis=1),
        node("Add", ["x", "bad"], "y"),
    ]
    used = {"table": data((2, 2)), "many": WEIGHTS["many"]}
    with pytest.raises(LutraError, match="too large") as caught:
        from_onnx(model(nodes, ["N", 2], used))
    assert caught.value.node == "bad"
    for op, axes in (("Reshape", np.ones(100)), ("Unsqueeze", np.arange(1, 101))):
        nodes = [node(op, ["c", "axes"], "bad", "bad"), node("Add", ["x", "bad"], "y")]
        used = {"c": data((1,)), "axes": axes.astype(np.int64)}
        with pytest.raises(LutraError, match="at most 8 axes") as caught:
            from_onnx(model(nodes, ["N", 2], used))


@pytest.mark.parametrize("step", [MOST, LEAST])
def test_a_step_beyond_the_axis_takes_one_value(step: int) -> None:
    used = {"a": integers(MOST if step < 0 else 0), "b": integers(step), "c": WEIGHTS["one"]}
    nodes = [node("Slice", ["x", "a", "b", "c", "b"], "y")]
    (op,) = [n.op for n in from_onnx(model(nodes, STEPS, used)).nodes]
    assert op.infer((5, 4)) == (1, 4)
    assert abs(getattr(op, "step", 0)) <= 5


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize(
    ("change", "attributes", "problem"),
    [
        ({}, {"hidden_size": 3}, "'hidden_size' is wrong"),
        ({}, {"hidden_size": 2**62}, "'hidden_size' is wrong"),
        ({}, {"direction": "sideways"}, "'direction' is wrong"),
        ({}, {"direction": b"\xff"}, "'direction' is wrong"),
        ({}, {"direction": "bidirectional"}, "weights do not fit"),
        ({}, {"layout": 2}, "'layout' is 2"),
        ({}, {"clip": 0.0}, "'clip' is not supported"),
        ({}, {"activations": ["Foo"] * 3}, "has activations"),
        ({"W": (2, 8, 3)}, {}, "weights do not fit"),
        ({"W": (8, 3)}, {}, "weights do not fit"),
        ({"R": (8,)}, {}, "weights do not fit"),
        ({"R": (1, 0, 0)}, {}, "weights do not fit"),
        ({"B": (1, 3)}, {}, "weights do not fit"),
    ],
)
def test_recurrent_layers(
    op: str, change: dict[str, tuple[int, ...]], attributes: dict[str, Any], problem: str
) -> None:
    rows = 2 * GATES[op]
    shapes = {"W": (1, rows, 3), "R": (1, rows, 2), "B": (1, 2 * rows)} | change
    nodes = [
        node("Transpose", ["x"], "t", perm=[1, 0, 2]),
        node(op, ["t", *shapes], ["", "y"], "bad", **attributes),
    ]
    broken = model(nodes, ["N", 5, 3], {name: data(shape) for name, shape in shapes.items()})
    with pytest.raises(LutraError, match=re.escape(problem)) as caught:
        from_onnx(broken)
    assert "'bad'" in str(caught.value)


def test_a_deep_network_is_read_whole() -> None:
    """Recursion would end at 1,000 nodes, and work that grows with the square in an hour."""
    count = 10_000
    values = ["x", *(f"v{i}" for i in range(count - 1)), "y"]
    nodes = [node("Add", [a, a], b) for a, b in itertools.pairwise(values)]
    assert len(from_onnx(model(nodes, ["N", 3])).nodes) == count


NUMBERS = [0, 1, -1, 2, 3, 7, -2, 100, 2**20, 2**31, 2**62, MOST, LEAST]
REALS = [0.0, 1.0, -1.0, 1e-40, 1e38, float("nan"), float("inf"), -float("inf")]
TEXTS = [b"", b"\xff", b"reverse", b"bidirectional", b"SAME_UPPER", b"linear"]
OPS = sorted(FORMS)


def mutate(broken: ModelProto, rng: np.random.Generator) -> None:
    """Damage one place: an attribute, a name, a weight, a size, a version or a whole node."""
    graph = broken.graph
    names = [t.name for t in graph.initializer] + [o for n in graph.node for o in n.output]
    names += ["x", "", "q"]
    name = names[rng.integers(len(names))]
    damaged = graph.node[rng.integers(len(graph.node))]
    match int(rng.integers(10)):
        case 0 | 1 if damaged.attribute:
            _mutate_attribute(damaged.attribute[rng.integers(len(damaged.attribute))], rng)
        case 2 if damaged.attribute:
            del damaged.attribute[rng.integers(len(damaged.attribute))]
        case 3 if damaged.input:
            damaged.input[rng.integers(len(damaged.input))] = name
        case 4:
            damaged.input.append(name)
        case 5:
            damaged.op_type = OPS[rng.integers(len(OPS))]
        case 6 if graph.initializer:
            tensor = graph.initializer[rng.integers(len(graph.initializer))]
            array = numpy_helper.to_array(tensor).copy()
            if array.size and array.dtype.kind == "f" and rng.integers(2):
                array.flat[rng.integers(array.size)] = REALS[rng.integers(len(REALS))]
            elif array.size and array.dtype == np.int64:
                array.flat[rng.integers(array.size)] = NUMBERS[rng.integers(len(NUMBERS))]
            else:
                array = array.reshape(-1)[int(rng.integers(2)) :]
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        case 7:
            dims = graph.input[0].type.tensor_type.shape.dim
            dims[rng.integers(len(dims))].dim_value = NUMBERS[rng.integers(len(NUMBERS))]
        case 8:
            broken.opset_import[0].version = int(rng.integers(5, 27))
        case _:
            damaged.output[rng.integers(len(damaged.output))] = name


def _mutate_attribute(attribute: AttributeProto, rng: np.random.Generator) -> None:
    number = NUMBERS[rng.integers(len(NUMBERS))]
    match attribute.type:
        case AttributeProto.INTS if attribute.ints and rng.integers(3):
            attribute.ints[rng.integers(len(attribute.ints))] = number
        case AttributeProto.INTS:
            attribute.ints.append(number)
        case AttributeProto.INT:
            attribute.i = number
        case AttributeProto.FLOAT:
            attribute.f = REALS[rng.integers(len(REALS))]
        case _:
            attribute.s = TEXTS[rng.integers(len(TEXTS))]


KINDS = ["Lstm", "Gru", "SimpleRnn", "ConvTranspose", "Pad", "Slice", "Concat", "MatMul"]
KINDS += ["LayerNorm", "AveragePool", "Upsample", "PRelu", "BatchNorm"]


@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_is_refused_or_harmless(kind: str) -> None:
    case = next(case for case in CASES if type(case.op).__name__ == kind)
    whole = to_onnx(case.graph()).SerializeToString()
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        broken = onnx.ModelProto.FromString(whole)
        for _ in range(rng.integers(1, 3)):
            mutate(broken, rng)
        try:
            graph = from_onnx(broken)
        except LutraError:
            refused += 1
            continue
        (port,) = graph.inputs
        if max(np.prod(shape, dtype=float) for shape in graph.shapes.values()) < 1e5:
            with np.errstate(all="ignore"):
                evaluate(graph, {port.name: data((2, *port.outer_shape))})
    assert 20 < refused < 60


@pytest.mark.parametrize("command", MODEL_COMMANDS, ids=lambda c: c[0])
def test_every_command_names_the_file_and_the_node(
    refused: Callable[..., str], here: Path, command: tuple[str, ...]
) -> None:
    weights = {"W": data((1, 8, 3)), "R": data((1, 8, 2)), "P": data((1, 6))}
    turn = node("Transpose", ["x"], "t", perm=[1, 0, 2])
    peeping = node("LSTM", ["t", "W", "R", "", "", "", "", "P"], ["", "y"], "cell")
    pool = node("MaxPool", ["x"], "y", "wide", kernel_shape=[3], pads=[3, 3])
    for broken, problems in (
        (model([turn, peeping], ["N", 5, 3], weights), ("'cell'", "peepholes (P)")),
        (model([turn, peeping], ["N", 0, 3], weights), ("'x'", "positive sizes")),
        (model([turn, peeping], ["N", "T", 3], weights), ("'x'", "fixed sizes")),
        (model([pool], ["N", 3, 8]), ("'wide'", "padding alone")),
    ):
        onnx.save(broken, here / "bad.onnx")
        message = refused(*command)
        for part in ("bad.onnx: ", *problems):
            assert part in message
