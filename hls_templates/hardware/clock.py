"""How long operations take, and how they fall into cycles.

An estimate.  Operations follow each other along the longest path through the kernel, as a scheduler
of HLS places them: one that fits in what is left of a cycle is chained, else it starts in the next;
one that takes longer than a cycle takes several.  A cycle has 73 % of the clock's period, since
Vitis HLS keeps 27 % for what it does not know.

Delays are of the magnitude of published measurements after routing (in the Allo project's libraries
of devices a sum of 8 to 32 bits takes 2.3 to 2.9 ns in 7 series, 0.7 to 0.95 in UltraScale+, 0.9 to
1.1 in Versal, all with the register before it; low voltage makes it 1.35 times as long).  The model
is monotone: a slower clock never makes a pipeline deeper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .memory import Ram, Rom
from .operators import Kind
from .parts import Part, Target

USABLE = 0.73
"""Share of the clock's period that operations may take."""

DSP_STAGES = 3
"""Registers of a DSP slice that multiplies: Vitis HLS uses all of them, even at 10 ns."""


@dataclass(frozen=True, order=True)
class Moment:
    """A point in an iteration: the cycle, and ns since its start."""

    cycle: int
    ns: float


START = Moment(0, 0.0)


@dataclass(frozen=True)
class Delays:
    """How long operations take in a family, in ns.

    Attributes:
        level: a LUT and its wires; of a sum, what does not depend on its width.
        sum, carry: a sum of w bits takes ``sum + carry * w``.
        block: from a block RAM's clock to its data.
        access: of a FIFO.
    """

    level: float
    sum: float
    carry: float
    block: float
    access: float


FAMILIES = {
    "DSP48E1": Delays(0.9, 1.7, 0.027, 3.0, 1.8),
    "DSP48E2": Delays(0.4, 0.6, 0.011, 1.3, 1.2),
    "DSP58": Delays(0.4, 0.75, 0.007, 1.3, 1.2),
}
"""By the DSP slice of the family: 7 series in speed grade 1, UltraScale+ and Versal in grade 2."""


@dataclass(frozen=True)
class Clock:
    """How operations fall into cycles: ``period`` is what they may take of one, in ns."""

    period: float
    delays: Delays

    @classmethod
    def of(cls, target: Target) -> Clock:
        """The clock of a target: slower parts have less of it."""
        grade = _slowness(target.part)
        return cls(USABLE * target.clock / grade, FAMILIES[target.part.dsp_type])

    def after(self, moment: Moment, ns: float) -> Moment:
        """The end of an operation of logic that starts at ``moment`` or later."""
        if moment.ns + ns <= self.period:
            return Moment(moment.cycle, moment.ns + ns)
        first = moment.cycle + (moment.ns > 0)
        if ns <= self.period:
            return Moment(first, ns)
        return Moment(first + math.ceil(ns / self.period), 0.0)

    def stages(self, moment: Moment, count: int) -> Moment:
        """``count`` registers later."""
        return Moment(moment.cycle + (moment.ns > 0) + count, 0.0)

    def add(self, moment: Moment, bits: int) -> Moment:
        """A sum, a difference or a comparison."""
        return self.after(moment, self.delays.sum + bits * self.delays.carry)

    def select(self, moment: Moment, values: int = 2) -> Moment:
        """One of several values."""
        return self.after(moment, self.delays.level * max(1, math.ceil(math.log(values, 4))))

    def multiply(self, moment: Moment, a_bits: int, b_bits: int, kind: Kind) -> Moment:
        """A product."""
        if kind == "lut":
            levels = math.ceil(math.log2(min(a_bits, b_bits) + 1))
            for _ in range(levels):
                moment = self.add(moment, a_bits + b_bits)
            return moment
        wide = max(a_bits, b_bits) > 18 or min(a_bits, b_bits) > 17
        # The halves' products of a wide one are added in a second DSP slice.
        return self.stages(moment, DSP_STAGES + wide)

    def read(self, moment: Moment, bits: int, words: int, kind: Rom | Ram) -> Moment:
        """A word of a memory."""
        if words <= 1:
            return moment
        if kind == "registers":
            return self.select(moment, words)
        if kind == "lutram":
            return self.select(self.stages(moment, 1), max(2, words // 64))
        return self.after(self.stages(moment, 1), self.delays.block)


def _slowness(part: Part) -> float:
    """How much longer everything takes than in the grade of :data:`FAMILIES`."""
    speed = part.number.split("-")[1 if part.dsp_type == "DSP48E1" else 2]
    if "LV" in speed:
        return 1.35
    fastest = {"1": 1.0, "2": 0.85, "3": 0.77}
    return fastest[speed[0]] / (1 if part.dsp_type == "DSP48E1" else 0.85)
