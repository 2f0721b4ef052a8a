"""Damaged files of every kind end in a network or in one clear error; what once did not is kept."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from .fuzz.__main__ import results
from .fuzz.case import outcome
from .fuzz.mutate import MUTATIONS, Mutation, damaged, pick
from .fuzz.seeds import few
from .test_onnx_random import VICTIMS

CASES = 300
KEPT = sorted((Path(__file__).parent / "fuzz" / "corpus").glob("*.onnx"))


def test_damaged_files_end_in_a_network_or_one_clear_error(tmp_path: Path) -> None:
    """A new draw every time is for ``make fuzz``; these are the same ones every time."""
    files = few()
    counts: Counter[str] = Counter()
    for case in range(CASES):
        rng = np.random.default_rng([0, case])
        path = tmp_path / f"{case}.onnx"
        path.write_bytes(damaged(pick(rng, files), rng))
        counts[outcome(path, quantised=case % 4 == 0)] += 1
    assert counts["refused"] > CASES / 3
    assert counts["run"] + counts["lowered"] > CASES / 10


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_once_failed(path: Path) -> None:
    assert outcome(path, quantised=True)


def test_the_files_are_read_to_the_end_before_they_are_damaged(tmp_path: Path) -> None:
    files = few()
    assert len(files) > 20
    for i, file in enumerate(files):
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(file)
        assert outcome(path, quantised=False) == "run"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_every_mutation_changes_a_file(mutation: Mutation) -> None:
    changed = 0
    for seed in range(20):
        model = ModelProto.FromString(VICTIMS[0])
        mutation(model, np.random.default_rng(seed))
        changed += model != ModelProto.FromString(VICTIMS[0])
    assert changed > 10


def test_a_case_that_fails_hangs_or_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the cases behind it are read all the same."""

    def fail(path: Path, quantised: bool, compared: bool) -> str:
        case = next(numbers)
        if case == 1:
            raise ValueError("a defect")
        if case == 2:
            time.sleep(60)
        if case == 5:
            while True:
                pass
        if case == 3:
            os._exit(3)
        if case == 4:
            bytearray(2**32)
        return "run"

    monkeypatch.setattr("tests.fuzz.__main__.outcome", fail)
    monkeypatch.setattr("tests.fuzz.__main__.SECONDS", 0.5)
    found: list[tuple[int, str]] = []
    for start in range(7):  # each process counts from its first case on
        numbers = iter(range(start, 7))
        monkeypatch.setattr("tests.fuzz.__main__.PATIENCE", 2.0 if start == 2 else 60.0)
        found.append(next(results((VICTIMS,), 0, range(start, start + 1))))
    lines = [text.strip().splitlines()[-1] for _, text in found]
    assert [case for case, _ in found] == list(range(7))
    assert lines[0] == lines[6] == "run"
    assert lines[1:4] == [
        "ValueError: a defect",
        "no answer after 2 s",
        "the process died with status 3",
    ]
    assert "MemoryError" in lines[4]
    assert lines[5] == "TimeoutError: took more than 0.5 s"
