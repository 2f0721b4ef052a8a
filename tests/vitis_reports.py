"""Reports as Vitis HLS and Vivado write them, small, with the figures that a test wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PART = "xczu7ev-ffvc1156-2-e"


def lines(tags: Mapping[str, object]) -> str:
    return "".join(f"<{tag}>{value}</{tag}>\n" for tag, value in tags.items())


def element(tag: str, *content: str) -> str:
    return f"<{tag}>\n{''.join(content)}</{tag}>\n"


@dataclass(frozen=True)
class Function:
    """A function of a report; latency and interval as texts, so that they may be no numbers."""

    name: str
    latency: tuple[str, str] = ("10", "10")
    interval: str = "10"
    lut: object = 100
    ff: object = 50
    dsp: object = 1
    bram18: object = 0
    uram: object = 0
    loops: str = ""

    def performance(self, interval: str) -> str:
        best, worst = self.latency
        average = {"Average-caseLatency": worst, "Best-caseRealTimeLatency": "50.000 ns"}
        return element(
            "PerformanceEstimates",
            element("SummaryOfTimingAnalysis", lines({"EstimatedClockPeriod": "3.649"})),
            element(
                "SummaryOfOverallLatency",
                lines({"Best-caseLatency": best, "Worst-caseLatency": worst} | average),
                interval,
            ),
            element("SummaryOfLoopLatency", self.loops) if self.loops else "",
        )

    def area(self, dsp_tag: str) -> dict[str, object]:
        return {
            "BRAM_18K": self.bram18,
            dsp_tag: self.dsp,
            "FF": self.ff,
            "LUT": self.lut,
            "URAM": self.uram,
        }

    def module(self) -> str:
        area = self.area("DSP") | {"AVAIL_LUT": 230400, "UTIL_LUT": "~0", "AVAIL_DSP": 1728}
        return element(
            "Module",
            lines({"Name": self.name}),
            self.performance(lines({"PipelineInitiationInterval": self.interval})),
            element("AreaEstimates", element("Resources", lines(area))),
            '<BindNodes><BindNode RTLNAME="add_fu_1" DSP="0"/></BindNodes>\n',
        )


@dataclass(frozen=True)
class Design:
    """A C synthesis report of a design."""

    top: Function = field(default_factory=lambda: Function("nn_top", ("90", "120")))
    modules: Sequence[Function] = ()
    part: str = PART
    version: str = "2024.2"
    clock: str = "5.00"
    dsp_tag: str = "DSP"

    def xml(self) -> str:
        """The top's report; one of Vivado HLS if the tag is its own."""
        available = {"BRAM_18K": 624, self.dsp_tag: 1728, "FF": 460800, "LUT": 230400, "URAM": 96}
        ends = self.top.interval.split(" ~ ")
        interval = lines({"Interval-min": ends[0], "Interval-max": ends[-1]})
        modules = "".join(module.module() for module in self.modules)
        return element(
            "profile",
            element("ReportVersion", lines({"Version": self.version})),
            element(
                "UserAssignments",
                lines(
                    {
                        "unit": "ns",
                        "ProductFamily": "zynquplus",
                        "Part": self.part,
                        "TopModelName": self.top.name,
                        "TargetClockPeriod": self.clock,
                        "ClockUncertainty": "1.35",
                    }
                ),
            ),
            self.top.performance(interval),
            element(
                "AreaEstimates",
                element("Resources", lines(self.top.area(self.dsp_tag))),
                element("AvailableResources", lines(available)),
            ),
            "<InterfaceSummary><RtlPorts><name>ap_clk</name></RtlPorts></InterfaceSummary>\n",
            element("ModuleInformation", modules) if modules else "",
        )


LOOPS = """\
<main><Name>main</Name><TripCount>64</TripCount><Latency>70</Latency>
<PipelineII>1</PipelineII><PipelineDepth>8</PipelineDepth></main>
<rows><TripCount>1 ~ 4</TripCount><Latency>?</Latency><IterationLatency>12</IterationLatency>
<inner><TripCount>10</TripCount><Latency>10</Latency><PipelineII>undef</PipelineII></inner></rows>
"""


