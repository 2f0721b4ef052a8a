"""What can be chosen for a layer, and that it costs what the search believes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from lutra.hls_templates.folding import Folding
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.schedule import schedules
from lutra.hls_templates.hardware.space import layer_points, own_processes, period
from lutra.hls_templates.planner import plan
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.lower import lower

from .networks import random_network

KV260 = Target(find_part("KV260"), 5.0)


@pytest.mark.parametrize("seed", range(40))
def test_periods_are_those_of_the_schedules(seed: int) -> None:
    network = random_network(seed)
    graph = network.graph
    fixed = lower(graph, calibrate(graph, network.settings, network.x))
    design = plan(fixed, network.folding)
    for process, timing in zip(design.processes, schedules(design, KV260).values(), strict=True):
        assert period(design, process, KV260) == timing.period


def test_a_layer_costs_the_same_whatever_the_others_have(fixed_cnn: FixedModel) -> None:
    make = partial(plan, fixed_cnn.fixed)
    points = layer_points(make, KV260)
    assert {layer: len(found) for layer, found in points.items()} == {
        "conv": 12,
        "pool": 3,
        "dense": 18,
        "softmax": 2,
    }
    for layer, found in points.items():
        for point in found:
            alone = make(Folding({layer: point.fold}))
            processes = own_processes(alone)[layer]
            assert point.period == max(period(alone, process, KV260) for process in processes)
            again = replace(point, plan=alone, processes=processes)
            for mine, other in zip(point.choices, again.choices, strict=True):
                assert mine.fold == other.fold
                assert mine.cost.tolist() == other.cost.tolist()


def test_choices_differ_in_what_they_take(fixed_cnn: FixedModel) -> None:
    points = layer_points(partial(plan, fixed_cnn.fixed), KV260)
    for found in points.values():
        for point in found:
            costs = [tuple(choice.cost.tolist()) for choice in point.choices]
            assert len(set(costs)) == len(costs)
            assert point.choices[0].fold == point.fold
