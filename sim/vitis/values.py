"""Figures as reports write them: numbers, ranges, and several ways to say that there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ...frontend.errors import ModelError

NAME_LENGTH = 400
"""Most characters of a name: the tools' own limit is 256."""

NUMBER = re.compile(r"~?\s*(\d{1,18})$")
RANGE = re.compile(r"(\d{1,18})\s*~\s*(\d{1,18})$")
UNKNOWN = frozenset(("", "-", "?", "undef", "na", "n/a", "none"))


@dataclass(frozen=True)
class Span:
    """A count that is known, or its least and greatest value."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"

    def to_list(self) -> list[int]:
        """As JSON holds it."""
        return [self.low, self.high]


def span(text: str | None, what: str) -> Span | None:
    """The count in a text: ``12``, ``12 ~ 34``, ``~0``; None for ``undef``, ``?``, ``-`` or NA.

    A range with an end that is unknown is unknown.

    Raises:
        ModelError: the text is none of these; ``what`` names the place.
    """
    text = (text or "").strip()
    if text.lower() in UNKNOWN or "undef" in text or "?" in text:
        return None
    if match := NUMBER.match(text):
        return Span(int(match[1]), int(match[1]))
    match = RANGE.match(text)
    if match and int(match[1]) <= int(match[2]):
        return Span(int(match[1]), int(match[2]))
    raise ModelError("holds a value that cannot be read", found=f"{what}: {text}")


def count(text: str | None, what: str) -> int | None:
    """A single number, the greatest of a range."""
    found = span(text, what)
    return found.high if found else None


def number(text: str | None, what: str) -> float | None:
    """A decimal number, such as a clock period in ns."""
    text = (text or "").strip()
    if text.lower() in UNKNOWN:
        return None
    if not re.fullmatch(r"-?\d{1,12}(\.\d{1,12})?", text):
        raise ModelError("holds a value that cannot be read", found=f"{what}: {text}")
    return float(text)


def child(element: Element, *path: str) -> Element:
    """A descendant that a report must have.

    Raises:
        ModelError: there is none; the error says which is missing.
    """
    for step in path:
        found = element.find(step)
        if found is None:
            raise ModelError(
                f"lacks <{step}>", remedy="It may be cut off, or be another tool's report"
            )
        element = found
    return element


def name(element: Element, *path: str) -> str:
    """A name that a report must have, such as that of the top function."""
    text = (child(element, *path).text or "").strip()
    if not text or len(text) > NAME_LENGTH:
        raise ModelError(f"has no name in <{path[-1]}>", found=text[:40] if text else "nothing")
    return text
