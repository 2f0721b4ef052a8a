"""Every op case, at several widths and foldings: simulator against C simulation with ``==``."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.errors import LutraError, ToolchainError
from lutra.frontend.graph import Graph
from lutra.frontend.ops import (
    Array,
    Conv,
    ConvTranspose,
    Dense,
    Gru,
    Lstm,
    MatMul,
    SimpleRnn,
)
from lutra.frontend.storage import write_folder
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim import csim
from lutra.sim.csim import Mismatch, compare, compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import Headers, compile_cpp, find_headers

from .cases import CASES, ROUNDED, Case
from .conftest import samples

CHUNKS = 6
"""Binaries for each width, so that workers can share them."""


def write_project(
    graph: FixedGraph, folding: Folding, x: Array, path: Path
) -> tuple[FixedGraph, dict[str, Array], Path]:
    values = Simulator(graph, keep=True).trace(x)
    inlet, outlet = graph.inputs[0].name, graph.outputs[0].name
    files = project_files(graph, Options(folding=folding), values[inlet], values[outlet])
    write_folder(path, files, force=False)
    return graph, values, path


def lowered(graph: Graph, bits: int, x: Array) -> FixedGraph:
    return lower(graph, calibrate(graph, Settings.uniform(bits), x))


def full_fold(case: Case) -> Folding:
    """Everything at once: as many lanes as there are."""
    shape = case.op.infer(case.shape, *case.more, *case.weights)
    match case.op:
        case Dense():
            fold = Fold(case.weights[0][-1], case.weights[0][-2])
        case Conv(groups=groups) | ConvTranspose(groups=groups):
            taps = 1 if groups > 1 else math.prod(case.weights[0][:-2])
            fold = Fold(case.weights[0][-1] // groups, taps * case.weights[0][-2])
        case MatMul():
            fold = Fold(shape[-1], case.shape[-1])
        case SimpleRnn() | Lstm() | Gru():
            fold = Fold(case.weights[1][0], math.gcd(case.weights[1][0], case.shape[-1]))
        case _:
            fold = Fold(case.shape[-1])
    return Folding({"op": fold})


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("bits", [3, 8, 16])
def test_every_case_equals_csim(bits: int, chunk: int, tmp_path: Path) -> None:
    """The narrowest fold and the widest, many in one binary."""
    made = []
    for case in [*CASES, *ROUNDED][chunk::CHUNKS]:
        x = case.arrays(20, np.float32)[0]
        graph = lowered(case.graph(), bits, x)
        for name, folding in (("one", Folding()), ("all", full_fold(case))):
            made.append(write_project(graph, folding, x, tmp_path / f"{case.name}_{name}"))
    with compiled([path for _, _, path in made], find_headers(), ["-O0"]) as binary:
        for i, (graph, values, path) in enumerate(made):
            result = compare(graph, values, binary.run(graph, values["x"], i))
            assert result.first is None, f"{path.name}: {result.first}"
            assert result.compared >= values[graph.outputs[0].name].size


@pytest.fixture(scope="module")
def project(fixed_cnn: FixedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("csim") / "project"
    folding = Folding({"conv": Fold(2, 1), "pool": Fold(4), "dense": Fold(5, 12)})
    write_project(fixed_cnn.fixed, folding, samples(), path)
    return path


def test_the_projects_own_makefile_passes_its_golden_vectors(project: Path) -> None:
    """As the engineer who receives it would run it, compiled without tracing."""

    command = ["make", "csim", f"AP_INCLUDE={find_headers().folder}"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "40 frames, 0 wrong values" in done.stdout
    golden = project / "tb" / "golden.dat"
    before = golden.read_text()
    golden.write_text(before.replace(before.split()[0], "77", 1))
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    golden.write_text(before)
    assert done.returncode != 0
    assert "frame 0, value 0" in done.stderr


def test_a_broken_kernel_is_found_at_its_first_value(
    fixed_cnn: FixedModel, project: Path, tmp_path: Path
) -> None:
    """The pooling kernel made to forget each window's last value: the layers before are right."""

    broken = tmp_path / "broken"
    shutil.copytree(project, broken)
    pool = broken / "src" / "lutra" / "pool.h"
    text = pool.read_text()
    assert text.count("if (value > best) {") == 1
    pool.write_text(text.replace("if (value > best) {", "if (value < best) {"))
    values = Simulator(fixed_cnn.fixed, keep=True).trace(samples())
    with compiled([broken], find_headers()) as binary:
        result = compare(fixed_cnn.fixed, values, binary.run(fixed_cnn.fixed, values["x"]))
        assert not binary.passes(broken / "tb")
    assert result.first is not None
    assert (result.first.layer, result.first.value) == ("pool", "pool")
    at = (result.first.frame, *result.first.index)
    assert result.first.simulated == values["pool"][at] != result.first.compiled
    assert result.wrong > 1


