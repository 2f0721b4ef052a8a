"""ONNX's recurrent layers: one op a direction, from a state of zeros."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...errors import ShapeError
from ...ops import Array, Gru, Lstm, SimpleRnn, Slice
from ..call import Call, Check, shown
from ..values import Activation, Builder, Constant, RefusedError, Value

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""For each direction of ONNX, which of our layers it has: whether they are reversed."""

Layer = SimpleRnn | Lstm | Gru


def absent(remedy: str) -> Check:
    """An attribute that changes the layer, and must not be there."""
    return lambda value: None if value == [] else f"is not supported; {remedy}"


def rnn(builder: Builder, call: Call) -> tuple[Value, ...]:
    count = len(_directions(call))
    given = [name.lower() for name in call.get("activations", ["Tanh"] * count)]
    if len(given) != count or set(given) - {"tanh", "relu"}:
        raise RefusedError(
            f"has activations {shown(given)}; supported: Tanh or Relu for each direction"
        )

    def make(direction: int, reverse: bool, last: bool) -> Layer:
        return SimpleRnn("tanh" if given[direction] == "tanh" else "relu", reverse, last)

    return _translate(builder, call, make, 1)


def lstm(builder: Builder, call: Call) -> tuple[Value, ...]:
    _expect_activations(call, ["sigmoid", "tanh", "tanh"])
    return _translate(builder, call, lambda i, reverse, last: Lstm(reverse, last), 4)


def gru(builder: Builder, call: Call) -> tuple[Value, ...]:
    _expect_activations(call, ["sigmoid", "tanh"])
    after = bool(call.get("linear_before_reset", 0))
    return _translate(builder, call, lambda i, reverse, last: Gru(after, reverse, last), 3)


def _expect_activations(call: Call, default: list[str]) -> None:
    expected = default * len(_directions(call))
    given = [name.lower() for name in call.get("activations", expected)]
    if given != expected:
        raise RefusedError(f"has activations {shown(given)}; supported: {', '.join(default)}")


def _directions(call: Call) -> tuple[bool, ...]:
    direction = call.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise call.damaged("direction", ", ".join(DIRECTIONS))
    return DIRECTIONS[direction]


@dataclass(frozen=True)
class _Weights:
    """Where the weights come from: ``(directions, rows, columns)``, and the bias if any."""

    w: Constant
    r: Constant
    b: Constant | None
    hidden: int
    gates: int

    def read(self, builder: Builder, op: Layer, direction: int) -> tuple[str, ...]:
        """The weights of one direction, as the op takes them."""

        def turned(value: Array) -> Array:
            return np.ascontiguousarray(value[direction].T)

        how = f"recurrent {direction}"
        w, r = builder.weight(self.w, how, turned), builder.weight(self.r, how, turned)
        both, *of_state = self._biases(isinstance(op, Gru) and op.reset_after, direction)
        parts = self.b.parts if self.b else ()
        name = self.b.name if self.b else f"{self.w.name}_bias"
        names = (parts[0].name, parts[-1].name) if len(parts) == 3 else (name, f"{name}_state")
        if len(parts) == 2:
            names = (parts[0].name, names[1])
        biases = [
            builder.add_weight(wish, value)
            for wish, value in zip(names, (both, *of_state), strict=False)
        ]
        return (w, r, *biases)

    def _biases(self, apart: bool, direction: int) -> list[Array]:
        """ONNX's two biases added; the state's bias of the last gate stays ``apart`` if need be."""
        size = self.gates * self.hidden
        stored = np.zeros(2 * size) if self.b is None else self.b.array[direction]
        of_input, of_state = stored[:size].astype(np.float64), stored[size:]
        if not apart:
            return [of_input + of_state]
        cut = size - self.hidden
        total = of_input.copy()
        total[:cut] += of_state[:cut]
        return [total, of_state[cut:]]


