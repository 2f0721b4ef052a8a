"""Finds the compiler and AMD's arbitrary-precision headers for C simulation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..frontend.errors import ToolchainError

STANDARD = "-std=c++14"

TIME_LIMIT = 3600.0
"""Seconds after which a compiler or a C simulation is given up."""


@dataclass(frozen=True)
class Headers:
    """Where the arbitrary-precision headers are.

    Attributes:
        folder: it holds ``ap_fixed.h`` and ``ap_int.h``.
        source: which of the places it was found in.
        has_stream, has_axi: whether ``hls_stream.h`` and ``ap_axi_sdata.h`` are there too; a
            stand-in of ours serves for each that is not.
    """

    folder: Path
    source: str
    has_stream: bool
    has_axi: bool


def find_compiler() -> str:
    """Path of g++ (or of ``$CXX``).

    Raises:
        ToolchainError: there is none.
    """
    wanted = os.environ.get("CXX", "g++")
    found = shutil.which(wanted)
    if found is None:
        raise ToolchainError(
            "no C++ compiler was found",
            found=f"no '{wanted}' on the PATH",
            expected="g++",
            remedy="Install one (Debian, Ubuntu: apt install g++), or set CXX",
        )
    return found


def find_headers(ap_include: str | Path | None = None) -> Headers:
    """The first place that holds the headers: ``ap_include``, ``$LUTRA_AP_INCLUDE``, a Vitis
    install, the ``hls4ml`` package.

    Raises:
        ToolchainError: ``ap_include`` or the variable names a folder without them, or no place
            has them.
    """
    for source, folder, demanded in _places(ap_include):
        if (folder / "ap_fixed.h").is_file() and (folder / "ap_int.h").is_file():
            has_stream = (folder / "hls_stream.h").is_file()
            has_axi = (folder / "ap_axi_sdata.h").is_file()
            return Headers(folder.resolve(), source, has_stream, has_axi)
        if demanded:
            raise ToolchainError(
                f"{source} names a folder without the arbitrary-precision headers",
                file=str(folder),
                expected="a folder that holds ap_fixed.h and ap_int.h",
            )
    raise ToolchainError(
        "AMD's arbitrary-precision headers were not found",
        expected="a folder that holds ap_fixed.h and ap_int.h",
        remedy="Run: pip install 'lutra[csim]' (or give --ap-include, or set LUTRA_AP_INCLUDE)",
    )


def _places(ap_include: str | Path | None) -> Iterator[tuple[str, Path, bool]]:
    """Candidate folders: which place, the folder, and whether the user asked for just that."""
    if ap_include is not None:
        yield "--ap-include", Path(ap_include), True
    variable = os.environ.get("LUTRA_AP_INCLUDE")
    if variable:
        yield "LUTRA_AP_INCLUDE", Path(variable), True
    for name in ("XILINX_HLS", "XILINX_VITIS"):
        if os.environ.get(name):
            yield f"Vitis (${name})", Path(os.environ[name]) / "include", False
    for tool in ("vitis-run", "vitis_hls"):
        path = shutil.which(tool)
        if path:
            yield f"Vitis ({tool})", Path(path).resolve().parent.parent / "include", False
    spec = importlib.util.find_spec("hls4ml")
    for root in (spec.submodule_search_locations or []) if spec else []:
        yield "the hls4ml package", Path(root) / "templates" / "vivado" / "ap_types", False


@contextmanager
def include_flags(headers: Headers) -> Iterator[list[str]]:
    """Compiler flags that make the headers visible."""
    with ExitStack() as stack:
        flags = ["-isystem", str(headers.folder)]
        include = resources.files("lutra.hls_templates") / "include"
        for name, is_there in (("standin", headers.has_stream), ("standin_axi", headers.has_axi)):
            if not is_there:
                folder = stack.enter_context(resources.as_file(include / name))
                flags += ["-isystem", str(folder)]
        yield flags


def run_program(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in ``cwd``, where it also leaves its temporary files, and keep what it prints.

    Raises:
        ToolchainError: it cannot be started, or runs for longer than an hour.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | {"TMPDIR": str(cwd), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIME_LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise ToolchainError(
            "the program does not end and was stopped",
            file=command[0],
            found=f"no result after {TIME_LIMIT:g} s",
            remedy="If the project was edited, look for an endless loop; or give fewer samples",
        ) from None
    except OSError as error:
        raise ToolchainError(
            f"the program cannot be started: {error.strerror or error}", file=command[0]
        ) from None


def compile_cpp(
    sources: list[Path], output: Path, *, headers: Headers, flags: list[str], cwd: Path
) -> None:
    """Compile and link ``sources`` to ``output``.

    Raises:
        ToolchainError: the compiler fails; its first error is in the message.
    """
    with include_flags(headers) as include:
        command = [find_compiler(), STANDARD, *flags, *include, *map(str, sources)]
        done = run_program([*command, "-o", str(output)], cwd)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        raise ToolchainError(
            "the C++ does not compile",
            file=str(sources[0]),
            found=(lines or done.stderr.splitlines() or ["no message"])[0],
            remedy="If the project was not edited, this is a defect of Lutra; please report it",
        )
