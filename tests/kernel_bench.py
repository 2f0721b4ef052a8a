"""Runs C++ kernels on their own: many configurations in one program, integers in and out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from lutra.frontend.ops import Array
from lutra.hls_templates.pack import pack_rows
from lutra.quantize.cast import Cast
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.sim.toolchain import compile_cpp, find_headers, run_program

FRAMES = 2
"""Each kernel is called for so many frames, one after the other."""

PROLOGUE = """\
#include <cstdio>
#include <cstdlib>
#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>
#include "lutra/concat.h"
#include "lutra/dense.h"
#include "lutra/grouped.h"
#include "lutra/matmul.h"
#include "lutra/rearrange.h"
#include "lutra/pool.h"
#include "lutra/recurrent.h"
#include "lutra/window.h"

FILE* values_in;
FILE* values_out;

template <int ID, typename In, typename Out>
struct rounded {
    typedef In in;
    typedef Out out;
    static Out apply(const In& value) {
        Out result = value;
        lutra::trace<ID>(result);
        return result;
    }
};

void put(long long value) { fwrite(&value, sizeof value, 1, values_out); }

template <typename T, int LANES, int BITS>
void feed(hls::stream<ap_uint<BITS> >& stream, int beats) {
    for (int i = 0; i < beats; ++i) {
        ap_uint<BITS> beat = 0;
        for (int p = 0; p < LANES; ++p) {
            long long raw = 0;
            if (fread(&raw, sizeof raw, 1, values_in) != 1) {
                exit(2);
            }
            lutra::set_lane(beat, p, lutra::from_raw<T>(raw));
        }
        stream.write(beat);
    }
}

template <typename T, int LANES, int BITS>
void drain(hls::stream<ap_uint<BITS> >& stream, int beats) {
    for (int i = 0; i < beats; ++i) {
        ap_uint<BITS> beat = stream.read();
        for (int p = 0; p < LANES; ++p) {
            put(lutra::raw_of(lutra::lane<T>(beat, p)));
        }
    }
}

template <typename Stream>
void expect_empty(Stream& stream, const char* name) {
    if (!stream.empty()) {
        printf("%s leaves data in a stream\\n", name);
        exit(3);
    }
}

