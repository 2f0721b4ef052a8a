"""Quantised networks on the way to a file and back: what is known of integers comes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.exporter import save
from lutra.frontend.onnx.importer import from_onnx, load
from lutra.frontend.ops import Array, Conv, ConvTranspose, Dense, Quantize, Relu, Window

from .qonnx_models import cases, inputs
from .quantised_graphs import Quantised

QONNX = cases()


def there_and_back(graph: Graph, folder: Path) -> Graph:
    """The graph from its file, on which onnxruntime agrees with us exactly.

    It must not optimise: of data times dequantised weights it makes a product of its own, for
    which it quantises the data too.
    """
    save(graph, folder / "saved.onnx")
    loaded = load(folder / "saved.onnx")
    x = inputs(4, *graph.inputs[0].outer_shape)
    (port,) = graph.outputs
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(folder / "saved.onnx", options)
    (theirs,) = session.run(None, {graph.inputs[0].name: x})
    for known in (graph, loaded):
        found = evaluate(known, {graph.inputs[0].name: x})[port.name]
        assert np.array_equal(found, theirs)
    return loaded


def expect_same_grids(graph: Graph, loaded: Graph) -> None:
    assert graph.grids
    assert loaded.grids.keys() == graph.grids.keys()
    for name, grid in graph.grids.items():
        other = loaded.grids[name]
        assert (other.low, other.high) == (grid.low, grid.high)
        assert np.array_equal(other.scale, grid.scale)
        assert np.array_equal(loaded.constants[name], graph.constants[name])


@pytest.mark.parametrize("name", ["conv", "turned weight"])
def test_an_imported_network(name: str, tmp_path: Path) -> None:
    graph = from_onnx(QONNX[name])
    expect_same_grids(graph, there_and_back(graph, tmp_path))


@pytest.mark.parametrize(
    ("ends", "scale"),
    [
        ((-128, 127), 0.25),
        ((-127, 127), 0.25),
        ((0, 255), 0.25),
        ((0, 3), 0.25),
        ((-(2**15), 2**15 - 1), 0.25),
        ((-(2**31), 2**31 - 1), 0.25),
        ((-7, 7), (0.5, 0.25, 1)),
    ],
)
def test_weights_of_every_range(
    ends: tuple[int, int], scale: float | Sequence[float], tmp_path: Path
) -> None:
    net = Quantised((5, 4))
    low, high = max(ends[0], -1000), min(ends[1], 1000)
    q = net.rng.integers(low, high + 1, (3, 4, 3))
    q.flat[0], q.flat[1] = low, high
    net.on_grid("w", q, scale)
    net.on_grid("b", np.array([low, high, 1]), scale)
    net.add("y", Conv(Window.of((3,))), "x", "w", "b")
    graph = net.graph()
    for name in ("w", "b"):
        object.__setattr__(graph.grids[name], "low", ends[0])
        object.__setattr__(graph.grids[name], "high", ends[1])
    expect_same_grids(graph, there_and_back(graph, tmp_path))


@pytest.mark.parametrize(
    ("low", "high"), [(-128, 127), (-8, 7), (-7, 7), (0, 15), (0, 255), (-3, 100)]
)
@pytest.mark.parametrize("zero", [0, 2])
def test_values_of_eight_bits_and_less(low: int, high: int, zero: int, tmp_path: Path) -> None:
    net = Quantised((4,))
    net.quantize("q", "x", 0.25, low=low, high=high, zero=zero)
    (node,) = there_and_back(net.graph(), tmp_path).nodes
    assert node.op == Quantize(low, high)


def test_a_weight_that_two_layers_share(tmp_path: Path) -> None:
    net = Quantised((3,))
    net.on_grid("w", np.arange(9).reshape(3, 3) - 4, 0.5)
    net.add("a", Dense(), "x", "w")
    net.add("r", Relu(), "a")
    net.add("y", Dense(), "r", "w")
    graph = net.graph()
    expect_same_grids(graph, there_and_back(graph, tmp_path))


def test_scales_along_no_axis_of_the_file_stay_in_the_values(tmp_path: Path) -> None:
    """A transposed convolution in groups has its channels on two axes there."""
    net = Quantised((5, 4))
    scale: Array = np.array([0.5, 0.25, 1, 2], np.float32)
    net.on_grid("w", net.rng.integers(-8, 8, (3, 2, 4)), scale)
    net.add("y", ConvTranspose(Window.of((3,)), (), 2), "x", "w")
    graph = net.graph()
    assert not there_and_back(graph, tmp_path).grids
