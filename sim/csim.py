"""C simulation: the generated C++ compiled with g++ and run on raw integers.

Several projects can be compiled into one binary, each in a namespace of its own, so that many
small networks cost one run of the compiler.
"""

from __future__ import annotations

import math
import re
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..frontend.errors import ToolchainError
from ..frontend.ops import Array
from ..quantize.fixed import FixedGraph
from ..quantize.recurrence import Recurrence
from .toolchain import Headers, compile_cpp, run_program

GUARDS = ("NN_TOP_H", "NN_LAYERS_H", "NN_WEIGHTS_H")

PRELUDE = """\
#include <ap_axi_sdata.h>
#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>
#include "lutra/axis.h"
#include "lutra/bus.h"
#include "lutra/concat.h"
#include "lutra/constant.h"
#include "lutra/dense.h"
#include "lutra/elementwise.h"
#include "lutra/grouped.h"
#include "lutra/map.h"
#include "lutra/matmul.h"
#include "lutra/parallel.h"
#include "lutra/pool.h"
#include "lutra/rearrange.h"
#include "lutra/recurrent.h"
#include "lutra/softmax.h"
#include "lutra/stream.h"
#include "lutra/testbench.h"
#include "lutra/window.h"
"""


@dataclass(frozen=True)
class Mismatch:
    """The first value in which simulator and C simulation differ.

    Attributes:
        layer: layer of the model.
        value: the value's name in the fixed graph.
        frame: which sample.
        index: where in the value, channels last.
        simulated, compiled: the two raw integers.
    """

    layer: str
    value: str
    frame: int
    index: tuple[int, ...]
    simulated: int
    compiled: int

    def __str__(self) -> str:
        return (
            f"layer '{self.layer}', value '{self.value}', frame {self.frame}, index "
            f"{list(self.index)}: simulator {self.simulated}, C simulation {self.compiled}"
        )


class Binary:
    """Compiled projects, ready to run."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count

    def run(self, graph: FixedGraph, raw: Array, index: int = 0) -> dict[str, Array]:
        """Run one project on raw inputs (channels last, batch first).

        Returns:
            Raw int64 results by name, channels last: every value that the C++ computes, and the
            output.

        Raises:
            ToolchainError: the program fails, does not end, reads an empty stream, leaves data in
                one, or gives another number of values than the network has.
        """
        with tempfile.TemporaryDirectory(prefix="lutra-csim-") as folder:
            here = Path(folder)
            flat = raw.reshape(len(raw), -1).astype(np.int64)
            (here / "in.dat").write_text("\n".join(map(str, flat.ravel().tolist())) + "\n")
            command = [str(self.path), str(index), "in.dat", "out.dat", "trace.bin"]
            done = run_program(command, here)
            if done.returncode or "WARNING" in done.stdout + done.stderr:
                said = (done.stderr + done.stdout).strip()
                raise ToolchainError(
                    f"the C simulation failed ({_ending(done.returncode)})", found=said or None
                )
            try:
                output = np.array((here / "out.dat").read_text().split(), np.int64)
                trace = np.fromfile(here / "trace.bin", np.int64)
                return _named(graph, trace.reshape(len(raw), -1), output.reshape(len(raw), -1))
            except (OSError, ValueError, OverflowError) as error:
                raise ToolchainError(
                    "the C simulation did not give the values of the network",
                    found=getattr(error, "strerror", None) or error,
                    remedy="If the test bench was edited, generate the project again",
                ) from None

    def passes(self, bench_folder: Path) -> bool:
        """Whether the project's own test bench, run as delivered, finds its golden vectors."""
        done = run_program([str(self.path), "0"], bench_folder)
        return done.returncode == 0 and "WARNING" not in done.stdout + done.stderr


