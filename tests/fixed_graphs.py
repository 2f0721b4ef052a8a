"""Fixed graphs made by hand, value by value, for tests of what comes after lowering."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from lutra.frontend.graph import Node, Port
from lutra.frontend.ops import Array, Dense, Mul, Relu, Shape
from lutra.quantize.cast import Cast
from lutra.quantize.exact import Operand, Result, constant_bounds, result
from lutra.quantize.exact_ops import Combine
from lutra.quantize.fixed import FixedGraph, FixedOp, cast_bounds, index_bounds, whole
from lutra.quantize.float_index import FloatIndex
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lut import Function, Lut
from lutra.quantize.recurrence import Recurrence, State


class Maker:
    """Grows a fixed graph; each method that adds a node returns the name of its value.

    Args:
        shape: of the input, which is called ``x``.
        source: its format.
    """

    def __init__(self, shape: Shape, source: Format) -> None:
        self.port = Port.of("x", shape)
        self.nodes: list[Node[FixedOp]] = []
        self.constants: dict[str, Array] = {}
        self.formats = {"x": source}
        self.bounds = {"x": whole(source)}
        self.shapes = {"x": shape}
        self.body: list[Node[FixedOp]] | None = None
        self.layers: dict[str, str] = {}

    def constant(self, raw: Array, fraction: int = 0) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = raw.astype(np.int64)
        format_ = Format.holding(int(raw.min()), int(raw.max()), fraction)
        return self.define(name, format_, constant_bounds(raw, fraction), raw.shape)

    def define(self, name: str, format_: Format, bounds: Result, shape: Shape) -> str:
        self.formats[name], self.bounds[name], self.shapes[name] = format_, bounds, shape
        return name

    def add(self, op: FixedOp, *inputs: str, name: str = "") -> str:
        """Add a node in the narrowest format that holds its results, or in that of its Cast."""
        name = name or f"v{len(self.layers)}"
        first = self.bounds[inputs[0]]
        match op:
            case Cast():
                bounds = cast_bounds(op, first)
            case Lut():
                bounds = self.bounds[inputs[1]]
            case FloatIndex():
                bounds = index_bounds(op, first)
            case Recurrence():
                bounds = self.bounds[op.result]
            case _:
                of = [
                    Operand.of(self.bounds[i], self.shapes[i], self.constants.get(i))
                    for i in inputs
                ]
                bounds = result(op, of)
        format_ = Format.holding(bounds.low, bounds.high, bounds.fraction)
        if isinstance(op, Cast):
            format_ = op.format
        self.define(name, format_, bounds, op.infer(*(self.shapes[i] for i in inputs)))
        node = Node(name, op, inputs, name)
        (self.nodes if self.body is None else self.body).append(node)
        self.layers[name] = name
        return name

    def cast(
        self,
        x: str,
        to: Format,
        name: str = "",
        rounding: Rounding = Rounding.RND,
        overflow: Overflow = Overflow.SAT,
    ) -> str:
        shift = self.formats[x].fraction - to.fraction
        return self.add(Cast(shift, to, rounding, overflow), x, name=name)

    def combine(self, a: str, b: str, *, negative: bool = False) -> str:
        most = max(self.formats[a].fraction, self.formats[b].fraction)
        shifts = (most - self.formats[a].fraction, most - self.formats[b].fraction)
        return self.add(Combine(shifts, negative), a, b)

    def lut(self, x: str, function: Callable[[Array], Array], fraction: int, name: str = "") -> str:
        """A table of a function of real numbers, or of any other numbers."""
        format_ = self.formats[x]
        raw = np.arange(1 << format_.width)
        raw = np.where(raw > format_.high, raw - (1 << format_.width), raw)
        entries = np.floor(function(raw * format_.step) * 2.0**fraction + 0.5)
        return self.add(Lut(Function.TANH), x, self.constant(entries, fraction), name=name)

    def interpolated(
        self, x: str, function: Callable[[Array], Array], to: Format, bits: int, name: str = ""
    ) -> str:
        """A table for the upper bits of x, and one of slopes times the bits below."""
        source = self.formats[x]
        upper = Format(source.signed, bits, source.integer)
        lower = Format(False, source.width - bits, source.integer - bits)
        high = self.cast(x, upper, rounding=Rounding.TRN)
        low = self.cast(x, lower, rounding=Rounding.TRN, overflow=Overflow.WRAP)
        base = self.lut(high, function, to.fraction + 2)
        slope = self.lut(
            high, lambda v: (function(v + upper.step) - function(v)) / upper.step, to.fraction
        )
        return self.cast(self.combine(base, self.add(Mul(), slope, low)), to, name)

    def loop(
        self,
        x: str,
        parts: Sequence[str],
        states: Sequence[tuple[str, str, Format]],
        body: Callable[[], str],
        *,
        reverse: bool = False,
        last: bool = False,
    ) -> str:
        """A loop whose nodes ``body`` adds; states are (before, after, format)."""
        units = self.shapes[x][1] // len(parts)
        for part in parts:
            self.define(part, self.formats[x], self.bounds[x], (units,))
        for before, _, format_ in states:
            self.define(before, format_, whole(format_), (units,))
        inner: list[Node[FixedOp]] = []
        self.body = inner
        try:
            leaving = body()
        finally:
            self.body = None
        nodes = tuple(inner)
        read = {name for node in nodes for name in node.inputs}
        constants = tuple(name for name in self.constants if name in read)
        kept = tuple(State(before, after) for before, after, _ in states)
        op = Recurrence(tuple(parts), kept, constants, nodes, leaving, reverse, last)
        return self.add(op, x, *constants)

    def graph(self, output: str) -> FixedGraph:
        """The network that ends with ``output``."""
        entry = {"x": Cast(0, self.formats["x"])}
        outlet = Port.of(output, self.shapes[output])
        return FixedGraph(
            "made by hand",
            (self.port,),
            (outlet,),
            entry,
            tuple(self.nodes),
            self.constants,
            self.formats,
            self.layers,
        )


def sigmoid(v: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-v)))


@dataclasses.dataclass(frozen=True)
class Recurrent:
    """A recurrent layer in fixed point, as lowering makes it.

    Attributes:
        bits: of activations and weights.
        index: most bits of a table's index; a wider argument is interpolated.
        steps, inputs, units: T, n and H.
        classes: outputs of a dense layer behind it; none if 0.
    """

    bits: int
    index: int = 12
    steps: int = 5
    inputs: int = 3
    units: int = 4
    reverse: bool = False
    last: bool = False
    classes: int = 0

    @property
    def state(self) -> Format:
        return Format(True, self.bits, 1)

    def weights(self, make: Maker, rng: np.random.Generator, *shape: int) -> str:
        raw = rng.normal(0, 0.4, shape) * 2.0 ** (self.bits - 2)
        limit = 2.0 ** (self.bits - 1)
        return make.constant(np.clip(np.floor(raw), -limit, limit - 1), self.bits - 2)

    def gate(self, make: Maker, pre: str, function: Callable[[Array], Array]) -> str:
        """A function of a wide sum, near zero, where alone it changes."""
        wide = self.bits > self.index
        near = make.cast(pre, Format(True, self.bits if wide else self.index, 4))
        result = Format(True, self.bits, 2)
        if wide:
            return make.interpolated(near, function, result, self.index)
        return make.lut(near, function, result.fraction)

    def graph(self, kind: str) -> FixedGraph:
        """``rnn``, ``relu``, ``lstm``, ``gru`` or ``gru_before`` (the reset gate before the
        product)."""
        rng = np.random.default_rng(0)
        make = Maker((self.steps, self.inputs), Format(True, self.bits, 3))
        body = {
            "rnn": self.rnn, "relu": self.relu, "lstm": self.lstm, "gru": self.gru,
            "gru_before": self.gru_before,
        }[kind]  # fmt: skip
        parts = {"lstm": ["xi", "xo", "xf", "xc"], "rnn": ["x0"], "relu": ["x0"]}
        names = parts.get(kind, ["xz", "xr", "xh"])
        w = self.weights(make, rng, self.inputs, len(names) * self.units)
        bias = make.constant(
            rng.integers(-(1 << self.bits), 1 << self.bits, len(names) * self.units),
            make.formats["x"].fraction + self.bits - 2,
        )
        x = make.add(Dense(), "x", w, bias)
        states = [("hidden_before", "hidden", self.state)]
        if kind == "lstm":
            states.append(("cell_before", "cell", Format(True, self.bits, 4)))
        y = make.loop(
            x, names, states, lambda: body(make, rng), reverse=self.reverse, last=self.last
        )
        if self.classes:
            y = make.add(Dense(), y, self.weights(make, rng, self.units, self.classes))
        return make.graph(y)

    def sum(self, make: Maker, rng: np.random.Generator, state: str = "hidden_before") -> str:
        return make.add(Dense(), state, self.weights(make, rng, self.units, self.units))

    def rnn(self, make: Maker, rng: np.random.Generator) -> str:
        pre = make.combine("x0", self.sum(make, rng))
        return make.cast(self.gate(make, pre, np.tanh), self.state, "hidden")

    def relu(self, make: Maker, rng: np.random.Generator) -> str:
        pre = make.combine("x0", self.sum(make, rng))
        return make.cast(make.add(Relu(), pre), self.state, "hidden")

    def lstm(self, make: Maker, rng: np.random.Generator) -> str:
        sums = [self.sum(make, rng) for _ in range(4)]
        i, o, f, c = (
            self.gate(make, make.combine(part, total), np.tanh if part == "xc" else sigmoid)
            for part, total in zip(("xi", "xo", "xf", "xc"), sums, strict=True)
        )
        kept, added = make.add(Mul(), f, "cell_before"), make.add(Mul(), i, c)
        cell = make.cast(make.combine(kept, added), make.formats["cell_before"], "cell")
        bent = self.gate(make, cell, np.tanh)
        return make.cast(make.add(Mul(), o, bent), self.state, "hidden")

    def gru(self, make: Maker, rng: np.random.Generator) -> str:
        z, r = (
            self.gate(make, make.combine(part, self.sum(make, rng)), sigmoid)
            for part in ("xz", "xr")
        )
        bias = make.constant(rng.integers(-99, 99, self.units), 2 * self.bits - 3)
        w = self.weights(make, rng, self.units, self.units)
        inner = make.cast(make.add(Dense(), "hidden_before", w, bias), Format(True, self.bits, 3))
        return self.candidate(make, z, make.add(Mul(), r, inner))

    def gru_before(self, make: Maker, rng: np.random.Generator) -> str:
        z, r = (
            self.gate(make, make.combine(part, self.sum(make, rng)), sigmoid)
            for part in ("xz", "xr")
        )
        reset = make.cast(make.add(Mul(), r, "hidden_before"), self.state)
        return self.candidate(make, z, self.sum(make, rng, reset))

    def candidate(self, make: Maker, z: str, inner: str) -> str:
        n = self.gate(make, make.combine("xh", inner), np.tanh)
        scaled = make.add(Mul(), z, make.combine("hidden_before", n, negative=True))
        return make.cast(make.combine(n, scaled), self.state, "hidden")
