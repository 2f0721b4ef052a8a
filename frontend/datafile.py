"""Samples and labels in NumPy's files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from .errors import ModelError
from .ops import Array


def load_arrays(path: str | Path) -> dict[str, Array]:
    """The arrays of a ``.npz`` file, or the one of a ``.npy`` file under the name ``x``.

    Raises:
        ModelError: the file cannot be read, is neither, is damaged, or holds Python objects.
    """
    file = str(path)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"x": content}
        with content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelError(
            "cannot be read as NumPy data",
            file=file,
            found=str(reason) or type(error).__name__,
            expected="a .npz or .npy file of numbers",
            remedy="Write it with numpy.savez(FILE, x=samples, y=labels)",
        ) from None


def load_samples(path: str | Path) -> tuple[Array, Array | None]:
    """Samples ``x`` and, where the file has them, labels ``y``.

    Raises:
        ModelError: as :func:`load_arrays`, or there is no array ``x``, or x and y differ in number.
    """
    arrays = load_arrays(path)
    if "x" not in arrays and len(arrays) == 1:
        (x,) = arrays.values()
    elif "x" in arrays:
        x = arrays["x"]
    else:
        raise ModelError(
            "holds no array 'x'",
            file=str(path),
            found=", ".join(sorted(arrays)) or "no arrays",
            expected="x, and y for labels",
        )
    y = arrays.get("y")
    if x.ndim == 0 or (y is not None and (y.ndim == 0 or len(y) != len(x))):
        raise ModelError(
            "samples and labels do not fit",
            file=str(path),
            found=f"x {x.shape}" + (f", y {y.shape}" if y is not None else ""),
            expected="as many labels as samples, samples first",
        )
    return x, y
