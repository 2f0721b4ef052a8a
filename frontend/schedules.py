"""Learning-rate schedules: the learning rate of each step of an optimiser.

A schedule is given to an optimiser in place of a number.  It is called with the number of the
step, from 0, and depends on nothing else: a resumed run goes on where it was.  A run has
``epochs · ceil(samples / batch size)`` steps; after the steps that a schedule was made for, it
stays at its end.  A checkpoint holds a schedule's ``repr``, by which it knows it again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from .errors import LutraError


class Schedule(Protocol):
    """The learning rate of a step."""

    def __call__(self, step: int) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    rate: float

    def __post_init__(self) -> None:
        _check(rate=self.rate)

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True)
class Step:
    """``rate``, times ``factor`` after each ``every`` steps."""

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check(rate=self.rate, every=self.every, factor=self.factor)

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Exponential:
    """``rate · factor^(step / every)``."""

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check(rate=self.rate, every=self.every, factor=self.factor)

    def __call__(self, step: int) -> float:
        return float(self.rate * self.factor ** (step / self.every))


@dataclass(frozen=True)
class Cosine:
    """From ``rate`` to ``final`` along half a cosine (Loshchilov and Hutter, 2017)."""

    rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check(rate=self.rate, steps=self.steps)
        _check_final(self.final, self.rate)

    def __call__(self, step: int) -> float:
        return _between(self.rate, self.final, step / self.steps)


@dataclass(frozen=True)
class WarmUpCosine:
    """In ``warm_up`` steps straight up to ``rate``, then as :class:`Cosine` until ``steps``."""

    rate: float
    warm_up: int
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check(rate=self.rate, warm_up=self.warm_up, steps=self.steps - self.warm_up)
        _check_final(self.final, self.rate)

    def __call__(self, step: int) -> float:
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        return _between(self.rate, self.final, (step - self.warm_up) / (self.steps - self.warm_up))


@dataclass(frozen=True)
class OneCycle:
    """Up from ``rate / start`` to ``rate``, then down to ``rate / final`` (Smith, 2018).

    Both ways follow half a cosine; the first takes the share ``rise`` of the steps.
    """

    rate: float
    steps: int
    rise: float = 0.3
    start: float = 25.0
    final: float = 1e4

    def __post_init__(self) -> None:
        _check(rate=self.rate, steps=self.steps, rise=self.rise)
        _check(start=self.start, final=self.final)
        if self.rise >= 1:
            raise LutraError("rise is a share of the steps", found=self.rise, expected="below 1")

    def __call__(self, step: int) -> float:
        top = self.rise * self.steps
        if step < top:
            return _between(self.rate / self.start, self.rate, step / top)
        return _between(self.rate, self.rate / self.final, (step - top) / (self.steps - top))


def _between(start: float, end: float, share: float) -> float:
    """The value at a share, at most 1, of the way along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise LutraError(f"a schedule's {name} is out of range", found=value, expected="> 0")


def _check_final(final: float, rate: float) -> None:
    if not 0 <= final <= rate:
        raise LutraError(
            "a schedule's final rate is out of range", found=final, expected=f"0 to {rate}"
        )
