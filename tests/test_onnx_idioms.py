"""What exporters spell out in several nodes becomes one op, and stays the same function."""

from __future__ import annotations

import time

import pytest
from onnx import TensorProto, helper

from lutra.frontend.graph import Graph
from lutra.frontend.onnx.idioms.find import find_idioms
from lutra.frontend.onnx.idioms.nodes import Nodes
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.ops import (
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LayerNorm,
    LeakyRelu,
    LogSoftmax,
    Mish,
    Op,
    PRelu,
    Relu,
    RmsNorm,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)

from .onnx_formula import SPELLINGS, Spell, formula
from .onnx_models import assert_same, data, model, node

ROOT = 2**0.5
BEND = "Mul(Add(x, Mul(Pow(x, 3.0), 0.044715)), 0.7978845608)"
K = 0.044715
FACTORED = f"Mul(Mul(x, 0.79788456), Add(1.0, Mul(Mul(x, x), {K})))"
CUBE = "Mul(x, Mul(x, x))"

POINTWISE: list[tuple[str, Op]] = [
    (f"Mul(Mul(x, 0.5), Add(Erf(Div(x, {ROOT})), 1.0))", Gelu()),
    (f"Mul(0.5, Mul(x, Add(1.0, Erf(Mul(x, {1 / ROOT})))))", Gelu()),
    (f"Mul(x, Mul(Add(1.0, Erf(Mul({1 / ROOT}, x))), 0.5))", Gelu()),
    (f"Div(Mul(x, Add(1.0, Erf(Div(x, {ROOT})))), 2.0)", Gelu()),
    (f"Mul(x, Add(0.5, Mul(0.5, Erf(Div(x, {ROOT})))))", Gelu()),
    (f"Mul(Mul(0.5, x), Add(Tanh({BEND}), 1.0))", Gelu(True)),
    (f"Mul(x, Mul(0.5, Add(1.0, Tanh(Mul(0.79788458, Add(x, Mul({CUBE}, {K})))))))", Gelu(True)),
    (f"Mul(Mul(x, Add(1.0, Tanh({FACTORED}))), 0.5)", Gelu(True)),
    (f"Mul(x, Sigmoid(Mul(2.0, {BEND})))", Gelu(True)),
    ("Mul(Sigmoid(x), x)", Silu()),
    ("Mul(x, Sigmoid(Mul(1.0, x)))", Silu()),
    ("Div(x, Add(1.0, Exp(Neg(x))))", Silu()),
    ("Div(1.0, Add(1.0, Exp(Neg(x))))", Sigmoid()),
    ("Reciprocal(Add(Exp(Mul(x, -1.0)), 1.0))", Sigmoid()),
    ("Log(Add(Exp(x), 1.0))", Softplus()),
    ("Where(Greater(x, 20.0), x, Softplus(x))", Softplus()),
    ("Mul(x, Tanh(Softplus(x)))", Mish()),
    ("Mul(Tanh(Log(Add(1.0, Exp(x)))), x)", Mish()),
    ("Div(x, Add(Abs(x), 1.0))", Softsign()),
    ("Mul(x, Div(Clip(Add(x, 3.0), 0.0, 6.0), 6.0))", HardSwish()),
    ("Div(Mul(Clip(Add(x, 3.0), 0.0, 6.0), x), 6.0)", HardSwish()),
    ("Mul(Mul(x, Min(Relu(Add(3.0, x)), 6.0)), 0.16666667)", HardSwish()),
    ("Mul(x, HardSigmoid(x, alpha=0.16666667))", HardSwish()),
    ("Div(Clip(Add(x, 3.0), 0.0, 6.0), 6.0)", HardSigmoid(1 / 6, 0.5)),
    ("Clip(Add(Mul(x, 0.2), 0.5), 0.0, 1.0)", HardSigmoid(0.2, 0.5)),
    ("Min(Max(Add(Mul(x, 0.25), 0.5), 0.0), 1.0)", HardSigmoid(0.25, 0.5)),
    ("Max(x, Mul(0.1, x))", LeakyRelu(0.1)),
    ("Max(Div(x, 4.0), x)", LeakyRelu(0.25)),
    ("Where(Greater(x, 0.0), x, Mul(x, 0.3))", LeakyRelu(0.3)),
    ("Where(Less(x, 0.0), Mul(x, 1.5), x)", LeakyRelu(1.5)),
    ("Sub(Relu(x), Mul(0.2, Relu(Neg(x))))", LeakyRelu(0.2)),
    ("Add(Mul(Relu(Neg(x)), -0.2), Relu(x))", LeakyRelu(0.2)),
    ("Add(Relu(x), Mul(0.2, Min(x, 0.0)))", LeakyRelu(0.2)),
    ("Where(Greater(x, 0.0), x, Mul(0.7, Sub(Exp(x), 1.0)))", Elu(0.7)),
    ("Where(Not(LessOrEqual(x, 0.0)), Relu(x), Sub(Exp(Min(x, 0.0)), 1.0))", Elu()),
    ("Add(Max(x, 0.0), Mul(2.0, Add(-1.0, Exp(Min(x, 0.0)))))", Elu(2.0)),
    ("Where(GreaterOrEqual(x, 0.0), x, 0.0)", Relu()),
    ("Max(x, 0.0)", Relu()),
    ("Min(Max(x, 0.0), 6.0)", Clip(0, 6)),
    ("Max(Min(1.0, x), -1.0)", Clip(-1, 1)),
    ("Min(Relu(x), 6.0)", Clip(0, 6)),
]  # fmt: skip