def cosim(
    status: str = "Pass",
    latency: Sequence[object] = (96, 98, 100),
    interval: Sequence[object] = ("NA", "NA", "NA"),
    total: object | None = 300,
) -> str:
    """A table of co-simulation; tools before 2020.2 have no total."""
    figures = [*latency, *interval, *([total] if total is not None else [])]

    def row(*cells: object) -> str:
        return "|" + "|".join(f"{cell!s:>12}" for cell in cells) + "|\n"

    return (
        "Report time       : Mon Nov 23 06:00:00 UTC 2026.\nSolution          : hls.\n\n"
        "|          |          |   Latency(Clock Cycles)   |   Interval(Clock Cycles)  |\n"
        "+   RTL    +  Status  +---------------------------+---------------------------+\n"
        "|          |          |   min |   avg   |   max   |   min |   avg   |   max   |\n"
        + row("VHDL", "NA", *["NA"] * len(figures))
        + row("Verilog", status, *figures)
    )


def export_xml(lut: object = 4000, bram: object = 5, met: str = "TRUE", kind: str = "impl") -> str:
    """What Vivado's run for an exported design leaves."""
    area = {"BRAM": bram, "DSP": 7, "FF": 6000, "LUT": lut, "SLICE": 900, "URAM": 0}
    return element(
        "profile",
        element("RunData", lines({"RUN_TYPE": kind, "VIVADO_VERSION": "2024.2"})),
        element(
            "TimingReport",
            lines(
                {
                    "TargetClockPeriod": "5.000",
                    "AchievedClockPeriod": "4.321",
                    "SLACK_FINAL": "0.679",
                    "TIMING_MET": met,
                }
            ),
        ),
        element(
            "AreaReport",
            element("Resources", lines(area)),
            element("AvailableResources", lines({"LUT": 230400})),
        ),
        '<GeneralInfo NAME="General Information">'
        f'<item NAME="Target device" VALUE="{PART}"/></GeneralInfo>\n',
    )


def utilization(labels: Sequence[str] = ("CLB LUTs", "CLB Registers"), device: str = PART) -> str:
    """Tables of report_utilization."""
    return f"""\
| Command      : report_utilization -file nn_top_utilization_synth.rpt
| Design       : nn_top
| Device       : {device}
| Design State : Synthesized
+----------------------------+------+-------+------------+-----------+-------+
|          Site Type         | Used | Fixed | Prohibited | Available | Util% |
+----------------------------+------+-------+------------+-----------+-------+
| {labels[0]}*                  | 4321 |     0 |          0 |    230400 |  1.88 |
|   LUT as Logic             | 4000 |     0 |          0 |    230400 |  1.74 |
| {labels[1]}              | 6543 |     0 |          0 |    460800 |  1.42 |
| Block RAM Tile    |  4.5 |     0 |          0 |       312 |  1.44 |
|   RAMB18          |    1 |     0 |          0 |       624 |  0.16 |
| URAM              |    0 |     0 |          0 |        96 |  0.00 |
| DSPs      |   12 |     0 |          0 |      1728 |  0.69 |
"""


CLASSIC = {
    "synthesis": "lutra_hls/solution1/syn/report/csynth.xml",
    "cosim": "lutra_hls/solution1/sim/report/nn_top_cosim.rpt",
    "csim": "lutra_hls/solution1/csim/report/nn_top_csim.log",
    "export": "lutra_hls/solution1/impl/report/verilog/export_impl.xml",
}
UNIFIED = {
    "synthesis": "work/hls/syn/report/csynth.xml",
    "cosim": "work/reports/hls_cosim.rpt",
    "csim": "work/hls/csim/report/nn_top_csim.log",
    "export": "work/hls/impl/report/verilog/export_impl.xml",
}
"""Where the two flows leave their reports."""


def lay_out(folder: Path, places: Mapping[str, str], reports: Mapping[str, str]) -> Path:
    """Write reports where a flow would."""
    for key, text in reports.items():
        file = folder / places[key]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder
