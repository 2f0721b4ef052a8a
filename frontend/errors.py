"""The one family of errors that a user's mistake can raise.

Every error says where (file, node), what was found, what was expected and what to do.  The command
line prints it in one line and exits with status 2; a traceback is always a defect of Lutra's.
"""

from __future__ import annotations

from typing import Self


class LutraError(Exception):
    """Base of all errors that a user can cause and mend.

    Args:
        problem: what is wrong, in one clause.
        file: the file that it was found in.
        node: the node or layer that it was found at.
        found: what was there.
        expected: what should have been there.
        remedy: what the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        node: str | None = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.file = file
        self.node = node
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def in_file(self, file: str) -> Self:
        """Return this error with ``file`` filled in, if no file was named before."""
        self.file = self.file or file
        return self

    def __str__(self) -> str:
        where = "".join(
            f"{part}: "
            for part in (
                clip(self.file, 200) if self.file else None,
                f"node '{clip(self.node)}'" if self.node is not None else None,
            )
            if part
        )
        details = [
            f"{label} {clip(str(value), 400)}"
            for label, value in (("found", self.found), ("expected", self.expected))
            if value is not None
        ]
        text = where + self.problem
        if details:
            text += f" ({'; '.join(details)})"
        return f"{text}. {self.remedy}" if self.remedy else text


class UnsupportedOpError(LutraError):
    """The model holds an op, or a form of one, that Lutra cannot express exactly."""


class ShapeError(LutraError):
    """Shapes do not fit one another, or the data."""


class FormatError(LutraError):
    """A fixed-point format cannot exist, or an exact result is too wide for one."""


class ModelError(LutraError):
    """A model, data or configuration file is not what it should be."""


class ToolchainError(LutraError):
    """A compiler, a header or a library is missing or failed."""


class OutputError(LutraError):
    """A result cannot be written where it was asked for."""


def clip(text: str, limit: int = 80) -> str:
    """Return ``text`` on one printable line of at most ``limit`` characters.

    Names in a model file are untrusted: control characters are escaped, so that they cannot
    rewrite the terminal, and long names are cut in the middle.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: 4 * limit])
    if len(shown) <= limit and len(text) <= 4 * limit:
        return shown
    half = (limit - 3) // 2
    tail = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[-half:])[-half:]
    return f"{shown[:half]}...{tail}"
