"""The command line: arguments in, steps of :mod:`lutra.workflow`, tables or JSON out."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from . import __version__, show, workflow
from .demo import run_demo
from .doctor import diagnose, diagnosis_table
from .frontend.errors import LutraError, clip
from .frontend.storage import check_folder
from .hls_templates.folding import Folding, load_folding
from .hls_templates.project import DEFAULT_CLOCK, DEFAULT_PART, Options
from .quantize.fixed_onnx import load_fixed, save_fixed
from .quantize.precision import Settings, load_settings
from .sim.report import accuracy_report
from .sim.verify import MODEL_FILE, verify_project

INTERRUPTED = 130


class Commands(click.Group):
    """Shows commands in the order in which a user needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=Commands,
    epilog="Start with: lutra demo.  Help on a command: lutra COMMAND --help.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lutra")
def cli() -> None:
    """Neural networks on FPGAs, with every output bit known beforehand."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a check failed, 2 bad use or input, 130 stopped."""
    try:
        status = cli.main(arguments, prog_name="lutra", standalone_mode=False)
    except LutraError as error:
        _complain(str(error))
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped; nothing half-written was left behind")
        sys.exit(INTERRUPTED)
    except MemoryError:
        _complain("not enough memory for this network and these data")
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(text: str) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)


# Arguments that several commands share

existing = click.Path(path_type=Path)
any_path = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
force_option = click.option("--force", is_flag=True, help="Replace a project that exists.")
ap_option = click.option(
    "--ap-include", metavar="FOLDER", help="Folder that holds AMD's ap_fixed.h and ap_int.h."
)
bits_option = click.option(
    "--bits",
    type=click.IntRange(1, 32),
    help="Width of all activations and weights.  [default: 8]",
)
config_option = click.option(
    "--config",
    type=existing,
    metavar="TOML",
    help="Precision file: bits, formats and modes, also for single layers.",
)


def design_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--part``, ``--clock`` and ``--fold``, handed on as one ``options``."""

    @click.option("--part", default=DEFAULT_PART, show_default=True, help="The FPGA.")
    @click.option(
        "--clock", default=DEFAULT_CLOCK, show_default=True, help="Clock period in nanoseconds."
    )
    @click.option(
        "--fold",
        type=existing,
        metavar="TOML",
        help="Folding file: pe and simd of single layers; all others have one multiplier.",
    )
    @functools.wraps(function)
    def wrapper(part: str, clock: float, fold: Path | None, **rest: Any) -> Any:
        folding = load_folding(fold) if fold else Folding()
        return function(options=Options(part, clock, folding), **rest)

    return wrapper


def _console(as_json: bool = False) -> Console:
    """Where people read: standard output, or standard error where that belongs to JSON."""
    return Console(stderr=as_json, highlight=False, soft_wrap=False)


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=2, allow_nan=False))


def _settings(bits: int | None, config: Path | None) -> Settings:
    if bits is not None and config is not None:
        raise click.UsageError("--bits and --config exclude each other; put bits into the file")
    if config is not None:
        return load_settings(config)
    return Settings.uniform(bits) if bits is not None else Settings()


@cli.command(epilog="Example: lutra demo -o demo-out")
@click.option("-o", "--output", type=any_path, default="demo-out", show_default=True)
@click.option("--recipe", default="digits-cnn", show_default=True, help="What is trained.")
@ap_option
def demo(output: Path, recipe: str, ap_include: str | None) -> int:
    """The whole way once: train on handwritten digits, quantise, generate, verify, report.

    Everything is written to the folder OUTPUT; what an earlier demo left there is replaced.
    """
    return run_demo(output, recipe, ap_include, _console())


@cli.command(epilog="Example: lutra train digits-cnn -o cnn.onnx --data-out data")
@click.argument("recipe")
@click.option("-o", "--output", type=any_path, required=True, metavar="MODEL.onnx")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's own number.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
@click.option(
    "--data-out",
    type=any_path,
    metavar="FOLDER",
    help="Also write calibration.npz (training samples) and test.npz there.",
)
def train(
    recipe: str, output: Path, epochs: int | None, seed: int, resume: bool, data_out: Path | None
) -> None:
    """Train RECIPE and export it to ONNX.

    RECIPE is a built-in one (digits-mlp, digits-cnn) or a Python file that defines `recipe`.
    After each epoch a checkpoint is written beside the model; --resume goes on from it.
    """
    console = _console()
    trained = workflow.train_recipe(
        recipe,
        output,
        epochs=epochs,
        seed=seed,
        resume=resume,
        data_out=data_out,
        console=console,
    )
    if trained.test_accuracy is not None:
        console.print(f"test accuracy {trained.test_accuracy:.2%}")
    console.print(f"wrote {output}", markup=False)


@cli.command(epilog="Example: lutra inspect model.onnx")
@click.argument("model", type=existing)
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show layers, shapes, parameters and multiply-adds of MODEL, or all that it cannot express."""
    graph = workflow.load_network(model)
    rows = show.layers(graph)
    if as_json:
        _print_json(
            {
                "name": graph.name,
                "inputs": [_port_json(p.name, p.outer_shape) for p in graph.inputs],
                "outputs": [_port_json(p.name, p.outer_shape) for p in graph.outputs],
                "layers": rows,
                "parameters": sum(row["parameters"] for row in rows),
                "multiply_adds": sum(row["multiply_adds"] for row in rows),
            }
        )
        return
    console = _console()
    console.print(show.layer_table(graph, rows))
    for word, ports in (("input", graph.inputs), ("output", graph.outputs)):
        for port in ports:
            shape = show.shape_text(port.outer_shape)
            console.print(f"{word}: {clip(port.name, 40)}, batch x {shape}", markup=False)


