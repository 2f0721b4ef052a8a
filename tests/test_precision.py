"""Precision files, and formats chosen from values."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.errors import FormatError, LutraError, ModelError, ShapeError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import Add, Dense, Mul, Op, Softmax
from lutra.quantize.calibrate import calibrate, choose_format
from lutra.quantize.cast import cast_float
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lower import lower
from lutra.quantize.points import Point, Role, points
from lutra.quantize.precision import LayerSettings, Settings, load_settings
from lutra.sim.simulator import Simulator

from .cases import CASES
from .conftest import samples, small_cnn


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_sets_defaults_and_single_layers(tmp_path: Path) -> None:
    settings = load_settings(
        write(
            tmp_path / "p.toml",
            """
            bits = 6
            rounding = "TRN"
            [layers.conv]
            weight_format = "fixed<4,1>"
            overflow = "WRAP"
            """,
        )
    )
    assert (settings.bits, settings.weight_bits, settings.rounding) == (6, 8, Rounding.TRN)
    layer = settings.layers["conv"]
    assert (layer.weight_format, layer.overflow) == (Format(True, 4, 1), Overflow.WRAP)
    precision = calibrate(small_cnn(), settings, samples())
    relu, dense = precision.points["relu"], precision.points["dense"]
    assert (relu.format.width, relu.rounding, relu.overflow) == (6, Rounding.TRN, Overflow.WRAP)
    assert (dense.rounding, dense.overflow) == (Rounding.TRN, Overflow.SAT)
    assert precision.weights["conv.weight"] == Format(True, 4, 1)
    assert precision.weights["dense.weight"].width == 8


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bits = 0", "bits is out of range"),
        ("bits = 33", "bits is out of range"),
        ("bits = true", "bits is out of range"),
        ('bits = "8"', "bits is out of range"),
        ("index_bits = 17", "index_bits is out of range"),
        ("bitz = 8", "unknown key 'bitz'"),
        ('format = "fixed<8,3>"', "unknown key 'format'"),
        ('rounding = "ROUND"', "unknown rounding mode"),
        ("layers = 3", "'layers' must hold a table"),
        ("[layers.a]\nindex_bits = 3", "unknown key 'index_bits'"),
        ('[layers.a]\nformat = "fixed<0,3>"', "cannot have this width"),
        ('[layers.a]\nformat = "int8"', "not a fixed-point format"),
        ("bits = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path / "wrong.toml", text)
    with pytest.raises(LutraError, match=problem) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_binary_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "b.toml", "."):
        with pytest.raises(ModelError, match="cannot be read"):
            load_settings(tmp_path / name)


def test_a_layer_that_the_model_lacks_is_refused_with_a_suggestion(cnn: Graph) -> None:
    settings = Settings(layers={"denze": LayerSettings(bits=4)})
    with pytest.raises(ModelError, match="Did you mean 'dense'"):
        calibrate(cnn, settings, samples())


def test_a_layer_before_a_relu_is_cast_behind_it(cnn: Graph) -> None:
    assert points(cnn) == {
        "x": Point(("x",), Role.VALUE),
        "relu": Point(("relu", "conv"), Role.VALUE),
        "dense": Point(("dense",), Role.INDEX),
        "y": Point(("softmax",), Role.VALUE),
    }


def test_settings_of_either_layer_rule_a_shared_point(cnn: Graph) -> None:
    given = Format(False, 5, 2)
    for layer in ("conv", "relu"):
        settings = Settings(layers={layer: LayerSettings(format=given)})
        assert calibrate(cnn, settings, samples()).points["relu"].format == given


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        (Settings(), 12),
        (Settings.uniform(4), 8),
        (Settings.uniform(16), 16),
        (Settings(index_bits=10), 10),
        (Settings(layers={"dense": LayerSettings(bits=5)}), 5),
    ],
)
def test_a_value_that_only_looks_up_tables_is_wider(
    cnn: Graph, settings: Settings, width: int
) -> None:
    points = calibrate(cnn, settings, samples()).points
    assert points["dense"].format.width == width
    assert points["relu"].format.width == settings.bits


def test_the_chosen_format_has_the_least_squared_error() -> None:
    """Against every integer part that could matter."""
    values = np.random.default_rng(0).standard_t(3, 5000)
    chosen = choose_format(values, 8)

    def error(format_: Format) -> float:
        kept = cast_float(values, format_) * format_.step
        return float(((kept - values) ** 2).sum())

    best = min(error(Format(True, 8, integer)) for integer in range(-4, 12))
    assert error(chosen) == best


def test_clipping_a_rare_outlier_buys_a_finer_step() -> None:
    values = np.append(np.random.default_rng(0).uniform(0, 1, 100_000), 8.0)
    assert choose_format(values, 4).integer < 4


@pytest.mark.parametrize("width", [1, 2, 32])
def test_any_width_has_a_format(width: int) -> None:
    assert choose_format(np.array([-3.0, 1.5]), width).width == width
    assert choose_format(np.zeros(3), width) == Format(False, width, 0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_values_have_a_format(scale: float) -> None:
    values = np.array([-1.0, 0.5]) * scale
    chosen = choose_format(values, 8)
    kept = cast_float(values, chosen) * chosen.step
    assert (np.abs(kept - values) <= 0.5 * chosen.step).all()
    assert (np.abs(values) > 16 * chosen.step).all()


@pytest.mark.parametrize(
    ("x", "kind", "problem"),
    [
        (np.full((2, 6, 6, 2), np.nan), ModelError, "NaN or infinite"),
        (np.full((2, 6, 6, 2), np.inf), ModelError, "NaN or infinite"),
        (np.zeros((0, 6, 6, 2)), ModelError, "no sample"),
        (np.zeros((2, 6, 6)), ShapeError, "wrong shape"),
        (np.zeros((2, 2, 6, 6)), ShapeError, "wrong shape"),
        (np.zeros((2, 6, 6, 2), complex), ModelError, "must be numbers"),
        (np.full((2, 6, 6, 2), "a"), ModelError, "must be numbers"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    cnn: Graph, x: np.ndarray, kind: type[LutraError], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        calibrate(cnn, Settings(), x)


@pytest.mark.parametrize("bits", [0, 33])
def test_widths_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(FormatError, match="bits is out of range"):
        Settings.uniform(bits)


def test_a_layer_with_an_inside_is_ruled_from_outside_and_inside() -> None:
    """The layer's own settings are those of its result; each value inside has a name."""
    graph = next(case for case in CASES if case.name == "lstm").graph()
    x = np.random.default_rng(0).normal(size=(20, *graph.inputs[0].shape)).astype(np.float32)
    cell = Format(True, 14, 4)
    settings = Settings(layers={"op": LayerSettings(bits=6), "op.cell": LayerSettings(format=cell)})
    found = calibrate(graph, settings, x).points
    assert found["y.hidden"].format.width == 6
    assert found["y.cell"].format == cell
    assert found["y.forget_gate"].format.width == settings.wide_bits
    assert lower(graph, calibrate(graph, settings, x)).formats["y.cell"] == cell
    with pytest.raises(ModelError, match=r"Did you mean 'op.cell'"):
        calibrate(graph, Settings(layers={"op.cel": LayerSettings(bits=4)}), x)