def ops_of(graph: Graph) -> list[Op]:
    return [made.op for made in graph.nodes]


def only_op(graph: Graph) -> Op:
    (made,) = graph.nodes
    return made.op


@pytest.mark.parametrize(("text", "op"), POINTWISE)
def test_a_function_of_each_value_becomes_one_op(text: str, op: Op) -> None:
    original = formula(text, (5, 4))
    graph = assert_same(from_onnx(original), original)
    assert only_op(graph) == op
    assert graph.outputs[0].name == original.graph.output[0].name


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("text", [POINTWISE[0][0], POINTWISE[5][0], POINTWISE[15][0]])
def test_constants_may_be_written_in_any_way(text: str, spell: Spell | None) -> None:
    original = formula(text, spell=spell)
    assert len(assert_same(from_onnx(original), original).nodes) == 1


PRELUS = [
    "Add(Relu(x), Mul(Relu(Neg(x)), minus))",
    "Add(Mul(minus, Relu(Neg(x))), Relu(x))",
    "Sub(Relu(x), Mul(slope, Relu(Neg(x))))",
    "Add(Relu(x), Mul(Min(x, 0.0), slope))",
    "Where(Greater(x, 0.0), x, Mul(x, slope))",
]


@pytest.mark.parametrize("text", PRELUS)
def test_a_slope_for_each_channel_is_a_prelu(text: str) -> None:
    slope = data((4,))
    original = formula(text, (5, 4), {"slope": slope, "minus": -slope})
    assert only_op(assert_same(from_onnx(original), original)) == PRelu()


def mean(x: str, axes: str = "-1") -> str:
    return f"ReduceMean({x}, [{axes}], keepdims=1)"


def largest(x: str, axes: str = "-1") -> str:
    return f"ReduceMax({x}, [{axes}], keepdims=1)"


def summed(x: str, axes: str = "-1") -> str:
    return f"ReduceSum({x}, [{axes}], keepdims=1)"


