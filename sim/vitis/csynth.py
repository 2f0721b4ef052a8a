"""C synthesis reports, ``csynth.xml``, of Vivado HLS and of both flows of Vitis HLS."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from xml.etree.ElementTree import Element

from ...frontend.errors import ModelError
from .values import Span, child, count, name, number, span


@dataclass(frozen=True)
class Area:
    """What something takes or a part has; None is what the report leaves open.

    Attributes:
        bram18: block RAMs in units of 18 Kbit.
    """

    lut: int | None = None
    ff: int | None = None
    dsp: int | None = None
    bram18: int | None = None
    uram: int | None = None

    def to_dict(self) -> dict[str, int | None]:
        """As JSON holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Loop:
    """A loop of a function.

    Attributes:
        trips: how often it runs.
        latency: cycles of all of it.
        interval: cycles between starts of iterations; None without a pipeline.
        iteration: cycles of one iteration.
        loops: those inside it.
    """

    name: str
    trips: Span | None
    latency: Span | None
    interval: Span | None
    iteration: Span | None
    loops: tuple[Loop, ...] = ()


@dataclass(frozen=True)
class Module:
    """A function that became a module, what it calls included.

    Attributes:
        latency: cycles of a call.
        interval: cycles between starts of calls, as far as it is pipelined.
        period: estimated clock period in ns.
    """

    name: str
    latency: Span | None
    interval: Span | None
    period: float | None
    area: Area
    loops: tuple[Loop, ...]


@dataclass(frozen=True)
class Synthesis:
    """A C synthesis report.

    Attributes:
        version: of the tool.
        part: full part number.
        clock, uncertainty: target period in ns, and how much of it is kept free.
        top: the top function.
        available: what the part has.
        modules: the functions below the top; none in Vivado HLS's report, which has one file each.
    """

    version: str
    part: str
    clock: float | None
    uncertainty: float | None
    top: Module
    available: Area
    modules: tuple[Module, ...]


def is_synthesis(root: Element) -> bool:
    """Whether the tree is of a C synthesis report."""
    return root.tag == "profile" and root.find("UserAssignments") is not None


def parse_synthesis(root: Element, file: str) -> Synthesis:
    """Read a ``csynth.xml``, of the top or of one function.

    Raises:
        ModelError: something that every report has is missing, or a value cannot be read.
    """
    try:
        user = child(root, "UserAssignments")
        return Synthesis(
            version=(root.findtext("ReportVersion/Version") or "").strip()[:40],
            part=name(user, "Part"),
            clock=number(user.findtext("TargetClockPeriod"), "TargetClockPeriod"),
            uncertainty=number(user.findtext("ClockUncertainty"), "ClockUncertainty"),
            top=_module(root, name(user, "TopModelName")),
            available=_area(child(root, "AreaEstimates", "AvailableResources")),
            modules=tuple(
                _module(module, name(module, "Name"))
                for module in root.iterfind("ModuleInformation/Module")
            ),
        )
    except ModelError as error:
        raise error.in_file(file) from None


def _module(element: Element, title: str) -> Module:
    try:
        performance = child(element, "PerformanceEstimates")
        overall = child(performance, "SummaryOfOverallLatency")
        loops = performance.find("SummaryOfLoopLatency")
        period = performance.findtext("SummaryOfTimingAnalysis/EstimatedClockPeriod")
        return Module(
            title,
            _ends(overall, "Best-caseLatency", "Worst-caseLatency"),
            _interval(overall),
            number(period, "EstimatedClockPeriod"),
            _area(child(element, "AreaEstimates", "Resources")),
            _loops(loops) if loops is not None else (),
        )
    except ModelError as error:
        error.node = error.node or title
        raise


def _interval(overall: Element) -> Span | None:
    """The top's has its own tags for both ends; a function's is one value or a range."""
    if overall.find("Interval-min") is not None:
        return _ends(overall, "Interval-min", "Interval-max")
    tag = "PipelineInitiationInterval"
    return span(overall.findtext(tag), tag)


def _ends(element: Element, least: str, most: str) -> Span | None:
    low = span(child(element, least).text, least)
    high = span(child(element, most).text, most)
    if low is None or high is None:
        return None
    if low.low > high.high:
        raise ModelError(
            "holds a range that is none", found=f"{least} {low.low}, {most} {high.high}"
        )
    return Span(low.low, high.high)


def _area(element: Element) -> Area:
    """Older tools name DSP slices by their kind."""
    dsp = next((item.text for item in element if item.tag.startswith("DSP")), None)
    return Area(
        lut=count(child(element, "LUT").text, "LUT"),
        ff=count(child(element, "FF").text, "FF"),
        dsp=count(dsp, "DSP"),
        bram18=count(element.findtext("BRAM_18K"), "BRAM_18K"),
        uram=count(element.findtext("URAM"), "URAM"),
    )


def _loops(element: Element) -> tuple[Loop, ...]:
    """The loops among an element's children; a loop's own figures are children, too."""
    return tuple(
        Loop(
            item.tag,
            span(item.findtext("TripCount"), f"{item.tag}/TripCount"),
            span(item.findtext("Latency"), f"{item.tag}/Latency"),
            span(item.findtext("PipelineII"), f"{item.tag}/PipelineII"),
            span(
                item.findtext("IterationLatency") or item.findtext("PipelineDepth"),
                f"{item.tag}/PipelineDepth",
            ),
            _loops(item),
        )
        for item in element
        if item.find("TripCount") is not None or item.find("Latency") is not None
    )


def to_dict(module: Module) -> dict[str, Any]:
    """A module's figures as JSON holds them, without its loops."""
    return {
        "name": module.name,
        "latency": module.latency.to_list() if module.latency else None,
        "interval": module.interval.to_list() if module.interval else None,
        "period_ns": module.period,
        "resources": module.area.to_dict(),
    }
