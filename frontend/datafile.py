"""Samples and labels in NumPy's files, which may be damaged or made to do harm."""

from __future__ import annotations

import math
import stat
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from .errors import ModelError
from .ops import Array

MAX_ELEMENTS = 2**31
"""Largest number of elements of one array; a file that claims more is refused, not tried."""

REMEDY = "Write it with numpy.savez(FILE, x=samples, y=labels)"

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What NumPy and zipfile raise for bytes that are not what they should be."""


def load_samples(path: str | Path) -> tuple[Array, Array | None]:
    """Samples ``x`` and, where the file has them, labels ``y``.

    A ``.npy`` file holds samples alone, and so does a ``.npz`` file with one array, whatever that
    is called.  Of a ``.npz`` file with more, ``x`` and ``y`` are read.

    Raises:
        ModelError: the file cannot be read, is neither, is damaged, holds Python objects, is too
            large, has no array ``x``, or x and y differ in number.
    """
    with _complaints(path):
        x, y = _load(Path(path))
    if x.ndim == 0 or (y is not None and (y.ndim == 0 or len(y) != len(x))):
        raise ModelError(
            "samples and labels do not fit",
            file=str(path),
            found=f"x {x.shape}" + (f", y {y.shape}" if y is not None else ""),
            expected="as many labels as samples, samples first",
        )
    return x, y


def load_arrays(path: str | Path, names: Collection[str]) -> dict[str, Array]:
    """The arrays of these names in a ``.npz`` file; those that it lacks are left out.

    Raises:
        ModelError: as :func:`load_samples`.
    """
    with _complaints(path), _opened(Path(path)) as file:
        if not file.read(2).startswith(b"PK"):
            raise ModelError("is no .npz file", expected=f"arrays named {', '.join(names)}")
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive)
            return {n: _read_member(archive, members[n]) for n in names if n in members}


@contextmanager
def _complaints(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong with the file, said of it by a ModelError."""
    try:
        yield
    except ModelError as error:
        raise error.in_file(str(path)) from None
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(f"cannot be read: {reason}", file=str(path)) from None
    except MemoryError:
        raise ModelError(
            "does not fit into the memory", file=str(path), remedy="Give fewer samples"
        ) from None
    except _DAMAGE as error:
        raise ModelError(
            "the NumPy data are damaged",
            file=str(path),
            found=next(iter(str(error).splitlines()), type(error).__name__),
            remedy=REMEDY,
        ) from None


def _opened(path: Path) -> IO[bytes]:
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a device or pipe"
        raise ModelError(f"is {what}", expected="a .npz or .npy file")
    return path.open("rb")


def _load(path: Path) -> tuple[Array, Array | None]:
    with _opened(path) as file:
        start = file.read(6)
        file.seek(0)
        if start == b"\x93NUMPY":
            _check_header(file, path.stat().st_size)
            file.seek(0)
            return _read(file), None
        if start.startswith(b"PK"):
            with zipfile.ZipFile(file) as archive:
                return _load_archive(archive)
    raise ModelError(
        "is not NumPy data" if start else "is empty",
        expected="a .npz or .npy file of numbers",
        remedy=REMEDY,
    )


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {
        member.filename.removesuffix(".npy"): member
        for member in archive.infolist()
        if member.filename.endswith(".npy")
    }


def _load_archive(archive: zipfile.ZipFile) -> tuple[Array, Array | None]:
    members = _members(archive)
    x = members.pop("x", None)
    y = members.pop("y", None)
    if x is None and y is None and len(members) == 1:
        (x,) = members.values()
    if x is None:
        names = [*(["y"] if y else []), *sorted(members)]
        raise ModelError(
            "holds no array 'x'",
            found=", ".join(names) or "no arrays",
            expected="x for samples, and y for labels",
            remedy=REMEDY,
        )
    return _read_member(archive, x), None if y is None else _read_member(archive, y)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as stream:
        _check_header(stream, member.file_size)
    with archive.open(member) as stream:
        return _read(stream)


def _check_header(stream: IO[bytes], size: int) -> None:
    """Raise unless what the header claims is numbers, and fits in ``size`` bytes."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ModelError("the NumPy data have a structure of their own", expected="plain numbers")
    shape, _, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ModelError(
            "holds Python objects, which are not read",
            found=f"an array of type {dtype}",
            expected="numbers",
            remedy="Convert them first, for example with x.astype('float32')",
        )
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        raise ModelError(
            "holds an array that is too large",
            found=f"shape {shape}",
            expected=f"at most {MAX_ELEMENTS} elements",
        )
    if elements * dtype.itemsize > size - stream.tell():
        raise ModelError(
            "the NumPy data are cut off",
            found=f"{size - stream.tell()} bytes",
            expected=f"{elements * dtype.itemsize} bytes for shape {shape}",
            remedy="Write or copy the file again",
        )


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read(stream: IO[bytes]) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers of old versions, which are read all right
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array
