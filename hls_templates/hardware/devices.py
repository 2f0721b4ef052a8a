"""What each device has, and which device is on each board.

Every row is from AMD's product tables and data sheets, or from synthesis reports that state what a
device has; a device whose figures could not be checked is not here.
"""

from __future__ import annotations

from typing import NamedTuple


class Device(NamedTuple):
    """A device without package and speed grade.

    Attributes:
        tail: the usual rest of its part number, what follows the device's name.
        bram18: block RAMs of 18 Kbit, twice the 36 Kbit blocks of the data sheets.
    """

    family: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    uram: int
    tail: str


ZYNQ, ZYNQ_PLUS = "Zynq-7000", "Zynq UltraScale+"
ARTIX = "Artix-7"
VIRTEX_PLUS = "Virtex UltraScale+"
VERSAL_CORE = "Versal AI Core"

DEVICES = {
    "xc7z007s": Device(ZYNQ, 14400, 28800, 66, 100, 0, "clg400-1"),
    "xc7z010": Device(ZYNQ, 17600, 35200, 80, 120, 0, "clg400-1"),
    "xc7z020": Device(ZYNQ, 53200, 106400, 220, 280, 0, "clg400-1"),
    "xc7z045": Device(ZYNQ, 218600, 437200, 900, 1090, 0, "ffg900-2"),
    "xc7a35t": Device(ARTIX, 20800, 41600, 90, 100, 0, "icsg324-1L"),
    "xc7a100t": Device(ARTIX, 63400, 126800, 240, 270, 0, "csg324-1"),
    "xczu3eg": Device(ZYNQ_PLUS, 70560, 141120, 360, 432, 0, "-sbva484-1-i"),
    "xczu7ev": Device(ZYNQ_PLUS, 230400, 460800, 1728, 624, 96, "-ffvc1156-2-e"),
    "xczu9eg": Device(ZYNQ_PLUS, 274080, 548160, 2520, 1824, 0, "-ffvb1156-2-e"),
    "xck26": Device("Kria", 117120, 234240, 1248, 288, 64, "-sfvc784-2LV-c"),
    "xcvu9p": Device(VIRTEX_PLUS, 1182240, 2364480, 6840, 4320, 960, "-flga2104-2L-e"),
    "xcu250": Device("Alveo", 1728000, 3456000, 12288, 5376, 1280, "-figd2104-2L-e"),
    "xcvc1902": Device(VERSAL_CORE, 899840, 1799680, 1968, 1934, 463, "-vsva2197-2MP-e-S"),
}

BOARDS = {
    "KV260": "xck26-sfvc784-2LV-c",
    "PYNQ-Z2": "xc7z020clg400-1",
    "ZCU104": "xczu7ev-ffvc1156-2-e",
    "Alveo U250": "xcu250-figd2104-2L-e",
    "VCK190": "xcvc1902-vsva2197-2MP-e-S",
}
"""Part numbers by a board's name; hyphens, spaces and case do not count."""
