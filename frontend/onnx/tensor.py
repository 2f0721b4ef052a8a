"""The arrays in an ONNX file, read without trust: sizes are compared before memory is taken."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path, PurePosixPath

import numpy as np
from onnx import TensorProto

from ..errors import LutraError, ModelError, UnsupportedOpError, clip
from ..graph import MAX_RANK
from ..ops import Array
from ..ops.base import MAX_ELEMENTS

_STORED: dict[int, tuple[str, str]] = {
    TensorProto.FLOAT: ("<f4", "float_data"),
    TensorProto.DOUBLE: ("<f8", "double_data"),
    TensorProto.FLOAT16: ("<f2", "int32_data"),
    TensorProto.INT64: ("<i8", "int64_data"),
    TensorProto.INT32: ("<i4", "int32_data"),
    TensorProto.BOOL: ("|b1", "int32_data"),
}
"""For each data type that is read: how it is stored raw, and its field where it is not raw."""


def read_tensor(tensor: TensorProto, folder: Path | None, name: str | None = None) -> Array:
    """The values of a tensor: float32 for any float type, else integers or bools as stored.

    Args:
        tensor: as parsed.
        folder: where external data may be read from; None refuses external data.
        name: what to call it in errors; by default its own name.

    Raises:
        ModelError: the data are not what the shape promises, or external data lie elsewhere.
        UnsupportedOpError: the data type is none that weights or shapes may have.
    """
    try:
        shape = _shape(tensor)
        if tensor.data_type not in _STORED:
            raise UnsupportedOpError(
                "has a data type that is not supported",
                found=type_name(tensor.data_type),
                expected="float32, float64 or float16; int64 or int32 for shapes",
                remedy="Export the weights as float32",
            )
        stored, field = _STORED[tensor.data_type]
        values = _values(tensor, folder, np.dtype(stored), field, math.prod(shape))
    except LutraError as error:
        error.problem = f"weight '{clip(name or tensor.name)}' {error.problem}"
        raise
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            values = values.astype(np.float32, copy=False)
    return values.reshape(shape)


def embedded(tensor: TensorProto, folder: Path | None) -> TensorProto:
    """A tensor with external data, as one that holds them itself.

    Raises:
        LutraError: as :func:`read_tensor`.
    """
    array = read_tensor(tensor, folder)
    copy = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    stored, _ = _STORED[tensor.data_type]
    copy.raw_data = array.astype(stored).tobytes()
    return copy


def type_name(data_type: int) -> str:
    """What ONNX calls a data type, also one that it does not know."""
    known: dict[int, str] = {v: k for k, v in TensorProto.DataType.items()}
    return known.get(data_type, f"type number {data_type}").lower()


def _shape(tensor: TensorProto) -> tuple[int, ...]:
    shape = tuple(tensor.dims[: MAX_RANK + 1])
    if len(shape) > MAX_RANK:
        raise ModelError("has too many axes", found=len(tensor.dims), expected=f"<= {MAX_RANK}")
    if min(shape, default=0) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(
            "has an impossible shape", found=shape, expected=f"at most {MAX_ELEMENTS} elements"
        )
    return shape


def _values(
    tensor: TensorProto, folder: Path | None, dtype: np.dtype[np.generic], field: str, count: int
) -> Array:
    if tensor.HasField("segment"):
        raise ModelError("is split in segments", expected="one whole tensor")
    typed = getattr(tensor, field)
    if tensor.data_location == TensorProto.EXTERNAL:
        data = _external(tensor, folder, count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        data = bytes(tensor.raw_data)
    else:
        _expect_size(len(typed), count, "values")
        if field == "int32_data" and dtype.itemsize < 4:
            return _narrow(np.array(typed, np.int32), dtype)
        return np.array(typed, dtype)
    if len(typed):
        raise ModelError("holds its data twice", expected="raw or typed data")
    _expect_size(len(data), count * dtype.itemsize, "bytes")
    return np.frombuffer(data, np.uint8).view(dtype)


def _expect_size(found: int, expected: int, unit: str) -> None:
    if found != expected:
        raise ModelError(
            "has data that disagree with its shape",
            found=f"{found} {unit}",
            expected=f"{expected} {unit}",
            remedy="The file is damaged; export it again",
        )


def _narrow(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """Bools, or the bits of float16, out of the 32-bit integers that they are stored in."""
    most = 2 ** (8 * dtype.itemsize) - 1 if dtype.kind == "f" else 1
    if values.size and not 0 <= values.min() <= values.max() <= most:
        raise ModelError("has data outside the range of their type")
    return values.astype(np.uint16).view(dtype) if dtype.kind == "f" else values.astype(dtype)


def _external(tensor: TensorProto, folder: Path | None, size: int) -> bytes:
    """The bytes of a tensor that lie in a file of their own, in the model's folder or below."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError("has external data", remedy="Load the model from its file")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
        home = folder.resolve(strict=True)
        path = (home / location).resolve(strict=True)
        pure = PurePosixPath(location)
        inside = path.is_relative_to(home) and not (pure.is_absolute() or ".." in pure.parts)
        if not location or not inside:
            raise ModelError(
                "has external data outside the model's own folder",
                found=location,
                remedy="Put the data file beside the model",
            )
        _expect_size(length, size, "bytes")
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or not 0 <= offset <= status.st_size - size:
            raise ModelError(
                "has external data that are not there",
                found=f"{status.st_size} bytes in '{location}'",
                expected=f"{size} bytes from byte {offset} on",
            )
        with path.open("rb") as stream:
            stream.seek(offset)
            return bytes(stream.read(size))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            "has external data that cannot be read",
            found=location,
            remedy="Put the data file beside the model",
        ) from error
