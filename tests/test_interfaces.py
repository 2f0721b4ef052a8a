"""Projects with each interface: FIFOs, AXI4-Stream and memory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.ops import Array
from lutra.frontend.storage import write_folder
from lutra.hls_templates.bus import INTERFACES
from lutra.hls_templates.folding import Folding
from lutra.hls_templates.interface import memory_bank
from lutra.hls_templates.lint.checker import lint
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel
from lutra.sim.csim import compare, compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

from .commands import Run
from .test_buses import FOLD, NONE, WARNINGS, widened

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
#pragma HLS BIND_STORAGE variable=x type=fifo impl=srl
    hls::stream<ap_uint<7> > v0;
#pragma HLS STREAM variable=v0 depth=2
#pragma HLS BIND_STORAGE variable=v0 type=fifo impl=srl

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
#pragma HLS BIND_STORAGE variable=x type=fifo impl=srl
        hls::stream<ap_uint<7> > v0;
#pragma HLS STREAM variable=v0 depth=2
#pragma HLS BIND_STORAGE variable=v0 type=fifo impl=srl

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
#pragma HLS BIND_STORAGE variable=x_words type=fifo impl=srl
    hls::stream<ap_uint<64> > v0_words;
#pragma HLS STREAM variable=v0_words depth=2
#pragma HLS BIND_STORAGE variable=v0_words type=fifo impl=srl

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
        (
            "m_axi",
            "mode=s_axilite port=return",
            "mode=s_axilite port=again",
            "control of the block",
        ),
        ("m_axi", "bundle=gmem0", "bundle=GMEM0", "in lower case"),
        (
            "m_axi",
            "port=memory_out bundle=gmem1 offset=slave depth=2",
            "port=memory_out bundle=gmem1",
            "a depth",
        ),
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


# The command line


def test_generate_with_an_interface(lutra: Run, here: Path, refused: Callable[..., str]) -> None:
    done = lutra("generate", "f.onnx", "-o", "a", "--interface", "axis", "--bus", "32")
    assert done.status == 0, done.err
    manifest = json.loads((here / "a" / "manifest.json").read_text())
    assert (manifest["interface"], manifest["bus_bits"]) == ("axis", 32)
    assert {"host/driver.py", "host/network.json", "tb/standin/ap_axi_sdata.h"} <= set(
        manifest["files"]
    )
    readme = (here / "a" / "README.md").read_text()
    assert "in 18 words of 32 bits" in readme
    assert "--device pynq" in readme
    assert lutra("generate", "f.onnx", "-o", "k", "--interface", "m_axi").status == 0
    readme = (here / "k" / "README.md").read_text()
    assert "in 2 words of 512 bits" in readme
    assert "link.cfg" in readme
    message = refused("generate", "f.onnx", "-o", "q", "--interface", "axis", "--bus", "12")
    assert "multiple of 8" in message
    message = refused("generate", "f.onnx", "-o", "q", "--bus", "64")
    assert "choose the interface axis or m_axi" in message
    assert not (here / "q").exists()
