"""Programs that behave as Vitis HLS would: they write reports, fail, hang or start children."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from .vitis_reports import CLASSIC, UNIFIED

PROGRAM = """\
import json, os, pathlib, signal, subprocess, sys, time

here = pathlib.Path(__file__).resolve().parent
plan = json.loads((here / "plan.json").read_text())
arguments = sys.argv[1:]
if "-f" in arguments:
    script = pathlib.Path(arguments[arguments.index("-f") + 1]).read_text()
    commands = {line.split()[0] for line in script.splitlines() if line.split()}
    names = ("csim_design", "csynth_design", "cosim_design", "export_design")
    (stage,) = [s for s, c in zip(("csim", "synth", "cosim", "export"), names) if c in commands]
    root, places = pathlib.Path(".."), plan["classic"]
else:
    assert arguments[arguments.index("--mode") + 1] == "hls", arguments
    assert pathlib.Path(arguments[arguments.index("--config") + 1]).is_file(), arguments
    assert arguments[arguments.index("--work_dir") + 1] == "work", arguments
    kinds = {"--csim": "csim", "-c": "synth", "--cosim": "cosim", "--package": "export"}
    (stage,) = [kinds[a] for a in arguments if a in kinds]
    root, places = pathlib.Path("."), plan["unified"]
with (here / "ran").open("a") as file:
    file.write(stage + "\\n")
print("INFO: [HLS 200-10] Running", stage, flush=True)
action = plan["actions"].get(stage, "")
if action == "hang":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (here / "children").write_text(f"{os.getpid()} {child.pid}")
    print("still working", flush=True)
    time.sleep(600)
if action == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (here / "children").write_text(str(os.getpid()))
    time.sleep(600)
if action.startswith("die"):
    print("WARNING: [HLS 200-1] of no weight")
    print("ERROR: [HLS 214-124] use of undeclared identifier 'x'")
    print("ERROR: [HLS 200-70] '" + stage + "' failed.")
    sys.exit(1)
if stage in plan["reports"]:
    file = root / places[{"synth": "synthesis"}.get(stage, stage)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(plan["reports"][stage])
if action:
    print(action)
    sys.exit(action.startswith("ERROR"))
if stage == "csim":
    print("INFO: [SIM 211-1] CSim done with 0 errors.")
"""


class Fake:
    """The programs of a flow in a folder, and what they are to do.

    Attributes:
        actions: by stage: ``die``, ``hang``, ``ignore`` (requests to end), or a last line to print.
        reports: by stage: the text of its report.
    """

    def __init__(self, folder: Path, flow: str, reports: Mapping[str, str]) -> None:
        self.folder = folder
        self.actions: dict[str, str] = {}
        self.reports = dict(reports)
        names = ("vitis-run", "v++") if flow == "unified" else ("vitis_hls",)
        folder.mkdir(parents=True)
        for name in names:
            program = folder / name
            program.write_text(f"#!{sys.executable}\n{PROGRAM}")
            program.chmod(0o755)
        self.save()

    def save(self) -> None:
        plan = {
            "actions": self.actions,
            "reports": self.reports,
            "classic": CLASSIC,
            "unified": UNIFIED,
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))

    def will(self, **actions: str) -> None:
        self.actions |= actions
        self.save()

    def ran(self) -> list[str]:
        """The stages that were run, in order."""
        file = self.folder / "ran"
        return file.read_text().split() if file.exists() else []

    def children(self) -> list[int]:
        """Processes of a stage that hangs."""
        file = self.folder / "children"
        return [int(word) for word in file.read_text().split()] if file.exists() else []


def gone(processes: Iterable[int]) -> bool:
    """Whether processes ended; one that was killed may take a moment to vanish."""
    for _ in range(200):
        if not any(map(_alive, processes)):
            return True
        time.sleep(0.05)
    return False


def _alive(process: int) -> bool:
    """Whether a process runs; one that ended and waits to be asked about it does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
