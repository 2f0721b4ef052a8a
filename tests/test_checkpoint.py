"""Checkpoints: a run that is killed goes on to the same weights; bad files are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.checkpoint import Checkpoint
from lutra.frontend.data import Dataset
from lutra.frontend.errors import ModelError, OutputError
from lutra.frontend.history import History
from lutra.frontend.layers import BatchNorm, Dense, Dropout, ReLU
from lutra.frontend.losses import CrossEntropy
from lutra.frontend.model import Model
from lutra.frontend.ops import Array
from lutra.frontend.optimisers import SGD, Adam, Optimiser
from lutra.frontend.schedules import Cosine, OneCycle, Schedule, Step, WarmUpCosine
from lutra.frontend.training import fit

EPOCHS = 12


def problem() -> tuple[Dataset, Dataset]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    y = (x @ rng.normal(size=(6, 4))).argmax(-1)
    return Dataset(x[:240], y[:240]), Dataset(x[240:], y[240:])


def train(
    path: Path | None,
    *,
    epochs: int = EPOCHS,
    resume: bool = False,
    seed: int = 3,
    patience: int | None = 4,
    units: int = 16,
    kind: type[Adam] | type[SGD] = Adam,
    batch_size: int = 16,
    rate: float | Schedule = 0.05,
    clip_norm: float | None = None,
) -> tuple[Model, Optimiser, History]:
    """A short run with everything in it that has a state: shuffling, dropout, running statistics,
    moments, patience."""
    train, validation = problem()
    model = Model([Dense(units), BatchNorm(), ReLU(), Dropout(0.3), Dense(4)], (6,), seed)
    optimiser = kind(model.variables, learning_rate=rate, clip_norm=clip_norm)
    history = fit(
        model,
        CrossEntropy(),
        optimiser,
        train,
        validation,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        patience=patience,
        checkpoint=path,
        resume=resume,
    )
    return model, optimiser, history


def same(a: Model, b: Model) -> bool:
    first, second = a.weights, b.weights
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize("patience", [None, 2, 50])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_resumed_is_undisturbed(
    tmp_path: Path, kind: type[Adam] | type[SGD], patience: int | None, stop: int
) -> None:
    whole, whole_optimiser, history = train(None, kind=kind, patience=patience)
    path = tmp_path / "run.npz"
    train(path, epochs=stop, kind=kind, patience=patience)
    model, optimiser, resumed = train(path, kind=kind, patience=patience, resume=True)
    assert same(model, whole)
    assert resumed == history
    for key, value in optimiser.state().items():
        np.testing.assert_array_equal(value, whole_optimiser.state()[key])


@pytest.mark.parametrize("kind", [Adam, SGD])
@pytest.mark.parametrize(
    "rate",
    [Step(0.05, 40), Cosine(0.05, 180), WarmUpCosine(0.05, 20, 180), OneCycle(0.05, 180)],
    ids=lambda rate: type(rate).__name__,
)
def test_a_schedule_goes_on(tmp_path: Path, kind: type[Adam] | type[SGD], rate: Schedule) -> None:
    """The learning rate goes on where it was, in the middle of its way."""
    whole = train(None, kind=kind, rate=rate, clip_norm=0.5)
    path = tmp_path / "run.npz"
    train(path, epochs=5, kind=kind, rate=rate, clip_norm=0.5)
    resumed = train(path, kind=kind, rate=rate, clip_norm=0.5, resume=True)
    assert same(resumed[0], whole[0])
    assert resumed[2] == whole[2]
    assert not same(train(None, kind=kind)[0], whole[0])


def test_running_statistics_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    model = train(path, patience=None)[0]
    saved = Checkpoint.load(path)
    for name in ("batch_norm1.mean", "batch_norm1.variance"):
        np.testing.assert_array_equal(saved.weights[name], model.weights[name])
        assert name not in {variable.name for variable in model.variables}


def test_checkpoints_do_not_change_the_run(tmp_path: Path) -> None:
    assert same(train(tmp_path / "run.npz")[0], train(None)[0])


def test_resuming_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    model, _, history = train(path, patience=2, epochs=50)
    assert history.stopped_early
    before = path.read_bytes()
    again, _, same_history = train(path, patience=2, epochs=50, resume=True)
    assert same(model, again)
    assert same_history == history
    assert path.read_bytes() == before


def test_resume_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    assert same(train(path, resume=True)[0], train(None)[0])
    assert path.exists()


CHILD = """
import sys
from pathlib import Path
from lutra.frontend.progress import Quiet
from tests import test_checkpoint

# A line for each batch, and a line to be read before the next: it cannot run ahead.
def batch(self, samples):
    print("batch", flush=True)
    sys.stdin.readline()

