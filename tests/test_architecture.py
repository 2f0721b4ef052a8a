"""The arrows of imports run one way, and importing Lutra needs the core dependencies only."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOOR = "lutra"
MAY_IMPORT = {
    "frontend": {"frontend"},
    "quantize": {"frontend", "quantize"},
    "sim": {"frontend", "quantize", "sim"},
    "hls_templates": {"frontend", "quantize", "hls_templates"},
    "examples": {"frontend", "quantize", "sim", "examples"},
    DOOR: {"frontend", "quantize", "sim", "hls_templates", "examples", DOOR},
}
# The csim harness compiles what the generator writes, so it alone may call it.
EXCEPTIONS = {("sim/csim.py", "hls_templates")}
ROOMS = sorted(MAY_IMPORT.keys() - {DOOR})


def modules(room: str) -> list[Path]:
    """Python files of a room; of the door, those that are not behind one of its links."""
    return sorted((ROOT / room).glob("*.py" if room == DOOR else "**/*.py"))


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and absolute dotted name of all that a module of ``package`` imports, at any depth."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield node.lineno, tuple(name.name.split("."))
            case ast.ImportFrom(module=module, names=names, level=level):
                start = package[: len(package) - level + 1] if level else ()
                base = (*start, *(module.split(".") if module else ()))
                for name in names:
                    yield node.lineno, (*base, name.name)


def imports_of(path: Path, room: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and absolute dotted name of each import of a module in a room."""
    inside = path.relative_to(ROOT / room).parent.parts
    package = (DOOR, *inside) if room == DOOR else (DOOR, room, *inside)
    return imported(ast.parse(path.read_text()), package)


def rooms_imported(path: Path, room: str) -> Iterator[tuple[int, str]]:
    """Line and room of each import of Lutra in a module."""
    for line, name in imports_of(path, room):
        if name[0] == DOOR:
            yield line, name[1] if len(name) > 1 and name[1] in ROOMS else DOOR
        elif name[0] in ROOMS:
            yield line, f"{name[0]} without lutra. before it"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_follow_the_arrows(room: str) -> None:
    files = modules(room)
    assert files
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path in files
        for line, target in rooms_imported(path, room)
        if target not in MAY_IMPORT[room]
        and (path.relative_to(ROOT).as_posix(), target) not in EXCEPTIONS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("package", "source", "names"),
    [
        ("lutra.sim", "import os, numpy.linalg", ["os", "numpy.linalg"]),
        ("lutra.sim", "from . import csim", ["lutra.sim.csim"]),
        ("lutra.sim", "from ..frontend.graph import Graph", ["lutra.frontend.graph.Graph"]),
        ("lutra.frontend.ops", "from ...sim import csim", ["lutra.sim.csim"]),
        ("lutra", "def f():\n    from .sim.csim import run", ["lutra.sim.csim.run"]),
    ],
)
def test_names_of_imports(package: str, source: str, names: list[str]) -> None:
    found = imported(ast.parse(source), tuple(package.split(".")))
    assert [".".join(name) for _, name in found] == names


PARTS = {"google", "markupsafe"}
"""Packages that are part of a dependency's interface: onnx stores its models by protobuf, which is
imported as google, and Jinja marks safe text by MarkupSafe."""

ON_A_BOARD = {"hls_templates/host_driver.py": {"pynq", "pyxrt"}}
"""What a file of generated projects imports where it is run, which is not here."""


def core_dependencies() -> set[str]:
    """Import names of the dependencies, which are also what they are installed by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[^\w-]", name)[0] for name in project["dependencies"]} | PARTS


def test_only_core_dependencies_are_imported() -> None:
    """Packages of the extras are looked for at run time, so that a missing one can be named."""
    allowed = core_dependencies() | sys.stdlib_module_names | {DOOR}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name[0]}"
        for room in MAY_IMPORT
        for path in modules(room)
        for line, name in imports_of(path, room)
        if name[0] not in allowed | ON_A_BOARD.get(path.relative_to(ROOT).as_posix(), set())
    ]
    assert wrong == []
