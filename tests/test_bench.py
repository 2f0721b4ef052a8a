"""The benchmark table itself."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.bench.bench_simulator import EMULATED, expect_close
from tests.bench.bench_training import LIMITS, expect_alike
from tests.bench.peers import NETWORKS, exported, samples
from tests.bench.table import Row, Skipped, compare, duration, once, table


def test_rows() -> None:
    assert Row("slower", 2.0, 1.0, 1.5).met is False
    assert Row("slower", 1.4, 1.0, 1.5).met
    assert Row("faster", 1.0, 31.0, 30, least=True).met
    assert Row("faster", 1.0, 29.0, 30, least=True).met is False
    assert Row("limit", 5.9, None, 6).met
    assert Row("limit", 6.1, None, 6).met is False


def test_the_table_shows_everything() -> None:
    text = io.StringIO()
    rows: list[Row | Skipped] = [
        Row("a step", 2e-3, 1e-3, 1.5),
        Row("a build", 2.0, None, 6),
        Row("a run", 1e-5, 4e-4, 30, least=True),
        Skipped("torch", "none"),
    ]
    Console(file=text, width=140).print(table(rows))
    shown = text.getvalue()
    for part in ("a step", "2 ms", "2.00", "at most 1.5", "NO", "skipped: none", "40.0 x", "10 us"):
        assert part in shown
    assert "at most 6 s" in shown


def test_durations() -> None:
    assert [duration(t) for t in (2.5, 0.0123, 4.2e-5)] == ["2.5 s", "12.3 ms", "42 us"]


def test_times_are_measured_in_turns() -> None:
    order: list[str] = []

    def work() -> None:
        order.append("a")
        sum(range(20_000))

    slow, quick = compare(work, lambda: order.append("b"), repetitions=3, seconds=0.001)
    assert slow > quick
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes >= 5


def test_time_on_its_own_is_processor_time_with_that_of_children() -> None:
    def work() -> None:
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)

    assert once(work, repetitions=3) > 0.01
    assert once(lambda: time.sleep(0.2), repetitions=3) < 0.1


def test_unknown_modules_are_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--only", "nothing"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "training" in run.stderr


@pytest.mark.parametrize("what", dict.fromkeys([*NETWORKS, *EMULATED, *LIMITS]))
def test_networks_have_results_for_their_samples(what: str) -> None:
    model = exported(what)
    assert model.predict(samples(model, 2)).shape == (2, *model.output_shape)
    assert model.graph().nodes


def test_sides_that_compute_something_else_are_found() -> None:
    expected = np.random.default_rng(0).random((100, 10))
    expect_close(expected + 0.01, expected)
    with pytest.raises(AssertionError, match="of their variance"):
        expect_close(expected[::-1], expected)
    expect_alike(lambda: 1.0, lambda: 1.0 + 1e-5)
    with pytest.raises(AssertionError, match="in step 0"):
        expect_alike(lambda: 1.0, lambda: 1.001)
    losses = iter(range(1, 100))
    with pytest.raises(AssertionError, match="in step 1"):
        expect_alike(lambda: 1.0, lambda: next(losses))
