"""FIFO depths: enough, by times that prove it; none too deep, by trying the next smaller one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.frontend.ops import Array
from lutra.hls_templates.folding import Fold, Folding, FoldingError
from lutra.hls_templates.hardware import depths as sizing
from lutra.hls_templates.hardware import schedule
from lutra.hls_templates.hardware.cycles import simulate
from lutra.hls_templates.hardware.depths import Sizes, size_fifos, smallest_depths
from lutra.hls_templates.hardware.network import Network
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.schedule import Schedule, schedules
from lutra.hls_templates.planner import plan
from lutra.quantize.fixed_onnx import FixedModel

from .test_cycles import call, fork_and_join
from .timing import naive, random_calls

TARGET = Target(find_part("KV260"), 5.0)


def ends(calls: Sequence[Schedule], depths: Mapping[str, int], frames: int) -> list[int] | None:
    """The cycle after the last beat of each frame, event by event; None if the design stops."""
    times = naive(calls, depths, frames)
    (last,) = Network(calls).outputs
    beats = Network(calls).beats(last)
    return None if times.stuck else [t + 1 for t in times.written[last][beats - 1 :: beats]]


# Worked by hand


@pytest.mark.parametrize(("long", "room"), [(1, 3), (2, 4), (6, 8)])
def test_a_short_branch_holds_what_is_on_the_long_one(long: int, room: int) -> None:
    """See test_a_short_branch_needs_room_for_what_is_on_the_long_one: D + 2."""
    found = smallest_depths(Network(fork_and_join(long)))
    assert found.depths == {"a": 2, "b": room, "c": 2}
    assert found.low == found.depths
    assert found.minimal


def test_a_branch_that_is_read_late_holds_the_frame() -> None:
    every = [1, 2, 3, 4]
    calls = [
        call("fork", 1, 7, x=every, to_a=every, to_b=every),
        call("join", 4, 13, a=every, b=[5, 6, 7, 8], to_y=[8]),
    ]
    assert smallest_depths(Network(calls)).depths == {"a": 2, "b": 4}


def test_room_lies_where_it_is_cheap() -> None:
    """Of the short branch's two FIFOs the one behind its process has beats of 1 bit, not 9."""
    every = list(range(1, 13))
    calls = [
        call("fork", 1, 15, x=every, to_a=every, to_b=every),
        call("long", 9, 22, a=every, to_c=every),
        call("less", 1, 15, b=every, to_d=every),
        call("join", 1, 15, d=every, c=every, to_y=every),
    ]
    cheap = smallest_depths(Network(calls), {"a": 9, "b": 9, "c": 9, "d": 1})
    dear = smallest_depths(Network(calls), {"a": 9, "b": 9, "c": 9, "d": 99})
    assert cheap.depths["b"] == 2
    assert cheap.depths["d"] > 2
    assert dear.depths["d"] == 2
    assert dear.depths["b"] > 2


def test_a_pipeline_does_not_stand_in_for_a_fifo() -> None:
    """What a deep pipeline could take in while its write waits would save a place; but then the
    estimate of its depth would decide whether the design stops."""
    for seed in range(40):
        calls = random_calls(seed, 5)
        found = smallest_depths(Network(calls)).depths
        shallow = [Schedule(c.process, 1, c.period, c.reads, c.writes) for c in calls]
        assert ends(shallow, found, 2) is not None


# Random networks


