"""``lutra verify --timed``: the generated C++ with a clock, beside what the manifest estimates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from .console import say
from .frontend.errors import ModelError
from .frontend.ops import Array
from .quantize.fixed_onnx import FixedModel
from .show import MOST_LINES, new_table, shown_name
from .sim.simulator import Simulator
from .sim.timed import TimedRun, timed
from .sim.toolchain import find_compiler, find_headers
from .sim.verify import project_model, test_vectors

FRAMES = range(3, 9)
"""Frames that are timed; the test vectors again and again, if there are fewer."""

MOST_CYCLES = 20_000_000
"""Cycles after which no more of them are."""

TOLERANCE = 0.01
"""Most that latency and interval may differ from the estimate's, as a share."""


@dataclass(frozen=True)
class Estimated:
    """What a project's manifest estimates.

    Attributes:
        latency, interval: in cycles.
        pipelines: for each process the depth of its pipeline.
        held: for each FIFO the most beats that it holds.
    """

    latency: int
    interval: int
    pipelines: Mapping[str, int]
    held: Mapping[str, int]


@dataclass(frozen=True)
class Timing:
    """A timed run beside the estimate.

    Attributes:
        run: what happened.
        estimated: what was to be expected.
        exact: whether the outputs are the simulator's.
    """

    run: TimedRun
    estimated: Estimated
    exact: bool

    @property
    def deviations(self) -> list[str]:
        """What the run and the estimate do not agree in."""
        if self.run.deadlock:
            return ["the design stops for ever"]
        found = [
            f"{what}: {ours} cycles estimated, {theirs} in the run"
            for what, ours, theirs in (
                ("latency", self.estimated.latency, self.run.latency),
                ("interval", self.estimated.interval, self.run.interval),
            )
            if abs(ours - theirs) > TOLERANCE * theirs
        ]
        return found if self.exact else [*found, "the outputs differ from the simulator's"]

    @property
    def passed(self) -> bool:
        return not self.deviations

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        run = self.run
        stops: dict[str, Any] = {"deadlock": run.deadlock, "passed": self.passed}
        if run.deadlock:
            return stops | {"waits": list(map(str, run.waits)), "shallow": list(run.shallow)}
        return stops | {
            "frames": len(run.finish),
            "latency": run.latency,
            "interval": run.interval,
            "estimated": {"latency": self.estimated.latency, "interval": self.estimated.interval},
            "exact": self.exact,
            "fifos": [
                {
                    "name": name,
                    "depth": run.depths[name],
                    "held": held,
                    "estimated": self.estimated.held.get(name),
                }
                for name, held in run.occupancy.items()
            ],
            "waits": [
                {
                    "process": wait.process,
                    "stream": wait.stream,
                    "full": wait.full,
                    "cycles": wait.cycles,
                }
                for wait in run.waits
            ],
        }


def time_project(project: Path, ap_include: str | None) -> Timing:
    """Compile a project with a clock for each process, and run some frames.

    Raises:
        ModelError: the project is damaged, or was edited so that it cannot be timed.
        ToolchainError: compiler or headers are missing, or the C++ fails.
    """
    model = project_model(project)
    estimated = read_estimate(project / "manifest.json")
    find_compiler()
    vectors = test_vectors(project, model)
    affordable = MOST_CYCLES // max(estimated.interval, 1)
    count = min(max(affordable, FRAMES[0]), FRAMES[-1])
    raw = np.resize(vectors, (count, *vectors.shape[1:]))
    with timed([project], find_headers(ap_include)) as binary:
        run = binary.run(raw, estimated.pipelines)
    return Timing(run, estimated, _same(model, raw, run))


def _same(model: FixedModel, raw: Array, run: TimedRun) -> bool:
    """Whether the outputs are the simulator's."""
    values = Simulator(model.fixed).trace_raw(raw)[model.fixed.outputs[0].name]
    return run.output is not None and np.array_equal(run.output, values.reshape(len(raw), -1))


def read_estimate(file: Path) -> Estimated:
    """What a manifest estimates.

    Raises:
        ModelError: it is damaged, or estimates nothing.
    """
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        found = manifest["estimate"]
        return Estimated(
            int(found["latency"]),
            int(found["interval"]),
            {str(item["name"]): max(int(item["depth"]), 1) for item in found["processes"]},
            {str(item["name"]): int(item["held"]) for item in found["fifos"]},
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            "has no estimate to hold a timed run against",
            file=str(file),
            found=getattr(error, "strerror", None) or repr(error),
            remedy="Generate the project again",
        ) from None


def print_timing(timing: Timing, console: Console) -> None:
    """Print a timed run: latency, interval, FIFOs and the longest waits, or who waits for whom."""
    run, estimated = timing.run, timing.estimated
    if run.deadlock:
        say(console, "timed run: the design stops for ever", "bold red")
        for wait in run.waits:
            say(console, f"  {wait}")
        say(console, f"  too shallow: {' or '.join(run.shallow)}")
        return
    table = new_table(f"Timed run of {len(run.finish)} frames")
    table.add_column("Cycles")
    table.add_column("Run", justify="right")
    table.add_column("Estimate", justify="right")
    table.add_row("latency", str(run.latency), str(estimated.latency))
    table.add_row("interval", str(run.interval), str(estimated.interval))
    console.print(table)
    fifos = new_table("FIFOs, in beats")
    fifos.add_column("FIFO", no_wrap=True)
    for title in ("Depth", "Most held", "Estimate"):
        fifos.add_column(title, justify="right")
    for name, held in run.occupancy.items():
        expected = estimated.held.get(name)
        fifos.add_row(
            shown_name(name), str(run.depths[name]), str(held), Text(str(expected or "-"))
        )
    if run.occupancy:
        console.print(fifos)
    longest = sorted(run.waits, key=lambda wait: -(wait.cycles or 0))[:MOST_LINES]
    for wait in longest:
        say(console, f"{wait.cycles} cycles: {wait}")
    for line in timing.deviations:
        say(console, line, "bold red")
    if timing.passed:
        say(console, "the timed run is as estimated, and its outputs are the simulator's", "green")
