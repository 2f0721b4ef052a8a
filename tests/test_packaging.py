"""The sdist and the wheel built from it hold every file, and the wheel works where it is alone."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("examples", "frontend", "hls_templates", "quantize", "sim")
KINDS = (".py", ".h", ".j2")
NEEDED = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")

pytestmark = pytest.mark.xdist_group("packaging")
"""All in one process of a parallel run: the archives are built once."""


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Standard output of a command that must succeed, far from this checkout's settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def expected() -> set[str]:
    """Paths under ``lutra/`` that both archives must hold, from the files in this checkout."""
    found = {f"lutra/{path.name}" for path in (ROOT / "lutra").glob("*.py")} | {"lutra/py.typed"}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.suffix in KINDS and "__pycache__" not in path.parts:
                found.add(f"lutra/{path.relative_to(ROOT).as_posix()}")
    return found


def copy_checkout(target: Path) -> None:
    """What a build reads, links and all, so that building leaves nothing behind in the checkout."""
    target.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("lutra", "docs", *ROOMS):
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=ignore)
    for name in (*NEEDED, "MANIFEST.in"):
        shutil.copy(ROOT / name, target)


def build(kind: str, source: Path, output: Path) -> Path:
    """Build with the setuptools at hand if it is new enough, without the network."""
    command = [sys.executable, "-m", "build", f"--{kind}", "--outdir", str(output), str(source)]
    if int(importlib.metadata.version("setuptools").split(".")[0]) >= 77:
        command.append("--no-isolation")
    run(command, source.parent)
    return max(output.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@dataclass(frozen=True)
class Built:
    """Both archives, and the environment that the wheel was installed in."""

    sdist: Path
    wheel: Path
    scripts: Path
    library: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("packaging")
    copy_checkout(folder / "checkout")
    sdist = build("sdist", folder / "checkout", folder / "dist")
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # from 3.11.4 on, and wanted from 3.14 on
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    wheel = build("wheel", unpacked, folder / "dist")

    environment = folder / "env"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], folder)
    where = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    library = Path(where.strip())
    # The dependencies of this environment, without the packages that it links to (Lutra itself):
    # the interpreter does not follow a .pth file inside a folder that a .pth file names.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (library / "dependencies.pth").write_text("\n".join(sorted(here)) + "\n")
    return Built(sdist, wheel, environment / "bin", library)


def test_sdist_holds_every_file(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert expected() <= names
    assert set(NEEDED) <= names
    assert [member.name for member in members if member.issym() or member.islnk()] == []


def test_wheel_holds_exactly_the_package(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - metadata == expected()
    assert any(name.endswith("/licenses/LICENSE") for name in metadata)


def test_every_room_has_files() -> None:
    """Else an empty expectation would agree with an empty archive."""
    names = expected()
    for room in ROOMS:
        assert any(name.startswith(f"lutra/{room}/") for name in names)
    assert any(name.startswith("lutra/hls_templates/include/lutra/") for name in names)
    assert any(name.startswith("lutra/hls_templates/templates/") for name in names)


def test_installed_package_is_the_wheels(built: Built, tmp_path: Path) -> None:
    code = (
        "import importlib, pkgutil, lutra\n"
        "print(lutra.__file__, lutra.__version__)\n"
        "for found in pkgutil.walk_packages(lutra.__path__, 'lutra.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
    )
    output = run([built.scripts / "python", "-W", "error", "-c", code], tmp_path)
    version = built.wheel.name.split("-")[1]
    assert output.split() == [str(built.library / "lutra" / "__init__.py"), version]


def test_command_line_runs_from_the_wheel(built: Built, tmp_path: Path) -> None:
    help_text = run([built.scripts / "lutra", "--help"], tmp_path)
    for command in ("demo", "train", "quantize", "generate", "verify", "doctor"):
        assert command in help_text
    assert run([built.scripts / "lutra", "doctor"], tmp_path)
    assert run([built.scripts / "python", "-m", "lutra", "--version"], tmp_path)
    assert list(tmp_path.iterdir()) == []
