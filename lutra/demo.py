"""``lutra demo``: the whole way once, on a recipe's real data."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from . import show, workflow
from .console import open_console, say
from .frontend.errors import OutputError
from .frontend.onnx.exporter import save
from .frontend.recipe import load_recipe
from .hls_templates.project import Options
from .options import ap_option, file_option
from .quantize.fixed_onnx import save_fixed
from .quantize.precision import Settings
from .sim.toolchain import find_compiler, find_headers
from .training import write_data

MARK = "lutra-demo.txt"
"""A file that says that a folder is a demo's, so that the next one may replace what is in it."""


@click.command(
    epilog="Example: lutra demo -o demo-out", short_help="The whole way once, on real digits."
)
@file_option("-o", "--output", metavar="FOLDER", help="Where everything goes.  [default: demo-out]")
@click.option(
    "--recipe", default="digits-cnn", show_default=True, help="What to train; see lutra train."
)
@ap_option
def demo(output: Path | None, recipe: str, ap_include: str | None) -> int:
    """The whole way once: train on handwritten digits, quantise, generate, verify, report.

    What an earlier demo left in FOLDER is replaced; any other folder is left alone.
    """
    return run_demo(output or Path("demo-out"), recipe, ap_include, open_console())


def run_demo(output: Path, recipe_name: str, ap_include: str | None, console: Console) -> int:
    """Train, quantise, generate, verify and report into the folder ``output``.

    Returns:
        The exit status: 1 if the verification found a mismatch.

    Raises:
        LutraError: something is missing or cannot be written; found out before the training.
    """
    started = time.monotonic()
    find_compiler()
    find_headers(ap_include)
    recipe = load_recipe(recipe_name)
    recipe.load()  # says now what is missing
    _prepare(output)

    console.rule("1  train", align="left")
    say(console, f"{recipe.name}: {recipe.description}")
    with tempfile.TemporaryDirectory(prefix="lutra-demo-") as folder:
        trained = recipe.run(checkpoint=Path(folder) / "checkpoint.npz", console=console)
    write_data(output, trained)
    if trained.test_accuracy is not None:
        count = len(trained.test.x)
        say(console, f"accuracy on {count} test images, in float: {trained.test_accuracy:.2%}")
    for remark in trained.remarks:
        say(console, remark)

    console.rule("2  export to ONNX", align="left")
    save(trained.graph, output / "model.onnx")
    graph = workflow.load_network(output / "model.onnx")
    console.print(show.layer_table(graph, show.layers(graph)))

    console.rule("3  quantise to 8 bits", align="left")
    calibration = workflow.read_samples(output / "calibration.npz", graph)
    model = workflow.quantise(graph, Settings(), calibration.x, console)
    save_fixed(model, output / "fixed.onnx")
    console.print(show.format_table(show.formats(model)))

    tests = workflow.read_samples(output / "test.npz", graph, labels=True)
    verification, _ = workflow.finish_project(
        model,
        output / "project",
        Options(),
        tests,
        force=True,
        ap_include=ap_include,
        console=console,
        first_step=4,
    )
    console.rule(align="left")
    say(console, f"{time.monotonic() - started:.0f} s in all; everything is in {output}:")
    for name, what in (
        ("model.onnx", "the trained network"),
        ("fixed.onnx", "the same in fixed point"),
        ("project/", "the Vitis HLS project, with a README.md of its own"),
        ("project/report.html", "accuracy and formats, with pictures"),
        ("calibration.npz, test.npz", "the data, to try the other commands on"),
    ):
        say(console, f"  {name:<26}{what}")
    return 0 if verification.passed else 1


def _prepare(output: Path) -> None:
    """Make the folder; one that is not a demo's is left alone."""
    if output.exists() and not output.is_dir():
        raise OutputError("is not a folder", file=str(output), expected="a folder for the demo")
    if output.is_dir() and any(output.iterdir()) and not (output / MARK).is_file():
        raise OutputError(
            "exists and is not an earlier demo's folder",
            file=str(output),
            remedy="Choose another folder with -o",
        )
    try:
        output.mkdir(exist_ok=True)
        (output / MARK).write_text("This folder belongs to lutra demo, which replaces its files.\n")
    except OSError as error:
        raise OutputError("cannot be written to", file=str(output), found=error.strerror) from None
