"""Layers: what a network is described with.

A layer is a frozen description; :class:`lutra.frontend.model.Model` gives it weights.  Layouts are
channels last: ``(batch, height, width, channels)``, ``(batch, length, channels)`` or
``(batch, features)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from . import ops
from .errors import LutraError, ShapeError
from .ops import Shape, Window

Padding = Literal["valid", "same"] | int | tuple[tuple[int, int], ...]
"""No padding; enough for an output of size ceil(input / stride), the odd one behind; the same
number on every side; or (before, after) along each axis."""

Size = int | tuple[int, ...]
"""One number for every spatial axis, or one an axis."""


class Layer(Protocol):
    """The interface of a layer.

    Attributes:
        prefix: how its name in a model begins.
    """

    prefix: ClassVar[str]

    def op(self, shape: Shape) -> ops.Op | ops.Dropout:
        """The op for an input of ``shape``, without the batch axis."""

    def weights(self, shape: Shape) -> Mapping[str, Shape]:
        """Shapes of the trainable tensors for an input of ``shape``, in the op's order."""


@dataclass(frozen=True)
class Dense:
    """Every one of ``units`` outputs sees every input feature: (..., n) to (..., units)."""

    units: int
    bias: bool = True
    prefix: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        _positive("units", self.units)

    def op(self, shape: Shape) -> ops.Op:
        return ops.Dense()

    def weights(self, shape: Shape) -> Mapping[str, Shape]:
        return _with_bias((shape[-1], self.units), self.bias)


@dataclass(frozen=True)
class Conv2D:
    """Convolution over height and width: (H, W, C) to (H', W', filters)."""

    filters: int
    kernel: Size = 3
    stride: Size = 1
    padding: Padding = "valid"
    bias: bool = True
    prefix: ClassVar[str] = "conv"
    rank: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _positive("filters", self.filters)

    def op(self, shape: Shape) -> ops.Op:
        return ops.Conv(_window(self.rank, shape, self.kernel, self.stride, self.padding))

    def weights(self, shape: Shape) -> Mapping[str, Shape]:
        kernel = _spread(self.kernel, self.rank)
        return _with_bias((*kernel, shape[-1], self.filters), self.bias)


@dataclass(frozen=True)
class Conv1D(Conv2D):
    """Convolution over a sequence: (L, C) to (L', filters)."""

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class _Pool:
    """What all pooling layers have.  The stride is the kernel's size unless it is given."""

    kernel: Size = 2
    stride: Size | None = None

    def _window(self, rank: int, shape: Shape, padding: Padding) -> Window:
        stride = self.kernel if self.stride is None else self.stride
        return _window(rank, shape, self.kernel, stride, padding)

    def weights(self, shape: Shape) -> Mapping[str, Shape]:
        return {}


@dataclass(frozen=True)
class MaxPool2D(_Pool):
    """The largest value of each window: (H, W, C) to (H', W', C); padding never wins."""

    padding: Padding = "valid"
    prefix: ClassVar[str] = "max_pool"
    rank: ClassVar[int] = 2

    def op(self, shape: Shape) -> ops.Op:
        return ops.MaxPool(self._window(self.rank, shape, self.padding))


@dataclass(frozen=True)
class MaxPool1D(MaxPool2D):
    """The largest value of each window: (L, C) to (L', C); padding never wins."""

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class AveragePool2D(_Pool):
    """The mean of each window: (H, W, C) to (H', W', C)."""

    prefix: ClassVar[str] = "average_pool"
    rank: ClassVar[int] = 2

    def op(self, shape: Shape) -> ops.Op:
        return ops.AveragePool(self._window(self.rank, shape, "valid"))


@dataclass(frozen=True)
class AveragePool1D(AveragePool2D):
    """The mean of each window: (L, C) to (L', C)."""

    rank: ClassVar[int] = 1


class _Plain:
    """What layers without weights have."""

    def weights(self, shape: Shape) -> Mapping[str, Shape]:
        return {}


@dataclass(frozen=True)
class GlobalAveragePool(_Plain):
    """The mean over all positions: (H, W, C) to (1, 1, C), (L, C) to (1, C)."""

    prefix: ClassVar[str] = "global_average_pool"

    def op(self, shape: Shape) -> ops.Op:
        return ops.GlobalAveragePool()


@dataclass(frozen=True)
class Flatten(_Plain):
    """All features of a sample in one row."""

    prefix: ClassVar[str] = "flatten"

    def op(self, shape: Shape) -> ops.Op:
        return ops.Flatten()


@dataclass(frozen=True)
class ReLU(_Plain):
    """``max(x, 0)``."""

    prefix: ClassVar[str] = "relu"

    def op(self, shape: Shape) -> ops.Op:
        return ops.Relu()


@dataclass(frozen=True)
class Sigmoid(_Plain):
    """``1 / (1 + exp(-x))``."""

    prefix: ClassVar[str] = "sigmoid"

    def op(self, shape: Shape) -> ops.Op:
        return ops.Sigmoid()


@dataclass(frozen=True)
class Tanh(_Plain):
    """Hyperbolic tangent."""

    prefix: ClassVar[str] = "tanh"

    def op(self, shape: Shape) -> ops.Op:
        return ops.Tanh()


@dataclass(frozen=True)
class Softmax(_Plain):
    """Probabilities over the last axis."""

    prefix: ClassVar[str] = "softmax"

    def op(self, shape: Shape) -> ops.Op:
        return ops.Softmax()


@dataclass(frozen=True)
class Dropout(_Plain):
    """In training each value is 0 with probability ``rate``, else scaled by 1 / (1 - rate).

    At inference it does nothing, and an exported network does not hold it.
    """

    rate: float
    prefix: ClassVar[str] = "dropout"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise LutraError(
                "a dropout rate is a probability", found=self.rate, expected="0 <= rate < 1"
            )

    def op(self, shape: Shape) -> ops.Dropout:
        return ops.Dropout()


def _positive(what: str, value: int) -> None:
    if value < 1:
        raise ShapeError(f"{what} must be at least 1", found=value)


def _with_bias(weight: Shape, bias: bool) -> dict[str, Shape]:
    return {"weight": weight} | ({"bias": weight[-1:]} if bias else {})


def _spread(size: Size, rank: int) -> Shape:
    """One number an axis; a wrong number of them is left for the op to refuse."""
    return (size,) * rank if isinstance(size, int) else tuple(size)


def _window(rank: int, shape: Shape, kernel: Size, stride: Size, padding: Padding) -> Window:
    """The window of a layer for an input of ``shape``.

    Raises:
        ShapeError: the input's rank does not fit, or no such window exists.
    """
    sizes, steps = _spread(kernel, rank), _spread(stride, rank)
    if not len(shape) - 1 == len(sizes) == len(steps) == rank:
        raise ShapeError(
            "the layer does not fit its input",
            found=f"input {shape}, kernel {sizes}, stride {steps}",
            expected=f"{rank} spatial axes and the channels",
            remedy="Flatten comes after the last convolution or pooling layer"
            if len(shape) == 1
            else None,
        )
    if padding == "same":
        pads = []
        for n, k, s in zip(shape, sizes, steps, strict=False):
            missing = max((-(-n // s) - 1) * s + k - n, 0)
            pads.append((missing // 2, missing - missing // 2))
        return Window(sizes, steps, tuple(pads))
    if padding == "valid":
        return Window.of(sizes, steps)
    if isinstance(padding, int):
        return Window(sizes, steps, ((padding, padding),) * rank)
    return Window(sizes, steps, padding)
