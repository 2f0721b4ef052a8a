"""Fully parallel designs: one function of the whole network, against the simulator with ``==``."""

from __future__ import annotations

import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lutra.estimation import settle
from lutra.frontend.errors import LutraError, ToolchainError
from lutra.frontend.onnx.importer import load
from lutra.frontend.ops import Array, Conv, Dense, Mul, Relu, Window
from lutra.frontend.storage import write_folder
from lutra.hls_templates.adders import count_terms
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.hardware.cycles import simulate
from lutra.hls_templates.hardware.goal import Goal
from lutra.hls_templates.hardware.parallel import Walk, parallel_depth
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.resources import process_resources
from lutra.hls_templates.hardware.schedule import schedules
from lutra.hls_templates.lint.checker import lint
from lutra.hls_templates.parallel import MOST_OPERATIONS, WIDEST, ParallelError, is_sum
from lutra.hls_templates.plan import Plan
from lutra.hls_templates.planner import plan
from lutra.hls_templates.processes import DenseProcess, ParallelProcess
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.quantize.recurrence import Recurrence
from lutra.sim import csim
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

from .cases import CASES, ROUNDED
from .fixed_graphs import Maker
from .test_adders import rng, sparse
from .test_csim import lowered
from .test_processes import NETWORKS, WARNINGS, values_of

EIGHT = Format(True, 8, 3)


def fits(graph: FixedGraph) -> bool:
    """Whether a network has no loop, and frames that fit one beat."""
    ends = (*graph.inputs, *graph.outputs)
    bits = [math.prod(port.shape) * graph.formats[port.name].width for port in ends]
    return max(bits) <= WIDEST and not any(isinstance(n.op, Recurrence) for n in graph.nodes)


def write_parallel(graph: FixedGraph, x: Array, output: Array, path: Path) -> Path:
    files = project_files(graph, Options(parallel=True), x, output.astype(np.int64))
    assert "#pragma HLS DATAFLOW" not in files["src/nn_top.cpp"]
    write_folder(path, files, force=False)
    return path


def test_every_process_is_computed_in_one_cycle_too(tmp_path: Path) -> None:
    """The networks of the processes' tests, against Python's integers, without a warning."""
    made = []
    for name, make in NETWORKS.items():
        graph, _ = make()
        format_ = graph.formats["x"]
        x = rng().integers(format_.low, format_.high, (4, *graph.inputs[0].shape), endpoint=True)
        values = values_of(graph, x)
        if not fits(graph):
            continue
        path = write_parallel(graph, x, values[graph.outputs[0].name], tmp_path / name)
        made.append((name, graph, x, values, path))
    assert len(made) > 0.5 * len(NETWORKS)
    with csim.compiled([path for *_, path in made], find_headers(), WARNINGS) as binary:
        for i, (name, graph, x, values, _) in enumerate(made):
            result = csim.compare(graph, values, binary.run(graph, x, i))
            assert result.first is None, f"{name}: {result.first}"


LOWERED = """
    conv_groups softmax_rows layer_norm matmul_heads add_constant_position quantize_channels
"""
"""Cases that stand for what lowering makes of all of them."""


def test_lowered_ops_equal_csim(tmp_path: Path) -> None:
    made = []
    cases = [case for case in (*CASES, *ROUNDED) if case.name in LOWERED.split()]
    assert len(cases) == len(LOWERED.split())
    for i, case in enumerate(cases):
        x = case.arrays(20, np.float32)[0]
        graph = lowered(case.graph(), (3, 8)[i % 2], x)
        values = Simulator(graph, keep=True).trace(x)
        output = values[graph.outputs[0].name]
        path = write_parallel(graph, values["x"], output, tmp_path / case.name)
        made.append((graph, values, path))
    with csim.compiled([path for *_, path in made], find_headers(), ["-O0"]) as binary:
        for i, (graph, values, path) in enumerate(made):
            result = csim.compare(graph, values, binary.run(graph, values["x"], i))
            assert result.first is None, f"{path.name}: {result.first}"


