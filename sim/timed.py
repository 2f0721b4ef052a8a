"""The timed run: the generated C++ itself, with a clock for each process.

The sources of a project are compiled with streams that have the project's depths and note the time
of each beat (``hls_templates/include/timed``), by the rules of docs/hardware.md.  What comes out is
when each frame was done, how full each FIFO was and who waited for what, or the ring of processes
that wait for each other; and the outputs, which are those of the C simulation.

It is told how deep each process's pipeline is.  That, and that loops reach interval 1, is assumed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from ..frontend.errors import ModelError, ToolchainError
from ..frontend.ops import Array
from .csim import combined
from .instrument import read_source, timed_bench, timed_kernels, timed_top
from .toolchain import Headers, compile_cpp, run_program

SOURCES = ("nn_top.h", "nn_top.cpp", "nn_layers.h", "nn_weights.h")


@dataclass(frozen=True)
class Wait:
    """A process that waits: for a place in a full FIFO, or for a beat of an empty one.

    ``cycles`` are all that it waited for that; none where it waits for ever.
    """

    process: str
    stream: str
    full: bool
    cycles: int | None = None

    def __str__(self) -> str:
        if self.full:
            return f"{self.process} waits for a place in {self.stream}, which is full"
        return f"{self.process} waits for a beat of {self.stream}, which is empty"


@dataclass(frozen=True)
class TimedRun:
    """What a timed run found.

    Attributes:
        finish: for each frame the cycle after the one in which its last beat is written.
        occupancy: for each FIFO the most beats that it held.
        depths: for each FIFO the beats that it can hold.
        waits: who waited for what; in a deadlock, who waits for whom in a ring.
        deadlock: whether the design stops for ever.
        output: raw integers, a row for each frame; none if it stops.
    """

    finish: tuple[int, ...] = ()
    occupancy: Mapping[str, int] = field(default_factory=dict)
    depths: Mapping[str, int] = field(default_factory=dict)
    waits: tuple[Wait, ...] = ()
    deadlock: bool = False
    output: Array | None = None

    @property
    def latency(self) -> int:
        """Cycles until the first frame is done."""
        return self.finish[0]

    @property
    def interval(self) -> int:
        """Cycles between the ends of the last two frames; of the only one its latency."""
        return self.finish[-1] - self.finish[-2] if len(self.finish) > 1 else self.finish[0]

    @property
    def shallow(self) -> tuple[str, ...]:
        """The full FIFOs of a deadlock: were one of them deeper, this ring would be none."""
        return tuple(wait.stream for wait in self.waits if wait.full and self.deadlock)


class TimedBinary:
    """Compiled projects, ready to be timed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(
        self,
        raw: Array,
        pipelines: Mapping[str, int],
        depths: Mapping[str, int] | None = None,
        index: int = 0,
    ) -> TimedRun:
        """Time one project.

        Args:
            raw: integers, channels last, frames first.
            pipelines: for each process the depth of its pipeline.
            depths: of FIFOs, where they shall not be the project's.
            index: which project.

        Raises:
            ToolchainError: the program fails, or what it runs cannot be timed.
        """
        with tempfile.TemporaryDirectory(prefix="lutra-timed-") as folder:
            here = Path(folder)
            flat = raw.reshape(len(raw), -1).astype(np.int64)
            (here / "in.dat").write_text("\n".join(map(str, flat.ravel().tolist())) + "\n")
            lines = [f"process {name} {depth}" for name, depth in pipelines.items()]
            lines += [f"stream {name} {depth}" for name, depth in (depths or {}).items()]
            (here / "depths.txt").write_text("\n".join(lines) + "\n")
            command = [str(self.path), str(index), "in.dat", "depths.txt", "out.dat", "report.txt"]
            done = run_program(command, here)
            if done.returncode:
                raise ToolchainError(
                    f"the timed run failed (status {done.returncode})",
                    found=(done.stderr + done.stdout).strip() or None,
                    remedy="If the project was edited, generate it again",
                )
            report = (here / "report.txt").read_text()
            if report.startswith("deadlock"):
                return TimedRun(waits=_waits(report), deadlock=True)
            output = np.array((here / "out.dat").read_text().split(), np.int64)
            return _result(report, output.reshape(len(raw), -1))


def _waits(report: str) -> tuple[Wait, ...]:
    """Lines ``wait PROCESS full|empty STREAM CYCLES``, or ``deadlock`` without cycles."""
    waits = []
    for line in report.splitlines():
        match line.split():
            case ["wait", process, how, stream, cycles]:
                waits.append(Wait(process, stream, how == "full", int(cycles)))
            case ["deadlock", process, how, stream]:
                waits.append(Wait(process, stream, how == "full"))
            case _:
                pass
    return tuple(waits)


def _result(report: str, output: Array) -> TimedRun:
    lines = [line.split() for line in report.splitlines()]
    streams = {words[1]: (int(words[2]), int(words[3])) for words in lines if words[0] == "stream"}
    return TimedRun(
        tuple(int(words[1]) for words in lines if words[0] == "finish"),
        {name: held for name, (_, held) in streams.items()},
        {name: depth for name, (depth, _) in streams.items()},
        _waits(report),
        output=output,
    )


@contextmanager
def timed(
    projects: Sequence[Path], headers: Headers, flags: Sequence[str] = ("-O1",)
) -> Iterator[TimedBinary]:
    """Compile projects for timing into one binary that lives as long as the context.

    All must have the same kernels.

    Raises:
        ModelError: a project was edited so that it cannot be timed.
        ToolchainError: the compiler fails.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lutra-timed-"))
        package = resources.files("lutra.hls_templates") / "include" / "timed"
        runtime = stack.enter_context(resources.as_file(package))
        here = Path(folder)
        for i, project in enumerate(projects):
            _rewrite(project, here / f"project_{i}", kernels=i == 0)
        main = here / "main.cpp"
        main.write_text(combined(len(projects), "bench.h"))
        binary = here / "timed"
        compile_cpp(
            [main],
            binary,
            headers=headers,
            flags=[*flags, "-DAP_INT_MAX_W=4096", f"-I{runtime}", "-Iproject_0/src"],
            cwd=here,
        )
        yield TimedBinary(binary)


def _rewrite(project: Path, folder: Path, *, kernels: bool) -> None:
    """The sources of a project, rewritten, in ``folder``."""
    (folder / "src" / "lutra").mkdir(parents=True)
    (folder / "tb").mkdir()
    for name in SOURCES:
        file = project / "src" / name
        text = read_source(file)
        rewrite = timed_top if name == "nn_top.cpp" else timed_kernels
        (folder / "src" / name).write_text(rewrite(text, str(file)))
    bench = project / "tb" / "nn_tb.cpp"
    (folder / "tb" / "nn_tb.cpp").write_text(timed_bench(read_source(bench), str(bench)))
    headers = sorted((project / "src" / "lutra").glob("*.h")) if kernels else ()
    if kernels and not headers:
        raise ModelError("has no kernels", file=str(project / "src" / "lutra"))
    for file in headers:
        text = timed_kernels(read_source(file), str(file))
        (folder / "src" / "lutra" / file.name).write_text(text)
