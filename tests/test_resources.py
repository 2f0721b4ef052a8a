"""What processes, streams and operators are estimated to take."""

from __future__ import annotations

from dataclasses import fields

import pytest

from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.hardware.figures import Resources
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.resources import process_resources, stream_resources
from lutra.hls_templates.planner import plan
from lutra.quantize.fixed import FixedGraph

from .test_processes import NETWORKS

TARGET = Target(find_part("kv260"), 5.0)


def whole(graph: FixedGraph, folds: dict[str, Fold], target: Target = TARGET) -> Resources:
    design = plan(graph, Folding(folds))
    total = Resources()
    for process in design.processes:
        total += process_resources(design, process, target)
    for stream in design.streams.values():
        total += stream_resources(stream, target)
    return total


@pytest.mark.parametrize("name", NETWORKS)
def test_every_process_has_an_estimate(name: str) -> None:
    total = whole(*NETWORKS[name]())
    assert 0 < total.lut.low < total.lut.expected < total.lut.high < 60_000
    assert 0 < total.ff.low < total.ff.expected < total.ff.high < 60_000
    assert total.dsp.high < 200
    assert total.bram18.high < 100
    assert all(getattr(total, f.name).low >= 0 for f in fields(total))
