"""Ports: FIFOs, AXI4-Stream and memory; words of a bus to beats and back, at every ratio."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.frontend.errors import LutraError
from lutra.frontend.ops import Array
from lutra.frontend.storage import write_folder
from lutra.hls_templates.bus import INTERFACES, Bus, container
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.resources import process_resources
from lutra.hls_templates.hardware.schedule import schedule
from lutra.hls_templates.interface import memory_bank
from lutra.hls_templates.lint import lint
from lutra.hls_templates.plan import EnterProcess, LeaveProcess
from lutra.hls_templates.planner import plan
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.formats import Format
from lutra.sim.csim import compare, compiled
from lutra.sim.simulator import Simulator
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
        assert (found.reads["a"] - 1).tolist() == reads
        assert (found.writes["b"] - 1).tolist() == writes
        assert steps == max(reads[-1], writes[-1]) + 1
        assert steps - max(ends) <= 1


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
            [*itertools.product((1, 2, 3, 4, 6), (1, 2, 3, 4, 9)), (8, 3), (16, 64), (5, 12)],
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
    for (int frame = 0; frame < 2; ++frame) lutra::enter<in_{i}>(in, beats);
    for (int frame = 0; frame < 2; ++frame) lutra::leave<out_{i}>(beats, out);
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


# Projects


def write(
    graph: FixedGraph, options: Options, path: Path, frames: int = 5
) -> tuple[FixedGraph, Array, dict[str, Array]]:
    """A project with golden vectors over the input's whole range."""
    (inlet,), (outlet,) = graph.inputs, graph.outputs
    format_ = graph.formats[inlet.name]
    rng = np.random.default_rng(3)
    raw = rng.integers(format_.low, format_.high, (frames, *inlet.shape), endpoint=True)
    values = Simulator(graph, keep=True).trace_raw(raw)
    files = project_files(graph, options, raw, values[outlet.name])
    write_folder(path, files, force=False)
    return graph, raw, values


def test_every_interface_gives_the_simulators_values(fixed_cnn: FixedModel, tmp_path: Path) -> None:
    """All values of each layer, one frame after the other, and the test bench as delivered, which
    lets a kernel run one frame and then all."""
    cnn, odd, wide = (fixed_cnn.fixed, FOLD), (widened(13, 7), NONE), (widened(51, 3), NONE)
    chosen: list[tuple[tuple[FixedGraph, Folding], str, int | None]] = [
        *((cnn, interface, None) for interface in INTERFACES),
        (cnn, "axis", 72),
        (odd, "axis", 1016),
        (odd, "m_axi", 64),
        (wide, "axis", None),
        (wide, "m_axi", 64),
    ]
    cases = []
    for i, ((graph, folding), interface, bits) in enumerate(chosen):
        options = Options(folding=folding, interface=interface, bus_bits=bits)
        cases.append((write(graph, options, tmp_path / str(i)), tmp_path / str(i)))
    with compiled([path for _, path in cases], find_headers(), WARNINGS) as binary:
        for i, ((graph, raw, values), path) in enumerate(cases):
            result = compare(graph, values, binary.run(graph, raw, i))
            assert (result.wrong, result.first) == (0, None), path
            done = subprocess.run(
                [binary.path, str(i)], cwd=path / "tb", capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), path
            assert done.stdout == "5 frames, 0 wrong values\n"


def sources(interface: str, bits: int | None = None) -> dict[str, str]:
    raw = np.zeros((2, 6))
    options = Options(interface=interface, bus_bits=bits)
    return project_files(widened(6), options, raw, raw)


def test_the_top_with_axi4_stream() -> None:
    text = sources("axis", 32)["src/nn_top.cpp"]
    word = "hls::stream<ap_axiu<32, 0, 0, 0> >"
    head = f"void nn_top({word}& x_words, {word}& v0_words) {{\n"
    assert (
        text.partition(head)[2]
        == """\
#pragma HLS INTERFACE mode=axis port=x_words
#pragma HLS INTERFACE mode=axis port=v0_words
#pragma HLS INTERFACE mode=ap_ctrl_none port=return
#pragma HLS DATAFLOW
    hls::stream<ap_uint<6> > x;
#pragma HLS STREAM variable=x depth=2
    hls::stream<ap_uint<7> > v0;
#pragma HLS STREAM variable=v0 depth=2

    lutra::enter<x_enter_config>(x_words, x);
    lutra::map<v0_stage_config>(x, v0);
    lutra::leave<v0_leave_config>(v0, v0_words);
}
"""
    )


