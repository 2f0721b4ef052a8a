"""Blocks of layers around which a value is carried unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy.typing as npt

from ..errors import ShapeError
from .activations import Activation, ReLU
from .attention import Mask, MultiHeadAttention
from .base import Block, Composite, Symbol, chain, positive, probability
from .dense import Dense, Dropout
from .joining import Add
from .normalisation import LayerNorm


@dataclass(frozen=True)
class Residual(Composite):
    """What the blocks make of a value, added to the value (He et al., 2016).

    Attributes:
        blocks: in sequence.
        shortcut: what the value passes before it is added, in sequence; nothing by default.
    """

    blocks: Sequence[Block]
    shortcut: Sequence[Block] = ()
    prefix: ClassVar[str] = "residual"

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "shortcut", tuple(self.shortcut))

    def build(self, *inputs: Symbol) -> Symbol:
        (x,) = inputs
        made, kept = chain(self.blocks, x), chain(self.shortcut, x)
        if made.shape != kept.shape:
            raise ShapeError(
                "the blocks change the shape, so that nothing can be added to their result",
                found=made.shape,
                expected=kept.shape,
                remedy="Give a shortcut of the same effect, such as a convolution of size 1",
            )
        return Add()(made, kept)


@dataclass(frozen=True)
class TransformerEncoder(Composite):
    """Self-attention, then two dense layers at each step, each with a way around it; (T, d) stays.

    Attributes:
        heads: of the attention.
        hidden: outputs of the first dense layer.
        activation: between the two.
        dropout: probability for each value of both parts.
        norm_first: layer norm before each part (Xiong et al., 2020), or after each addition
            (Vaswani et al., 2017).
        mask: which steps each step may attend to, (T, T); None: all.
    """

    heads: int
    hidden: int
    activation: Activation = field(default_factory=ReLU)
    dropout: float = 0.0
    norm_first: bool = True
    mask: Mask | npt.ArrayLike | None = None
    prefix: ClassVar[str] = "encoder"

    def __post_init__(self) -> None:
        positive("heads", self.heads)
        positive("hidden", self.hidden)
        probability("dropout", self.dropout)
        if self.mask is not None and not isinstance(self.mask, Mask):
            object.__setattr__(self, "mask", Mask.of(self.mask))

    def build(self, *inputs: Symbol) -> Symbol:
        (x,) = inputs
        x = self._around(x, [MultiHeadAttention(self.heads, mask=self.mask)])
        parts = [Dense(self.hidden), self.activation, Dense(x.shape[-1])]
        return self._around(x, parts)

    def _around(self, x: Symbol, parts: Sequence[Block]) -> Symbol:
        drop = [Dropout(self.dropout)] if self.dropout else []
        if self.norm_first:
            return Add()(x, chain([LayerNorm(), *parts, *drop], x))
        return LayerNorm()(Add()(x, chain([*parts, *drop], x)))
