"""Places that cannot be written, or must not be, through the real command line."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .commands import Run, tree

Refused = Callable[..., str]

WRITERS = [
    ("quantize", "m.onnx", "--data", "c.npz", "-o"),
    ("simulate", "f.onnx", "--input", "x.npy", "-o"),
    ("simulate", "f.onnx", "--input", "x.npy", "-o", "y.npy", "--keep"),
    ("report", "m.onnx", "f.onnx", "--data", "c.npz", "-o"),
    ("train", "digits-mlp", "--epochs", "1", "-o"),
    ("train", "digits-mlp", "--epochs", "1", "-o", "t.onnx", "--data-out"),
]
PROJECT_WRITERS = [
    ("generate", "f.onnx", "-o"),
    ("build", "m.onnx", "--data", "c.npz", "-o"),
]


@pytest.mark.parametrize("command", WRITERS, ids=lambda c: f"{c[0]}{c[-1]}")
def test_places_for_a_file(refused: Refused, here: Path, command: tuple[str, ...]) -> None:
    assert "missing/o: " in refused(*command, "missing/o")
    assert "m.onnx/o: " in refused(*command, "m.onnx/o")
    if command[-1] == "--data-out":
        assert "m.onnx: cannot be made: File exists" in refused(*command, "m.onnx")
    else:
        assert "p: is a folder" in refused(*command, "p")
        assert "/dev/null: is a device" in refused(*command, "/dev/null")


@pytest.mark.parametrize("command", WRITERS[:4], ids=lambda c: f"{c[0]}{c[-1]}")
def test_an_output_is_never_an_input(refused: Refused, command: tuple[str, ...]) -> None:
    for name in command[1:]:
        if name.endswith((".onnx", ".npz", ".npy")):
            assert "by the same command" in refused(*command, f"./{name}") or name == "y.npy"
    assert "written twice" in refused(*WRITERS[2], "y.npy")


def test_a_recipe_is_not_replaced_by_its_model(refused: Refused, here: Path) -> None:
    (here / "mine.py").write_text("recipe = None\n")
    assert "read by the same command" in refused("train", "mine.py", "-o", "mine.py")


@pytest.mark.parametrize("command", PROJECT_WRITERS, ids=lambda c: c[0])
def test_places_for_a_project(refused: Refused, here: Path, command: tuple[str, ...]) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "manifest.json").write_text('{"name": "mine"}')
    (here / "link").symlink_to("p")
    (here / "p" / "src" / "notes.txt").write_text("mine")
    for force in ((), ("--force",)):
        assert "m.onnx: is not a folder" in refused(*command, "m.onnx", *force)
        assert "parent folder does not exist" in refused(*command, "missing/p", *force)
        assert "parent folder does not exist" in refused(*command, "m.onnx/p", *force)
        assert "link: is a symbolic link" in refused(*command, "link", *force)
        assert "the folder that you are in" in refused(*command, ".", *force)
    assert "p: exists already. Use --force" in refused(*command, "p")
    assert "mine: exists already" in refused(*command, "mine")
    assert "not a project of Lutra's" in refused(*command, "mine", "--force")
    assert "found src/notes.txt" in refused(*command, "p", "--force")


def test_force_replaces_a_project(lutra: Run, here: Path) -> None:
    (here / "p" / "src" / "nn_top.cpp").write_text("broken")
    assert lutra("generate", "f.onnx", "-o", "p", "--force", "--clock", "4").status == 0
    assert "nn_top" in (here / "p" / "src" / "nn_top.cpp").read_text()
    assert "clock=4ns" in (here / "p" / "hls_config.cfg").read_text()


def test_a_place_that_may_not_be_written(
    refused: Refused, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, whom no permission stops: the system's answer is simulated."""
    real = os.open

    def denied(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT and str(here) in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", denied)
    monkeypatch.setattr(os, "mkdir", lambda path, *_: denied(path, os.O_CREAT))
    for command in (*WRITERS, PROJECT_WRITERS[0]):
        assert "Permission denied" in refused(*command, "out")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be written to" in refused(*PROJECT_WRITERS[0], "out")


@pytest.mark.parametrize("command", [*WRITERS[:4], *PROJECT_WRITERS], ids=lambda c: c[0] + c[-1])
def test_a_disk_that_fills(
    lutra: Run, here: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = "p" if command in PROJECT_WRITERS else "f.onnx.old"
    (here / "f.onnx.old").write_text("mine")
    force = ("--force",) if command in PROJECT_WRITERS else ()
    before = tree(here)
    monkeypatch.setattr(os, "fsync", full)
    outcome = lutra(*command, place, *force)
    assert outcome.status == 2
    assert "No space left on device. Choose a folder that exists" in outcome.err
    assert tree(here) == before


def test_a_file_that_may_not_grow(here: Path) -> None:
    """The system itself refuses the bytes beyond a limit."""
    before = tree(here)
    for command in (*WRITERS[:2], *PROJECT_WRITERS[:1]):
        done = subprocess.run(
            [sys.executable, "-m", "lutra", *command, "out"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # or it is cut off too
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)),
        )
        assert done.returncode == 2, done
        assert "out: cannot be written: File too large" in done.stderr
        assert tree(here) == before
