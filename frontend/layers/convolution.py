"""Convolutions, transposed and depthwise ones among them, and the windows that layers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from .. import ops
from ..errors import ShapeError
from ..initialisers import Initialiser
from ..ops import Shape, Window
from .base import Layer, Weight, positive
from .dense import with_bias

Padding = Literal["valid", "same"] | int | tuple[tuple[int, int], ...]
"""No padding; enough for an output of size ceil(input / stride), the odd one behind; the same
number on every side; or (before, after) along each axis."""

Size = int | tuple[int, ...]
"""One number for every spatial axis, or one an axis."""


@dataclass(frozen=True)
class Conv2D(Layer):
    """Convolution over height and width: (H, W, C) to (H', W', filters).

    Channels are cut into ``groups`` of equal size; an output sees the inputs of its group alone.
    """

    filters: int
    kernel: Size = 3
    stride: Size = 1
    padding: Padding = "valid"
    bias: bool = True
    dilation: Size = 1
    groups: int = 1
    initialiser: Initialiser | None = None
    prefix: ClassVar[str] = "conv"
    rank: ClassVar[int] = 2

    def __post_init__(self) -> None:
        positive("filters", self.filters)
        positive("groups", self.groups)

    def op(self, *shapes: Shape) -> ops.Op:
        (x,) = shapes
        window = make_window(self.rank, x, self.kernel, self.stride, self.padding, self.dilation)
        check_groups(self.groups, x[-1], self.filters)
        return ops.Conv(window, self.groups)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        inputs = shapes[0][-1] // self.groups
        kernel = spread(self.kernel, self.rank)
        return with_bias((*kernel, inputs, self.filters), self.bias, self.initialiser)


@dataclass(frozen=True)
class Conv1D(Conv2D):
    """Convolution over a sequence: (L, C) to (L', filters)."""

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class DepthwiseConv2D(Layer):
    """A convolution of each channel alone: (H, W, C) to (H', W', C · multiplier)."""

    kernel: Size = 3
    stride: Size = 1
    padding: Padding = "valid"
    bias: bool = True
    dilation: Size = 1
    multiplier: int = 1
    initialiser: Initialiser | None = None
    prefix: ClassVar[str] = "depthwise_conv"
    rank: ClassVar[int] = 2

    def __post_init__(self) -> None:
        positive("multiplier", self.multiplier)

    def op(self, *shapes: Shape) -> ops.Op:
        (x,) = shapes
        window = make_window(self.rank, x, self.kernel, self.stride, self.padding, self.dilation)
        return ops.Conv(window, x[-1])

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        kernel = spread(self.kernel, self.rank)
        outputs = shapes[0][-1] * self.multiplier
        return with_bias((*kernel, 1, outputs), self.bias, self.initialiser)


@dataclass(frozen=True)
class DepthwiseConv1D(DepthwiseConv2D):
    """A convolution of each channel alone: (L, C) to (L', C · multiplier)."""

    rank: ClassVar[int] = 1


@dataclass(frozen=True)
class ConvTranspose2D(Layer):
    """Convolution the other way round, which enlarges: (H, W, C) to (H', W', filters).

    Along each axis the size n becomes
    ``(n - 1) · stride + dilation · (kernel - 1) + 1 - padding + output_padding``;
    with padding ``"same"`` it is ``n · stride``, and a size that is too small for it is made up by
    ``output_padding``.
    """

    filters: int
    kernel: Size = 3
    stride: Size = 1
    padding: Padding = "valid"
    bias: bool = True
    dilation: Size = 1
    output_padding: Size = 0
    groups: int = 1
    initialiser: Initialiser | None = None
    prefix: ClassVar[str] = "conv_transpose"
    rank: ClassVar[int] = 2

    def __post_init__(self) -> None:
        positive("filters", self.filters)
        positive("groups", self.groups)

    def op(self, *shapes: Shape) -> ops.Op:
        (x,) = shapes
        check_groups(self.groups, x[-1], self.filters)
        extra = spread(self.output_padding, self.rank)
        if self.padding != "same":
            window = make_window(
                self.rank, x, self.kernel, self.stride, self.padding, self.dilation
            )
            return ops.ConvTranspose(window, extra, self.groups)
        window = make_window(self.rank, x, self.kernel, self.stride, "valid", self.dilation)
        spans = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
        excess = [span - s + e for span, s, e in zip(spans, window.stride, extra, strict=True)]
        pads = tuple((max(n, 0) // 2, max(n, 0) - max(n, 0) // 2) for n in excess)
        extra = tuple(e + max(-n, 0) for e, n in zip(extra, excess, strict=True))
        window = Window(window.kernel, window.stride, pads, window.dilation)
        return ops.ConvTranspose(window, extra, self.groups)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        inputs = shapes[0][-1] // self.groups
        kernel = spread(self.kernel, self.rank)
        return with_bias((*kernel, inputs, self.filters), self.bias, self.initialiser)


@dataclass(frozen=True)
class ConvTranspose1D(ConvTranspose2D):
    """Convolution the other way round, which lengthens: (L, C) to (L', filters)."""

    rank: ClassVar[int] = 1


def check_groups(groups: int, inputs: int, outputs: int) -> None:
    """Raise a :class:`ShapeError` unless the channels can be cut into so many groups."""
    if inputs % groups or outputs % groups:
        raise ShapeError(
            "the groups do not divide the channels",
            found=f"{groups} groups, {inputs} input and {outputs} output channels",
            expected="a divisor of both",
        )


def spread(size: Size, rank: int) -> Shape:
    """One number an axis; a wrong number of them is left for the op to refuse."""
    return (size,) * rank if isinstance(size, int) else tuple(size)


def make_window(
    rank: int, shape: Shape, kernel: Size, stride: Size, padding: Padding, dilation: Size = 1
) -> Window:
    """The window of a layer for an input of ``shape``.

    Raises:
        ShapeError: the input's rank does not fit, or no such window exists.
    """
    sizes, steps, gaps = (spread(size, rank) for size in (kernel, stride, dilation))
    if not len(shape) - 1 == len(sizes) == len(steps) == len(gaps) == rank:
        raise ShapeError(
            "the layer does not fit its input",
            found=f"input {shape}, kernel {sizes}, stride {steps}, dilation {gaps}",
            expected=f"{rank} spatial axes and the channels",
            remedy="Flatten comes after the last convolution or pooling layer"
            if len(shape) == 1
            else None,
        )
    positive("kernel, stride and dilation", min(*sizes, *steps, *gaps))
    if padding == "same":
        pads = []
        for n, k, s, d in zip(shape, sizes, steps, gaps, strict=False):
            missing = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            pads.append((missing // 2, missing - missing // 2))
        return Window(sizes, steps, tuple(pads), gaps)
    if padding == "valid":
        return Window(sizes, steps, ((0, 0),) * rank, gaps)
    if isinstance(padding, int):
        return Window(sizes, steps, ((padding, padding),) * rank, gaps)
    return Window(sizes, steps, padding, gaps)
