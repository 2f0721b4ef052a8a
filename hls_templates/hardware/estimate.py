"""What a design does and takes, before any vendor tool has seen it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ..cpp import Writer
from ..folding import Fold, Folding
from ..plan import Plan
from ..processes import (
    AnyProcess,
    DenseProcess,
    GroupedProcess,
    MatMulProcess,
    ParallelProcess,
    RecurrenceProcess,
)
from .cycles import Run, simulate
from .depths import size_fifos
from .figures import KINDS, Resources
from .flow import Stall
from .parts import Target
from .ports import port_resources
from .resources import process_resources, stream_resources
from .schedule import Schedule, schedules

FRAMES = 8
"""Frames that are run at most.  A design whose FIFOs delay nothing gets to the interval of its
slowest process, which is known without more of them."""

Multiplying = DenseProcess | GroupedProcess | MatMulProcess | RecurrenceProcess


@dataclass(frozen=True)
class ProcessEstimate:
    """One process.

    Attributes:
        process: of the plan.
        kernel: the template that computes it.
        depth, period: of its schedule, in cycles.
        stall: what it waits in a frame.
        resources: what it takes.
    """

    process: AnyProcess
    kernel: str
    depth: int
    period: int
    stall: Stall
    resources: Resources


@dataclass(frozen=True)
class FifoEstimate:
    """A FIFO between two processes: ``depth`` beats of ``bits``, of which ``held`` were full."""

    name: str
    depth: int
    bits: int
    held: int
    resources: Resources


@dataclass(frozen=True)
class LayerEstimate:
    """The processes of one layer together.

    Attributes:
        layer: its name.
        fold: what the folding says of it.
        multiplies: whether more than ``pe`` of the fold matters to it.
        period: of the slowest process, in cycles.
        resources: what all processes take, their FIFOs left out.
    """

    layer: str
    fold: Fold
    multiplies: bool
    period: int
    resources: Resources


@dataclass(frozen=True)
class Estimate:
    """A design on a part.

    Attributes:
        plan: the design, with the depths of its FIFOs.
        folding: what it was planned with.
        target: part and clock.
        run: the simulated frames.
        processes: in the order of the plan.
        fifos: the streams that are no ports.
        ports: what the ports take; nothing if they are FIFOs.
    """

    plan: Plan
    folding: Folding
    target: Target
    run: Run
    processes: tuple[ProcessEstimate, ...]
    fifos: tuple[FifoEstimate, ...]
    ports: Resources

    @property
    def latency(self) -> int:
        """Cycles until the first frame has left."""
        return self.run.latency

    @property
    def interval(self) -> int:
        """Cycles between frames: as the last ones of the run were apart, but not less than the
        slowest process takes, which in the end sets the pace."""
        return max(self.run.interval, self.bottleneck.period)

    @property
    def latency_us(self) -> float:
        return self.latency * self.target.clock / 1000

    @property
    def frames_a_second(self) -> float:
        return 1e9 / (self.interval * self.target.clock)

    @cached_property
    def bottleneck(self) -> ProcessEstimate:
        """The process with the longest period."""
        return max(self.processes, key=lambda process: process.period)

    @cached_property
    def total(self) -> Resources:
        processes = total(item.resources for item in self.processes)
        return processes + total(fifo.resources for fifo in self.fifos) + self.ports

    @cached_property
    def shares(self) -> dict[str, float]:
        """What is expected of each kind, as a share of what the part has; infinite of none."""
        return shares(self.total, self.target)

    def layers(self) -> tuple[LayerEstimate, ...]:
        """Layer by layer, in the order of their first processes."""
        found: dict[str, list[ProcessEstimate]] = {}
        for item in self.processes:
            found.setdefault(item.process.layer, []).append(item)
        return tuple(
            LayerEstimate(
                layer,
                self.folding.fold(layer),
                any(isinstance(item.process, Multiplying) for item in items),
                max(item.period for item in items),
                total(item.resources for item in items),
            )
            for layer, items in found.items()
        )

    def folded(self) -> tuple[LayerEstimate, ...]:
        """The layers that a folding can name: of the network, and not computed all at once."""
        if any(isinstance(item.process, ParallelProcess) for item in self.processes):
            return ()
        known = set(self.plan.graph.layers.values())
        return tuple(layer for layer in self.layers() if layer.layer in known)

    def folding_dict(self) -> dict[str, dict[str, Any]]:
        """The fold of every layer, as manifests and ``--json`` hold it."""
        return {layer.layer: asdict(layer.fold) for layer in self.folded()}

    def to_dict(self) -> dict[str, Any]:
        """As manifests and ``--json`` hold it."""
        return {
            "part": self.target.part.number,
            "clock_ns": self.target.clock,
            "latency": self.latency,
            "interval": self.interval,
            "latency_us": self.latency_us,
            "frames_a_second": self.frames_a_second,
            "steady": self.run.steady,
            "bottleneck": self.bottleneck.process.name,
            "resources": figures(self.total),
            "available": {kind: getattr(self.target.part, kind) for kind in KINDS},
            "processes": [
                {
                    "name": item.process.name,
                    "layer": item.process.layer,
                    "kernel": item.kernel,
                    "depth": item.depth,
                    "period": item.period,
                    "waits": item.stall.cycles,
                    "waits_on": item.stall.stream or None,
                    "resources": figures(item.resources),
                }
                for item in self.processes
            ],
            "fifos": [
                {
                    "name": fifo.name,
                    "depth": fifo.depth,
                    "bits": fifo.bits,
                    "held": fifo.held,
                    "resources": figures(fifo.resources),
                }
                for fifo in self.fifos
            ],
            "ports": figures(self.ports),
        }


def estimate(plan: Plan, folding: Folding, target: Target, frames: int | None = None) -> Estimate:
    """Give a design its FIFOs, run it until it is steady, and count what it takes.

    Args:
        plan: the design.
        folding: what it was planned with.
        target: part and clock.
        frames: for a draft how many frames are run, with FIFOs that hold a frame instead; with one
            the interval is not known.

    Raises:
        FoldingError: a frame has too many beats for that.
    """
    timings = schedules(plan, target)
    if frames is None:
        plan = size_fifos(plan, target, timings)
        run = simulate(plan, timings, FRAMES)
    else:
        room = {name: max(s.beats, s.depth) for name, s in plan.streams.items()}
        run = simulate(plan, timings, frames, room)
    writer = Writer(plan)
    ports = {*plan.inputs, *plan.outputs}
    return Estimate(
        plan,
        folding,
        target,
        run,
        tuple(
            _process(plan, item, timings[item.name], run, writer, target) for item in plan.processes
        ),
        tuple(
            FifoEstimate(
                stream.name,
                stream.depth,
                stream.bits,
                run.occupancy[stream.name],
                stream_resources(stream, target),
            )
            for stream in plan.streams.values()
            if stream.name not in ports
        ),
        port_resources(plan, target),
    )


def _process(
    plan: Plan,
    process: AnyProcess,
    timing: Schedule,
    run: Run,
    writer: Writer,
    target: Target,
) -> ProcessEstimate:
    return ProcessEstimate(
        process,
        writer.call(process).kernel,
        timing.depth,
        timing.period,
        run.stalls[process.name],
        process_resources(plan, process, target),
    )


def total(resources: Iterable[Resources]) -> Resources:
    """All of them together."""
    return sum(resources, Resources())


def shares(resources: Resources, target: Target) -> dict[str, float]:
    """What is expected of each kind, as a share of what the part has; infinite of none."""
    found = {}
    for kind in KINDS:
        used, there = getattr(resources, kind).expected, getattr(target.part, kind)
        found[kind] = used / there if there else math.inf if used else 0.0
    return found


def figures(resources: Resources) -> dict[str, list[int]]:
    """Low, expected and high of each kind."""
    return {
        kind: [getattr(getattr(resources, kind), end) for end in ("low", "expected", "high")]
        for kind in KINDS
    }
