"""Optimisers: how a gradient changes the weights.

A learning rate is a number or a schedule (:mod:`lutra.frontend.schedules`).  Before anything else
each value of the gradient is kept within ``clip_value`` of 0, then the gradient of all variables
together is scaled down to the norm ``clip_norm`` if it is longer; None leaves it as it is.

Each optimiser keeps the weights of all variables in one flat array, of which the variables' own
arrays are views, so that an update is a few passes over one array however many layers there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from .errors import LutraError, ModelError
from .ops import Array
from .schedules import Constant, Schedule
from .tensor import Variable


class Optimiser(Protocol):
    """What :func:`lutra.frontend.training.fit` needs of an optimiser."""

    def step(self) -> None:
        """Change every variable by its ``grad``; a variable without one has a gradient of 0."""

    def state(self) -> dict[str, Array]:
        """A copy of all that the next step depends on, but for the weights."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up a state that :meth:`state` gave.

        Raises:
            ModelError: it is not the state of such an optimiser.
        """

    def describe(self) -> dict[str, object]:
        """The settings, in plain values."""


class _Flat:
    """The variables' values and gradients, each in one array; gradients clipped if asked for."""

    def __init__(
        self, variables: Sequence[Variable], clip_norm: float | None, clip_value: float | None
    ) -> None:
        for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if limit is not None:
                _check(name, limit, 0, math.inf, open_low=True)
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        if not variables:
            raise LutraError("there is nothing to train", expected="at least one variable")
        self.variables = tuple(variables)
        dtype = np.result_type(*(variable.data for variable in variables))
        size = sum(variable.data.size for variable in variables)
        self.values = np.empty(size, dtype)
        self.grads = np.zeros(size, dtype)
        self.scratch = np.empty(size, dtype)
        ends = np.cumsum([variable.data.size for variable in variables]).tolist()
        self.places = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self.views = [
            self.values[place].reshape(variable.shape)
            for place, variable in zip(self.places, variables, strict=True)
        ]
        self.adopt()

    def adopt(self) -> None:
        """Make every variable's array a view of the flat one, which takes over its value."""
        for variable, view in zip(self.variables, self.views, strict=True):
            if variable.data is not view:
                view[...] = variable.data
                variable.data = view

    def gather(self) -> Array:
        """The gradients of all variables, in one array that may be overwritten."""
        self.adopt()
        parts = [
            np.zeros(variable.shape, self.grads.dtype) if variable.grad is None else variable.grad
            for variable in self.variables
        ]
        grads = np.concatenate([part.reshape(-1) for part in parts], out=self.grads)
        if self.clip_value is not None:
            np.clip(grads, -self.clip_value, self.clip_value, out=grads)
        if self.clip_norm is not None:
            norm = float(np.linalg.norm(grads.astype(np.float64)))  # squares overflow a float32
            if norm > self.clip_norm:
                grads *= self.clip_norm / norm
        return grads

    def take(self, state: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
        """Arrays of the flat size by name, checked.

        Raises:
            ModelError: a name is missing or too many, or a size or type differs.
        """
        found = {name: (value.shape, str(value.dtype)) for name, value in state.items()}
        flat = (self.values.shape, str(self.values.dtype))
        expected = dict.fromkeys(names, flat) | {"steps": ((), "int64")}
        if found != expected:
            raise ModelError("not this optimiser's state", found=found, expected=expected)
        return [state[name].copy() for name in names]


def _check(name: str, value: float, low: float, high: float, *, open_low: bool) -> None:
    if not (low < value if open_low else low <= value) or not value < high:
        raise LutraError(
            f"{name} is out of range",
            found=value,
            expected=f"{low} {'<' if open_low else '<='} {name} < {high}",
        )


def _schedule(learning_rate: float | Schedule) -> Schedule:
    if callable(learning_rate):
        return learning_rate
    _check("learning_rate", learning_rate, 0, math.inf, open_low=True)
    return Constant(learning_rate)


def _plain(learning_rate: float | Schedule) -> object:
    """A number as it is, a schedule by its text."""
    return repr(learning_rate) if callable(learning_rate) else learning_rate


class SGD:
    """Stochastic gradient descent with momentum.

    ``v = momentum · v + grad + weight_decay · w``, then ``w = w - learning_rate · v``, where the
    gradient is clipped.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self._rate = _schedule(learning_rate)
        _check("momentum", momentum, 0, 1, open_low=False)
        _check("weight_decay", weight_decay, 0, math.inf, open_low=False)
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self._flat = _Flat(variables, clip_norm, clip_value)
        self._velocity = np.zeros_like(self._flat.values)
        self._steps = 0

    def step(self) -> None:
        grads, values, scratch = self._flat.gather(), self._flat.values, self._flat.scratch
        rate = self._rate(self._steps)
        self._steps += 1
        if self.weight_decay:
            np.multiply(values, self.weight_decay, out=scratch)
            grads += scratch
        if self.momentum:
            self._velocity *= self.momentum
            self._velocity += grads
            grads = self._velocity
        np.multiply(grads, rate, out=scratch)
        values -= scratch

    def state(self) -> dict[str, Array]:
        return {"velocity": self._velocity.copy(), "steps": np.asarray(self._steps, np.int64)}

    def restore(self, state: Mapping[str, Array]) -> None:
        (self._velocity,) = self._flat.take(state, ["velocity"])
        self._steps = int(state["steps"])

    def describe(self) -> dict[str, object]:
        return {
            "optimiser": "SGD",
            "learning rate": _plain(self.learning_rate),
            "momentum": self.momentum,
            "weight decay": self.weight_decay,
            "clip norm": self._flat.clip_norm,
            "clip value": self._flat.clip_value,
        }


class Adam:
    """Adam (Kingma and Ba, 2015), with weight decay apart from the gradient (AdamW).

    The moments are kept divided by ``1 - beta``, which saves a pass over each a step; the step
    size makes up for it.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        learning_rate: float | Schedule = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self._rate = _schedule(learning_rate)
        _check("beta 1", betas[0], 0, 1, open_low=False)
        _check("beta 2", betas[1], 0, 1, open_low=False)
        _check("epsilon", epsilon, 0, math.inf, open_low=True)
        _check("weight_decay", weight_decay, 0, math.inf, open_low=False)
        self.learning_rate = learning_rate
        self.betas = betas
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self._flat = _Flat(variables, clip_norm, clip_value)
        self._mean = np.zeros_like(self._flat.values)
        self._square = np.zeros_like(self._flat.values)
        self._steps = 0

    def step(self) -> None:
        grads, values, scratch = self._flat.gather(), self._flat.values, self._flat.scratch
        beta1, beta2 = self.betas
        rate = self._rate(self._steps)
        self._steps += 1
        if self.weight_decay:
            values *= 1 - rate * self.weight_decay
        self._mean *= beta1
        self._mean += grads
        grads *= grads
        self._square *= beta2
        self._square += grads
        mean_scale = (1 - beta1) / (1 - beta1**self._steps)
        root_scale = math.sqrt((1 - beta2) / (1 - beta2**self._steps))
        np.sqrt(self._square, out=scratch)
        scratch += self.epsilon / root_scale
        np.divide(self._mean, scratch, out=scratch)
        scratch *= rate * mean_scale / root_scale
        values -= scratch

    def state(self) -> dict[str, Array]:
        return {
            "mean": self._mean.copy(),
            "square": self._square.copy(),
            "steps": np.asarray(self._steps, np.int64),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        self._mean, self._square = self._flat.take(state, ["mean", "square"])
        self._steps = int(state["steps"])

    def describe(self) -> dict[str, object]:
        return {
            "optimiser": "Adam",
            "learning rate": _plain(self.learning_rate),
            "betas": list(self.betas),
            "epsilon": self.epsilon,
            "weight decay": self.weight_decay,
            "clip norm": self._flat.clip_norm,
            "clip value": self._flat.clip_value,
        }
