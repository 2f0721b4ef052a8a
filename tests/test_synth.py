"""``lutra synth``: with programs that behave as Vitis HLS does, and with reports given as files."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lutra.frontend.errors import ModelError
from lutra.sim.vitis.compare import Estimated, check_design, compare, estimated_total
from lutra.sim.vitis.project import load_project
from lutra.sim.vitis.reports import read_reports
from lutra.synthesis import _alone, _range, _watching

from .commands import Run, tree
from .fake_vitis import Fake, gone
from .vitis_reports import PART, Design, Function, cosim, export_xml, utilization

RANGES = {
    "lut": [90, 100, 150],
    "ff": [60, 80, 100],
    "dsp": [1, 1, 1],
    "bram18": [0, 0, 2],
    "uram": [0, 0, 0],
}


def kernels(project: Path) -> dict[str, str | None]:
    return {process.name: process.kernel for process in load_project(project).processes}


def set_manifest(project: Path, **values: Any) -> None:
    file = project / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def estimate(project: Path) -> dict[str, Any]:
    """An estimate with the same figures for each process."""
    return {
        "part": PART,
        "clock_ns": 5.0,
        "latency": 100,
        "interval": 73,
        "resources": RANGES | {"lut": [80, 100, 120]},
        "processes": [
            {
                "name": name,
                "layer": "l",
                "kernel": kernel,
                "depth": 4,
                "period": 73,
                "resources": RANGES,
            }
            for name, kernel in kernels(project).items()
        ],
    }


def design(project: Path, **changes: Any) -> Design:
    """The report of a project: every process's module, and one of a loop in it."""
    modules = [
        Function(f"{kernel}_{name}_config_12_4_1_s", ("70", "72"), "72")
        for name, kernel in kernels(project).items()
    ]
    loop = Function(modules[0].name.removesuffix("_s") + "_Pipeline_VITIS_LOOP_39_1")
    return Design(modules=[loop, *modules], **changes)


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an estimate, on a machine without Vitis."""
    for name in ("XILINX_VITIS", "XILINX_HLS"):
        monkeypatch.delenv(name, raising=False)
    set_manifest(here / "p", estimate=estimate(here / "p"))
    return here / "p"


@pytest.fixture(params=["unified", "classic"])
def vitis(
    request: pytest.FixtureRequest,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Fake:
    """Programs of either flow on the PATH."""
    folder = tmp_path / "vitis" / "bin"
    reports = {
        "synth": design(project).xml(),
        "cosim": cosim(interval=(70, 71, 72)),
        "csim": "INFO: [SIM 211-1] CSim done with 0 errors.\n",
        "export": export_xml(),
    }
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return Fake(folder, request.param, reports)


# Running


def test_simulation_and_synthesis(lutra: Run, project: Path, vitis: Fake) -> None:
    before = tree(project)
    outcome = lutra("synth", project)
    assert outcome.status == 0, outcome
    assert vitis.ran() == ["csim", "synth"]
    assert "C synthesis done in" in outcome.out
    assert "Vitis HLS 2024.2" in outcome.out
    assert "not in the report" not in outcome.out
    manifest = json.loads((project / "manifest.json").read_text())
    result = manifest.pop("synthesis")
    assert manifest == json.loads(str(before["manifest.json"] and before["manifest.json"].decode()))
    assert result["passed"] is True
    assert [stage["stage"] for stage in result["stages"]] == ["csim", "synth"]
    after = tree(project)
    assert {k: after[k] for k in before if k != "manifest.json"} == {
        k: before[k] for k in before if k != "manifest.json"
    }
    assert (project / "synth" / "synth.log").read_text().startswith("INFO: [HLS 200-10]")
    lutra("generate", "f.onnx", "-o", project, "--force")
    assert not (project / "synth").exists()


def test_all_stages(lutra: Run, project: Path, vitis: Fake) -> None:
    outcome = lutra("synth", project, "--all", "--json")
    assert outcome.status == 0, outcome
    assert vitis.ran() == ["csim", "synth", "cosim", "export"]
    result = json.loads(outcome.out)
    assert result["csim"] is True
    assert result["cosim"]["interval"] == [70, 71, 72]
    assert result["vivado"][0]["resources"]["lut"] == 4000
    assert "co-simulation done" in outcome.err


def test_later_stages_need_a_synthesis(lutra: Run, project: Path, vitis: Fake) -> None:
    outcome = lutra("synth", project, "--cosim")
    assert outcome.status == 2
    assert "co-simulation needs a design that is synthesised. Give --synth" in outcome.err
    assert lutra("synth", project, "--synth").status == 0
    assert lutra("synth", project, "--cosim", "--export").status == 0
    assert vitis.ran() == ["synth", "cosim", "export"]
    result = json.loads((project / "manifest.json").read_text())["synthesis"]
    assert result["synthesis"]["latency"] == [90, 120]


def test_simulation_alone_has_no_figures(lutra: Run, project: Path, vitis: Fake) -> None:
    before = (project / "manifest.json").read_bytes()
    outcome = lutra("synth", project, "--csim", "--json")
    assert (outcome.status, json.loads(outcome.out)["passed"]) == (0, True)
    assert (project / "manifest.json").read_bytes() == before


def test_scripts_of_the_classic_flow(lutra: Run, project: Path, tmp_path: Path) -> None:
    text = design(project).xml()
    fake = Fake(tmp_path / "vitis", "classic", {"synth": text, "cosim": cosim()})
    os.environ["PATH"] = f"{fake.folder}{os.pathsep}{os.environ['PATH']}"
    try:
        assert lutra("synth", project, "--synth", "--cosim").status == 0
    finally:
        os.environ["PATH"] = os.environ["PATH"].partition(os.pathsep)[2]
    first = (project / "synth" / "run_synth.tcl").read_text().splitlines()
    assert first[0] == "cd .."
    assert "open_project -reset lutra_hls" in first
    assert "csynth_design" in first
    assert not [line for line in first if line.startswith(("csim", "cosim", "export"))]
    assert (project / "synth" / "run_cosim.tcl").read_text().splitlines() == [
        "cd ..",
        "open_project lutra_hls",
        "open_solution solution1 -flow_target vivado",
        "cosim_design -trace_level none",
        "exit",
    ]


def test_a_script_without_the_stage(lutra: Run, project: Path, tmp_path: Path) -> None:
    script = project / "run_hls.tcl"
    script.write_text(script.read_text().replace("csim_design\n", ""))
    fake = Fake(tmp_path / "vitis", "classic", {})
    outcome = None
    os.environ["XILINX_HLS"] = str(fake.folder.parent)
    fake.folder.rename(fake.folder.with_name("bin"))
    try:
        outcome = lutra("synth", project)
    finally:
        del os.environ["XILINX_HLS"]
    assert outcome.status == 2
    assert "run_hls.tcl: has no csim_design" in outcome.err


# Failing


def test_a_stage_that_fails_half_way(lutra: Run, project: Path, vitis: Fake) -> None:
    vitis.will(synth="die")
    before = tree(project)
    outcome = lutra("synth", project)
    assert outcome.status == 2
    log = project / "synth" / "synth.log"
    assert f"error: {log}: the C synthesis failed (status 1)" in outcome.err
    assert "ERROR: [HLS 214-124] use of undeclared identifier 'x'" in outcome.err
    assert "200-70" not in outcome.err
    assert "Traceback" not in outcome.err
    after = tree(project)
    assert {name: after[name] for name in before} == before


def test_a_tool_that_writes_no_report(lutra: Run, project: Path, vitis: Fake) -> None:
    vitis.reports.pop("synth")
    vitis.save()
    before = (project / "manifest.json").read_bytes()
    outcome = lutra("synth", project, "--synth")
    assert outcome.status == 2
    assert (project / "manifest.json").read_bytes() == before


MISMATCH = "ERROR: [SIM 211-100] 'csim_design' failed: nonzero return value."


def test_a_simulation_that_finds_wrong_values(lutra: Run, project: Path, vitis: Fake) -> None:
    vitis.will(csim=MISMATCH)
    before = (project / "manifest.json").read_bytes()
    outcome = lutra("synth", project)
    assert outcome.status == 1
    assert "C simulation failed in" in outcome.out
    assert MISMATCH in outcome.out
    assert vitis.ran() == ["csim"]
    assert (project / "manifest.json").read_bytes() == before
    assert json.loads(lutra("synth", project, "--json").out)["passed"] is False


def test_a_simulation_that_does_not_compile(lutra: Run, project: Path, vitis: Fake) -> None:
    vitis.will(csim="ERROR: [SIM 211-100] 'csim_design' failed: compilation error(s).")
    outcome = lutra("synth", project)
    assert outcome.status == 2
    assert "the C simulation failed (status 1)" in outcome.err


def test_a_cosimulation_that_fails_with_status_0(lutra: Run, project: Path, vitis: Fake) -> None:
    vitis.will(cosim="*** C/RTL co-simulation finished: FAIL ***")
    assert lutra("synth", project, "--synth", "--cosim").status == 1
    vitis.will(cosim="")
    vitis.reports["cosim"] = cosim("Fail", ("NA",) * 3, ("NA",) * 3, "NA")
    vitis.save()
    outcome = lutra("synth", project, "--synth", "--cosim")
    assert outcome.status == 1
    assert "co-simulation: FAILED" in outcome.out


def test_a_tool_that_hangs(
    lutra: Run, project: Path, vitis: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    vitis.will(csim="hang")
    outcome = lutra("synth", project, "--time-limit", str(1.5 / 3600))
    assert outcome.status == 2
    assert "does not end and was stopped" in outcome.err
    assert "its last line: still working" in outcome.err
    assert "Give it more time with --time-limit" in outcome.err
    assert len(vitis.children()) == 2
    assert gone(vitis.children())


def test_a_tool_that_does_not_want_to_end(
    lutra: Run, project: Path, vitis: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lutra.sim.vitis.tools.GRACE", 0.2)
    vitis.will(csim="ignore")
    assert lutra("synth", project, "--time-limit", str(1.5 / 3600)).status == 2
    assert len(vitis.children()) == 1
    assert gone(vitis.children())


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_what_runs(project: Path, vitis: Fake, kind: signal.Signals) -> None:
    vitis.will(csim="hang")
    before = (project / "manifest.json").read_bytes()
    command = [sys.executable, "-m", "lutra", "synth", str(project)]
    root = Path(__file__).parent.parent
    running = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while running.poll() is None and len(vitis.children()) < 2:
        time.sleep(0.05)
    running.send_signal(kind)
    _, errors = running.communicate()
    assert running.returncode == 130, errors
    assert "stopped; nothing half-written was left behind" in errors
    assert len(vitis.children()) == 2
    assert gone(vitis.children())
    assert (project / "manifest.json").read_bytes() == before


def test_two_at_a_time(lutra: Run, project: Path, vitis: Fake) -> None:
    with _alone(project / "synth"):
        outcome = lutra("synth", project)
    assert outcome.status == 2
    assert "another lutra synth is at work on it" in outcome.err
    assert vitis.ran() == []


def test_a_program_that_cannot_run(lutra: Run, project: Path, vitis: Fake) -> None:
    for program in vitis.folder.iterdir():
        if program.name != "plan.json":
            program.write_text("no program")
    outcome = lutra("synth", project)
    assert outcome.status == 2
    assert "the program cannot be started" in outcome.err


# Reports given as files


def save(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    names = {"synthesis": "csynth.xml", "cosim": "nn_top_cosim.rpt", "impl": "export_impl.xml"}
    for key, text in texts.items():
        (folder / names[key]).write_text(text)
    return folder


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


def test_a_clock_that_was_not_reached(lutra: Run, project: Path, tmp_path: Path) -> None:
    text = design(project).xml().replace(">3.649<", ">5.5<")
    folder = save(tmp_path / "r", synthesis=text, impl=export_xml(met="FALSE"))
    lines = [line.split() for line in lutra("synth", project, "--reports", folder).out.splitlines()]
    assert ["Clock,", "ns", "5", "!", "5.5", "!", "4.321"] in lines


def test_a_stage_at_work_on_a_terminal() -> None:
    """Seconds and the last line, whatever is in it, on one line."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80)
    with _watching(console, "C synthesis") as watch:
        watch(12.3, "INFO: [red]working\x1b[2J " + "x" * 200)
    text = shown.getvalue()
    assert "C synthesis 12 s  INFO: [red]working\\x1b[2J" in text
    assert "xxx" in text
    assert "x" * 100 not in text


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


def test_bad_use(lutra: Run, project: Path) -> None:
    outcome = lutra("synth", project, "--reports", "x", "--csim")
    assert outcome.status == 2
    assert "--reports runs nothing" in outcome.err
    assert lutra("synth", "nowhere").status == 2
    assert lutra("synth", project, "--time-limit", "0").status == 2


def test_doctor_finds_it(lutra: Run, vitis: Fake) -> None:
    rows = {row["name"]: row for row in json.loads(lutra("doctor", "--json").out)}
    assert rows["Vitis HLS"]["found"].startswith(str(vitis.folder))
    assert rows["Vitis HLS"]["found"].endswith(" flow)")
