"""Pictures as files, drawn with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .data import require
from .errors import OutputError
from .storage import check_file, write_file

INK = "#1f2933"
MUTED = "#7b8794"
SHADE = "#dbeafe"
BLUE = "#1d4ed8"
ORANGE = "#c2410c"

LARGEST = 2**15
"""Pixels on a side; more than twice as many cannot be drawn."""


def save_picture(
    path: str | Path, width: float, height: float, paint: Callable[[Any], None]
) -> None:
    """Draw a picture and write it whole; the same picture is the same file.

    Args:
        path: its ending says the format, ``.svg`` or ``.png``.
        width, height: in inches.
        paint: draws on the matplotlib figure that it is given.

    Raises:
        OutputError: the ending is another, or the file cannot be written.
        ToolchainError: matplotlib is not installed.
    """
    kind = _kind(path)
    matplotlib = require("matplotlib", extra="report")
    figures = require("matplotlib.figure", extra="report")
    content = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "lutra"
        matplotlib.rcParams["text.parse_math"] = False  # names may hold a dollar sign
        figure = figures.Figure(figsize=(width, height))
        paint(figure)
        figure.savefig(
            content,
            format=kind,
            dpi=min(150.0, LARGEST / max(width, height)),
            metadata={"Date": None} if kind == "svg" else None,
        )
    write_file(path, content.getvalue())


def check_picture(path: str | Path) -> None:
    """Raise now, rather than after long work, if a picture cannot be drawn or written there.

    Raises:
        OutputError: the ending is none of a picture, or the file cannot be written.
        ToolchainError: matplotlib is not installed.
    """
    _kind(path)
    require("matplotlib", extra="report")
    check_file(path)


def _kind(path: str | Path) -> str:
    """The format that the file's ending says."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise OutputError(
            "a picture cannot have this ending",
            file=str(path),
            found=Path(path).suffix or "none",
            expected=".svg or .png",
        )
    return kind
