"""What Vivado says of an exported design: area and timing after synthesis or implementation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from ...frontend.errors import ModelError
from .csynth import Area
from .values import child, count, number

LABELS = {
    "lut": ("CLB LUTs", "Slice LUTs"),
    "ff": ("CLB Registers", "Slice Registers"),
    "bram": ("Block RAM Tile",),
    "uram": ("URAM",),
    "dsp": ("DSPs", "DSP Slices"),
}
"""What the rows of ``report_utilization`` are called; an asterisk may follow."""


@dataclass(frozen=True)
class Implementation:
    """Area and timing.

    Attributes:
        stage: ``synthesis`` or ``implementation``.
        clock, achieved: target and achieved period in ns, where the report has them.
        met: whether timing was met, where the report says so.
        device: the part, as far as it is named.
    """

    stage: str
    area: Area
    clock: float | None = None
    achieved: float | None = None
    met: bool | None = None
    device: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "stage": self.stage,
            "resources": self.area.to_dict(),
            "clock_ns": self.clock,
            "achieved_ns": self.achieved,
            "timing_met": self.met,
        }


def is_export(root: Element) -> bool:
    """Whether the tree is of ``export_syn.xml`` or ``export_impl.xml``."""
    return root.tag == "profile" and root.find("AreaReport") is not None


def parse_export(root: Element, file: str) -> Implementation:
    """Read ``export_syn.xml`` or ``export_impl.xml``; block RAMs are counted in 18 Kbit there.

    Raises:
        ModelError: area or timing are missing, or a value cannot be read.
    """
    try:
        area, timing = child(root, "AreaReport", "Resources"), child(root, "TimingReport")
        kind = (root.findtext("RunData/RUN_TYPE") or file.rsplit("/", 1)[-1]).lower()
        met = (timing.findtext("TIMING_MET") or "").strip().upper()
        return Implementation(
            "implementation" if "impl" in kind else "synthesis",
            Area(
                lut=count(child(area, "LUT").text, "LUT"),
                ff=count(child(area, "FF").text, "FF"),
                dsp=count(area.findtext("DSP"), "DSP"),
                bram18=count(area.findtext("BRAM"), "BRAM"),
                uram=count(area.findtext("URAM"), "URAM"),
            ),
            number(timing.findtext("TargetClockPeriod"), "TargetClockPeriod"),
            number(timing.findtext("AchievedClockPeriod"), "AchievedClockPeriod"),
            {"TRUE": True, "FALSE": False}.get(met),
            _device(root),
        )
    except ModelError as error:
        raise error.in_file(file) from None


def _device(root: Element) -> str | None:
    for item in root.iterfind("GeneralInfo/item"):
        if "device" in item.get("NAME", "").lower():
            return item.get("VALUE", "").strip()[:80] or None
    return None


def is_utilization(text: str) -> bool:
    """Whether a text is what ``report_utilization`` writes."""
    return "report_utilization" in text[:20_000] or "| Block RAM Tile" in text


def parse_utilization(text: str, file: str) -> Implementation:
    """Read the tables of ``report_utilization``: a Block RAM Tile is two of 18 Kbit.

    Raises:
        ModelError: a resource has no row, or a value cannot be read.
    """
    used: dict[str, float] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        for key, labels in LABELS.items():
            if len(cells) > 3 and cells[1].rstrip("*") in labels and key not in used:
                try:
                    used[key] = number(cells[2].replace(",", ""), cells[1]) or 0
                except ModelError as error:
                    raise error.in_file(file) from None
    for key in ("lut", "ff", "bram", "dsp"):
        if key not in used:
            raise ModelError(
                f"lacks the row '{LABELS[key][0]}'", file=file, remedy="It may be cut off"
            )
    state, device = _line(text, "Design State"), _line(text, "Device")
    return Implementation(
        "synthesis" if (state or "").lower().startswith("synth") else "implementation",
        Area(
            lut=round(used["lut"]),
            ff=round(used["ff"]),
            dsp=round(used["dsp"]),
            bram18=round(2 * used["bram"]),
            uram=round(used.get("uram", 0)),
        ),
        device=device,
    )


def _line(text: str, what: str) -> str | None:
    """What the head of a report says of the design."""
    match = re.search(rf"^\|\s*{what}\s*:\s*(\S[^\n|]{{0,80}})", text[:20_000], re.MULTILINE)
    return match[1].strip() if match else None
