"""A float graph as a picture: boxes from top to bottom, joined by what they hand on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from .data import require
from .errors import clip
from .graph import Graph
from .pictures import INK, MUTED, SHADE, save_picture

WIDTH, HEIGHT = 1.9, 0.5
"""Inches of a box."""

GAP = 0.35
"""Inches between boxes, and between a box and a line that passes it."""

SWEEPS = 8
"""Times that the order within the rows is improved, downwards and upwards."""


@dataclass(eq=False)
class _Cell:
    """A box, or the place where a long line passes a row.

    Attributes:
        row: from the top.
        lines: what stands in the box; nothing for a line that passes.
        weighted: whether the box has weights.
        above, below: neighbours in the rows beside.
        x: inches from the left.
    """

    row: int
    lines: tuple[str, ...] = ()
    weighted: bool = False
    above: list[_Cell] = field(default_factory=list)
    below: list[_Cell] = field(default_factory=list)
    x: float = 0.0

    @property
    def width(self) -> float:
        return WIDTH if self.lines else 0.0


def draw(graph: Graph, path: str | Path) -> None:
    """Draw the network: a box a node with its name, op and output shape; those with weights filled.

    Args:
        graph: any float graph, such as ``model.graph()``.
        path: ``.svg`` or ``.png``.

    Raises:
        OutputError: the file cannot be written, or has another ending.
        ToolchainError: matplotlib is not installed.
    """
    rows = _rows(graph)
    _order(rows)
    _place(rows)
    cells = [cell for row in rows for cell in row]
    right = max(cell.x + cell.width / 2 for cell in cells)

    def paint(figure: Any) -> None:
        _paint(figure, cells, right, len(rows))

    save_picture(path, right + GAP, len(rows) * (HEIGHT + GAP) + GAP, paint)


def _rows(graph: Graph) -> list[list[_Cell]]:
    """The boxes, each a row below the last that it reads, and the places that lines pass."""
    row = {port.name: 0 for port in graph.inputs}
    for node in graph.nodes:
        row[node.output] = 1 + max((row.get(name, 0) for name in node.inputs), default=0)
    made = {
        port.name: _Cell(0, (clip(port.name, 28), _size(graph, port.name))) for port in graph.inputs
    }
    rows: list[list[_Cell]] = [[] for _ in range(max(row.values()) + 2)]
    rows[0] = list(made.values())
    passing: dict[str, list[_Cell]] = {name: [cell] for name, cell in made.items()}
    for node in graph.nodes:
        title = f"{type(node.op).__name__}  {_size(graph, node.output)}"
        weighted = any(name in graph.constants for name in node.inputs)
        cell = _Cell(row[node.output], (clip(node.name, 28), title), weighted)
        for name in dict.fromkeys(node.inputs):
            if name in passing:
                _join(passing[name], cell, rows)
        rows[cell.row].append(cell)
        passing[node.output] = [cell]
    for port in graph.outputs:
        cell = _Cell(len(rows) - 1, (clip(port.name, 28), _size(graph, port.name)))
        _join(passing[port.name], cell, rows)
        rows[cell.row].append(cell)
    return rows


def _size(graph: Graph, name: str) -> str:
    return " x ".join(map(str, graph.shapes[name])) or "scalar"


def _join(way: list[_Cell], cell: _Cell, rows: list[list[_Cell]]) -> None:
    """Lead the line of a value, which passes the rows of ``way``, on to a box."""
    while way[-1].row < cell.row - 1:
        place = _Cell(way[-1].row + 1)
        rows[place.row].append(place)
        _link(way[-1], place)
        way.append(place)
    _link(way[cell.row - 1 - way[0].row], cell)


def _link(upper: _Cell, lower: _Cell) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _order(rows: Sequence[list[_Cell]]) -> None:
    """Bring each cell near the middle of its neighbours (Sugiyama et al., 1981)."""

    def sort(row: list[_Cell], neighbours: Callable[[_Cell], list[_Cell]]) -> None:
        for cell in row:
            cell.x = _mean(cell, neighbours(cell))
        row.sort(key=lambda cell: cell.x)
        for i, cell in enumerate(row):
            cell.x = float(i)

    for row in rows:
        for i, cell in enumerate(row):
            cell.x = float(i)
    for _ in range(SWEEPS):
        for row in rows[1:]:
            sort(row, lambda cell: cell.above)
        for row in reversed(rows[:-1]):
            sort(row, lambda cell: cell.below)


def _place(rows: Sequence[list[_Cell]]) -> None:
    """Set each cell's ``x``: near its neighbours, above and below in turn, and not too close."""
    for row in rows:
        _spread(row, [cell.x * (WIDTH + GAP) for cell in row])
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            beside = [cell.above if sweep % 2 else cell.below for cell in row]
            _spread(row, [_mean(cell, others) for cell, others in zip(row, beside, strict=True)])
    left = min(cell.x - cell.width / 2 for row in rows for cell in row)
    for row in rows:
        for cell in row:
            cell.x += GAP - left


