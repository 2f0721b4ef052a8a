"""Verification of a generated project: C simulation against the simulator, both against float."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..frontend.errors import LutraError, ModelError
from ..frontend.graph import evaluate
from ..frontend.ops import Array
from ..frontend.storage import write_file
from ..quantize.calibrate import check_data
from ..quantize.fixed_onnx import FixedModel, load_fixed
from .csim import Binary, Comparison, Mismatch, compare, compiled
from .simulator import Simulator
from .toolchain import find_compiler, find_headers

TRACE_VALUES = 1 << 23
"""Traced values that one run of the C simulation may hand over."""

MODEL_FILE = "fixed.onnx"


@dataclass(frozen=True)
class Verification:
    """How a verification ended.

    Attributes:
        frames: samples that were run.
        values: raw integers that were compared, every intermediate included.
        mismatches: how many of them differ.
        golden: whether the project's own test bench passes on its golden vectors.
        worst_error: largest absolute difference of an output from the float network's.
        output_step: worth of the output's last bit.
        headers: where the arbitrary-precision headers came from.
        first: the first mismatch.
    """

    frames: int
    values: int
    mismatches: int
    golden: bool
    worst_error: float
    output_step: float
    headers: str
    first: Mismatch | None

    @property
    def passed(self) -> bool:
        return self.mismatches == 0 and self.golden

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"passed": self.passed}


def verify_project(
    project: str | Path,
    *,
    x: Array | None = None,
    ap_include: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compile a project and compare it with the simulator, bit for bit.

    Args:
        project: its folder.
        x: float samples in the user's layout; by default the project's own test vectors.
        ap_include: folder of the arbitrary-precision headers.
        progress: told how many frames of how many are done: before the compiler runs, before the
            first frame, and then from time to time.

    Raises:
        ModelError: the folder is no project, or is damaged.
        ToolchainError: compiler or headers are missing, or the C++ fails.
    """
    folder = Path(project)
    model = project_model(folder)
    find_compiler()
    headers = find_headers(ap_include)
    if x is None:
        raw = test_vectors(folder, model)
    else:
        raw = Simulator(model.fixed, keep=[model.fixed.inputs[0].name]).trace(
            check_data(model.source, x)
        )[model.fixed.inputs[0].name]
    progress(0, len(raw))
    with compiled([folder], headers) as binary:
        golden = binary.passes(folder / "tb")
        compared, worst = _compare(model, raw, x, binary, progress)
    port = model.fixed.outputs[0]
    result = Verification(
        len(raw),
        compared.compared,
        compared.wrong,
        golden,
        worst,
        model.fixed.formats[port.name].step * port.scale,
        headers.source,
        compared.first,
    )
    _record(folder, result)
    return result


def project_model(folder: Path) -> FixedModel:
    """The network that a project was generated from.

    Raises:
        ModelError: the folder is no project, or its model is damaged.
    """
    for name in ("manifest.json", "src/nn_top.cpp", "tb/nn_tb.cpp", MODEL_FILE):
        if not (folder / name).is_file():
            raise ModelError(
                "is not a project that can be verified",
                file=str(folder),
                found=f"no {name}",
                expected="a folder that lutra generate or lutra build wrote",
            )
    return load_fixed(folder / MODEL_FILE)


def test_vectors(folder: Path, model: FixedModel) -> Array:
    """The project's own input vectors, raw, channels last.

    Raises:
        ModelError: they cannot be read, or do not fit the network.
    """
    (port,) = model.fixed.inputs
    file = folder / "tb" / "in.dat"
    try:
        raw = np.array(file.read_text(encoding="ascii").split(), np.int64)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError("cannot be read as raw integers", file=str(file), found=reason) from None
    size = math.prod(port.shape)
    format_ = model.fixed.formats[port.name]
    if raw.size == 0 or raw.size % size or raw.min() < format_.low or raw.max() > format_.high:
        raise ModelError(
            "does not hold whole frames of the network's input",
            file=str(file),
            found=f"{raw.size} values",
            expected=f"a multiple of {size} values in {format_}",
        )
    return raw.reshape(-1, *port.shape)


def _compare(
    model: FixedModel,
    raw: Array,
    x: Array | None,
    binary: Binary,
    progress: Callable[[int, int], None],
) -> tuple[Comparison, float]:
    """Run blocks of frames through simulator, C simulation and float network.

    The simulator is run twice: for every value, and for the outputs alone, as users run it, where
    it takes shortcuts.
    """
    simulator, quick = Simulator(model.fixed, keep=True), Simulator(model.fixed)
    (inlet,), (outlet,) = model.fixed.inputs, model.fixed.outputs
    size = sum(math.prod(model.fixed.shapes[node.output]) for node in model.fixed.traced())
    block = max(1, TRACE_VALUES // max(size, 1))
    total = Comparison(0, 0, None)
    worst = 0.0
    progress(0, len(raw))
    for start in range(0, len(raw), block):
        part = raw[start : start + block]
        ours = simulator.trace_raw(part)
        theirs = binary.run(model.fixed, part)
        total += compare(model.fixed, ours, theirs, start)
        output = {outlet.name: theirs[outlet.name]}
        total += compare(model.fixed, quick.trace_raw(part), output, start)
        floats = (
            inlet.leave(part * model.fixed.formats[inlet.name].step)
            if x is None
            else x[start : start + block]
        )
        expected = evaluate(model.source, {inlet.name: floats})[outlet.name]
        fixed = outlet.leave(ours[outlet.name]) * model.fixed.formats[outlet.name].step
        worst = max(worst, float(np.abs(fixed - expected).max()))
        progress(min(start + block, len(raw)), len(raw))
    return total, worst


def _record(folder: Path, result: Verification) -> None:
    """Write down in the manifest how the verification ended."""
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        manifest["verification"] = result.to_dict()
    except (OSError, ValueError, TypeError, LutraError) as error:
        raise ModelError("the manifest is damaged", file=str(file), found=error) from None
    write_file(file, json.dumps(manifest, indent=2) + "\n")
