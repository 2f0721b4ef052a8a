"""What a user wants of a design."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...frontend.errors import LutraError

DEFAULT_USE = 0.9
"""The share of a part that a design may take unless the user says: a full one is hard to route."""


class TargetError(LutraError):
    """No folding reaches what the user wants, or nothing could."""


@dataclass(frozen=True)
class Goal:
    """Without ``fps`` and ``latency`` the fastest design that fits.

    Attributes:
        fps: frames a second, at least.
        latency: microseconds until the first frame has left, at most.
        use: share of each of the part's resources that may be taken, above 0, at most 1.

    Raises:
        TargetError: one of them is out of range.
    """

    fps: float | None = None
    latency: float | None = None
    use: float = DEFAULT_USE

    def __post_init__(self) -> None:
        for name, value in (("frames a second", self.fps), ("a latency", self.latency)):
            if value is not None and not 0 < value < math.inf:
                raise TargetError(f"{name} must be above 0", found=value)
        if not 0 < self.use <= 1:
            raise TargetError(
                "a part can be used to more than 0 % and at most 100 %",
                found=f"{100 * self.use:.6g} %",
            )


def read_share(text: str) -> float:
    """``70%`` or ``70``, as 0.7.

    Raises:
        TargetError: it is no percentage of 1 to 100.
    """
    number = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,6})?)\s*%?\s*", text, re.ASCII)
    if not number or not 1 <= float(number[1]) <= 100:
        raise TargetError(
            "this is not a share of the part", found=text, expected="a percentage such as 70%"
        )
    return float(number[1]) / 100
