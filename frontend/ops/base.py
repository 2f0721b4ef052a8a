"""What every op is: shapes in, shapes out; arrays in, arrays out; and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import LutraError, ShapeError

Shape = tuple[int, ...]
Array = npt.NDArray[Any]
LARGEST = float(np.finfo(np.float32).max)

MAX_ELEMENTS = 2**28
"""Largest number of elements of one value; a file that asks for more is refused, not tried."""

Pullback = Callable[[Array], tuple[Array | None, ...]]
"""Takes the gradient of the output, gives one gradient an input (None where none was needed)."""


class Computable(Protocol):
    """What every op of every graph can do.  Ops are frozen dataclasses: equal attributes, equal op.

    Activations carry a leading batch axis that shapes leave out; weights have none.  Layouts are
    channels last: ``(batch, height, width, channels)``.
    """

    def infer(self, *shapes: Shape) -> Shape:
        """Shape of the output, without the batch axis, from the shapes of the inputs.

        Raises:
            ShapeError: the shapes do not fit this op.
        """

    def forward(self, *inputs: Array) -> Array:
        """Result for a batch.  An exact op gives integers for integer-valued inputs."""


class Operator(Computable, Protocol):
    """An op with a gradient: what a float network and its training are made of."""

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        """Result, and the function that pulls a gradient of the result back to the inputs.

        ``needs[i]`` says whether the gradient of input ``i`` is wanted.
        """


def unbroadcast(grad: Array, shape: Shape) -> Array:
    """Sum ``grad`` over the axes along which an operand of ``shape`` was broadcast."""
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1
    )
    return np.asarray(grad.sum(axis=axes)).reshape(shape)


def expect(condition: bool, problem: str, *, found: object, expected: object) -> None:
    """Raise a :class:`ShapeError` unless ``condition`` holds."""
    if not condition:
        raise ShapeError(problem, found=found, expected=expected)


def expect_finite(**numbers: float) -> None:
    """Raise a LutraError unless each of an op's numbers is one that a float32 holds."""
    for name, number in numbers.items():
        if not abs(number) <= LARGEST:
            raise LutraError(
                f"the {name} is no number that a float32 holds",
                found=number,
                expected=f"at most {LARGEST:.2e} in magnitude",
            )
