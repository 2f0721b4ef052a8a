"""``lutra train``: a recipe, trained and exported."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from .console import open_console, say
from .frontend.curves import plot
from .frontend.errors import OutputError
from .frontend.onnx.exporter import save
from .frontend.pictures import check_picture
from .frontend.recipe import BUILT_IN, Trained, load_recipe
from .frontend.storage import check_distinct, check_file
from .options import file_option
from .workflow import write_arrays


@click.command(
    help=f"""Train RECIPE and export it to ONNX.

    RECIPE is a Python file that defines `recipe`, or one that comes with Lutra:
    {", ".join(BUILT_IN)}.

    After each epoch a checkpoint is written beside the model; --resume goes on from it.
    """,
    epilog="Example: lutra train digits-cnn -o cnn.onnx --data-out data",
    short_help="Train a recipe and export it to ONNX.",
)
@click.argument("recipe")
@file_option("-o", "--output", metavar="MODEL.onnx", help="The trained network.", required=True)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most passes over the training data, instead of the recipe's own number.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Start of all random numbers; the same seed gives the same weights.",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
@file_option(
    "--data-out",
    metavar="FOLDER",
    help="Also write calibration.npz and test.npz, samples and any labels, there.",
)
@file_option("--curves", metavar="PICTURE", help="Also draw the losses, as .svg or .png.")
@file_option("--history", metavar="CSV", help="Also write the figures of each epoch there.")
def train(
    recipe: str,
    output: Path,
    epochs: int | None,
    seed: int,
    resume: bool,
    data_out: Path | None,
    curves: Path | None,
    history: Path | None,
) -> None:
    """Train a recipe, export it, and say how good it is."""
    console = open_console()
    check_distinct([output, curves, history], [])
    if curves is not None:
        check_picture(curves)
    if history is not None:
        check_file(history)
    trained = train_recipe(
        recipe, output, epochs=epochs, seed=seed, resume=resume, data_out=data_out, console=console
    )
    if curves is not None:
        plot(trained.history, curves)
    if history is not None:
        trained.history.save_csv(history)
    if trained.test_accuracy is not None:
        say(
            console,
            f"accuracy on {len(trained.test.x)} test samples: {trained.test_accuracy:.2%}",
        )
    for remark in trained.remarks:
        say(console, remark)
    for path in (output, data_out, curves, history):
        if path is not None:
            say(console, f"wrote {path}")


def train_recipe(
    name: str,
    output: Path,
    *,
    epochs: int | None,
    seed: int,
    resume: bool,
    data_out: Path | None,
    console: Console,
) -> Trained:
    """Train a recipe and export it; a checkpoint beside the model lets a killed run go on.

    Raises:
        LutraError: there is no such recipe, it fails, or something cannot be written.
    """
    checkpoint = output.with_name(f"{output.name}.checkpoint.npz")
    check_distinct([output, checkpoint], [name])
    check_file(output)
    recipe = load_recipe(name)
    if data_out is not None:
        make_folder(data_out)
    trained = recipe.run(
        epochs=epochs, seed=seed, checkpoint=checkpoint, resume=resume, console=console
    )
    save(trained.graph, output)
    if data_out is not None:
        write_data(data_out, trained)
    return trained


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there, that files can be written to."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror or error}",
            file=str(folder),
            expected="a folder, or a name in a folder that exists",
        ) from None
    check_file(folder / "test.npz")


def write_data(folder: Path, trained: Trained) -> None:
    """Write ``calibration.npz`` and ``test.npz``: samples x and, if there are any, targets y."""
    make_folder(folder)
    for name, data in (("calibration.npz", trained.calibration), ("test.npz", trained.test)):
        write_arrays(folder / name, {"x": data.x} | ({} if data.y is None else {"y": data.y}))
