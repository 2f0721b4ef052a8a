"""TOML files that say something of single layers, one ``[layers.NAME]`` table each."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import ModelError, clip


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file.

    Raises:
        ModelError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot be read as TOML: {reason}", file=str(path)) from None


def check_layers(named: Iterable[str], known: Iterable[str], file: str | None) -> None:
    """Raise a :class:`ModelError` for a name that is none of the model's layers.

    Args:
        named: the layers that a file names.
        known: the layers that the model has.
        file: where the former stand.
    """
    known = list(known)
    for name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ModelError(
                f"the model has no layer '{clip(name)}'",
                file=file,
                expected=f"one of {', '.join(known)}",
                remedy=f"Did you mean '{clip(near[0])}'?" if near else None,
            )
