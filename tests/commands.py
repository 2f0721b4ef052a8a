"""The real command line, in process, and a folder of files to run it on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lutra.cli import main
from lutra.frontend.onnx.exporter import save
from lutra.quantize.fixed_onnx import FixedModel, save_fixed

from . import conftest

LABELS = np.arange(40) % 5


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its status and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: contents of files, None for what is no file."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def make_files(folder: Path, model: FixedModel) -> None:
    """A float model, the same in fixed point, data, and a project of it."""
    save(model.source, folder / "m.onnx")
    save_fixed(model, folder / "f.onnx")
    np.savez(folder / "c.npz", x=conftest.samples(), y=LABELS)
    np.save(folder / "x.npy", conftest.samples())
    call("generate", str(folder / "f.onnx"), "-o", str(folder / "p"))


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, fixed_cnn: FixedModel) -> Path:
    """Made once, and only copied from."""
    folder = tmp_path_factory.mktemp("files")
    make_files(folder, fixed_cnn)
    return folder


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with all the files, and the current one."""
    folder = tmp_path / "here"
    shutil.copytree(files, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def lutra(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: ``lutra("inspect", "m.onnx")``."""

    def run(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        status = call(*map(str, arguments))
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return run


@pytest.fixture
def refused(lutra: Run, here: Path) -> Callable[..., str]:
    """Runs a command that must be refused, and gives its message.

    Checked each time: status 2, nothing on standard output (but that the compiler runs, with
    ``working``), one line on standard error without a traceback or a control character, and every
    file as it was.
    """

    def run(*arguments: str | Path, working: bool = False) -> str:
        before = tree(here)
        outcome = lutra(*arguments)
        assert outcome.status == 2, outcome
        assert outcome.out == ("compiling the C++, then C simulation\n" if working else "")
        assert re.fullmatch(r"error: [^\n]+\n", outcome.err), outcome.err
        assert outcome.err.rstrip("\n").isprintable(), outcome.err
        assert len(outcome.err) < 3000
        assert "Traceback" not in outcome.err
        assert tree(here) == before
        assert not [name for name in os.listdir(here.parent) if name != "here"]
        return outcome.err

    return run
