"""Runs Vitis HLS on a project, stage by stage, where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...frontend.errors import ModelError, ToolchainError
from .checks import cosimulation_passed, simulation_passed
from .project import CONFIG, SCRIPT

STAGES = {
    "csim": "C simulation",
    "synth": "C synthesis",
    "cosim": "co-simulation",
    "export": "export",
}

UNIFIED = ("vitis-run", "v++")
CLASSIC = ("vitis_hls",)
COMMANDS = {
    "csim": "csim_design",
    "synth": "csynth_design",
    "cosim": "cosim_design",
    "export": "export_design",
}
"""Tcl commands of the stages."""

TICK = 0.2
"""Seconds between two looks at a running tool."""

MOST_LOG = 4 << 30
"""Bytes of a log at which a tool is given up."""

GRACE = 5.0
"""Seconds that a tool has to end before it is killed."""

Watch = Callable[[float, str], None]
"""Told the seconds that a stage has run for, and the last line of its log."""


@dataclass(frozen=True)
class Vitis:
    """The tools of one flow.

    Attributes:
        flow: ``unified`` (vitis-run and v++) or ``classic`` (vitis_hls).
        programs: paths of the programs that it needs.
    """

    flow: str
    programs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.programs[0]} ({self.flow} flow)"


@dataclass(frozen=True)
class Ended:
    """How a stage ended: what it was, whether its check passed, in how many seconds."""

    stage: str
    passed: bool
    seconds: float
    log: Path
    why: str | None = None


def find_vitis() -> Vitis | None:
    """The tools on the PATH or below ``$XILINX_VITIS`` or ``$XILINX_HLS``, the unified flow's
    first."""
    for flow, names in (("unified", UNIFIED), ("classic", CLASSIC)):
        programs = [_program(name) for name in names]
        found = tuple(program for program in programs if program is not None)
        if len(found) == len(names):
            return Vitis(flow, found)
    return None


def _program(name: str) -> str | None:
    if path := shutil.which(name):
        return path
    for variable in ("XILINX_VITIS", "XILINX_HLS"):
        folder = os.environ.get(variable)
        if folder and (path := shutil.which(name, path=str(Path(folder) / "bin"))):
            return path
    return None


def require_vitis() -> Vitis:
    """The tools.

    Raises:
        ToolchainError: there are none.
    """
    found = find_vitis()
    if found is None:
        raise ToolchainError(
            "Vitis HLS was not found",
            expected="vitis-run and v++, or vitis_hls, on the PATH or below $XILINX_VITIS",
            remedy="It would add synthesis, co-simulation and the IP; install it and source its "
            "settings64.sh, or give reports that were made elsewhere: --reports FOLDER",
        )
    return found


def work_folder(project: Path, vitis: Vitis) -> Path:
    """Where the tools keep what they make."""
    return project / ("synth/work" if vitis.flow == "unified" else "lutra_hls")


class Runner:
    """Runs stages of one project; logs and scripts are kept in its folder ``synth``."""

    def __init__(self, project: Path, vitis: Vitis, stages: Sequence[str]) -> None:
        self.project = project
        self.vitis = vitis
        self.stages = stages
        self.folder = project / "synth"
        self.fresh = "synth" in stages

    def check(self) -> None:
        """Make sure that the stages can be run.

        Raises:
            ModelError: a stage needs another one that was not run, or the project's script lacks
                its command.
        """
        needs = [stage for stage in self.stages if stage in ("cosim", "export")]
        work = work_folder(self.project, self.vitis)
        if needs and not self.fresh and not any(work.glob("**/csynth.xml")):
            raise ModelError(
                f"{STAGES[needs[0]]} needs a design that is synthesised",
                file=str(self.project),
                remedy="Give --synth as well",
            )
        if self.vitis.flow == "classic":
            for stage in self.stages:
                self._script(stage)

    def run(self, stage: str, limit: float, watch: Watch) -> Ended:
        """Run one stage.

        Raises:
            ToolchainError: the tool fails, cannot be started, or runs for more than ``limit``
                seconds; what the log says first is in the message.
        """
        self.folder.mkdir(exist_ok=True)
        if stage == self.stages[0] and self.fresh and self.vitis.flow == "unified":
            shutil.rmtree(work_folder(self.project, self.vitis), ignore_errors=True)
        log = self.folder / f"{stage}.log"
        start = time.monotonic()
        status = _run(self._command(stage), self.folder, log, limit, watch)
        seconds = time.monotonic() - start
        passed = self._passed(stage, log)
        if passed is False:
            return Ended(stage, False, seconds, log, first_error(log))
        if status:
            raise ToolchainError(
                f"the {STAGES[stage]} failed (status {status})",
                file=str(log),
                found=first_error(log),
                remedy="The log says more; nothing was recorded in the project",
            )
        return Ended(stage, True, seconds, log)

    @staticmethod
    def _passed(stage: str, log: Path) -> bool | None:
        """What the log says of a check; None if nothing, or of a stage that checks nothing."""
        judge = {"csim": simulation_passed, "cosim": cosimulation_passed}.get(stage)
        return judge(_tail(log, 1 << 20)) if judge else None

    def _command(self, stage: str) -> list[str]:
        if self.vitis.flow == "classic":
            script = self.folder / f"run_{stage}.tcl"
            script.write_text(self._script(stage), encoding="utf-8")
            return [self.vitis.programs[0], "-f", script.name]
        vitis_run, compiler = self.vitis.programs
        program = {
            "csim": [vitis_run, "--mode", "hls", "--csim"],
            "synth": [compiler, "-c", "--mode", "hls"],
            "cosim": [vitis_run, "--mode", "hls", "--cosim"],
            "export": [vitis_run, "--mode", "hls", "--package"],
        }[stage]
        return [*program, "--config", f"../{CONFIG}", "--work_dir", "work"]

    def _script(self, stage: str) -> str:
        """The project's own script with the commands of this stage alone.

        The first stage of a synthesis starts afresh; later ones open what is there.
        """
        file = self.project / SCRIPT
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        others = [command for name, command in COMMANDS.items() if name != stage]
        kept = [line for line in lines if not line.split()[:1] or line.split()[0] not in others]
        if not any(line.split()[:1] == [COMMANDS[stage]] for line in kept):
            raise ModelError(
                f"has no {COMMANDS[stage]}",
                file=str(file),
                remedy="Generate the project again, or leave this stage out",
            )
        first = stage == self.stages[0]
        if stage in ("cosim", "export") or not first:
            opening = ("open_project", "open_solution", COMMANDS[stage], "exit")
            kept = [line for line in kept if line.split()[:1] and line.split()[0] in opening]
        if not (first and self.fresh):
            kept = [re.sub(r"^(open_\w+) -reset", r"\1", line) for line in kept]
        return "\n".join(["cd ..", *kept]) + "\n"


def first_error(log: Path) -> str | None:
    """The first line of a log that tells of an error, or else its last one."""
    last = None
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(4096):
                if re.match(r"\s*(ERROR|FATAL|CRITICAL ERROR|@E|error)\b\s*[:\[]", line):
                    return line.strip()
                last = line.strip() or last
    except OSError:
        pass
    return last


def _tail(log: Path, size: int) -> str:
    """The end of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


