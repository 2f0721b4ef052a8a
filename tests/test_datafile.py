"""Samples and labels from NumPy's files: what is right is read, all else is refused by name."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.datafile import load_samples
from lutra.frontend.errors import ModelError
from lutra.frontend.ops import Array

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 2, 1])


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(shape: str, dtype: str = "'<f4'") -> bytes:
    """A .npy header that claims what it likes, without data."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def test_every_way_to_hold_samples(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for content, labels in (
        (npy(X), None),
        (npy(np.asfortranarray(X)), None),
        (npz(x=npy(X)), None),
        (npz(images=npy(X)), None),
        (npz(x=npy(X), y=npy(Y)), Y),
        (npz(x=npy(X), y=npy(Y), other=b"not read"), Y),
    ):
        path.write_bytes(content)
        x, y = load_samples(path)
        np.testing.assert_array_equal(x, X)
        assert (y is None) == (labels is None)
        if y is not None:
            np.testing.assert_array_equal(y, Y)


HUGE = header("(1000000000, 1000)")
DAMAGED = {
    "empty": (b"", "is empty"),
    "text": (b"1, 2, 3\n4, 5, 6\n", "is not NumPy data"),
    "magic only": (b"\x93NUMPY", "are damaged"),
    "unknown version": (b"\x93NUMPY\x07\x00" + npy(X)[8:], "structure of their own"),
    "header cut off": (npy(X)[:40], "are damaged"),
    "data cut off": (npy(X)[:-1], r"cut off \(found 47 bytes; expected 48 bytes"),
    "huge claim": (HUGE, r"too large \(found shape \(1000000000, 1000\)"),
    "large claim": (header("(1000, 1000, 1000)"), r"cut off .*expected 4000000000 bytes"),
    "negative sizes": (header("(-2, -3)") + bytes(24), "are damaged"),
    "no shape": (header("'many'"), "are damaged"),
    "code in the header": (header("__import__('os').abort()"), "are damaged"),
    "deep header": (header("(" * 5000 + ")" * 5000), "are damaged"),
    "long header": (header("(3,)" + " " * 60000), "are damaged"),
    "objects": (npy(np.array([{}, print], object)), "Python objects"),
    "objects inside": (npz(x=npy(np.array([[1], [2, 3]], object))), "Python objects"),
    "npz cut off": (npz(x=npy(X))[:-30], "are damaged"),
    "npz of text": (npz(x=b"no array"), "are damaged"),
    "npz of nothing": (npz(), "no arrays"),
    "npz with a huge claim": (npz(x=HUGE), "too large"),
    "npz without x": (npz(images=npy(X), labels=npy(Y)), "'x' .found images, labels"),
    "labels only": (npz(y=npy(Y)), "'x' .found y;"),
    "too few labels": (npz(x=npy(X), y=npy(Y[:3])), r"found x \(4, 3\), y \(3,\)"),
    "one label": (npz(x=npy(X), y=npy(np.array(3))), r"y \(\)"),
    "one number": (npy(np.array(3.0)), r"found x \(\)"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused(tmp_path: Path, name: str) -> None:
    content, problem = DAMAGED[name]
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=problem) as caught:
        load_samples(path)
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)


def test_a_packed_archive_that_claims_less_than_it_holds(tmp_path: Path) -> None:
    """Its true size never enters the memory: it is read up to the claim only."""
    content = bytearray(npz(x=header("(100000000,)", "'<i1'") + bytes(100_000_000)))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(mark) + offset, 500)
    path = tmp_path / "bomb.npz"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ModelError, match="are damaged"):
        load_samples(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (
        (tmp_path / "missing.npz", "No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a device or pipe"),
        (Path("/dev/zero"), "is a device or pipe"),
    ):
        with pytest.raises(ModelError, match=problem):
            load_samples(path)


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Array:
        raise MemoryError

    (tmp_path / "x.npy").write_bytes(npy(X))
    monkeypatch.setattr(np.lib.format, "read_array", full)
    with pytest.raises(ModelError, match="does not fit into the memory"):
        load_samples(tmp_path / "x.npy")


def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for content in (npy(X), npz(x=npy(X), y=npy(Y))):
        for _ in range(400):
            damaged = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            path = tmp_path / "data.npz"
            path.write_bytes(damaged[: rng.integers(1, 2 * len(damaged))])
            try:
                load_samples(path)
            except ModelError:
                refused += 1
    assert refused > 300
