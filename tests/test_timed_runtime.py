"""The runtime of the timed build, on designs whose times are worked out from the rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.ops import Array
from lutra.sim.timed import TimedBinary, TimedRun, timed
from lutra.sim.toolchain import find_headers

from .toys import Design, Toy, finishes, occupancies, random_design, times, write_design

FRAMES = 3
RANDOM = 120


def copy(name: str, depth: int, source: str, result: str, beats: int = 4) -> Toy:
    """A process that passes beats on."""
    return Toy(name, depth, [[([source], [result])] * beats])


def join_late(depth: int) -> Design:
    """A fork, and a join that takes all of one branch before the other."""
    fork = Toy("fork", 2, [[(["x"], ["a", "b"])] * 4])
    first, then = [(["a"], ["y"])] * 4, [(["b"], ["y"])] * 4
    return Design([fork, Toy("join", 2, [first + then])], {"a": 2, "b": depth})


DESIGNS = {
    "one": Design([copy("only", 1, "x", "y")], {}),
    "deep": Design([copy("only", 5, "x", "y")], {}),
    "chain": Design([copy("p", 3, "x", "s"), copy("q", 1, "s", "y")], {"s": 2}),
    "slow_reader": Design(
        [copy("p", 3, "x", "s", 6), Toy("q", 2, [[(["s"], []), ([], ["y"])] * 6])], {"s": 2}
    ),
    "two_loops": Design([Toy("p", 4, [[(["x"], [])] * 2, [([], ["y"])] * 3])], {}),
    "join": join_late(4),
    "join_too_shallow": join_late(1),
    # The pipeline of `wide` could hold what its FIFO cannot, were it as deep as is estimated.
    "pipeline_holds": Design(
        [
            Toy("fork", 1, [[(["x"], ["a", "b"])] * 6]),
            copy("wide", 9, "b", "c", 6),
            Toy("join", 1, [[(["a"], ["y"])] * 6 + [(["c"], ["y"])] * 6]),
        ],
        {"a": 2, "b": 2, "c": 2},
    ),
} | {f"random_{seed}": random_design(seed) for seed in range(RANDOM)}


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedBinary]:
    folder: Path = tmp_path_factory.mktemp("toys")
    for name, design in DESIGNS.items():
        write_design(design, folder / name)
    with timed([folder / name for name in DESIGNS], find_headers(), ["-O0"]) as compiled:
        yield compiled


def run(binary: TimedBinary, name: str, frames: int = FRAMES) -> TimedRun:
    design = DESIGNS[name]
    raw: Array = np.zeros((frames, design.beats("x")))
    return binary.run(raw, design.pipelines, index=list(DESIGNS).index(name))


def test_one_process(binary: TimedBinary) -> None:
    """Reads in the cycles 1 to 4, writes there too; the call ends in 6, the next starts in 7."""
    found = run(binary, "one")
    assert found.finish == (5, 12, 19)
    assert (found.latency, found.interval) == (5, 7)


def test_the_depth_of_a_pipeline(binary: TimedBinary) -> None:
    """The last iteration starts in 4 and writes in 8; the call ends in 9, the next begins in 10."""
    assert run(binary, "deep").finish == (9, 19, 29)


def test_two_processes(binary: TimedBinary) -> None:
    """Beats are written in the cycles 3 to 6 and read one later."""
    found = run(binary, "chain", 1)
    assert (found.finish, found.occupancy) == ((8,), {"s": 2})


def test_two_loops(binary: TimedBinary) -> None:
    """Iterations start in the cycles 1 and 2, then in 7 to 9; the last writes in 12."""
    assert run(binary, "two_loops", 1).finish == (13,)


def test_a_reader_that_is_slow(binary: TimedBinary) -> None:
    """q reads every other cycle from 4 on, the last of six in 14, and writes two cycles later."""
    found = run(binary, "slow_reader", 1)
    assert found.finish == (17,)
    assert found.occupancy == {"s": 2}
    assert [(wait.process, wait.full) for wait in found.waits] == [("p", True), ("q", False)]


def test_a_deadlock_names_who_waits_for_what(binary: TimedBinary) -> None:
    found = run(binary, "join_too_shallow")
    assert found.deadlock
    assert found.shallow == ("b",)
    assert {str(wait) for wait in found.waits} == {
        "fork waits for a place in b, which is full",
        "join waits for a beat of a, which is empty",
    }
    assert not run(binary, "join").deadlock


def test_no_pipeline_is_counted_on(binary: TimedBinary) -> None:
    """Whether a design stops does not depend on depths that are estimates."""
    found = run(binary, "pipeline_holds")
    assert found.deadlock
    assert set(found.shallow) == {"b", "c"}


@pytest.mark.parametrize("name", DESIGNS)
def test_times_are_those_of_the_rules(name: str, binary: TimedBinary) -> None:
    design = DESIGNS[name]
    expected = times(design, FRAMES)
    found = run(binary, name)
    assert found.deadlock == (expected is None)
    if expected is None:
        assert found.shallow
        return
    assert list(found.finish) == finishes(design, expected)
    assert found.occupancy == occupancies(design, expected)
    for stream, depth in design.depths.items():
        assert found.occupancy[stream] <= depth


def test_random_designs_are_of_every_kind() -> None:
    stopped = [times(design, FRAMES) is None for design in DESIGNS.values()]
    assert 10 < sum(stopped) < len(stopped) / 2
