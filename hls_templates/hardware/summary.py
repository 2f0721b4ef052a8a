"""An estimate in a few lines, as a project's README shows it."""

from __future__ import annotations

from .estimate import Estimate
from .figures import NAMES, time_text


def performance(found: Estimate) -> dict[str, str]:
    """Throughput and latency."""
    return {
        "frames a second": f"{found.frames_a_second:,.0f}",
        "interval": f"{found.interval:,} cycles",
        "latency": f"{found.latency:,} cycles, {time_text(found.latency_us)}",
        "slowest process": f"`{found.bottleneck.process.name}`",
    }


def resources(found: Estimate) -> list[tuple[str, ...]]:
    """Of each kind of resources what is expected, the range, and what the part has."""
    rows: list[tuple[str, ...]] = []
    for kind, name in NAMES.items():
        figure, there = getattr(found.total, kind), getattr(found.target.part, kind)
        bounds = f"{figure.low:,} to {figure.high:,}"
        rows.append((name, f"{figure.expected:,}", bounds, f"{there:,}"))
    return rows
