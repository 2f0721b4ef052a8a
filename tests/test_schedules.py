"""Learning-rate schedules and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lutra.frontend.errors import LutraError
from lutra.frontend.optimisers import SGD, Adam
from lutra.frontend.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Schedule,
    Step,
    WarmUpCosine,
)
from lutra.frontend.tensor import Variable

CURVES: list[tuple[Schedule, dict[int, float]]] = [
    (Constant(0.3), {0: 0.3, 99: 0.3}),
    (Step(0.8, 10, 0.5), {0: 0.8, 9: 0.8, 10: 0.4, 19: 0.4, 20: 0.2}),
    (Exponential(0.8, 10, 0.25), {0: 0.8, 5: 0.4, 10: 0.2, 20: 0.05}),
    (Cosine(0.8, 12, 0.2), {0: 0.8, 4: 0.65, 6: 0.5, 8: 0.35, 12: 0.2, 50: 0.2}),
    (
        WarmUpCosine(0.8, 4, 16, 0.2),
        {0: 0.2, 1: 0.4, 3: 0.8, 4: 0.8, 8: 0.65, 10: 0.5, 16: 0.2, 99: 0.2},
    ),
    (
        OneCycle(0.8, 20, rise=0.4, start=4, final=8),
        {0: 0.2, 4: 0.5, 8: 0.8, 14: 0.45, 20: 0.1, 99: 0.1},
    ),
]


@pytest.mark.parametrize(("schedule", "points"), CURVES, ids=lambda value: type(value).__name__)
def test_curves(schedule: Schedule, points: dict[int, float]) -> None:
    for step, rate in points.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12)


def test_a_cosine_is_one() -> None:
    for step in range(31):
        assert Cosine(2.0, 30)(step) == pytest.approx(1 + math.cos(math.pi * step / 30))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Constant(0),
        lambda: Constant(math.nan),
        lambda: Step(0.1, 0),
        lambda: Step(0.1, 5, -1),
        lambda: Exponential(0.1, 0),
        lambda: Cosine(0.1, 0),
        lambda: Cosine(0.1, 5, 0.2),
        lambda: Cosine(0.1, 5, -0.1),
        lambda: WarmUpCosine(0.1, 5, 5),
        lambda: WarmUpCosine(0.1, 0, 5),
        lambda: OneCycle(0.1, 5, rise=1),
        lambda: OneCycle(0.1, 5, final=0),
        lambda: Adam([Variable(1.0)], clip_norm=0),
        lambda: SGD([Variable(1.0)], clip_value=math.nan),
    ],
)
def test_wrong_settings(wrong: Callable[[], object]) -> None:
    with pytest.raises(LutraError) as caught:
        wrong()
    assert caught.value.found is not None
    assert caught.value.expected


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_an_optimiser_follows_its_schedule(kind: type[SGD] | type[Adam]) -> None:
    """Each step is the step of an optimiser with that step's rate; for Adam with a gradient that
    stays the same, so that its moments do."""
    schedule = Step(0.5, 2, 0.1)
    x = Variable(np.array([1.0, -2.0]))
    optimiser = kind([x], schedule)
    for step in range(5):
        before = x.data.copy()
        x.grad = np.array([1.0, 3.0])
        optimiser.step()
        rate = schedule(step)
        expected = rate * (np.ones(2) if kind is Adam else x.grad)
        np.testing.assert_allclose(before - x.data, expected, rtol=1e-6)  # Adam's epsilon
    assert optimiser.describe()["learning rate"] == "Step(rate=0.5, every=2, factor=0.1)"


def test_decay_goes_by_the_schedule() -> None:
    x = Variable(np.array([1.0]))
    optimiser = Adam([x], Step(0.5, 1, 0.1), weight_decay=0.2)
    for factor in (0.9, 0.9 * 0.99):
        x.grad = np.array([0.0])
        optimiser.step()
        np.testing.assert_allclose(x.data, factor)


def step_of(grads: list[list[float]], **settings: float) -> list[list[float]]:
    """What a plain step of rate 1 subtracts."""
    variables = [Variable(np.zeros(len(grad), np.float32)) for grad in grads]
    optimiser = SGD(variables, 1.0, **settings)
    for variable, grad in zip(variables, grads, strict=True):
        variable.grad = np.array(grad, np.float32)
    optimiser.step()
    return [(-variable.data).tolist() for variable in variables]


def test_clipping_by_value() -> None:
    assert step_of([[3, -4], [0.5]], clip_value=1) == [[1, -1], [0.5]]


def test_clipping_by_the_norm_of_all() -> None:
    assert step_of([[3, 0], [-4]], clip_norm=2.5) == [[1.5, 0], [-2]]
    assert step_of([[3, 0], [-4]], clip_norm=5) == [[3, 0], [-4]]


def test_clipping_by_both_takes_the_value_first() -> None:
    assert step_of([[30], [4, 0]], clip_value=3, clip_norm=1) == [
        [pytest.approx(math.sqrt(0.5))],
        [pytest.approx(math.sqrt(0.5)), 0],
    ]


def test_a_huge_gradient_is_clipped_and_not_lost() -> None:
    """The sum of its squares is no float32."""
    (found,) = step_of([[3e30, -4e30]], clip_norm=5)
    np.testing.assert_allclose(found, [3, -4], rtol=1e-6)  # float32


def test_adam_clips_too() -> None:
    x, y = Variable(np.zeros(2)), Variable(np.zeros(2))
    clipped, plain = Adam([x], 0.1, clip_norm=1.0), Adam([y], 0.1)
    for grad in ([3.0, 4.0], [0.1, 0.2]):
        x.grad = np.array(grad)
        y.grad = np.array(grad) / max(1.0, float(np.linalg.norm(grad)))
        clipped.step()
        plain.step()
    np.testing.assert_allclose(x.data, y.data, rtol=1e-12)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_checkpoint_can_tell(kind: type[SGD] | type[Adam]) -> None:
    """What changes a run stands in the description by which a checkpoint knows it."""
    x = [Variable(np.zeros(2))]
    described = [
        kind(x, 0.1),
        kind(x, Cosine(0.1, 10)),
        kind(x, Cosine(0.1, 11)),
        kind(x, 0.1, clip_norm=1.0),
        kind(x, 0.1, clip_value=1.0),
        kind(x, 0.1, weight_decay=0.1),
    ]
    assert len({str(optimiser.describe()) for optimiser in described}) == len(described)
