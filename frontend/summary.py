"""A model as a table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import ops
from .cost import multiply_adds
from .layers.base import State
from .model import Model
from .ops import Shape
from .tensor import Variable


@dataclass(frozen=True)
class Row:
    """One layer of a model.

    Attributes:
        name: in the model.
        kind: the layer's class.
        numbered: whether the name is the kind's and a number, and not one of its own.
        shape: of its output, without the batch axis.
        trained: values that training changes by their gradient.
        state: values that it changes in another way, such as running statistics.
        multiply_adds: a sample.
        inputs: names of what it reads; empty if that is the row before alone.
    """

    name: str
    kind: str
    numbered: bool
    shape: Shape
    trained: int
    state: int
    multiply_adds: int
    inputs: tuple[str, ...]


def rows(model: Model) -> tuple[Row, ...]:
    """The model layer by layer."""
    names = ("input", *(stage.name for stage in model.stages))
    shapes = (model.input_shape, *(stage.shape for stage in model.stages))
    found = []
    for i, stage in enumerate(model.stages):
        reads = [shapes[n] for n in stage.inputs] + [weight.shape for weight in stage.weights]
        work = 0
        if not isinstance(stage.op, ops.Dropout):
            work = multiply_adds(stage.op, reads, stage.shape)
        found.append(
            Row(
                stage.name,
                type(stage.layer).__name__,
                stage.name.rpartition(".")[2].rstrip("0123456789") == stage.layer.prefix,
                stage.shape,
                sum(w.data.size for w in stage.weights if isinstance(w, Variable)),
                sum(w.data.size for w in stage.weights if isinstance(w, State)),
                work,
                () if stage.inputs == (i,) else tuple(names[n] for n in stage.inputs),
            )
        )
    return tuple(found)


def print_summary(model: Model, console: Console) -> None:
    """Print the model layer by layer, in the width of the console.

    Layers within a composite stand below its name; what they read from within it is told by a
    point before the name.
    """
    found = rows(model)
    branched = any(row.inputs for row in found)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("Layer", no_wrap=True)
    table.add_column("Output", no_wrap=True)
    table.add_column("Parameters", justify="right", no_wrap=True)
    table.add_column("Multiply-adds", justify="right", no_wrap=True)
    if branched:
        table.add_column("Reads", overflow="fold")
    table.add_row("input", _text(model.input_shape))
    scope: list[str] = []
    for row in found:
        *path, name = row.name.split(".")
        pairs = zip(scope, path, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        for depth in range(common, len(path)):
            table.add_row(Text("  " * depth + path[depth]))
        scope = path
        title = "  " * len(path) + name + ("" if row.numbered else f": {row.kind}")
        counts = (row.trained + row.state, row.multiply_adds)
        reads = [_seen_from(path, source) for source in row.inputs]
        table.add_row(
            Text(title),
            _text(row.shape),
            *(f"{number:,}" if number else "" for number in counts),
            *([Text(", ".join(reads))] if branched else []),
        )
    table.add_section()
    trained, state = sum(row.trained for row in found), sum(row.state for row in found)
    work = sum(row.multiply_adds for row in found)
    table.add_row("total", "", f"{trained + state:,}", f"{work:,}")
    console.print(table)
    if state:
        console.print(Text(f"{trained:,} parameters are trained, {state:,} are running statistics"))


def _seen_from(path: list[str], name: str) -> str:
    """A layer's name, shortened to what follows the path if it is below it."""
    inside = "".join(f"{part}." for part in path)
    return f".{name.removeprefix(inside)}" if path and name.startswith(inside) else name


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "scalar"
