"""``lutra verify --timed``, and projects that hang, deviate, or cannot be timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lutra.frontend.errors import ModelError, ToolchainError
from lutra.sim.instrument import timed_bench, timed_kernels, timed_top
from lutra.timing import FRAMES, Timing, print_timing, read_estimate, time_project

from .commands import Run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_project_is_as_estimated(lutra: Run, here: Path) -> None:
    outcome = lutra("verify", "p", "--timed", "--json")
    assert (outcome.status, outcome.err.count("error")) == (0, 0)
    found = json.loads(outcome.out)["timed"]
    estimate = json.loads((here / "p" / "manifest.json").read_text())["estimate"]
    assert found["passed"]
    assert found["exact"]
    assert not found["deadlock"]
    assert found["frames"] == FRAMES[-1]
    for figure in ("latency", "interval"):
        assert found[figure] == found["estimated"][figure] == estimate[figure]
    fifos = {fifo["name"]: fifo for fifo in found["fifos"]}
    assert fifos.keys() == {fifo["name"] for fifo in estimate["fifos"]}
    assert all(0 < fifo["held"] <= fifo["depth"] for fifo in fifos.values())


def printed(timing: Timing, capsys: pytest.CaptureFixture[str]) -> str:
    from lutra.console import open_console

    print_timing(timing, open_console())
    return capsys.readouterr().out


def test_a_fifo_that_is_too_shallow_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exponentials wait for their sum's reciprocal: all of a row must fit beside it."""
    top = here / "p" / "src" / "nn_top.cpp"
    (line,) = (
        line
        for line in top.read_text().splitlines()
        if line.startswith("#pragma HLS STREAM variable=softmax_exp_branch_2 ")
    )
    edit(top, line, "#pragma HLS STREAM variable=softmax_exp_branch_2 depth=2")
    timing = time_project(here / "p", None)
    assert timing.run.deadlock
    assert timing.run.shallow == ("softmax_exp_branch_2",)
    assert not timing.passed
    assert timing.to_dict()["shallow"] == ["softmax_exp_branch_2"]
    out = printed(timing, capsys)
    assert "the design stops for ever" in out
    assert "softmax_exp_duplicate waits for a place in softmax_exp_branch_2, which is full" in out
    assert "too shallow: softmax_exp_branch_2\n" in out


def test_a_loop_that_takes_longer_is_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel whose loop runs on after its last result is slower than its schedule says; one whose
    weights differ is not exact."""
    dense = here / "p" / "src" / "lutra" / "dense.h"
    loop = "i < Config::positions * ROWS;"
    edit(dense, loop, "i < Config::positions * ROWS + (Config::positions > 1 ? 100 : 0);")
    edit(dense, "x = in.read();", "if (i >= Config::positions * ROWS) continue; x = in.read();")
    timing = time_project(here / "p", None)
    assert timing.exact
    assert not timing.passed
    assert timing.run.interval == timing.estimated.interval + 100
    out = printed(timing, capsys)
    assert f"interval: {timing.estimated.interval} cycles estimated" in out


def test_two_reads_in_an_iteration_are_refused(here: Path) -> None:
    """A stream gives one beat a cycle, so such a loop has no interval of 1."""
    stream = here / "p" / "src" / "lutra" / "stream.h"
    read = "ap_uint<Config::bits> beat = in.read();"
    edit(stream, read, f"{read} if (i + 1 < Config::beats) {{ ++i; beat = in.read(); }}")
    with pytest.raises(ToolchainError, match=r"softmax_exp_duplicate reads .* twice in an iter"):
        time_project(here / "p", None)


@pytest.mark.parametrize("text", ["", "{}", '{"estimate": null}', '{"estimate": {"latency": 1}}'])
def test_a_manifest_without_estimate_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"has no estimate .*Generate the project again"):
        read_estimate(tmp_path / "manifest.json")


KERNEL = "void f() {\n    for (int i = 0; i < 3; ++i) {\n#pragma HLS PIPELINE II=1\n    }\n}\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("II=1", "II=2"),
        ("II=1", ""),
        ("II=1", "II=1 off"),
        ("for (int i = 0; i < 3; ++i)", "while (g())"),
        ("for (int i = 0; i < 3; ++i)", "do"),
    ],
)
def test_a_pipeline_that_cannot_be_timed_is_refused(old: str, new: str) -> None:
    with pytest.raises(ModelError, match=r"f\.h:3.*a pipeline cannot be timed.*generate it again"):
        timed_kernels(KERNEL.replace(old, new), "f.h")


def test_a_pipeline_outside_of_everything_is_refused() -> None:
    with pytest.raises(ModelError, match=r"f\.h:1"):
        timed_kernels("#pragma HLS PIPELINE II=1\n" + KERNEL, "f.h")


def test_lines_stay_where_they_are() -> None:
    text = timed_kernels("// for (;;) {\n" + KERNEL + "/* #pragma HLS PIPELINE */\n", "f.h")
    assert text.splitlines() == [
        "// for (;;) {",
        "void f() {",
        "    if (::timed::loop()) {} else for (int i = 0; i < 3; ++i) { ::timed::turn timed_turn;",
        "#pragma HLS PIPELINE II=1",
        "    }",
        "}",
        "/* #pragma HLS PIPELINE */",
    ]


def test_a_function_that_is_a_pipeline() -> None:
    text = timed_kernels("void f(int a) {\n#pragma HLS PIPELINE II=1 style=flp\n}\n", "f.h")
    assert text.startswith("void f(int a) { ::timed::turn timed_turn;\n")


TOP = (
    "void nn_top(hls::stream<ap_uint<8> >& x, hls::stream<ap_uint<8> >& y) {\n"
    "#pragma HLS DATAFLOW\n    hls::stream<ap_uint<8> > s;\n"
    "#pragma HLS STREAM variable=s depth=7\n"
    "    lutra::map<a_config>(x, s);\n    lutra::map<b_config>(s, y, weights);\n}\n"
)


def test_calls_become_processes() -> None:
    lines = timed_top(TOP, "nn_top.cpp").splitlines()
    assert lines[2].endswith('> s; s.limit("s", 7);')
    assert lines[4].strip() == (
        '::timed::the().add_process("a", {x.state(), s.state()}, [&] { lutra::map<a_config>(x, s); '
        "});"
    )
    assert '"b", {s.state(), y.state()}' in lines[5]
    assert lines[6] == "::timed::the().run(); }"


@pytest.mark.parametrize(
    "line", ["int a = 3;", "if (x.empty()) return;", "for (;;) f(x);", "s.write(x.read());"]
)
def test_a_top_of_other_things_is_refused(line: str) -> None:
    with pytest.raises(ModelError, match=r"nn_top\.cpp:3.*the top function cannot be timed"):
        timed_top(TOP.replace("    hls::stream<ap_uint<8> > s;", line), "nn_top.cpp")


def test_what_is_no_top_or_bench_is_refused() -> None:
    with pytest.raises(ModelError, match="has no function nn_top"):
        timed_top("void other() {}\n", "nn_top.cpp")
    with pytest.raises(ModelError, match="the test bench cannot be timed"):
        timed_bench("int main() { return 0; }\n", "nn_tb.cpp")
