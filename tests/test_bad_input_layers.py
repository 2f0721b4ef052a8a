"""Layers whose settings or sizes cannot be: refused where they are described, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import Graph, Node, Port, evaluate
from lutra.frontend.layers import (
    ELU,
    GRU,
    LSTM,
    AdditiveAttention,
    AveragePool2D,
    BatchNorm,
    Bidirectional,
    Clip,
    Conv2D,
    ConvTranspose2D,
    Dense,
    GlobalAveragePool,
    HardSigmoid,
    Input,
    LayerNorm,
    LeakyReLU,
    Mask,
    MaxPool2D,
    MultiHeadAttention,
    MultiplicativeAttention,
    Pad,
    PReLU,
    Reshape,
    RmsNorm,
    Scale,
    SimpleRNN,
    Slice,
    TransformerEncoder,
    Upsample,
)
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.ops import BatchNorm as BatchNormOp
from lutra.frontend.ops import Celu, Div, Log, Power, Window

Make = Callable[[], Any]

STEPS = Input((5, 4))
IMAGE = Input((6, 5, 4))
ROW = Input((12,))

WRONG: list[tuple[Make, str]] = [
    (lambda: LSTM(3)(Input((0, 4))), "impossible shape"),
    (lambda: SimpleRNN(3)(Input((-1, 4))), "impossible shape"),
    (lambda: GRU(3)(Input((2**40, 4))), "too large"),
    (lambda: Dense(3)(Input(())), "impossible shape"),
    (lambda: Dense(3)(Input((2.5,))), "impossible shape"),  # type: ignore[arg-type]
    (lambda: GlobalAveragePool()(Input((0, 4))), "impossible shape"),
    (lambda: MultiplicativeAttention()(Input((5, 0))), "impossible shape"),
    (lambda: LSTM(2**40)(STEPS), "too large"),
    (lambda: Conv2D(10**9)(IMAGE), "too large"),
    (lambda: Dense(10**9)(ROW), "too large"),
    (lambda: AdditiveAttention(units=2**40)(STEPS), "too large"),
    (lambda: Reshape((12, *[1] * 100))(ROW), "too large"),
    (lambda: Conv2D(3, kernel=7)(IMAGE), "larger than the padded input"),
    (lambda: Conv2D(3, stride=2**62)(IMAGE), "too large"),
    (lambda: Conv2D(3, padding=20_000)(IMAGE), "too large"),
    (lambda: Conv2D(3, padding=((1,), (1,)))(IMAGE), "alike"),  # type: ignore[arg-type]
    (lambda: ConvTranspose2D(3, stride=20_000)(IMAGE), "too large"),
    (lambda: ConvTranspose2D(3, stride=2**20, padding=2**21)(IMAGE), "too large before"),
    (lambda: MaxPool2D(3, padding=9_000)(IMAGE), "too large"),
    (lambda: AveragePool2D(3, 2, ((0, 0), (9, 9)))(IMAGE), "no position that counts"),
    (lambda: MultiHeadAttention(2, mask=np.zeros((5, 5)))(STEPS), "nothing to attend to"),
    (lambda: TransformerEncoder(2, 8, mask=np.zeros((5, 5)))(STEPS), "nothing to attend to"),
    (lambda: Upsample(2**27)(STEPS), "too large"),
    (lambda: Pad(2**28)(STEPS), "too large"),
    (lambda: Conv2D(3, kernel=2.5)(IMAGE), "settings are wrong"),  # type: ignore[arg-type]
    (lambda: Pad(None)(STEPS), "settings are wrong"),  # type: ignore[arg-type]
    (lambda: Slice(0, 1.5)(STEPS), "settings are wrong"),  # type: ignore[arg-type]
    (lambda: Reshape(20)(STEPS), "settings are wrong"),  # type: ignore[arg-type]
    (lambda: Reshape((2.5, 8))(STEPS), "impossible shape"),  # type: ignore[arg-type]
    (lambda: LeakyReLU("a")(ROW), "settings are wrong"),  # type: ignore[arg-type]
    (lambda: LeakyReLU(math.nan)(ROW), "no number that a float32 holds"),
    (lambda: ELU(math.inf)(ROW), "no number that a float32 holds"),
    (lambda: HardSigmoid(1e300)(ROW), "no number that a float32 holds"),
    (lambda: Clip(1e300, 2e300)(ROW), "no number that a float32 holds"),
    (lambda: Clip(math.nan, 1)(ROW), "not in order"),
    (lambda: Clip(math.inf, math.inf)(ROW), "not in order"),
    (lambda: BatchNorm(epsilon=-1)(ROW), "epsilon"),
    (lambda: LayerNorm(epsilon=math.nan)(ROW), "epsilon"),
    (lambda: RmsNorm(epsilon=math.inf)(ROW), "epsilon"),
]


@pytest.mark.parametrize(("make", "problem"), WRONG)
def test_the_layer_is_named(make: Make, problem: str) -> None:
    with pytest.raises(LutraError, match=problem) as caught:
        make()
    assert caught.value.node
    assert caught.value.found is not None


BORN_WRONG: list[tuple[Make, str]] = [
    (lambda: LSTM(2.5), "whole number"),  # type: ignore[arg-type]
    (lambda: GRU("3"), "whole number"),  # type: ignore[arg-type]
    (lambda: Dense(True), "whole number"),
    (lambda: MultiHeadAttention(2.0), "whole number"),  # type: ignore[arg-type]
    (lambda: Conv2D(None), "whole number"),  # type: ignore[arg-type]
    (lambda: Bidirectional(Dense(3)), "has no direction"),  # type: ignore[arg-type]
    (lambda: Bidirectional(Bidirectional(LSTM(3))), "has no direction"),  # type: ignore[arg-type]
    (lambda: MultiHeadAttention(2, mask=[[1, 0], [1]]), "is no mask"),
    (lambda: Mask(((True, True), (True,))), "differ in length"),
    (lambda: Scale(math.nan), "no number that a float32 holds"),
    (lambda: PReLU(1e300), "no number that a float32 holds"),
    (lambda: Model([None], (3,)), "is no layer"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("make", "problem"), BORN_WRONG)
def test_a_layer_that_cannot_be_described(make: Make, problem: str) -> None:
    with pytest.raises(LutraError, match=problem):
        make()


def test_whole_numbers_may_stand_for_floats() -> None:
    for layer in (
        LeakyReLU(-1),
        ELU(2),
        HardSigmoid(1, 0),
        Clip(0, 6),
        BatchNorm(epsilon=1),
        LayerNorm(epsilon=1),
    ):
        onnx.checker.check_model(to_onnx(Model([layer], (3, 4)).graph()))


@pytest.mark.parametrize("variance", [-1.0, -1e-5])
def test_a_variance_that_has_no_root(variance: float) -> None:
    weights = {name: np.ones(3, np.float32) for name in ("a", "b", "m", "v")}
    weights["v"] = np.array([1, variance, 1], np.float32)
    node = Node("norm", BatchNormOp(1e-6), ("x", *weights), "y")
    with pytest.raises(LutraError, match="a variance is not positive") as caught:
        Graph("g", (Port.of("x", (3,)),), (Port.of("y", (3,)),), (node,), weights)
    assert caught.value.node == "norm"


def test_a_constant_divisor_of_zero() -> None:
    node = Node("ratio", Div(), ("x", "d"), "y")
    ports = (Port.of("x", (2,)),), (Port.of("y", (2,)),)
    with pytest.raises(LutraError, match="divides by zero") as caught:
        Graph("g", *ports, (node,), {"d": np.array([1, 0], np.float32)})
    assert caught.value.node == "ratio"


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.inf])
def test_an_alpha_that_a_celu_cannot_have(alpha: float) -> None:
    with pytest.raises(LutraError, match="alpha"):
        Celu(alpha)


def test_a_function_outside_its_domain_gives_what_ieee_says() -> None:
    """Without a warning, as onnxruntime does."""
    ports = (Port.of("x", (3,)),), (Port.of("y", (3,)),)
    x = np.array([[-1, 0, 4]], np.float32)
    for op, expected in (
        (Log(), [math.nan, -math.inf, np.float32(math.log(4))]),
        (Power(0.5), [math.nan, 0, 2]),
        (Power(-1), [-1, math.inf, 0.25]),
    ):
        graph = Graph("g", *ports, (Node("f", op, ("x",), "y"),), {})
        np.testing.assert_array_equal(evaluate(graph, {"x": x})["y"], [expected])


@pytest.mark.parametrize(
    ("size", "stride", "pad"), [(7, 3, (2, 4)), (1, 1, (3, 3)), (9, 2, (0, 1))]
)
def test_positions_that_count_are_those_that_lie_inside(
    size: int, stride: int, pad: tuple[int, int]
) -> None:
    for kernel, dilation in ((1, 1), (3, 1), (2, 3), (4, 2)):
        window = Window((kernel,), (stride,), (pad,), (dilation,))
        if size + sum(pad) < window.reach[0]:
            continue
        for margin in ((0, 0), (1, 0), pad):
            counted = [
                sum(
                    -margin[0] <= at * stride - pad[0] + k * dilation < size + margin[1]
                    for k in range(kernel)
                )
                for at in range(window.infer((size, 1))[0])
            ]
            assert window.counts((size, 1), (margin,)).tolist() == counted
            assert window.fewest((size, 1), (margin,)) == min(counted)
