"""Folding to a target: what is found meets it, fits, and is the cheapest; the rest is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lutra.frontend.ops import Conv, Window
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.hardware.estimate import Estimate
from lutra.hls_templates.hardware.explore import Search, explore, totals
from lutra.hls_templates.hardware.figures import KINDS
from lutra.hls_templates.hardware.goal import Goal, TargetError, read_share
from lutra.hls_templates.hardware.parts import Part, Target, find_part
from lutra.hls_templates.hardware.space import (
    Adaptor,
    Planner,
    layer_points,
    own_processes,
    period,
)
from lutra.hls_templates.planner import plan
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format

from .fixed_graphs import Maker
from .resnets import fixed_resnet

KV260 = Target(find_part("KV260"), 5.0)
EIGHT = Format(True, 8, 3)


def planner(graph: FixedGraph) -> Planner:
    return lambda folding: plan(graph, folding)


def two_layers(channels: int = 6) -> FixedGraph:
    """Two convolutions of size 1 on 4 by 4 pixels, with 8 bits between them."""
    make = Maker((4, 4, channels), EIGHT)
    rng = np.random.default_rng(1)
    value = "x"
    for _ in range(2):
        weight = make.constant(rng.integers(-128, 127, (1, 1, channels, channels)))
        value = make.cast(make.add(Conv(Window.of((1, 1))), value, weight), EIGHT)
    return make.graph(value)


def with_room(**room: int) -> Target:
    """A part with plenty of everything but what is said."""
    sizes = {"lut": 10**6, "ff": 10**6, "dsp": 10**4, "bram18": 10**4, "uram": 0} | room
    return Target(Part("xck26-sfvc784-2LV-c", "xck26", "Kria", **sizes, dsp_type="DSP48E2"), 5.0)


# What is found


def fits(found: Estimate, goal: Goal) -> bool:
    there = [goal.use * getattr(found.target.part, kind) for kind in KINDS]
    return bool((totals(found) <= there).all())


def whole(make: Planner, target: Target, goal: Goal) -> Estimate:
    """What is found, with what must hold of it in any case."""
    found = explore(make, target, goal)
    assert fits(found, goal)
    assert goal.fps is None or found.frames_a_second >= goal.fps
    assert goal.latency is None or found.latency_us <= goal.latency
    return found


def test_the_cheapest_design_has_an_interval() -> None:
    """All pairs of folds are tried: none that is fast enough takes a smaller share of the part."""
    make = planner(two_layers())
    search = Search(make, KV260, Goal())
    for interval in search.intervals:
        fit = search.fit(interval)
        assert fit is not None
        pairs = (
            pair
            for points in itertools.product(*search.points.values())
            if all(point.period <= interval for point in points)
            for pair in itertools.product(*(point.choices for point in points))
        )
        room = np.maximum(search.room, 1e-3)
        rivals = [float((((a.cost + b.cost) / room) ** 2).sum()) for a, b in pairs]
        assert min(rivals) == pytest.approx(float((fit.load**2).sum()), rel=1e-9)


def test_frames_a_second_are_met_by_balanced_layers() -> None:
    make = planner(fixed_resnet(1, (8, 16), 8).fixed)
    folded = explore(make, KV260, Goal(fps=100))
    fast = whole(make, KV260, Goal(fps=20 * folded.frames_a_second))
    assert fast.total.lut.expected > folded.total.lut.expected
    for layer in fast.layers():
        points = layer_points(make, KV260)[layer.layer]
        slower = [p for p in points if p.fold.pe * p.fold.simd < layer.fold.pe * layer.fold.simd]
        limit = 1e9 / (KV260.clock * 20 * folded.frames_a_second)
        assert all(p.period > limit or p.fold.pe < layer.fold.pe for p in slower)


def test_the_fastest_design_fits_and_nothing_faster_does() -> None:
    make = planner(two_layers(8))
    for lut in (4000, 8000, 20000):
        target = with_room(lut=lut, dsp=4)
        goal = Goal(use=0.9)
        found = whole(make, target, goal)
        search = Search(make, target, goal)
        faster = [interval for interval in search.intervals if interval < found.interval]
        assert not any(search.cheapest(interval) for interval in faster)


def test_layers_go_over_to_what_is_left_of_the_part() -> None:
    """With plenty of DSP slices each takes one product, with half as many two; then LUTs do."""
    make = planner(two_layers(8))
    rich = whole(make, with_room(lut=20000, dsp=10**6), Goal(fps=4e6))
    poor = whole(make, with_room(lut=5000, dsp=rich.total.dsp.expected - 1), Goal(fps=4e6, use=1))
    none = whole(make, with_room(dsp=0), Goal(fps=4e6))
    assert none.total.dsp.expected == 0 < poor.total.dsp.expected < rich.total.dsp.expected


def test_a_latency_is_met() -> None:
    make = planner(fixed_resnet(1, (8, 16), 8).fixed)
    slow = explore(make, KV260, Goal(fps=1))
    quick = whole(make, KV260, Goal(latency=slow.latency_us / 10))
    assert quick.total.lut.expected > slow.total.lut.expected
    both = whole(make, KV260, Goal(latency=slow.latency_us, fps=10 * slow.frames_a_second))
    assert both.frames_a_second >= 10 * slow.frames_a_second


def test_adaptors_do_not_hold_a_design_up() -> None:
    """Beats of 3 and of 2 lanes meet one value at a time: such neighbours are no choice."""
    make = planner(two_layers(6))
    search = Search(make, KV260, Goal())
    bad = make(Folding({"v0": Fold(3, 6), "v2": Fold(6, 2)}))
    slow = [period(bad, p, KV260) for p in bad.processes if isinstance(p, Adaptor)]
    own = [period(bad, p, KV260) for found in own_processes(bad).values() for p in found]
    assert max(slow) > max(own)
    for interval in search.intervals:
        found = search.cheapest(interval)
        assert found is not None
        assert search.checked(found).interval <= interval
        assert all(item.period <= interval for item in found.processes)


# What is not


def test_a_target_beyond_all_foldings_names_the_layer() -> None:
    make = planner(two_layers())
    with pytest.raises(TargetError) as caught:
        explore(make, KV260, Goal(fps=1e9))
    best = explore(make, KV260, Goal(use=1.0))
    assert "no folding is so fast" in str(caught.value)
    assert f"{best.frames_a_second:,.0f} frames/s at most" in str(caught.value)
    assert "even with pe 6 and simd 6" in str(caught.value)
    assert caught.value.node in two_layers().layers.values()


def test_a_target_beyond_the_part_names_what_it_lacks() -> None:
    make = planner(two_layers(8))
    with pytest.raises(TargetError) as caught:
        explore(make, with_room(lut=1200), Goal(fps=4e6))
    text = str(caught.value)
    assert "too few LUTs" in text
    assert "90% of xck26 are 1,080" in text
    assert caught.value.node in two_layers().layers.values()


def test_a_network_that_never_fits() -> None:
    with pytest.raises(TargetError, match="does not fit even with one multiplier a layer"):
        explore(planner(two_layers()), with_room(lut=100), Goal())


def test_a_latency_beyond_all_foldings() -> None:
    with pytest.raises(TargetError, match=r"so short a latency .* us at best"):
        explore(planner(two_layers()), KV260, Goal(latency=0.01))


@pytest.mark.parametrize(
    "wish", [{"fps": 0}, {"fps": -1}, {"fps": float("nan")}, {"latency": 0}, {"use": 0}, {"use": 2}]
)
def test_a_goal_that_is_none(wish: dict[str, float]) -> None:
    with pytest.raises(TargetError):
        Goal(**wish)


def test_shares_are_percentages() -> None:
    assert [read_share(text) for text in ("70%", "70", " 70 %", "12.5%", "100")] == [
        0.7,
        0.7,
        0.7,
        0.125,
        1.0,
    ]


@pytest.mark.parametrize("text", ["", "%", "0.7", "0", "101%", "-5", "1e2", "seventy", "\u0667%"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(TargetError, match="such as 70%"):
        read_share(text)
