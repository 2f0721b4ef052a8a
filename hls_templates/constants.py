"""Weights, biases and tables as C++ arrays of raw integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..frontend.ops import Array
from ..quantize.lut import Lut
from .cpp_types import native_type
from .folding import Memory
from .hardware.memory import Rom, weight_memory
from .names import Names
from .pack import grouped_rows, pack_rows, weight_rows
from .plan import Plan
from .processes import Cell, DenseProcess, GroupedProcess, MapArrayProcess, RecurrenceProcess

COLUMNS = 96


@dataclass(frozen=True)
class PackedArray:
    """A constant array of machine words.

    Attributes:
        words: of a row.
        rows: their initialisers.
        memory: what holds it; nothing does if it is a single row.
    """

    name: str
    words: int
    rows: tuple[str, ...]
    memory: Rom | None


@dataclass(frozen=True)
class Table:
    """A look-up table: a type with ``at(index)``."""

    name: str
    type: str
    length: int
    lines: tuple[str, ...]


def packed_arrays(plan: Plan) -> list[PackedArray]:
    """The constant arrays of every process: weights, biases and operands."""
    arrays = []
    for process in plan.processes:
        match process:
            case DenseProcess(wired=None):
                weight = plan.graph.constants[process.node.inputs[1]]
                matrix = weight.reshape(process.inputs, process.outputs)
                rows = weight_rows(matrix, process.fold.pe, process.fold.simd)
                arrays += _linear(plan, process, rows, process.fold.pe)
            case GroupedProcess(fold=fold, across=across):
                weight = plan.graph.constants[process.node.inputs[1]]
                taps = weight.reshape(process.taps, process.inputs, -1)
                rows = grouped_rows(taps, process.groups, across, fold.pe, fold.simd)
                arrays += _linear(plan, process, rows, across * fold.pe)
            case RecurrenceProcess():
                for cell, word in zip(process.cells, ("", "second_"), strict=False):
                    arrays += _products(plan, process, cell, word)
            case MapArrayProcess(name=name, pe=pe, post=post):
                constant = post.operands[1]
                raw = plan.graph.constants[constant].reshape(-1, pe)
                width = plan.graph.formats[constant].width
                arrays.append(_packed(f"{name}_array", raw, width))
            case _:
                pass
    return arrays


def _linear(
    plan: Plan, process: DenseProcess | GroupedProcess, rows: Array, lanes: int
) -> list[PackedArray]:
    """Weights, of which ``rows`` are in order, and biases of ``lanes`` outputs a row."""
    node = process.node
    outputs = plan.graph.shapes[node.output][-1]
    raw = plan.graph.constants[node.inputs[2]] if node.inputs[2:] else np.zeros(outputs, np.int64)
    width, acc = (plan.graph.formats[name].width for name in (node.inputs[1], node.output))
    return [
        _packed(f"{process.name}_weights", rows, width, process.fold.memory),
        _packed(f"{process.name}_bias", raw.reshape(-1, lanes), acc),
    ]


def _products(plan: Plan, process: RecurrenceProcess, cell: Cell, word: str) -> list[PackedArray]:
    """Weights and biases of a cell's products, one after the other."""
    constants, fold = plan.graph.constants, process.fold
    weights = [weight_rows(constants[node.inputs[1]], fold.pe, fold.simd) for node in cell.dense]
    zero = np.zeros(process.units, np.int64)
    biases = [constants[node.inputs[2]] if node.inputs[2:] else zero for node in cell.dense]
    rows = np.concatenate(biases).reshape(-1, fold.pe)
    return [
        _packed(
            f"{process.name}_{word}weights",
            np.concatenate(weights),
            cell.weight.width,
            fold.memory,
        ),
        _packed(f"{process.name}_{word}bias", rows, cell.acc.width),
    ]


def _packed(name: str, raw: Array, width: int, choice: Memory = "auto") -> PackedArray:
    """Rows of raw integers with ``width`` bits each."""
    words = pack_rows(raw, width)
    rows = tuple("{" + ", ".join(f"0x{word:x}ULL" for word in row) + "}" for row in words.tolist())
    count, lanes = raw.shape
    memory = weight_memory(lanes * width, count, choice) if count > 1 else None
    return PackedArray(name, words.shape[1], rows, memory)


def tables(plan: Plan, names: Names) -> dict[str, Table]:
    """Look-up tables by the name of their constant; equal tables are not merged."""
    found: dict[str, Table] = {}
    for node in plan.graph.every_node():
        if isinstance(node.op, Lut) and node.inputs[1] not in found:
            constant = node.inputs[1]
            raw = plan.graph.constants[constant]
            found[constant] = Table(
                names.fresh(f"{node.output}_table"),
                native_type(plan.graph.formats[constant]),
                len(raw),
                _lines(raw),
            )
    return found


def _lines(raw: Array) -> tuple[str, ...]:
    """The integers, separated by commas, in lines of readable length."""
    lines, line = [], ""
    for value in raw.tolist():
        item = f"{value}LL, " if abs(value) >> 31 else f"{value}, "
        if len(line) + len(item) > COLUMNS:
            lines.append(line.rstrip())
            line = ""
        line += item
    return (*lines, line.rstrip(", "))
