"""FPGAs: what each has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """An FPGA.

    Attributes:
        number: the full part number that tools take, e.g. ``xck26-sfvc784-2LV-c``.
        device: the device without package and speed grade, e.g. ``xck26``.
        family: e.g. ``Zynq UltraScale+``.
        lut, ff, dsp, bram18, uram: how many it has; block RAMs in units of 18 Kbit.
        dsp_type: ``DSP48E1``, ``DSP48E2`` or ``DSP58``.
    """

    number: str
    device: str
    family: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int
    dsp_type: str
