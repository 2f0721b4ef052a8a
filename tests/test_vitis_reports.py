"""Report parsers: every layout and spelling, and files that are damaged, hostile or foreign."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutra.frontend.errors import ModelError
from lutra.sim.vitis import files
from lutra.sim.vitis.checks import Cycles, cosimulation_passed, simulation_passed
from lutra.sim.vitis.csynth import Area, Synthesis
from lutra.sim.vitis.reports import Reports, read_reports
from lutra.sim.vitis.values import Span, span

from .vitis_reports import (
    CLASSIC,
    LOOPS,
    PART,
    UNIFIED,
    Design,
    Function,
    cosim,
    export_xml,
    lay_out,
    utilization,
)

DENSE = Function(
    "dense_conv_layer_config_12_1_4_1_s", ("70", "72"), "70 ~ 72", 900, 700, 4, 2, 1, LOOPS
)
DESIGN = Design(modules=[DENSE])


def read(folder: Path, text: str, name: str = "csynth.xml") -> Reports:
    (folder / name).write_text(text)
    return read_reports([folder / name], "nn_top")


def synthesis(folder: Path, text: str) -> Synthesis:
    found = read(folder, text).synthesis
    assert found is not None
    return found


def refused(folder: Path, text: str, name: str = "csynth.xml") -> str:
    with pytest.raises(ModelError) as caught:
        read(folder, text, name)
    message = str(caught.value)
    assert message.startswith(str(folder / name)), message
    return message


# Values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", Span(12, 12)),
        (" 12 ~ 34 ", Span(12, 34)),
        ("12~34", Span(12, 34)),
        ("~0", Span(0, 0)),
        *((text, None) for text in ("undef", "?", "-", "", "NA", "? ~ 5", "5 ~ ?", None)),
    ],
)
def test_counts(text: str | None, expected: Span | None) -> None:
    assert span(text, "here") == expected


@pytest.mark.parametrize("text", ["-5", "34 ~ 12", "1e9", "9" * 30, "12 ~ 34 ~ 56", "1.5"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be read \(found here: "):
        span(text, "here")


# C synthesis


def test_a_synthesis_report(tmp_path: Path) -> None:
    report = synthesis(tmp_path, DESIGN.xml())
    assert (report.version, report.part) == ("2024.2", PART)
    assert (report.clock, report.uncertainty) == (5.0, 1.35)
    assert report.available == Area(230400, 460800, 1728, 624, 96)
    assert (report.top.name, report.top.latency) == ("nn_top", Span(90, 120))
    assert (report.top.interval, report.top.period) == (Span(10, 10), 3.649)
    assert report.top.area == Area(100, 50, 1, 0, 0)
    (module,) = report.modules
    assert (module.name, module.latency) == (DENSE.name, Span(70, 72))
    assert (module.interval, module.area) == (Span(70, 72), Area(900, 700, 4, 2, 1))
    main, rows = module.loops
    assert (main.trips, main.latency, main.interval) == (Span(64, 64), Span(70, 70), Span(1, 1))
    assert (main.iteration, main.loops) == (Span(8, 8), ())
    assert (rows.trips, rows.latency, rows.interval) == (Span(1, 4), None, None)
    assert rows.iteration == Span(12, 12)
    (inner,) = rows.loops
    assert (inner.name, inner.trips, inner.interval) == ("inner", Span(10, 10), None)


def test_vivado_hls_names_its_slices(tmp_path: Path) -> None:
    report = synthesis(tmp_path, Design(version="2019.2", dsp_tag="DSP48E").xml())
    assert (report.top.area.dsp, report.available.dsp) == (1, 1728)


def test_what_a_report_leaves_open(tmp_path: Path) -> None:
    top = Function("nn_top", ("undef", "undef"), "? ~ ?", lut="-", ff="~0", uram="undef")
    report = synthesis(tmp_path, Design(top).xml().replace(">3.649<", ">-<"))
    assert (report.top.latency, report.top.interval, report.top.period) == (None, None, None)
    assert report.top.area == Area(None, 0, 1, 0, None)


def test_one_file_a_function(tmp_path: Path) -> None:
    """As Vivado HLS leaves them: the top's has no modules."""
    folder = tmp_path / "syn" / "report"
    folder.mkdir(parents=True)
    (folder / "csynth.xml").write_text(Design().xml())
    (folder / "nn_top_csynth.xml").write_text(Design().xml())
    (folder / f"{DENSE.name}_csynth.xml").write_text(Design(DENSE).xml())
    report = read_reports([tmp_path], "nn_top").synthesis
    assert report is not None
    assert [module.name for module in report.modules] == [DENSE.name]
    assert report.modules[0].area == Area(900, 700, 4, 2, 1)
    assert report.modules[0].interval == Span(70, 72)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<Part>", "<Pert>", "not a whole XML file"),
        (f"<Part>{PART}</Part>", "", "lacks <Part>"),
        (f"<Part>{PART}<", "<Part><", "no name in <Part>"),
        (f"<Part>{PART}<", f"<Part>{'x' * 500}<", "no name in <Part>"),
        ("<Worst-caseLatency>120</Worst-caseLatency>", "", "'nn_top': lacks <Worst-caseLatency>"),
        (">120<", ">80<", "'nn_top': holds a range that is none"),
        (">120<", ">twelve<", r"Worst-caseLatency: twelve"),
        ("<LUT>900</LUT>", "", rf"'{DENSE.name}': lacks <LUT>"),
        ("<LUT>900</LUT>", "<LUT>9e2</LUT>", rf"'{DENSE.name}': .*found LUT: 9e2"),
        ("<TargetClockPeriod>5.00<", "<TargetClockPeriod>5 ns<", "TargetClockPeriod: 5 ns"),
        ("UserAssignments>", "Assignments>", "not a report that is known"),
        ("<TopModelName>nn_top", "<TopModelName>other", "of another design"),
    ],
)
def test_a_damaged_synthesis_report(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = DESIGN.xml()
    assert old in text
    with pytest.raises(ModelError, match=message):
        read(tmp_path, text.replace(old, new))
    refused(tmp_path, text.replace(old, new))


def test_a_report_cut_off_anywhere(tmp_path: Path) -> None:
    text = DESIGN.xml().rstrip()
    for stop in range(0, len(text), 97):
        refused(tmp_path, text[:stop])


def test_hostile_xml(tmp_path: Path) -> None:
    text = DESIGN.xml()
    bomb = '<!DOCTYPE profile [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    assert "declares a document type" in refused(tmp_path, bomb + text)
    outside = '<!DOCTYPE profile SYSTEM "file:///etc/passwd">'
    assert "declares a document type" in refused(tmp_path, outside + text)
    assert "undefined entity" in refused(tmp_path, text.replace("2024.2", "&a;"))
    assert "nested or long" in refused(tmp_path, "<profile>" + "<a>" * 100_000)
    nested = "<SummaryOfLoopLatency>" + "<l><Latency>1</Latency>" * 80
    assert "nested or long" in refused(tmp_path, text.replace("<SummaryOfLoopLatency>", nested))
    assert "not a whole XML" in refused(tmp_path, "<profile>\x00</profile>")


def test_reports_beyond_all_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    assert "too large to be a report" in refused(tmp_path, "x" * 1001)
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(files, "MOST_ELEMENTS", 50)
    assert "nested or long" in refused(tmp_path, DESIGN.xml())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"csynth\.xml: cannot be read: No such file"):
        read_reports([tmp_path / "csynth.xml"], "nn_top")