SHIFTED = f"Sub(x, {largest('x')})"
EXP = f"Exp({SHIFTED})"
ROWS: list[tuple[str, Op]] = [
    (f"Div({EXP}, {summed(EXP)})", Softmax()),
    (f"Mul({EXP}, Reciprocal({summed(EXP)}))", Softmax()),
    (f"Div(Exp(x), {summed('Exp(x)')})", Softmax()),
    (f"Log(Div({EXP}, {summed(EXP)}))", LogSoftmax()),
    (f"Sub({SHIFTED}, Log({summed(EXP)}))", LogSoftmax()),
    (f"Sub(x, Add(Log({summed(EXP)}), {largest('x')}))", LogSoftmax()),
    ("Sub(x, ReduceLogSumExp(x, [-1], keepdims=1))", LogSoftmax()),
    ("Log(Softmax(x, axis=-1))", LogSoftmax()),
]


@pytest.mark.parametrize(("text", "op"), ROWS)
def test_a_function_of_a_row_becomes_one_op(text: str, op: Op) -> None:
    original = formula(text, (5, 4))
    assert only_op(assert_same(from_onnx(original), original)) == op


D = f"Sub(x, {mean('x')})"
STD = f"Sqrt(Add({mean(f'Pow({D}, 2.0)')}, 0.001))"
INVERSE = f"Reciprocal(Sqrt(Add({mean(f'Mul({D}, {D})')}, 0.001)))"
WHOLE = f"Mul({INVERSE}, gamma)"
LAYER_NORMS = [
    f"Div({D}, {STD})",
    f"Add(Mul(Div({D}, {STD}), gamma), beta)",
    f"Add(Mul(gamma, Mul({D}, {INVERSE})), beta)",
    f"Add(Mul({D}, {WHOLE}), beta)",
    f"Add(Mul(x, {WHOLE}), Sub(beta, Mul({mean('x')}, {WHOLE})))",
    f"Add(Mul(x, {WHOLE}), Add(Mul(Neg({mean('x')}), {WHOLE}), beta))",
    f"Sub(Mul(x, {WHOLE}), Mul({mean('x')}, {WHOLE}))",
    f"Add(Mul({INVERSE}, x), Sub(beta, Mul({mean('x')}, {INVERSE})))",
    f"Sub(Mul({INVERSE}, x), Mul({mean('x')}, {INVERSE}))",
    f"Div({D}, Sqrt(Add(Sub({mean('Mul(x, x)')}, Pow({mean('x')}, 2.0)), 0.001)))",
    f"Mul({D}, Pow(Add({mean(f'Pow({D}, 2.0)')}, 0.001), -0.5))",
]
RMS = f"Add({mean('Mul(x, x)')}, 0.001)"
RMS_NORMS = [
    f"Div(x, Sqrt({RMS}))",
    f"Mul(gamma, Mul(x, Reciprocal(Sqrt({RMS}))))",
    f"Mul(x, Mul(Div(1.0, Sqrt({RMS})), gamma))",
    f"Mul(x, Pow(Add(0.001, {mean('Pow(x, 2.0)')}), -0.5))",
    f"Div(x, Sqrt(Add({summed('Mul(x, x)')}, 0.001)))",
]


HARD_SWISH = "Mul(x, Mul(Clip(Add(x, 3.0), 0.0, 6.0), 0.16666667))"


@pytest.mark.parametrize(
    "text",
    [
        HARD_SWISH.replace("0.16666667", "0.16667"),
        HARD_SWISH.replace("3.0", "2.999"),
        HARD_SWISH.replace("Add", "Sub"),
        "Mul(x, Sigmoid(Mul(x, 1.702)))",
        "Max(x, Mul(1.1, x))",
        "Max(x, Mul(-0.1, x))",
        "Mul(x, Tanh(Softplus(Neg(x))))",
        "Div(Exp(x), ReduceSum(Exp(Neg(x)), [-1], keepdims=1))",
        f"Mul(Mul(0.5, x), Add(Erf(Div(x, {2**0.25})), 1.0))",
    ],
)
def test_what_computes_something_else_stays_so(text: str) -> None:
    original = formula(text, (5, 4))
    assert len(assert_same(from_onnx(original), original).nodes) > 1


