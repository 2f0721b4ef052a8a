"""The rows of the benchmark table, and how they are measured."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: what is measured.
        ours: our time, in seconds.
        reference: the time of what it is compared with, in seconds; None if there is only a limit.
        limit: what must hold: with a reference, for ours / reference; without one, for ours, which
            is then processor time.
        least: the limit is the least value of reference / ours instead: so many times faster.
    """

    what: str
    ours: float
    reference: float | None
    limit: float
    least: bool = False

    @property
    def ratio(self) -> float:
        """What the limit is for."""
        if self.reference is None:
            return self.ours
        return self.reference / self.ours if self.least else self.ours / self.reference

    @property
    def met(self) -> bool:
        return self.ratio >= self.limit if self.least else self.ratio <= self.limit

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        if self.reference is None:
            shown, target = "", f"at most {duration(self.limit)}"
        elif self.least:
            shown, target = f"{self.ratio:.1f} x faster", f"at least {self.limit:g} x faster"
        else:
            shown, target = f"{self.ratio:.2f}", f"at most {self.limit:g}"
        reference = "" if self.reference is None else duration(self.reference)
        met = "[green]yes[/]" if self.met else "[red]NO[/]"
        return self.what, duration(self.ours), reference, shown, target, met


@dataclass(frozen=True)
class Skipped:
    """A benchmark that cannot run here, and why."""

    what: str
    reason: str


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def table(results: Sequence[Row | Skipped]) -> Table:
    """All results as one table."""
    shown = Table(
        title="Benchmarks, one thread: ratios of times measured in turns in one process, and "
        "processor times"
    )
    for name in ("what", "ours", "reference", "ratio", "target", "met"):
        shown.add_column(name, justify="left" if name in ("what", "target") else "right")
    for result in results:
        if isinstance(result, Row):
            shown.add_row(*result.cells())
        else:
            shown.add_row(result.what, "", "", "", f"skipped: {result.reason}", "")
    return shown


def compare(
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    repetitions: int = 15,
    seconds: float = 0.05,
) -> tuple[float, float]:
    """Median times of one call of each, in seconds, measured in turns.

    Other work on the machine then slows both alike.  Each turn calls a function as often as fits
    into about ``seconds``.
    """
    counts = []
    for run in (ours, reference):
        run()
        start = time.perf_counter()
        run()
        counts.append(max(1, round(seconds / (time.perf_counter() - start))))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repetitions):
        for run, count, taken in zip((ours, reference), counts, times, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                run()
            taken.append((time.perf_counter() - start) / count)
    return statistics.median(times[0]), statistics.median(times[1])


def once(run: Callable[[], object], *, repetitions: int = 5) -> float:
    """Median processor time of one call, in seconds, with that of the processes it starts.

    It is what work on one thread takes when nothing else is at work on the machine.
    """
    times = []
    for _ in range(repetitions):
        start = _processor_time()
        run()
        times.append(_processor_time() - start)
    return statistics.median(times)


def _processor_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
