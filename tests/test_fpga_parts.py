"""The library of parts: numbers, boards, and what is refused."""

from __future__ import annotations

import re

import pytest

from lutra.hls_templates.hardware.devices import BOARDS, DEVICES
from lutra.hls_templates.hardware.parts import PartError, find_part
from lutra.hls_templates.project import Options
from lutra.parts_list import list_parts


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
        ("xc7a35tlcsg324-2l", "xc7a35tlcsg324-2L"),
        ("xcvu9p-flga2104-2l-e", "xcvu9p-flga2104-2L-e"),
        ("xcve2802-vsvh1760-2mp-e-s-es1", "xcve2802-vsvh1760-2MP-e-S-es1"),
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


CELLS = {
    "xc7z007s": 23_000, "xc7z012s": 55_000, "xc7z014s": 65_000, "xc7z010": 28_000,
    "xc7z015": 74_000, "xc7z020": 85_000, "xc7z030": 125_000, "xc7z035": 275_000,
    "xc7z045": 350_000, "xc7z100": 444_000,
    "xc7s6": 6_000, "xc7s15": 12_800, "xc7s25": 23_360, "xc7s50": 52_160, "xc7s75": 76_800,
    "xc7s100": 102_400,
    "xc7a12t": 12_800, "xc7a15t": 16_640, "xc7a25t": 23_360, "xc7a35t": 33_280, "xc7a50t": 52_160,
    "xc7a75t": 75_520, "xc7a100t": 101_440, "xc7a200t": 215_360,
    "xc7k70t": 65_600, "xc7k160t": 162_240, "xc7k325t": 326_080, "xc7k355t": 356_160,
    "xc7k410t": 406_720, "xc7k420t": 416_960, "xc7k480t": 477_760,
    "xc7v585t": 582_720, "xc7v2000t": 1_954_560, "xc7vx330t": 326_400, "xc7vx415t": 412_160,
    "xc7vx485t": 485_760, "xc7vx550t": 554_240, "xc7vx690t": 693_120, "xc7vx980t": 979_200,
    "xc7vx1140t": 1_139_200,
    "xcku025": 318_150, "xcku035": 444_343, "xcku040": 530_250, "xcku060": 725_550,
    "xcku085": 1_088_325, "xcku095": 1_176_000, "xcku115": 1_451_100,
    "xcvu065": 783_300, "xcvu095": 1_176_000, "xcvu125": 1_566_600, "xcvu160": 2_026_500,
    "xcvu190": 2_349_900, "xcvu440": 5_540_850,
    "xcau7p": 81_900, "xcau10p": 96_250, "xcau15p": 170_100, "xcau20p": 238_437,
    "xcau25p": 308_437,
    "xcku3p": 355_950, "xcku5p": 474_600, "xcku9p": 599_550, "xcku11p": 653_100,
    "xcku13p": 746_550, "xcku15p": 1_143_450,
    "xcvu3p": 862_050, "xcvu5p": 1_313_763, "xcvu7p": 1_724_100, "xcvu9p": 2_586_150,
    "xcvu11p": 2_835_000, "xcvu13p": 3_780_000, "xcvu19p": 8_937_600, "xcvu23p": 2_252_250,
    "xcvu27p": 2_835_000, "xcvu29p": 3_780_000, "xcvu31p": 961_800, "xcvu33p": 961_800,
    "xcvu35p": 1_906_800, "xcvu37p": 2_851_800, "xcvu45p": 1_906_800, "xcvu47p": 2_851_800,
    "xcvu57p": 2_851_800,
    "xczu1": 81_900, "xczu2": 103_320, "xczu3": 154_350, "xczu4": 192_150, "xczu5": 256_200,
    "xczu6": 469_446, "xczu7": 504_000, "xczu9": 599_550, "xczu11": 653_100, "xczu15": 746_550,
    "xczu17": 926_194, "xczu19": 1_143_450,
    "xck24": 154_350, "xck26": 256_200,
    "xcu50": 1_906_800, "xcu55c": 2_851_800, "xcu200": 2_586_150, "xcu250": 3_780_000,
    "xcu280": 2_851_800,
    "xcvc1902": 1_968_400, "xcvm1802": 1_968_400, "xcve2802": 1_139_040, "xcv80": 5_631_080,
}  # fmt: skip
"""Logic cells, as the product tables state them beside the LUTs; RFSoCs have 930,300."""


@pytest.mark.parametrize("device", DEVICES)
def test_luts_agree_with_the_logic_cells_of_the_product_tables(device: str) -> None:
    part = find_part(device)
    name = re.sub(r"(\d)[ce][gv]$", r"\1", device)
    cells = 930_300 if device.endswith("dr") else CELLS[name]
    each = 1.6 if part.dsp_type == "DSP48E1" else 2.1875
    assert part.lut * each == pytest.approx(cells, rel=0.01)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("xcz7020", "xc7z020"),
        ("zcu140", "ZCU104"),
        ("kv206", "KV260"),
        ("xc7z020clg400", "xc7z020clg400-1"),
        ("xczu7ev-ffvc1156-4-e", "xczu7ev-ffvc1156-2-e"),
        ("xck26-sfvc784-2LV", "xck26-sfvc784-2LV-c"),
        ("xck26-sfvc784-2LV-c-S", "xck26-sfvc784-2LV-c"),
        ("arty a7", "Arty A7-35T, Arty A7-100T"),
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


def test_at_least_eighty_devices_are_known() -> None:
    assert len(DEVICES) >= 80


def test_parts_are_listed_by_device_family_and_board() -> None:
    assert [row["device"] for row in list_parts("kv260")] == ["xck26"]
    assert [row["device"] for row in list_parts("Kria")] == ["xck24", "xck26"]
    assert {row["device"] for row in list_parts("zcu1")} == {"xczu7ev", "xczu9eg", "xczu28dr"}
    assert len(list_parts("")) == len(DEVICES)
    (row,) = list_parts("xck26-sfvc784-2LV-i")
    assert row["part"] == "xck26-sfvc784-2LV-i"
    assert row["lut"] == 117_120
    with pytest.raises(PartError, match="KV260"):
        list_parts("kv206")