def _port_json(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "shape": list(shape)}


@cli.command(
    epilog="Example: lutra quantize model.onnx -o fixed.onnx --data calibration.npz --bits 8"
)
@click.argument("model", type=existing)
@click.option("-o", "--output", type=any_path, required=True, metavar="FIXED.onnx")
@click.option(
    "--data",
    type=existing,
    required=True,
    metavar="NPZ",
    help="Calibration samples: the array x of a .npz file, or a .npy file.",
)
@bits_option
@config_option
@json_option
def quantize(
    model: Path,
    output: Path,
    data: Path,
    bits: int | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Bring MODEL to fixed point, with formats chosen from the values that it has on DATA."""
    settings = _settings(bits, config)
    graph = workflow.load_network(model)
    fixed = workflow.quantise(graph, settings, workflow.read_samples(data, graph))
    save_fixed(fixed, output)
    rows = show.formats(fixed)
    if as_json:
        _print_json({"output": str(output), "layers": rows})
        return
    console = _console()
    console.print(show.format_table(rows))
    console.print(f"wrote {output}", markup=False)


@cli.command(epilog="Example: lutra simulate fixed.onnx --input x.npy -o y.npy")
@click.argument("fixed", type=existing)
@click.option("--input", "source", type=existing, required=True, metavar="NPY", help="Samples.")
@click.option("-o", "--output", type=any_path, required=True, metavar="NPY", help="Results.")
@click.option("--raw", is_flag=True, help="Read and write raw integers instead of floats.")
@click.option(
    "--keep",
    type=any_path,
    metavar="NPZ",
    help="Also write every intermediate, as raw integers, channels last.",
)
def simulate(fixed: Path, source: Path, output: Path, raw: bool, keep: Path | None) -> None:
    """Run FIXED on samples, bit for bit as the hardware will."""
    shape = workflow.simulate_file(load_fixed(fixed), source, output, raw=raw, keep=keep)
    _console().print(f"wrote {output}: {show.shape_text(shape)}", markup=False)


@cli.command(epilog="Example: lutra generate fixed.onnx -o project --fold fold.toml")
@click.argument("fixed", type=existing)
@click.option("-o", "--output", type=any_path, required=True, metavar="PROJECT")
@design_options
@click.option(
    "--data", type=existing, metavar="NPZ", help="Samples for the golden vectors of the test bench."
)
@force_option
def generate(fixed: Path, output: Path, options: Options, data: Path | None, force: bool) -> None:
    """Write a Vitis HLS project for FIXED."""
    check_folder(output, force=force)
    model = load_fixed(fixed)
    samples = workflow.read_samples(data, model.source).x if data else None
    workflow.write_project(model, output, options, samples, force=force)
    console = _console()
    console.print(f"wrote {output}: next, lutra verify {output}", markup=False)


@cli.command(epilog="Example: lutra verify project --data test.npz")
@click.argument("project", type=existing)
@click.option(
    "--data", type=existing, metavar="NPZ", help="Samples; by default the project's own vectors."
)
@ap_option
@json_option
def verify(project: Path, data: Path | None, ap_include: str | None, as_json: bool) -> int:
    """Compile PROJECT with g++ and compare it with the simulator, bit for bit, and with float."""
    console = _console(as_json)
    x = None
    if data is not None:
        x = workflow.read_samples(data, load_fixed(project / MODEL_FILE).source).x
    with workflow.counting(console, "C simulation") as progress:
        result = verify_project(project, x=x, ap_include=ap_include, progress=progress)
    if as_json:
        _print_json(result.to_dict())
    else:
        for line in show.verification_text(result):
            console.print(line)
    return 0 if result.passed else 1


@cli.command(epilog="Example: lutra report model.onnx fixed.onnx --data test.npz -o report.html")
@click.argument("model", type=existing)
@click.argument("fixed", type=existing)
@click.option("--data", type=existing, required=True, metavar="NPZ", help="Samples x and labels y.")
@click.option("-o", "--output", type=any_path, metavar="HTML", help="A page with pictures.")
@json_option
def report(model: Path, fixed: Path, data: Path, output: Path | None, as_json: bool) -> None:
    """Show how far FIXED is from MODEL: accuracy, and error, range and overflow of each layer."""
    fixed_model = load_fixed(fixed)
    graph = workflow.load_network(model)
    workflow.require_same(graph, fixed_model, model, fixed)
    samples = workflow.read_samples(data, graph)
    result = accuracy_report(graph, fixed_model.fixed, samples.x, samples.y)
    if as_json:
        _print_json(result.to_dict())
    workflow.publish(result, output, _console(as_json))


@cli.command(
    epilog="Example: lutra build model.onnx -o project --data calibration.npz --test test.npz"
)
@click.argument("model", type=existing)
@click.option("-o", "--output", type=any_path, required=True, metavar="PROJECT")
@click.option("--data", type=existing, required=True, metavar="NPZ", help="Calibration samples.")
@click.option("--test", type=existing, metavar="NPZ", help="Test samples, for verify and report.")
@bits_option
@config_option
@design_options
@force_option
@ap_option
def build(
    model: Path,
    output: Path,
    data: Path,
    test: Path | None,
    bits: int | None,
    config: Path | None,
    options: Options,
    force: bool,
    ap_include: str | None,
) -> int:
    """Quantise MODEL, generate PROJECT, verify it, and report, in one go."""
    check_folder(output, force=force)
    settings = _settings(bits, config)
    graph = workflow.load_network(model)
    calibration = workflow.read_samples(data, graph)
    tests = workflow.read_samples(test, graph) if test else calibration
    console = _console()
    fixed = workflow.quantise(graph, settings, calibration)
    console.print(show.format_table(show.formats(fixed)))
    return workflow.finish_project(
        fixed,
        output,
        options,
        tests,
        force=force,
        ap_include=ap_include,
        console=console,
    )


@cli.command(epilog="Example: lutra doctor")
@json_option
@ap_option
def doctor(as_json: bool, ap_include: str | None) -> None:
    """Show what is installed, and what each missing part would add."""
    parts = diagnose(ap_include)
    if as_json:
        _print_json([part.to_dict() for part in parts])
        return
    _console().print(diagnosis_table(parts))
