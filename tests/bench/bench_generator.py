"""From fixed graph to compiled project: the generator, and g++ on what it writes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lutra.hls_templates.project import Options
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel, to_fixed_onnx
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.csim import compiled
from lutra.sim.toolchain import find_headers
from lutra.workflow import write_project
from tests.bench.peers import CNN, exported, samples
from tests.bench.table import Row, once


def rows() -> Iterator[Row]:
    """The CNN of the project's targets, at the default precision and folding."""
    network = exported(CNN)
    x = samples(network, 256)
    graph = network.graph()
    model = FixedModel(graph, lower(graph, calibrate(graph, Settings(), x)))
    with tempfile.TemporaryDirectory(prefix="lutra-bench-") as folder:
        file, project = Path(folder) / "fixed.onnx", Path(folder) / "project"
        file.write_bytes(to_fixed_onnx(model).SerializeToString())

        def generate() -> None:
            write_project(model, project, Options(), x, force=True)

        def command() -> None:
            call = [sys.executable, "-m", "lutra", "generate", str(file)]
            subprocess.run([*call, "-o", str(project), "--force"], check=True, capture_output=True)

        def compile_project() -> None:
            with compiled([project], find_headers()):
                pass

        yield Row(f"generate a project, {CNN}", once(generate), None, 1.0)
        yield Row(f"lutra generate as a command, {CNN}", once(command), None, 1.0)
        yield Row(f"g++ on the project, {CNN}", once(compile_project, repetitions=3), None, 6.0)
