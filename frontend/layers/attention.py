"""Attention: each query takes a mean of the memory's steps, weighed by how well they match it.

All are composites of dense layers, matrix products and softmax.  Queries are (Tq, d), a memory is
(Tk, n); called on one value alone, a layer attends to that value itself.  A single query (d,)
gives a single result.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from .. import ops
from ..errors import LutraError, ShapeError
from ..ops import Array, Shape
from .activations import Softmax, Tanh
from .base import Composite, Layer, Symbol, Weight, positive
from .dense import Dense
from .joining import Add, MatMul, Scale
from .shaping import Flatten, Reshape, Transpose

MASKED = -32.0
"""What is added to the score of a step that may not be attended to.

In place of minus infinity, which no fixed-point format holds.  A larger distance would make the
format of the scores waste bits on it; this one leaves such a step less than 2^-17 of a softmax's
sum, below half a step of a 16-bit result, unless its score was 20 above the best one allowed.
"""


@dataclass(frozen=True, repr=False)
class Mask(Layer):
    """Scores (..., Tq, Tk) where only some steps may be attended to.

    Attributes:
        allowed: a row for each query; True for each step that it may attend to.
    """

    allowed: tuple[tuple[bool, ...], ...]
    prefix: ClassVar[str] = "mask"

    def __post_init__(self) -> None:
        if len({len(row) for row in self.allowed}) > 1:
            raise ShapeError(
                "the rows of a mask differ in length",
                found=[len(row) for row in self.allowed],
                expected="(Tq, Tk)",
            )

    @staticmethod
    def of(allowed: npt.ArrayLike) -> Mask:
        """The mask of an array (Tq, Tk) that is True, or not 0, where attention is allowed.

        Raises:
            ShapeError: it has not two axes.
        """
        try:
            array = np.asarray(allowed, bool)
        except ValueError as error:
            raise ShapeError(f"this is no mask: {error}", expected="(Tq, Tk)") from None
        if array.ndim != 2:
            raise ShapeError(
                "a mask has a row for each query", found=array.shape, expected="(Tq, Tk)"
            )
        return Mask(tuple(map(tuple, array.tolist())))

    def __repr__(self) -> str:
        array = np.array(self.allowed, bool)
        return f"Mask({array.shape}, {hashlib.sha256(array.tobytes()).hexdigest()[:16]})"

    def op(self, *shapes: Shape) -> ops.Op:
        found = (len(self.allowed), len(self.allowed[0]) if self.allowed else 0)
        if shapes[0][-2:] != found:
            raise ShapeError(
                "the mask does not fit the scores", found=found, expected=shapes[0][-2:]
            )
        empty = [i for i, row in enumerate(self.allowed) if not any(row)]
        if empty:
            raise LutraError(
                "the mask leaves a query nothing to attend to",
                found=f"no True in row {', '.join(map(str, empty))}",
                expected="at least one in each row",
            )
        return ops.Add()

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        return {"penalty": Weight(shapes[0][-2:], self._penalty, "constant")}

    def _penalty(self, shape: Shape, generator: np.random.Generator) -> Array:
        return np.where(np.array(self.allowed, bool), 0, np.float32(MASKED)).reshape(shape)


@dataclass(frozen=True)
class _Attention(Composite):
    """What attention over a memory has in common.

    Attributes:
        mask: which steps (Tk) each query (Tq) may attend to, an array that is True where it may;
            None: all.
    """

    mask: Mask | npt.ArrayLike | None = field(default=None, kw_only=True)
    fewest: ClassVar[int] = 1
    most: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.mask is not None and not isinstance(self.mask, Mask):
            object.__setattr__(self, "mask", Mask.of(self.mask))

    def build(self, *inputs: Symbol) -> Symbol:
        query, memory = inputs[0], inputs[-1]
        single = len(query.shape) == 1
        if single:
            query = Reshape((1, *query.shape))(query)
        for what, value in (("queries", query), ("memory", memory)):
            if len(value.shape) != 2:
                raise ShapeError(
                    f"attention needs sequences as {what}", found=value.shape, expected="(T, n)"
                )
        result = self.attend(query, memory)
        return Flatten()(result) if single else result

    def attend(self, query: Symbol, memory: Symbol) -> Symbol:
        """The result for queries and a memory that are sequences."""
        raise NotImplementedError

    def mix(self, scores: Symbol, values: Symbol) -> Symbol:
        """Means of the values (..., Tk, n), weighed by the softmax of scores (..., Tq, Tk)."""
        if isinstance(self.mask, Mask):
            scores = self.mask(scores, name="mask")
        return MatMul()(Softmax()(scores, name="softmax"), values, name="mix")


@dataclass(frozen=True)
class AdditiveAttention(_Attention):
    """Scores ``v · tanh(query · W + memory · U + b)`` (Bahdanau et al., 2015).

    (Tq, d) and (Tk, n) to (Tq, n): means of the memory itself.  ``units`` is the width of the tanh.
    """

    units: int = 16
    prefix: ClassVar[str] = "additive_attention"

    def attend(self, query: Symbol, memory: Symbol) -> Symbol:
        queries, steps = query.shape[0], memory.shape[0]
        asked = Dense(self.units)(query, name="query")
        offered = Dense(self.units, bias=False)(memory, name="key")
        asked = Reshape((queries, 1, self.units))(asked)
        offered = Reshape((1, steps, self.units))(offered)
        bent = Tanh()(Add()(asked, offered, name="pairs"), name="tanh")
        scores = Dense(1, bias=False)(bent, name="score")
        return self.mix(Reshape((queries, steps))(scores), memory)


@dataclass(frozen=True)
class MultiplicativeAttention(_Attention):
    """Scores ``query · memory`` (Luong et al., 2015); (Tq, d) and (Tk, n) to (Tq, n).

    Kinds: ``dot`` as it is; ``scaled_dot`` divided by the square root of n; ``general`` with a
    trained matrix between the two.  But for the last, d and n are equal.
    """

    kind: Literal["dot", "scaled_dot", "general"] = "scaled_dot"
    prefix: ClassVar[str] = "multiplicative_attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("dot", "scaled_dot", "general"):
            raise LutraError(
                "no such attention", found=self.kind, expected="dot, scaled_dot or general"
            )

    def attend(self, query: Symbol, memory: Symbol) -> Symbol:
        width = memory.shape[-1]
        if self.kind == "general":
            query = Dense(width, bias=False)(query, name="query")
        scores = MatMul(transposed=True)(query, memory, name="scores")
        if self.kind == "scaled_dot":
            scores = Scale(1 / math.sqrt(width))(scores, name="scale")
        return self.mix(scores, memory)


@dataclass(frozen=True)
class MultiHeadAttention(_Attention):
    """Scaled dot-product attention in several subspaces (Vaswani et al., 2017).

    (Tq, d) and (Tk, n) to (Tq, d): queries, keys and values are dense layers of ``size`` outputs,
    d by default, of which each head has its share.
    """

    heads: int
    size: int | None = None
    prefix: ClassVar[str] = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("heads", self.heads)

    def attend(self, query: Symbol, memory: Symbol) -> Symbol:
        size = query.shape[-1] if self.size is None else self.size
        if size % self.heads:
            raise ShapeError(
                "the heads do not divide the features",
                found=f"{self.heads} heads, {size} features",
                expected="a divisor",
            )
        asked = self._split(Dense(size)(query, name="query"))
        offered = self._split(Dense(size)(memory, name="key"))
        values = self._split(Dense(size)(memory, name="value"))
        scores = MatMul(transposed=True)(asked, offered, name="scores")
        scores = Scale(math.sqrt(self.heads / size))(scores, name="scale")
        mixed = Transpose((1, 0, 2))(self.mix(scores, values))
        joined = Reshape((query.shape[0], size))(mixed)
        return Dense(query.shape[-1])(joined, name="output")

    def _split(self, value: Symbol) -> Symbol:
        """(T, size) to (heads, T, size / heads)."""
        steps, size = value.shape
        return Transpose((1, 0, 2))(Reshape((steps, self.heads, size // self.heads))(value))


@dataclass(frozen=True)
class SoftAttentionPooling(Composite):
    """One mean of a sequence, (T, n) to (n,), weighed by ``softmax(v · tanh(x · W + b))``."""

    units: int = 16
    prefix: ClassVar[str] = "attention_pooling"

    def build(self, *inputs: Symbol) -> Symbol:
        (x,) = inputs
        if len(x.shape) != 2:
            raise ShapeError("pooling by attention needs a sequence", found=x.shape)
        bent = Tanh()(Dense(self.units)(x, name="key"), name="tanh")
        scores = Reshape((1, x.shape[0]))(Dense(1, bias=False)(bent, name="score"))
        weights = Softmax()(scores, name="softmax")
        return Flatten()(MatMul()(weights, x, name="mix"))
