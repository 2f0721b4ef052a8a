"""The models that PyTorch wrote, as tests use them: ``tests.interop.export_models`` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.importer import literal, load
from lutra.frontend.ops import Array
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

from .onnx_models import run

FOLDER = Path(__file__).parent / "models" / "torch"

FILES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
"""``NAME.EXPORTER`` of each file."""

SAMPLES = 64
"""Drawn to calibrate with."""


@dataclass(frozen=True)
class Exported:
    """One file, with the samples beside it.

    Attributes:
        model: as ONNX.
        x: inputs, as many as the model takes: one if its batch is fixed.
        y: what PyTorch gives for them.
    """

    file: str
    model: onnx.ModelProto
    x: Array
    y: Array

    @staticmethod
    def of(file: str) -> Exported:
        model = onnx.load(FOLDER / f"{file}.onnx")
        with np.load(FOLDER / f"{file.split('.')[0]}.npz") as stored:
            x, y = stored["x"], stored["y"]
        sizes = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
        axis = int(file.split(".")[0].endswith("time_major"))
        if 0 not in sizes:
            x, y = x.take([0], axis), y.take([0], axis)
        return Exported(file, model, x, y)

    def graph(self) -> Graph:
        return load(FOLDER / f"{self.file}.onnx")

    def original(self) -> Array:
        """What onnxruntime gives."""
        return run(self.model, x=self.x)[0]

    def imported(self, graph: Graph) -> Array:
        """What our graph gives, in the file's layout."""
        values = literal(self.model).values
        y = evaluate(graph, {"x": values["x"].enter(self.x)})["y"]
        return values["y"].leave(y)

    def more(self, graph: Graph) -> Array:
        """Samples with the mean and the deviation of those beside the file."""
        rng = np.random.default_rng(3)
        shape = (SAMPLES, *graph.inputs[0].outer_shape)
        return rng.normal(self.x.mean(), self.x.std(), shape).astype(np.float32)

    def fixed(self, graph: Graph) -> FixedGraph:
        """In 16 bits."""
        return lower(graph, calibrate(graph, Settings.uniform(16), self.more(graph)))