def small() -> FixedGraph:
    """Two layers with zero weights, a ReLU between them."""
    make = Maker((6,), EIGHT)
    hidden = make.add(Dense(), "x", make.constant(sparse(6, 5), 3), make.constant(np.arange(5), 6))
    hidden = make.cast(make.add(Relu(), hidden), Format(False, 6, 3))
    return make.graph(make.add(Dense(), hidden, make.constant(sparse(5, 3), 3)))


def small_project(tmp_path: Path) -> tuple[FixedGraph, Array, dict[str, Array], Path]:
    graph = small()
    x = rng().integers(EIGHT.low, EIGHT.high, (20, 6), endpoint=True)
    values = Simulator(graph, keep=True).trace_raw(x)
    return graph, x, values, write_parallel(graph, x, values["v3"], tmp_path / "small")


def test_the_plan_is_one_process_that_takes_a_frame_a_beat() -> None:
    design = plan(small(), Folding(), parallel=True)
    (process,) = design.processes
    assert isinstance(process, ParallelProcess)
    reads, writes = (design.streams[name] for name in (*process.reads, *process.writes))
    assert (reads.lanes, reads.beats, reads.bits) == (6, 1, 48)
    assert (writes.lanes, writes.beats) == (3, 1)


def test_every_interface_gives_the_same(tmp_path: Path) -> None:
    graph, x, values, path = small_project(tmp_path)
    paths = [path]
    for interface in ("axis", "m_axi"):
        options = Options(interface=interface, parallel=True)
        files = project_files(graph, options, x, values["v3"].astype(np.int64))
        assert "#pragma HLS DATAFLOW" in files["src/nn_top.cpp"]
        paths.append(tmp_path / interface)
        write_folder(paths[-1], files, force=False)
    with csim.compiled(paths, find_headers(), ["-O0"]) as binary:
        for i in range(len(paths)):
            assert csim.compare(graph, values, binary.run(graph, x, i)).first is None


CHANGES = [
    (r"(n\d+), 0, (n\d+), (\d+)\);", r"\1, 0, \2, 1 + \3);"),
    (r"lutra::plus<", "lutra::minus<"),
    (r"(y\[first \+ 1\] = lutra::from_bits<Out>)\(n\d+", r"\1(n0"),
    (r"v(\d)\[i\] = lutra::relu.*", r"v\1[i] = 0;"),
]
"""A weight of another size, a wrong sign, a dropped sum, a lost function."""


def test_broken_text_is_found(tmp_path: Path) -> None:
    graph, x, values, path = small_project(tmp_path)
    paths = []
    for i, (pattern, change) in enumerate(CHANGES):
        paths.append(tmp_path / f"broken{i}")
        shutil.copytree(path, paths[-1])
        layers = paths[-1] / "src" / "nn_layers.h"
        text = layers.read_text()
        broken = re.sub(pattern, change, text, count=1)
        assert broken != text
        layers.write_text(broken)
    with csim.compiled(paths, find_headers(), ["-O0"]) as binary:
        for i in range(3):
            assert csim.compare(graph, values, binary.run(graph, x, i)).first is not None
        with pytest.raises(ToolchainError, match="another number of values"):
            binary.run(graph, x, 3)


def test_many_factors_and_groups_are_bounded(tmp_path: Path) -> None:
    """More factors than are looked at as a matrix; groups whose matrix would be mostly zeros."""
    make = Maker((600,), Format(True, 6, 3))
    products = make.add(Mul(), "x", make.constant(rng().integers(-9, 9, 600)))
    graph = make.graph(make.cast(products, Format(True, 6, 6)))
    design, process = design_of(graph)
    assert process.sums == {}
    assert parallel_depth(design, process, Target(ZYNQ, 5)) >= 1
    x = rng().integers(-32, 31, (3, 600), endpoint=True)
    values = Simulator(graph, keep=True).trace_raw(x)
    path = write_parallel(graph, x, values["v1"], tmp_path / "factors")
    with csim.compiled([path], find_headers(), WARNINGS) as binary:
        assert csim.compare(graph, values, binary.run(graph, x)).first is None
    make = Maker((1, 1, 4000), Format(True, 1, 1))
    kernel = make.constant(np.ones((1, 1, 1, 4000)))
    deep = make.graph(make.add(Conv(Window.of((1, 1)), 4000), "x", kernel))
    with pytest.raises(ParallelError, match="too large"):
        plan(deep, Folding(), parallel=True)


