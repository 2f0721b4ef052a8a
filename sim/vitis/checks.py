"""What C simulation and co-simulation say of a design: whether it passed, and cycles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...frontend.errors import ModelError
from .values import count

LANGUAGES = ("Verilog", "VHDL", "SystemC")


@dataclass(frozen=True)
class Cycles:
    """Least, average and most cycles over the calls of a co-simulation; None if not measured."""

    least: int | None
    average: int | None
    most: int | None

    def to_list(self) -> list[int | None]:
        """As JSON holds it."""
        return [self.least, self.average, self.most]


@dataclass(frozen=True)
class Cosimulation:
    """A co-simulation report.

    Attributes:
        language: of the hardware description that was simulated.
        passed: whether all results were right.
        latency, interval: in cycles; there is no interval for a single call.
        total: cycles of the whole simulation, if the tool says.
    """

    language: str
    passed: bool
    latency: Cycles
    interval: Cycles
    total: int | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "language": self.language,
            "passed": self.passed,
            "latency": self.latency.to_list(),
            "interval": self.interval.to_list(),
            "total": self.total,
        }


def is_cosimulation(text: str) -> bool:
    """Whether a text is a co-simulation report."""
    head = text[:20_000]
    return "Status" in head and "Latency" in head and "RTL" in head and "Solution" in head


def parse_cosimulation(text: str, file: str) -> Cosimulation:
    """Read ``<top>_cosim.rpt`` or ``hls_cosim.rpt``.

    Raises:
        ModelError: the table has no row of a language that was simulated, or lacks columns.
    """
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] not in LANGUAGES or len(cells) < 2 or cells[1].upper() == "NA":
            continue
        if len(cells) < 8:
            raise ModelError(
                "has a row that is cut off",
                file=file,
                found=line.strip(),
                expected="status, and three figures each of latency and interval",
            )
        if cells[1] not in ("Pass", "Fail"):
            raise ModelError(
                "has a status that is unknown", file=file, found=cells[1], expected="Pass or Fail"
            )
        try:
            figures = [count(cell, cells[0]) for cell in cells[2:9]]
        except ModelError as error:
            raise error.in_file(file) from None
        return Cosimulation(
            cells[0],
            cells[1] == "Pass",
            Cycles(*figures[0:3]),
            Cycles(*figures[3:6]),
            figures[6] if len(figures) > 6 else None,
        )
    raise ModelError(
        "holds no result of a co-simulation",
        file=file,
        expected=f"a row for {', '.join(LANGUAGES[:-1])} or {LANGUAGES[-1]} with Pass or Fail",
        remedy="It may be cut off, or the simulation did not run",
    )


def simulation_passed(log: str) -> bool | None:
    """Whether a log tells of a C simulation that passed; None if none ran to its end."""
    ends = re.findall(
        r"CSim done with (\d+) errors|'csim_design' failed: (nonzero return value)", log
    )
    return not ends[-1][1] and ends[-1][0].strip("0") == "" if ends else None


def cosimulation_passed(log: str) -> bool | None:
    """Whether a log tells of a co-simulation that passed; None if none ran to its end.

    Tools may end with status 0 all the same.
    """
    ends = re.findall(r"co-simulation finished: (PASS|FAIL)|(DEADLOCK DETECTED)", log)
    return ends[-1][0] == "PASS" if ends else None
