"""The arrays in an ONNX file, read without trust: sizes are compared before memory is taken."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper

from ..errors import LutraError, ModelError, UnsupportedOpError, clip
from ..graph import MAX_RANK
from ..ops import Array
from ..ops.base import MAX_ELEMENTS

_STORED: dict[int, tuple[npt.DTypeLike, str]] = {
    TensorProto.FLOAT: ("<f4", "float_data"),
    TensorProto.DOUBLE: ("<f8", "double_data"),
    TensorProto.FLOAT16: ("<f2", "int32_data"),
    TensorProto.BFLOAT16: (ml_dtypes.bfloat16, "int32_data"),
    TensorProto.INT64: ("<i8", "int64_data"),
    TensorProto.INT32: ("<i4", "int32_data"),
    TensorProto.INT16: ("<i2", "int32_data"),
    TensorProto.UINT16: ("<u2", "int32_data"),
    TensorProto.INT8: ("i1", "int32_data"),
    TensorProto.UINT8: ("u1", "int32_data"),
    TensorProto.INT4: (ml_dtypes.int4, "int32_data"),
    TensorProto.UINT4: (ml_dtypes.uint4, "int32_data"),
    TensorProto.BOOL: ("|b1", "int32_data"),
}
"""For each data type that is read: what holds it, and its field where it is not stored raw."""

INTEGERS: Mapping[int, npt.DTypeLike] = {
    TensorProto.UINT8: np.uint8,
    TensorProto.INT8: np.int8,
    TensorProto.UINT16: np.uint16,
    TensorProto.INT16: np.int16,
    TensorProto.UINT4: ml_dtypes.uint4,
    TensorProto.INT4: ml_dtypes.int4,
}
"""The types that data are quantised to, by ONNX's numbers."""

NIBBLES = (ml_dtypes.int4, ml_dtypes.uint4)
"""The types of which a file stores two in a byte, the first in its low half."""


def read_tensor(tensor: TensorProto, folder: Path | None, name: str | None = None) -> Array:
    """The values of a tensor in the type that it has; those that NumPy lacks are ``ml_dtypes``'.

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
                expected=", ".join(map(type_name, _STORED)),
                remedy="Export the weights as float32",
            )
        stored, field = _STORED[tensor.data_type]
        return _values(tensor, folder, np.dtype(stored), field, math.prod(shape)).reshape(shape)
    except LutraError as error:
        error.problem = f"weight '{clip(name or tensor.name)}' {error.problem}"
        raise


def embedded(tensor: TensorProto, folder: Path | None) -> TensorProto:
    """A tensor with external data, as one that holds them itself.

    Raises:
        LutraError: as :func:`read_tensor`.
    """
    return numpy_helper.from_array(read_tensor(tensor, folder), tensor.name)


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
    tensor: TensorProto, folder: Path | None, dtype: np.dtype[Any], field: str, count: int
) -> Array:
    if tensor.HasField("segment"):
        raise ModelError("is split in segments", expected="one whole tensor")
    typed = getattr(tensor, field)
    halves = dtype in NIBBLES
    held = np.dtype(np.uint8) if halves else dtype
    items = (count + 1) // 2 if halves else count
    if tensor.data_location == TensorProto.EXTERNAL:
        data = _external(tensor, folder, items * held.itemsize)
    elif tensor.HasField("raw_data"):
        data = bytes(tensor.raw_data)
    else:
        _expect_size(len(typed), items, "values")
        if field == "int32_data" and held.itemsize < 4:
            values = _narrow(np.array(typed, np.int32), held)
        else:
            values = np.array(typed, held)
        return _unpacked(values, dtype, count) if halves else values
    if len(typed):
        raise ModelError("holds its data twice", expected="raw or typed data")
    _expect_size(len(data), items * held.itemsize, "bytes")
    values = np.frombuffer(data, np.uint8).view(held)
    return _unpacked(values, dtype, count) if halves else values


def _unpacked(values: Array, dtype: np.dtype[Any], count: int) -> Array:
    """``count`` integers of four bits out of the bytes that hold two each."""
    halves = np.stack([values & 15, values >> 4], axis=-1).reshape(-1)[:count]
    if dtype == ml_dtypes.int4:
        return ((halves ^ 8).astype(np.int8) - 8).astype(dtype)
    return halves.astype(dtype)


def _expect_size(found: int, expected: int, unit: str) -> None:
    if found != expected:
        raise ModelError(
            "has data that disagree with its shape",
            found=f"{found} {unit}",
            expected=f"{expected} {unit}",
            remedy="The file is damaged; export it again",
        )


def _narrow(values: Array, dtype: np.dtype[Any]) -> Array:
    """What has fewer bits out of the 32-bit integers that hold it: floats as their bits."""
    if dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    else:
        low, high = 0, 1 if dtype.kind == "b" else 2**16 - 1
    if values.size and not low <= values.min() <= values.max() <= high:
        raise ModelError("has data outside the range of their type")
    return values.astype(dtype) if dtype.kind in "iub" else values.astype(np.uint16).view(dtype)


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
    except (OSError, RuntimeError, ValueError, TypeError) as error:  # Runtime: a loop of links
        raise ModelError(
            "has external data that cannot be read",
            found=location,
            remedy="Put the data file beside the model",
        ) from error
