"""Generated text: identifiers, packing, plans, and two whole projects kept as goldens."""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.frontend.errors import LutraError, ModelError, UnsupportedOpError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import Conv, Dense, Mul, Op, ReduceSum, Relu, Softmax, Window
from lutra.hls_templates.folding import Fold, Folding, FoldingError, load_folding
from lutra.hls_templates.functions import function_text
from lutra.hls_templates.names import Names, identifier, is_safe
from lutra.hls_templates.pack import pack_rows, weight_rows
from lutra.hls_templates.plan import (
    DenseProcess,
    DuplicateProcess,
    NarrowProcess,
    Plan,
    RecurrenceProcess,
    WidenProcess,
)
from lutra.hls_templates.planner import plan
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.exact_ops import Square
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.formats import Format
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

from .conftest import samples, small_cnn
from .fixed_graphs import Maker, Recurrent, sigmoid

EIGHT = Format(True, 8, 3)
GOLDEN = Path(__file__).parent / "golden"


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", "conv1"),
        ("/features/Conv_0", "features_conv_0"),
        ("int", "int_v"),
        ("nn_top", "nn_top_v"),
        ("AP_INT_MAX_W", "ap_int_max_w"),
        ("", "v"),
        ("3x3", "v_3x3"),
        ('"; system("rm -rf /"); //', "system_rm_rf"),
        ("../../etc/passwd", "etc_passwd"),
        ("a\nb\\\nc", "a_b_c"),
        ("x" * 10_000, "x" * 40),
        ("größe", "gr_e"),
        ("*/ {{ 7 * 7 }}", "v_7_7"),
    ],
)
def test_any_name_becomes_an_identifier(name: str, expected: str) -> None:
    assert identifier(name) == expected


@given(st.text(max_size=60))
def test_identifiers_are_safe(name: str) -> None:
    made = identifier(name)
    assert is_safe(made)
    assert len(made) <= 42


@given(st.lists(st.text(max_size=5), max_size=30))
def test_identifiers_are_given_out_once(wanted: list[str]) -> None:
    names = Names()
    made = [names.fresh(name) for name in wanted]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("name", ["INLINE", "AP_WRAP", "while", "1a", "a b", "a-b", "", "__x"])
def test_unsafe_identifiers_are_known(name: str) -> None:
    assert not is_safe(name)


# Packing


@given(st.integers(1, 53), st.integers(1, 9), st.integers(1, 4), st.randoms())
def test_a_packed_row_holds_its_lanes(width: int, lanes: int, rows: int, random: object) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    raw = rng.integers(low, high, (rows, lanes), endpoint=True)
    packed = pack_rows(raw, width)
    assert packed.shape == (rows, -(-lanes * width // 64))
    for row, words in zip(raw.tolist(), packed.tolist(), strict=True):
        number = sum(word << (64 * i) for i, word in enumerate(words))
        for lane, value in enumerate(row):
            assert (number >> (lane * width)) & ((1 << width) - 1) == value & ((1 << width) - 1)


def test_weights_are_read_group_by_group_and_fold_by_fold() -> None:
    """4 inputs, 6 outputs; entry ij stands for the weight from input i to output j."""
    weights = np.array([[10 * i + j for j in range(6)] for i in range(4)])
    rows = weight_rows(weights, pe=3, simd=2).tolist()
    assert rows == [
        [0, 10, 1, 11, 2, 12],
        [20, 30, 21, 31, 22, 32],
        [3, 13, 4, 14, 5, 15],
        [23, 33, 24, 34, 25, 35],
    ]


# Plans


def chain(*sizes: int) -> Graph:
    """Dense layers with ReLU between them."""
    rng = np.random.default_rng(0)
    nodes: list[Node[Op]] = []
    constants = {}
    value = "x"
    for i, (n, m) in enumerate(itertools.pairwise(sizes)):
        constants[f"w{i}"] = rng.normal(size=(n, m)).astype(np.float32)
        nodes.append(Node(f"dense{i}", Dense(), (value, f"w{i}"), f"dense{i}"))
        nodes.append(Node(f"relu{i}", Relu(), (f"dense{i}",), f"relu{i}"))
        value = f"relu{i}"
    ports = (Port.of("x", (sizes[0],)),), (Port.of(value, (sizes[-1],)),)
    return Graph("chain", *ports, tuple(nodes), constants)


def fixed(graph: Graph) -> FixedModel:
    x = np.random.default_rng(1).normal(size=(30, *graph.inputs[0].shape)).astype(np.float32)
    return FixedModel(graph, lower(graph, calibrate(graph, Settings(), x)))


def test_equal_lanes_need_no_adaptor() -> None:
    folding = Folding({"dense0": Fold(4, 2), "dense1": Fold(1, 4)})
    design = plan(fixed(chain(6, 8, 3)).fixed, folding)
    assert [type(process).__name__ for process in design.processes] == ["DenseProcess"] * 2


@pytest.mark.parametrize(
    ("pe", "simd", "kinds"),
    [
        (8, 2, [NarrowProcess]),
        (2, 8, [WidenProcess]),
        (4, 6, [NarrowProcess, WidenProcess]),
    ],
)
def test_other_lanes_are_adapted(pe: int, simd: int, kinds: list[type]) -> None:
    folding = Folding({"dense0": Fold(pe, 1), "dense1": Fold(1, simd)})
    design = plan(fixed(chain(3, 24, 2)).fixed, folding)
    assert [type(p) for p in design.processes[1:-1]] == kinds


def test_a_fork_can_hold_a_whole_frame_on_each_branch(fixed_cnn: FixedModel) -> None:
    design = plan(fixed_cnn.fixed, Folding())
    (fork,) = [p for p in design.processes if isinstance(p, DuplicateProcess)]
    assert [design.streams[name].depth for name in fork.writes] == [5, 5]


@pytest.mark.parametrize(
    ("fold", "problem"),
    [
        (Fold(3, 1), r"'dense0'.*pe does not divide"),
        (Fold(1, 4), "simd does not divide"),
    ],
)
def test_a_fold_that_does_not_divide_lists_what_would(fold: Fold, problem: str) -> None:
    graph = fixed(chain(6, 8, 3)).fixed
    with pytest.raises(FoldingError, match=problem) as caught:
        plan(graph, Folding({"dense0": fold}))
    assert "expected one of 1, 2" in str(caught.value)


def test_a_word_that_is_too_wide_is_refused() -> None:
    graph = fixed(chain(64, 64)).fixed
    with pytest.raises(FoldingError, match=r"'dense0'.*too wide.*4096"):
        plan(graph, Folding({"dense0": Fold(64, 64)}))


def test_a_folding_of_an_unknown_layer_is_refused(fixed_cnn: FixedModel) -> None:
    with pytest.raises(ModelError, match="Did you mean 'conv'"):
        plan(fixed_cnn.fixed, Folding({"conf": Fold()}))


def test_more_than_one_output_is_refused() -> None:
    graph = chain(4, 3, 2)
    both = Graph(
        graph.name,
        graph.inputs,
        (Port.of("relu0", (3,)), *graph.outputs),
        graph.nodes,
        graph.constants,
    )
    with pytest.raises(ModelError, match="one input and one output"):
        fixed(both)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[layers.a]\npe = 0", "whole numbers from 1"),
        ("[layers.a]\npe = true", "whole numbers from 1"),
        ("[layers.a]\npe = 2.0", "whole numbers from 1"),
        ("[layers.a]\nlanes = 2", "whole numbers from 1"),
        ("[layers]\na = 3", "whole numbers from 1"),
        ("pe = 3", "only .layers.NAME. tables"),
        ("layers = 3", "only .layers.NAME. tables"),
        ("pe", "cannot be read as TOML"),
    ],
)
def test_a_wrong_folding_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "fold.toml"
    path.write_text(text)
    with pytest.raises(ModelError, match=problem) as caught:
        load_folding(path)
    assert str(path) in str(caught.value)


def test_a_folding_file_sets_single_layers(tmp_path: Path) -> None:
    path = tmp_path / "fold.toml"
    path.write_text("[layers.conv]\npe = 4\n")
    folding = load_folding(path)
    assert folding.fold("conv") == Fold(4, 1)
    assert folding.fold("dense") == Fold(1, 1)


