"""Bad input through the real command line: one message, status 2, and everything as it was."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lutra.frontend.ops import Array

from .commands import LABELS
from .conftest import samples
from .onnx_models import model, node

Refused = Callable[..., str]


# Models

MODEL_COMMANDS = [
    ("inspect", "bad.onnx"),
    ("quantize", "bad.onnx", "-o", "out.onnx", "--data", "c.npz"),
    ("build", "bad.onnx", "-o", "out", "--data", "c.npz"),
    ("report", "bad.onnx", "f.onnx", "--data", "c.npz"),
]
FIXED_COMMANDS = [
    ("simulate", "bad.onnx", "--input", "x.npy", "-o", "out.npy"),
    ("generate", "bad.onnx", "-o", "out"),
    ("report", "m.onnx", "bad.onnx", "--data", "c.npz"),
]


@pytest.mark.parametrize("command", MODEL_COMMANDS + FIXED_COMMANDS, ids=lambda c: c[0])
def test_files_that_are_no_model(refused: Refused, here: Path, command: tuple[str, ...]) -> None:
    good = (here / "m.onnx").read_bytes()
    bad = here / "bad.onnx"
    assert "bad.onnx: the file cannot be read (found No such file" in refused(*command)
    for content, problem in (
        (b"", "the file is empty"),
        (good[: len(good) // 2], "is not ONNX, or is damaged"),
        (good[:-1], ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not ONNX, or is damaged"),
        (b"import torch\n", "is not ONNX, or is damaged"),
    ):
        bad.write_bytes(content)
        message = refused(*command)
        assert "bad.onnx: " in message
        assert problem in message
    bad.unlink()
    bad.mkdir()
    assert "bad.onnx: is a folder" in refused(*command)


def test_a_float_model_is_not_a_fixed_one(refused: Refused) -> None:
    for command in FIXED_COMMANDS:
        message = refused(*(part.replace("bad", "m") for part in command))
        assert "m.onnx: is not a fixed-point model" in message
        assert "Run: lutra quantize" in message


def test_all_unsupported_ops_are_named_with_their_nodes(refused: Refused, here: Path) -> None:
    nodes = [
        node("Tan", ["x"], "a", name="first"),
        node("Acos", ["a"], "b", name="second"),
        node("Tan", ["b"], "y", name="third"),
    ]
    onnx.save(model(nodes, ["N", 4]), here / "bad.onnx")
    for command in MODEL_COMMANDS:
        message = refused(*command)
        for part in ("bad.onnx", "Tan at 'first', 'third'", "Acos at 'second'", "docs/onnx.md"):
            assert part in message


def test_shapes_that_are_open(refused: Refused, here: Path) -> None:
    onnx.save(model([node("Relu", ["x"], "y")], ["N", 3, "H", "W"]), here / "bad.onnx")
    message = refused("inspect", "bad.onnx")
    assert "leaves more than the batch open: axis 2, 3" in message
    assert "--shape H=N" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(refused: Refused, here: Path, value: float) -> None:
    broken = onnx.load(here / "m.onnx")
    for tensor in broken.graph.initializer:
        if tensor.name == "conv.weight":
            weight = numpy_helper.to_array(tensor).copy()
            weight[0, 0, 0, :2] = value
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    onnx.save(broken, here / "bad.onnx")
    for command in MODEL_COMMANDS:
        message = refused(*command)
        assert "weight 'conv.weight' holds NaN or infinite values (found 2 of 72" in message


def test_a_model_that_the_fixed_one_does_not_come_from(refused: Refused, here: Path) -> None:
    other = onnx.load(here / "m.onnx")
    weight = numpy_helper.to_array(other.graph.initializer[0])
    other.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(weight + 1, other.graph.initializer[0].name)
    )
    onnx.save(other, here / "other.onnx")
    message = refused("report", "other.onnx", "f.onnx", "--data", "c.npz")
    assert "f.onnx: was not made from this model" in message


# Data


def npy(array: Array, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


X = samples()
NAN = X.copy()
NAN[3, 2, 1, 0] = np.nan
BAD_DATA: dict[str, tuple[bytes, str]] = {
    "shape": (npy(X[:, :5]), "wrong shape (found (40, 5, 6, 2); expected (batch, 6, 6, 2))"),
    "rank": (npy(X[0, 0]), "wrong shape"),
    "number": (npy(np.array(1.0)), "samples and labels do not fit"),
    "text": (npy(X.astype(str)), "must be numbers"),
    "complex": (npy(X.astype(complex)), "must be numbers"),
    "NaN": (npy(NAN), "NaN or infinite values (found 1 of 2880"),
    "beyond float32": (npy(np.full_like(X, 1e300, np.float64)), "NaN or infinite values"),
    "nothing": (npy(X[:0]), "hold no sample"),
    "objects": (npy(X.astype(object), pickled=True), "Python objects"),
    "a pickle": (pickle.dumps(X), "is not NumPy data"),
    "no file": (b"", "is empty"),
    "cut off": (npy(X)[:-100], "cut off"),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize(
    "command",
    [
        ("quantize", "m.onnx", "-o", "out.onnx", "--data", "bad.npz"),
        ("build", "m.onnx", "-o", "out", "--data", "bad.npz"),
        ("build", "m.onnx", "-o", "out", "--data", "c.npz", "--test", "bad.npz"),
        ("generate", "f.onnx", "-o", "out", "--data", "bad.npz"),
        ("verify", "p", "--data", "bad.npz"),
        ("report", "m.onnx", "f.onnx", "--data", "bad.npz"),
        ("simulate", "f.onnx", "--input", "bad.npz", "-o", "out.npy"),
    ],
    ids=lambda c: f"{c[0]}{'-test' if '--test' in c else ''}",
)
def test_bad_data(refused: Refused, here: Path, command: tuple[str, ...], name: str) -> None:
    content, problem = BAD_DATA[name]
    (here / "bad.npz").write_bytes(content)
    message = refused(*command)
    assert "bad.npz: " in message
    assert problem in message


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (LABELS[:-1], "samples and labels do not fit"),
        (LABELS + 1, "not one of the network's classes (found 1 to 5; expected 0 to 4)"),
        (LABELS - 3, "not one of the network's classes"),
        (LABELS.astype(str), "labels must be numbers"),
        (np.where(LABELS, np.nan, 1), "labels hold NaN"),
        (np.zeros((40, 7)), "do not fit the data and the network's output"),
    ],
)
def test_bad_labels(refused: Refused, here: Path, labels: Array, problem: str) -> None:
    np.savez(here / "bad.npz", x=X, y=labels)
    for command in (
        ("report", "m.onnx", "f.onnx", "--data", "bad.npz"),
        ("build", "m.onnx", "-o", "out", "--data", "c.npz", "--test", "bad.npz"),
        ("build", "m.onnx", "-o", "out", "--data", "bad.npz"),
    ):
        message = refused(*command)
        assert "bad.npz: " in message
        assert problem in message


def test_raw_data(refused: Refused, here: Path) -> None:
    command = ("simulate", "f.onnx", "--input", "bad.npy", "-o", "out.npy", "--raw")
    for raw, problem in (
        (X, "must be integers (found float32"),
        (np.full(X.shape, 128), "raw data do not fit the format of 'x' (found 128 to 128"),
        (np.full(X.shape, -(2**63)), "expected -128 to 127"),
        (np.zeros((0, 6, 6, 2), int), "at least one sample"),
        (np.zeros((3, 2, 6, 6), int), "wrong shape"),
    ):
        np.save(here / "bad.npy", raw)
        message = refused(*command)
        assert "bad.npy: " in message
        assert problem in message


def test_values_that_overflow_the_float_network(refused: Refused, here: Path) -> None:
    np.savez(here / "bad.npz", x=np.full_like(X, 3e38))
    message = refused("quantize", "m.onnx", "-o", "out.onnx", "--data", "bad.npz")
    assert "the float network overflows at 'relu' on these data" in message


# Settings

BAD_PRECISION = {
    "no file": (None, "No such file"),
    "no text": (b"\xff\xfe\x00", "cannot be read as TOML"),
    "no TOML": (b"bits: 8", "cannot be read as TOML"),
    "unknown key": (b"bit = 8", "unknown key 'bit'"),
    "a text": (b'bits = "8"', "bits is out of range"),
    "a truth": (b"bits = true", "bits is out of range"),
    "a fraction": (b"bits = 8.5", "bits is out of range"),
    "none": (b"bits = 0", "expected 1 to 32"),
    "too many": (b"weight_bits = 33", "expected 1 to 32"),
    "a large table": (b"index_bits = 40", "expected 1 to 16"),
    "rounding": (b'rounding = "UP"', "unknown rounding mode"),
    "overflow": (b'overflow = ["SAT"]', "unknown overflow mode"),
    "no tables": (b"layers = 3", "'layers' must hold a table"),
    "no table": (b"[layers]\nconv = 8", "'layers' must hold a table"),
    "unknown layer": (b"[layers.cnov]\nbits = 8", "Did you mean 'conv'?"),
    "strange layer": (b'[layers."\\u001b[31m\\n"]\nbits = 8', "no layer"),
    "layer key": (b"[layers.conv]\nbit = 8", "unknown key 'bit'"),
    "no format": (b'[layers.conv]\nformat = "int8"', "not a fixed-point format"),
    "format 0": (b'[layers.conv]\nformat = "fixed<0,0>"', "cannot have this width"),
    "format 99": (b'[layers.conv]\nweight_format = "fixed<99,3>"', "cannot have this width"),
    "format far": (b'[layers.conv]\nformat = "fixed<8,999>"', "this many integer bits"),
    "format list": (b"[layers.conv]\nformat = [8, 3]", "not a fixed-point format"),
    "deep": (b"a = " + b"[" * 5000 + b"]" * 5000, "cannot be read as TOML"),
}
BAD_FOLDING = {
    "no file": (None, "No such file"),
    "no TOML": (b"[layers.conv", "cannot be read as TOML"),
    "other tables": (b"[fold.conv]\npe = 2", "only [layers.NAME] tables"),
    "no table": (b"[layers]\nconv = 2", "the folding of 'conv' is not right"),
    "zero": (b"[layers.conv]\npe = 0", "whole numbers from 1"),
    "negative": (b"[layers.conv]\nsimd = -1", "whole numbers from 1"),
    "a truth": (b"[layers.conv]\npe = true", "whole numbers from 1"),
    "unknown key": (b"[layers.conv]\nsmid = 1", "pe and simd"),
    "unknown layer": (b"[layers.cov]\npe = 2", "Did you mean 'conv'?"),
    "no divisor": (b"[layers.conv]\npe = 3", "pe 3 for 4; expected one of 1, 2, 4"),
    "huge": (b"[layers.conv]\nsimd = 99999999999999999999", "simd does not divide"),
    "deep": (b"a = " + b"[" * 5000 + b"]" * 5000, "cannot be read as TOML"),
}


def settle(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("name", BAD_PRECISION)
def test_bad_precision(refused: Refused, here: Path, name: str) -> None:
    content, problem = BAD_PRECISION[name]
    settle(here / "bad.toml", content)
    message = refused(
        "quantize", "m.onnx", "-o", "o.onnx", "--data", "c.npz", "--config", "bad.toml"
    )
    assert "bad.toml: " in message
    assert problem in message


@pytest.mark.parametrize("name", BAD_FOLDING)
def test_bad_folding(refused: Refused, here: Path, name: str) -> None:
    content, problem = BAD_FOLDING[name]
    settle(here / "bad.toml", content)
    message = refused("generate", "f.onnx", "-o", "out", "--fold", "bad.toml")
    assert problem in message
    assert "bad.toml: " in message


def test_bad_parts_and_clocks(refused: Refused) -> None:
    generate = ("generate", "f.onnx", "-o", "out")
    for part in ("x; rm -rf ~", "$(id)", "[exec id]", "a}b", 'a"b', "xc\n7", "", "-x", "p" * 99):
        assert "not a part number" in refused(*generate, f"--part={part}")
    for clock in ("nan", "inf", "-inf", "0", "-5", "1e-300", "1e300"):
        assert "the clock period is out of range" in refused(*generate, f"--clock={clock}")
