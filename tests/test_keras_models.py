"""What Keras and scikit-learn export: imported, quantised and simulated, with the same result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.importer import load
from lutra.frontend.ops import Array
from lutra.frontend.storage import write_folder
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.csim import compare, compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

from .onnx_models import relative, run

MODELS = Path(__file__).parent / "models"
"""``tests.interop.export_keras`` and ``tests.interop.export_sklearn`` write them."""

FILES = sorted(
    f"{folder}/{path.stem}"
    for folder in ("keras", "sklearn")
    for path in (MODELS / folder).glob("*.onnx")
)

NOT_ONNX = ("keras/gated",)
"""Files with an op that is none of ONNX's, Erfc: Keras's result alone can be compared."""

COMPILED = ["keras/residual", "keras/separable", "sklearn/standard"]
"""Those whose C++ is compiled."""

LEAST = 55.0
"""Decibels that the signal is above the error of 16 bits: a value of 16 bits that is spread like a
normal distribution has some 85; what layers add up and functions amplify costs the rest."""

SAMPLES = 48
"""Drawn to calibrate with, and to compare."""


@dataclass(frozen=True)
class Exported:
    """One file, the samples beside it, and what the exporter's own program gives for them."""

    model: onnx.ModelProto
    graph: Graph
    x: Array
    y: Array

    @staticmethod
    def of(file: str) -> Exported:
        path = MODELS / f"{file}.onnx"
        with np.load(path.with_suffix(".npz")) as stored:
            return Exported(onnx.load(path), load(path), stored["x"], stored["y"])

    def imported(self, x: Array) -> Array:
        return evaluate(self.graph, {self.graph.inputs[0].name: x})[self.graph.outputs[0].name]

    def more(self) -> Array:
        """Samples with the mean and the deviation of those beside the file."""
        shape = (SAMPLES, *self.x.shape[1:])
        rng = np.random.default_rng(3)
        return rng.normal(self.x.mean(), self.x.std(), shape).astype(np.float32)

    def fixed(self) -> FixedGraph:
        """In 16 bits."""
        return lower(self.graph, calibrate(self.graph, Settings.uniform(16), self.more()))

    def original(self) -> Array:
        """What onnxruntime gives: of scikit-learn's outputs the one behind the label."""
        found: Any = run(self.model, x=self.x)[-1]
        if isinstance(found, list):  # of maps from class to probability
            found = [[row[key] for key in sorted(row)] for row in found]
        return np.asarray(found)


@pytest.mark.parametrize("file", FILES)
def test_imported_it_computes_the_same(file: str) -> None:
    """All of them add in float32, in orders of their own."""
    exported = Exported.of(file)
    found = exported.imported(exported.x)
    assert relative(found, exported.y) < 1e-5
    if file not in NOT_ONNX:
        assert relative(found, exported.original()) < 1e-5


@pytest.mark.parametrize("file", FILES)
def test_in_fixed_point_it_is_close(file: str) -> None:
    exported = Exported.of(file)
    x = exported.more()
    expected = exported.imported(x)
    error = Simulator(exported.fixed()).predict(x) - expected
    assert 10 * np.log10(np.square(expected).sum() / np.square(error).sum()) > LEAST


def test_compiled_it_computes_the_same_integers(tmp_path: Path) -> None:
    made = []
    for file in COMPILED:
        exported = Exported.of(file)
        fixed = exported.fixed()
        values = Simulator(fixed, keep=True).trace(exported.more()[:8])
        raw, result = values[fixed.inputs[0].name], values[fixed.outputs[0].name]
        project = project_files(fixed, Options(), raw[:2], result[:2])
        write_folder(tmp_path / file.replace("/", "_"), project, force=False)
        made.append((fixed, values))
    folders = [tmp_path / file.replace("/", "_") for file in COMPILED]
    with compiled(folders, find_headers(), ["-O0"]) as binary:
        for i, (fixed, values) in enumerate(made):
            found = compare(fixed, values, binary.run(fixed, values[fixed.inputs[0].name], i))
            assert (found.wrong, found.first) == (0, None), COMPILED[i]


def test_labels_are_left_out_and_lists_of_maps_are_tensors() -> None:
    exported = Exported.of("sklearn/standard")
    assert len(exported.graph.outputs) == 1
    assert any("is given as the tensor" in note for note in exported.graph.notes)
    assert any("is left out" in note for note in exported.graph.notes)
