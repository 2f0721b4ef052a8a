"""Depths of the kernels' pipelines: every process has one, and a slower clock never adds to it."""

from __future__ import annotations

from functools import cache

import pytest

from lutra.hls_templates.folding import Folding
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.pipeline import pipeline_depth
from lutra.hls_templates.plan import Plan
from lutra.hls_templates.planner import plan

from .test_processes import NETWORKS

CLOCKS = [1.0, 1.5, 2.0, 2.5, 3.0, 3.3, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 20.0, 50.0]


@cache
def planned(name: str) -> Plan:
    graph, folds = NETWORKS[name]()
    return plan(graph, Folding(folds))


@pytest.mark.parametrize("part", ["xc7z020", "xczu7ev", "xcvc1902"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_slower_clock_never_makes_a_pipeline_deeper(name: str, part: str) -> None:
    design = planned(name)
    for process in design.processes:
        depths = [
            pipeline_depth(design, process, Target(find_part(part), clock)) for clock in CLOCKS
        ]
        assert depths == sorted(depths, reverse=True), process.name
        assert 1 <= depths[-1] <= depths[0] < 300, process.name
