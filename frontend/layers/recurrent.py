"""Recurrent layers: a state that is carried along a sequence (T, n)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from .. import ops
from ..errors import LutraError
from ..initialisers import Blocks, Initialiser, Ones, Orthogonal, Xavier, Zeros
from ..ops import Shape
from .base import Composite, Layer, Symbol, Weight, positive
from .joining import Concat


@dataclass(frozen=True)
class _Recurrent(Layer):
    """What recurrent layers have in common.

    Attributes:
        units: values in the state.
        sequences: the result is the state after each step, (T, units); else after the last, of
            shape (units,).
        reverse: from the last step to the first; each state stays at its step's time.
        initialiser: of the weights of the input, gate by gate; None: Xavier's.
    """

    units: int
    sequences: bool = False
    reverse: bool = False
    initialiser: Initialiser | None = None
    biases: ClassVar[tuple[Initialiser, ...]] = (Zeros(),)
    """Start values of the biases, one a gate in the op's order; there are as many gates."""

    def __post_init__(self) -> None:
        positive("units", self.units)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        gates = len(self.biases)
        width = gates * self.units
        inputs = Blocks((self.initialiser or Xavier(),) * gates)
        return {
            "weight": Weight((*shapes[0][-1:], width), inputs),
            "recurrent_weight": Weight((self.units, width), Blocks((Orthogonal(),) * gates)),
            "bias": Weight((width,), Blocks(self.biases)),
        }


@dataclass(frozen=True)
class SimpleRNN(_Recurrent):
    """``h = activation(x · W + h · R + b)``, step by step."""

    activation: Literal["tanh", "relu"] = "tanh"
    prefix: ClassVar[str] = "rnn"

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.SimpleRnn(self.activation, self.reverse, not self.sequences)


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

    Gates in the order input, output, forget, cell.  The forget gate's bias starts at 1, so that
    the cell remembers at first (Jozefowicz et al., 2015).
    """

    prefix: ClassVar[str] = "lstm"
    biases: ClassVar[tuple[Initialiser, ...]] = (Zeros(), Zeros(), Ones(), Zeros())

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Lstm(self.reverse, not self.sequences)


@dataclass(frozen=True)
class GRU(_Recurrent):
    """Gated recurrent unit (Cho et al., 2014).

    Gates in the order update, reset, candidate.  With ``reset_after`` the reset gate acts on the
    product of state and weights, which has a bias of its own; else on the state.
    """

    reset_after: bool = True
    prefix: ClassVar[str] = "gru"
    biases: ClassVar[tuple[Initialiser, ...]] = (Zeros(), Zeros(), Zeros())

    def op(self, *shapes: Shape) -> ops.Op:
        return ops.Gru(self.reset_after, self.reverse, not self.sequences)

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        own = dict(super().weights(*shapes))
        if self.reset_after:
            own["recurrent_bias"] = Weight((self.units,), Zeros())
        return own


@dataclass(frozen=True)
class Bidirectional(Composite):
    """A recurrent layer in both directions, with the results side by side along the last axis.

    (T, n) to (T, 2 · units), or (2 · units,) without ``sequences``: the two last states.
    """

    layer: SimpleRNN | LSTM | GRU
    prefix: ClassVar[str] = "bidirectional"

    def __post_init__(self) -> None:
        if not isinstance(self.layer, _Recurrent):
            raise LutraError(
                "this layer has no direction", found=self.layer, expected="SimpleRNN, LSTM or GRU"
            )

    def build(self, *inputs: Symbol) -> Symbol:
        forward = replace(self.layer, reverse=False)(*inputs, name="forward")
        backward = replace(self.layer, reverse=True)(*inputs, name="backward")
        return Concat()(forward, backward, name="join")
