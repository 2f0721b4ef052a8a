"""``lutra inspect``: what a model holds, and whether we compute what it does."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from . import show, workflow
from .console import open_console, print_json, say
from .frontend.drawing import draw
from .frontend.errors import LutraError, ModelError, ToolchainError, clip
from .frontend.graph import Graph
from .frontend.onnx.check import Check, check
from .frontend.onnx.options import ImportOptions
from .frontend.onnx.read import read_model
from .frontend.pictures import check_picture
from .frontend.storage import check_distinct
from .options import FAILED, PATH, file_option, import_options, json_option
from .quantize.fixed_onnx import is_fixed


@click.command(
    epilog="Example: lutra inspect model.onnx --check", short_help="Show the layers of a model."
)
@click.argument("model", type=PATH)
@file_option("--picture", metavar="FILE", help="Also draw the network, as .svg or .png.")
@click.option(
    "--check",
    "checked",
    is_flag=True,
    help="Also run the file by onnxruntime, the onnx package or qonnx, and compare. "
    "Exit status 1 if results differ or none of them can run it.",
)
@file_option(
    "--data",
    metavar="NPZ",
    help="Samples to compare on, instead of random ones: x, or arrays named as the inputs.",
)
@import_options
@json_option
def inspect(
    model: Path,
    picture: Path | None,
    checked: bool,
    data: Path | None,
    imported: ImportOptions,
    as_json: bool,
) -> int:
    """Show layers, shapes, parameters and multiply-adds of MODEL, or all that it cannot express."""
    if data is not None and not checked:
        raise click.UsageError("--data says what to compare on; give --check too")
    if picture is not None:
        check_distinct([picture], [model, data])
        check_picture(picture)
    graph = workflow.load_network(model, imported)
    if picture is not None:
        draw(graph, picture)
    result: Check | str | None = None
    if checked:
        try:
            result = check_network(model, graph, data, imported)
        except ToolchainError as error:
            result = str(error)
    if as_json:
        print_json(show.network_json(graph) | _check_json(result))
    else:
        _print(graph, result, open_console())
    return 0 if result is None or (isinstance(result, Check) and result.passed) else FAILED


def check_network(
    path: str | Path, graph: Graph, data: Path | None, options: ImportOptions
) -> Check:
    """How a network compares with the file that it was read from, on samples or random inputs.

    Raises:
        ToolchainError: nothing that is installed runs the file.
        LutraError: the file is in fixed point, or the data cannot be read or do not fit.
    """
    body = read_model(path)
    try:
        if is_fixed(body):
            raise ModelError(
                "is in fixed point already",
                expected="a float model",
                remedy="Compare it with its float model by: lutra report",
            )
        feeds = workflow.read_feeds(data, graph) if data is not None else None
        return check(body, graph, str(path), feeds, options)
    except LutraError as error:
        raise error.in_file(str(path)) from None


def _check_json(result: Check | str | None) -> dict[str, object]:
    if result is None:
        return {}
    failed = {"passed": False, "problem": result} if isinstance(result, str) else result.to_dict()
    return {"check": failed}


def _print(graph: Graph, result: Check | str | None, console: Console) -> None:
    console.print(show.layer_table(graph, show.layers(graph)))
    for word, ports in (("input", graph.inputs), ("output", graph.outputs)):
        for port in ports:
            shape = show.shape_text(port.outer_shape)
            inside = (
                "" if port.shape == port.outer_shape else f"; inside {show.shape_text(port.shape)}"
            )
            say(console, f"{word}: {clip(port.name, 40)}, batch x {shape}{inside}")
    for note in graph.notes:
        say(console, f"note: {clip(note, 300)}")
    if isinstance(result, str):
        say(console, f"NOT checked: {result}", "bold red")
    elif result is not None:
        _print_check(result, console)


def _print_check(result: Check, console: Console) -> None:
    console.print(_differences(result))
    for parting in result.partings[: show.MOST_LINES]:
        found = parting.difference
        what = found.problem or f"off by {found.relative:.2g} of its largest value"
        name = clip(found.value, 40)
        say(console, f"parts at {clip(parting.where, 80)}: value '{name}' {what}", "bold red")
    if len(result.partings) > show.MOST_LINES:
        say(console, f"and at {len(result.partings) - show.MOST_LINES} more nodes", "bold red")
    if result.rounding:
        say(console, "every node agrees on equal inputs: the network makes rounding larger")
    if result.passed:
        say(console, f"equal to {result.runner}, but for float rounding", "bold green")
    else:
        say(console, f"NOT equal to {result.runner}", "bold red")


def _differences(result: Check) -> Table:
    table = show.new_table(f"Against {result.runner}, on {result.samples} samples")
    table.add_column("Output", no_wrap=True)
    for column in ("Worst error", "of its largest", "Allowed"):
        table.add_column(column, justify="right")
    table.add_column("")
    for output in result.outputs:
        table.add_row(
            show.shown_name(output.value),
            f"{output.absolute:.2e}",
            f"{output.relative:.2e}",
            f"{output.allowed:.2e}",
            output.problem or ("equal" if output.agrees else "DIFFERS"),
        )
    return table
