"""What is installed on this machine, and what each missing part would add."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from .frontend.errors import ToolchainError
from .sim.toolchain import find_compiler, find_headers


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
            )
        ),
        Part("g++", _compiler(), "verify: C simulation", "apt install g++, or set CXX"),
        Part("ap_fixed headers", _headers(ap_include), "verify: C simulation", _extra("csim")),
        Part("make", _tool("make"), "make csim in a project", "apt install make"),
    ]
    for name, adds, extra in (
        ("scikit-learn", "demo and the digits recipes", "examples"),
        ("matplotlib", "report: the page with pictures", "report"),
        ("onnxruntime", "tests and benchmarks", "bench"),
        ("torch", "benchmarks", "bench"),
    ):
        parts.append(Part(name, _package(name), adds, _extra(extra)))
    tool = next((t for t in ("vitis-run", "vitis_hls") if shutil.which(t)), None)
    parts.append(
        Part("Vitis HLS", tool and shutil.which(tool), "synthesis of a project", "from AMD")
    )
    return parts


def diagnosis_table(parts: list[Part]) -> Table:
    """The table of ``lutra doctor``."""
    table = Table(title="what Lutra finds on this machine", title_justify="left")
    table.add_column("part", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("for")
    table.add_column("if missing")
    for part in parts:
        found = Text(part.found) if part.found else Text("missing", style="bold yellow")
        table.add_row(part.name, found, part.adds, "" if part.found else Text(part.remedy))
    return table


def _extra(name: str) -> str:
    return f"pip install 'lutra[{name}]'"


def _package(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tool(name: str) -> str | None:
    return shutil.which(name)


def _compiler() -> str | None:
    try:
        path = find_compiler()
    except ToolchainError:
        return None
    done = subprocess.run([path, "-dumpversion"], capture_output=True, text=True, check=False)
    return f"{path} {done.stdout.strip()}"


def _headers(ap_include: str | None) -> str | None:
    try:
        headers = find_headers(ap_include)
    except ToolchainError:
        return None
    stream = "" if headers.has_stream else " (with our hls_stream.h)"
    return f"{headers.source}{stream}"
