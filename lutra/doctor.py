"""What is installed on this machine, and what each missing part would add."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from .console import open_console, print_json, say
from .frontend.errors import ToolchainError
from .options import ap_option, json_option
from .show import new_table
from .sim.toolchain import find_compiler, find_headers
from .sim.vitis.tools import find_vitis


@click.command(
    epilog="Example: lutra doctor",
    short_help="Show what is installed, and what each missing part adds.",
)
@ap_option
@json_option
def doctor(ap_include: str | None, as_json: bool) -> None:
    """Show what is installed, and what each missing part would add."""
    parts = diagnose(ap_include)
    if as_json:
        print_json([part.to_dict() for part in parts])
    else:
        print_diagnosis(parts, open_console())


@dataclass(frozen=True)
class Part:
    """One thing that Lutra can use.

    Attributes:
        name: what it is.
        found: version or place; None if it is missing.
        adds: what it is for.
        remedy: how to get it.
        required: whether Lutra cannot run without it.
    """

    name: str
    found: str | None
    adds: str
    remedy: str
    required: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def diagnose(ap_include: str | None = None) -> list[Part]:
    """Look for every part."""
    parts = [
        Part("Python", platform.python_version(), "everything", "", True),
        *(
            Part(name, _package(name), adds, "pip install lutra", True)
            for name, adds in (
                ("numpy", "all arithmetic"),
                ("onnx", "model files"),
                ("jinja2", "generated projects"),
                ("click", "the command line"),
                ("rich", "tables and progress"),
            )
        ),
        _compiler(),
        _headers(ap_include),
        Part("make", shutil.which("make"), "make csim in a project", "apt install make"),
    ]
    for name, adds, extra in (
        ("scikit-learn", "demo and the recipes", "examples"),
        ("pillow", "the recipe image-filters", "examples"),
        ("matplotlib", "report: the page with pictures", "report"),
        ("onnxruntime", "inspect --check; tests", "bench"),
        ("torch", "benchmarks", "bench"),
    ):
        parts.append(Part(name, _package(name), adds, _extra(extra)))
    vitis = find_vitis()
    parts.append(
        Part(
            "Vitis HLS",
            str(vitis) if vitis else None,
            "synth: synthesis, co-simulation, IP",
            "install Vitis from AMD and source its settings64.sh, or give lutra synth its reports",
        )
    )
    return parts


def print_diagnosis(parts: list[Part], console: Console) -> None:
    """The table of ``lutra doctor``, and how to get what is missing."""
    table = new_table("What Lutra finds on this machine")
    table.add_column("Part", no_wrap=True)
    table.add_column("Found", overflow="fold")
    table.add_column("For")
    for part in parts:
        found = Text(part.found) if part.found else Text("missing", style="bold yellow")
        table.add_row(part.name, found, part.adds)
    console.print(table)
    missing = [part for part in parts if not part.found]
    if not missing:
        say(console, "Nothing is missing.")
    for part in missing:
        say(console, f"{part.name} missing: {part.remedy}")


def _extra(name: str) -> str:
    return f"pip install 'lutra[{name}]'"


def _package(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _compiler() -> Part:
    name, adds = "g++", "verify, build: C simulation"
    try:
        path = find_compiler()
    except ToolchainError as error:
        return Part(name, None, adds, str(error))
    try:
        command = [path, "-dumpversion"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return Part(name, None, adds, f"{path} does not run; set CXX to a compiler that does")
    return Part(name, f"{path} {done.stdout.strip()}", adds, "")


def _headers(ap_include: str | None) -> Part:
    name, adds = "ap_fixed headers", "verify, build: C simulation"
    try:
        headers = find_headers(ap_include)
    except ToolchainError as error:
        return Part(name, None, adds, str(error))
    stream = "" if headers.has_stream else " (with our hls_stream.h)"
    return Part(name, f"{headers.source}{stream}", adds, "")
