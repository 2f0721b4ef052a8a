"""Designs for the timed run: their projects, and what the cycle model says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lutra.frontend.adversarial import GanRecipe
from lutra.frontend.graph import Graph
from lutra.frontend.ops import Array
from lutra.frontend.recipe import GivenRecipe, Recipe, load_recipe
from lutra.frontend.storage import write_folder
from lutra.hls_templates.clusters import find_parts
from lutra.hls_templates.folding import Fold, Folding, FoldingError
from lutra.hls_templates.hardware.cycles import Run, simulate
from lutra.hls_templates.hardware.depths import size_fifos
from lutra.hls_templates.hardware.schedule import schedules
from lutra.hls_templates.legal import legal_folds
from lutra.hls_templates.plan import Plan, find_sources
from lutra.hls_templates.planner import plan
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator
from lutra.sim.timed import TimedBinary, TimedRun

FRAMES = 4

LIGHT = Path(__file__).parent / "light_ap"
"""Headers in the place of AMD's that serve where only times matter."""


@dataclass(frozen=True)
class Design:
    """A network with its choices, and raw integers for it, channels last."""

    graph: FixedGraph
    options: Options
    raw: Array

    @cached_property
    def plan(self) -> Plan:
        chosen = self.options
        design = plan(self.graph, chosen.folding, chosen.bus, parallel=chosen.parallel)
        return size_fifos(design, chosen.target)

    @property
    def golden(self) -> Array:
        """The simulator's results, a row for each frame."""
        (outlet,) = self.graph.outputs
        values = Simulator(self.graph).trace_raw(self.raw)[outlet.name]
        return values.reshape(len(self.raw), -1).astype(np.int64)

    def write(self, project: Path) -> None:
        files = project_files(self.graph, self.options, self.raw, self.golden)
        write_folder(project, files, force=False)

    def pipelines(self) -> dict[str, int]:
        found = schedules(self.plan, self.options.target)
        return {name: call.depth for name, call in found.items()}

    def model(self) -> Run:
        """What the cycle model says."""
        design = self.plan
        return simulate(design, schedules(design, self.options.target), len(self.raw))

    def run(self, binary: TimedBinary, index: int) -> TimedRun:
        return binary.run(self.raw, self.pipelines(), index=index)


def differences(design: Design, found: TimedRun) -> list[str]:
    """In what a timed run differs from the model, from the simulator, and from what may be."""
    wrong = wrong_times(design, found)
    if found.output is not None and not np.array_equal(found.output, design.golden):
        wrong.append("the outputs differ")
    return wrong


def wrong_times(design: Design, found: TimedRun) -> list[str]:
    """In what a timed run differs from the model, its outputs aside."""
    expected = design.model()
    depths = {name: stream.depth for name, stream in design.plan.streams.items()}
    if found.deadlock:
        return [f"stops: {', '.join(map(str, found.waits))}"]
    wrong = []
    if found.finish != expected.finish:
        wrong.append(f"frames end at {found.finish}, not at {expected.finish}")
    if (found.latency, found.interval) != (expected.latency, expected.interval):
        wrong.append(f"latency {found.latency}, interval {found.interval}")
    for name, held in found.occupancy.items():
        if held != expected.occupancy[name] or not held <= found.depths[name] == depths[name]:
            wrong.append(f"{name} held {held} of {depths[name]}, not {expected.occupancy[name]}")
    return wrong


def untrained(name: str) -> Graph:
    """The network of a recipe as it is before training."""
    recipe = load_recipe(name)
    match recipe:
        case Recipe():
            return recipe.build(0).then(*recipe.head).graph(name)
        case GanRecipe():
            return recipe.generator(0).graph(name)
        case GivenRecipe():
            return recipe.build().graph(name)
        case _:
            raise AssertionError(f"{name} is a recipe of a kind that no test knows")


def fixed(graph: Graph, bits: int = 6) -> FixedGraph:
    """In fixed point, with formats for values at random."""
    x = np.random.default_rng(0).normal(size=(8, *graph.inputs[0].shape)).astype(np.float32)
    return lower(graph, calibrate(graph, Settings.uniform(bits), x))


def frames(graph: FixedGraph, count: int = FRAMES) -> Array:
    """Raw integers at random."""
    (port,) = graph.inputs
    format_ = graph.formats[port.name]
    rng = np.random.default_rng(1)
    return rng.integers(format_.low, format_.high, (count, *port.shape), endpoint=True)


def draw_folds(graph: FixedGraph, seed: int, most: int = 64) -> Folding:
    """A legal fold for each layer, with at most ``most`` multipliers."""
    rng = np.random.default_rng(seed)
    folds: dict[str, Fold] = {}
    for part in find_parts(graph, find_sources(graph)):
        pairs = legal_folds(graph, part.node).pairs()
        small = [pair for pair in pairs if math.prod(pair) <= most]
        folds.setdefault(graph.layers[part.node.name], Fold(*small[rng.integers(len(small))]))
    while True:
        try:
            plan(graph, Folding(folds))
        except FoldingError as error:  # another process of that layer has other sizes
            del folds[str(error.node)]
        else:
            return Folding(folds)
