"""Datasets: samples and targets, splits and shuffled batches."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from .errors import LutraError, ModelError, ShapeError, ToolchainError
from .ops import Array, Shape


class Splits(NamedTuple):
    """Three datasets that share no sample: to learn from, to stop by, and to judge by."""

    train: Dataset
    validation: Dataset
    test: Dataset


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples, and targets where there are any.

    Attributes:
        x: float32, sample axis first, in the layout of the network's input.
        y: class numbers or values, one a sample; None for no targets.
    """

    x: Array
    y: Array | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples ``x`` and targets ``y``, both with the sample axis first.

    Attributes:
        x: float32 samples, channels last.
        y: class numbers (int64), or float32 targets.

    Raises:
        ShapeError: there are not as many targets as samples, or none at all.
        ModelError: a value is NaN or infinite, or not a number.
    """

    x: Array
    y: Array

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x), np.asarray(self.y)
        for name, value in (("x", x), ("y", y)):
            if value.dtype.kind not in "buif":
                raise ModelError(f"{name} must hold numbers", found=f"type {value.dtype}")
            if not np.isfinite(value).all():
                raise ModelError(f"{name} holds NaN or infinite values", expected="finite numbers")
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
            raise ShapeError(
                "samples and targets do not fit",
                found=f"x {x.shape}, y {y.shape}",
                expected="the same number of both, at least one",
            )
        object.__setattr__(self, "x", np.ascontiguousarray(x, np.float32))
        object.__setattr__(self, "y", y.astype(np.float32 if y.dtype.kind == "f" else np.int64))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> Shape:
        """Shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def digest(self) -> str:
        """A fingerprint of all samples and targets."""
        content = hashlib.sha256()
        for value in (self.x, self.y):
            content.update(f"{value.dtype.str}{value.shape}".encode())
            content.update(np.ascontiguousarray(value).data)
        return content.hexdigest()

    def take(self, indices: Array) -> Dataset:
        """The samples of these numbers, in this order."""
        return Dataset(self.x[indices], self.y[indices])

    def batches(
        self, batch_size: int, generator: np.random.Generator | None = None
    ) -> Iterator[tuple[Array, Array]]:
        """All samples once, in batches; the last may be smaller.

        Args:
            batch_size: samples in a batch.
            generator: shuffles them; without it they come in order.
        """
        order = None if generator is None else generator.permutation(len(self))
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            if order is None:
                yield self.x[part], self.y[part]
            else:
                yield self.x[order[part]], self.y[order[part]]

    def split(self, *, validation: int, test: int, seed: int) -> Splits:
        """Split at random into training, validation and test sets.

        With class numbers as targets each part holds the classes in the same proportions, as
        nearly as whole samples allow.

        Args:
            validation, test: samples in these parts; the rest is for training.
            seed: the split follows from it alone.

        Raises:
            LutraError: the parts are larger than the whole.
        """
        if min(validation, test) < 1 or validation + test >= len(self):
            raise LutraError(
                "the parts do not fit the dataset",
                found=f"{validation} for validation, {test} for testing",
                expected=f"at least 1 each, and fewer than {len(self)} together",
            )
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self))
        if self.y.ndim == 1 and self.y.dtype.kind == "i":
            order = order[_spread_classes(self.y[order])]
        return Splits(
            self.take(generator.permutation(order[validation + test :])),
            self.take(order[test : validation + test]),
            self.take(order[:test]),
        )


def _spread_classes(labels: Array) -> Array:
    """An order in which every stretch holds the classes in nearly the same proportions.

    The k-th of the n samples of a class is placed at (k + 1/2) / n of the way.
    """
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an optional dependency.

    Args:
        module: its full name, such as ``sklearn.datasets``.
        extra: the extra of Lutra that installs it.

    Raises:
        ToolchainError: it is not installed; the error says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ToolchainError(
            f"the Python package of '{module}' is missing",
            found=error,
            remedy=f"Install it with: pip install 'lutra[{extra}]'",
        ) from None
