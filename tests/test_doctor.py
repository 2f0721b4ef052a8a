"""What is installed, and what each missing part would add."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest

from lutra import doctor
from lutra.sim import toolchain

from .commands import Run

PARTS = [
    "Python", "numpy", "onnx", "jinja2", "click", "rich", "g++", "ap_fixed headers", "make",
    "scikit-learn", "pillow", "matplotlib", "onnxruntime", "torch", "Vitis HLS",
]  # fmt: skip


def test_every_part_is_listed(lutra: Run) -> None:
    rows = json.loads(lutra("doctor", "--json").out)
    assert [row["name"] for row in rows] == PARTS
    assert [row["name"] for row in rows if row["required"]] == PARTS[:6]
    assert all(row["found"] for row in rows[:6])
    assert rows[1]["found"] == importlib.metadata.version("numpy")
    assert all(row["found"] or row["remedy"] for row in rows)
    assert all(row["adds"] for row in rows)
    out = lutra("doctor").out
    for row in rows:
        assert row["name"] in out


def test_what_is_missing_is_said_with_its_remedy(
    lutra: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    monkeypatch.setattr(toolchain, "_places", lambda _: iter(()))
    monkeypatch.delenv("CXX", raising=False)
    outcome = lutra("doctor")
    assert outcome.status == 0
    for line in (
        "g++ missing: no C++ compiler was found",
        "ap_fixed headers missing: AMD's arbitrary-precision headers were not found",
        "make missing: apt install make",
        "scikit-learn missing: pip install 'lutra[examples]'",
        "matplotlib missing: pip install 'lutra[report]'",
        "torch missing: pip install 'lutra[bench]'",
        "Vitis HLS missing: install Vitis from AMD",
    ):
        assert f"\n{line}" in outcome.out
    assert "Nothing is missing" not in outcome.out


def test_nothing_is_missing(lutra: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    part = doctor.Part("all", "1.0", "everything", "")
    monkeypatch.setattr("lutra.doctor.diagnose", lambda _: [part])
    assert "Nothing is missing." in lutra("doctor").out


def test_headers_in_another_place(lutra: Run, tmp_path: Path) -> None:
    for name in ("ap_fixed.h", "ap_int.h"):
        (tmp_path / name).write_text("")
    rows = json.loads(lutra("doctor", "--json", "--ap-include", str(tmp_path)).out)
    assert rows[7]["found"] == "--ap-include (with our hls_stream.h)"
    (tmp_path / "ap_int.h").unlink()
    rows = json.loads(lutra("doctor", "--json", "--ap-include", str(tmp_path)).out)
    assert rows[7]["found"] is None
    assert "names a folder without" in rows[7]["remedy"]


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "not a program"])
def test_a_compiler_that_does_not_run(
    lutra: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "cxx").write_text(text)
    (tmp_path / "cxx").chmod(0o755)
    monkeypatch.setenv("CXX", str(tmp_path / "cxx"))
    rows = json.loads(lutra("doctor", "--json").out)
    assert rows[6]["found"] is None
    assert rows[6]["remedy"] == f"{tmp_path}/cxx does not run; set CXX to a compiler that does"
