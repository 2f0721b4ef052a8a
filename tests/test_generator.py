"""Generated text: identifiers, packing, plans, and two whole projects kept as goldens."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutra.frontend.errors import LutraError, ModelError, UnsupportedOpError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import Dense, Op, Relu, Softmax
from lutra.hls_templates.folding import Fold, Folding, FoldingError, load_folding
from lutra.hls_templates.names import Names, identifier, is_safe
from lutra.hls_templates.pack import pack_rows, weight_rows
from lutra.hls_templates.planner import plan
from lutra.hls_templates.processes import NarrowProcess, WidenProcess
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

from .conftest import samples, small_cnn

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
    with pytest.raises(UnsupportedOpError, match="one input and one output"):
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


def without_estimates(path: str, text: str) -> str:
    """A file's text but for figures that get better without the project becoming another."""
    match path:
        case "manifest.json":
            return json.dumps(json.loads(text) | {"estimate": None}, indent=2) + "\n"
        case "README.md":
            return re.sub(r"## Estimate\n.*(?=## Files\n)", "", text, flags=re.DOTALL)
        case "fold.toml":
            return re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
        case _:
            return text


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_project_is_the_golden_one(name: str) -> None:
    """Every generated file but the kernels, which are written by hand, and estimates.

    After a change that is meant, run with LUTRA_UPDATE_GOLDEN=1 and read the difference.
    """
    model, folding = golden_models()[name]
    files = {
        path: without_estimates(path, text)
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
        if path not in ("manifest.json", "fold.toml"):
            assert "system(" not in text, path
            assert "#error" not in text, path
            assert "{{" not in text, path
