"""What of a generated project Vitis HLS is run on, and what its reports are checked against."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...frontend.errors import ModelError
from ...frontend.storage import MANIFEST
from .files import read_bytes

CONFIG, SCRIPT = "hls_config.cfg", "run_hls.tcl"


@dataclass(frozen=True)
class Process:
    """A process of the design: its layer, and the kernel that it calls.

    Attributes:
        kernel: None if the top function does not call it by name, as in the fully parallel mode.
    """

    name: str
    layer: str
    kernel: str | None


@dataclass(frozen=True)
class Project:
    """A generated project.

    Attributes:
        top: name of the top function.
        part, clock: what it was generated for; the clock in ns.
        processes: in the order of the top function's calls.
        configurations: names, without ``_config``, that its functions are called with.
        estimate: what was estimated when it was generated, if anything.
    """

    folder: Path
    top: str
    part: str
    clock: float
    processes: tuple[Process, ...]
    configurations: frozenset[str]
    estimate: Mapping[str, Any] | None


def load_project(folder: Path) -> Project:
    """Read what is needed of a project.

    Raises:
        ModelError: the folder is no project, or is damaged.
    """
    for name in (MANIFEST, CONFIG, SCRIPT, "src"):
        if not (folder / name).exists():
            raise ModelError(
                "is not a project that can be synthesised",
                file=str(folder),
                found=f"no {name}",
                expected="a folder that lutra generate or lutra build wrote",
            )
    top = re.search(r"^syn\.top=(\w{1,200})\s*$", _text(folder / CONFIG), re.MULTILINE)
    if top is None:
        raise ModelError(
            "names no top function", file=str(folder / CONFIG), expected="a line syn.top=NAME"
        )
    kernels: dict[str, str] = {}
    for source in sorted((folder / "src").glob("*.cpp")):
        calls = re.findall(r"\blutra::(\w+)<\s*(\w+)_config\b", _text(source))
        kernels |= {name: kernel for kernel, name in calls}
    file = folder / MANIFEST
    try:
        manifest = json.loads(_text(file))
        estimate = manifest.get("estimate")
        if estimate is not None and not isinstance(estimate, dict):
            raise TypeError("the estimate is no object")
        return Project(
            folder,
            top[1],
            str(manifest["part"]),
            float(manifest["clock_ns"]),
            tuple(
                Process(item["name"], str(item["layer"]), kernels.get(item["name"]))
                for item in manifest["processes"]
            ),
            frozenset(kernels),
            estimate,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError("the manifest is damaged", file=str(file), found=error) from None


def _text(path: Path) -> str:
    return read_bytes(path).decode("utf-8", "replace")
