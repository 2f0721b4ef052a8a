"""Projects that were edited or damaged, and tools that are missing, through the command line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from lutra.frontend.ops import Array
from lutra.sim import csim, toolchain, verify
from lutra.sim.simulator import Simulator

from .commands import Run, tree

Refused = Callable[..., str]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# Edited C++


def test_an_edited_weight_is_found(lutra: Run, here: Path) -> None:
    weights = here / "p" / "src" / "nn_weights.h"
    first = re.search(r"\{0x([0-9a-f]+)ULL\}", weights.read_text())
    assert first is not None
    edit(weights, first[0], f"{{0x{int(first[1], 16) ^ 1:x}ULL}}")
    outcome = lutra("verify", "p")
    assert outcome.status == 1
    assert outcome.err == ""
    assert re.search(
        r"first mismatch: layer 'conv', value 'conv', frame 0, index \[\d, \d, 0\]: "
        r"simulator -?\d+, C simulation -?\d+",
        outcome.out,
    ), outcome.out
    assert "NOT equal" in outcome.out
    record = json.loads((here / "p" / "manifest.json").read_text())["verification"]
    assert record["passed"] is False
    assert record["mismatches"] > 0
    again = json.loads(lutra("verify", "p", "--json").out)
    assert again == record


def test_a_shortcut_that_changes_a_value_is_found(
    lutra: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator as users run it, which keeps no inner values, is compared too."""
    true = Simulator.trace_raw

    def wrong(self: Simulator, raw: Array) -> dict[str, Array]:
        values = true(self, raw)
        return values if self.keep else {name: value + 1 for name, value in values.items()}

    monkeypatch.setattr(Simulator, "trace_raw", wrong)
    outcome = lutra("verify", "p")
    assert outcome.status == 1
    assert "value 'y', frame 0" in outcome.out
    assert "own test bench: pass" in outcome.out


def test_edited_golden_vectors_are_found(lutra: Run, here: Path) -> None:
    golden = here / "p" / "tb" / "golden.dat"
    numbers = golden.read_text().split()
    golden.write_text(" ".join([str(int(numbers[0]) ^ 1), *numbers[1:]]))
    outcome = lutra("verify", "p")
    assert outcome.status == 1
    assert "own test bench: FAIL" in outcome.out
    assert "mismatches: 0" in outcome.out


def test_cpp_that_does_not_compile(refused: Refused, here: Path) -> None:
    top = here / "p" / "src" / "nn_top.cpp"
    edit(top, "lutra::dense<", "lutra::dens<")
    line = next(i for i, text in enumerate(top.read_text().split("\n"), 1) if "dens<" in text)
    message = refused("verify", "p", working=True)
    assert f"p/src/nn_top.cpp: the C++ does not compile (found line {line}:" in message
    assert "dens" in message


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("sleep 60", "does not end and was stopped (found no result after 0.3 s)"),
        ("kill -SEGV $$", "the C simulation failed (stopped by SIGSEGV)"),
        ("echo out of $0 >&2; exit 7", "the C simulation failed (status 7) (found out of "),
        ("echo WARNING: a stream is empty", "(found WARNING: a stream is empty)"),
        ("true", "did not give the values of the network (found No such file"),
        ("echo 1 2 x > out.dat; : > trace.bin", "did not give the values of the network"),
        ("echo 1 2 3 > out.dat; echo 1234567 > trace.bin", "did not give the values"),
    ],
)
def test_a_program_that_goes_wrong(
    refused: Refused, here: Path, monkeypatch: pytest.MonkeyPatch, program: str, problem: str
) -> None:
    """In place of the compiled one stands a script; its first run, the test bench, is right."""
    script = here / "csim"
    script.write_text(f'#!/bin/sh\n[ "$#" -eq 1 ] && exit 0\n{program}\n')
    script.chmod(0o755)
    monkeypatch.setattr(toolchain, "TIME_LIMIT", 0.3)
    monkeypatch.setattr(verify, "compiled", lambda *_: nullcontext(csim.Binary(script, 1)))
    assert problem in refused("verify", "p", working=True)


# Damaged projects

NEEDED = ["manifest.json", "src/nn_top.cpp", "tb/nn_tb.cpp", "fixed.onnx"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_is_missing(refused: Refused, here: Path, name: str) -> None:
    (here / "p" / name).unlink()
    for further in ((), ("--data", "c.npz")):
        message = refused("verify", "p", *further)
        assert f"p: is not a project that can be verified (found no {name};" in message


def test_what_is_no_project(refused: Refused) -> None:
    for path in ("missing", "m.onnx", "."):
        assert f"{path}: is not a project that can be verified" in refused("verify", path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "does not hold whole frames"),
        ("1 2 3", "does not hold whole frames of the network's input (found 3 values"),
        ("1.5 x", "cannot be read as raw integers"),
        ("9" * 40, "cannot be read as raw integers"),
        ("128 " * 72, "values in fixed<8,3>"),
        ("\xff", "cannot be read as raw integers"),
        (None, "cannot be read as raw integers (found No such file"),
    ],
)
def test_damaged_vectors(refused: Refused, here: Path, content: str | None, problem: str) -> None:
    vectors = here / "p" / "tb" / "in.dat"
    if content is None:
        vectors.unlink()
    else:
        vectors.write_text(content, encoding="latin-1")
    message = refused("verify", "p")
    assert "p/tb/in.dat: " in message
    assert problem in message


# Missing tools


def test_no_compiler(refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    for command in (("verify", "p"), ("demo", "-o", "d")):
        message = refused(*command)
        assert "no C++ compiler was found (found no 'g++' on the PATH" in message
        assert "apt install g++" in message


def test_a_compiler_that_does_not_run(
    refused: Refused, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "cxx").write_text("no program")
    (here / "cxx").chmod(0o755)
    monkeypatch.setenv("CXX", str(here / "cxx"))
    assert "cannot be started: Exec format error" in refused("verify", "p", working=True)


def test_no_headers(
    refused: Refused, lutra: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "_places", lambda _: iter(()))
    for command in (("verify", "p"), ("demo", "-o", "d")):
        message = refused(*command)
        assert "arbitrary-precision headers were not found" in message
        assert "pip install 'lutra[csim]'" in message
    before = tree(here)
    outcome = lutra("build", "m.onnx", "-o", "new", "--data", "c.npz")
    assert outcome.status == 2
    assert "headers were not found" in outcome.err
    assert tree(here) == before


def test_headers_that_are_elsewhere(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused("verify", "p", "--ap-include", "p")
    assert "p: --ap-include names a folder without the arbitrary-precision headers" in message
    monkeypatch.setenv("LUTRA_AP_INCLUDE", "/nowhere")
    assert "/nowhere: LUTRA_AP_INCLUDE names" in refused("verify", "p")


def test_no_matplotlib(
    refused: Refused, lutra: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = ("report", "m.onnx", "f.onnx", "--data", "c.npz")
    assert "pip install 'lutra[report]'" in refused(*report, "-o", "page.html")
    assert lutra(*report).status == 0


def test_no_scikit_learn(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for command in (("train", "digits-mlp", "-o", "t.onnx"), ("demo", "-o", "d")):
        assert "pip install 'lutra[examples]'" in refused(*command)
