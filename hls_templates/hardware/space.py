"""What can be chosen for each layer, and what each choice costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import get_args

import numpy as np

from ...frontend.ops import Array
from ..folding import Fold, Folding, FoldingError, Memory, Multiply
from ..legal import PACKED_BITS, Legal, layer_folds
from ..plan import Plan
from ..processes import AnyProcess, NarrowProcess, RecurrenceProcess, WidenProcess
from .estimate import Multiplying
from .figures import KINDS
from .parts import Target
from .pipeline import pipeline_depth
from .resources import process_resources
from .schedule import loops

MOST_MULTIPLIERS = 4096
"""Most multipliers of a layer: so many unrolled products are what the tools take."""

MOST_SIZES = 16
"""Most values of ``pe``, and of ``simd``, that are tried for a layer."""

Adaptor = NarrowProcess | WidenProcess
Planner = Callable[[Folding], Plan]


@dataclass(frozen=True)
class Choice:
    """A fold of a layer, and what is expected of each of the kinds of resources."""

    fold: Fold
    cost: Array


@dataclass(frozen=True)
class Point:
    """A layer with one ``pe`` and ``simd``.

    Attributes:
        layer: its name.
        fold: ``pe`` and ``simd``.
        period: the longest of its processes, in cycles.
        plan: one in which the layer is folded so.
        processes: the layer's in that plan, adaptors left out.
        target: part and clock.
    """

    layer: str
    fold: Fold
    period: int
    plan: Plan
    processes: tuple[AnyProcess, ...]
    target: Target

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The ways to multiply and to keep weights that make a difference."""
        rest = self._cost(p for p in self.processes if not isinstance(p, Multiplying))
        folded = [p for p in self.processes if isinstance(p, Multiplying)]
        found: dict[bytes, Choice] = {}
        ways = [
            way for way in get_args(Multiply) if way != "packed" or all(map(self._packs, folded))
        ]
        for multiply, memory in product(ways, get_args(Memory)):
            fold = replace(self.fold, multiply=multiply, memory=memory)
            cost = rest + self._cost(
                replace(p, fold=replace(p.fold, multiply=multiply, memory=memory)) for p in folded
            )
            found.setdefault(cost.tobytes(), Choice(fold, cost))
            if not folded:
                break
        return tuple(found.values())

    def _packs(self, process: Multiplying) -> bool:
        """Whether the process's products can be computed two at a time."""
        if isinstance(process, RecurrenceProcess):
            operands = [self.plan.format(cell.dense[0].inputs[0]) for cell in process.cells]
            factors = [*operands, *(cell.weight for cell in process.cells)]
        else:
            factors = [self.plan.format(name) for name in process.node.inputs[:2]]
        return process.fold.pe % 2 == 0 and all(f.width <= PACKED_BITS for f in factors)

    def _cost(self, processes: Iterable[AnyProcess]) -> Array:
        cost = np.zeros(len(KINDS))
        for process in processes:
            resources = process_resources(self.plan, process, self.target)
            cost += [getattr(resources, kind).expected for kind in KINDS]
        return cost


def layer_points(make: Planner, target: Target) -> dict[str, list[Point]]:
    """Every ``pe`` and ``simd`` of each layer, fully folded first.

    Many plans are made, each with another fold of every layer: what a layer becomes depends on its
    own fold alone, but for adaptors.

    Args:
        make: plans a folding.
        target: part and clock.
    """
    base = make(Folding())
    legal = layer_folds(base.graph)
    waiting = {layer: folds(legal[layer]) for layer in own_processes(base) if layer in legal}
    points: dict[str, list[Point]] = {layer: [] for layer in waiting}
    while any(waiting.values()):
        chosen = {layer: left[0] for layer, left in waiting.items() if left}
        try:
            plan = make(Folding(chosen))
        except FoldingError as error:
            if error.node not in chosen:
                raise
            waiting[error.node].pop(0)
            continue
        for layer, processes in own_processes(plan).items():
            if layer in chosen:
                longest = max(period(plan, process, target) for process in processes)
                points[layer].append(Point(layer, chosen[layer], longest, plan, processes, target))
                waiting[layer].pop(0)
    return points


def period(plan: Plan, process: AnyProcess, target: Target) -> int:
    """That of the process's schedule, without the cycles of its beats."""
    drain = max(pipeline_depth(plan, process, target) - 1, 1)
    return 1 + sum(loop.trips + drain + 1 for loop in loops(plan, process) if loop.trips)


def own_processes(plan: Plan) -> dict[str, tuple[AnyProcess, ...]]:
    """The processes of each layer, adaptors left out."""
    known = set(plan.graph.layers.values())
    found: dict[str, list[AnyProcess]] = {}
    for process in plan.processes:
        if process.layer in known and not isinstance(process, Adaptor):
            found.setdefault(process.layer, []).append(process)
    return {layer: tuple(processes) for layer, processes in found.items()}


def folds(legal: Legal) -> list[Fold]:
    """What is tried for a layer, with few multipliers first."""
    few = replace(legal, pes=_some(legal.pes), simds=_some(legal.simds), wide=_some(legal.wide))
    pairs = [Fold(pe, simd) for pe, simd in few.pairs() if pe * simd <= MOST_MULTIPLIERS]
    return sorted(pairs, key=lambda fold: (fold.pe * fold.simd, fold.pe))


def _some(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """All of few; of many some, from the smallest to the largest."""
    if len(sizes) <= MOST_SIZES:
        return sizes
    places = np.linspace(0, len(sizes) - 1, MOST_SIZES).round().astype(int)
    return tuple(sizes[place] for place in places.tolist())
