"""Recurrent layers against their published equations, a step and a gate at a time.

Tolerances are those of float64 sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from lutra.frontend.errors import ShapeError, UnsupportedOpError
from lutra.frontend.ops import Array, Gru, Lstm, Operator, Shape, SimpleRnn

BATCH, STEPS, FEATURES, HIDDEN = 3, 5, 4, 7
Recurrent = SimpleRnn | Lstm | Gru
KINDS: list[Callable[[bool, bool], Recurrent]] = [
    lambda reverse, last: SimpleRnn("tanh", reverse, last),
    lambda reverse, last: SimpleRnn("relu", reverse, last),
    lambda reverse, last: Lstm(reverse, last),
    lambda reverse, last: Gru(True, reverse, last),
    lambda reverse, last: Gru(False, reverse, last),
]
FORWARD = [kind(False, False) for kind in KINDS]
EVERY = [kind(*options) for kind, options in product(KINDS, product([False, True], repeat=2))]


def gates(op: Recurrent) -> int:
    return {SimpleRnn: 1, Lstm: 4, Gru: 3}[type(op)]


def inputs_of(op: Recurrent, steps: int = STEPS, dtype: type = np.float64) -> list[Array]:
    """Random inputs, so large that gates come near both their ends."""
    rng = np.random.default_rng(2)
    columns = gates(op) * HIDDEN
    shapes = [(BATCH, steps, FEATURES), (FEATURES, columns), (HIDDEN, columns), (columns,)]
    if isinstance(op, Gru) and op.reset_after:
        shapes.append((HIDDEN,))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def per_gate(op: Recurrent, array: Array) -> list[Array]:
    return np.split(array, gates(op), axis=-1)


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def rnn_step(op: SimpleRnn, x: Array, h: Array, weights: list[Array]) -> dict[str, Array]:
    w, r, b = weights
    candidate = x @ w + h @ r + b
    state = np.tanh(candidate) if op.activation == "tanh" else candidate * (candidate > 0)
    return {"candidate": candidate, "hidden": state}


def lstm_step(op: Lstm, x: Array, h: Array, c: Array, weights: list[Array]) -> dict[str, Array]:
    """Hochreiter and Schmidhuber's with the forget gate of Gers et al., no peepholes."""
    w, r, b = (per_gate(op, weight) for weight in weights)
    i, o, f, g = (x @ w[k] + h @ r[k] + b[k] for k in range(4))
    cell = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return {
        "input_gate": i,
        "output_gate": o,
        "forget_gate": f,
        "candidate": g,
        "cell": cell,
        "hidden": sigmoid(o) * np.tanh(cell),
    }


def gru_step(op: Gru, x: Array, h: Array, weights: list[Array]) -> dict[str, Array]:
    """Cho et al.'s; reset after the product as cuDNN has it."""
    w, r, b = (per_gate(op, weight) for weight in weights[:3])
    update, reset = (x @ w[k] + h @ r[k] + b[k] for k in range(2))
    values = {"update_gate": update, "reset_gate": reset}
    if op.reset_after:
        recalled = h @ r[2] + weights[3]
        candidate = x @ w[2] + b[2] + sigmoid(reset) * recalled
        values["recurrent_candidate"] = recalled
    else:
        recalled = sigmoid(reset) * h
        candidate = x @ w[2] + b[2] + recalled @ r[2]
        values["reset_hidden"] = recalled
    z = sigmoid(update)
    return values | {"candidate": candidate, "hidden": (1 - z) * np.tanh(candidate) + z * h}