# Co-simulation and C simulation


def test_a_cosimulation_report(tmp_path: Path) -> None:
    found = read(tmp_path, cosim(interval=(70, 71, 72)), "nn_top_cosim.rpt").cosimulation
    assert found is not None
    assert (found.language, found.passed, found.total) == ("Verilog", True, 300)
    assert (found.latency, found.interval) == (Cycles(96, 98, 100), Cycles(70, 71, 72))


def test_a_single_call_has_no_interval(tmp_path: Path) -> None:
    found = read(tmp_path, cosim(total=None), "hls_cosim.rpt").cosimulation
    assert found is not None
    assert (found.interval, found.total) == (Cycles(None, None, None), None)


def test_a_cosimulation_that_failed(tmp_path: Path) -> None:
    nothing = ("NA", "NA", "NA")
    found = read(tmp_path, cosim("Fail", nothing, nothing, "NA"), "hls_cosim.rpt").cosimulation
    assert found is not None
    assert not found.passed
    assert found.latency == Cycles(None, None, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Pass", "NA", "holds no result of a co-simulation"),
        ("Pass", "Perhaps", r"a status that is unknown \(found Perhaps"),
        ("96|", "9x6|", "found Verilog: 9x6"),
        ("96|", "96", r"a row that is cut off"),
        ("Status", "State", "not a report that is known"),
    ],
)
def test_a_damaged_cosimulation_report(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = cosim(total=None)
    assert old in text
    with pytest.raises(ModelError, match=message):
        read(tmp_path, text.replace(old, new), "hls_cosim.rpt")


@pytest.mark.parametrize(
    ("log", "passed"),
    [
        ("INFO: [SIM 211-1] CSim done with 0 errors.\n", True),
        ("INFO: [SIM 211-1] CSim done with 2 errors.\n", False),
        ("ERROR: [SIM 211-100] 'csim_design' failed: nonzero return value.\n", False),
        ("ERROR: [SIM 211-100] 'csim_design' failed: compilation error(s).\n", None),
        ("CSim done with 2 errors\nagain\nCSim done with 0 errors", True),
        ("", None),
    ],
)
def test_logs_of_c_simulation(tmp_path: Path, log: str, passed: bool | None) -> None:
    assert simulation_passed(log) is passed
    assert read(tmp_path, log, "nn_top_csim.log").simulated is passed


def test_logs_of_cosimulation() -> None:
    assert cosimulation_passed("INFO: *** C/RTL co-simulation finished: PASS ***") is True
    assert cosimulation_passed("ERROR: *** C/RTL co-simulation finished: FAIL ***") is False
    assert cosimulation_passed("// ERROR!!! DEADLOCK DETECTED at 1235 ns!") is False
    assert cosimulation_passed("INFO: starting") is None


# Vivado


def test_an_export_report(tmp_path: Path) -> None:
    (found,) = read(tmp_path, export_xml(), "export_impl.xml").implementations
    assert (found.stage, found.area) == ("implementation", Area(4000, 6000, 7, 5, 0))
    assert (found.clock, found.achieved, found.met, found.device) == (5.0, 4.321, True, PART)
    text = export_xml(kind="syn", met="FALSE")
    (found,) = read(tmp_path, text, "export_syn.xml").implementations
    assert (found.stage, found.met) == ("synthesis", False)


@pytest.mark.parametrize(
    "labels", [("CLB LUTs", "CLB Registers"), ("Slice LUTs", "Slice Registers")]
)
def test_a_utilization_report(tmp_path: Path, labels: tuple[str, str]) -> None:
    """A Block RAM Tile is two of 18 Kbit."""
    (found,) = read(tmp_path, utilization(labels), "nn_top_utilization_synth.rpt").implementations
    assert (found.stage, found.area) == ("synthesis", Area(4321, 6543, 12, 9, 0))
    assert (found.clock, found.met, found.device) == (None, None, PART)


@pytest.mark.parametrize(
    ("text", "old", "message"),
    [
        (utilization(), "| DSPs ", "lacks the row 'DSPs'"),
        (utilization(), " 4.5 ", "found Block RAM Tile: x"),
        (export_xml(), "<LUT>4000</LUT>", "lacks <LUT>"),
        (export_xml(), "4.321", "found AchievedClockPeriod: x"),
    ],
)
def test_a_damaged_vivado_report(tmp_path: Path, text: str, old: str, message: str) -> None:
    assert old in text
    assert message in refused(tmp_path, text.replace(old, "x"), "export_impl.xml")


# Folders


@pytest.mark.parametrize("places", [CLASSIC, UNIFIED])
def test_the_folders_of_both_flows(tmp_path: Path, places: dict[str, str]) -> None:
    log = "INFO: [SIM 211-1] CSim done with 0 errors.\n"
    texts = {"synthesis": DESIGN.xml(), "cosim": cosim(), "csim": log, "export": export_xml()}
    found = read_reports([lay_out(tmp_path, places, texts)], "nn_top")
    assert found.simulated is True
    assert found.synthesis is not None
    assert found.cosimulation is not None
    assert [report.stage for report in found.implementations] == ["implementation"]
    assert sorted(found.files) == sorted(str(tmp_path / place) for place in places.values())


def test_copies_of_a_report_are_one(tmp_path: Path) -> None:
    lay_out(tmp_path, UNIFIED, {"synthesis": DESIGN.xml(), "cosim": cosim()})
    lay_out(
        tmp_path, UNIFIED | {"cosim": "work/hls/sim/report/nn_top_cosim.rpt"}, {"cosim": cosim()}
    )
    assert read_reports([tmp_path], "nn_top").cosimulation is not None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("synthesis", Design(Function("nn_top", ("90", "120"), lut=101)).xml()),
        ("synthesis", Design(clock="4.00").xml()),
        ("cosim", cosim(latency=(1, 2, 3))),
        ("csim", "CSim done with 1 errors"),
        ("export", export_xml(4001)),
    ],
)
def test_reports_of_several_runs(tmp_path: Path, key: str, text: str) -> None:
    log = "CSim done with 0 errors"
    texts = {"synthesis": Design().xml(), "cosim": cosim(), "csim": log, "export": export_xml()}
    lay_out(tmp_path, CLASSIC, texts)
    lay_out(tmp_path, UNIFIED, {key: text})
    with pytest.raises(ModelError, match=r"differs from another report of .*lutra_hls"):
        read_reports([tmp_path], "nn_top")


def test_a_function_for_another_part(tmp_path: Path) -> None:
    (tmp_path / "csynth.xml").write_text(Design().xml())
    (tmp_path / "a_csynth.xml").write_text(Design(DENSE, part="xc7z020-clg400-1").xml())
    with pytest.raises(ModelError, match=r"a_csynth\.xml: is for another part .*xc7z020"):
        read_reports([tmp_path], "nn_top")


def test_a_folder_without_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ModelError, match=r"holds no reports \(expected csynth\.xml"):
        read_reports([tmp_path], "nn_top")
    monkeypatch.setattr("lutra.sim.vitis.reports.MOST_FILES", 0)
    with pytest.raises(ModelError, match="holds too many files"):
        read_reports([tmp_path], "nn_top")


@pytest.mark.parametrize("text", ["", "hello", "<html></html>", "\x7fELF\x02"])
def test_a_file_that_is_no_report(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text, "csynth.xml")
