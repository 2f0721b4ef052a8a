"""The library of parts: numbers, boards, and what is refused."""

from __future__ import annotations

import re

import pytest

from lutra.hls_templates.hardware.devices import BOARDS, DEVICES
from lutra.hls_templates.hardware.parts import PartError, find_part
from lutra.hls_templates.project import Options


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("xczu7ev-ffvc1156-2-e", "xczu7ev-ffvc1156-2-e"),
        ("xck26-sfvc784-2LV-c", "xck26-sfvc784-2LV-c"),
        ("XCK26-SFVC784-2lv-C", "xck26-sfvc784-2LV-c"),
        ("xc7z020clg400-1", "xc7z020clg400-1"),
        ("xc7z020-clg400-1", "xc7z020clg400-1"),
        ("xc7a35ticsg324-1L", "xc7a35ticsg324-1L"),
        ("xcu250-figd2104-2L-e", "xcu250-figd2104-2L-e"),
        ("xcvc1902-vsva2197-2MP-e-S", "xcvc1902-vsva2197-2MP-e-S"),
        ("xczu7ev", "xczu7ev-ffvc1156-2-e"),
        ("KV260", "xck26-sfvc784-2LV-c"),
        ("kv-260", "xck26-sfvc784-2LV-c"),
        ("pynq z2", "xc7z020clg400-1"),
        ("PYNQZ2", "xc7z020clg400-1"),
        ("u250", "xcu250-figd2104-2L-e"),
        ("Alveo-U250", "xcu250-figd2104-2L-e"),
    ],
)
def test_parts_are_found_by_number_device_and_board(text: str, number: str) -> None:
    assert find_part(text).number == number
    assert Options(part=text).part == number


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_has_a_part(board: str) -> None:
    part = find_part(board)
    assert part.number == BOARDS[board]
    assert find_part(part.number) == part


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_has_a_part_number(device: str) -> None:
    part = find_part(device)
    assert part.device == device
    assert part.number.startswith(device)
    assert find_part(part.number) == part
    assert part.ff == 2 * part.lut
    assert part.bram18 % 2 == 0


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("xcz7020", "xc7z020"),
        ("zcu140", "ZCU104"),
        ("kv206", "KV260"),
        ("xc7z020clg400", "xc7z020clg400-1"),
        ("xczu7ev-ffvc1156-4-e", "xczu7ev-ffvc1156-2-e"),
        ("xck26-sfvc784-2LV", "xck26-sfvc784-2LV-c"),
    ],
)
def test_an_unknown_part_is_refused_with_what_is_near(text: str, near: str) -> None:
    with pytest.raises(PartError, match=re.escape(near)):
        find_part(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "xc7z020clg400-1;exit",
        "xc7z020clg400-1\n",
        "xck26-sfvc784-2LV-c part=xc7z020",
        "../../etc/passwd",
        "$(reboot)",
        "xck26\x00",
        "xck26\u00b2",
        "k" * 10_000,
        "x" * 60,
    ],
)
def test_hostile_texts_are_refused(text: str) -> None:
    with pytest.raises(PartError) as caught:
        find_part(text)
    assert len(str(caught.value)) < 1000