def reference(op: Recurrent, x: Array, *weights: Array) -> list[dict[str, Array]]:
    """The values of each step, in time."""
    state = {name: np.zeros((len(x), HIDDEN)) for name in ("hidden", "cell")}
    steps: dict[int, dict[str, Array]] = {}
    order = range(x.shape[1])
    for t in reversed(order) if op.reverse else order:
        match op:
            case SimpleRnn():
                state = rnn_step(op, x[:, t], state["hidden"], list(weights))
            case Lstm():
                state = lstm_step(op, x[:, t], state["hidden"], state["cell"], list(weights))
            case Gru():
                state = gru_step(op, x[:, t], state["hidden"], list(weights))
        steps[t] = state
    return [steps[t] for t in order]


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("op", EVERY, ids=str)
def test_forward_is_the_equations(op: Recurrent, steps: int) -> None:
    inputs = inputs_of(op, steps)
    states = [values["hidden"] for values in reference(op, *inputs)]
    expected = states[0 if op.reverse else -1] if op.last else np.stack(states, axis=1)
    result = op.forward(*inputs)
    assert result.shape == expected.shape == (BATCH, *op.infer(*shapes_of(inputs)))
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", EVERY, ids=str)
def test_internals_are_the_equations(op: Recurrent) -> None:
    inputs = inputs_of(op)
    steps = reference(op, *inputs)
    values = op.internals(*inputs)
    assert set(values) == set(steps[0])
    for name, value in values.items():
        expected = np.stack([step[name] for step in steps], axis=1)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12, err_msg=name)
    hidden = values["hidden"]
    end = hidden[:, 0 if op.reverse else -1]
    np.testing.assert_array_equal(op.forward(*inputs), end if op.last else hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_reverse_is_forward_on_flipped_steps(kind: Callable[[bool, bool], Recurrent]) -> None:
    x, *weights = inputs_of(kind(False, False))
    flipped = kind(False, False).forward(x[:, ::-1], *weights)[:, ::-1]
    np.testing.assert_array_equal(kind(True, False).forward(x, *weights), flipped)
    last = kind(False, True).forward(x[:, ::-1], *weights)
    np.testing.assert_array_equal(kind(True, True).forward(x, *weights), last)


def test_options_differ() -> None:
    """What an option does is seen: no two ops of the list agree on the same inputs."""
    for ops in ([op for op in EVERY if gates(op) == count] for count in (1, 3, 4)):
        inputs = inputs_of(ops[0])
        results = [op.forward(*inputs[: len(inputs_of(op))]) for op in ops]
        for one, other in combinations(results, 2):
            assert one.shape != other.shape or np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("op", EVERY, ids=str)
def test_last_takes_the_gradient_of_its_step(op: Recurrent) -> None:
    """As the whole sequence does, whose gradient is zero at every other step."""
    inputs = inputs_of(op)
    whole = replace(op, last=False)
    grad = np.random.default_rng(4).normal(size=(BATCH, HIDDEN))
    grads = np.zeros((BATCH, STEPS, HIDDEN))
    grads[:, 0 if op.reverse else -1] = grad
    parts = op.vjp([True] * len(inputs), *inputs)[1](grad if op.last else grads)
    expected = whole.vjp([True] * len(inputs), *inputs)[1](grads)
    for part, other in zip(parts, expected, strict=True):
        assert part is not None
        assert other is not None
        np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("op", EVERY, ids=str)
def test_a_pullback_can_be_used_twice(op: Recurrent) -> None:
    inputs = inputs_of(op)
    y, pullback = op.vjp([True] * len(inputs), *inputs)
    grad = np.random.default_rng(4).normal(size=y.shape)
    for once, again in zip(pullback(grad), pullback(grad), strict=True):
        assert once is not None
        assert again is not None
        np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("op", EVERY, ids=str)
def test_what_is_not_needed_is_not_made(op: Recurrent) -> None:
    inputs = inputs_of(op)
    for needs in ([i == 0 for i in range(len(inputs))], [i != 0 for i in range(len(inputs))]):
        y, pullback = op.vjp(needs, *inputs)
        assert [part is not None for part in pullback(np.ones_like(y))] == needs


@pytest.mark.parametrize("op", EVERY, ids=str)
def test_float32_stays_float32_and_close(op: Recurrent) -> None:
    """Rounding of 2^-24, magnified by at most the few steps and weights of size 1 to 3."""
    inputs = inputs_of(op, dtype=np.float32)
    exact = [x.astype(np.float64) for x in inputs]
    y, pullback = op.vjp([True] * len(inputs), *inputs)
    expected, exact_pullback = op.vjp([True] * len(inputs), *exact)
    grad = np.ones_like(y)
    pairs = zip((y, *pullback(grad)), (expected, *exact_pullback(grad * 1.0)), strict=True)
    for value, other in pairs:
        assert value is not None
        assert other is not None
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, other, rtol=0, atol=3e-5 * np.abs(other).max())
    assert all(value.dtype == np.float32 for value in op.internals(*inputs).values())


