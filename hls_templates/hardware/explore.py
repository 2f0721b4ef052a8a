"""Folding to a target: the cheapest design that meets it, or the fastest that fits.

See docs/hardware.md for how the search goes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...frontend.ops import Array
from ..folding import Folding
from ..processes import AnyProcess
from .cycles import simulate
from .estimate import Estimate, estimate
from .figures import KINDS, NAMES
from .goal import Goal, TargetError
from .parts import Target
from .schedule import schedules
from .space import Adaptor, Choice, Planner, Point, layer_points

POWERS = (2, 4, 8, 16, 32, 64)
"""Powers of the loads of which a design's cost is the sum; the last ones see the largest alone."""

PRICES = (np.ones(len(KINDS)), *(0.02 + np.eye(len(KINDS))))
"""Of a load of each kind, where a search begins: all alike, then one dearer than the others."""

NEIGHBOURS = 6
"""Intervals below one that fits which are looked at as well."""

SWEEPS = 20
"""Most times that all layers are looked at for one power."""

CORRECTIONS = 8
"""Most times that a design is looked for again because the whole of it showed what lacks."""


@dataclass(frozen=True)
class Fit:
    """The best choice for one interval.

    Attributes:
        choices: by layer.
        load: of each kind of resources, as a share of what may be taken.
    """

    choices: Mapping[str, Choice]
    load: Array

    @property
    def fits(self) -> bool:
        return bool(self.load.max() <= 1)

    @property
    def folding(self) -> Folding:
        return Folding({layer: choice.fold for layer, choice in self.choices.items()})

    @property
    def cost(self) -> Array:
        """What the layers take."""
        return sum((choice.cost for choice in self.choices.values()), np.zeros(len(KINDS)))


def explore(make: Planner, target: Target, goal: Goal) -> Estimate:
    """The cheapest design that meets the goal, or the fastest that fits, checked as a whole.

    Args:
        make: plans a folding of the network.
        target: part and clock.
        goal: what the user wants.

    Raises:
        TargetError: nothing meets it; the message says what would be possible, and what forbids it.
    """
    search = Search(make, target, goal)
    interval = search.slowest
    if goal.fps is not None:
        interval = math.floor(1e9 / (target.clock * goal.fps))
    for _ in range(CORRECTIONS):
        if goal.latency is not None:
            draft = search.quick(interval, math.floor(goal.latency * 1000 / target.clock))
        else:
            best = search.fastest() if goal.fps is None else search.cheapest(interval)
            if best is None:
                break
            draft = best
        found = search.checked(draft)
        if (totals(found) <= search.room).all():
            return found
        search.fifos = totals(found) - totals(draft)
    raise search.refusal(interval)


