"""``lutra synth`` with programs that behave as Vitis HLS does, well and badly."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from lutra.synthesis import _alone, _watching

from .commands import Run, tree
from .fake_vitis import Fake, gone
from .synth_projects import design, prepared
from .vitis_reports import cosim, export_xml


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(here / "p", monkeypatch)


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
