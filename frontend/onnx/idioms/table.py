"""The idioms: how exporters write functions that are one op of ours.

Sources of the formulas: the definitions of these ops in ONNX's operator documents, and for the GELU
by tanh Hendrycks and Gimpel 2016, arXiv:1606.08415.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...ops import (
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LogSoftmax,
    Mish,
    Relu,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Softsign,
)
from ..translate.activation import Translator, always, elementwise, identity
from .algebra import product, total
from .ops import (
    clip,
    hard_sigmoid,
    layer_norm,
    leaky_relu,
    log_of_softmax,
    prelu,
    rms_norm,
    root_of_sum,
    scaled_softplus,
    softmax,
)
from .pattern import Bound, Clamped, Number, Pattern, Reduced, Var, Weight, call, either, near

Numbers = Mapping[str, Bound]


@dataclass(frozen=True)
class Idiom:
    """A pattern, and what it means.

    Attributes:
        pattern: how the result is made.
        translate: adds the one op; its inputs and attributes are what the pattern gave names.
        inputs: the names of the values that it reads; empty for one that is left out.
        holds: whether the numbers are such that it means that.
    """

    pattern: Pattern
    translate: Translator
    inputs: tuple[str, ...] = ("x",)
    holds: Callable[[Numbers], bool] = lambda numbers: True


X, GAMMA, BETA, SLOPE = Var("x"), Weight("gamma"), Weight("beta"), Weight("slope")
ZERO = Number(0)


def exp(x: Pattern) -> Pattern:
    return call("Exp", x)


def mean(x: Pattern) -> Pattern:
    return Reduced("ReduceMean", x)


def summed(x: Pattern) -> Pattern:
    return Reduced("ReduceSum", x)


def square(x: Pattern) -> Pattern:
    return product(1, (x, 2))


def where(positive: Pattern, negative: Pattern) -> Pattern:
    """One function where x is positive, and another where it is negative; they agree at zero."""
    above = either(
        call("Greater", X, ZERO),
        call("GreaterOrEqual", X, ZERO),
        call("Less", ZERO, X),
        call("LessOrEqual", ZERO, X),
    )
    below = either(
        call("Less", X, ZERO),
        call("LessOrEqual", X, ZERO),
        call("Greater", ZERO, X),
        call("GreaterOrEqual", ZERO, X),
    )
    return either(
        call("Where", either(above, call("Not", below)), positive, negative),
        call("Where", either(below, call("Not", above)), negative, positive),
    )


def bend(factor: float) -> Pattern:
    """``factor · sqrt(2 / pi) · (x + 0.044715 x³)``."""
    factor *= math.sqrt(2 / math.pi)
    return either(
        product(factor, total(0, X, (0.044715, product(1, (X, 3))))),
        product(factor, X, total(1, (0.044715, product(1, (X, 2))))),
        total(0, (factor, X), (factor * 0.044715, product(1, (X, 3)))),
    )


ERF = call("Erf", product(math.sqrt(0.5), X))
TANH = call("Tanh", bend(1))
RELU = Clamped(X, 0, math.inf)
RELU_OF_NEGATED = Clamped(product(-1, X), 0, math.inf)
NEGATIVE = Clamped(X, -math.inf, 0)
SPELLED_SIGMOID = product(1, (total(1, exp(product(-1, X))), -1))
SPELLED_SOFTPLUS = call("Log", total(1, exp(X)))
SIGMOID = either(call("Sigmoid", product(1, X)), SPELLED_SIGMOID)
SOFTPLUS = either(call("Softplus", X), SPELLED_SOFTPLUS)

SCALED = product("beta", X)

FLAT = 17.0
"""Above it ln(1 + exp(x)) and x are the same float32: they differ by exp(-x)."""

POINTWISE = (
    Idiom(
        either(
            product(0.5, X, total(1, ERF)),
            product(1, X, total(0.5, (0.5, ERF))),
            # No op of ONNX, but tf2onnx writes it: erfc(-a) = 1 + erf(a).
            product(0.5, X, call("Erfc", product(-math.sqrt(0.5), X))),
        ),
        always(Gelu()),
    ),
    Idiom(
        either(
            product(0.5, X, total(1, TANH)),
            product(1, X, total(0.5, (0.5, TANH))),
            # (1 + tanh(a)) / 2 = sigmoid(2 a).
            product(1, X, call("Sigmoid", bend(2))),
        ),
        always(Gelu(approximate=True)),
    ),
    Idiom(
        either(
            product(1 / 6, X, Clamped(total(3, X), 0, 6)),
            product(1, X, Clamped(total(0.5, (1 / 6, X)), 0, 1)),
            product(1, X, call("HardSigmoid", X, alpha=1 / 6, beta=0.5)),
        ),
        always(HardSwish()),
    ),
    Idiom(
        either(
            product(1, X, SIGMOID),
            product(1, X, (total(1, exp(product(-1, X))), -1)),
        ),
        always(Silu()),
    ),
    Idiom(product(1, X, call("Tanh", SOFTPLUS)), always(Mish())),
    Idiom(product(1, X, (total(1, call("Abs", X)), -1)), always(Softsign())),
    Idiom(SPELLED_SIGMOID, always(Sigmoid())),
    Idiom(SPELLED_SOFTPLUS, always(Softplus())),
    Idiom(
        # PyTorch's: above the threshold, x itself.
        call(
            "Where",
            call("Greater", SCALED, Number("threshold")),
            X,
            product("inverse", call("Softplus", SCALED)),
        ),
        scaled_softplus,
        holds=lambda numbers: (
            _number(numbers, "threshold") >= FLAT
            and near(_number(numbers, "inverse") * _number(numbers, "beta"), 1)
        ),
    ),
    Idiom(
        product(1, call("Sign", X), either(call("Abs", X), Clamped(call("Abs", X), 0, math.inf))),
        identity,
    ),
    Idiom(
        either(
            where(either(X, RELU), product("alpha", total(-1, exp(either(X, NEGATIVE))))),
            total(0, RELU, ("alpha", total(-1, exp(NEGATIVE)))),
        ),
        elementwise(lambda call: Elu(call.number("alpha", Elu().alpha))),
    ),
    Idiom(
        call("Max", X, product("alpha", X)),
        elementwise(leaky_relu),
        holds=lambda numbers: 0 <= _number(numbers, "alpha") <= 1,
    ),
    Idiom(
        either(
            where(X, product("alpha", X)),
            total(0, RELU, ("alpha", NEGATIVE)),
            total(0, RELU, ("negated", RELU_OF_NEGATED)),
        ),
        elementwise(leaky_relu),
    ),
    Idiom(
        either(
            where(X, product(1, SLOPE, X)),
            total(0, RELU, product(1, SLOPE, NEGATIVE)),
            total(0, RELU, (-1, product(1, SLOPE, RELU_OF_NEGATED))),
        ),
        prelu(1),
        ("x", "slope"),
    ),
    Idiom(total(0, RELU, product(1, SLOPE, RELU_OF_NEGATED)), prelu(-1), ("x", "slope")),
    Idiom(product(1 / 6, Clamped(total(3, X), 0, 6)), always(HardSigmoid(1 / 6, 0.5))),
    Idiom(
        Clamped(total("beta", ("alpha", X)), 0, 1),
        elementwise(hard_sigmoid),
        holds=lambda numbers: _number(numbers, "beta") != 0,
    ),
    Idiom(where(X, ZERO), always(Relu())),
    Idiom(
        Clamped(X, "low", "high"),
        elementwise(clip),
        holds=lambda numbers: _number(numbers, "low") <= _number(numbers, "high"),
    ),
)
"""Functions of each value."""

SHIFTED = total(0, X, (-1, Reduced("ReduceMax", X)))

SPELLED_SOFTMAX = either(
    product(1, exp(SHIFTED), (summed(exp(SHIFTED)), -1)),
    product(1, exp(X), (summed(exp(X)), -1)),
)

SOFTMAXES = (
    Idiom(SPELLED_SOFTMAX, softmax(Softmax())),
    Idiom(
        either(
            total(0, X, (-1, Reduced("ReduceMax", X)), (-1, call("Log", summed(exp(SHIFTED))))),
            total(0, X, (-1, call("Log", summed(exp(X))))),
            total(0, X, (-1, Reduced("ReduceLogSumExp", X))),
            call("Log", SPELLED_SOFTMAX),
        ),
        softmax(LogSoftmax()),
    ),
    Idiom(call("Log", call("Softmax", X, axis="axis")), log_of_softmax),
)

MEAN = mean(X)
VARIANCE = either(
    mean(square(total(0, X, (-1, MEAN)))),
    total(0, mean(square(X)), (-1, square(MEAN))),
)
INVERSE = (total("epsilon", VARIANCE), -0.5)
DEVIATION = total(0, X, (-1, MEAN))
INVERSE_ROOT = (total("epsilon", mean(square(X))), -0.5)
INVERSE_LENGTH = (total("epsilon", summed(square(X))), -0.5)


def expanded(*scale: Pattern) -> tuple[Pattern, tuple[float, Pattern]]:
    """``x w - mean w``, where w is the inverse deviation, perhaps scaled."""
    return product(1, X, INVERSE, *scale), (-1, product(1, MEAN, INVERSE, *scale))


def normalisation(pattern: Pattern, translate: Translator, *inputs: str) -> Idiom:
    return Idiom(pattern, translate, inputs, lambda numbers: _number(numbers, "epsilon") > 0)


NORMALISATIONS = (
    normalisation(product(1, DEVIATION, INVERSE), layer_norm, "x"),
    normalisation(product(1, DEVIATION, INVERSE, GAMMA), layer_norm, "x", "gamma"),
    normalisation(total(0, *expanded(GAMMA), BETA), layer_norm, "x", "gamma", "beta"),
    normalisation(total(0, *expanded(GAMMA)), layer_norm, "x", "gamma"),
    normalisation(total(0, *expanded(), BETA), layer_norm, "x", "", "beta"),
    normalisation(total(0, *expanded()), layer_norm, "x"),
    normalisation(product(1, X, INVERSE_ROOT), rms_norm, "x"),
    normalisation(product(1, X, INVERSE_ROOT, GAMMA), rms_norm, "x", "gamma"),
    normalisation(product(1, X, INVERSE_LENGTH), root_of_sum, "x"),
)

IDIOMS = (*NORMALISATIONS, *SOFTMAXES, *POINTWISE)
"""All of them; the first that fits a value is taken."""


def _number(numbers: Numbers, name: str) -> float:
    value = numbers[name]
    return value if isinstance(value, float) else math.nan