def _mean(cell: _Cell, others: Iterable[_Cell]) -> float:
    """Where the others are, or where the cell is if there are none."""
    places = [other.x for other in others] or [cell.x]
    return sum(places) / len(places)


def _spread(row: Sequence[_Cell], wanted: Sequence[float]) -> None:
    """The mean of the two ways to keep distance: pushing to the right, and to the left."""
    if not row:
        return
    steps = [(a.width + b.width) / 2 + GAP for a, b in pairwise(row)]
    right, left = [wanted[0]], [wanted[-1]]
    for place, step in zip(wanted[1:], steps, strict=True):
        right.append(max(place, right[-1] + step))
    for place, step in zip(reversed(wanted[:-1]), reversed(steps), strict=True):
        left.append(min(place, left[-1] - step))
    for cell, a, b in zip(row, right, reversed(left), strict=True):
        cell.x = (a + b) / 2


def _paint(figure: Any, cells: Iterable[_Cell], right: float, rows: int) -> None:
    patches = require("matplotlib.patches", extra="report")
    paths = require("matplotlib.path", extra="report")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, right + GAP), ylim=(rows * (HEIGHT + GAP), -GAP))
    axes.set_axis_off()
    for cell in cells:
        top = cell.row * (HEIGHT + GAP)
        for other in cell.below:
            _line(axes, patches, paths.Path, cell, other)
        if not cell.lines:
            axes.plot([cell.x, cell.x], [top, top + HEIGHT], color=MUTED, linewidth=1)
            continue
        axes.add_patch(
            patches.FancyBboxPatch(
                (cell.x - WIDTH / 2, top),
                WIDTH,
                HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=SHADE if cell.weighted else "white",
                edgecolor=INK,
                linewidth=0.8,
            )
        )
        for i, text in enumerate(cell.lines):
            axes.text(
                cell.x,
                top + HEIGHT * (0.32 + 0.38 * i),
                text,
                ha="center",
                va="center",
                color=INK if i == 0 else MUTED,
                fontsize=8 if i == 0 else 7,
            )


def _line(axes: Any, patches: Any, path: Any, upper: _Cell, lower: _Cell) -> None:
    """A curve from the lower edge of one cell to the upper edge of another."""
    start, end = upper.row * (HEIGHT + GAP) + HEIGHT, lower.row * (HEIGHT + GAP)
    middle = (start + end) / 2
    corners = [(upper.x, start), (upper.x, middle), (lower.x, middle), (lower.x, end)]
    curve = path(corners, [path.MOVETO, *[path.CURVE4] * 3])
    axes.add_patch(
        patches.FancyArrowPatch(
            path=curve,
            arrowstyle="-|>" if lower.lines else "-",
            mutation_scale=7,
            color=MUTED,
            linewidth=1,
        )
    )
