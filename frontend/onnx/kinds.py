"""What a value of an ONNX model may be: data, a constant, integers that stand for data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import ml_dtypes
import numpy as np

from ..errors import ShapeError
from ..graph import MAX_RANK
from ..ops import Array, Conv, ConvTranspose, Dense, Shape
from ..ops.base import MAX_ELEMENTS
from .refused import RefusedError
from .sizes import settled


@dataclass(frozen=True)
class Linear:
    """The Dense or Conv that a value comes from, so that a bias can still join it.

    Attributes:
        op, x, weight, bias: the layer, its data and its weights.
        axis: where the value's channels are, without the batch.
        back: the Transpose behind a convolution.
        name: what the layer is called.
    """

    op: Dense | Conv | ConvTranspose
    x: str
    weight: str
    bias: Constant | None
    axis: int
    back: Shape | None
    name: str


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input.

    Our axes stand in the order of the ONNX value's, but for the batch, which is always our first.

    Attributes:
        id: its internal name.
        shape: without the batch.
        linear: the layer that it comes from.
        batch: which of the ONNX value's axes is the batch; None where none is, and all of the
            ONNX value is one sample's.
        merged: how many of our axes, from axis ``batch`` on, lie in that one axis of the ONNX
            value together with the batch, as the heads of attention do.
        outer: how many of these lie outside of the batch there, the others inside.
    """

    id: str
    shape: Shape
    linear: Linear | None = None
    batch: int | None = 0
    merged: int = 0
    outer: int = 0

    @property
    def rank(self) -> int:
        """How many axes the ONNX value has, the batch among them."""
        return len(self.shape) + (self.batch is not None) - self.merged

    def own_axis(self, axis: int) -> int:
        """The axis of ours that an axis of the ONNX value is; it is not the batch."""
        return axis if self.batch is None or axis < self.batch else axis - 1 + self.merged

    def own_axes(self, axes: Iterable[int]) -> Shape:
        """Our axes that these axes of the ONNX value are, those merged with the batch too."""
        own: list[int] = []
        for axis in axes:
            if axis == self.batch:
                own.extend(range(axis, axis + self.merged))
            else:
                own.append(self.own_axis(axis))
        return tuple(own)

    def sizes(self, batch: int) -> Shape:
        """The shape of the ONNX value for ``batch`` samples."""
        if self.batch is None:
            return self.shape
        end = self.batch + self.merged
        size = batch * math.prod(self.shape[self.batch : end])
        return (*self.shape[: self.batch], size, *self.shape[end:])

    def without(self, axes: Iterable[int]) -> int | None:
        """Where the batch is once these axes of the ONNX value, no batch among them, are gone."""
        if self.batch is None:
            return None
        return self.batch - len({axis % self.rank for axis in axes} & set(range(self.batch)))

    def leave(self, x: Array) -> Array:
        """The ONNX value, out of an array of ours with the batch first.

        Where the ONNX value has no batch, ``x`` is of one sample.
        """
        if self.batch is None:
            return x.reshape(x.shape[1:])
        y = np.moveaxis(x, 0, self.batch + self.outer)
        return y.reshape(self.sizes(len(x))) if self.merged else y

    def enter(self, value: Array) -> Array:
        """The array of ours, out of the ONNX value."""
        if self.batch is None:
            return value[None]
        at = self.batch + self.outer
        if self.merged:
            value = value.reshape(*self.shape[:at], -1, *self.shape[at:])
        return np.moveaxis(value, at, 0)

    def placed(self, like: Activation) -> Activation:
        """The same value of ours with the batch where ``like`` has it."""
        return replace(self, batch=like.batch, merged=like.merged, outer=like.outer)


@dataclass(frozen=True, eq=False)
class Codes:
    """What is known of a quantised constant: each value is ``q · scale``, with an integer q.

    Attributes:
        low, high: the least and the largest q.
        scale: of the constant's own shape.
    """

    low: int
    high: int
    scale: Array


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is known: its name in the file, how to read it, and what it was joined from.

    Attributes:
        codes: the integers behind the values, if they were quantised.
        repeated: the axis that is as long as there are samples, all of them alike.
    """

    name: str
    read: Callable[[], Array]
    parts: tuple[Constant, ...] = ()
    codes: Codes | None = None
    repeated: int | None = None
    _cache: list[Array] = field(default_factory=list)
    _floats: list[Constant] = field(default_factory=list)

    @property
    def array(self) -> Array:
        """The values in the type that the file gives them, read when first asked for.

        Integers that depend on the number of samples are objects of :mod:`.sizes`.

        Raises:
            RefusedError: there are as many of them as there are samples.
        """
        if self.repeated is not None:
            raise RefusedError("works with a constant that is repeated for each sample")
        return self.stored

    @property
    def stored(self) -> Array:
        """The values, once along the axis that is as long as there are samples."""
        if not self._cache:
            self._cache.append(self.read())
        return self._cache[0]

    def mapped(self, make: Callable[[Array], Array]) -> Constant:
        """``make`` of the values, which it moves or scales; codes go along."""
        with np.errstate(all="ignore"):
            value = np.asarray(make(self.stored))
            codes = self.codes and replace(self.codes, scale=make(self.codes.scale))
        if value.dtype == object:
            value = settled(value)
        return Constant(self.name, lambda: value, codes=codes)

    @property
    def floats(self) -> Constant:
        """The same constant as float32, if it is of any float type; always the same object."""
        if self.stored.dtype == np.float32 or not is_float(self.stored):
            return self
        if not self._floats:
            self._floats.append(replace(self, read=self._as_float32, _cache=[], _floats=[]))
        return self._floats[0]

    def _as_float32(self) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.stored.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Lattice:
    """The numbers ``(q - zero) · scale`` with integers q from ``low`` to ``high``.

    Attributes:
        scale, zero: float32 of shape (1,), or (channels,) for an axis that is known elsewhere.
        low, high: the integers.
    """

    scale: Array
    zero: Array
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Coded:
    """Integers that stand for data which depend on the input.

    Attributes:
        real: the data that they stand for.
        lattice: how the two relate.
        axis: the axis of the ONNX value that scales and zero points belong to, if they differ.
        within: gives the data again, quantised to other bounds, where that is known how.
    """

    real: Activation
    lattice: Lattice
    axis: int | None
    within: Callable[[int, int], Activation] | None = None

    def like(self, lattice: Lattice, axis: int | None) -> bool:
        """Whether the same integers stand for the same data in ``lattice``."""
        own = self.lattice
        same = np.array_equal(own.scale, lattice.scale) and np.array_equal(own.zero, lattice.zero)
        return self.axis == axis and same


@dataclass(frozen=True)
class Unknown:
    """A value that could not be worked out, because a node before it could not."""


Value = Activation | Constant | Coded | Unknown


def is_float(array: Array) -> bool:
    """Whether the numbers are of a float type, bfloat16 among them."""
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def in_float(value: Value) -> Activation | None:
    """The value of ours that is the same as one of the file's, number by number."""
    if isinstance(value, Coded):
        lattice = value.lattice
        return None if (lattice.scale != 1).any() or lattice.zero.any() else value.real
    return value if isinstance(value, Activation) else None


def expect_foldable(shape: Shape) -> None:
    """Raise a ShapeError unless a constant of this shape may be worked out from others."""
    if len(shape) > MAX_RANK or math.prod(shape) > MAX_ELEMENTS:
        raise ShapeError(
            "is too large",
            found=shape[: 2 * MAX_RANK],
            expected=f"at most {MAX_RANK} axes and {MAX_ELEMENTS} elements",
        )
