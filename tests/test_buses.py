"""Words of a bus to beats and back, at every ratio of their sizes."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.frontend.errors import LutraError
from lutra.frontend.ops import Relu
from lutra.hls_templates.bus import Bus, container
from lutra.hls_templates.folding import Fold, Folding, FoldingError
from lutra.hls_templates.hardware.estimate import estimate
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.resources import process_resources
from lutra.hls_templates.hardware.schedule import schedule
from lutra.hls_templates.planner import plan
from lutra.hls_templates.processes import EnterProcess, LeaveProcess
from lutra.hls_templates.project import Options
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.formats import Format
from lutra.sim.toolchain import compile_cpp, find_headers

from .fixed_graphs import Maker
from .test_hardware_schedules import fits

WARNINGS = ["-O0", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
TARGET = Target(find_part("KV260"), 5.0)
NONE = Folding()
FOLD = Folding({"conv": Fold(4, 2), "pool": Fold(2), "dense": Fold(5, 6)})


# The bus


@pytest.mark.parametrize(("width", "bits"), [(1, 8), (8, 8), (9, 16), (17, 32), (32, 32), (53, 64)])
def test_a_value_stands_in_the_smallest_container(width: int, bits: int) -> None:
    assert container(width) == bits


@pytest.mark.parametrize(
    ("interface", "bits", "message"),
    [
        ("axis", 12, "cannot have this width.*multiple of 8"),
        ("axis", 0, "cannot have this width"),
        ("axis", 1032, "cannot have this width"),
        ("m_axi", 16, "to memory cannot have this width"),
        ("m_axi", 96, "to memory cannot have this width"),
        ("m_axi", 1024, "to memory cannot have this width"),
        ("stream", 64, "FIFO ports are as wide as their beats"),
        ("axi", None, "no such interface.*stream, axis, m_axi"),
    ],
)
def test_a_bus_that_cannot_be_is_refused(interface: str, bits: int | None, message: str) -> None:
    with pytest.raises(LutraError, match=message):
        Options(interface=interface, bus_bits=bits)


def test_a_bus_has_its_usual_width_unless_told() -> None:
    assert Options().bus is None
    assert Options(interface="axis").bus == Bus("axis", 64)
    assert Options(interface="m_axi").bus == Bus("m_axi", 512)
    assert Options(interface="m_axi", bus_bits=32).bus == Bus("m_axi", 32)


def test_a_bus_narrower_than_a_value_is_refused(fixed_cnn: FixedModel) -> None:
    graph = widened(17)
    with pytest.raises(LutraError, match=r"too narrow for 'x' .*24 bits.*at least 32.*--bus"):
        plan(graph, Folding(), Bus("axis", 24))
    assert plan(fixed_cnn.fixed, Folding(), Bus("axis", 8)).bus == Bus("axis", 8)


def test_sizes_that_go_together_badly_are_refused() -> None:
    make = Maker((4096,), Format(False, 1, 1))
    graph = make.graph(make.add(Relu(), "x"))
    with pytest.raises(FoldingError, match=r"3 values a word, 4096 a beat.*another width"):
        plan(graph, Folding(), Bus("axis", 24), parallel=True)
    assert plan(graph, Folding(), Bus("axis", 32), parallel=True).processes


def widened(width: int, values: int = 6) -> FixedGraph:
    """A network that doubles its values."""
    make = Maker((values,), Format(True, width, width))
    return make.graph(make.combine("x", "x"))


# Schedules


def converter(
    kind: type[EnterProcess] | type[LeaveProcess], values: int, lanes: int, beats: int
) -> EnterProcess | LeaveProcess:
    words = -(-lanes * beats // values)
    bus = Bus("axis", 8 * values)
    return kind("p", "p", ("a",), ("b",), bus, Format(True, 6, 3), values, words, lanes, beats)


def accesses(add: int, take: int, count: int, out: int) -> tuple[list[int], list[int]]:
    """When a loop reads each of ``count`` beats of ``add`` values and writes each of ``out`` beats
    of ``take``: it reads if what it holds is too little, and writes if it is enough or all."""
    reads: list[int] = []
    writes: list[int] = []
    held = step = 0
    while len(writes) < out:
        if held < take and len(reads) < count:
            reads.append(step)
            held += add
        if held >= take or len(reads) == count:
            writes.append(step)
            held -= take
        step += 1
    return reads, writes


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
def test_converters_never_wait_for_themselves(values: int, lanes: int, beats: int) -> None:
    enter = converter(EnterProcess, values, lanes, beats)
    leave = converter(LeaveProcess, values, lanes, beats)
    assert isinstance(enter, EnterProcess)
    assert isinstance(leave, LeaveProcess)
    for process, steps in ((enter, enter.steps), (leave, leave.steps)):
        enters = process is enter
        ends = (enter.words, enter.beats) if enters else (leave.beats, leave.words)
        sizes = (values, lanes) if enters else (lanes, values)
        reads, writes = accesses(*sizes, *ends)
        found = schedule(plan(widened(6), Folding()), process, TARGET)
        if process.whole:
            assert (found.reads["a"].tolist(), found.writes["b"].tolist()) == ([0], [0])
            assert (steps, found.period) == (1, 1)
            continue
        assert (found.reads["a"] - 1).tolist() == reads
        assert (found.writes["b"] - 1).tolist() == writes
        assert steps == max(reads[-1], writes[-1]) + 1
        assert steps - max(ends) <= 1


@pytest.mark.parametrize(("bits", "interval"), [(72, 1), (24, 6)])
def test_frames_of_one_word_pass_each_cycle(bits: int, interval: int) -> None:
    """A fully parallel network of nine values, behind one word for all of them, or three words."""
    design = plan(widened(6, 9), NONE, Bus("axis", bits), parallel=True)
    assert estimate(design, NONE, TARGET).interval == interval


@pytest.mark.parametrize("bits", [8, 24, 64, 1016])
def test_converters_have_schedules_and_resources(fixed_cnn: FixedModel, bits: int) -> None:
    design = plan(fixed_cnn.fixed, FOLD, Bus("axis", bits))
    assert isinstance(design.processes[0], EnterProcess)
    assert isinstance(design.processes[-1], LeaveProcess)
    fits(design, {p.name: schedule(design, p, TARGET) for p in design.processes})
    for process in (design.processes[0], design.processes[-1]):
        assert process_resources(design, process, TARGET).ff.expected > 0
    assert design.inputs == design.processes[0].reads
    assert design.outputs == design.processes[-1].writes


# Kernels

CONVERT = """\
#define AP_INT_MAX_W 4096
#include <ap_axi_sdata.h>
#include <ap_int.h>
#include <hls_stream.h>
#include "axis.h"
#include "bus.h"
#include <cstdio>
"""


def gcd(a: int, b: int) -> int:
    return int(np.gcd(a, b))


def test_every_ratio_of_values_to_lanes(tmp_path: Path) -> None:
    """Words to beats and back; values, padding, sign and TLAST, and nothing left in a stream."""
    cases = [
        (values, lanes, beats, width)
        for (values, lanes), beats, width in zip(
            [
                *itertools.product((1, 2, 3, 6), (1, 2, 4, 9)),
                (8, 3),
                (16, 64),
                (5, 12),
                (7, 4),
            ],
            itertools.cycle((1, 2, 5, 7)),
            itertools.cycle((6, 8, 1, 3)),
            strict=False,
        )
    ]
    text = [CONVERT]
    for i, (values, lanes, beats, width) in enumerate(cases):
        enter = converter(EnterProcess, values, lanes, beats)
        leave = converter(LeaveProcess, values, lanes, beats)
        for name, process in ((f"in_{i}", enter), (f"out_{i}", leave)):
            members = {
                "bits": 8 * values,
                "values": values,
                "container": 8,
                "width": width,
                "is_signed": i % 2,
                "lanes": lanes,
                "unit": gcd(values, lanes),
                "beats": beats,
                "steps": process.steps,
            }
            text.append(f"struct {name} {{")
            text += [f"    static const int {key} = {value};" for key, value in members.items()]
            text.append(f"    typedef lutra::axis_word<{8 * values}> word;\n}};")
        words = -(-lanes * beats // values)
        suffix = "_frame" if enter.whole else ""
        text.append(f"""
