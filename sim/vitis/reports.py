"""All reports of a design, found in the folders of either flow or named one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...frontend.errors import ModelError
from .checks import (
    Cosimulation,
    is_cosimulation,
    parse_cosimulation,
    simulation_passed,
)
from .csynth import Module, Synthesis, is_synthesis, parse_synthesis
from .files import parse_tree, read_bytes
from .vivado import Implementation, is_export, is_utilization, parse_export, parse_utilization

MOST_FILES = 200_000
"""Files that a folder may hold: a design of hundreds of functions has some ten thousand."""

IGNORED = {".autopilot", ".git", "ip", "hdl", "wrapc", "verilog_sim", "xsim.dir"}
"""Folders in which no report lies, or only those of the tools' own making."""


@dataclass(frozen=True)
class Reports:
    """What was found.

    Attributes:
        files: which reports these are from.
        synthesis: of C synthesis; its modules include those of reports of single functions.
        simulated: whether the C simulation passed; None without a log of it.
        cosimulation: of the co-simulation.
        implementations: of Vivado.
    """

    files: tuple[str, ...] = ()
    synthesis: Synthesis | None = None
    simulated: bool | None = None
    cosimulation: Cosimulation | None = None
    implementations: tuple[Implementation, ...] = ()


def read_reports(paths: Sequence[Path], top: str) -> Reports:
    """Read report files, and those that lie in folders, however deep.

    Args:
        paths: files or folders.
        top: name of the design's top function.

    Raises:
        ModelError: a file is no report, is damaged, or is of another top function; a folder holds
            none, or those of several designs.
    """
    collector = _Collector(top)
    for path in paths:
        if path.is_dir():
            found = list(_in_folder(path))
            for file in found:
                collector.add(file)
            if not found:
                raise ModelError(
                    "holds no reports",
                    file=str(path),
                    expected="csynth.xml, *_cosim.rpt, export_*.xml or *utilization*.rpt",
                )
        else:
            collector.add(path)
    return collector.reports()


def _in_folder(folder: Path) -> Iterator[Path]:
    """The reports below a folder, by their names, in the order of their paths."""
    seen = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - IGNORED)
        seen += len(names)
        if seen > MOST_FILES:
            raise ModelError(
                "holds too many files",
                file=str(folder),
                found=f"more than {MOST_FILES}",
                remedy="Name the folder of the reports, or the reports",
            )
        yield from (Path(place) / name for name in sorted(names) if _is_report(name))


def _is_report(name: str) -> bool:
    return (
        name == "csynth.xml"
        or name.endswith(("_csynth.xml", "_cosim.rpt", "_csim.log"))
        or name in ("export_syn.xml", "export_impl.xml")
        or ("utilization" in name and name.endswith((".rpt", ".txt")))
    )


class _Collector:
    """Puts single reports together."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.files: list[str] = []
        self.of_top: list[tuple[str, Synthesis]] = []
        self.others: dict[str, tuple[str, Synthesis]] = {}
        self.cosimulations: dict[Cosimulation, str] = {}
        self.simulated: dict[bool, str] = {}
        self.implementations: dict[str, tuple[str, Implementation]] = {}

    def add(self, path: Path) -> None:
        """Read one file, whatever kind of report it is."""
        data, file = read_bytes(path), str(path)
        self.files.append(file)
        if data.lstrip()[:1] == b"<":
            root = parse_tree(data, file)
            if is_synthesis(root):
                self._add_synthesis(parse_synthesis(root, file), file)
                return
            if is_export(root):
                self._add_implementation(parse_export(root, file), file)
                return
        else:
            text = data.decode("utf-8", "replace")
            if path.name.endswith("_csim.log"):
                passed = simulation_passed(text)
                if passed is not None:
                    self.simulated.setdefault(passed, file)
                return
            if is_cosimulation(text):
                self.cosimulations.setdefault(parse_cosimulation(text, file), file)
                return
            if is_utilization(text):
                self._add_implementation(parse_utilization(text, file), file)
                return
        raise ModelError(
            "is not a report that is known",
            file=file,
            expected="csynth.xml, *_cosim.rpt, export_*.xml or what report_utilization writes",
            remedy="If it is one, it is cut off before its contents begin",
        )

    def _add_synthesis(self, report: Synthesis, file: str) -> None:
        if report.top.name == self.top:
            self.of_top.append((file, report))
        else:
            self.others[report.top.name] = (file, report)

    def _add_implementation(self, report: Implementation, file: str) -> None:
        before = self.implementations.setdefault(report.stage, (file, report))
        if before[1].area != report.area:
            raise ModelError(
                f"differs from another report of the same {report.stage}",
                file=file,
                found=before[0],
                remedy="Give the reports of one run",
            )

    def reports(self) -> Reports:
        """All of them, checked against one another."""
        for what, found in (
            ("C simulation", list(self.simulated.values())),
            ("co-simulation", list(self.cosimulations.values())),
        ):
            if len(found) > 1:
                raise ModelError(
                    f"differs from another report of the {what}",
                    file=found[1],
                    found=found[0],
                    remedy="Give the reports of one run",
                )
        return Reports(
            tuple(self.files),
            self._synthesis(),
            next(iter(self.simulated), None),
            next(iter(self.cosimulations), None),
            tuple(report for _, report in self.implementations.values()),
        )

    def _synthesis(self) -> Synthesis | None:
        """The top's report, with the functions that it or other files tell of."""
        if not self.of_top:
            if self.others:
                name, (file, _) = next(iter(self.others.items()))
                raise ModelError(
                    "is the report of another design",
                    file=file,
                    found=f"top function {name}",
                    expected=self.top,
                )
            return None
        first_file, first = self.of_top[0]
        modules: dict[str, Module] = {}
        for file, report in self.of_top:
            if (report.part, report.clock, report.top.area) != (
                first.part,
                first.clock,
                first.top.area,
            ):
                raise ModelError(
                    "differs from another report of the same function",
                    file=file,
                    found=first_file,
                    remedy="Give the reports of one run",
                )
            modules |= {module.name: module for module in report.modules}
        for name, (file, report) in self.others.items():
            if report.part != first.part:
                raise ModelError(
                    "is for another part",
                    file=file,
                    found=report.part,
                    expected=first.part,
                )
            modules.setdefault(name, report.top)
        modules.pop(self.top, None)
        return replace(first, modules=tuple(modules.values()))
