"""Which memory holds what: the formulas at their break points, and the choices."""

from __future__ import annotations

import re

import pytest

from lutra.hls_templates.hardware.memory import (
    NEAREST,
    bram18,
    buffer_memory,
    fifo_memory,
    kept_memory,
    ram_luts,
    rom_luts,
    weight_memory,
)
from lutra.hls_templates.hardware.parts import find_part
from lutra.hls_templates.project import headers


@pytest.mark.parametrize(
    ("bits", "words", "blocks"),
    [
        (1, 16384, 1), (1, 16385, 2),
        (2, 8192, 1), (2, 8193, 2),
        (3, 4096, 1), (4, 4096, 1), (4, 4097, 2),
        (5, 2048, 1), (9, 2048, 1), (9, 2049, 2),
        (10, 1024, 1), (18, 1024, 1), (18, 1025, 2),
        (19, 512, 1), (36, 512, 1), (37, 512, 2), (72, 512, 2),
        (19, 513, 2), (36, 513, 2), (36, 1024, 2), (36, 1025, 4),
    ],
)  # fmt: skip
def test_block_rams(bits: int, words: int, blocks: int) -> None:
    assert bram18(bits, words) == blocks


def test_luts_of_memories() -> None:
    assert [rom_luts(8, words) for words in (1, 64, 65, 128)] == [8, 8, 16, 16]
    assert [ram_luts(8, words) for words in (1, 64, 65, 128)] == [16, 16, 32, 32]


@pytest.mark.parametrize(
    ("bits", "depth", "kind"),
    [(512, 2, "srl"), (4096, 2, "srl"), (16, 64, "srl"), (16, 65, "bram"), (1, 1024, "srl")],
)
def test_fifos_are_shift_registers_up_to_1024_bits_or_two_beats(
    bits: int, depth: int, kind: str
) -> None:
    assert fifo_memory(bits, depth, find_part("PYNQ-Z2")) == kind


@pytest.mark.parametrize(
    ("board", "bits", "depth", "kind"),
    [
        ("KV260", 72, 4096, "uram"),
        ("KV260", 8, 4096, "bram"),
        ("KV260", 72, 2048, "uram"),
        ("KV260", 72, 1024, "bram"),
        ("PYNQ-Z2", 72, 4096, "bram"),
    ],
)
def test_deep_fifos_are_ultraram_where_that_saves_eight_block_rams(
    board: str, bits: int, depth: int, kind: str
) -> None:
    assert fifo_memory(bits, depth, find_part(board)) == kind


@pytest.mark.parametrize(
    ("bits", "words", "kind"),
    [(8, 1024, "lutram"), (8, 1025, "bram"), (36, 192, "lutram"), (36, 256, "bram")],
)
def test_weights_go_into_block_ram_where_luts_would_be_many(
    bits: int, words: int, kind: str
) -> None:
    assert weight_memory(bits, words) == kind
    assert weight_memory(bits, words, "lutram") == "lutram"
    assert weight_memory(bits, words, "bram") == "bram"


def test_buffers_are_registers_luts_or_block_ram() -> None:
    assert buffer_memory(8, 1) == "registers"
    assert buffer_memory(8, 64) == "lutram"
    assert buffer_memory(16, 1024) == "bram"


def test_what_comes_back_soon_is_kept_in_registers() -> None:
    assert kept_memory(64, 16, 16) == "registers"
    assert kept_memory(64, 17, 17) == "lutram"
    assert kept_memory(64, 1024, 1024) == "bram"


def test_the_kernels_keep_as_much_in_registers_as_is_estimated() -> None:
    text = headers()["src/lutra/keep.h"]
    found = re.search(r"NEAREST = (\d+);", text)
    assert found is not None
    assert int(found[1]) == NEAREST
