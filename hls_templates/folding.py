"""Folding: how many outputs (``pe``) and inputs (``simd``) a layer handles in a cycle.

A file looks like this::

    [layers.conv1]          # a layer of the model
    pe = 4
    simd = 1
    multiply = "packed"     # auto, dsp, lut, or packed: two 8-bit products a DSP slice, pe even
    memory = "bram"         # of its weights: auto, lutram or bram

What they divide: for a dense layer or convolution its outputs and inputs (``pe`` of a grouped
convolution a group's outputs, or it is a multiple of them; ``simd`` of one that is not may be all
inputs of several taps: of a part of the kernel's row that divides it, or of rows that divide the
kernel); for a product of matrices the columns
and the inner size; for a recurrent layer the units, both of them; for all others ``pe`` divides the
last axis.  Sums and maxima of rows take one value a cycle, and so do values of which there is one a
row; rearrangements and joins take as much of ``pe`` as divides their last axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..frontend.errors import LutraError, ModelError, clip
from ..frontend.layer_file import read_toml


class FoldingError(LutraError):
    """A folding does not fit its layer or the tools."""


Multiply = Literal["auto", "dsp", "lut", "packed"]
Memory = Literal["auto", "lutram", "bram"]


@dataclass(frozen=True)
class Fold:
    """How one layer becomes hardware.

    Attributes:
        pe, simd: parallelism; 1 and 1 is one multiplier.
        multiply: what multiplies: DSP slices, LUTs, or DSP slices with two products each.
        memory: what holds the weights.
    """

    pe: int = 1
    simd: int = 1
    multiply: Multiply = "auto"
    memory: Memory = "auto"


@dataclass(frozen=True)
class Folding:
    """Parallelism by layer; a layer that is not named is fully folded.  ``file`` is where it was
    read, for messages."""

    layers: Mapping[str, Fold] = field(default_factory=dict)
    file: str | None = field(default=None, compare=False)

    def fold(self, layer: str) -> Fold:
        return self.layers.get(layer, Fold())


def load_folding(path: Path) -> Folding:
    """Read a folding file.

    Raises:
        ModelError: it cannot be read, is not TOML, or is not laid out as above.
    """
    data = read_toml(path)
    layers = data.pop("layers", {})
    if data or not isinstance(layers, dict):
        raise ModelError(
            "only [layers.NAME] tables may stand in a folding file",
            file=str(path),
            found=", ".join(data) or layers,
        )
    folds = {}
    for name, table in layers.items():
        if not isinstance(table, dict) or not all(map(_fits, table, table.values())):
            raise ModelError(
                f"the folding of '{clip(name)}' is not right",
                file=str(path),
                found=table,
                expected="pe and simd, whole numbers from 1; "
                f"multiply, one of {', '.join(get_args(Multiply))}; "
                f"memory, one of {', '.join(get_args(Memory))}",
            )
        folds[name] = Fold(**table)
    return Folding(folds, str(path))


def _fits(key: str, value: Any) -> bool:
    """Whether a layer's entry in a folding file is right."""
    match key:
        case "pe" | "simd":
            return type(value) is int and value >= 1
        case "multiply":
            return value in get_args(Multiply)
        case "memory":
            return value in get_args(Memory)
        case _:
            return False
