"""The command line: arguments in, steps of :mod:`lutra.workflow`, tables or JSON out."""

from __future__ import annotations

import difflib
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from . import show, workflow
from .console import (
    UnreadError,
    abandon_output,
    counting,
    open_console,
    prepare_streams,
    print_json,
    say,
    tracking,
)
from .frontend.errors import LutraError, clip
from .frontend.onnx.options import ImportOptions
from .frontend.storage import check_distinct, check_file, check_folder
from .hls_templates.hardware.goal import Goal
from .hls_templates.project import Options
from .options import (
    FAILED,
    PATH,
    ap_option,
    design_options,
    file_option,
    force_option,
    goal_options,
    import_options,
    json_option,
    precision_options,
    project_option,
    timed_option,
)
from .parts_list import list_parts, print_parts
from .quantize.fixed import FixedGraph
from .quantize.fixed_onnx import load_fixed, save_fixed
from .quantize.precision import Settings
from .sim.report import accuracy_report
from .sim.verify import project_model, verify_project
from .timing import print_timing, time_project

BAD, INTERRUPTED, UNREAD = 2, 130, 141
"""Exit statuses: bad use or input; Ctrl-C; nobody reads the output any more."""


class Later(click.Command):
    """A command whose module is loaded when it is asked for: others then start sooner."""

    def __init__(self, name: str, module: str, attribute: str) -> None:
        super().__init__(name)
        self._where = module, attribute

    def load(self) -> click.Command:
        """The command itself."""
        module, attribute = self._where
        command = getattr(importlib.import_module(module, __package__), attribute)
        assert isinstance(command, click.Command)
        return command


class Commands(click.Group):
    """Shows commands in the order in which a user needs them, and knows what was meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, Later):
            command = self.commands[cmd_name] = command.load()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], self.commands, 1)
        if args[0] not in self.commands and near and not args[0].startswith("-"):
            ctx.fail(f"No such command '{clip(args[0])}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    epilog="Start with: lutra demo.  Help on a command: lutra COMMAND --help.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="lutra", prog_name="lutra")
def cli() -> None:
    """Neural networks on FPGAs, with every output bit known beforehand."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a check failed, 2 bad use or input, 130 stopped."""
    prepare_streams()
    try:
        result = cli.main(arguments, prog_name="lutra", standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except LutraError as error:
        status = _complain(str(error))
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = _complain("stopped; nothing half-written was left behind", INTERRUPTED)
    except MemoryError:
        status = _complain("not enough memory for this network and these data")
    except UnreadError:
        abandon_output()
        status = UNREAD
    except OSError as error:
        abandon_output()
        where = f"{clip(str(error.filename), 200)}: " if error.filename else ""
        status = _complain(f"{where}the system reports: {error.strerror or error}")
    sys.exit(status)


def _complain(text: str, status: int = BAD) -> int:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)
    return status


cli.add_command(Later("demo", ".demo", "demo"))
cli.add_command(Later("train", ".training", "train"))
cli.add_command(Later("inspect", ".inspection", "inspect"))


@cli.command(
    epilog="Example: lutra quantize model.onnx -o fixed.onnx --data calibration.npz",
    short_help="Bring a model to fixed point.",
)
@click.argument("model", type=PATH)
@file_option(
    "-o", "--output", metavar="FIXED.onnx", help="The network in fixed point.", required=True
)
@file_option(
    "--data",
    metavar="NPZ",
    help="Calibration samples: the array x of a .npz file, or a .npy file.",
    required=True,
)
@import_options
@precision_options
@json_option
def quantize(
    model: Path,
    output: Path,
    data: Path,
    imported: ImportOptions,
    settings: Settings,
    as_json: bool,
) -> None:
    """Bring MODEL to fixed point, with formats chosen from the values that it has on DATA."""
    check_distinct([output], [model, data])
    check_file(output)
    graph = workflow.load_single(model, imported)
    console = open_console(as_json=as_json)
    samples = workflow.read_samples(data, graph).x
    fixed = workflow.quantise(graph, settings, samples, console)
    save_fixed(fixed, output)
    rows = show.formats(fixed)
    if as_json:
        extra = {"inexact": dict(fixed.fixed.inexact)} if fixed.fixed.inexact else {}
        print_json({"output": str(output), "layers": rows, **extra})
        return
    console.print(show.format_table(rows))
    for line in show.inexact(fixed.fixed):
        say(console, line)
    say(console, f"wrote {output}")