def times_hold(calls: Sequence[Schedule], found: Sizes) -> None:
    """Every inequality of docs/hardware.md, for all frames whose times are given, and that the last
    two frames and all that they depend on repeat."""
    network = Network(calls)
    for item in calls:
        rows: dict[str, Array] = {}
        frames = 0
        for name, cycles in (*item.reads.items(), *item.writes.items()):
            side = found.read if name in item.reads else found.written
            if name in side:
                late = item.depth - 1 if name in item.writes else 0
                rows[name] = side[name].reshape(-1, cycles.size) - late
                frames = len(rows[name])
        waited = -np.inf
        for f in range(frames):
            events = [
                (cycle, name in item.writes, row[f][k] - cycle - f * item.period)
                for name, row in rows.items()
                for k, cycle in enumerate(({**item.reads, **item.writes}[name]).tolist())
            ]
            groups: dict[tuple[int, bool], set[int]] = {}
            for cycle, late, wait in events:
                groups.setdefault((cycle, late), set()).add(int(wait))
            for key in sorted(groups):
                (wait,) = groups[key]  # all reads of an iteration are at once, and all writes
                assert wait >= waited
                waited = wait
    for name in network.streams:
        written, read = found.written[name], found.read[name]
        beats, depth = network.beats(name), found.depths[name]
        assert np.all(read >= written + 1)
        assert np.all(written[depth:] >= read[:-depth] + 1)
        for row in (written, read):
            assert np.all(row[-beats:] == row[-2 * beats : -beats] + found.interval)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_depths_are_enough_and_none_is_too_deep(seed: int, size: int) -> None:
    calls = random_calls(seed, size)
    found = smallest_depths(Network(calls))
    times_hold(calls, found)
    frames = 2 * len(found.finish) + 20
    free = ends(calls, {}, frames)
    assert free is not None
    assert ends(calls, found.depths, frames) == free
    assert tuple(free[: len(found.finish)]) == found.finish
    assert free[-1] - free[-2] == found.interval
    assert found.minimal
    for name, depth in found.depths.items():
        if depth > 2:
            assert ends(calls, {**found.depths, name: depth - 1}, frames) != free, name


def test_a_search_that_is_too_long_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depths are enough all the same, and they say that they may not be the smallest."""
    differ = 0
    for seed in range(60):
        calls = random_calls(seed, 6)
        best = smallest_depths(Network(calls))
        with monkeypatch.context() as patch:
            patch.setattr(sizing, "WORK", 0)
            found = smallest_depths(Network(calls))
        times_hold(calls, found)
        assert ends(calls, found.depths, 12) == ends(calls, {}, 12)
        assert found.minimal == (found.depths == found.low)
        differ += found.depths != best.depths
    assert differ


def test_held_back_frames_are_no_later_than_with_unlimited_fifos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a steady state is too far away, frames are sized as they come at the interval."""
    monkeypatch.setattr(sizing, "MOST_FRAMES", 0)
    for seed in range(30):
        calls = random_calls(seed, 5)
        found = smallest_depths(Network(calls))
        times_hold(calls, found)
        assert found.interval == max(item.period for item in calls)


# Designs


@pytest.mark.parametrize("fold", [{}, {"conv": Fold(4, 2), "pool": Fold(2), "dense": Fold(5, 6)}])
def test_a_design_gets_its_depths(fixed_cnn: FixedModel, fold: dict[str, Fold]) -> None:
    design = plan(fixed_cnn.fixed, Folding(fold))
    calls = schedules(design, TARGET)
    sized = size_fifos(design, TARGET)
    assert sized == size_fifos(design, TARGET, calls)
    free = simulate(design, calls, 4, {})
    assert simulate(sized, calls, 4).finish == free.finish
    depths = {name: stream.depth for name, stream in sized.streams.items()}
    for name in Network(calls.values()).streams:
        if depths[name] > 2:
            less = depths | {name: depths[name] - 1}
            assert ends(list(calls.values()), less, 4) != list(free.finish), name


def test_too_many_beats_are_refused(fixed_cnn: FixedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "MOST_BEATS", 100)
    with pytest.raises(FoldingError, match=r"beats a frame.*at most 100.*larger pe and simd"):
        size_fifos(plan(fixed_cnn.fixed, Folding()), TARGET)


def test_of_a_large_design_what_may_save_most_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if frames were too long for the whole search."""
    saved = 0
    for seed in range(60):
        network = Network(random_calls(seed, 8))
        with monkeypatch.context() as patch:
            patch.setattr(sizing, "WORK", 0)
            some = smallest_depths(network)
            patch.setattr(sizing, "TRIALS", 0)
            none = smallest_depths(network)
        assert all(some.depths[name] <= depth for name, depth in none.depths.items())
        saved += some.depths != none.depths
    assert saved
