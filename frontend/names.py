"""New names beside names that are in use."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """Names in use, and new ones that differ from them."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self._counts: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        """``wanted``, with a number behind it where that name is in use; in use from now on."""
        name = wanted
        while name in self.taken:
            self._counts[wanted] = self._counts.get(wanted, 1) + 1
            name = f"{wanted}_{self._counts[wanted]}"
        self.taken.add(name)
        return name
