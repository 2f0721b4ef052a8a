"""``lutra parts``: the FPGAs that Lutra knows, and the boards that they are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from .console import say
from .hls_templates.hardware.devices import BOARDS
from .hls_templates.hardware.parts import Part, every_part, find_part, key_of
from .show import new_table


def list_parts(text: str) -> list[dict[str, Any]]:
    """The parts whose number, family or boards contain ``text``; the part that it names, if none
    does.

    Raises:
        PartError: there is none; what is near is named.
    """
    boards: dict[str, list[str]] = {}
    for name, number in BOARDS.items():
        boards.setdefault(find_part(number).device, []).append(name)
    key = key_of(text)
    rows = [_row(part, boards) for part in every_part()]
    found = [row for row in rows if _fits(row, key)]
    return found or [_row(find_part(text), boards)]


def _row(part: Part, boards: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "part": part.number,
        "device": part.device,
        "family": part.family,
        "lut": part.lut,
        "ff": part.ff,
        "dsp": part.dsp,
        "dsp_type": part.dsp_type,
        "bram18": part.bram18,
        "uram": part.uram,
        "boards": boards.get(part.device, []),
    }


def _fits(row: dict[str, Any], key: str) -> bool:
    return any(key in key_of(name) for name in (row["device"], row["family"], *row["boards"]))


def print_parts(rows: list[dict[str, Any]], console: Console) -> None:
    """A table of devices."""
    table = new_table("Parts")
    table.add_column("Device", no_wrap=True)
    table.add_column("Family")
    for name in ("LUT", "DSP", "BRAM18", "URAM"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Boards")
    for row in rows:
        figures = (f"{row[name]:,}" for name in ("lut", "dsp", "bram18", "uram"))
        table.add_row(row["device"], row["family"], *figures, ", ".join(row["boards"]))
    console.print(table)
    if len(rows) == 1:
        say(console, f"In its usual package: {rows[0]['part']}")
    say(console, "Each has two flip-flops a LUT. --part takes the numbers of all packages.")