def test_the_checker_knows_a_pipelined_top(tmp_path: Path) -> None:
    *_, path = small_project(tmp_path)
    files = {
        str(file.relative_to(path)): file.read_text()
        for file in path.rglob("*")
        if file.suffix in (".h", ".cpp")
    }
    assert lint(files) == []
    top = files["src/nn_top.cpp"]
    for old, new, rule in (
        (" II=1", " II=2", "takes a frame a cycle"),
        ("#pragma HLS PIPELINE II=1 style=flp", "", "neither dataflow nor pipelined"),
        ("(x, v3);", "(v3, x);", "read or written once"),
        ("(x, v3);", "(x, x);", "read or written once"),
        ("    lutra::parallel", "    int a = 1;\n    lutra::parallel", "is one call"),
        ("lutra::parallel", "lutra::parallels", "is one call"),
    ):
        assert old in top
        found = lint(files | {"src/nn_top.cpp": top.replace(old, new)})
        assert any(rule in finding.rule for finding in found), (rule, found)


def test_what_one_cycle_cannot_take_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker((513,), EIGHT)
    wide = make.graph(make.add(Relu(), "x"))
    with pytest.raises(ParallelError, match="too wide to be one beat") as error:
        plan(wide, Folding(), parallel=True)
    assert "4104 bits" in str(error.value)
    assert "fold the layers" in str(error.value)
    loop, _ = NETWORKS["both_directions"]()
    with pytest.raises(ParallelError, match="recurrent layer"):
        plan(loop, Folding(), parallel=True)
    monkeypatch.setattr("lutra.hls_templates.parallel.MOST_OPERATIONS", 40)
    with pytest.raises(ParallelError, match="too large") as error:
        plan(small(), Folding(), parallel=True)
    assert "'v1'" in str(error.value)
    assert MOST_OPERATIONS > 10_000
    with pytest.raises(LutraError, match="no layers to fold"):
        Options(folding=Folding({"v0": Fold(2)}), parallel=True)
    with pytest.raises(LutraError, match="no folding that could be chosen"):
        settle(small(), Options(parallel=True), Goal(fps=1))


ZYNQ = find_part("xczu7ev-ffvc1156-2-e")


def design_of(graph: FixedGraph) -> tuple[Plan, ParallelProcess]:
    design = plan(graph, Folding(), parallel=True)
    (process,) = design.processes
    assert isinstance(process, ParallelProcess)
    return design, process


def test_operations_are_chained_as_long_as_they_fit_a_cycle() -> None:
    """Each of four sums in a row takes 0.70 to 0.72 ns, reading and writing FIFOs 1.2."""
    make = Maker((1,), EIGHT)
    total = "x"
    for _ in range(4):
        total = make.combine(total, "x")
    design, process = design_of(make.graph(total))
    depths = [
        parallel_depth(design, process, Target(ZYNQ, clock)) for clock in (10, 5, 3.5, 2.5, 1.5)
    ]
    assert depths == [1, 2, 3, 4, 8]
    walk = Walk(design, process, Target(ZYNQ, 10))
    assert walk.registers() == 0
    walk = Walk(design, process, Target(ZYNQ, 5))
    x, last = design.format("x").width, [design.format(f"v{i}").width for i in range(4)]
    assert walk.registers() == last[2] + x  # three sums fit the first cycle


def test_zero_weights_and_powers_of_two_take_nothing() -> None:
    def luts(weights: Array) -> int:
        make = Maker((4,), EIGHT)
        design, process = design_of(make.graph(make.add(Dense(), "x", make.constant(weights))))
        return process_resources(design, process, Target(ZYNQ, 5)).lut.expected

    wires = luts(np.array([[1, 0], [0, 4], [0, 0], [0, 0]]))
    assert luts(np.zeros((4, 2), np.int64)) <= wires < 60
    assert luts(np.array([[3, 0], [0, 4], [0, 0], [0, 0]])) == wires + 10  # 4 x - x
    assert luts(np.array([[3, 3], [0, 4], [0, 0], [0, 0]])) > wires + 10


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is not set")
def test_the_jet_tagger_meets_its_latency(tmp_path: Path) -> None:
    """Under 100 ns from frame to classes, a frame each 5 ns; every value is the simulator's."""
    source = load(Path(os.environ["LUTRA_MODEL_DIR"]) / "qkeras_jettagging.onnx")
    x = rng().normal(size=(200, 16)).astype(np.float32)
    graph = lower(source, calibrate(source, Settings(), x))
    design, process = design_of(graph)
    target = Target(ZYNQ, 5)
    run = simulate(design, schedules(design, target))
    assert run.interval == 1
    assert run.latency * target.clock < 100
    terms = sum(count_terms(graph.constants[n.inputs[1]]) for n in graph.nodes if is_sum(graph, n))
    adders = sum(len(sums.matrix.graph.adders) for sums in process.sums.values())
    assert adders < 0.7 * terms
    values = Simulator(graph, keep=True).trace(x)
    outlet = graph.outputs[0].name
    path = write_parallel(graph, values[graph.inputs[0].name], values[outlet], tmp_path / "jets")
    with csim.compiled([path], find_headers(), WARNINGS) as binary:
        found = binary.run(graph, values[graph.inputs[0].name])
        assert csim.compare(graph, values, found) == csim.Comparison(200 * 417, 0, None)


def dense_design(fold: Fold, weights: Array) -> tuple[FixedGraph, Folding]:
    make = Maker((3, len(weights)), EIGHT)
    bias = make.constant(np.arange(weights.shape[1]), EIGHT.fraction)
    total = make.add(Dense(), "x", make.constant(weights), bias)
    return make.graph(make.add(Relu(), total)), Folding({"v0": fold})


def test_a_layer_that_is_unrolled_has_wires_for_weights(tmp_path: Path) -> None:
    """A dense layer and a padded convolution, in dataflow designs; and not where DSP slices are
    asked for, or a vector takes several cycles."""
    graph, folding = dense_design(Fold(6, 8), sparse(8, 6))
    make = Maker((4, 4, 2), EIGHT)
    window = Window.of((3, 3), pad=((1, 1), (1, 1)))
    kernel = make.constant(sparse(18, 5).reshape(3, 3, 2, 5))
    image = make.graph(make.add(Conv(window), "x", kernel))
    made = []
    for i, (network, folds) in enumerate(((graph, folding), (image, Folding({"v0": Fold(5, 18)})))):
        format_, shape = network.formats["x"], (5, *network.inputs[0].shape)
        x = rng().integers(format_.low, format_.high, shape, endpoint=True)
        values = Simulator(network, keep=True).trace_raw(x)
        output = values[network.outputs[0].name].astype(np.int64)
        files = project_files(network, Options(folding=folds), x, output)
        assert "lutra::dense_constant<" in files["src/nn_top.cpp"]
        assert "_weights" not in files["src/nn_weights.h"]
        write_folder(tmp_path / str(i), files, force=False)
        made.append((network, x, values))
    with csim.compiled([tmp_path / "0", tmp_path / "1"], find_headers(), WARNINGS) as binary:
        for i, (network, x, values) in enumerate(made):
            assert csim.compare(network, values, binary.run(network, x, i)).first is None
    for fold in (Fold(6, 4), Fold(3, 8), Fold(6, 8, "dsp"), Fold(6, 8, "packed")):
        (process,) = plan(graph, Folding({"v0": fold})).processes
        assert isinstance(process, DenseProcess)
        assert process.wired is None


def test_zero_weights_cost_nothing_in_dataflow_designs() -> None:
    target = Target(ZYNQ, 5)

    def luts(zeros: float) -> tuple[int, int]:
        weights = sparse(16, 8, zeros=zeros)
        graph, folding = dense_design(Fold(8, 16), weights)
        design = plan(graph, folding)
        process = design.processes[0]
        return process_resources(design, process, target).lut.expected, count_terms(weights)

    few, many = luts(0.9), luts(0)
    assert few[0] < 0.35 * many[0]
    assert few[1] < 0.2 * many[1]
