"""When processes touch their streams: every kind against its kernel's loops, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lutra.hls_templates.folding import Folding
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.schedule import Loop, Schedule, lay, schedules
from lutra.hls_templates.plan import Plan
from lutra.hls_templates.planner import plan
from lutra.hls_templates.processes import DuplicateProcess

from .test_processes import NETWORKS

TARGET = Target(find_part("KV260"), 5.0)


def fits(design: Plan, found: dict[str, Schedule]) -> None:
    """Every beat of a frame has its cycle, in order, within the call."""
    for process in design.processes:
        call = found[process.name]
        assert tuple(call.reads) == process.reads
        assert tuple(call.writes) == process.writes
        last = 0
        for name, cycles in (*call.reads.items(), *call.writes.items()):
            assert cycles.dtype == np.int64
            assert cycles.size == design.streams[name].beats, (process.name, name)
            assert cycles[0] >= 1
            assert np.all(np.diff(cycles) > 0)
            last = max(last, int(cycles[-1]))
        assert call.period >= last + max(call.depth - 1, 1) + 2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_beat_of_a_frame_has_its_cycle(name: str) -> None:
    graph, folds = NETWORKS[name]()
    design = plan(graph, Folding(folds))
    fits(design, schedules(design, TARGET))


def test_loops_lie_one_after_the_other() -> None:
    """Depth 4: from the last iteration of a loop to the first of the next it takes 3 + 2 cycles,
    and 3 + 2 more end the call; with depth 1 it is 1 + 2."""
    process = DuplicateProcess("p", "p", ("a",), ("b", "c"), 3)
    every = np.arange(3)
    parts = [Loop(3, {"a": every}), Loop(0), Loop(2, {}, {"b": every[:2], "c": every[1:2]})]
    found = lay(process, 4, parts)
    assert found.reads["a"].tolist() == [1, 2, 3]
    assert found.writes["b"].tolist() == [8, 9]
    assert found.writes["c"].tolist() == [9]
    assert found.period == 9 + 3 + 2
    assert lay(process, 1, parts).writes["b"].tolist() == [6, 7]
    single = Loop(3, {"a": every}, {"b": every, "c": every})
    assert lay(process, 1, [single]).period == 3 - 1 + 1 + 3
    assert lay(process, 6, [single]).period == 3 - 1 + 5 + 3