def test_what_others_read_within_an_idiom_stays() -> None:
    """But for what only scales by a number, which can be there for both."""
    clip = "Clip(Add(x, 3.0), 0.0, 6.0)"
    original = formula(f"Add(Mul(x, Mul({clip}, 0.16666667)), {clip})")
    assert HardSwish() not in ops_of(assert_same(from_onnx(original), original))
    half = "Mul(x, 0.5)"
    original = formula(f"Sub(Mul({half}, Add(Erf(Div(x, {ROOT})), 1.0)), {half})")
    assert Gelu() in ops_of(assert_same(from_onnx(original), original))


def test_an_output_within_an_idiom_stays() -> None:
    original = formula(HARD_SWISH)
    inner = next(n for n in original.graph.node if n.op_type == "Clip").output[0]
    original.graph.output.append(helper.make_tensor_value_info(inner, TensorProto.FLOAT, None))
    graph = from_onnx(original)
    assert [port.name for port in graph.outputs] == [p.name for p in original.graph.output]
    assert HardSwish() not in ops_of(graph)


@pytest.mark.parametrize("fake", ["domain", "function"])
def test_only_ops_of_onnx_make_an_idiom(fake: str) -> None:
    original = formula(HARD_SWISH)
    clip = next(n for n in original.graph.node if n.op_type == "Clip")
    if fake == "domain":
        clip.domain = "of.somebody"
    else:
        body = [helper.make_node("Relu", ["a"], ["b"])]
        imports = [helper.make_opsetid("", 18)]
        original.functions.append(
            helper.make_function("", "Clip", ["a", "low", "high"], ["b"], body, imports)
        )
    with pytest.raises(UnsupportedModelError, match="Clip"):
        from_onnx(original)


@pytest.mark.parametrize("op", ["Mul", "Add"])
def test_the_search_ends_in_files_that_are_all_products_or_sums(op: str) -> None:
    nodes = [node(op, [f"v{i}" if i else "x"] * 2, f"v{i + 1}") for i in range(400)]
    original = model(nodes, ("N", 4), output="v400", opset=18)
    started = time.process_time()
    assert not find_idioms(Nodes(original, 18, None))
    assert time.process_time() - started < 10


def normalised(text: str, shape: tuple[int, ...] = (5, 4)) -> Graph:
    weights = {"gamma": data((4,), 2), "beta": data((4,), 3)}
    original = formula(text, shape, {k: v for k, v in weights.items() if k in text})
    return assert_same(from_onnx(original), original)


@pytest.mark.parametrize("text", LAYER_NORMS)
def test_a_layer_norm_that_is_spelled_out(text: str) -> None:
    first, *rest = ops_of(normalised(text))
    assert isinstance(first, LayerNorm)
    assert first.epsilon in (0.001, pytest.approx(0.001))
    assert not rest


@pytest.mark.parametrize("text", RMS_NORMS)
def test_an_rms_norm_that_is_spelled_out(text: str) -> None:
    first, *rest = ops_of(normalised(text))
    assert isinstance(first, RmsNorm)
    assert not rest


def test_a_softplus_with_a_threshold() -> None:
    """PyTorch's; a low threshold makes it another function."""
    text = "Where(Greater(Mul(x, 2.0), 20.0), x, Div(Softplus(Mul(x, 2.0)), 2.0))"
    original = formula(text)
    assert Softplus() in ops_of(assert_same(from_onnx(original), original))
    for wrong in (text.replace("20.0", "5.0"), text.replace("Div(", "Mul(")):
        with pytest.raises(UnsupportedModelError, match="Greater"):
            from_onnx(formula(wrong))


@pytest.mark.parametrize("text", ["Mul(Sign(x), Relu(Abs(x)))", "Mul(Abs(x), Sign(x))"])
def test_sign_and_magnitude_are_the_value(text: str) -> None:
    original = formula(f"Tanh({text})")
    assert ops_of(assert_same(from_onnx(original), original)) == [Tanh()]
