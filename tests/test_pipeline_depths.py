"""Depths of the kernels' pipelines: every process has one, and a slower clock never adds to it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from lutra.frontend.ops import Dense
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.pipeline import pipeline_depth
from lutra.hls_templates.plan import Plan
from lutra.hls_templates.planner import plan
from lutra.quantize.formats import Format

from .fixed_graphs import Maker
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


@pytest.mark.parametrize(
    ("pe", "simd", "inputs", "outputs"), [(8, 9, 72, 8), (13, 9, 936, 208), (1, 8, 208, 56)]
)
def test_published_loops_are_about_as_deep(pe: int, simd: int, inputs: int, outputs: int) -> None:
    # Three matrix-vector units of a public design made by FINN: weights of 8 bits, inputs of 3,
    # seven thresholds an output.  Vitis HLS 2022.2 gives their loops 8 cycles on a Z-7020 at 10 ns.
    make = Maker((inputs,), Format(False, 3, 3))
    weights = make.constant(np.arange(inputs * outputs).reshape(inputs, outputs) % 255 - 127, 0)
    graph = make.graph(make.cast(make.add(Dense(), "x", weights), Format(False, 3, 3)))
    layer = graph.layers[graph.nodes[0].name]
    design = plan(graph, Folding({layer: Fold(pe, simd, "dsp")}))
    (process,) = design.processes
    depth = pipeline_depth(design, process, Target(find_part("pynq-z2"), 10.0))
    assert 7 <= depth <= 9