def _ending(status: int) -> str:
    """How a program ended, in words."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"stopped by {signal.Signals(-status).name}"
    except ValueError:
        return f"stopped by signal {-status}"


def _named(graph: FixedGraph, trace: Array, output: Array) -> dict[str, Array]:
    """The traced values by name, in the order of time: the C++ records steps as it takes them."""
    loops = (node.op for node in graph.nodes if isinstance(node.op, Recurrence))
    backwards = {inner.output for loop in loops if loop.reverse for inner in loop.body}
    values: dict[str, Array] = {}
    start = 0
    for node in graph.traced():
        shape = graph.shapes[node.output]
        stop = start + math.prod(shape)
        value = trace[:, start:stop].reshape(-1, *shape)
        values[node.output] = value[:, ::-1] if node.output in backwards else value
        start = stop
    if start != trace.shape[1]:
        raise ToolchainError(
            "the C simulation traced another number of values than the network has",
            found=trace.shape[1],
            expected=start,
        )
    (port,) = graph.outputs
    final = output.reshape(-1, *port.shape)
    if not np.array_equal(values.get(port.name, final), final):
        raise ToolchainError("the output stream differs from the last value that was traced")
    return values | {port.name: final}


@contextmanager
def compiled(
    projects: Sequence[Path], headers: Headers, flags: Sequence[str] = ("-O1",)
) -> Iterator[Binary]:
    """Compile projects, with tracing, into one binary that lives as long as the context."""
    with tempfile.TemporaryDirectory(prefix="lutra-csim-") as folder:
        here = Path(folder)
        main = here / "main.cpp"
        for i, project in enumerate(projects):
            (here / f"project_{i}").symlink_to(project.resolve())
        main.write_text(combined(len(projects)))
        binary = here / "csim"
        try:
            compile_cpp(
                [main],
                binary,
                headers=headers,
                flags=[*flags, "-DLUTRA_TRACE", "-DAP_INT_MAX_W=4096", "-Iproject_0/src"],
                cwd=here,
            )
        except ToolchainError as error:
            raise _in_project(error, projects) from None
        yield Binary(binary, len(projects))


def _in_project(error: ToolchainError, projects: Sequence[Path]) -> ToolchainError:
    """A compiler's error, with the project's place in it instead of a temporary one's."""
    if error.found is None:
        return error
    found = re.sub(r"\S*\bproject_(\d+)/", lambda m: f"{projects[int(m[1])]}/", str(error.found))
    place = re.match(r"(.+?):(\d+:.*)", found)
    error.file, error.found = (place[1], f"line {place[2]}") if place else (None, found)
    return error


def combined(count: int, *includes: str) -> str:
    """One program with every project in a namespace; its first argument chooses.

    ``includes`` are headers that its test benches need besides those of the kernels.
    """
    parts = [PRELUDE, *(f'#include "{name}"' for name in includes)]
    for i in range(count):
        parts.append(f"namespace project_{i} {{")
        parts.append(f"#define nn_top nn_top_{i}")  # those of C linkage share one namespace
        parts.append(f'#include "project_{i}/src/nn_top.cpp"')
        parts.append("#define main bench_main")
        parts.append(f'#include "project_{i}/tb/nn_tb.cpp"')
        parts.append("#undef main")
        parts.append("#undef nn_top")
        parts += [f"#undef {guard}" for guard in GUARDS]
        parts.append("}")
    parts.append("int main(int argc, char** argv) {")
    parts.append("    switch (argc > 1 ? std::atoi(argv[1]) : 0) {")
    parts += [
        f"        case {i}: return project_{i}::bench_main(argc - 1, argv + 1);"
        for i in range(count)
    ]
    parts.append("    }\n    return 2;\n}")
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class Comparison:
    """Simulator against C simulation, on raw integers with ``==``.

    Attributes:
        compared: values that were compared.
        wrong: how many of them differ.
        first: the first that does, in topological order.
    """

    compared: int
    wrong: int
    first: Mismatch | None

    def __add__(self, other: Comparison) -> Comparison:
        """Both comparisons, this one before the other."""
        return Comparison(
            self.compared + other.compared, self.wrong + other.wrong, self.first or other.first
        )


def compare(
    graph: FixedGraph,
    simulated: dict[str, Array],
    compiled_values: dict[str, Array],
    first_frame: int = 0,
) -> Comparison:
    """Compare every value that the C++ computes; both sides are channels last.

    ``first_frame`` is the number of the first sample, for the report of a mismatch.
    """
    layers = {node.output: graph.layers[node.name] for node in graph.every_node()}
    compared = wrong = 0
    first = None
    for name, theirs in compiled_values.items():
        ours = simulated[name]
        differs = np.argwhere(ours != theirs)
        compared += theirs.size
        wrong += len(differs)
        if len(differs) and first is None:
            frame, *index = (int(i) for i in differs[0])
            first = Mismatch(
                layers.get(name, name),
                name,
                first_frame + frame,
                tuple(index),
                int(ours[frame, *index]),
                int(theirs[frame, *index]),
            )
    return Comparison(compared, wrong, first)
