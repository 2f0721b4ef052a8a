"""``lutra synth --reports``: reports beside estimates, and reports of other designs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lutra.frontend.errors import ModelError
from lutra.sim.vitis.compare import Estimated, check_design, compare, estimated_total
from lutra.sim.vitis.project import load_project
from lutra.sim.vitis.reports import read_reports
from lutra.synthesis import _range

from .commands import Run, tree
from .synth_projects import RANGES, design, kernels, prepared, save, set_manifest
from .vitis_reports import PART, Design, Function, cosim, export_xml, utilization


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(here / "p", monkeypatch)


def test_without_vitis(lutra: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    before = tree(project)
    outcome = lutra("synth", project)
    assert outcome.status == 2
    for words in ("Vitis HLS was not found", "co-simulation and the IP", "--reports FOLDER"):
        assert words in outcome.err
    assert tree(project) == before


def test_reports_beside_the_estimate(lutra: Run, project: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "r", synthesis=design(project).xml(), cosim=cosim(), impl=export_xml())
    outcome = lutra("synth", project, "--reports", folder, "--json")
    assert outcome.status == 0, outcome
    result = json.loads(outcome.out)
    assert [row["process"] for row in result["processes"]] == list(kernels(project))
    row = result["processes"][1]
    assert row["estimate"] == {"cycles": 73, "latency": None, "resources": RANGES}
    assert row["report"]["cycles"] == 73
    assert row["report"]["name"] == "dense_conv_layer_config_12_4_1_s"
    assert row["report"]["resources"]["lut"] == 100
    expected = {"lut": True, "ff": False, "dsp": True, "bram18": True, "uram": True}
    assert row["within"] == result["within"] == expected
    assert result["estimate"]["latency"] == 100
    assert result["synthesis"]["latency"] == [90, 120]
    assert (result["tool"], result["csim"], result["cosim"]["passed"]) == ("2024.2", None, True)


def test_the_table(lutra: Run, project: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "r", synthesis=design(project).xml(), cosim=cosim(), impl=export_xml())
    out = lutra("synth", project, "--reports", folder).out
    lines = [line.split() for line in out.splitlines()]
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("/")), out
    at = lines.index(["conv_layer", "73", "90-150", "60-100", "1", "0-2", "0"])
    assert lines[at + 1] == ["reported", "73", "100", "!", "50", "1", "0", "0"]
    assert ["Clock,", "ns", "5", "3.649", "4.321"] in lines
    assert ["Latency", "100", "90", "to", "120", "100"] in lines
    assert ["Interval", "73", "10", "?"] in lines
    assert ["LUT", "100", "80-120", "100", "!", "4000", "230400"] in lines
    assert ["FF", "80", "60-100", "!", "50", "!", "6000", "460800"] in lines
    assert ["URAM", "0", "0", "0", "0", "96"] in lines
    count = len(kernels(project))
    assert f"! marks what lies outside of the estimate's range: {count} figures." in out
    assert "co-simulation: passed" in out


def test_the_estimate_that_a_project_is_written_with(
    lutra: Run, here: Path, tmp_path: Path
) -> None:
    folder = save(tmp_path / "r", synthesis=design(here / "p").xml())
    result = json.loads(lutra("synth", here / "p", "--reports", folder, "--json").out)
    assert result["estimate"]["latency"] > result["estimate"]["cycles"] > 0
    for row in result["processes"]:
        assert row["kernel"]
        assert row["estimate"]["cycles"] > 0
        for low, expected, high in row["estimate"]["resources"].values():
            assert 0 <= low <= expected <= high


def test_a_clock_that_was_not_reached(lutra: Run, project: Path, tmp_path: Path) -> None:
    text = design(project).xml().replace(">3.649<", ">5.5<")
    folder = save(tmp_path / "r", synthesis=text, impl=export_xml(met="FALSE"))
    lines = [line.split() for line in lutra("synth", project, "--reports", folder).out.splitlines()]
    assert ["Clock,", "ns", "5", "!", "5.5", "!", "4.321"] in lines


def test_large_ranges_are_rounded_outwards() -> None:
    estimated = Estimated(1, None, {"lut": (12_900, 15_000, 17_001), "ff": (20_000,) * 3})
    assert [_range(estimated, name) for name in ("lut", "ff")] == ["12k-18k", "20000"]


def test_a_project_without_an_estimate(lutra: Run, project: Path, tmp_path: Path) -> None:
    set_manifest(project, estimate=None)
    folder = save(tmp_path / "r", synthesis=design(project, clock="4.00").xml())
    outcome = lutra("synth", project, "--reports", folder)
    assert outcome.status == 0
    assert "holds no estimate to compare with" in outcome.out
    assert "generated for 5 ns" in outcome.out
    assert "!" not in outcome.out


def test_a_module_that_the_report_lacks(lutra: Run, project: Path, tmp_path: Path) -> None:
    whole = design(project)
    text = Design(modules=whole.modules[:-1]).xml()
    out = lutra("synth", project, "--reports", save(tmp_path / "r", synthesis=text)).out
    assert out.count("not in the report") == 1


def test_figures_that_the_report_leaves_open(lutra: Run, project: Path, tmp_path: Path) -> None:
    names = [f"{kernel}_{name}_config_s" for name, kernel in kernels(project).items()]
    modules = [Function(name, ("undef", "undef"), "undef", lut="-") for name in names]
    text = Design(Function("nn_top", ("?", "?"), "? ~ ?", lut="undef"), modules).xml()
    outcome = lutra("synth", project, "--reports", save(tmp_path / "r", synthesis=text), "--json")
    result = json.loads(outcome.out)
    assert result["synthesis"]["latency"] is None
    assert result["processes"][0]["within"]["lut"] is None
    assert "?" in lutra("synth", project, "--reports", tmp_path / "r").out


def test_failed_cosimulation_given_as_a_file(lutra: Run, project: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "r", cosim=cosim("Fail"))
    assert lutra("synth", project, "--reports", folder).status == 1


def test_several_files(lutra: Run, project: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "r", synthesis=design(project).xml(), cosim=cosim())
    files = ("--reports", folder / "csynth.xml", "--reports", folder / "nn_top_cosim.rpt")
    assert lutra("synth", project, *files).status == 0


# Reports that are another design's


def check(project: Path, folder: Path) -> None:
    loaded = load_project(project)
    check_design(loaded, read_reports([folder], loaded.top))


def test_reports_of_other_designs(project: Path, tmp_path: Path) -> None:
    other = Design(modules=[Function("dense_other_layer_config_12_s")])
    for text, message in (
        (design(project, part="xc7z020-clg400-1").xml(), "another part .*xc7z020"),
        (other.xml(), "another design .*dense_other_layer_config"),
        (Design(modules=[Function("process_r")]).xml(), "another design .*process_r"),
        (Design(Function("myproject")).xml(), "another design .*myproject"),
    ):
        with pytest.raises(ModelError, match=message):
            check(project, save(tmp_path / "r", synthesis=text))
    save(tmp_path / "r", synthesis=design(project).xml())
    check(project, tmp_path / "r")
    foreign = design(project)
    extra = Function("pool_strange_stage_config_3_s")
    text = Design(modules=[*foreign.modules, extra]).xml()
    with pytest.raises(ModelError, match="module pool_strange_stage_config"):
        check(project, save(tmp_path / "r", synthesis=text))
    top = project / "src" / "nn_top.cpp"
    call = "    lutra::pool<strange_stage_config>(a, b);\n"
    top.write_text(top.read_text().replace("    lutra::", f"{call}    lutra::", 1))
    check(project, tmp_path / "r")


def test_the_device_of_a_utilization_report(project: Path, tmp_path: Path) -> None:
    """Vivado writes it without hyphens, and may leave out the speed."""
    save(tmp_path / "r", synthesis=design(project).xml())
    file = tmp_path / "r" / "nn_top_utilization.rpt"
    for device in (PART, "xczu7evffvc1156-2-e", "xczu7ev-ffvc1156"):
        file.write_text(utilization(device=device))
        check(project, tmp_path / "r")
    file.write_text(utilization(device="xc7z020clg400-1"))
    with pytest.raises(ModelError, match="Vivado's synthesis is for another part"):
        check(project, tmp_path / "r")


def test_a_design_of_one_process(project: Path, tmp_path: Path) -> None:
    """A fully parallel network may become part of the top function: it has no module."""
    manifest = json.loads((project / "manifest.json").read_text())
    set_manifest(project, processes=manifest["processes"][1:2])
    check(project, save(tmp_path / "r", synthesis=Design(modules=[Function("mul_16s")]).xml()))


def test_names_that_end_like_others(project: Path, tmp_path: Path) -> None:
    """A process 'layer' is not found in the module of 'conv_layer'."""
    manifest = json.loads((project / "manifest.json").read_text())
    process = {"name": "layer", "layer": "x", "reads": [], "writes": []}
    set_manifest(project, processes=[process, *manifest["processes"]])
    top = project / "src" / "nn_top.cpp"
    text = top.read_text()
    call = "    lutra::dense<layer_config>(a, b);\n    lutra::sliding"
    top.write_text(text.replace("    lutra::sliding", call, 1))
    loaded = load_project(project)
    names = [f"{p.kernel}_{p.name}_config_1_s" for p in loaded.processes if p.name != "layer"]
    whole = Design(modules=[Function(name) for name in names])
    rows = compare(loaded, read_reports([save(tmp_path / "r", synthesis=whole.xml())], "nn_top"))
    assert rows[0].module is None
    assert all(row.module for row in rows[1:])


# Projects that are none


@pytest.mark.parametrize("name", ["manifest.json", "hls_config.cfg", "run_hls.tcl"])
def test_a_folder_that_is_no_project(project: Path, name: str) -> None:
    (project / name).unlink()
    with pytest.raises(ModelError, match=rf"cannot|no {name}"):
        load_project(project)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"part": None, "clock_ns": "fast"}, "the manifest is damaged"),
        ({"processes": 5}, "the manifest is damaged"),
        ({"processes": [{"name": "a"}]}, "the manifest is damaged"),
        ({"estimate": [1]}, "the manifest is damaged"),
        ({"estimate": {}}, "estimate is damaged"),
        ({"estimate": {"interval": 1, "latency": 2, "resources": {"lut": [1, 2]}}}, "damaged"),
    ],
)
def test_a_damaged_manifest(project: Path, values: dict[str, Any], message: str) -> None:
    set_manifest(project, **values)
    with pytest.raises(ModelError, match=message):
        estimated_total(load_project(project))


def test_a_damaged_manifest_is_named(project: Path) -> None:
    for text in ("{", "[]", "[" * 100_000, "null"):
        (project / "manifest.json").write_text(text)
        with pytest.raises(ModelError, match=r"manifest\.json: the manifest is damaged"):
            load_project(project)
    set_text = (project / "hls_config.cfg").read_text().replace("syn.top=nn_top", "syn.top=a b")
    (project / "hls_config.cfg").write_text(set_text)
    with pytest.raises(ModelError, match="names no top function"):
        load_project(project)
