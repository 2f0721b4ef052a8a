"""Projects of every kind, small, to be compiled many at a time, and what compilers say of them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.adversarial import GanRecipe
from lutra.frontend.graph import Graph
from lutra.frontend.ops import Array
from lutra.frontend.recipe import BUILT_IN, Recipe, load_recipe
from lutra.frontend.storage import write_folder
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim import csim
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers, include_flags, run_program

from .cases import CASES, ROUNDED
from .test_csim import full_fold
from .test_processes import NETWORKS, rng, values_of

FRAMES = 3
STRICT = ["-std=c++14", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-DAP_INT_MAX_W=4096"]

THEIRS = re.compile(r"/etc/ap_private\.h:\d+:\d+: runtime error: left shift of ")
"""What g++'s sanitizer says of AMD's own headers: they extend signs by shifting negative numbers.
C++ defines that from C++20 on, and g++ does what is meant before, too."""


@dataclass(frozen=True)
class Made:
    """A project in its folder, its raw inputs, and all values that it must compute."""

    path: Path
    graph: FixedGraph
    inputs: Array
    values: Mapping[str, Array]


Maker = Callable[[], Made]
"""Writes a project: what a compiler does not get is not made."""


def processes(folder: Path) -> Iterator[Maker]:
    """Every kind of process, each network with its foldings."""
    for name in NETWORKS:
        yield partial(_processes, name, folder / name)


def _processes(name: str, path: Path) -> Made:
    graph, folds = NETWORKS[name]()
    format_ = graph.formats["x"]
    shape = (FRAMES, *graph.inputs[0].shape)
    raw = rng().integers(format_.low, format_.high, shape, endpoint=True)
    values = values_of(graph, raw)
    golden = values[graph.outputs[0].name].astype(np.int64)
    files = project_files(graph, Options(folding=Folding(folds)), raw, golden)
    write_folder(path, files, force=False)
    return Made(path, graph, raw, values)


def ops(folder: Path) -> Iterator[Maker]:
    """Every twelfth case of an op, with one multiplier and with all."""
    for case in [*CASES, *ROUNDED][::12]:
        x = case.arrays(FRAMES, np.float32)[0]
        for name, folding in (("one", Folding()), ("all", full_fold(case))):
            path = folder / f"{case.name}_{name}"
            yield partial(made, case.graph(), x, Options(folding=folding), path)


BUSES = (("axis", 64), ("axis", 24), ("m_axi", 512), ("m_axi", 32))


def buses(folder: Path) -> Iterator[Maker]:
    """Ports of either bus, wider and narrower than a frame."""
    cases = {case.name: case for case in CASES}
    for name, buses in (("dense", BUSES), ("conv_same", BUSES[1:3]), ("lstm", BUSES[::3])):
        case = cases[name]
        x = case.arrays(FRAMES, np.float32)[0]
        for kind, bits in buses:
            options = Options(folding=full_fold(case), interface=kind, bus_bits=bits)
            yield partial(made, case.graph(), x, options, folder / f"{name}_{kind}_{bits}")


def parallel(folder: Path) -> Iterator[Maker]:
    """Fully parallel networks: what ops become as one function."""
    cases = {case.name: case for case in CASES}
    for name in ("dense", "conv", "max_pool", "softmax", "add_row", "sigmoid", "prelu", "concat"):
        x = cases[name].arrays(FRAMES, np.float32)[0]
        yield partial(made, cases[name].graph(), x, Options(parallel=True), folder / name)
    graph, x = cases["dense"].graph(), cases["dense"].arrays(FRAMES, np.float32)[0]
    for kind, bits in BUSES[::2]:
        options = Options(parallel=True, interface=kind, bus_bits=bits)
        yield partial(made, graph, x, options, folder / f"dense_{kind}")


FOLDS = {
    "digits-mlp": Folding(
        {
            "dense1": Fold(16, 8, "packed"),
            "dense2": Fold(4, 64, "lut", "bram"),
            "dense3": Fold(10, 32, "dsp", "lutram"),
        }
    ),
    "digits-cnn": Folding({"conv1": Fold(8, 3), "conv2": Fold(4, 24, "packed")}),
    "digits-lstm": Folding({"lstm1": Fold(4, 2)}),
}
"""Foldings that use what kernels can be told."""


def recipes(folder: Path) -> Iterator[Maker]:
    """The networks of the recipes, untrained, over the interfaces."""
    kinds = ("stream", "axis", "m_axi")
    for i, name in enumerate(BUILT_IN):
        graph = untrained(name)
        shape = (FRAMES, *graph.inputs[0].shape)
        x = np.random.default_rng(i).uniform(-1, 1, shape).astype(np.float32)
        options = Options(folding=FOLDS.get(name, Folding()), interface=kinds[i % len(kinds)])
        yield partial(made, graph, x, options, folder / name)


def untrained(name: str) -> Graph:
    """The network of a recipe; one that is not trained at all as it is."""
    match load_recipe(name):
        case Recipe(build=build, head=head):
            return build(0).then(*head).graph(name)
        case GanRecipe(generator=generator):
            return generator(0).graph(name)
        case other:
            return other.run().graph


GROUPS: dict[str, Callable[[Path], Iterator[Maker]]] = {
    "processes": processes,
    "ops": ops,
    "buses": buses,
    "parallel": parallel,
    "recipes": recipes,
}


def made(graph: Graph, x: Array, options: Options, path: Path) -> Made:
    """Bring a network to 8 bits, and write its project."""
    fixed = lower(graph, calibrate(graph, Settings(), x))
    values = Simulator(fixed, keep=True).trace(x)
    inputs, outputs = values[fixed.inputs[0].name], values[fixed.outputs[0].name]
    write_folder(path, project_files(fixed, options, inputs, outputs), force=False)
    return Made(path, fixed, inputs, values)


def require(compiler: str) -> str:
    """Path of a compiler; a test is skipped without clang, unless the gate installed it."""
    found = shutil.which(compiler)
    if found is None:
        if compiler == "g++" or os.environ.get("LUTRA_REQUIRE_CLANG"):
            pytest.fail(f"{compiler} is not installed")
        pytest.skip(f"{compiler} is not installed (Debian, Ubuntu: apt install clang)")
    return found


def warnings(compiler: str, projects: list[Made]) -> list[str]:
    """What a compiler warns of in sources that are generated, or kernels, as they are delivered."""
    with (
        tempfile.TemporaryDirectory() as here,
        include_flags(find_headers()) as include,
    ):
        folder = Path(here)
        for i, project in enumerate(projects):
            (folder / f"project_{i}").symlink_to(project.path)
        (folder / "main.cpp").write_text(csim.combined(len(projects)))
        command = [compiler, "-fsyntax-only", *STRICT, "-Iproject_0/src", *include, "main.cpp"]
        done = run_program(command, folder)
    found = [line for line in done.stderr.splitlines() if re.search(r"(warning|error): ", line)]
    if done.returncode and not found:
        found = done.stderr.splitlines()[:3]
    return [
        re.sub(r"project_(\d+)/", lambda match: f"{projects[int(match[1])].path.name}/", line)
        for line in found
    ]
