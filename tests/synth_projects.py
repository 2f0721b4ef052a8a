"""Projects with estimates of known figures, and reports of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lutra.sim.vitis.project import load_project

from .vitis_reports import PART, Design, Function

RANGES = {
    "lut": [90, 100, 150],
    "ff": [60, 80, 100],
    "dsp": [1, 1, 1],
    "bram18": [0, 0, 2],
    "uram": [0, 0, 0],
}


def kernels(project: Path) -> dict[str, str | None]:
    return {process.name: process.kernel for process in load_project(project).processes}


def set_manifest(project: Path, **values: Any) -> None:
    file = project / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def estimate(project: Path) -> dict[str, Any]:
    """An estimate with the same figures for each process."""
    return {
        "part": PART,
        "clock_ns": 5.0,
        "latency": 100,
        "interval": 73,
        "resources": RANGES | {"lut": [80, 100, 120]},
        "processes": [
            {
                "name": name,
                "layer": "l",
                "kernel": kernel,
                "depth": 4,
                "period": 73,
                "resources": RANGES,
            }
            for name, kernel in kernels(project).items()
        ],
    }


def design(project: Path, **changes: Any) -> Design:
    """The report of a project: every process's module, and one of a loop in it."""
    modules = [
        Function(f"{kernel}_{name}_config_12_4_1_s", ("70", "72"), "72")
        for name, kernel in kernels(project).items()
    ]
    loop = Function(modules[0].name.removesuffix("_s") + "_Pipeline_VITIS_LOOP_39_1")
    return Design(modules=[loop, *modules], **changes)


def prepared(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project an estimate, on a machine without Vitis."""
    for name in ("XILINX_VITIS", "XILINX_HLS"):
        monkeypatch.delenv(name, raising=False)
    set_manifest(project, estimate=estimate(project))
    return project


def save(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    names = {"synthesis": "csynth.xml", "cosim": "nn_top_cosim.rpt", "impl": "export_impl.xml"}
    for key, text in texts.items():
        (folder / names[key]).write_text(text)
    return folder