class Search:
    """Foldings of one network for one part."""

    def __init__(self, make: Planner, target: Target, goal: Goal) -> None:
        self.make = make
        self.target = target
        self.goal = goal
        self.points = layer_points(make, target)
        self.room = np.array([getattr(target.part, kind) for kind in KINDS]) * goal.use
        self.rests: dict[int, Array] = {}
        self.fifos = np.zeros(len(KINDS))
        self.banned: dict[tuple[str, int, int], int] = {}
        self.obstacle: AnyProcess | None = None
        least = [min(point.period for point in points) for points in self.points.values()]
        self.intervals = sorted(
            {p.period for points in self.points.values() for p in points if p.period >= max(least)}
        )

    @property
    def slowest(self) -> int:
        """The interval of one multiplier a layer."""
        return self.intervals[-1]

    def rest(self, interval: int) -> Array:
        """What stands between the layers and is not of them, as known from the nearest interval,
        and what FIFOs of their real depths take beyond those of drafts."""
        if not self.rests:
            return self.fifos
        return (
            self.fifos
            + self.rests[min(self.rests, key=lambda known: abs(math.log(known / interval)))]
        )

    def fit(self, interval: int) -> Fit | None:
        """The cheapest choice for each layer that is fast enough, by what the layers take.

        The cost of a design is the sum of the squares of its loads: what little is left of is dear.
        If then there is too little of a kind, higher powers let layers go over to other kinds.

        Returns:
            None if a layer has nothing so fast.
        """
        options = {layer: self._options(points, interval) for layer, points in self.points.items()}
        if not all(options.values()):
            return None
        room = np.maximum(self.room, 1e-3)
        loads = [np.stack([choice.cost for choice in found]) / room for found in options.values()]
        rest = self.rest(interval) / room
        tried = [_cheapest(rest, loads, prices) for prices in PRICES]
        places, total = min(tried, key=lambda found: (max(1, found[1].max()), _cost(found[1])))
        chosen = zip(options.items(), places, strict=True)
        return Fit({layer: choices[place] for (layer, choices), place in chosen}, total)

    def _options(self, points: list[Point], interval: int) -> list[Choice]:
        """What is fast enough, without what has more lanes than another in both directions.

        The widest stays: where all is unrolled, weights turn into wires and adders.
        """
        narrow: dict[int, Point] = {}
        fast = [point for point in points if self._period(point) <= interval]
        for point in fast:
            known = narrow.get(point.fold.simd)
            if known is None or point.fold.pe < known.fold.pe:
                narrow[point.fold.simd] = point
        kept = fast[-1:]
        least = math.inf
        for _, point in sorted(narrow.items()):
            if point.fold.pe < least:
                least = point.fold.pe
                kept.append(point)
        return [choice for point in kept for choice in point.choices]

    def _period(self, point: Point) -> int:
        """Of the layer, and of the adaptors that are known to come with this fold."""
        fold = point.fold
        return max(point.period, self.banned.get((point.layer, fold.pe, fold.simd), 0))

    def cheapest(self, interval: int) -> Estimate | None:
        """The cheapest design with this interval, run for a frame; None if there is none."""
        for _ in range(CORRECTIONS):
            fit = self.fit(interval)
            if fit is None or (not fit.fits and interval in self.rests):
                return None
            draft = estimate(self.make(fit.folding), fit.folding, self.target, 1)
            self.rests[interval] = totals(draft) - fit.cost
            if self._ban(draft, interval):
                continue
            if draft.bottleneck.period > interval:
                self.obstacle = draft.bottleneck.process
                return None
            if (totals(draft) + self.fifos <= self.room).all():
                return draft
        return None

    def checked(self, draft: Estimate) -> Estimate:
        """The same design, run until frames leave at an even pace.

        Raises:
            TargetError: it is slower than its slowest process.
        """
        found = estimate(self.make(draft.folding), draft.folding, self.target)
        if found.interval > draft.bottleneck.period:
            raise TargetError(
                "the processes of this design hold each other up",
                node=found.bottleneck.process.layer,
                found=f"an interval of {found.interval:,} cycles",
                expected=f"{draft.bottleneck.period:,} cycles",
                remedy="Ask for fewer frames/s, or edit a folding by hand",
            )
        return found

    def fastest(self) -> Estimate | None:
        """The design with the smallest interval that fits, run for a frame; None if not even the
        smallest fits."""
        for _ in range(CORRECTIONS):
            place = self._first()
            if place == len(self.intervals):
                break
            found = self.cheapest(self.intervals[place])
            if found is not None:
                return found
        return None

    def quick(self, interval: int, latency: int) -> Estimate:
        """The cheapest design with at most this interval and latency, in cycles, run for a frame.

        Raises:
            TargetError: there is none.
        """
        least, most = self._first(), bisect_right(self.intervals, interval)
        if least >= most:
            raise self.refusal(interval)
        late = bisect_left(
            self.intervals[least:most], True, key=lambda i: self._latency(i) > latency
        )
        places = range(least + late - 1, least - 1, -1)
        for place in (*places[:CORRECTIONS], *places[-1:]):
            found = self.cheapest(self.intervals[place])
            if found is not None and found.latency <= latency:
                return found
        raise self.late(latency, least)

    def _first(self) -> int:
        """The place of the smallest interval at which the layers fit."""

        def fits(interval: int) -> bool:
            fit = self.fit(interval)
            return fit is not None and fit.fits

        place = bisect_left(self.intervals, True, key=fits)
        while place < len(self.intervals):  # what is chosen is not the very best everywhere
            better = (
                p for p in range(max(0, place - NEIGHBOURS), place) if fits(self.intervals[p])
            )
            first = next(better, place)
            if first == place:
                break
            place = first
        return place

    def _latency(self, interval: int) -> int:
        """Of the design that is chosen for an interval."""
        fit = self.fit(interval)
        assert fit is not None
        plan = self.make(fit.folding)
        room = {name: max(s.beats, s.depth) for name, s in plan.streams.items()}
        return simulate(plan, schedules(plan, self.target), 1, room).latency

    def _ban(self, found: Estimate, interval: int) -> bool:
        """Whether adaptors between two layers are too slow.  The one of the two that has more other
        folds may then not have this one at so short an interval."""
        plan = found.plan
        writers = {name: process for process in plan.processes for name in process.writes}
        slow = [
            item
            for item in found.processes
            if item.period > interval and isinstance(item.process, Adaptor)
        ]
        for item in slow:
            process: AnyProcess = item.process
            while isinstance(process, Adaptor) and process.reads[0] in writers:
                process = writers[process.reads[0]]
            ends = [layer for layer in (item.process.layer, process.layer) if layer in self.points]
            if not ends:
                return False
            layer = max(ends, key=lambda layer: len(self._options(self.points[layer], interval)))
            fold = found.folding.fold(layer)
            self.banned[layer, fold.pe, fold.simd] = item.period
        return bool(slow)

    def refusal(self, interval: int) -> TargetError:
        """Why no design has this interval, and what is possible."""
        wanted = f"an interval of {interval:,} cycles"
        if self.goal.fps is not None:
            wanted = f"{self.goal.fps:,.6g} frames/s, {wanted}"
        fit = self.fit(interval)
        if fit is None:
            layer, points = max(
                self.points.items(), key=lambda item: min(point.period for point in item[1])
            )
            point = min(points, key=lambda point: point.period)
            return TargetError(
                "no folding is so fast",
                node=layer,
                found=self._possible(),
                expected=wanted,
                remedy=f"This layer takes {point.period:,} cycles even with pe {point.fold.pe} and "
                f"simd {point.fold.simd}",
            )
        if fit.fits and self.obstacle is not None:
            return TargetError(
                "no folding is so fast",
                node=self.obstacle.layer,
                found=self._possible(),
                expected=wanted,
                remedy=f"Process {self.obstacle.name} takes longer with every one",
            )
        kind = int(fit.load.argmax())
        layer = max(fit.choices, key=lambda layer: float(fit.choices[layer].cost[kind]))
        most, part = fit.choices[layer].cost[kind], self.target.part
        used = (fit.cost + self.rest(interval))[kind]
        return TargetError(
            f"there are too few {NAMES[KINDS[kind]]}",
            node=layer,
            found=self._possible(),
            expected=wanted,
            remedy=f"That takes {used:,.0f}, this layer alone {most:,.0f}; "
            f"{self.goal.use:.0%} of {part.device} are {self.room[kind]:,.0f}",
        )

    def late(self, latency: int, least: int) -> TargetError:
        """Why no design has this latency; ``least`` is the place of the smallest interval."""
        best = self.cheapest(self.intervals[least])
        fit = self.fit(self.intervals[least - 1]) if least else None
        reason = "all foldings of its slowest layer are slower"
        if fit is not None:
            kind = int(fit.load.argmax())
            reason = f"a faster one takes too many {NAMES[KINDS[kind]]}"
        return TargetError(
            "no folding has so short a latency",
            node=best.bottleneck.process.layer if best else None,
            found=f"{best.latency_us:,.6g} us at best" if best else None,
            expected=f"{self.goal.latency:,.6g} us, {latency:,} cycles",
            remedy=f"Of this design {reason}",
        )

    def _possible(self) -> str:
        """The best there is, in words."""
        best = self.fastest()
        if best is None:
            return "does not fit even with one multiplier a layer"
        return f"{1e9 / (best.bottleneck.period * self.target.clock):,.0f} frames/s at most"


