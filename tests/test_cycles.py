"""The cycle model: small designs worked by hand, and random ones against a model that goes event by
event."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.hls_templates.folding import Folding
from lutra.hls_templates.hardware.cycles import occupancy, run, simulate
from lutra.hls_templates.hardware.deadlock import DeadlockError, find_deadlock, in_rings
from lutra.hls_templates.hardware.depths import size_fifos
from lutra.hls_templates.hardware.flow import Flow
from lutra.hls_templates.hardware.network import Network
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.schedule import Schedule, schedules
from lutra.hls_templates.planner import plan
from lutra.quantize.fixed_onnx import FixedModel

from .timing import naive, random_calls

FRAMES = 4


def call(name: str, depth: int, period: int, **streams: list[int]) -> Schedule:
    """A schedule; streams that are written have a name that begins with ``to_``."""
    return Schedule(
        name,
        depth,
        period,
        {s: np.array(c) for s, c in streams.items() if not s.startswith("to_")},
        {s.removeprefix("to_"): np.array(c) for s, c in streams.items() if s.startswith("to_")},
    )


def one_by_one(name: str, depth: int, beats: int, **streams: str) -> Schedule:
    """A process that reads a beat and writes one in each cycle."""
    every = list(range(1, beats + 1))
    period = beats - 1 + max(depth - 1, 1) + 3
    return call(name, depth, period, **{streams["reads"]: every, f"to_{streams['writes']}": every})


# Worked by hand


def test_a_single_process_takes_its_period() -> None:
    """Depth 3, 4 beats: written in cycles 3 to 6; a call takes 4 - 1 + 2 + 3 = 8 cycles."""
    found = run(Network([one_by_one("p", 3, 4, reads="x", writes="y")]), {}, 3)
    assert found.latency == 7
    assert found.finish == (7, 15, 23)
    assert found.interval == 8
    assert found.steady
    assert found.stalls["p"].cycles == 0


def test_a_chain_adds_its_depths() -> None:
    """p writes in 3, 4, 5; q reads a cycle later and writes 5 - 1 cycles after that: 8, 9, 10."""
    calls = [
        one_by_one("p", 3, 3, reads="x", writes="a"),
        one_by_one("q", 5, 3, reads="a", writes="y"),
    ]
    found = run(Network(calls), {"a": 2})
    assert found.latency == 11
    assert found.interval == 9, "that of q: 3 - 1 + 4 + 3"
    assert found.steady
    assert found.occupancy == {"a": 2}, "a place is taken in the cycles of its write and its read"
    assert found.stalls["p"].stream == "a"
    assert found.stalls["p"].room


def test_a_slow_reader_stops_its_writer() -> None:
    """r reads every 4 cycles: 1, 5, 9 if the beats are there.  With two places p writes beats 0, 1
    in cycles 1, 2; r reads beat 0 in cycle 2 and beat 1 in cycle 6, so beats 2, 3 enter in 3, 7."""
    calls = [
        one_by_one("p", 1, 4, reads="x", writes="a"),
        call("r", 1, 19, a=[1, 5, 9, 13], to_y=[13]),
    ]
    network = Network(calls)
    flow = Flow(network, {"a": 2})
    flow.step()
    assert flow.read_times("a", 0).tolist() == [2, 6, 10, 14]
    assert flow.write_times("a", 0).tolist() == [1, 2, 3, 7]
    found = run(network, {"a": 2})
    assert found.interval == 19
    assert found.stalls["p"].cycles == 19 - 7
    assert found.stalls["r"].cycles == 0


def fork_and_join(long: int) -> list[Schedule]:
    """A process of depth ``long`` on one of two branches; 12 beats."""
    every = list(range(1, 13))
    return [
        call("fork", 1, 15, x=every, to_a=every, to_b=every),
        one_by_one("long", long, 12, reads="a", writes="c"),
        call("join", 1, 15, b=every, c=every, to_y=every),
    ]


def test_a_short_branch_needs_room_for_what_is_on_the_long_one() -> None:
    """Beat 0 leaves the fork in cycle 1, the long branch in cycle 2 + 5, and both reach the join in
    cycle 8; so the fork needs other places for the beats of the cycles 1 to 8."""
    network = Network(fork_and_join(6))
    assert run(network, {"a": 2, "b": 12, "c": 2}).latency == 8 + 11 + 1
    found = run(network, {"a": 2, "b": 8, "c": 2})
    assert found.latency == 20
    assert found.occupancy == {"a": 2, "b": 8, "c": 2}
    assert run(network, {"a": 2, "b": 7, "c": 2}).latency == 21


def test_a_ring_of_waits_is_named() -> None:
    """The second branch is read after the whole first one."""
    every = [1, 2, 3, 4]
    calls = [
        call("fork", 1, 7, x=every, to_a=every, to_b=every),
        call("join", 4, 13, a=every, b=[5, 6, 7, 8], to_y=[8]),
    ]
    network = Network(calls)
    assert in_rings(network.ends()) == {"a", "b"}
    with pytest.raises(DeadlockError) as caught:
        run(network, {"a": 3, "b": 3})
    assert "fork waits for room in b, from join" in str(caught.value)
    assert "join waits for a beat of a, from fork" in str(caught.value)
    assert "deeper: b" in str(caught.value)
    assert run(network, {"a": 2, "b": 4}).latency == 1 + 8 + 3 + 1


def test_occupancy_is_that_of_places() -> None:
    written = np.array([1, 2, 3, 9])
    assert occupancy(written, np.array([2, 5, 6, 10])) == 2
    assert occupancy(written, np.array([3, 5, 6, 10])) == 3, "in cycle 3 the first is still there"
    assert occupancy(written, np.array([5, 8, 10, 10])) == 3
    assert occupancy(np.array([1, 5]), np.array([2, 6])) == 1


def test_a_network_is_simulated(fixed_cnn: FixedModel) -> None:
    target = Target(find_part("KV260"), 5.0)
    design = size_fifos(plan(fixed_cnn.fixed, Folding()), target)
    calls = schedules(design, target)
    found = simulate(design, calls)
    assert found.steady
    assert found.interval == max(item.period for item in calls.values())
    reference = naive(list(calls.values()), {n: s.depth for n, s in design.streams.items()}, 3)
    written = reference.written[design.outputs[0]]
    assert found.finish[:3] == tuple(t + 1 for t in written[4::5])


# Random networks


def depths_of(network: Network, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    return {name: int(rng.integers(1, 7)) for name in network.streams}


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_times_are_those_of_the_events(seed: int, size: int, limited: bool) -> None:
    calls = random_calls(seed, size)
    network = Network(calls)
    depths = depths_of(network, seed) if limited else {}
    expected = naive(calls, depths, FRAMES)
    assert bool(find_deadlock(network, depths)) == expected.stuck
    if expected.stuck:
        return
    flow = Flow(network, depths)
    for _ in range(FRAMES):
        flow.step()
    frames = range(FRAMES)
    for name, times in expected.read.items():
        assert np.concatenate([flow.read_times(name, f) for f in frames]).tolist() == times
    for name, times in expected.written.items():
        assert np.concatenate([flow.write_times(name, f) for f in frames]).tolist() == times


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_a_steady_state_stays(seed: int, size: int) -> None:
    """What is said of all frames to come holds for those that the events reach."""
    calls = random_calls(seed, size)
    network = Network(calls)
    depths = depths_of(network, seed)
    if find_deadlock(network, depths):
        return
    found = run(network, depths)
    frames = found.frames + 3
    (last,) = network.outputs
    written = naive(calls, depths, frames).written[last]
    ends = [t + 1 for t in written[network.beats(last) - 1 :: network.beats(last)]]
    assert found.finish == tuple(ends[: found.frames])
    assert run(network, depths, frames).finish == tuple(ends) or not found.steady
    if found.steady:
        assert {b - a for a, b in zip(ends[-4:], ends[-3:], strict=False)} == {found.interval}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.data())
def test_a_deeper_fifo_delays_nothing(seed: int, size: int, data: st.DataObject) -> None:
    network = Network(random_calls(seed, size))
    depths = depths_of(network, seed)
    if not depths or find_deadlock(network, depths):
        return
    deeper = data.draw(st.sampled_from(sorted(depths)))
    before = run(network, depths, FRAMES)
    after = run(network, depths | {deeper: depths[deeper] + 1}, FRAMES)
    assert all(a <= b for a, b in zip(after.finish, before.finish, strict=True))
    assert all(before.occupancy[name] <= depth for name, depth in depths.items())


def test_streams_on_rings_are_those_whose_loss_parts_nothing() -> None:
    for seed in range(60):
        network = Network(random_calls(seed, 6))
        pairs = network.ends()
        expected = {name for name in pairs if _joined(pairs, name)}
        assert in_rings(network.ends()) == expected


def _joined(pairs: dict[str, tuple[str, str]], without: str) -> bool:
    """Whether the ends of a stream are joined by others."""
    start, goal = pairs[without]
    found = {start}
    for _ in pairs:
        for name, ends in pairs.items():
            if name != without and found & set(ends):
                found |= set(ends)
    return goal in found
