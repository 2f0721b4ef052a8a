"""Reports beside estimates, process by process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...frontend.errors import ModelError
from ...frontend.storage import MANIFEST
from .csynth import Area, Module, Synthesis, to_dict
from .project import Process, Project
from .reports import Reports

RESOURCES = tuple(field.name for field in fields(Area))

Range = tuple[int, int, int]
"""Least, expected, most."""


@dataclass(frozen=True)
class Estimated:
    """What was estimated of a process, or of the design.

    Attributes:
        cycles: between the starts of two frames.
        latency: of the design: cycles from start to the end of the first frame.
        resources: with ranges.
    """

    cycles: int
    latency: int | None
    resources: Mapping[str, Range]


@dataclass(frozen=True)
class Row:
    """A process as estimated and as reported; None where one is missing."""

    process: Process
    estimated: Estimated | None
    module: Module | None

    @property
    def cycles(self) -> int | None:
        """Cycles between frames by the report: a call, and one to start the next."""
        latency = self.module.latency if self.module else None
        return latency.high + 1 if latency else None

    def within(self, resource: str) -> bool | None:
        """Whether a reported resource is in the range of its estimate; None if either is open."""
        return within(self.estimated, self.module.area if self.module else None, resource)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "process": self.process.name,
            "layer": self.process.layer,
            "kernel": self.process.kernel,
            "estimate": estimate_dict(self.estimated),
            "report": to_dict(self.module) | {"cycles": self.cycles} if self.module else None,
            "within": {resource: self.within(resource) for resource in RESOURCES},
        }


def within(estimated: Estimated | None, area: Area | None, resource: str) -> bool | None:
    """Whether a reported resource is in the range of its estimate; None if either is open."""
    reported = getattr(area, resource) if area else None
    if estimated is None or reported is None:
        return None
    low, _, high = estimated.resources[resource]
    return bool(low <= reported <= high)


def estimate_dict(estimated: Estimated | None) -> dict[str, Any] | None:
    """As JSON holds it."""
    if estimated is None:
        return None
    return {
        "cycles": estimated.cycles,
        "latency": estimated.latency,
        "resources": {name: list(value) for name, value in estimated.resources.items()},
    }


def check_design(project: Project, reports: Reports) -> None:
    """Make sure that reports are of a project.

    Raises:
        ModelError: part, device or modules are those of another design.
    """
    synthesis = reports.synthesis
    where = str(project.folder)
    if synthesis is None:
        return
    if synthesis.part.lower() != project.part.lower():
        raise ModelError(
            "the reports are for another part",
            file=where,
            found=synthesis.part,
            expected=project.part,
            remedy="Generate the project for that part, or synthesise it again",
        )
    for report in reports.implementations:
        if report.device and not _same_device(report.device, project.part):
            raise ModelError(
                f"the report of Vivado's {report.stage} is for another part",
                file=where,
                found=report.device,
                expected=project.part,
            )
    named = [process for process in project.processes if process.kernel]
    matched = match(project, synthesis)
    strange = _strange(project, synthesis)
    # A process alone may have become part of the top function.
    if strange or (len(named) > 1 and synthesis.modules and not matched):
        raise ModelError(
            "the reports are of another design",
            file=where,
            found=f"module {strange or synthesis.modules[0].name}",
            expected="modules of this project's processes, such as "
            + ", ".join(f"{process.kernel}_{process.name}_config" for process in named[:1]),
            remedy="Give this project's reports, or synthesise it again",
        )


def _same_device(device: str, part: str) -> bool:
    """Vivado may leave out hyphens, and what follows the package."""
    short = re.sub(r"[^a-z0-9]", "", device.lower())
    full = re.sub(r"[^a-z0-9]", "", part.lower())
    return full.startswith(short) or short.startswith(full)


_TAIL = r"(?:_[0-9]+[a-z]*)*(?:_s)?(?:_[0-9]+)?"
"""What follows a module's first template argument: numbers that are deduced, and marks."""


def match(project: Project, synthesis: Synthesis) -> dict[str, Module]:
    """Modules by the names of their processes.

    A call ``dense<conv_layer_config>`` becomes a module ``dense_conv_layer_config_12_4_s``: kernel,
    configuration, other arguments of the template, and a mark that it is one.
    """
    found = {}
    for process in project.processes:
        if process.kernel is None:
            continue
        pattern = re.compile(rf"{process.kernel}_{re.escape(process.name)}_config{_TAIL}")
        for module in synthesis.modules:
            if pattern.fullmatch(module.name):
                found[process.name] = module
                break
    return found


def _strange(project: Project, synthesis: Synthesis) -> str | None:
    """A module with a configuration that the project does not have."""
    own = tuple(f"_{name}_config" for name in project.configurations)
    for module in synthesis.modules:
        found = re.fullmatch(rf"(\w+?_config){_TAIL}", module.name)
        if found and not found[1].endswith(own):
            return module.name
    return None


def compare(project: Project, reports: Reports) -> list[Row]:
    """One row a process, in the order of the top function.

    Raises:
        ModelError: the estimate in the manifest is damaged.
    """
    found = match(project, reports.synthesis) if reports.synthesis else {}
    estimates = _by_process(project)
    return [
        Row(process, estimates.get(process.name), found.get(process.name))
        for process in project.processes
    ]


def _by_process(project: Project) -> dict[str, Estimated]:
    if project.estimate is None:
        return {}
    try:
        return {
            item["name"]: Estimated(int(item["period"]), None, _ranges(item["resources"]))
            for item in project.estimate["processes"]
        }
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(project, error) from None


def estimated_total(project: Project) -> Estimated | None:
    """What was estimated of the whole design.

    Raises:
        ModelError: the estimate in the manifest is damaged.
    """
    estimate = project.estimate
    if estimate is None:
        return None
    try:
        return Estimated(
            int(estimate["interval"]), int(estimate["latency"]), _ranges(estimate["resources"])
        )
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(project, error) from None


def _ranges(resources: Mapping[str, Any]) -> dict[str, Range]:
    found = {}
    for name in RESOURCES:
        low, expected, high = (int(value) for value in resources[name])
        found[name] = (low, expected, high)
    return found


def _damaged(project: Project, error: Exception) -> ModelError:
    return ModelError(
        "the manifest's estimate is damaged",
        file=str(project.folder / MANIFEST),
        found=error,
        remedy="Generate the project again",
    )
