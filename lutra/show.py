"""What the commands print: tables for people, and the same figures as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .console import say
from .frontend.cost import multiply_adds
from .frontend.errors import clip
from .frontend.graph import Graph, Node, Port
from .frontend.ops import Array, Bipolar, Conv, Dense, Op, Quantize
from .quantize.cast import Cast
from .quantize.fixed import FixedGraph, FixedOp
from .quantize.fixed_onnx import FixedModel
from .quantize.lut import Lut
from .quantize.points import points
from .sim.verify import Verification

NAME_WIDTH = 22
"""Columns of a name; with it, every table fits 80."""


MOST_LINES = 8
"""Most lines of a list that may be long."""


def shown_name(name: str) -> Text:
    """A name from a model file, safe to print: one line, no markup, no control characters."""
    return Text(clip(name, NAME_WIDTH))


def new_table(title: str) -> Table:
    """An empty table in the style of all that Lutra prints."""
    return Table(
        title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )


def shape_text(shape: tuple[int, ...]) -> str:
    """``8 x 8 x 1``."""
    return " x ".join(map(str, shape)) or "scalar"


def layers(graph: Graph) -> list[dict[str, Any]]:
    """Layer by layer: op, output shape, parameters and multiply-adds a sample."""
    return [
        {
            "layer": node.name,
            "op": _op_text(graph, node),
            "shape": list(graph.shapes[node.output]),
            "parameters": 0
            if isinstance(node.op, Quantize | Bipolar)
            else sum(graph.constants[name].size for name in node.inputs if name in graph.constants),
            "integers": _integers(graph, node),
            "multiply_adds": multiply_adds(
                node.op, [graph.shapes[name] for name in node.inputs], graph.shapes[node.output]
            ),
        }
        for node in graph.nodes
    ]


def describe(op: Op) -> str:
    """The op's kind, and its window where it has one."""
    kind = type(op).__name__
    window = getattr(op, "window", None)
    if window is None:
        return kind
    text = f"{kind} {'x'.join(map(str, window.kernel))}"
    if any(stride != 1 for stride in window.stride):
        text += f" /{','.join(map(str, window.stride))}"
    return text + (" padded" if window.padded else "")


def _op_text(graph: Graph, node: Node[Op]) -> str:
    """The op; for a quantisation also onto which integers, times what."""
    match node.op:
        case Quantize(low, high):
            return f"Quantize {_range(low, high)} {_scale(graph.constants[node.inputs[1]])}"
        case Bipolar():
            return f"Bipolar {_scale(graph.constants[node.inputs[1]])}"
        case op:
            return describe(op)


def _integers(graph: Graph, node: Node[Op]) -> str | None:
    """Which integers the widest of a node's quantised weights are made of."""
    grids = [graph.grids[name] for name in node.inputs[:2] if name in graph.grids]
    widest = max(grids, key=lambda grid: grid.high - grid.low, default=None)
    return None if widest is None else _range(widest.low, widest.high)


def _range(low: int, high: int) -> str:
    """``int8``, ``uint4``, or the ends where these are not all integers of so many bits."""
    bits = (high - low).bit_length()
    if high - low == (1 << bits) - 1 and low in (0, -(1 << bits - 1)):
        return f"{'int' if low else 'uint'}{bits}"
    return f"±{high}" if low == -high else f"{low}..{high}"


def _scale(scale: Array) -> str:
    """``2^-5``, or how many scales there are."""
    if scale.min() != scale.max():
        return f"{scale.size} scales"
    mantissa, exponent = np.frexp(scale.flat[0])
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{scale.flat[0]:.4g}"


def layer_table(graph: Graph, rows: list[dict[str, Any]]) -> Table:
    """The table of ``lutra inspect``."""
    table = new_table(clip(graph.name, 60))
    table.add_column("Layer", no_wrap=True)
    table.add_column("Op")
    table.add_column("Output", min_width=12)
    table.add_column("Parameters", justify="right", no_wrap=True)
    table.add_column("Multiply-adds", justify="right", no_wrap=True)
    for port in graph.inputs:
        table.add_row(shown_name(port.name), "input", shape_text(port.shape), "", "")
    for row in rows:
        table.add_row(
            shown_name(row["layer"]),
            row["op"],
            shape_text(tuple(row["shape"])),
            f"{_count(row['parameters'])} {row['integers'] or ''}".strip(),
            _count(row["multiply_adds"]),
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        "",
        f"{sum(row['parameters'] for row in rows):,}",
        f"{sum(row['multiply_adds'] for row in rows):,}",
    )
    return table


