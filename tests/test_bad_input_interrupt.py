"""Ctrl-C at any moment of long work: status 130, nothing half-written, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lutra.frontend.checkpoint import Checkpoint

from .commands import tree

CHILD = "print('up', flush=True)\nfrom lutra.__main__ import main\nmain()\n"


class Stopped:
    """A command in a process of its own that gets SIGINT after a time, or after a line."""

    def __init__(self, here: Path, *arguments: str, seconds: float, line: str = "up") -> None:
        scratch = here.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            env=os.environ | {"TMPDIR": str(scratch), "CXX": str(slow_compiler(here.parent))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            while not child.stdout.readline().startswith(line):
                assert child.poll() is None
            time.sleep(seconds)
            child.send_signal(signal.SIGINT)
            self.err = child.communicate(timeout=30)[1].lstrip()
        self.status = child.returncode
        assert "Traceback" not in self.err, self.err
        assert not os.listdir(scratch)


def slow_compiler(folder: Path) -> Path:
    """It would take a minute; whoever compiles is interrupted before."""
    script = folder / "slow-cxx"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    return script


def is_whole(project: Path) -> bool:
    files = json.loads((project / "manifest.json").read_text())["files"]
    return set(files) == {name for name, content in tree(project).items() if content is not None}


@pytest.mark.parametrize("part", [0, 1])
def test_build(here: Path, part: int) -> None:
    """While it is loaded, computes, writes and compiles; with the old project or the new one."""
    before = tree(here)
    for i in range(5):
        stopped = Stopped(
            here, "build", "m.onnx", "-o", "p", "--force", "--data", "c.npz", "--clock", "4",
            seconds=0.05 + 0.13 * (2 * i + part) ** 1.1,
        )  # fmt: skip
        assert stopped.status == 130, (stopped.status, stopped.err)
        assert stopped.err in ("", "error: stopped; nothing half-written was left behind\n")
        after = tree(here)
        assert {k: v for k, v in after.items() if not k.startswith("p")} == {
            k: v for k, v in before.items() if not k.startswith("p")
        }
        assert after == before or is_whole(here / "p")
        assert sorted(os.listdir(here)) == ["c.npz", "f.onnx", "m.onnx", "p", "x.npy"]


def test_the_compiler(here: Path) -> None:
    """Its temporary files go, and the project stays as it was."""
    before = tree(here)
    stopped = Stopped(here, "verify", "p", seconds=0.2, line="compiling")
    assert stopped.status == 130
    assert tree(here) == before


def test_train(here: Path) -> None:
    """What was trained is kept in the checkpoint, and a resumed run goes on from it."""
    command = ("train", "digits-mlp", "-o", "t.onnx", "--data-out", "d", "--epochs", "500")
    checkpoint = here / "t.onnx.checkpoint.npz"
    done = 0
    for seconds in (0.4, 0.0, 0.05, 0.01):
        line = f"epoch {done + 2}/" if seconds < 0.4 else "up"
        stopped = Stopped(here, *command, "--resume", seconds=seconds, line=line)
        assert stopped.status == 130, (stopped.status, stopped.err)
        assert not (here / "t.onnx").exists()
        assert not [name for name in os.listdir(here) if name.startswith(".")]
        if line != "up":
            count = len(Checkpoint.load(checkpoint).history)
            assert count >= done + 1  # an epoch's line comes just before its checkpoint
        done = len(Checkpoint.load(checkpoint).history) if checkpoint.exists() else 0
