"""Random networks of forks and joins: small, of every kind of process, with a fold for each layer.

Each from a seed.  Values are few, so that a design is compiled and run in a moment, and narrow, so
that one kernel serves for many.
"""

from __future__ import annotations

import math

import numpy as np

from lutra.frontend.ops import Concat, Conv, Dense, MaxPool, Mul, Relu, Reshape, SumPool, Window
from lutra.hls_templates.folding import Folding
from lutra.hls_templates.planner import plan
from lutra.hls_templates.processes import DuplicateProcess
from lutra.quantize.exact_ops import Axis, BelowMax, Rearrange
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format, Overflow

from .fixed_graphs import Maker

NARROW = Format(True, 4, 2)
LARGEST = 48
"""Most elements of a value."""


class Forks:
    """Grows a network from its open ends: values that nothing reads yet."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        shapes = [(4, 4, 2), (3, 5, 2), (6, 4), (5, 3, 1), (8, 2), (12,)]
        self.make = Maker(shapes[self.rng.integers(len(shapes))], NARROW)
        self.ends = ["x"]

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def constant(self, *shape: int) -> str:
        return self.make.constant(self.rng.integers(-3, 4, shape))

    def narrow(self, x: str) -> str:
        wide = self.make.formats[x] != NARROW
        return self.make.cast(x, NARROW, overflow=Overflow.WRAP) if wide else x

    def take(self) -> str:
        """An open end, which is open no more, or any value so far: then it forks there."""
        if self.pick(0, 2) == 0:
            return [name for name in self.make.shapes if name not in self.make.constants][-1]
        return self.ends.pop(self.pick(0, len(self.ends) - 1))

    def put(self, x: str) -> None:
        self.ends.append(self.narrow(x))

    def layer(self, x: str) -> str:
        """One op on a value."""
        make, shape = self.make, self.make.shapes[x]
        kinds = ["dense", "dense", "relu", "channels", "below", "upsample", "slice"]
        kinds += ["transpose", "conv", "conv", "pool", "depthwise"] if len(shape) > 1 else []
        match kinds[self.pick(0, len(kinds) - 1)]:
            case "dense":
                return make.add(Dense(), x, self.constant(shape[-1], self.pick(1, 4)))
            case "relu":
                return make.add(Relu(), x)
            case "channels":
                return make.add(Mul(), x, self.constant(shape[-1]))
            case "below":
                return make.add(BelowMax(), x)
            case "upsample":
                axis = self.pick(0, len(shape) - 1)
                wider = Axis(2 * shape[axis], axis, 0, 1, 2)
                return make.add(Rearrange.along(shape, {axis: wider}), x)
            case "slice":
                axis = self.pick(0, len(shape) - 1)
                size = self.pick(1, shape[axis])
                return make.add(Rearrange.along(shape, {axis: Axis(size, axis, 0)}), x)
            case "transpose":
                order = tuple(self.rng.permutation(len(shape)).tolist())
                return make.add(Rearrange.transpose(shape, order), x)
            case "pool":
                op = MaxPool if self.pick(0, 1) else SumPool
                return make.add(op(self.window(shape)), x)
            case kind:
                groups = shape[-1] if kind == "depthwise" else 1
                window = self.window(shape, padded=True)
                outputs = groups * self.pick(1, 2)
                weight = self.constant(*window.kernel, shape[-1] // groups, outputs)
                return make.add(Conv(window, groups), x, weight)

    def window(self, shape: tuple[int, ...], *, padded: bool = False) -> Window:
        kernel = tuple(self.pick(1, min(size, 3)) for size in shape[:-1])
        pad = tuple(
            (self.pick(0, k - 1), self.pick(0, k - 1)) if padded else (0, 0) for k in kernel
        )
        return Window(kernel, tuple(self.pick(1, 2) for _ in kernel), pad)

    def join(self, a: str, b: str) -> str:
        """Two values as one: their sum, their product, or one behind the other."""
        make, (left, right) = self.make, (self.make.shapes[a], self.make.shapes[b])
        if left == right:
            match self.pick(0, 2):
                case 0:
                    return make.combine(a, b)
                case 1:
                    return make.add(Mul(), a, b)
                case _:
                    return make.add(Concat(self.pick(0, len(left) - 1)), a, b)
        flat = [
            name if len(shape) == 1 else make.add(Reshape((math.prod(shape),)), name)
            for name, shape in ((a, left), (b, right))
        ]
        return make.add(Concat(0), *flat)

    def grow(self) -> FixedGraph:
        for _ in range(self.pick(3, 7)):
            if len(self.ends) > 1 and self.pick(0, 2) == 0:
                pair = self.rng.permutation(len(self.ends))[:2].tolist()
                a, b = (self.ends[i] for i in pair)
                self.ends = [end for end in self.ends if end not in (a, b)]
                self.put(self.join(a, b))
                continue
            x = self.take()
            if math.prod(self.make.shapes[x]) > LARGEST:
                self.ends.append(x)
                continue
            self.put(self.layer(x))
        while len(self.ends) > 1:
            self.put(self.join(self.ends.pop(0), self.ends.pop(0)))
        (end,) = self.ends
        return self.make.graph(end if end != "x" else self.make.add(Relu(), end))


def random_forks(seed: int) -> FixedGraph:
    """A network with a fork at least: a value that several processes read."""
    while True:
        graph = Forks(seed).grow()
        if any(isinstance(p, DuplicateProcess) for p in plan(graph, Folding()).processes):
            return graph
        seed += 1_000_000
