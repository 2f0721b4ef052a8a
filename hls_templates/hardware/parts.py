"""FPGAs: what each has, found by part number or by the board that it is on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...frontend.errors import LutraError
from .devices import BOARDS, DEVICES

_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.()+-]{1,59}")
_SEVEN = re.compile(r"([il]?)-?([a-z]{2,4}\d{3,4})-([1-3][a-z]{0,2})")
_LATER = re.compile(r"-([a-z]{4}\d{3,4})-([1-3][a-z]{0,3})-([a-z])(-s)?(-es\d)?")


class PartError(LutraError):
    """A text names no part that is known."""


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


@dataclass(frozen=True)
class Target:
    """What a design is made for: a part, and the clock's period in ns."""

    part: Part
    clock: float


def find_part(text: str) -> Part:
    """The FPGA of a full part number, of a device (in its usual package), or of a board.

    Case does not count, and in boards' names neither do hyphens and spaces.

    Raises:
        PartError: there is none; the message names what is near.
    """
    if not _ALLOWED.fullmatch(text):
        raise PartError(
            "this is not a part number", found=text, expected="e.g. xczu7ev-ffvc1156-2-e or KV260"
        )
    key = key_of(text)
    boards = {key_of(name): number for name, number in BOARDS.items()}
    for name in (key, f"alveo{key}"):
        if name in boards:
            return _part(_device_of(boards[name]), boards[name])
    text = text.lower()
    if text in DEVICES:
        return _part(text, text + DEVICES[text].tail)
    device = _device_of(text)
    if device and (number := _full_number(device, text.removeprefix(device))):
        return _part(device, number)
    raise _unknown(text, device)


def every_part() -> list[Part]:
    """All devices, each in its usual package."""
    return [_part(device, device + row.tail) for device, row in DEVICES.items()]


def dsp_type(family: str) -> str:
    """The DSP slice of a family."""
    if family.startswith("Versal"):
        return "DSP58"
    return "DSP48E1" if family.endswith(("-7", "-7000")) else "DSP48E2"


def key_of(text: str) -> str:
    """What of a name counts: its letters and digits."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _device_of(text: str) -> str:
    """The known device that a part number begins with; empty if there is none."""
    return max((device for device in DEVICES if text.startswith(device)), key=len, default="")


def _full_number(device: str, tail: str) -> str | None:
    """The part number as tools spell it; None if the tail is not a package and a speed grade."""
    kind = dsp_type(DEVICES[device].family)
    if kind == "DSP48E1":
        if seven := _SEVEN.fullmatch(tail):
            return f"{device}{seven[1]}{seven[2]}-{seven[3].upper()}"
        return None
    found = _LATER.fullmatch(tail)
    if not found or (found[4] and kind != "DSP58"):
        return None
    package, speed, temperature, static, sample = found.groups("")
    return f"{device}-{package}-{speed.upper()}-{temperature}{static.upper()}{sample}"


def _part(device: str, number: str) -> Part:
    row = DEVICES[device]
    return Part(
        number,
        device,
        row.family,
        row.lut,
        2 * row.lut,
        row.dsp,
        2 * row.bram36,
        row.uram,
        dsp_type(row.family),
    )


def _unknown(text: str, device: str) -> PartError:
    """The error for a text that names no part, with what is near it."""
    from difflib import get_close_matches

    if device:
        return PartError(
            f"this is no part number of {device}",
            found=text,
            expected=f"e.g. {device}{DEVICES[device].tail}",
        )
    names = {key_of(name): name for name in (*BOARDS, *DEVICES)}
    key = key_of(text)
    near = [name for name in names if len(key) > 2 and name.startswith(key)][:8]
    near = near or get_close_matches(key, names, n=4, cutoff=0.5)
    return PartError(
        "this is not a part number or board that is known",
        found=text,
        expected="near it are " + ", ".join(names[key] for key in near) if near else None,
        remedy="'lutra parts' lists those that are",
    )