void put_trace() {
    for (auto& entry : lutra::trace_log()) {
        for (long long value : entry.second) {
            put(value);
        }
        entry.second.clear();
    }
}
"""


def integers(width: int, *, signed: bool = True) -> Format:
    """A format without fraction bits."""
    return Format(signed, width, width)


def cpp_type(of: Format, rounding: Rounding | None = None, overflow: Overflow | None = None) -> str:
    modes = "" if rounding is None else f", AP_{rounding}, AP_{overflow}"
    return f"ap_{'' if of.signed else 'u'}fixed<{of.width}, {of.integer}{modes}>"


def raw_values(rng: np.random.Generator, of: Format, *shape: int) -> Array:
    """Random raw integers of a format, its ends among them."""
    values = rng.integers(of.low, of.high + 1, shape)
    flat = values.reshape(-1)
    flat[:1], flat[-1:] = of.low, of.high
    return values


@dataclass(frozen=True)
class Post:
    """The assignment to a format that follows a kernel, traced under ``id + 1``."""

    of: Format
    to: Format
    id: int = 0

    @property
    def type(self) -> str:
        out = cpp_type(self.to, Rounding.RND, Overflow.SAT)
        return f"rounded<{self.id + 1}, {cpp_type(self.of)}, {out} >"

    def apply(self, raw: Array) -> Array:
        shift = self.of.fraction - self.to.fraction
        cast = Cast(shift, self.to, Rounding.RND, Overflow.SAT)
        return cast.forward(raw.astype(np.float64)).astype(np.int64)


@dataclass(frozen=True)
class Data:
    """The raw values of all frames (frames first), and how a stream carries them."""

    raw: Array
    format: Format
    lanes: int

    @property
    def type(self) -> str:
        return cpp_type(self.format)

    @property
    def beats(self) -> int:
        return math.prod(self.raw.shape[1:]) // self.lanes

    @property
    def stream(self) -> str:
        return f"hls::stream<ap_uint<{self.lanes * self.format.width}> >"


@dataclass(frozen=True)
class Case:
    """One configuration of a kernel.

    Attributes:
        numbers, types: members of its Config.
        inputs, output: of all frames; the output is what is expected.
        arrays: constant arrays that the kernel takes: rows of raw integers, and their width.
        traced: expected values, frames first, by their numbers.
        text: C++ before the Config.
    """

    name: str
    kernel: str
    numbers: Mapping[str, int]
    types: Mapping[str, str]
    inputs: tuple[Data, ...]
    output: Data
    arrays: tuple[tuple[Array, int], ...] = ()
    traced: Mapping[int, Array] = field(default_factory=dict)
    text: str = ""

    def source(self) -> str:
        lines = [f"namespace {self.name} {{", self.text, "struct config {"]
        for key, value in self.numbers.items():
            lines.append(f"static const {type(value).__name__} {key} = {str(value).lower()};")
        lines += [f"typedef {text} {key};" for key, text in self.types.items()]
        lines.append("};")
        for i, (raw, width) in enumerate(self.arrays):
            words = pack_rows(raw, width)
            rows = ", ".join("{" + ", ".join(f"{w:#x}ULL" for w in row) + "}" for row in words)
            size = "][".join(map(str, words.shape))
            lines.append(f"const lutra::word_t array_{i}[{size}] = {{{rows}}};")
        streams = [f"in_{i}" for i in range(len(self.inputs))] + ["out"]
        lines.append("void run() {")
        for name, data in zip(streams, (*self.inputs, self.output), strict=True):
            lines.append(f"{data.stream} {name};")
        for name, data in zip(streams, self.inputs, strict=False):
            lines.append(f"feed<{data.type}, {data.lanes}>({name}, {data.beats});")
        arguments = [*streams, *(f"array_{i}" for i in range(len(self.arrays)))]
        lines.append(f"lutra::{self.kernel}<config>({', '.join(arguments)});")
        out = self.output
        lines.append(f"drain<{out.type}, {out.lanes}>(out, {out.beats});")
        lines += [f'expect_empty({name}, "{self.name}");' for name in streams]
        lines.append("put_trace();\n}\n}")
        return "\n".join(lines)


def run_cases(cases: Sequence[Case], folder: Path) -> dict[str, list[str]]:
    """Compile all cases into one program and run it.

    Returns:
        By the case's name, which values differ from the expected ones: an empty list if none does.
    """
    calls = [f"for (int i = 0; i < {FRAMES}; ++i) {{ {case.name}::run(); }}" for case in cases]
    main = [
        "int main(int, char** argv) {",
        'values_in = fopen(argv[1], "rb");',
        'values_out = fopen(argv[2], "wb");',
        *calls,
        "return fclose(values_out);\n}",
    ]
    program = folder / "kernels.cpp"
    program.write_text("\n".join([PROLOGUE, *(case.source() for case in cases), *main]))
    package = resources.files("lutra.hls_templates") / "include"
    with resources.as_file(package) as include:
        compile_cpp(
            [program],
            folder / "kernels",
            headers=find_headers(),
            flags=["-O0", "-DLUTRA_TRACE", "-DAP_INT_MAX_W=4096", f"-I{include}", *WARNINGS],
            cwd=folder,
        )
    fed = [
        data.raw[frame].ravel() for case in cases for frame in range(FRAMES) for data in case.inputs
    ]
    np.concatenate(fed).astype(np.int64).tofile(folder / "in.bin")
    done = run_program([str(folder / "kernels"), "in.bin", "out.bin"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout + done.stderr
    found = np.fromfile(folder / "out.bin", np.int64)
    start = 0
    wrong: dict[str, list[str]] = {case.name: [] for case in cases}
    for case in cases:
        for frame in range(FRAMES):
            wanted = {"output": case.output.raw}
            wanted |= {f"value {i}": case.traced[i] for i in sorted(case.traced)}
            for what, values in wanted.items():
                expected = values[frame].ravel()
                got = found[start : start + expected.size]
                start += expected.size
                if not np.array_equal(got, expected):
                    wrong[case.name].append(f"frame {frame}, {what}: {got}, expected {expected}")
    assert start == found.size
    return wrong


WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
"""Our headers compile without a warning."""