def _run(command: list[str], folder: Path, log: Path, limit: float, watch: Watch) -> int:
    """Run a program with its output in ``log``; whatever happens, nothing of it keeps running."""
    with log.open("wb") as file, _interrupted():
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolchainError(
                f"the program cannot be started: {error.strerror or error}", file=command[0]
            ) from None
        try:
            return _wait(process, log, limit, watch)
        finally:
            _stop(process)


def _wait(process: subprocess.Popen[bytes], log: Path, limit: float, watch: Watch) -> int:
    start = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(TICK)
        seconds = time.monotonic() - start
        lines = _tail(log, 4096).strip().splitlines()
        watch(seconds, lines[-1] if lines else "")
        if seconds > limit:
            raise ToolchainError(
                "the tool does not end and was stopped",
                file=str(log),
                found=f"no result after {limit:g} s; its last line: {lines[-1] if lines else '-'}",
                remedy="Give it more time with --time-limit",
            )
        if log.stat().st_size > MOST_LOG:
            raise ToolchainError("the tool writes without end and was stopped", file=str(log))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that it started, with a moment to tidy up."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


@contextmanager
def _interrupted() -> Iterator[None]:
    """Take requests to end as an interrupt from the keyboard, so that what runs is ended first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {kind: signal.signal(kind, interrupt) for kind in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)