@pytest.mark.parametrize("part", ["", "x", "a b c", "xc7;exit", "xc7}\nexec rm", "-part", "a" * 99])
def test_a_part_that_could_be_code_is_refused(part: str) -> None:
    with pytest.raises(LutraError, match="not a part number"):
        Options(part=part)


@pytest.mark.parametrize("clock", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_an_impossible_clock_is_refused(clock: float) -> None:
    with pytest.raises(LutraError, match="clock period"):
        Options(clock=clock)


# Parts and their folds


def kinds(design: Plan) -> list[str]:
    return [type(process).__name__.removesuffix("Process") for process in design.processes]


def test_a_gate_is_one_function_of_one_stream() -> None:
    """x times its sigmoid: what is read twice within a function needs no fork."""
    make = Maker((6,), EIGHT)
    gate = make.lut("x", sigmoid, 7)
    graph = make.graph(make.cast(make.add(Mul(), "x", gate), EIGHT))
    design = plan(graph, Folding({"v0": Fold(2)}))
    assert kinds(design) == ["Map"]
    (text,) = (function_text(design, {"constant0": "table"}, f) for f in design.functions)
    assert text.parameters == "const in& v0"
    assert text.lines == (
        "ap_ufixed<7, 0> v1 = lutra::lut<0, ap_fixed<8, 3>, ap_ufixed<7, 0>, table>::apply(v0);",
        "ap_fixed<15, 3> v2 = lutra::multiply<1, ap_fixed<8, 3>, ap_ufixed<7, 0>, ap_fixed<15, 3> >"
        "::apply(v0, v1);",
        "ap_fixed<8, 3> v3 = lutra::cast<2, ap_fixed<15, 3>, ap_fixed<8, 3, AP_RND, AP_SAT> >"
        "::apply(v2);",
        "return v3;",
    )


def test_a_value_that_others_read_leaves_its_function() -> None:
    make = Maker((4,), EIGHT)
    squares = make.add(Square(), make.add(Relu(), "x"))
    total = make.add(Dense(), squares, make.constant(np.ones((4, 4))))
    design = plan(make.graph(make.combine(total, squares)), Folding())
    assert kinds(design) == ["Map", "Duplicate", "Dense", "Map"]
    assert [len(process.reads) for process in design.processes] == [1, 1, 1, 2]


def test_every_branch_of_a_fork_holds_a_frame_of_its_own_stream() -> None:
    """Three readers with other lanes than the writer: the frame is that of the fork."""
    make = Maker((6, 4), EIGHT)
    a = make.add(Relu(), "x")
    ends = [make.add(Dense(), a, make.constant(np.ones((4, 4)))) for _ in range(3)]
    y = make.combine(ends[0], make.combine(ends[1], ends[2]))
    design = plan(make.graph(y), Folding({a: Fold(2), ends[0]: Fold(1, 4)}))
    forks = [p for p in design.processes if isinstance(p, DuplicateProcess)]
    assert [design.streams[name].depth for fork in forks for name in fork.writes] == [12] * 4


def recurrent(fold: Fold) -> tuple[FixedGraph, Folding]:
    """An LSTM of 3 inputs and 4 units, whose product ahead belongs to the same layer."""
    graph = Recurrent(6).graph("lstm")
    layers = dict.fromkeys(graph.layers, "lstm")
    return dataclasses.replace(graph, layers=layers), Folding({"lstm": fold})


def test_a_recurrent_layer_folds_by_its_units() -> None:
    """3 inputs cannot be taken 4 or 2 at a time: the product ahead takes them one by one."""
    design = plan(*recurrent(Fold(2, 4)))
    ahead, loop = (p for p in design.processes if isinstance(p, DenseProcess | RecurrenceProcess))
    assert (ahead.fold, loop.fold) == (Fold(2, 1), Fold(2, 4))
    assert design.streams[loop.reads[0]].lanes == design.streams[loop.writes[0]].lanes == 2


@pytest.mark.parametrize("fold", [Fold(3, 1), Fold(1, 3), Fold(8, 1)])
def test_a_recurrent_layer_refuses_what_does_not_divide_its_units(fold: Fold) -> None:
    with pytest.raises(FoldingError, match=r"'lstm'.* for 4; expected one of 1, 2, 4"):
        plan(*recurrent(fold))


@pytest.mark.parametrize(
    ("fold", "problem"),
    [
        (
            Fold(4, 1),
            r"simd 1 for 3 groups of 2 to 2; expected pe one of \[1, 2\], or one of \[6\]",
        ),
        (Fold(4, 2), "pe does not fit the groups"),
        (Fold(1, 3), "simd does not divide"),
    ],
)
def test_a_grouped_convolution_folds_by_its_groups(fold: Fold, problem: str) -> None:
    make = Maker((5, 6), EIGHT)
    op = Conv(Window.of((3,)), groups=3)
    y = make.add(op, "x", make.constant(np.ones((3, 2, 6))))
    with pytest.raises(FoldingError, match=rf"'{y}'.*{problem}"):
        plan(make.graph(y), Folding({y: fold}))


def test_one_value_a_row_has_one_lane() -> None:
    make = Maker((3, 4), EIGHT)
    total = make.add(ReduceSum(), "x")
    y = make.combine("x", make.combine(total, make.add(Square(), total)))
    folds = dict.fromkeys(make.layers, Fold(4))
    design = plan(make.graph(y), Folding(folds))
    assert design.streams[design.outputs[0]].lanes == 4
    assert kinds(design)[-1] == "MapRow"


def test_a_loop_that_no_kernel_runs_is_refused() -> None:
    """The product is of a state that is not what leaves the loop."""
    make = Maker((3, 2), EIGHT)

    def body() -> str:
        total = make.add(Dense(), "before", make.constant(np.ones((2, 2))))
        make.cast(make.combine("part", total), EIGHT, "after")
        return make.add(Relu(), "after")

    y = make.loop("x", ["part"], [("before", "after", EIGHT)], body)
    with pytest.raises(UnsupportedOpError, match=f"'{y}'.*no kernel runs this loop"):
        plan(make.graph(y), Folding())


# Whole projects


def generated(model: FixedModel, folding: Folding, frames: int) -> dict[str, str]:
    (inlet,), (outlet,) = model.fixed.inputs, model.fixed.outputs
    rng = np.random.default_rng(2)
    raw = rng.integers(0, 3, (frames, *inlet.shape))
    values = Simulator(model.fixed, keep=[inlet.name]).trace_raw(raw)
    return project_files(
        model.fixed, Options(folding=folding), values[inlet.name], values[outlet.name]
    )


def golden_models() -> dict[str, tuple[FixedModel, Folding]]:
    cnn = small_cnn()
    cnn_model = FixedModel(cnn, lower(cnn, calibrate(cnn, Settings(), samples())))
    return {
        "mlp": (fixed(chain(4, 3, 2)), Folding()),
        "cnn": (cnn_model, Folding({"conv": Fold(4, 2), "pool": Fold(2), "dense": Fold(5, 6)})),
    }


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_project_is_the_golden_one(name: str) -> None:
    """Every generated file but the kernels, which are written by hand.  After a change that is
    meant, run with LUTRA_UPDATE_GOLDEN=1 and read the difference."""
    model, folding = golden_models()[name]
    files = {
        path: text
        for path, text in generated(model, folding, 2).items()
        if not path.startswith("src/lutra/")
    }
    root = GOLDEN / name
    if os.environ.get("LUTRA_UPDATE_GOLDEN") == "1":
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
    kept = {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }
    assert sorted(kept) == sorted(files)
    for path, text in files.items():
        assert text == kept[path], path


def test_the_same_model_gives_the_same_files(fixed_cnn: FixedModel) -> None:
    assert generated(fixed_cnn, Folding(), 3) == generated(fixed_cnn, Folding(), 3)


def test_names_from_a_model_never_reach_the_sources() -> None:
    evil = 'x"; system("true"); // */ {{ 7 * 7 }}\n#error'
    constants = {evil: np.ones((2, 2), np.float32)}
    nodes = (Node(evil, Dense(), ("x", evil), "d"), Node("int", Softmax(), ("d",), "while"))
    graph = Graph(evil, (Port.of("x", (2,)),), (Port.of("while", (2,)),), nodes, constants)
    files = generated(fixed(graph), Folding(), 2)
    for path, text in files.items():
        if path != "manifest.json":
            assert "system(" not in text, path
            assert "#error" not in text, path
            assert "{{" not in text, path
