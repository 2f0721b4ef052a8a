"""What every rule of the checker works with: its findings, and text in brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDEST = 4096
"""Most bits of an ``ap_uint``, and most elements of an array that is taken apart."""


@dataclass(frozen=True)
class Finding:
    """One broken rule.

    Attributes:
        file, line: where.
        rule: which rule, in words.
        text: the offending text.
    """

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text.strip()[:100]}"


def split(text: str, opening: str, closing: str) -> list[str]:
    """The parts between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in opening) - (letter in closing)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def enclosed(text: str, start: int, brackets: str = "{}") -> str:
    """The text from ``start``, just after a bracket, to the one that closes it."""
    depth = 1
    for match in re.compile(f"[{re.escape(brackets)}]").finditer(text, start):
        depth += 1 if match[0] == brackets[0] else -1
        if depth == 0:
            return text[start : match.start()]
    return text[start:]
