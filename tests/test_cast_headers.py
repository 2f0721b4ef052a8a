"""``Cast`` against AMD's headers, compiled with g++: the same raw integers, everywhere.

A program instantiates assignments between fixed-point types of the headers and writes the result
for every value of the source.  All modes and all source formats up to 8 bits are met, with shifts
from appended zeros to nothing left; each of them with several targets, signed and unsigned, with
integer parts below 0 and above W.  With LUTRA_EXHAUSTIVE=1 the targets, too, are all formats up to
8 bits: that takes about half an hour of compilation.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lutra.quantize.cast import Cast
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.sim.toolchain import compile_cpp, find_headers

PARTS = 8
"""The program is compiled in so many parts, so that workers can share them."""

TARGETS = 2
"""Targets for each source and shift, out of the sixteen formats up to 8 bits."""

PROLOGUE = """\
#include <ap_fixed.h>
#include <cstdio>
template <int W, int I, bool S, int W2, int I2, bool S2> struct pair_of {
    template <ap_q_mode Q, ap_o_mode O> static void go(FILE* file) {
        ap_fixed_base<W2, I2, S2, AP_TRN, AP_WRAP, 0> source;
        static ap_fixed_base<W, I, S, Q, O, 0> target;
        for (int bits = 0; bits < (1 << W2); ++bits) {
            source.V = bits;
            target = source;
            fputc(static_cast<int>(target.V.to_int() & 255), file);
        }
    }
    static void all(FILE* file) {
"""

Pair = tuple[Format, Format]


def pairs(*, exhaustive: bool) -> Iterator[Pair]:
    """Sources and targets."""
    formats = list(itertools.product((True, False), range(1, 9)))
    count = 0
    for source_signed, source_width in formats:
        for shift in range(-2, source_width + 3):
            chosen = formats
            if not exhaustive:
                chosen = [formats[(7 * count + 5 * i) % len(formats)] for i in range(TARGETS)]
            for target_signed, target_width in chosen:
                integer = (-3, 0, target_width // 2, target_width, target_width + 4)[count % 5]
                target = Format(target_signed, target_width, integer)
                source = Format(source_signed, source_width, source_width - target.fraction - shift)
                yield source, target
                count += 1


def modes() -> list[tuple[Rounding, Overflow]]:
    return list(itertools.product(Rounding, Overflow))


def program(chosen: list[Pair]) -> str:
    lines = [PROLOGUE]
    lines += [f"go<AP_{q}, AP_{o}>(file);" for q, o in modes()]
    lines.append('} };\nint main(int, char** argv) { FILE* file = fopen(argv[1], "wb");')
    for source, target in chosen:
        numbers = (
            f"{target.width}, {target.integer}, {str(target.signed).lower()}, "
            f"{source.width}, {source.integer}, {str(source.signed).lower()}"
        )
        lines.append(f"pair_of<{numbers}>::all(file);")
    lines.append("return fclose(file); }")
    return "\n".join(lines)


def expected(source: Format, target: Format) -> np.ndarray:
    """For every mode and every bit pattern of the source, the bits of the result."""
    bits = np.arange(1 << source.width)
    raw = np.where(bits > source.high, bits - (1 << source.width), bits).astype(np.float64)
    shift = source.fraction - target.fraction
    rows = [Cast(shift, target, q, o).forward(raw) for q, o in modes()]
    return np.concatenate(rows).astype(np.int64).astype(np.uint8)


def test_the_pairs_meet_what_they_should() -> None:
    chosen = list(pairs(exhaustive=False))
    sources = {(source.signed, source.width) for source, _ in chosen}
    targets = {(target.signed, target.width) for _, target in chosen}
    assert sources == targets == set(itertools.product((True, False), range(1, 9)))
    for format_of in (0, 1):
        assert any(pair[format_of].integer < 0 for pair in chosen)
        assert any(pair[format_of].integer > pair[format_of].width for pair in chosen)


@pytest.mark.parametrize("part", range(PARTS))
def test_cast_is_the_headers_assignment(part: int, tmp_path: Path) -> None:
    """``NDEBUG``: for shifts beyond the source's width the headers read a bit past its end, which
    they then ignore, but which their own debug assertion stops at."""
    exhaustive = os.environ.get("LUTRA_EXHAUSTIVE") == "1"
    chosen = list(pairs(exhaustive=exhaustive))[part::PARTS]
    source_file = tmp_path / "casts.cpp"
    source_file.write_text(program(chosen))
    compile_cpp(
        [source_file],
        tmp_path / "casts",
        headers=find_headers(),
        flags=["-O0", "-w", "-DNDEBUG"],
        cwd=tmp_path,
    )
    subprocess.run([tmp_path / "casts", tmp_path / "out"], check=True)
    got = np.fromfile(tmp_path / "out", np.uint8)
    start = 0
    for source, target in chosen:
        wanted = expected(source, target)
        found = got[start : start + len(wanted)]
        start += len(wanted)
        assert np.array_equal(masked(found, target), masked(wanted, target)), (source, target)
    assert start == len(got)


def masked(bits: np.ndarray, target: Format) -> np.ndarray:
    return bits & ((1 << target.width) - 1)
