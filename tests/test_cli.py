"""The command line as a stranger uses it: every command, its help, JSON, and odd terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from lutra.cli import cli
from lutra.frontend.onnx.exporter import save
from lutra.quantize.fixed_onnx import FixedModel, load_fixed

from .commands import Outcome, Run, tree

COMMANDS = list(cli.commands)

TINY = '''
"""Two clouds of points."""
import numpy as np
from lutra.frontend.data import Dataset, Splits
from lutra.frontend.layers import Dense, ReLU, Softmax
from lutra.frontend.model import Model
from lutra.frontend.recipe import Recipe

def load():
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = (rng.normal(size=(80, 3)) + 4 * y[:, None]).astype(np.float32)
    return Dataset(x, y).split(validation=20, test=20, seed=0)

def build(seed):
    return Model([Dense(4), ReLU(), Dense(2)], input_shape=(3,), seed=seed)

recipe = Recipe("tiny", "two clouds", build, load, epochs=3, head=(Softmax(),))
'''


def process(*arguments: str, **environment: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "lutra", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(lutra: Run, command: str) -> None:
    outcome = lutra(command, "--help")
    assert outcome.status == 0
    assert outcome.err == ""
    assert narrow(outcome.out)
    example = re.search(r"Example: (.+)\Z", outcome.out, re.DOTALL)
    assert example is not None
    words = shlex.split(example[1])
    assert words[:2] == ["lutra", command]
    cli.commands[command].make_context(command, words[2:])
    for option in cli.commands[command].params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option.name


def test_help_lists_the_commands_in_the_order_of_use(lutra: Run) -> None:
    outcome = lutra("--help")
    listed = re.findall(r"^  ([a-z]+) +(\S.*)$", outcome.out.partition("Commands:")[2], re.M)
    assert [name for name, _ in listed] == COMMANDS
    assert not [text for _, text in listed if text.endswith("...")]
    assert narrow(outcome.out)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["quantise"], "Did you mean 'quantize'?"),
        (["no\x1b[31m"], "No such command"),
        (["inspect"], "Missing argument 'MODEL'"),
        (["inspect", "m.onnx", "--jsno"], "Did you mean '--json'?"),
        (["quantize", "m.onnx", "-o", "o", "--data", "d", "--bits", "0"], "1<=x<=32"),
        (["quantize", "m.onnx", "-o", "o", "--data", "d", "--bits", "x"], "not a valid integer"),
        (
            ["quantize", "m.onnx", "-o", "o", "--data", "d", "--bits", "8", "--config", "c"],
            "exclude each other",
        ),
        (["train", "digits-mlp", "-o", "o", "--epochs", "0"], "x>=1"),
        (["train", "digits-mpl", "-o", "o"], "Did you mean 'digits-mlp'?"),
        (["generate", "f.onnx", "-o", "o", "--clock", "fast"], "not a valid float"),
    ],
)
def test_bad_use(lutra: Run, folder: Path, arguments: list[str], problem: str) -> None:
    outcome = lutra(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert problem in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(folder.iterdir())


def test_no_command_and_the_version(lutra: Run) -> None:
    assert "Usage:" in lutra().err
    assert re.fullmatch(r"lutra, version \d+\.\d+\.\d+\n", lutra("--version").out)


# What the commands do


def test_from_a_recipe_to_a_demo(lutra: Run, folder: Path) -> None:
    (folder / "tiny.py").write_text(TINY)
    outcome = lutra("train", "tiny.py", "-o", "t.onnx", "--data-out", "data", "--epochs", "2")
    assert outcome.status == 0, outcome
    assert "epoch 2/2  loss " in outcome.out
    assert "accuracy on 20 test samples: " in outcome.out
    assert outcome.out.endswith("wrote t.onnx\nwrote data\n")
    assert narrow(outcome.out)
    names = ["calibration.npz", "data", "t.onnx", "t.onnx.checkpoint.npz", "test.npz", "tiny.py"]
    found = {path.name for path in folder.rglob("*") if "__pycache__" not in str(path)}
    assert sorted(found) == names
    with np.load("data/test.npz") as test:
        assert test["x"].shape == (20, 3)
        assert test["y"].shape == (20,)

    outcome = lutra("demo", "--recipe", "tiny.py")
    assert outcome.status == 0, outcome
    assert outcome.err == ""
    assert narrow(outcome.out)
    assert "simulator and C simulation are equal, bit for bit" in outcome.out
    for name in ("model.onnx", "fixed.onnx", "project/report.html", "test.npz"):
        assert (folder / "demo-out" / name).is_file()
        assert name in outcome.out
    assert lutra("verify", "demo-out/project", "--data", "demo-out/test.npz").status == 0


def test_a_demo_leaves_other_folders_alone(refused: Callable[..., str], here: Path) -> None:
    (here / "demo-out").mkdir()
    (here / "demo-out" / "thesis.tex").write_text("mine")
    assert "demo-out: exists and is not an earlier demo's folder" in refused("demo")
    assert "m.onnx: is not a folder" in refused("demo", "-o", "m.onnx")
    assert "missing/d: cannot be written to" in refused("demo", "-o", "missing/d")
    assert "no such recipe" in refused("demo", "-o", "new", "--recipe", "digits")


@pytest.mark.parametrize("place", ["def load():", "def build(seed):"])
def test_a_recipe_with_a_mistake(refused: Callable[..., str], here: Path, place: str) -> None:
    (here / "tiny.py").write_text(TINY.replace(place, f"{place}\n    print(undefined)"))
    line = (here / "tiny.py").read_text().split("\n").index("    print(undefined)") + 1
    message = refused("train", "tiny.py", "-o", "t.onnx")
    assert f"tiny.py: the recipe fails at line {line} (found NameError: name 'undefined'" in message


def test_simulate_reads_and_writes_floats_or_integers(
    lutra: Run, here: Path, fixed_cnn: FixedModel
) -> None:
    assert (
        lutra("simulate", "f.onnx", "--input", "x.npy", "-o", "y.npy", "--keep", "k.npz").status
        == 0
    )
    y = np.load("y.npy")
    assert y.shape == (40, 5)
    fixed = fixed_cnn.fixed
    with np.load("k.npz") as kept:
        raw = kept["x"]
        np.testing.assert_array_equal(kept["y"] * fixed.formats["y"].step, y)
    np.save("raw.npy", raw)
    assert lutra("simulate", "f.onnx", "--input", "raw.npy", "-o", "r.npy", "--raw").status == 0
    r = np.load("r.npy")
    assert r.dtype == np.int64
    np.testing.assert_array_equal(r * fixed.formats["y"].step, y)


def test_settings_reach_the_formats(lutra: Run, here: Path) -> None:
    (here / "p.toml").write_text('bits = 9\n[layers.dense]\nformat = "fixed<6,4>"\n')
    quantize = ("quantize", "m.onnx", "-o", "o.onnx", "--data", "c.npz")
    assert lutra(*quantize, "--config", "p.toml").status == 0
    formats = load_fixed("o.onnx").fixed.formats
    assert str(formats["dense"]) == "fixed<6,4>"
    assert formats["relu"].width == 9
    assert lutra(*quantize, "--bits", "4").status == 0
    assert load_fixed("o.onnx").fixed.formats["relu"].width == 4


def test_a_fixed_model_can_be_inspected_as_the_float_one(lutra: Run, here: Path) -> None:
    assert lutra("inspect", "f.onnx").out == lutra("inspect", "m.onnx").out


# JSON

TABLES = [
    ("inspect", "m.onnx"),
    ("quantize", "m.onnx", "-o", "o.onnx", "--data", "c.npz"),
    ("report", "m.onnx", "f.onnx", "--data", "c.npz"),
    ("report", "m.onnx", "f.onnx", "--data", "c.npz", "-o", "r.html"),
    ("parts", "kria"),
    ("doctor",),
]


@pytest.mark.parametrize("command", TABLES, ids=" ".join)
@pytest.mark.usefixtures("here")
def test_tables_fit_and_json_is_nothing_else(lutra: Run, command: tuple[str, ...]) -> None:
    outcome = lutra(*command)
    assert outcome.status == 0
    assert outcome.err == ""
    if command != ("doctor",):  # which shows paths, of any length
        assert narrow(outcome.out)
    outcome = lutra(*command, "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)


def test_pictures_and_curves_on_request(
    lutra: Run, refused: Callable[..., str], here: Path
) -> None:
    Path("tiny.py").write_text(TINY)
    train = ("train", "tiny.py", "-o", "t.onnx")
    done = lutra(*train, "--curves", "run.svg", "--history", "run.csv")
    assert "wrote run.svg" in done.out
    assert Path("run.svg").read_text().startswith("<?xml")
    assert Path("run.csv").read_text().startswith("epoch,loss,validation_loss")
    lutra("inspect", "t.onnx", "--picture", "t.png")
    assert Path("t.png").read_bytes().startswith(b"\x89PNG")
    assert ".svg or .png" in refused(*train, "--curves", "run.pdf")
    assert "written twice" in refused(*train, "--curves", "a.svg", "--history", "a.svg")
    assert "is read by" in refused("inspect", "t.onnx", "--picture", "t.onnx")


def test_build_and_verify_in_json(lutra: Run, here: Path) -> None:
    outcome = lutra("build", "m.onnx", "-o", "new", "--data", "c.npz", "--json")
    assert outcome.status == 0
    data = json.loads(outcome.out)
    assert data["verification"]["passed"]
    assert data["report"]["samples"] == 40
    assert data["layers"][0]["layer"] == "x"
    assert "wrote new" in outcome.err
    record = json.loads((here / "new" / "manifest.json").read_text())
    assert record["verification"] == data["verification"]
    assert set(record["files"]) <= set(tree(here / "new"))


# Readers and terminals


@pytest.mark.parametrize("command", ["inspect m.onnx", "doctor --json"])
@pytest.mark.usefixtures("here")
def test_a_reader_that_has_left(command: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "lutra", *command.split()],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize(("redirect", "status"), [(">&-", 0), (">/dev/full", 2), (">&- 2>&-", 0)])
@pytest.mark.parametrize("flag", ["", "--json"])
@pytest.mark.usefixtures("here")
def test_no_standard_output(redirect: str, status: int, flag: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lutra inspect m.onnx {flag} {redirect}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done
    assert done.stderr in ("", "error: the system reports: No space left on device\n")


def test_a_terminal_of_ascii(folder: Path, fixed_cnn: FixedModel) -> None:
    source = fixed_cnn.source
    save(
        type(source)("naïve ☃", source.inputs, source.outputs, source.nodes, source.constants),
        "m.onnx",
    )
    outcome = process(
        "inspect", "m.onnx", PYTHONIOENCODING="ascii", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
        LC_ALL="C",
    )  # fmt: skip
    assert outcome.status == 0, outcome
    assert outcome.out.isascii()
    assert "na\\xefve \\u2603" in outcome.out


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """All that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "lutra", *arguments],
        env={k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        | {"TERM": "xterm"}
        | environment,
        stdout=theirs,
        stderr=theirs,
    ) as child:
        os.close(theirs)
        text = b"".join(chunks(ours))
    assert child.returncode == 0, text
    os.close(ours)
    return text.decode()


def chunks(handle: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(handle, 4096)
        except OSError:
            return


@pytest.mark.usefixtures("here")
def test_terminals() -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3\d")
    doctor = ("doctor",)
    wide = on_a_terminal(*doctor, COLUMNS="100")
    assert "\x1b[" in wide
    assert not colour.search(on_a_terminal(*doctor, NO_COLOR="1", COLUMNS="100"))
    assert not process(*doctor).out.count("\x1b")
    thin = on_a_terminal("inspect", "m.onnx", COLUMNS="40")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", thin)
    assert "…" not in plain
    assert "2,592" in plain


@pytest.mark.usefixtures("here")
def test_a_bar_on_a_terminal_and_lines_in_a_log() -> None:
    (Path("tiny.py")).write_text(TINY)
    shown = on_a_terminal("train", "tiny.py", "-o", "t.onnx", COLUMNS="80")
    assert "\x1b[2K" in shown
    assert "━" in shown
    log = process("train", "tiny.py", "-o", "t.onnx")
    assert log.status == 0
    assert re.match(r"epoch 1/3  loss [\d.]+, validation loss [\d.]+, accuracy [\d.]+%  ", log.out)
    assert narrow(log.out)