def network_json(graph: Graph) -> dict[str, Any]:
    """What ``lutra inspect`` shows, as JSON holds it."""
    rows = layers(graph)
    return {
        "name": graph.name,
        "inputs": [_port_json(port) for port in graph.inputs],
        "outputs": [_port_json(port) for port in graph.outputs],
        "notes": list(graph.notes),
        "layers": rows,
        "parameters": sum(row["parameters"] for row in rows),
        "multiply_adds": sum(row["multiply_adds"] for row in rows),
    }


def _port_json(port: Port) -> dict[str, Any]:
    return {"name": port.name, "shape": list(port.outer_shape)}


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def formats(model: FixedModel) -> list[dict[str, Any]]:
    """Each layer with its formats: weights, exact result, and what it hands on."""
    fixed = model.fixed
    rows: list[dict[str, Any]] = []
    for port in fixed.inputs:
        cast = fixed.entry[port.name]
        rows.append(_row(port.name, None, None, str(cast.format), cast))
    where = points(model.source)
    parts: dict[str, list[Node[FixedOp]]] = {}
    for inner in fixed.every_node():
        parts.setdefault(fixed.layers[inner.name], []).append(inner)
    for node in model.source.nodes:
        inside = parts.get(node.name, [])
        rounds = node.output in where or isinstance(node.op, Quantize)
        rows.append(_layer(fixed, node, inside, rounds))
        for part in inside:
            if part.output in where and part.output != node.output:
                label = f"{node.name}{part.output.removeprefix(node.output)}"
                rows.append(_row(label, None, None, str(fixed.formats[part.output]), part.op))
    return rows


def inexact(fixed: FixedGraph) -> list[str]:
    """A line for each layer of a quantised model whose factors have too few bits to round just as
    real numbers do."""
    lines = [
        f"{clip(layer, NAME_WIDTH)}: off by up to {error:.1g} steps before it is rounded"
        for layer, error in fixed.inexact.items()
    ]
    return [*lines[:MOST_LINES], *(["..."] if len(lines) > MOST_LINES else [])]


def _layer(
    fixed: FixedGraph, node: Node[Op], parts: list[Node[FixedOp]], point: bool
) -> dict[str, Any]:
    """The row of one layer; of several matrices of weights the widest are shown."""
    products = [part for part in parts if isinstance(part.op, Dense | Conv)]
    closing = next((part.op for part in parts if part.output == node.output), None)
    if isinstance(node.op, Quantize):
        closing = next((p.op for p in reversed(parts) if isinstance(p.op, Cast)), closing)
    weights = [fixed.formats[part.inputs[1]] for part in products]
    exact = [fixed.formats[part.output] for part in products]
    return _row(
        node.name,
        str(max(weights, key=lambda f: f.width)) if weights else None,
        str(max(exact, key=lambda f: f.width)) if exact else None,
        str(fixed.formats[node.output]) if node.output in fixed.formats else None,
        closing if point else None,
    )


def _row(
    layer: str, weights: str | None, exact: str | None, output: str | None, op: object
) -> dict[str, Any]:
    mode = "exact"
    if isinstance(op, Cast):
        mode = f"{op.rounding}, {op.overflow}"
    elif isinstance(op, Lut):
        mode = "table"
    return {"layer": layer, "weights": weights, "exact": exact, "output": output, "mode": mode}


def format_table(rows: list[dict[str, Any]]) -> Table:
    """The table of ``lutra quantize``."""
    table = new_table("Formats")
    for column in ("Layer", "Weights", "Exact result", "Output"):
        table.add_column(column, no_wrap=True)
    table.add_column("By")
    for row in rows:
        table.add_row(
            shown_name(row["layer"]),
            row["weights"] or "",
            row["exact"] or "",
            row["output"] or "",
            row["mode"],
        )
    return table


def print_verification(result: Verification, console: Console) -> None:
    """How a verification ended, for people."""
    steps = result.worst_error / result.output_step
    say(console, f"{result.frames:,} frames, {result.values:,} raw values, every intermediate too")
    say(console, f"mismatches: {result.mismatches:,}")
    if result.first is not None:
        say(console, f"first mismatch: {clip(str(result.first), 300)}", "bold red")
    say(console, f"the project's own test bench: {'pass' if result.golden else 'FAIL'}")
    say(console, f"worst output error against float: {result.worst_error:.4g} ({steps:.2f} steps)")
    if result.passed:
        say(console, "simulator and C simulation are equal, bit for bit", "bold green")
    else:
        say(console, "simulator and C simulation are NOT equal", "bold red")