def test_a_masked_score_does_not_widen_the_format_of_the_others() -> None:
    """What lies far below its row's largest is nothing to a softmax, and saturates."""
    node = Node("s", Softmax(), ("z",), "s")
    add = Node("a", Add(), ("x", "mask"), "z")
    mask = np.array([0, -1e4, 0], np.float32)
    ports = (Port.of("x", (3,)),), (Port.of("s", (3,)),)
    graph = Graph("masked", *ports, (add, node), {"mask": mask})
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    format_ = calibrate(graph, Settings(), x).points["z"].format
    assert format_.integer <= 6
    fixed = lower(graph, calibrate(graph, Settings(), x))
    assert (Simulator(fixed).predict(x)[:, 1] == 0).all()


def test_a_value_gets_bits_by_what_it_is_for() -> None:
    """Scores that are scaled on their way to a softmax only look up a table; scaled on their way
    to a dense layer they are values like all others."""

    def role(last: Node[Op]) -> Role:
        nodes = (
            Node("d", Dense(), ("x", "w"), "d"),
            Node("m", Mul(), ("d", "scale"), "m"),
            last,
        )
        constants = {"w": np.eye(3, dtype=np.float32), "scale": np.array([0.5], np.float32)}
        ports = (Port.of("x", (3,)),), (Port.of("y", (3,)),)
        return points(Graph("g", *ports, nodes, constants))["d"].role

    assert role(Node("s", Softmax(), ("m",), "y")) is Role.INDEX
    assert role(Node("e", Dense(), ("m", "w"), "y")) is Role.VALUE
    lstm = points(next(case for case in CASES if case.name == "lstm").graph())
    assert lstm["y.cell"].role is Role.STATE
    assert lstm["y.forget_gate"].role is Role.INDEX
    assert lstm["y.hidden"] == Point(("op",), Role.VALUE)


def test_the_factor_of_a_layer_norm_has_the_range_of_its_data() -> None:
    """It multiplies n times the deviation, so that it is 1 / (n · deviation of the row)."""
    graph = next(case for case in CASES if case.name == "layer_norm").graph()
    n = graph.inputs[0].shape[-1]
    x = np.random.default_rng(0).normal(size=(100, *graph.inputs[0].shape)).astype(np.float32)
    largest = (1 / np.sqrt(x.astype(np.float64).var(axis=-1) + 1e-5)).max() / n
    format_ = calibrate(graph, Settings(), x).points["y.inverse"].format
    assert format_.integer == math.frexp(largest)[1]
    assert not format_.signed
