"""Every kind of process, generated and compiled: its values against Python's integers, ``==``.

The fixed graphs are made by hand, so that neither lowering nor the simulator has a part in this.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.errors import ToolchainError
from lutra.frontend.ops import (
    Array,
    Concat,
    Conv,
    Dense,
    Flatten,
    MatMul,
    MaxPool,
    Mul,
    ReduceSum,
    Relu,
    Reshape,
    SumPool,
    Window,
)
from lutra.frontend.storage import write_folder
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.exact_ops import Axis, BelowMax, Clamp, Leaky, Rearrange, Square
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.float_index import FloatIndex
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.recurrence import Recurrence
from lutra.sim.csim import Binary, compiled
from lutra.sim.toolchain import find_headers

from . import reference
from .fixed_graphs import Maker, Recurrent, sigmoid

FRAMES = 4
WARNINGS = ["-O0", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
SMALL = Format(True, 6, 3)


def values_of(graph: FixedGraph, x: Array) -> dict[str, Array]:
    """Every value of the network, those in the bodies of loops too."""
    values = reference.evaluate(graph, x.astype(np.int64))
    return {name: value.astype(np.float64) for name, value in values.items()}


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def integers(*shape: int, most: int = 20) -> Array:
    return rng().integers(-most, most, shape, endpoint=True)


Made = tuple[FixedGraph, dict[str, Fold]]
NETWORKS: dict[str, Callable[[], Made]] = {}


def network(make: Callable[[], Made]) -> Callable[[], Made]:
    NETWORKS[make.__name__] = make
    return make


# Functions of single values


@network
def every_function() -> Made:
    """One process that does everything to one value."""
    make = Maker((6,), SMALL)
    a = make.add(Relu(), "x")
    b = make.add(Clamp(-9, 12), make.combine("x", a))
    c = make.add(Leaky(4), b, make.constant(np.array([3]), 4))
    d = make.add(Mul(), make.add(Square(), c), make.constant(np.array([-5]), 2))
    e = make.combine(d, make.constant(np.array([77]), 5), negative=True)
    f = make.cast(e, Format(True, 9, 7), rounding=Rounding.RND_CONV, overflow=Overflow.WRAP)
    g = make.lut(make.cast(f, Format(True, 7, 3)), np.tanh, 6)
    return make.graph(make.add(Mul(), g, f)), {"v0": Fold(3)}


@network
def bounds_beyond_the_format() -> Made:
    """Bounds of a clamp that change nothing, that cut one side, and that leave one value."""
    make = Maker((4,), SMALL)
    x = make.add(Clamp(-1000, 1000), "x")
    x = make.add(Clamp(-1000, 7), x)
    y = make.add(Clamp(40, 99), x)
    return make.graph(make.combine(x, y)), {}


@network
def floating_indices() -> Made:
    make = Maker((40,), Format(False, 9, 4))
    a = make.add(FloatIndex(3), "x")
    b = make.add(FloatIndex(0), "x")
    return make.graph(make.combine(a, b)), {"v0": Fold(5)}


@network
def interpolation() -> Made:
    make = Maker((8,), Format(True, 14, 3))
    return make.graph(make.interpolated("x", sigmoid, Format(False, 12, 0), 7)), {"v0": Fold(2)}


@network
def interpolation_behind_a_dense_layer() -> Made:
    make = Maker((3,), SMALL)
    total = make.add(Dense(), "x", make.constant(integers(3, 4), 4))
    wide = make.cast(total, Format(True, 12, 5))
    return make.graph(make.interpolated(wide, np.tanh, SMALL, 6)), {"v0": Fold(2, 3)}


@network
def casts_that_drop_more_than_there_is() -> Made:
    make = Maker((5,), Format(True, 4, 2))
    return make.graph(make.cast("x", Format(True, 8, 14), rounding=Rounding.RND_INF)), {}


# Two operands


@network
def residual() -> Made:
    make = Maker((4, 4), SMALL)
    y = make.add(Dense(), "x", make.constant(integers(4, 4), 3))
    total = make.combine(make.cast(make.add(Relu(), y), SMALL), "x")
    return make.graph(make.cast(total, SMALL)), {"v0": Fold(2, 4), "v3": Fold(4)}


@network
def a_gate() -> Made:
    """x times its own sigmoid: the input is read once."""
    make = Maker((6,), SMALL)
    gate = make.lut("x", sigmoid, 7)
    return make.graph(make.cast(make.add(Mul(), "x", gate), SMALL)), {"v0": Fold(2)}


@network
def two_values_leave() -> Made:
    """What is read twice further on does not vanish in a function."""
    make = Maker((6,), SMALL)
    a = make.add(Square(), "x")
    b = make.add(Dense(), a, make.constant(integers(6, 6)))
    c = make.add(Mul(), make.add(Relu(), b), make.combine(a, "x"))
    return make.graph(make.combine(c, b)), {"v0": Fold(3), "v1": Fold(2, 2)}


@network
def one_value_a_row() -> Made:
    """A layer normalisation but for its root: mean, distance from it, sum of squares, product."""
    make = Maker((3, 4), SMALL)
    mean = make.add(Mul(), make.add(ReduceSum(), "x"), make.constant(np.array([1]), 2))
    away = make.combine("x", mean, negative=True)
    power = make.cast(make.add(ReduceSum(), make.add(Square(), away)), Format(False, 6, 6))
    y = make.cast(make.add(Mul(), away, power), SMALL)
    return make.graph(y), {away: Fold(2), make.nodes[-2].name: Fold(4)}


@network
def arrays() -> Made:
    """Constants for the last axis, for the last two, and slopes for each channel."""
    make = Maker((3, 2, 4), SMALL)
    a = make.add(Mul(), "x", make.constant(integers(4), 3))
    b = make.combine(a, make.constant(integers(2, 4), 5))
    c = make.add(Leaky(6), b, make.constant(integers(4, most=63), 6))
    folds = {"v0": Fold(2), "v1": Fold(4)}
    return make.graph(make.add(Relu(), c)), folds


@network
def softmax_stages() -> Made:
    make = Maker((2, 6), SMALL)
    power = make.lut(make.add(BelowMax(), "x"), lambda v: np.exp(-v), 6)
    total = make.lut(make.add(ReduceSum(), power), lambda v: 1 / np.maximum(v, 0.1), 6)
    product = make.add(Mul(), power, total)
    return make.graph(make.cast(product, Format(False, 8, 0))), {product: Fold(3)}


# Moving values


@network
def moves() -> Made:
    make = Maker((3, 4, 2), SMALL)
    turned = make.add(Rearrange.transpose((3, 4, 2), (1, 0, 2)), "x")
    cut = make.add(Rearrange.along((4, 3, 2), {0: Axis(2, 0, 3, -2)}), turned)
    padded = make.add(Rearrange.along((2, 3, 2), {1: Axis(5, 1, -1)}, fill=-200), cut)
    wide = make.add(Rearrange.along((2, 5, 2), {0: Axis(4, 0, 0, 1, 2)}), padded)
    spread = make.add(Rearrange.along((4, 5, 2), {1: Axis(9, 1, 0, 1, 2, sparse=True)}), wide)
    last = make.add(Rearrange.transpose((4, 9, 2), (2, 0, 1)), make.add(Relu(), spread))
    folds = {turned: Fold(2), padded: Fold(2), spread: Fold(2)}
    return make.graph(last), folds


@network
def joins() -> Made:
    """Three operands of different widths, along the last axis, and two along the first."""
    make = Maker((2, 4), SMALL)
    a = make.add(Relu(), "x")
    b = make.cast(make.add(Dense(), "x", make.constant(integers(4, 2))), Format(True, 9, 6))
    joined = make.add(Concat(1), a, "x", b)
    both = make.add(Concat(0), joined, joined)
    return make.graph(make.add(Square(), both)), {joined: Fold(2), both: Fold(5), a: Fold(4)}


@network
def values_without_axes() -> Made:
    """One number a frame, in the middle and at the end."""
    make = Maker((1, 3), SMALL)
    total = make.add(Reshape(()), make.add(Dense(), "x", make.constant(integers(3, 1))))
    other = make.add(Square(), total)
    product = make.add(Mul(), other, make.constant(np.array(3)))
    return make.graph(make.combine(make.combine(product, total), other)), {}


@network
def shapes_without_processes() -> Made:
    make = Maker((4, 6), SMALL)
    x = make.add(Reshape((2, 12)), make.add(Relu(), "x"))
    x = make.combine(x, make.constant(integers(12), 3))
    x = make.add(Flatten(), make.add(Relu(), x))
    return make.graph(make.add(Reshape((3, 8)), x)), {"v0": Fold(3), "v2": Fold(4)}


# Products


def attention(*, transposed: bool) -> Made:
    make = Maker((5, 4), SMALL)
    q, k = (make.cast(make.add(Dense(), "x", make.constant(w)), SMALL) for w in integers(2, 4, 4))
    if not transposed:
        k = make.add(Rearrange.transpose((5, 4), (1, 0)), k)
    scores = make.add(MatMul(transposed), q, k)
    narrow = make.cast(scores, Format(True, 8, 8))
    y = make.add(MatMul(), narrow, "x")
    return make.graph(make.cast(y, SMALL)), {scores: Fold(5, 2), y: Fold(2, 5)}


@network
def attention_transposed() -> Made:
    return attention(transposed=True)


@network
def attention_plain() -> Made:
    return attention(transposed=False)


@network
def heads() -> Made:
    """A product for each of several leading axes."""
    make = Maker((2, 3, 4), SMALL)
    return make.graph(make.add(MatMul(True), "x", make.add(Relu(), "x"))), {"v1": Fold(3, 4)}


# Convolutions


def convolution(groups: int, fold: Fold, window: Window, *, outputs: int = 6) -> Made:
    channels = 6
    make = Maker((7, 6, channels)[-len(window.kernel) - 1 :], SMALL)
    weight = make.constant(integers(*window.kernel, channels // groups, outputs), 2)
    bias = make.constant(integers(outputs, most=500), 5)
    y = make.add(Conv(window, groups), "x", weight, bias)
    return make.graph(make.cast(make.add(Relu(), y), SMALL)), {y: fold}


DILATED = Window((2, 3), (1, 2), ((1, 0), (2, 1)), (3, 2))
NETWORKS |= {
    "dilated": lambda: convolution(1, Fold(3, 2), DILATED),
    "dilated_sequence": lambda: convolution(1, Fold(2, 3), Window((2,), (1,), ((1, 2),), (3,))),
    "part_of_a_row": lambda: convolution(1, Fold(2, 12), Window.of((2, 4), (2, 1))),
    "dilated_rows": lambda: convolution(1, Fold(3, 18), DILATED),
    "dilated_windows": lambda: convolution(1, Fold(6, 36), DILATED),
    "taps_of_a_sequence": lambda: convolution(1, Fold(1, 12), Window.of((4,), (2,), ((1, 2),))),
    "taps_of_an_image": lambda: convolution(1, Fold(2, 36), Window.of((7, 6))),
    "packed": lambda: convolution(1, Fold(6, 18, "packed", "bram"), DILATED),
    "packed_groups": lambda: convolution(3, Fold(2, 2, "packed", "lutram"), DILATED),
    "grouped": lambda: convolution(2, Fold(1, 1), DILATED),
    "grouped_folded": lambda: convolution(2, Fold(3, 3), Window.of((2, 2))),
    "groups_across": lambda: convolution(3, Fold(6, 2), Window.of((2, 2))),
    "depthwise": lambda: convolution(6, Fold(1, 1), Window.of((3, 3))),
    "depthwise_across": lambda: convolution(6, Fold(3, 1), DILATED),
    "depthwise_multiplied": lambda: convolution(6, Fold(4, 1), Window.of((2,)), outputs=12),
}


@network
def dilated_pools() -> Made:
    make = Maker((7, 6, 2), SMALL)
    a = make.add(MaxPool(Window((2, 2), (1, 1), ((1, 1), (0, 0)), (2, 3))), "x")
    b = make.add(SumPool(Window((3, 2), (2, 1), ((0, 0), (0, 0)), (2, 1))), a)
    return make.graph(b), {a: Fold(2), b: Fold(2)}


# Recurrent layers


def loop(kind: str, fold: Fold, layer: Recurrent) -> Made:
    """A recurrent layer: the product ahead belongs to it too."""
    graph = layer.graph(kind)
    (node,) = (node for node in graph.nodes if isinstance(node.op, Recurrence))
    layers = {name: name if name == node.name else "ahead" for name in graph.layers}
    layers |= {graph.nodes[0].name: node.name}
    return dataclasses.replace(graph, layers=layers), {node.name: fold}


KINDS = ("rnn", "relu", "lstm", "gru", "gru_before")
FOLDS = (Fold(1, 1), Fold(4, 2, "packed"), Fold(2, 4, "lut"), Fold(4, 4))
for i, kind in enumerate(KINDS):
    for j, (reverse, last) in enumerate(itertools.product((False, True), repeat=2)):
        layer = Recurrent(6, index=4 + j, inputs=4, reverse=reverse, last=last, classes=3 * j % 2)
        NETWORKS[f"{kind}_{j}"] = functools.partial(loop, kind, FOLDS[(i + j) % 4], layer)


@network
def both_directions() -> Made:
    """Two loops and a join; the input is read by both."""
    make = Maker((3, 4), SMALL)
    ends = []
    for reverse in (False, True):
        at = f"b{int(reverse)}"

        def body(at: str = at) -> str:
            total = make.add(Dense(), f"{at}_before", make.constant(integers(2, 2), 4))
            pre = make.combine(f"{at}_part0", make.cast(total, SMALL), negative=True)
            return make.cast(make.combine(pre, f"{at}_part1"), SMALL, f"{at}_hidden")

        states = [(f"{at}_before", f"{at}_hidden", SMALL)]
        ends.append(make.loop("x", [f"{at}_part0", f"{at}_part1"], states, body, reverse=reverse))
    return make.graph(make.add(Concat(1), *ends)), {ends[1]: Fold(2, 2)}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """For each network the values that differ; one program holds them all."""
    folder: Path = tmp_path_factory.mktemp("processes")
    made = {}
    for name, make in NETWORKS.items():
        graph, folds = make()
        format_ = graph.formats["x"]
        shape = (FRAMES, *graph.inputs[0].shape)
        x = rng().integers(format_.low, format_.high, shape, endpoint=True)
        values = values_of(graph, x)
        options = Options(folding=Folding(folds))
        golden = values[graph.outputs[0].name].astype(np.int64)
        write_folder(folder / name, project_files(graph, options, x, golden), force=False)
        made[name] = (graph, x, values)
    differing = {}
    with compiled([folder / name for name in made], find_headers(), WARNINGS) as binary:
        for i, (name, (graph, x, values)) in enumerate(made.items()):
            differing[name] = compare(graph, values, binary, x, i)
    return differing


def compare(
    graph: FixedGraph, values: dict[str, Array], binary: Binary, x: Array, index: int
) -> list[str]:
    """The names of the values that differ, or why there are none."""
    try:
        results = binary.run(graph, x, index)
    except ToolchainError as error:
        return [str(error)]
    missing = {node.output for node in graph.traced()} - results.keys()
    wrong = [name for name, raw in results.items() if not np.array_equal(values[name], raw)]
    return sorted(missing) + wrong


@pytest.mark.parametrize("name", NETWORKS)
def test_processes_compute_what_the_ops_do(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []
