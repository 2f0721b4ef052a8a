"""Estimates with their range, and the resources of an FPGA."""

from __future__ import annotations

from dataclasses import dataclass, fields

UNITS = (("ns", 1e3), ("us", 1.0), ("ms", 1e-3), ("s", 1e-6))
"""Units of time, and how many of them are a microsecond."""


def time_text(us: float) -> str:
    """A time in microseconds, in the unit in which it has up to three digits before the point."""
    unit, scale = next((pair for pair in UNITS if us * pair[1] < 999.95), UNITS[-1])
    return f"{us * scale:,.4g} {unit}"


@dataclass(frozen=True)
class Figure:
    """An estimate: what is expected, and between which bounds.

    Raises:
        ValueError: the bounds do not enclose what is expected.
    """

    low: int
    expected: int
    high: int

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.expected <= self.high:
            raise ValueError(f"{self.low} <= {self.expected} <= {self.high} does not hold")

    def __add__(self, other: Figure) -> Figure:
        return Figure(self.low + other.low, self.expected + other.expected, self.high + other.high)

    @classmethod
    def exact(cls, value: int) -> Figure:
        """A figure that is known."""
        return cls(value, value, value)


NOTHING = Figure.exact(0)


NAMES = {
    "lut": "LUTs",
    "ff": "flip-flops",
    "dsp": "DSP slices",
    "bram18": "block RAMs of 18 Kbit",
    "uram": "UltraRAMs",
}
"""The kinds of resources, and what they are called."""

KINDS = tuple(NAMES)


@dataclass(frozen=True)
class Resources:
    """What a design, or a part of one, takes.

    Attributes:
        lut, ff, dsp: look-up tables, flip-flops, DSP slices.
        bram18: block RAMs of 18 Kbit; a Block RAM Tile of Vivado's reports is two.
        uram: UltraRAMs of 288 Kbit.
    """

    lut: Figure = NOTHING
    ff: Figure = NOTHING
    dsp: Figure = NOTHING
    bram18: Figure = NOTHING
    uram: Figure = NOTHING

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(Resources))
        )