def test_the_top_of_a_kernel() -> None:
    files = sources("m_axi", 64)
    words = "hls::stream<ap_uint<64> >"
    head = f"static void nn_frames({words}& x_words, {words}& v0_words, int frames) {{\n"
    assert (
        files["src/nn_top.cpp"].partition(head)[2]
        == """\
    for (int frame = 0; frame < frames; ++frame) {
#pragma HLS DATAFLOW
        hls::stream<ap_uint<6> > x;
#pragma HLS STREAM variable=x depth=2
        hls::stream<ap_uint<7> > v0;
#pragma HLS STREAM variable=v0 depth=2

        lutra::enter<x_enter_config>(x_words, x);
        lutra::map<v0_stage_config>(x, v0);
        lutra::leave<v0_leave_config>(v0, v0_words);
    }
}

extern "C" void nn_top(const ap_uint<64>* memory_in, ap_uint<64>* memory_out, int frames) {
#pragma HLS INTERFACE mode=m_axi port=memory_in bundle=gmem0 offset=slave depth=2
#pragma HLS INTERFACE mode=m_axi port=memory_out bundle=gmem1 offset=slave depth=2
#pragma HLS INTERFACE mode=s_axilite port=memory_in
#pragma HLS INTERFACE mode=s_axilite port=memory_out
#pragma HLS INTERFACE mode=s_axilite port=frames
#pragma HLS INTERFACE mode=s_axilite port=return
#pragma HLS DATAFLOW
    hls::stream<ap_uint<64> > x_words;
#pragma HLS STREAM variable=x_words depth=2
    hls::stream<ap_uint<64> > v0_words;
#pragma HLS STREAM variable=v0_words depth=2

    lutra::load<nn_load_config>(x_words, memory_in, frames);
    nn_frames(x_words, v0_words, frames);
    lutra::store<nn_store_config>(v0_words, memory_out, frames);
}
"""
    )
    assert "flow_target=vitis\n" in files["hls_config.cfg"]
    assert "package.output.format=xo\npackage.output.file=nn_top.xo\n" in files["hls_config.cfg"]
    assert "-flow_target vitis" in files["run_hls.tcl"]
    assert "export_design -format xo -output nn_top.xo\n" in files["run_hls.tcl"]
    assert files["link.cfg"].endswith("""
[connectivity]
nk=nn_top:1:nn_top_1
sp=nn_top_1.memory_in:DDR[0]
sp=nn_top_1.memory_out:DDR[0]
""")
    assert memory_bank("xcu50-fsvh2104-2-e") == "HBM[0]"


@pytest.mark.parametrize(
    ("interface", "old", "new", "rule"),
    [
        ("m_axi", "frame < frames", "frame < 2 * frames", "alone in its function"),
        ("m_axi", "    for (int f", "    frames++;\n    for (int f", "alone in its function"),
        ("m_axi", "    }\n}\n\n", "    }\n    frames++;\n}\n\n", "alone in its function"),
        ("m_axi", "(v0_words, memory_out,", "(v0_words, memory_in,", "a port has one process"),
        ("m_axi", "nn_frames(x_words, v0_words", "nn_frames(v0_words, x_words", "read before"),
        ("m_axi", "enter_config>(x_words, x)", "enter_config>(v0_words, x)", "a port has one"),
        ("axis", "map<v0_stage_config>(x, v0)", "map2<v0_stage_config>(x, x_words, v0)", "no port"),
    ],
)
def test_a_broken_top_is_found(interface: str, old: str, new: str, rule: str) -> None:
    files = sources(interface)
    text = files["src/nn_top.cpp"]
    assert text.count(old) == 1
    assert lint(files) == []
    found = lint(files | {"src/nn_top.cpp": text.replace(old, new)})
    assert rule in " ".join(map(str, found))
