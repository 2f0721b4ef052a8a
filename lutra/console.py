"""Where commands print: plain text that no name from a model can style, and progress."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, track
from rich.text import Text

from .frontend.progress import Track

WIDTH = 80
"""Columns that every table fits."""


class UnreadError(Exception):
    """Whoever read our output has stopped reading."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise UnreadError


def open_console(*, as_json: bool = False) -> Console:
    """Where people read: standard output, or standard error where the former belongs to JSON.

    A terminal that is too narrow for our tables gets them whole, as a log does: it wraps the lines,
    where squeezed columns would lose figures.
    """
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "stderr": as_json}
    console = _Console(**plain)
    return (
        console if console.width >= WIDTH else _Console(**plain, width=WIDTH, force_terminal=False)
    )


def prepare_streams() -> None:
    """Make sure that there are streams to print to, and that they take every character."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_output() -> None:
    """Send what is still to be printed nowhere, so that the end of the process stays quiet."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line, never wrapped, so that what it names can be copied."""
    console.print(Text(text, style=style), soft_wrap=True)


def print_json(data: Any) -> None:
    """Print JSON on standard output."""
    try:
        print(json.dumps(data, indent=2, allow_nan=False), flush=True)
    except BrokenPipeError:
        raise UnreadError from None


def tracking(console: Console, what: str) -> Track:
    """Show how far work on blocks of samples is: a bar on a terminal, nothing in a log."""
    hidden = not console.is_terminal
    return lambda blocks: track(blocks, what, console=console, transient=True, disable=hidden)


@contextmanager
def counting(console: Console, before: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far long work is: a bar on a terminal, a line in a log.

    Args:
        console: where.
        before: what is done first, when nothing can be counted yet.
        what: what is counted then.

    Yields:
        A function to be told how many of how many are done: once when the work begins, once when
        counting begins, and from then on.
    """
    calls = itertools.count()
    if not console.is_terminal:
        yield lambda done, total: None if next(calls) else say(console, f"{before}, then {what}")
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(before, total=None)
        yield lambda done, total: progress.update(
            task,
            description=what if next(calls) else before,
            completed=done,
            total=total,
        )
