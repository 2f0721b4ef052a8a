"""Start values of weights.

An initialiser is called with a shape and a random generator.  The last two axes of a shape are
inputs and outputs; those before them are a kernel's positions, over which both are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from .errors import LutraError, ShapeError
from .ops import Array, Shape

Distribution = Literal["uniform", "normal"]


class Initialiser(Protocol):
    """Makes float32 start values of a shape; all chance comes from the generator."""

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array: ...


@dataclass(frozen=True)
class He:
    """Variance 2 / inputs, which keeps signals in size before a ReLU (He et al., 2015)."""

    distribution: Distribution = "uniform"

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array:
        inputs, _ = _fans(shape)
        return _draw(self.distribution, 2 / inputs, shape, generator)


@dataclass(frozen=True)
class Xavier:
    """Variance 2 / (inputs + outputs), for signals and gradients (Glorot and Bengio, 2010)."""

    distribution: Distribution = "uniform"

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array:
        return _draw(self.distribution, 2 / sum(_fans(shape)), shape, generator)


@dataclass(frozen=True)
class Normal:
    """Normal with mean 0 and this deviation."""

    deviation: float = 0.02

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array:
        return generator.normal(0, self.deviation, shape).astype(np.float32)


@dataclass(frozen=True)
class Orthogonal:
    """Orthonormal columns, or rows where those are fewer, times ``gain`` (Saxe et al., 2014).

    Axes before the last count as one.  Applied again and again, as in a recurrent layer, such a
    matrix neither blows a signal up nor lets it fade.
    """

    gain: float = 1.0

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array:
        _fans(shape)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = generator.normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(tall)
        q *= np.sign(np.diag(r))  # else the factorisation's own signs would bias the draw
        matrix = q if rows >= columns else q.T
        return (self.gain * matrix).reshape(shape).astype(np.float32)


@dataclass(frozen=True)
class Constant:
    """The same value everywhere."""

    value: float

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array:
        return np.full(shape, self.value, np.float32)


@dataclass(frozen=True)
class Zeros(Constant):
    """0 everywhere."""

    value: float = 0.0


@dataclass(frozen=True)
class Ones(Constant):
    """1 everywhere."""

    value: float = 1.0


@dataclass(frozen=True)
class Blocks:
    """An initialiser a block, for blocks of equal size side by side along the last axis.

    A recurrent layer keeps the matrices of its gates so; each is drawn as a matrix of its own.
    """

    parts: tuple[Initialiser, ...]

    def __call__(self, shape: Shape, generator: np.random.Generator) -> Array:
        if shape[-1] % len(self.parts):
            raise ShapeError(
                "the last axis cannot be cut into blocks of equal size",
                found=shape,
                expected=f"a multiple of {len(self.parts)}",
            )
        block = (*shape[:-1], shape[-1] // len(self.parts))
        return np.concatenate([part(block, generator) for part in self.parts], axis=-1)


def _fans(shape: Shape) -> tuple[int, int]:
    """How many values an output is made from, and how many outputs a value goes to."""
    if len(shape) < 2:
        raise ShapeError(
            "this initialiser is for matrices and kernels",
            found=shape,
            expected="two axes or more",
            remedy="Give vectors Zeros(), Ones(), Constant(...) or Normal(...)",
        )
    positions = math.prod(shape[:-2])
    return positions * shape[-2], positions * shape[-1]


def _draw(
    distribution: Distribution, variance: float, shape: Shape, generator: np.random.Generator
) -> Array:
    match distribution:
        case "uniform":
            limit = math.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape).astype(np.float32)
        case "normal":
            return generator.normal(0, math.sqrt(variance), shape).astype(np.float32)
        case _:
            raise LutraError(
                "no such distribution", found=distribution, expected="uniform or normal"
            )
