"""When each process touches its streams, were it never to wait: see docs/hardware.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...frontend.ops import Array


@dataclass(frozen=True)
class Schedule:
    """One call of a process.

    Attributes:
        process: its name.
        depth: cycles from the start of an iteration to its writes, at least 1.
        period: cycles from the start of a call to the start of the next.
        reads: for each stream that it reads the cycle of each beat of a frame, counted from the
            start of the call; int64, strictly increasing.
        writes: for each stream that it writes the cycle in which the iteration starts that writes
            each beat of a frame; the write is ``depth - 1`` cycles later.
    """

    process: str
    depth: int
    period: int
    reads: Mapping[str, Array]
    writes: Mapping[str, Array]