def test_a_mismatch_says_where_and_what() -> None:
    text = str(Mismatch("conv", "conv.exact", 3, (1, 2, 0), 5, -6))
    assert text == (
        "layer 'conv', value 'conv.exact', frame 3, index [1, 2, 0]: simulator 5, C simulation -6"
    )


def test_what_does_not_compile_is_reported_with_the_first_error(
    project: Path, tmp_path: Path
) -> None:

    broken = tmp_path / "broken"
    shutil.copytree(project, broken)
    top = broken / "src" / "nn_top.cpp"
    top.write_text(top.read_text().replace("#pragma HLS DATAFLOW", "nonsense here;"))
    with (
        pytest.raises(ToolchainError, match=r"does not compile.*nonsense"),
        compiled([broken], find_headers()),
    ):
        pass


def test_a_wrong_shape_does_not_compile(project: Path, tmp_path: Path) -> None:
    """The kernel deduces the sizes of its weights and refuses others."""

    broken = tmp_path / "broken"
    shutil.copytree(project, broken)
    layers = broken / "src" / "nn_layers.h"
    text = layers.read_text()
    assert "static const int outputs = 5;" in text
    layers.write_text(
        text.replace("static const int outputs = 5;", "static const int outputs = 10;")
    )
    with (
        pytest.raises(ToolchainError, match=r"pe divides the outputs|row of weights"),
        compiled([broken], find_headers()),
    ):
        pass


def test_the_stand_in_for_streams_serves_where_the_real_one_is_absent(
    fixed_cnn: FixedModel, project: Path, tmp_path: Path
) -> None:

    real = find_headers().folder
    bare = tmp_path / "include"
    shutil.copytree(real, bare)
    (bare / "hls_stream.h").unlink()
    headers = find_headers(bare)
    assert not headers.has_stream
    values = Simulator(fixed_cnn.fixed, keep=True).trace(samples(3))
    with compiled([project], headers) as binary:
        result = compare(fixed_cnn.fixed, values, binary.run(fixed_cnn.fixed, values["x"]))
    assert (result.first, result.wrong) == (None, 0)


# Finding the tools


def test_headers_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flag", "variable", "vitis/include"):
        (tmp_path / name).mkdir(parents=True)
        for header in ("ap_fixed.h", "ap_int.h"):
            (tmp_path / name / header).touch()
    monkeypatch.delenv("XILINX_VITIS", raising=False)
    monkeypatch.setenv("LUTRA_AP_INCLUDE", str(tmp_path / "variable"))
    monkeypatch.setenv("XILINX_HLS", str(tmp_path / "vitis"))
    assert find_headers(tmp_path / "flag").source == "--ap-include"
    assert find_headers().source == "LUTRA_AP_INCLUDE"
    monkeypatch.delenv("LUTRA_AP_INCLUDE")
    assert find_headers().source == "Vitis ($XILINX_HLS)"
    monkeypatch.delenv("XILINX_HLS")
    assert find_headers().source == "the hls4ml package"


def test_a_folder_without_headers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="--ap-include names a folder without"):
        find_headers(tmp_path)


def test_missing_headers_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LUTRA_AP_INCLUDE", "XILINX_HLS", "XILINX_VITIS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=r"pip install 'lutra\[csim\]'"):
        find_headers()


def test_a_missing_compiler_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    headers = Headers(tmp_path, "here", True, True)
    with pytest.raises(ToolchainError, match=r"no C\+\+ compiler.*apt install"):
        compile_cpp([tmp_path / "a.cpp"], tmp_path / "a", headers=headers, flags=[], cwd=tmp_path)


def test_a_trace_of_the_wrong_size_is_refused(fixed_cnn: FixedModel) -> None:
    with pytest.raises(LutraError, match="another number of values"):
        csim._named(fixed_cnn.fixed, np.zeros((1, 10_000), np.int64), np.zeros((1, 5), np.int64))
