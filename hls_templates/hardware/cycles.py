"""How long a design takes: processes and FIFOs beat by beat, by the rules of docs/hardware.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...frontend.ops import Array
from ..plan import Plan
from .deadlock import refuse_deadlock
from .flow import Flow, Stall
from .network import Network
from .schedule import Schedule

MOST_FRAMES = 100
MOST_BEATS = 30_000_000
"""Frames, and beats of all streams together, after which a steady state is not awaited further."""


@dataclass(frozen=True)
class Run:
    """Frames that went through a design.

    Attributes:
        frames: how many.
        latency: cycles from 0 until after the last beat of the first frame.
        interval: cycles between the last two frames; with one frame its latency.
        steady: whether that is proved to be the distance of all frames to come.
        finish: for each frame the cycle after its last beat.
        occupancy: for each stream between processes the most places that were taken at a time.
        stalls: for each process what it waited in the last frame.
    """

    frames: int
    latency: int
    interval: int
    steady: bool
    finish: tuple[int, ...]
    occupancy: Mapping[str, int]
    stalls: Mapping[str, Stall]


def simulate(
    plan: Plan,
    schedules: Mapping[str, Schedule],
    frames: int | None = None,
    depths: Mapping[str, int] | None = None,
) -> Run:
    """Run frames through a design.

    Args:
        plan: the design.
        schedules: of its processes, by name.
        frames: how many; as many as it takes to a steady state if None.
        depths: of the FIFOs, by stream; those of the plan if None.

    Raises:
        DeadlockError: it stops for ever.
    """
    if depths is None:
        depths = {name: stream.depth for name, stream in plan.streams.items()}
    network = Network(schedules[process.name] for process in plan.processes)
    return run(network, depths, frames)


def run(network: Network, depths: Mapping[str, int], frames: int | None = None) -> Run:
    """Run frames through a network; see :func:`simulate`."""
    refuse_deadlock(network, depths)
    flow = Flow(network, depths)
    beats = sum(map(network.beats, (*network.streams, *network.inputs, *network.outputs)))
    most = frames or max(3, min(MOST_FRAMES, MOST_BEATS // beats))
    interval, same = 0, 0
    while flow.frames < most and same < flow.memory:
        flow.step()
        rates = flow.rates()
        agreed = rates is not None and len(set(rates)) == 1
        same = same + 1 if agreed else 0
    (last,) = network.outputs
    finish = [int(flow.write_times(last, f)[-1]) + 1 for f in range(flow.frames)]
    interval = finish[-1] - finish[-2] if len(finish) > 1 else finish[0]
    while frames and len(finish) < frames:
        finish.append(finish[-1] + interval)
    return Run(
        len(finish),
        finish[0],
        interval,
        same >= flow.memory,
        tuple(finish),
        {name: occupancy(*_times(flow, name)) for name in network.streams},
        {item.name: flow.stall(i) for i, item in enumerate(network.actors)},
    )


def _times(flow: Flow, stream: str) -> tuple[Array, Array]:
    """When all beats of a stream were written, and when they were read."""
    frames = range(flow.frames)
    return (
        np.concatenate([flow.write_times(stream, f) for f in frames]),
        np.concatenate([flow.read_times(stream, f) for f in frames]),
    )


def occupancy(written: Array, read: Array, least: int = 1) -> int:
    """The places that a FIFO needs, at least ``least``, for beats that are written and read then:
    beat k can be written after beat k - places was read."""
    for places in (least, least + 1):
        if fits(written, read, places):
            return places
    free = np.searchsorted(read, written, side="left")
    return int(np.max(np.arange(1, written.size + 1) - free))


def fits(written: Array, read: Array, places: int) -> bool:
    """Whether a FIFO with so many places has room for each beat when it is written."""
    count = max(written.size - places, 0)
    return bool(np.all(read[:count] < written[places:]))
