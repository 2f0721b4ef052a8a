"""``lutra estimate`` with a target: the search for a folding, cycles, FIFOs and resources."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lutra.quantize.fixed_onnx import save_fixed
from tests.bench.table import Row, once
from tests.resnets import fixed_resnet

RESNET8 = "resnet8_a8w8b16.onnx"


def rows() -> Iterator[Row]:
    """ResNet8, that of LUTRA_MODEL_DIR if it is set, and ResNet20, for a KV260 at 5 ns."""
    with tempfile.TemporaryDirectory(prefix="lutra-bench-") as folder:
        small, large = Path(folder) / "resnet8.onnx", Path(folder) / "resnet20.onnx"
        save_fixed(fixed_resnet(1), small)
        save_fixed(fixed_resnet(3), large)
        if models := os.environ.get("LUTRA_MODEL_DIR"):
            small = Path(models) / RESNET8
        yield Row("lutra estimate --fps 30000 as a command, ResNet8", _time(small, 30000), None, 2)
        yield Row("lutra estimate --fps 5000 as a command, ResNet20", _time(large, 5000), None, 5)


def _time(model: Path, fps: int) -> float:
    call = [sys.executable, "-m", "lutra", "estimate", str(model), "--part", "KV260"]

    def command() -> None:
        subprocess.run([*call, "--fps", str(fps)], check=True, capture_output=True)

    return once(command, repetitions=3)
