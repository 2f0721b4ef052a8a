"""Generated C++ under two compilers: no warning, no undefined behaviour, and the same values.

``make cpp`` runs this file alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.errors import ToolchainError
from lutra.hls_templates.project import Options
from lutra.sim.csim import compare, compiled
from lutra.sim.toolchain import find_headers, run_program

from .cpp_projects import GROUPS, THEIRS, Made, made, require, warnings
from .test_generator import chain

SANITIZE = [
    "-O0",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=address",
    "-Wno-unknown-pragmas",
]

EVERY = {"clang++": 3, "g++": 6}
"""Which share of the projects is run under sanitizers; g++ takes twice as long for them."""


def misbehaviour(reports: str) -> list[str]:
    """What sanitizers report, but for what AMD's headers do on their own."""
    found = re.findall(r"^.*(?:runtime error:|ERROR: AddressSanitizer).*$", reports, re.MULTILINE)
    return [line for line in found if not THEIRS.search(line)]


def sanitized(
    compiler: str, projects: list[Made], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Run projects under sanitizers: what these report, and values that differ."""
    logs = folder / "logs"
    logs.mkdir()
    monkeypatch.setenv("CXX", compiler)
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        monkeypatch.setenv(name, f"log_path={logs}/log:print_stacktrace=0:detect_leaks=1")
    wrong = []
    with compiled([project.path for project in projects], find_headers(), SANITIZE) as binary:
        for i, project in enumerate(projects):
            try:
                results = binary.run(project.graph, project.inputs, i)
            except ToolchainError as error:
                wrong.append(f"{project.path.name}: {error}")
                continue
            result = compare(project.graph, dict(project.values), results)
            if result.first is not None:
                wrong.append(f"{project.path.name}: {result.first}")
    reports = "".join(file.read_text(errors="replace") for file in sorted(logs.iterdir()))
    return wrong + misbehaviour(reports)


@pytest.mark.parametrize("compiler", EVERY)
@pytest.mark.parametrize("group", GROUPS)
def test_projects(
    group: str, compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = require(compiler)
    share = EVERY[compiler]
    makers = list(GROUPS[group](tmp_path))
    # Other tests have g++ warn of every kind of process.
    projects = [make() for make in (makers if compiler == "clang++" else makers[::share])]
    chosen = projects[::share] if compiler == "clang++" else projects
    assert len(chosen) > 1
    assert warnings(program, projects) == []
    assert sanitized(program, chosen, tmp_path, monkeypatch) == []


@pytest.fixture
def project(tmp_path: Path) -> Made:
    """A small one, to be broken."""
    graph, x = chain(4, 3), np.ones((2, 4), np.float32)
    return made(graph, x, Options(), tmp_path / "project")


def break_kernel(project: Made, lines: str) -> None:
    kernel = project.path / "src" / "lutra" / "dense.h"
    text = kernel.read_text()
    place = "int group = 0;"
    assert place in text
    kernel.write_text(text.replace(place, f"{place}\n    {lines}", 1))


BROKEN = {
    "volatile int most = 2147483647; most = most + 1;": "signed integer overflow",
    "volatile int one = 1, by = 40; one = one << by;": "shift exponent 40 is too large",
    "volatile int at = 5; int* cells = new int[5]; cells[at] = 1;": "heap-buffer-overflow",
}


@pytest.mark.parametrize("compiler", EVERY)
def test_what_is_broken_is_found(
    project: Made, compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each check can fail: the same project with lines that it must not have."""
    program = require(compiler)
    break_kernel(project, "int spare;")
    assert "unused variable" in "".join(warnings(program, [project]))
    break_kernel(project, "\n".join(BROKEN))
    found = "\n".join(sanitized(program, [project], tmp_path, monkeypatch))
    for report in BROKEN.values():
        assert report in found
    assert found.count("dense.h") >= 2


def test_what_the_headers_do_is_theirs() -> None:
    theirs = "/x/ap_types/etc/ap_private.h:2109:32: runtime error: left shift of negative value -1"
    ours = "/x/src/lutra/dense.h:10:3: runtime error: left shift of negative value -1"
    other = "/x/ap_types/etc/ap_private.h:9:3: runtime error: index 5 out of bounds"
    assert misbehaviour("\n".join((theirs, ours, other))) == [ours, other]


def test_the_compilers_are_those_asked_for(tmp_path: Path) -> None:
    for compiler, word in (("g++", "Free Software"), ("clang++", "clang")):
        assert word in run_program([require(compiler), "--version"], tmp_path).stdout