def _translate(
    builder: Builder, call: Call, make: Callable[[int, bool, bool], Layer], gates: int
) -> tuple[Value, ...]:
    """Y and Y_h, from one op a direction, and Y_c from another one."""
    _expect_plain(call)
    x = call.data(anywhere=True)
    first = bool(call.get("layout", 0))
    if x.rank == 3 and builder.batch == 1:
        x = builder.batched(x, 0 if first else 1)
    if len(x.shape) != 2 or x.batch != (0 if first else 1):
        raise RefusedError(
            f"has {x.rank} axes, with the batch on axis {x.batch}; supported: "
            + ("(batch, time, features)" if first else "(time, batch, features)")
        )
    if call.value(4) is not None and (call.constant(4).array != x.shape[0]).any():
        raise RefusedError("has sequence_lens; export with sequences of one length")
    directions = _directions(call)
    weights = _weights(call, x, len(directions), gates)
    _expect_start(call, len(directions), weights.hidden)
    whole = call.used[0] or not any(call.used)
    final = len(call.used) > 1 and call.used[1]
    remembered = len(call.used) > 2 and call.used[2]
    outputs: list[Activation] = []
    states: list[Activation] = []
    memories: list[Activation] = []
    for i, reverse in enumerate(directions):
        op = make(i, reverse, not whole)
        name = call.name if i == 0 else f"{call.name}_reverse"
        wish = call.output if i == 0 else f"{call.output}_reverse"
        y = builder.emit(op, (x.id, *weights.read(builder, op, i)), name, wish)
        outputs.append(y)
        states.append(_last(builder, y, op, reverse, f"{name}_last") if final else y)
        if remembered:
            memory = Lstm(reverse, last=True, memory=True)
            inputs = (x.id, *weights.read(builder, memory, i))
            memories.append(builder.emit(memory, inputs, f"{name}_memory", call.outputs[2]))
    hidden = weights.hidden
    more = (_state(builder, call, memories, hidden, first, 2),) if remembered else ()
    state = _state(builder, call, states, hidden, first, 1) if final else states[0]
    if not whole:
        return outputs[0], state, *more
    # Ours is (T, directions · H); ONNX has (T, directions, batch, H), or the batch first.
    y = builder.joined(tuple(outputs), 1, f"{call.name}_both", f"{call.output}_both")
    shape = (x.shape[0], len(directions), hidden)
    batch = 0 if first else 2
    return builder.reshaped(y, shape, batch, f"{call.name}_split", call.output), state, *more


def _last(builder: Builder, y: Activation, op: Layer, reverse: bool, name: str) -> Activation:
    """The state after the step that is worked on last, ``(H,)``."""
    if op.last:
        return y
    steps, hidden = y.shape
    at = 0 if reverse else steps - 1
    step = builder.sliced(y, Slice(0, at, at + 1), name, name)
    return builder.reshaped(step, (hidden,), 0, f"{name}_state", f"{name}_state")


def _state(
    builder: Builder, call: Call, states: list[Activation], hidden: int, first: bool, index: int
) -> Activation:
    """ONNX's Y_h or Y_c: ``(directions, batch, H)``, or the batch first."""
    output, what = call.outputs[index], ("", "row", "memory_row")[index]
    rows = tuple(
        builder.reshaped(state, (1, hidden), 0, f"{call.name}_{what}{i}", f"{output}_row{i}")
        for i, state in enumerate(states)
    )
    joined = builder.joined(rows, 0, f"{call.name}_{what}s", output)
    return replace(joined, batch=0 if first else 1)


def _expect_plain(call: Call) -> None:
    """Refuse what our layers do not have."""
    for i, what in ((5, "initial_h"), (6, "initial_c")):
        state = call.value(i)
        if state is not None and not (isinstance(state, Constant) and not state.stored.any()):
            raise RefusedError(f"has an {what} that is not zero; export without a start state")
    if call.value(7) is not None:
        raise RefusedError("has peepholes (P); export without them")


def _expect_start(call: Call, directions: int, hidden: int) -> None:
    """Raise a ShapeError unless the start states, which are zero, are the layer's.

    PyTorch's newer exporter writes an LSTM with projections as one without, which only the shape
    of its cell betrays.
    """
    axis = 1 if call.get("layout", 0) else 0
    for i in (5, 6):
        state = call.value(i)
        if isinstance(state, Constant):
            shape = state.stored.shape
            if state.repeated not in (None, 1 - axis):
                raise RefusedError("has a start state with its batch on another axis")
            if len(shape) != 3 or (shape[axis], shape[2]) != (directions, hidden):
                raise ShapeError(
                    "a start state does not fit the layer",
                    found=shape,
                    expected=f"{directions} directions and {hidden} units",
                    remedy="An LSTM with projections (proj_size) has no form in ONNX; leave it out",
                )


def _weights(call: Call, x: Activation, directions: int, gates: int) -> _Weights:
    w, r = call.weight(1), call.weight(2)
    b = None if call.value(3) is None else call.weight(3)
    hidden = r.array.shape[-1] if r.array.ndim == 3 else 0
    expected = [
        (directions, gates * hidden, x.shape[1]),
        (directions, gates * hidden, hidden),
        (directions, 2 * gates * hidden),
    ]
    found = [value.array.shape for value in (w, r, b) if value is not None]
    if hidden < 1 or found != expected[: len(found)]:
        raise ShapeError("weights do not fit the layer", found=found, expected=expected)
    if call.get("hidden_size", hidden) != hidden:
        raise call.damaged("hidden_size", f"{hidden}, as the weights have")
    return _Weights(w, r, b, hidden, gates)
