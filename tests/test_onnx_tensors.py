"""The arrays in an ONNX file: every data type that is read, in every way in which it is stored."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

from lutra.frontend.errors import ModelError
from lutra.frontend.onnx.tensor import read_tensor

TYPES: list[tuple[int, npt.DTypeLike]] = [
    (TensorProto.FLOAT, np.float32),
    (TensorProto.DOUBLE, np.float64),
    (TensorProto.FLOAT16, np.float16),
    (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
    (TensorProto.INT64, np.int64),
    (TensorProto.INT32, np.int32),
    (TensorProto.INT16, np.int16),
    (TensorProto.UINT16, np.uint16),
    (TensorProto.INT8, np.int8),
    (TensorProto.UINT8, np.uint8),
    (TensorProto.INT4, ml_dtypes.int4),
    (TensorProto.UINT4, ml_dtypes.uint4),
]


@pytest.mark.parametrize(("kind", "dtype"), TYPES)
def test_every_type_is_read_raw_and_typed(kind: int, dtype: npt.DTypeLike) -> None:
    """Extremes too, and an odd number of values, so that the last half byte stands alone."""
    ints = np.dtype(dtype).kind in "iu" or np.dtype(dtype) in (ml_dtypes.int4, ml_dtypes.uint4)
    low, high = _range(dtype) if ints else (-2.0, 1.5)
    value = np.array([[low, high, 1], [0, 7, 3], [2, 5, high]], dtype)
    raw = numpy_helper.from_array(value, "w")
    typed = helper.make_tensor("w", kind, value.shape, value.reshape(-1).tolist())
    assert raw.HasField("raw_data")
    assert not typed.HasField("raw_data")
    for tensor in (raw, typed):
        found = read_tensor(tensor, None)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.astype(np.float64), value.astype(np.float64))


def _range(dtype: npt.DTypeLike) -> tuple[float, float]:
    info: Any = ml_dtypes.iinfo  # has no types
    return info(dtype).min, info(dtype).max


def test_values_outside_their_type_are_damage() -> None:
    tensor = helper.make_tensor("w", TensorProto.INT8, (2,), [1, 2])
    tensor.int32_data[1] = 200
    with pytest.raises(ModelError, match="outside the range of their type"):
        read_tensor(tensor, None)


def test_half_bytes_need_as_many_bytes_as_hold_them() -> None:
    tensor = helper.make_tensor("w", TensorProto.UINT4, (3,), [1, 2, 3])
    del tensor.int32_data[1:]
    with pytest.raises(ModelError, match="found 1 values; expected 2 values"):
        read_tensor(tensor, None)
