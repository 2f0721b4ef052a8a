"""The checker's rules for pragmas, ports, kernels and sizes: what is generated passes, and each
rule can be broken."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from lutra.hls_templates.lint.checker import lint
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.fixed_onnx import FixedModel

KINDS = {
    "stream": Options(),
    "axis": Options(interface="axis"),
    "m_axi": Options(interface="m_axi"),
}

TOP, LAYERS = "src/nn_top.cpp", "src/nn_layers.h"
POOL, DENSE, FIXED, BUS = (f"src/lutra/{name}.h" for name in ("pool", "dense", "fixed", "bus"))


@pytest.fixture(scope="module")
def projects(fixed_cnn: FixedModel) -> Mapping[str, dict[str, str]]:
    graph = fixed_cnn.fixed
    inputs = np.zeros((1, *graph.inputs[0].shape))
    outputs = np.zeros((1, *graph.outputs[0].shape))
    return {kind: project_files(graph, chosen, inputs, outputs) for kind, chosen in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_generated_breaks_no_rule(
    projects: Mapping[str, dict[str, str]], kind: str
) -> None:
    assert lint(projects[kind]) == []


def broken(files: dict[str, str], file: str, old: str, new: str) -> set[str]:
    """The rules that are broken in a file once a text of it is replaced."""
    assert old in files[file], (file, old)
    changed = files | {file: files[file].replace(old, new, 1)}
    return {finding.rule for finding in lint(changed) if finding.file == file}


UNROLL = "#pragma HLS UNROLL"
PIPELINE = "#pragma HLS PIPELINE II=1 style=flp"
STREAM = "#pragma HLS STREAM variable=relu depth=2"


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        (POOL, PIPELINE, "#pragma HLS PIPELINE style=flp", "II must be given"),
        (POOL, PIPELINE, "#pragma HLS PIPELINE II=0 style=flp", "II must be given"),
        (POOL, PIPELINE, "#pragma HLS PIPELINE II=1", "style must be given"),
        (POOL, PIPELINE, "#pragma HLS PIPELINE II=1 style=fast", "style must be given"),
        (POOL, UNROLL, "#pragma HLS UNWIND", "no rule is known for this pragma"),
        (POOL, UNROLL, "#pragma GCC unroll 4", "a pragma is HLS's"),
        (
            POOL,
            UNROLL,
            "#pragma HLS ARRAY_PARTITION type=complete dim=1",
            "variable must be given",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS ARRAY_PARTITION variable=a type=whole dim=1",
            "type must be complete, cyclic or block",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS ARRAY_RESHAPE variable=a type=cyclic dim=1",
            "a factor belongs to cyclic and block",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS BIND_STORAGE variable=a type=rom_3p impl=bram",
            "there is no such storage",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS BIND_STORAGE variable=a type=rom_1p impl=uram",
            "storage cannot be made of this",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS BIND_STORAGE variable=a type=ram_2p",
            "impl must be given",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS BIND_OP variable=a op=times impl=dsp",
            "there is no such operation",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS BIND_OP variable=a op=mul impl=lut",
            "an operation cannot be made of this",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS BIND_OP variable=a op=mul impl=dsp latency=9",
            "latency is 0 to 4",
        ),
        (POOL, UNROLL, "#pragma HLS BIND_OP op=mul impl=dsp", "variable must be given"),
        (
            POOL,
            UNROLL,
            "#pragma HLS DEPENDENCE variable=a dependent=false",
            "type must be inter or intra",
        ),
        (
            POOL,
            UNROLL,
            "#pragma HLS DEPENDENCE variable=a type=inter",
            "dependent must be true or false",
        ),
        (POOL, UNROLL, "#pragma HLS AGGREGATE variable=a", "compact must be bit"),
        (TOP, STREAM, STREAM.replace("=2", "=two"), "depth must be given"),
        (TOP, STREAM, STREAM.replace("=2", "=0"), "depth must be given"),
        (TOP, STREAM + "\n", "", "each stream has its depth"),
        (TOP, STREAM, STREAM.replace("relu", "other"), "each stream has its depth"),
        (TOP, "mode=ap_fifo port=x", "mode=fifo port=x", "there is no such mode"),
        (TOP, "mode=ap_fifo port=x", "mode=ap_fifo", "port must be given"),
        (TOP, "mode=ap_fifo port=x", "mode=ap_fifo port=z", "a port is no argument"),
        (
            TOP,
            "mode=ap_fifo port=x",
            "mode=s_axilite port=x",
            "a stream is a FIFO or AXI4-Stream",
        ),
    ],
)
def test_pragmas(
    projects: Mapping[str, dict[str, str]], file: str, old: str, new: str, rule: str
) -> None:
    assert rule in broken(projects["stream"], file, old, new)


IN = "mode=m_axi port=memory_in bundle=gmem0 offset=slave"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("bundle=gmem0", "bundle=GMEM0", "a bundle is named in lower case"),
        ("bundle=gmem0 ", "", "a bundle is named in lower case"),
        ("bundle=gmem0", "bundle=gmem1", "one port a bundle"),
        (IN, IN.replace("slave", "off"), "a port to memory has offset=slave and a depth"),
        (IN + " depth=", IN + " size=", "a port to memory has offset=slave and a depth"),
        (
            "#pragma HLS INTERFACE mode=s_axilite port=return\n",
            "",
            "if an argument is in registers, so is the control of the block",
        ),
        (
            "mode=s_axilite port=return",
            "mode=ap_ctrl_none port=return",
            "without block control every port is a stream",
        ),
        (
            "mode=s_axilite port=frames",
            "mode=s_axilite port=memory_in",
            "a number comes by s_axilite",
        ),
        (IN, IN.replace("m_axi", "s_axilite"), "a pointer is a port to memory"),
        (
            "#pragma HLS DATAFLOW\n    hls::stream<ap_uint<512>",
            "#pragma HLS ARRAY_PARTITION variable=memory_in type=complete dim=1\n"
            "#pragma HLS DATAFLOW\n    hls::stream<ap_uint<512>",
            "memory cannot be partitioned",
        ),
    ],
)
def test_ports_to_memory(
    projects: Mapping[str, dict[str, str]], old: str, new: str, rule: str
) -> None:
    assert rule in broken(projects["m_axi"], TOP, old, new)


def test_ports_of_axi_streams(projects: Mapping[str, dict[str, str]]) -> None:
    files = projects["axis"]
    control = "mode=ap_ctrl_none port=return"
    assert control in files[TOP]
    registers = f"{control}\n#pragma HLS INTERFACE mode=s_axilite port=x"
    assert "without block control every port is a stream" in broken(files, TOP, control, registers)
    pair = re.escape("ap_axiu<64, 0, 0, 0>")
    changed = re.sub(f"hls::stream<{pair} >& x", "hls::stream<pair<8> >& x", files[TOP], count=1)
    rules = {finding.rule for finding in lint(files | {TOP: changed})}
    assert "a stream carries ap_uint, without a depth as its argument" in rules


LOAD = "ap_uint<Config::bits> word = memory[i];"
READ = "x = in.read();"


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        (DENSE, READ, f"{READ} x = in.read();", "one read of a stream an iteration"),
        (
            DENSE,
            READ,
            f"{READ} if (fold > 1) {{ x = in.read(); }}",
            "one read of a stream an iteration",
        ),
        (DENSE, READ, "in >> x;", "streams are read by read() and written by write()"),
        (DENSE, "int group = 0;", "while (true) { }", "a loop has one exit and no while"),
        (DENSE, READ, f"{READ} break;", "a loop has one exit and no break"),
        (DENSE, READ, f"{READ} continue;", "a loop has one exit and no continue"),
        (DENSE, "int group = 0;", "int BIAS = 0;", "AMD's headers define this as a macro"),
        (DENSE, "int group = 0;", "ap_uint<4097> x = 0;", "a width is 1 to 4096 bits"),
        (DENSE, "int group = 0;", "ap_fixed<0, 0> x = 0;", "a width is 1 to 4096 bits"),
        (
            DENSE,
            "int group = 0;",
            "hls::stream<ap_uint<8>, 4> s;",
            "a stream carries ap_uint, without a depth as its argument",
        ),
        (
            DENSE,
            "int group = 0;",
            "hls::stream<values> s;",
            "a stream carries ap_uint, without a depth as its argument",
        ),
        (
            DENSE,
            "int group = 0;",
            'hls::stream<ap_uint<8> > s("s");',
            "a stream has no name of its own",
        ),
        (
            DENSE,
            "int group = 0;",
            "main: for (;;) { }\nmain: for (;;) { }",
            "labels of loops are unique",
        ),
        (BUS, LOAD, LOAD.replace("[i]", "[2 * i]"), "a burst has consecutive addresses"),
        (
            BUS,
            LOAD,
            f"if (i > 2) {{ {LOAD} }}",
            "a burst has no condition and a length that is known",
        ),
        (
            BUS,
            "for (int i = 0; i < count; ++i)",
            "for (int i = 0; i < count; i += 2)",
            "a burst has no condition and a length that is known",
        ),
        (
            BUS,
            "memory[i] = word;",
            "memory[i] = word; word = memory[i];",
            "a burst has one direction",
        ),
        (
            "src/nn_top.h",
            "#define AP_INT_MAX_W 4096\n#endif\n",
            "#endif\n#include <ap_int.h>\n#define AP_INT_MAX_W 4096\n",
            "AP_INT_MAX_W is defined before the headers",
        ),
    ],
)
def test_kernels(
    projects: Mapping[str, dict[str, str]], file: str, old: str, new: str, rule: str
) -> None:
    assert rule in broken(projects["stream"], file, old, new)


def test_reads_on_different_ways_are_one(projects: Mapping[str, dict[str, str]]) -> None:
    """Each iteration takes one branch; loops after one another are apart."""
    branches = "if (fold == 1) { x = in.read(); } else if (fold == 2) { x = in.read(); } else { }"
    assert broken(projects["stream"], DENSE, READ, branches) == set()
    loop = "for (int i = 0; i < 2; ++i) {\n        x = in.read();\n    }\n"
    text = (
        f"ap_uint<Config::simd * Config::in::width> x = 0;\n    {loop}    {loop}    int group = 0;"
    )
    assert broken(projects["stream"], DENSE, "int group = 0;", text) == set()


@pytest.mark.parametrize("outputs", [4096, 4097])
def test_arrays_that_are_taken_apart(projects: Mapping[str, dict[str, str]], outputs: int) -> None:
    """``acc[Config::pe]`` of the kernel of dense layers."""
    text = projects["stream"][LAYERS]
    match = re.search(
        r"(struct dense_layer_config \{.*?static const int pe = )\d+", text, re.DOTALL
    )
    assert match
    changed = text.replace(match[0], f"{match[1]}{outputs}")
    rules = {finding.rule for finding in lint(projects["stream"] | {LAYERS: changed})}
    found = [rule for rule in rules if "is taken apart" in rule]
    assert found == (
        [] if outputs == 4096 else ["an array of 4097 elements is taken apart, more than 4096"]
    )
