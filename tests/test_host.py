"""The host's driver: its arithmetic and packing against Lutra's own."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lutra.frontend.graph import Port
from lutra.frontend.ops import Array
from lutra.hls_templates import host_driver
from lutra.hls_templates.bus import container
from lutra.hls_templates.host_driver import Network
from lutra.quantize.cast import Cast, cast_float
from lutra.quantize.formats import Format, Overflow, Rounding


def about(port: Port, cast: Cast) -> dict[str, Any]:
    return {
        "shape": list(port.shape),
        "axes": list(port.axes),
        "scale": port.scale,
        "signed": cast.format.signed,
        "width": cast.format.width,
        "fraction": cast.format.fraction,
        "container": container(cast.format.width),
        "rounding": str(cast.rounding),
        "overflow": str(cast.overflow),
    }


# Arithmetic


formats = st.builds(Format, st.booleans(), st.integers(1, 53), st.integers(-20, 60))
floats = st.floats(-(2.0**100), 2.0**100, width=32)


@given(
    st.builds(Cast, st.just(0), formats, st.sampled_from(Rounding), st.sampled_from(Overflow)),
    st.sampled_from([np.float32, np.float64]),
    hnp.arrays(np.float64, 7, elements=floats),
    st.integers(-100, 100),
    st.sampled_from([1.0, 0.3, 2.7e-3]),
)
@settings(max_examples=300)
def test_floats_enter_as_lutra_lets_them_enter(
    cast: Cast, kind: type, far: Array, near: int, scale: float
) -> None:
    """Far values, and quarters of a step around a value within the format, and its ends."""
    format_ = cast.format
    middle = [near, format_.low, format_.high]
    close = np.add.outer(middle, np.arange(-9, 10) / 4).ravel() * format_.step * scale
    x: Array = np.concatenate([far, close]).astype(kind)[None]
    port = replace(Port.of("x", x.shape[1:]), scale=scale)
    expected = cast_float(port.enter(x), format_, cast.rounding, cast.overflow)
    found = host_driver.Port(about(port, cast), 64).quantise(x)
    assert found.dtype == np.int64
    assert found.tolist() == expected.astype(np.int64).tolist()


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("signed", [True, False])
def test_every_mode_at_every_tie(rounding: Rounding, overflow: Overflow, signed: bool) -> None:
    for width in (1, 2, 4):
        cast = Cast(0, Format(signed, width, width), rounding, overflow)
        x = np.arange(-80, 81)[None] / 4
        expected = cast_float(x, cast.format, rounding, overflow)
        found = host_driver.Port(about(Port.of("x", (161,)), cast), 64).quantise(x)
        assert found.tolist() == expected.tolist()


# Packing


@given(
    st.integers(1, 53),
    st.booleans(),
    st.integers(1, 40),
    st.integers(1, 128),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
)
def test_words_hold_their_values(
    width: int, signed: bool, size: int, word_bytes: int, frames: int, seed: int
) -> None:
    """Each word, as a number, against shifts and masks of Python's integers."""
    bits = container(width)
    word_bytes = max(word_bytes, bits // 8)
    format_ = Format(signed, width, width)
    port = host_driver.Port(about(Port.of("x", (size,)), Cast(0, format_)), 8 * word_bytes)
    rng = np.random.default_rng(seed)
    raw = rng.integers(format_.low, format_.high, (frames, size), endpoint=True)
    packed = port.pack(raw)
    each = 8 * word_bytes // bits
    assert packed.shape == (frames, -(-size // each) * word_bytes)
    for frame, values in zip(packed, raw.tolist(), strict=True):
        words = [
            int.from_bytes(frame[i : i + word_bytes].tobytes(), "little")
            for i in range(0, len(frame), word_bytes)
        ]
        for i, word in enumerate(words):
            inside = values[i * each : (i + 1) * each]
            fields = [(value & ((1 << bits) - 1)) << (j * bits) for j, value in enumerate(inside)]
            assert word == sum(fields)
    assert port.unpack(packed).tolist() == raw.tolist()


# Layouts, and what is refused


class Echo:
    """A device that gives back what it gets."""

    interface = ""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def run(self, packed: Array, out_bytes: int) -> Array:
        assert packed.shape[1] == out_bytes
        self.calls.append(len(packed))
        return packed


def echo(tmp_path: Path, port: Port, batch: int = 256) -> tuple[Network, Echo]:
    cast = Cast(0, Format(True, 6, 3))
    file = tmp_path / "network.json"
    ends = {"input": about(port, cast), "output": about(port, cast)}
    file.write_text(json.dumps({"interface": "axis", "bus_bits": 24, **ends}))
    device = Echo()
    return Network(device, file, batch), device


@pytest.mark.parametrize(
    "port", [Port("x", (3, 4, 2), (1, 2, 0)), Port("x", (5,), (0,)), Port("x", (), ())]
)
def test_layout_and_batches(tmp_path: Path, port: Port) -> None:
    network, device = echo(tmp_path, port, batch=3)
    raw = np.random.default_rng(0).integers(-32, 32, (7, *port.outer_shape))
    assert network.predict_raw(raw).tolist() == raw.tolist()
    assert device.calls == [3, 3, 1]
    assert network.input.arrange(raw).tolist() == port.arrange(raw).reshape(7, -1).tolist()
    assert network.predict(raw / 8).tolist() == (raw / 8).tolist()
    assert network.predict(raw[:0] / 8).shape == (0, *port.outer_shape)


def test_other_numbers_are_floats(tmp_path: Path) -> None:
    network, _ = echo(tmp_path, Port.of("x", (3,)))
    for kind in (np.float16, np.int8, np.bool_, np.uint64):
        assert network.predict(np.array([[1, 0, 1]], kind)).tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4)), r"the shape \(2, 4\), expected \(frames, 3\)"),
        (np.zeros(()), "the shape"),
        (np.array([[0, np.nan, 0]]), "NaN or infinite"),
        (np.array([["a", "b", "c"]]), "must be numbers"),
        (np.zeros((1, 3), complex), "must be numbers"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, x: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        echo(tmp_path, Port.of("x", (3,)))[0].predict(x)


def test_raw_values_that_do_not_fit(tmp_path: Path) -> None:
    network, _ = echo(tmp_path, Port.of("x", (3,)))
    with pytest.raises(ValueError, match="must lie in -32 to 31"):
        network.predict_raw(np.array([[0, 0, 32]]))
    with pytest.raises(ValueError, match="must be integers"):
        network.predict_raw(np.zeros((1, 3)))


# The file itself


def test_the_driver_needs_numpy_only_and_an_old_python() -> None:
    source = Path(host_driver.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    needed = {
        (name.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert needed - set(sys.stdlib_module_names) == {"numpy", "pynq", "pyxrt"}
