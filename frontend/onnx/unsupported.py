"""The one error that names all that a model needs and that cannot be expressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UnsupportedOpError, clip

SHOWN = 8
"""Most refusals that a message lists, and most nodes of each; the error itself holds all."""


@dataclass(frozen=True)
class Refusal:
    """One op, or form of it, that cannot be expressed: why, and at which nodes."""

    op: str
    reason: str
    nodes: tuple[str, ...]


class UnsupportedModelError(UnsupportedOpError):
    """The model holds what Lutra cannot express; ``refusals`` says all of it."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        more = f"; and {len(refusals) - SHOWN} more" if len(refusals) > SHOWN else ""
        super().__init__(
            "the model needs what is not supported: "
            + "; ".join(_describe(refusal) for refusal in refusals[:SHOWN])
            + more,
            remedy="Replace these parts and export again; docs/onnx.md says what is read, and what "
            "to do about the rest",
        )
        self.refusals = tuple(refusals)


def _describe(refusal: Refusal) -> str:
    names = ", ".join(f"'{clip(name, 40)}'" for name in refusal.nodes[:SHOWN])
    more = len(refusal.nodes) - SHOWN
    return f"{refusal.op} at {names}{f' and {more} more' if more > 0 else ''} ({refusal.reason})"