Quiet.batch = batch
test_checkpoint.train(Path(sys.argv[1]), resume=True)
print("finished", flush=True)
"""


def test_killed_again_and_again(tmp_path: Path) -> None:
    """SIGKILL at random moments; each time at most the epoch at work is lost."""
    path = tmp_path / "run.npz"
    whole, _, history = train(None)
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            batches = int(rng.integers(30, 70))
            child.stdin.write("\n" * batches)
            child.stdin.flush()
            lines = [child.stdout.readline() for _ in range(batches)]
            done = len(Checkpoint.load(path).history) if path.exists() else 0
            if "finished\n" in lines:
                break
            child.send_signal(signal.SIGKILL)
        kills += 1
        assert child.returncode == -signal.SIGKILL
        assert batches // 15 - 1 <= done
    assert kills >= 2
    model, _, resumed = train(path, resume=True)
    assert same(model, whole)
    assert resumed == history
    assert os.listdir(tmp_path) == ["run.npz"]


def test_killed_while_writing(tmp_path: Path) -> None:
    """A kill between the first byte of the new file and its move leaves the old one whole."""
    path = tmp_path / "run.npz"
    train(path, epochs=2)
    before = path.read_bytes()
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests import test_checkpoint\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "test_checkpoint.train(Path(sys.argv[1]), resume=True)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=Path(__file__).parent.parent,
        check=False,
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert same(train(path, resume=True)[0], train(None)[0])
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelError, match="not a whole checkpoint") as caught:
            train(path, resume=True)
        assert caught.value.file == str(path)
        assert caught.value.found
        assert caught.value.expected
        assert caught.value.remedy


def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    """A byte that is changed anywhere never changes what is loaded."""
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    whole = path.read_bytes()
    good = Checkpoint.load(path)
    refused = 0
    for place in np.random.default_rng(0).choice(len(whole), 150, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            loaded = Checkpoint.load(path)
        except ModelError:
            refused += 1
            continue
        for part in ("weights", "best", "optimiser"):
            expected = getattr(good, part)
            for name, value in getattr(loaded, part).items():
                np.testing.assert_array_equal(value, expected[name])
        assert loaded.generator == good.generator
    assert refused > 100


def foreign(path: Path, arrays: dict[str, Array]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def test_foreign_files_are_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    for content in ("text", "archive", "pickle", "other kind"):
        if content == "text":
            path.write_text("my notes")
        elif content == "archive":
            foreign(path, {"x": np.zeros(3)})
        elif content == "pickle":
            foreign(path, {"header": np.array([{}], object)})
        else:
            foreign(path, {"header": np.asarray(json.dumps({"kind": "another"}))})
        before = path.read_bytes()
        with pytest.raises(ModelError, match="not a whole checkpoint"):
            train(path, resume=True)
        with pytest.raises(OutputError, match="not overwritten"):
            train(path)
        assert path.read_bytes() == before


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    for setting, value, named in (
        ("seed", 4, "model seed, seed"),
        ("units", 17, "layers"),
        ("kind", SGD, "optimiser"),
        ("batch_size", 17, "batch size"),
        ("patience", 9, "patience"),
        ("rate", Cosine(0.05, 100), "learning rate"),
        ("clip_norm", 1.0, "clip norm"),
    ):
        with pytest.raises(ModelError, match=f"of another run: .*{named}") as caught:
            train(path, resume=True, **{setting: value})  # type: ignore[arg-type]
        assert caught.value.found is not None
        assert caught.value.file == str(path)
    assert same(train(path, resume=True)[0], train(None)[0])


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    good = Checkpoint.load(path)
    arguments = (good.configuration, good.history)
    for broken in (
        Checkpoint(*arguments, {}, good.best, good.optimiser, good.generator),
        Checkpoint(*arguments, good.weights, {}, good.optimiser, good.generator),
        Checkpoint(*arguments, good.weights, good.best, {}, good.generator),
        Checkpoint(*arguments, good.weights, good.best, good.optimiser, {"state": 1}),
    ):
        broken.save(path)
        with pytest.raises(ModelError) as caught:
            train(path, resume=True)
        assert caught.value.file == str(path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"):
        train(tmp_path / "missing" / "run.npz")
    with pytest.raises(OutputError):
        train(tmp_path)


def test_a_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.npz"
    train(path, epochs=2)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        train(path, resume=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


def test_an_interrupt_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.npz"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(path, epochs=2)
    assert not os.listdir(tmp_path)


def test_writing_is_quick(tmp_path: Path) -> None:
    """A checkpoint of a small network costs less than 50 ms, the disk's sync included."""
    path = tmp_path / "run.npz"
    train(path, epochs=1)
    saved = Checkpoint.load(path)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        saved.save(path)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