int check_{i}() {{
    hls::stream<ap_axiu<{8 * values}, 0, 0, 0> > in("in"), out("out");
    hls::stream<ap_uint<{lanes * width}> > beats("beats");
    int wrong = 0, next = 1;
    for (int frame = 0; frame < 2; ++frame) {{
        for (int w = 0; w < {words}; ++w) {{
            ap_axiu<{8 * values}, 0, 0, 0> word;
            for (int v = 0; v < {values}; ++v, ++next) {{
                ap_uint<8> byte = 37 * next;
                word.data.range(8 * v + 7, 8 * v) = byte;
            }}
            word.keep = 0; word.strb = 0; word.last = w % 2;
            in.write(word);
        }}
    }}
    for (int frame = 0; frame < 2; ++frame) lutra::enter{suffix}<in_{i}>(in, beats);
    for (int frame = 0; frame < 2; ++frame) lutra::leave{suffix}<out_{i}>(beats, out);
    next = 1;
    for (int frame = 0; frame < 2; ++frame) {{
        for (int w = 0; w < {words}; ++w) {{
            ap_axiu<{8 * values}, 0, 0, 0> word = out.read();
            wrong += word.last != (w == {words - 1});
            wrong += word.keep != ap_uint<{values}>(-1) || word.strb != ap_uint<{values}>(-1);
            for (int v = 0; v < {values}; ++v, ++next) {{
                ap_uint<8> byte = word.data.range(8 * v + 7, 8 * v);
                int sent = 37 * next & {(1 << width) - 1};
                if ({i % 2} && (sent & {1 << (width - 1)})) sent -= {1 << width};
                if (w * {values} + v >= {lanes * beats}) sent = 0;
                wrong += byte != ap_uint<8>(sent);
            }}
        }}
    }}
    return wrong + !in.empty() + !beats.empty() + !out.empty();
}}""")
    text.append("int main() {\n    int wrong = 0;")
    text += [f'    std::printf("%d ", check_{i}());' for i in range(len(cases))]
    text.append("    return wrong;\n}")
    source = tmp_path / "convert.cpp"
    source.write_text("\n".join(text))
    kernels = Path(__file__).parent.parent / "hls_templates" / "include" / "lutra"
    compile_cpp(
        [source],
        tmp_path / "convert",
        headers=find_headers(),
        flags=[*WARNINGS, f"-I{kernels}"],
        cwd=tmp_path,
    )
    done = subprocess.run([tmp_path / "convert"], capture_output=True, text=True, check=True)
    results = dict(zip(cases, map(int, done.stdout.split()), strict=True))
    assert {case: wrong for case, wrong in results.items() if wrong} == {}
    assert "WARNING" not in done.stdout