@pytest.mark.parametrize("op", [op for op in FORWARD if op != SimpleRnn("relu")], ids=str)
def test_no_sum_is_too_large(op: Recurrent) -> None:
    """Gates saturate; nothing overflows, which would be a warning, and so an error."""
    x, *weights = inputs_of(op, dtype=np.float32)
    y, pullback = op.vjp([True] * (len(weights) + 1), x * np.float32(1e4), *weights)
    assert np.abs(y).max() <= 1
    assert all(part is not None and np.isfinite(part).all() for part in pullback(np.ones_like(y)))


@pytest.mark.parametrize("op", FORWARD, ids=str)
def test_an_empty_batch(op: Recurrent) -> None:
    x, *weights = inputs_of(op)
    y, pullback = op.vjp([True] * (len(weights) + 1), x[:0], *weights)
    assert y.shape == (0, STEPS, HIDDEN)
    parts = pullback(y)
    assert [None if part is None else part.shape for part in parts] == [
        (0, STEPS, FEATURES),
        *(weight.shape for weight in weights),
    ]


def shapes_of(inputs: list[Array]) -> list[Shape]:
    """Shapes as :meth:`infer` takes them: the activation's without its batch."""
    return [inputs[0].shape[1:], *(weight.shape for weight in inputs[1:])]


def refusal(op: Operator, *shapes: Shape) -> ShapeError:
    with pytest.raises(ShapeError) as caught:
        op.infer(*shapes)
    return caught.value


@pytest.mark.parametrize("op", FORWARD, ids=str)
def test_wrong_shapes_are_refused(op: Recurrent) -> None:
    x, w, r, b, *rest = shapes_of(inputs_of(op))
    wide = gates(op) * HIDDEN

    no_step = refusal(op, (0, FEATURES), w, r, b, *rest)
    assert "at least one step" in no_step.problem
    assert no_step.found == (0, FEATURES)
    assert refusal(op, (STEPS,), w, r, b, *rest).expected == "(steps, features)"
    assert refusal(op, (1, *x), w, r, b, *rest).expected == "(steps, features)"

    for wrong in ((HIDDEN, wide + 1), (HIDDEN + 1, wide), (wide,), (0, 0)):
        error = refusal(op, x, w, wrong, b, *rest)
        assert "recurrent weight" in error.problem
        assert error.found == wrong
        assert "hidden" in str(error.expected)

    for wrong in ((FEATURES + 1, wide), (FEATURES, wide - 1), (wide, FEATURES), (wide,)):
        error = refusal(op, x, wrong, r, b, *rest)
        assert "input weight" in error.problem
        assert error.expected == (FEATURES, wide)

    biases: list[Shape] = [(wide + 1,), (1, wide), ()]
    for bias in biases:
        error = refusal(op, x, w, r, bias, *rest)
        assert error.problem.startswith("the bias")
        assert error.expected == (wide,)


@pytest.mark.parametrize("op", FORWARD, ids=str)
def test_a_wrong_number_of_inputs_is_refused(op: Recurrent) -> None:
    shapes = shapes_of(inputs_of(op))
    for count in (1, len(shapes) - 1, len(shapes) + 1):
        error = refusal(op, *[*shapes, (HIDDEN,)][:count])
        assert error.found == count
        assert str(error.expected).startswith(f"{len(shapes)}:")


def test_a_wrong_recurrent_bias_is_refused() -> None:
    shapes = shapes_of(inputs_of(Gru()))
    error = refusal(Gru(last=True), *shapes[:4], (3 * HIDDEN,))
    assert "recurrent bias" in error.problem
    assert error.expected == (HIDDEN,)


def test_errors_name_the_layer() -> None:
    named: dict[Recurrent, str] = {
        SimpleRnn(): "a simple RNN",
        Lstm(): "an LSTM",
        Gru(): "a GRU that resets after",
        Gru(False): "a GRU that resets before",
    }
    for op, name in named.items():
        _, *rest = shapes_of(inputs_of(op))
        assert name in str(refusal(op, (0, FEATURES), *rest))


def test_another_activation_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="found sigmoid; expected tanh or relu"):
        SimpleRnn("sigmoid")  # type: ignore[arg-type]