def _cheapest(rest: Array, loads: list[Array], prices: Array) -> tuple[list[int], Array]:
    """What is chosen for each layer, and the loads of the design with it."""
    places = [int((load @ prices).argmin()) for load in loads]
    total = rest
    for load, place in zip(loads, places, strict=True):
        total = total + load[place]
    for power in POWERS:
        total = _descend(total, loads, places, power)
        if total.max() <= 1:
            break
    return places, total


def _cost(loads: Array) -> float:
    """What a design costs that fits."""
    return float((loads**2).sum())


def _descend(total: Array, loads: list[Array], places: list[int], power: int) -> Array:
    """Change the choice of one layer after the other while that makes the design cheaper.

    Args:
        total: loads of the design.
        loads: of the choices of each layer, ``(choices, kinds)``.
        places: which is chosen; changed in place.
        power: of the loads in the cost.

    Returns:
        The loads of the design as it is then.
    """
    for _ in range(SWEEPS):
        changed = False
        for layer, load in enumerate(loads):
            tried = total + (load - load[places[layer]])
            best = int((tried**power).sum(axis=1).argmin())
            if (tried[best] ** power).sum() < (total**power).sum() * (1 - 1e-9):
                places[layer], total, changed = best, tried[best], True
        if not changed:
            break
    return total


def totals(found: Estimate) -> Array:
    """What is expected of each kind in the whole design."""
    return np.array([getattr(found.total, kind).expected for kind in KINDS], float)