@cli.command(
    epilog="Example: lutra simulate fixed.onnx --input x.npy -o y.npy",
    short_help="Run a fixed-point model, bit for bit as the hardware will.",
)
@click.argument("fixed", type=PATH)
@file_option(
    "--input", "source", metavar="NPY", help="Samples: a .npy or .npz file.", required=True
)
@file_option("-o", "--output", metavar="NPY", help="Results: a .npy file.", required=True)
@click.option("--raw", is_flag=True, help="Read and write raw integers instead of floats.")
@file_option(
    "--keep",
    metavar="NPZ",
    help="Also write every intermediate, as raw integers, channels last.",
)
def simulate(fixed: Path, source: Path, output: Path, raw: bool, keep: Path | None) -> None:
    """Run FIXED on samples, bit for bit as the hardware will."""
    check_distinct([output, keep], [fixed, source])
    for path in (output, *((keep,) if keep else ())):
        check_file(path)
    shape = workflow.simulate_file(load_fixed(fixed), source, output, raw=raw, keep=keep)
    console = open_console()
    say(console, f"wrote {output}: {show.shape_text(shape)}")
    if keep:
        say(console, f"wrote {keep}")


@cli.command(
    epilog="Example: lutra generate fixed.onnx -o project --part KV260 --fps 10000",
    short_help="Write a Vitis HLS project.",
)
@click.argument("fixed", type=PATH)
@project_option
@design_options
@goal_options
@file_option(
    "--data",
    metavar="NPZ",
    help="Samples for the test bench's golden vectors; random ones if left out.",
)
@force_option
def generate(
    fixed: Path,
    output: Path,
    options: Options,
    goal: Goal | None,
    data: Path | None,
    force: bool,
) -> None:
    """Write a Vitis HLS project for FIXED."""
    check_folder(output, force=force)
    model = load_fixed(fixed)
    samples = workflow.read_samples(data, model.source).x if data else None
    options = _folded(model.fixed, options, goal)
    workflow.write_project(model, output, options, samples, force=force)
    say(open_console(), f"wrote {output}; check it with: lutra verify {output}")


def _folded(graph: FixedGraph, options: Options, goal: Goal | None) -> Options:
    """The options, with the folding that reaches the goal if there is one."""
    if goal is None:
        return options
    from .estimation import settle  # only then is a search loaded

    return replace(options, folding=settle(graph, options, goal).folding)


cli.add_command(Later("estimate", ".estimation", "estimate_command"))


@cli.command(
    epilog="Example: lutra verify project --data test.npz",
    short_help="Prove a project bit for bit: C simulation against the simulator.",
)
@click.argument("project", type=PATH)
@file_option("--data", metavar="NPZ", help="Samples; the project's own vectors if left out.")
@timed_option
@ap_option
@json_option
def verify(
    project: Path, data: Path | None, timed: bool, ap_include: str | None, as_json: bool
) -> int:
    """Compile PROJECT with g++ and compare it with the simulator, bit for bit, and with float."""
    console = open_console(as_json=as_json)
    x = None
    if data is not None:
        x = workflow.read_samples(data, project_model(project).source).x
    with counting(console, *workflow.VERIFYING) as progress:
        result = verify_project(project, x=x, ap_include=ap_include, progress=progress)
    timing = time_project(project, ap_include) if timed else None
    if as_json:
        print_json(result.to_dict() | ({"timed": timing.to_dict()} if timing else {}))
    else:
        show.print_verification(result, console)
        if timing:
            print_timing(timing, console)
    return 0 if result.passed and (timing is None or timing.passed) else FAILED


@cli.command(
    epilog="Example: lutra report model.onnx fixed.onnx --data test.npz -o report.html",
    short_help="Show how far fixed point is from float, layer by layer.",
)
@click.argument("model", type=PATH)
@click.argument("fixed", type=PATH)
@file_option("--data", metavar="NPZ", help="Samples x and, if any, labels y.", required=True)
@file_option("-o", "--output", metavar="HTML", help="Also write a page with pictures.")
@import_options
@json_option
def report(
    model: Path,
    fixed: Path,
    data: Path,
    output: Path | None,
    imported: ImportOptions,
    as_json: bool,
) -> None:
    """Show how far FIXED is from MODEL: accuracy, and error, range and overflow of each layer."""
    check_distinct([output], [model, fixed, data])
    if output is not None:
        workflow.check_page(output)
    fixed_model = load_fixed(fixed)
    graph = workflow.load_single(model, imported)
    workflow.require_same(graph, fixed_model, model, fixed)
    samples = workflow.read_samples(data, graph, labels=True)
    console = open_console(as_json=as_json)
    track = tracking(console, "comparing with float")
    result = accuracy_report(graph, fixed_model.fixed, samples.x, samples.y, track=track)
    workflow.publish(result, output, console, tables=not as_json)
    if as_json:
        print_json(result.to_dict())


@cli.command(
    epilog="Example: lutra build model.onnx -o project --data train.npz --test test.npz",
    short_help="Quantise, generate, verify and report in one go.",
)
@click.argument("model", type=PATH)
@project_option
@file_option("--data", metavar="NPZ", help="Calibration samples.", required=True)
@file_option(
    "--test",
    metavar="NPZ",
    help="Samples, and labels if any, to verify and report on; DATA if left out.",
)
@import_options
@precision_options
@design_options
@goal_options
@force_option
@ap_option
@json_option
def build(
    model: Path,
    output: Path,
    data: Path,
    test: Path | None,
    imported: ImportOptions,
    settings: Settings,
    options: Options,
    goal: Goal | None,
    force: bool,
    ap_include: str | None,
    as_json: bool,
) -> int:
    """Quantise MODEL, generate PROJECT, verify it, and report, in one go."""
    check_folder(output, force=force)
    graph = workflow.load_single(model, imported)
    calibration = workflow.read_samples(data, graph, labels=test is None)
    tests = workflow.read_samples(test, graph, labels=True) if test else calibration
    console = open_console(as_json=as_json)
    fixed = workflow.quantise(graph, settings, calibration.x, console)
    rows = show.formats(fixed)
    console.print(show.format_table(rows))
    options = _folded(fixed.fixed, options, goal)
    verification, accuracy = workflow.finish_project(
        fixed, output, options, tests, force=force, ap_include=ap_include, console=console
    )
    if as_json:
        print_json(
            {
                "project": str(output),
                "layers": rows,
                "verification": verification.to_dict(),
                "report": accuracy.to_dict(),
            }
        )
    return 0 if verification.passed else FAILED


cli.add_command(Later("synth", ".synthesis", "synth"))


@cli.command(
    epilog="Example: lutra parts kria",
    short_help="List the FPGAs and boards that --part takes.",
)
@click.argument("text", default="", metavar="[TEXT]")
@json_option
def parts(text: str, as_json: bool) -> None:
    """List the FPGAs that --part takes, with what they have and the boards that they are on.

    TEXT is a part of a number, a family or a board; without it all are listed.
    """
    rows = list_parts(text)
    if as_json:
        print_json(rows)
    else:
        print_parts(rows, open_console())


cli.add_command(Later("doctor", ".doctor", "doctor"))
