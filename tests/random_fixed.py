"""Random fixed graphs: a hypothesis strategy that draws every op of one, loops and their bodies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from lutra.frontend.errors import FormatError
from lutra.frontend.ops import (
    Array,
    Concat,
    Conv,
    Dense,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Reshape,
    Shape,
    SumPool,
    Window,
)
from lutra.quantize.exact_ops import (
    Axis,
    BelowMax,
    Clamp,
    Leaky,
    Rearrange,
    Square,
)
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.float_index import FloatIndex
from lutra.quantize.formats import Format, Overflow, Rounding

from .fixed_graphs import Maker

WIDE = 40
"""Bits beyond which a value is cast before anything else is done with it."""


@dataclass(frozen=True)
class Drawn:
    """A network and raw inputs for it, channels last."""

    graph: FixedGraph
    raw: Array


class Grower:
    """Adds random nodes to a graph that is being made."""

    def __init__(self, draw: st.DrawFn, make: Maker) -> None:
        self.draw = draw
        self.make = make
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def shape(self, x: str) -> Shape:
        return self.make.shapes[x]

    def constant(self, *shape: int, bits: int = 6) -> str:
        most = 1 << self.integer(0, bits)
        raw = self.rng.integers(-most, most + 1, shape)
        return self.make.constant(raw, self.integer(0, 4))

    def cast(self, x: str) -> str:
        """To a format near that of the value, in any mode."""
        source = self.make.formats[x]
        width = self.integer(1, 14)
        integer = source.integer + self.integer(-3, 2) - max(source.width - width, 0) // 4
        to = Format(self.draw(st.booleans()), width, integer)
        rounding, overflow = (self.draw(st.sampled_from(kind)) for kind in (Rounding, Overflow))
        return self.make.cast(x, to, rounding=rounding, overflow=overflow)

    def lut(self, x: str) -> str:
        format_ = self.make.formats[x]
        if format_.width > 8:
            narrow = Format(format_.signed, self.integer(1, 8), format_.integer)
            x = self.make.cast(x, narrow)
        entries = self.rng.integers(-30, 31, 1 << self.make.formats[x].width)
        return self.make.lut(x, lambda _: entries / 4, 2)

    def function(self, x: str, *more: str) -> str:
        """An op on one value."""
        kind = self.draw(st.sampled_from(["relu", "cast", "lut", "scale", "add", *more]))
        constant = self.draw(st.sampled_from([(), (1,)]))
        match kind:
            case "relu":
                return self.make.add(Relu(), x)
            case "clamp":
                low = self.integer(-50, 50)
                return self.make.add(Clamp(low, low + self.integer(0, 60)), x)
            case "square":
                return self.make.add(Square(), x)
            case "cast":
                return self.cast(x)
            case "lut":
                return self.lut(x)
            case "scale":
                return self.make.add(Mul(), x, self.constant(*constant))
            case _:
                return self.make.combine(x, self.constant(*constant), negative=self.flip())

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def pair(self, a: str, b: str) -> str:
        """An op on two values of the same shape, or of which the second has one value a row."""
        if self.flip():
            return self.make.add(Mul(), a, b)
        return self.make.combine(a, b, negative=self.flip())

    def channels(self, x: str) -> str:
        """An op with a constant for each index of the last axes."""
        shape = self.shape(x)
        match self.integer(0, 2):
            case 0:
                return self.make.add(Mul(), x, self.constant(*shape[self.integer(0, len(shape)) :]))
            case 1:
                slope = self.constant(shape[-1])
                fraction = self.make.formats[slope].fraction
                return self.make.add(Leaky(fraction), x, slope)
            case _:
                return self.make.combine(x, self.constant(shape[-1]), negative=self.flip())

    def rows(self, x: str) -> str:
        """An op along the last axis."""
        match self.integer(0, 3):
            case 0:
                return self.make.add(BelowMax(), x)
            case 1:
                return self.pair(x, self.make.add(ReduceSum(), x))
            case 2:
                squares = self.make.add(ReduceSum(), self.make.add(Square(), x))
                return self.pair(x, self.make.add(FloatIndex(self.integer(0, 4)), squares))
            case _:
                weight = self.constant(self.shape(x)[-1], 3)
                fraction = self.make.formats[x].fraction + self.make.formats[weight].fraction
                bias = self.make.constant(self.rng.integers(-99, 99, 3), fraction)
                return self.make.add(Dense(), x, weight, *([bias] if self.flip() else []))

    def windows(self, x: str) -> str:
        """A convolution or a pool."""
        shape = self.shape(x)
        kernel, stride, pad, dilation = [], [], [], []
        for n in shape[:-1]:
            dilation.append(self.integer(1, 2))
            kernel.append(self.integer(1, (n - 1) // dilation[-1] + 1))
            stride.append(self.integer(1, 3))
            pad.append((self.integer(0, kernel[-1] - 1), self.integer(0, kernel[-1] - 1)))
        plain = self.flip()
        if plain:
            pad = [(0, 0)] * len(kernel)
        window = Window(tuple(kernel), tuple(stride), tuple(pad), tuple(dilation))
        match self.integer(0, 2):
            case 0 if plain:
                return self.make.add(MaxPool(window), x)
            case 1:
                return self.make.add(SumPool(window), x)
            case _:
                groups = self.draw(st.sampled_from([1, math.gcd(shape[-1], 6)]))
                weight = self.constant(*kernel, shape[-1] // groups, groups * self.integer(1, 2))
                return self.make.add(Conv(window, groups), x, weight)

    def move(self, x: str) -> str:
        """A rearrangement, a reshaping or a concatenation."""
        shape = self.shape(x)
        match self.integer(0, 4):
            case 0:
                order = self.draw(st.permutations(range(len(shape))))
                return self.make.add(Rearrange.transpose(shape, order), x)
            case 1:
                order = self.draw(st.permutations(range(len(shape))))
                axes = tuple(self.axis(shape[source], source) for source in order)
                return self.make.add(Rearrange(axes, self.integer(-4, 4)), x)
            case 2:
                other = self.make.add(Relu(), x)
                return self.make.add(Concat(self.integer(0, len(shape) - 1)), x, other)
            case 3:
                return self.make.add(Flatten(), x)
            case _:
                return self.make.add(Reshape((shape[-1], math.prod(shape[:-1]))), x)

    def axis(self, size: int, source: int) -> Axis:
        kept = self.integer(1, 5)
        start, step = self.integer(-2, size), self.integer(-2, 2)
        return Axis(kept, source, start, step, self.integer(1, 3), self.flip())

    def matrices(self, x: str) -> str:
        """The product of a value with itself, transposed on one side."""
        shape = self.shape(x)
        if self.flip():
            return self.make.add(MatMul(True), x, x)
        order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        turned = self.make.add(Rearrange.transpose(shape, order), x)
        return self.make.add(MatMul(), x, turned)

    def loop(self, x: str) -> str:
        """A loop over the first axis, whose body is random too."""
        _, width = self.shape(x)
        parts = self.integer(1, 2)
        if width % parts or self.flip():
            units = self.integer(1, 3)
            x = self.make.add(Dense(), x, self.constant(width, units * parts))
        names = [f"{x}.part{i}" for i in range(parts)]
        format_ = Format(True, self.integer(2, 8), self.integer(0, 3))
        states = [(f"{x}.before{i}", f"{x}.after{i}", format_) for i in range(self.integer(1, 2))]
        return self.make.loop(
            x,
            names,
            states,
            lambda: self.body(x, names, states),
            reverse=self.flip(),
            last=self.flip(),
        )

    def body(self, x: str, parts: list[str], states: list[tuple[str, str, Format]]) -> str:
        """Gates, as a recurrent layer has them, then whatever comes."""
        units = self.shape(parts[0])[0]
        befores = [before for before, _, _ in states]
        gates = []
        for part in parts:
            state = self.draw(st.sampled_from(befores))
            product = self.make.add(Dense(), state, self.constant(units, units, bits=14))
            total = self.make.combine(part, product, negative=self.integer(0, 3) == 3)
            gates.append(self.lut(total))
        values = [*parts, *befores, *gates]
        for _ in range(self.integer(0, 4)):
            a, b = (self.draw(st.sampled_from(values[::-1])) for _ in range(2))
            values.append(self.narrow(self.function(a) if self.flip() else self.pair(a, b)))
        after = ""
        for _, after, format_ in states:
            source = self.pair(self.draw(st.sampled_from(values[::-1])), gates[0])
            after = self.make.cast(source, format_, after)
        return after

    def narrow(self, x: str) -> str:
        return self.cast(x) if self.make.formats[x].width > WIDE // 2 else x

    def step(self, x: str) -> str:
        """One random op that fits the value."""
        shape = self.shape(x)
        kinds = ["function", "function", "channels", "rows", "move", "interpolated"]
        if len(shape) > 1:
            kinds += ["windows", "matrices", "move"]
        if len(shape) == 2:
            kinds += ["loop", "loop"]
        match self.draw(st.sampled_from(kinds)):
            case "function":
                return self.function(x, "clamp", "square")
            case "interpolated":
                near = self.make.cast(x, Format(True, self.integer(7, 10), 3))
                return self.make.interpolated(near, np.tanh, Format(True, 6, 2), 5)
            case kind:
                grown: str = getattr(self, kind)(x)
                return grown


@st.composite
def loops(draw: st.DrawFn) -> Drawn:
    """A loop alone, with its states' formats and its body drawn."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    source = Format(True, draw(st.integers(2, 8)), draw(st.integers(0, 4)))
    make = Maker(shape, source)
    grower = Grower(draw, make)
    y = grower.loop("x")
    raw = grower.rng.integers(source.low, source.high + 1, (2, *shape))
    return Drawn(make.graph(y), raw)


@st.composite
def fixed_graphs(draw: st.DrawFn) -> Drawn:
    """A network of one to six such steps, and two samples."""
    shapes = [st.tuples(*[st.integers(1, 4)] * rank) for rank in (1, 2, 2, 3)]
    shape = draw(st.one_of(*shapes))
    source = Format(draw(st.booleans()), draw(st.integers(1, 8)), draw(st.integers(-2, 6)))
    make = Maker(shape, source)
    grower = Grower(draw, make)
    x = "x"
    for _ in range(draw(st.integers(1, 6))):
        size = math.prod(make.shapes[x])
        if make.formats[x].width > WIDE // 2 or size > 200:
            x = grower.cast(x)
        try:
            x = grower.step(x) if size <= 200 else x
        except FormatError:
            break
    if x == "x":
        x = make.add(Relu(), x)
    raw = grower.rng.integers(source.low, source.high + 1, (2, *shape))
    return Drawn(make.graph(x), raw)
