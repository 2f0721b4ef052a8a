"""One ONNX node that becomes several of ours: the steps, and the names of what lies between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..ops import Array, Dense, Mul, Op, Pad, Shape, Slice, Transpose, Upsample
from .call import Call
from .layout import inverse
from .values import Activation, Builder, Constant, RefusedError, expect_foldable

MAX_MATRIX = 2**24
"""Most numbers of a matrix that is made up to stand for what an op does along an axis."""

MAX_RUNS = 8
"""Most stretches of values that are joined one by one; more of them are one product."""


class Steps:
    """The nodes that stand for ``call``, each named after it; values are in our order of axes."""

    def __init__(self, builder: Builder, call: Call) -> None:
        self.builder = builder
        self.call = call
        self._made: set[str] = set()

    def _names(self, what: str) -> tuple[str, str]:
        return f"{self.call.name}_{what}", f"{self.call.output}_{what}"

    def _noted(self, y: Activation, *operands: Activation) -> Activation:
        if all(y.id != x.id for x in operands):
            self._made.add(y.id)
        return y

    def apply(self, op: Op, x: Activation, *others: Activation | str) -> Activation:
        """``op`` on values and weights; the result has the batch where ``x`` has it."""
        name, wish = self._names(type(op).__name__.lower())
        ids = (x.id, *(y if isinstance(y, str) else y.id for y in others))
        y = self.builder.emit(op, ids, name, wish, made_up=True, like=x)
        return self._noted(y, x)

    def weight(self, what: str, value: Array) -> str:
        """The internal name of a weight that the file does not have."""
        return self.builder.add_weight(f"{self.call.output}_{what}", value)

    def scaled(self, x: Activation, factor: float) -> Activation:
        """``x`` times a number."""
        if factor == 1:
            return x
        return self.apply(Mul(), x, self.weight("scale", np.full(1, factor, np.float32)))

    def shaped(self, source: Constant, shape: Shape) -> str:
        """The internal name of a constant of the file in another shape."""
        return self.builder.weight(source, f"shape {shape}", lambda value: value.reshape(shape))

    def turned(self, x: Activation, axes: Shape) -> Activation:
        """``x`` with its axes reordered."""
        y = self.builder.turned(x, axes, *self._names("turned"))
        return self._noted(y.placed(x), x)

    def reshaped(self, x: Activation, shape: Shape) -> Activation:
        """``x`` in another shape of as many values."""
        y = self.builder.reshaped(x, shape, x.batch, *self._names("reshaped"))
        return self._noted(y, x)

    def joined(self, parts: Sequence[Activation], axis: int) -> Activation:
        """The parts one behind the other."""
        y = self.builder.joined(tuple(parts), axis, *self._names("joined"))
        return self._noted(y, *parts)

    def sliced(self, x: Activation, axis: int, start: int, stop: int, step: int = 1) -> Activation:
        """The values from ``start`` on, as :class:`Slice` counts."""
        y = self.builder.sliced(x, Slice(axis, start, stop, step), *self._names("part"))
        return self._noted(y, x)

    def padded(
        self, x: Activation, axis: int, before: int, after: int, value: float = 0.0
    ) -> Activation:
        """A constant before and after the values of one axis."""
        if not (before or after):
            return x
        sizes = [tuple(n if i == axis else 0 for i in range(len(x.shape))) for n in (before, after)]
        return self.apply(Pad(sizes[0], sizes[1], value), x)

    def at(self, x: Activation, axis: int, index: int) -> Activation:
        """The values at one index of an axis, which stays with size 1."""
        return self.sliced(x, axis, index, index + 1)

    def along(self, x: Activation, axis: int, matrix: Array, what: str) -> Activation:
        """``x`` times a constant ``(size of the axis, new size)``, along one axis."""
        order = (*(i for i in range(len(x.shape)) if i != axis), axis)
        turned = self.turned(x, order)
        y = self.apply(Dense(), turned, self.weight(what, matrix))
        return self.turned(y, inverse(order))

    def taken(self, x: Activation, axis: int, indices: Sequence[int]) -> Activation:
        """The values at non-negative ``indices`` of an axis: slices where that is few of them.

        Otherwise the product with a matrix of zeros and ones, which is as exact.
        """
        runs = runs_of(indices)
        if len(runs) <= MAX_RUNS:
            return self.joined([self._run(x, axis, *run) for run in runs], axis)
        expect_matrix(x.shape[axis], len(indices))
        chosen = np.zeros((x.shape[axis], len(indices)), np.float32)
        chosen[np.asarray(indices), np.arange(len(indices))] = 1
        return self.along(x, axis, chosen, "choice")

    def _run(self, x: Activation, axis: int, first: int, count: int, step: int) -> Activation:
        if step == 0:
            return self.repeated(self.at(x, axis, first), axis, count)
        last = first + (count - 1) * step
        return self.sliced(x, axis, first, last + (1 if step > 0 else -1), step)

    def repeated(self, x: Activation, axis: int, count: int, whole: bool = False) -> Activation:
        """Each value of an axis ``count`` times, or the ``whole`` axis."""
        if count == 1:
            return x
        shape = (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :])
        expect_foldable(shape)
        before, size = math.prod(x.shape[:axis]), x.shape[axis]
        after = math.prod(x.shape[axis + 1 :])
        lines = (before, 1, size * after) if whole else (before, size, after)
        y = self.apply(Upsample((1, count)), self.reshaped(x, lines))
        return self.reshaped(y, shape)

    def done(self, y: Activation, batch: int | None = None) -> Activation:
        """``y`` under the name of the node's output, and with its batch where that has it.

        A Transpose behind the last op leaves the name to that, as a value may be named in any
        layout.
        """
        named = y.id
        node = self.builder.maker(y)
        if node and isinstance(node.op, Transpose) and node.inputs[0] in self._made:
            named = node.inputs[0]
        if named in self._made:
            self.builder.called(named, self.call.output, self.call.name)
        return y if batch is None else replace(y, batch=batch)


def runs_of(indices: Sequence[int]) -> list[tuple[int, int, int]]:
    """Indices as stretches of ``first, count, step``, each as long as it can be."""
    runs: list[tuple[int, int, int]] = []
    for index in indices:
        first, count, step = runs[-1] if runs else (0, 0, 0)
        if count == 1:
            step = index - first
        if count and index == first + count * step:
            runs[-1] = (first, count + 1, step)
        else:
            runs.append((index, 1, 1))
    return runs


def expect_matrix(rows: int, columns: int) -> None:
    """Refuse a made-up matrix that would be too large."""
    if rows * columns > MAX_MATRIX:
        raise RefusedError(
            f"would be a matrix of {rows} by {columns}; supported: at most {MAX_MATRIX} numbers"
        )


def without(x: Activation, axes: Sequence[int]) -> Shape:
    """The shape of ``x`` without some of our axes."""
    return tuple(n for i, n in enumerate(x.shape) if i not in axes)


def rows_of(steps: Steps, x: Activation, axes: Sequence[int]) -> Activation:
    """``x`` with these axes of ours joined to one that is the last, behind the others."""
    kept = [i for i in range(len(x.shape)) if i not in axes]
    turned = steps.turned(x, (*kept, *axes))
    count = math.prod(x.shape[i] for i in axes)
    return steps.reshaped(turned, (*without(x, axes), count))
