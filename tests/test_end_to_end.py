"""The promises of the recipes, and networks of others, the whole way to verified C++."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.onnx.exporter import save
from lutra.frontend.onnx.importer import load
from lutra.frontend.ops import Array
from lutra.frontend.recipe import load_recipe
from lutra.frontend.storage import write_folder
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.csim import Comparison, compare, compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

WORST_LOSS = 0.005
"""Accuracy that 8 bits may cost: half a point."""


def verified(fixed: FixedGraph, x: Array, folder: Path) -> Comparison:
    """Every value of every sample, simulator against C simulation."""
    values = Simulator(fixed, keep=True).trace(x)
    inlet, outlet = fixed.inputs[0].name, fixed.outputs[0].name
    files = project_files(fixed, Options(), values[inlet][:2], values[outlet][:2])
    write_folder(folder / "project", files, force=False)
    with compiled([folder / "project"], find_headers()) as binary:
        return compare(fixed, values, binary.run(fixed, values[inlet]))


@pytest.mark.parametrize(("name", "least"), [("digits-mlp", 0.96), ("digits-cnn", 0.975)])
def test_a_recipe_keeps_its_promise(name: str, least: float, tmp_path: Path) -> None:
    """Accuracy in float and at 8 bits, and no mismatch on the whole test set."""
    trained = load_recipe(name).run()
    save(trained.graph, tmp_path / "model.onnx")
    graph = load(tmp_path / "model.onnx")
    test = trained.test
    fixed = lower(graph, calibrate(graph, Settings(), trained.calibration.x))
    answers = Simulator(fixed).predict(test.x).argmax(axis=1)
    accuracy = float((answers == test.y).mean())
    assert trained.test_accuracy is not None
    assert trained.test_accuracy >= least
    assert accuracy >= trained.test_accuracy - WORST_LOSS
    result = verified(fixed, test.x, tmp_path)
    assert (result.wrong, result.first) == (0, None)
    assert result.compared > 100 * len(test.x)


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is not set")
@pytest.mark.parametrize(
    ("file", "shape"), [("two_layer_keras.onnx", (10,)), ("conv1d_small_keras.onnx", (10, 4))]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_networks_of_others(file: str, shape: tuple[int, ...], bits: int, tmp_path: Path) -> None:
    graph = load(Path(os.environ["LUTRA_MODEL_DIR"]) / file)
    x = np.random.default_rng(0).normal(size=(100, *shape)).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings.uniform(bits), x))
    result = verified(fixed, x, tmp_path)
    assert (result.wrong, result.first) == (0, None)
