"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .frontend.errors import clip
from .frontend.onnx.options import ImportOptions
from .hls_templates.bus import INTERFACES
from .hls_templates.folding import Folding, load_folding
from .hls_templates.hardware.goal import DEFAULT_USE, Goal, read_share
from .hls_templates.project import DEFAULT_CLOCK, DEFAULT_PART, Options
from .quantize.precision import Settings, load_settings

Command = Callable[..., Any]

FAILED = 1
"""Exit status: a check failed, or could not be made."""

PATH = click.Path(path_type=Path, readable=False)
"""A path; whether it is what it should be is checked where it is used, with a better message."""


def file_option(*names: str, metavar: str, help: str, required: bool = False) -> Callable[..., Any]:
    """An option that is a path."""
    return click.option(*names, type=PATH, metavar=metavar, help=help, required=required)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
timed_option = click.option(
    "--timed",
    is_flag=True,
    help="Also run it with a clock for each process, and compare with what is estimated.",
)
force_option = click.option(
    "--force", is_flag=True, help="Replace a project of Lutra's that stands at PROJECT."
)
project_option = file_option(
    "-o", "--output", metavar="PROJECT", help="Folder of the project.", required=True
)
ap_option = click.option(
    "--ap-include",
    metavar="FOLDER",
    help="Folder of AMD's ap_fixed.h and ap_int.h; found by itself if left out.",
)


def precision_options(function: Command) -> Command:
    """``--bits`` and ``--config``, handed on as one ``settings``."""

    @click.option(
        "--bits",
        type=click.IntRange(1, 32),
        metavar="N",
        help="Bits of all activations and weights, 1 to 32.  [default: 8]",
    )
    @file_option(
        "--config",
        metavar="TOML",
        help="Precision file: bits, formats and modes, also for single layers.",
    )
    @functools.wraps(function)
    def wrapper(bits: int | None, config: Path | None, **rest: Any) -> Any:
        if bits is not None and config is not None:
            raise click.UsageError("--bits and --config exclude each other; put bits in the file")
        if config is not None:
            settings = load_settings(config)
        else:
            settings = Settings() if bits is None else Settings.uniform(bits)
        return function(settings=settings, **rest)

    decorated: Command = wrapper
    return decorated


def import_options(function: Command) -> Command:
    """``--shape`` and ``--take``, handed on as one ``imported``."""

    @click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="NAME=N",
        help="Size of a dimension that MODEL leaves open; again for another one.",
    )
    @click.option(
        "--take",
        "outputs",
        multiple=True,
        metavar="VALUE",
        help="A value of MODEL to end at, instead of all its outputs; again for another one.",
    )
    @functools.wraps(function)
    def wrapper(shapes: tuple[str, ...], outputs: tuple[str, ...], **rest: Any) -> Any:
        sizes: dict[str, int] = {}
        for text in shapes:
            name, _, size = text.rpartition("=")
            if not name or not size.isascii() or not size.isdigit() or len(size) > 9:
                raise click.UsageError(f"--shape takes NAME=N, such as time=8; not '{clip(text)}'")
            if name in sizes:
                raise click.UsageError(f"--shape gives '{clip(name)}' twice")
            sizes[name] = int(size)
        return function(imported=ImportOptions(sizes, outputs), **rest)

    decorated: Command = wrapper
    return decorated


def design_options(function: Command) -> Command:
    """``--part``, ``--clock``, ``--fold``, ``--parallel``, ``--interface`` and ``--bus``, handed on
    as one ``options``."""

    @click.option(
        "--part",
        default=DEFAULT_PART,
        show_default=True,
        metavar="NAME",
        help="The FPGA: a part number, or a board such as KV260; see 'lutra parts'.",
    )
    @click.option(
        "--clock",
        type=float,
        default=DEFAULT_CLOCK,
        show_default=True,
        metavar="NS",
        help="Clock period in nanoseconds.",
    )
    @file_option(
        "--fold",
        metavar="TOML",
        help="Folding file: pe and simd of single layers; the others have one multiplier.",
    )
    @click.option(
        "--parallel",
        is_flag=True,
        help="Make one function of the whole network that takes a frame a cycle, for triggers.",
    )
    @click.option(
        "--interface",
        type=click.Choice(INTERFACES),
        default="stream",
        show_default=True,
        help="Ports: FIFOs, AXI4-Stream, or a Vitis kernel that reads and writes memory.",
    )
    @click.option(
        "--bus",
        "bus_bits",
        type=int,
        metavar="BITS",
        help="Width of the bus of axis (a multiple of 8) or m_axi (32 to 512).  "
        "[default: 64; m_axi: 512]",
    )
    @functools.wraps(function)
    def wrapper(
        part: str,
        clock: float,
        fold: Path | None,
        parallel: bool,
        interface: str,
        bus_bits: int | None,
        **rest: Any,
    ) -> Any:
        folding = load_folding(fold) if fold else Folding()
        options = Options(part, clock, folding, interface, bus_bits, parallel)
        return function(options=options, **rest)

    decorated: Command = wrapper
    return decorated


def goal_options(function: Command) -> Command:
    """``--fps``, ``--latency`` and ``--use``, handed on as one ``goal``, None if none of them is
    given.  Stands below :func:`design_options`."""

    @click.option(
        "--fps",
        type=float,
        metavar="N",
        help="Choose the cheapest folding with so many frames a second.",
    )
    @click.option(
        "--latency",
        type=float,
        metavar="US",
        help="Choose the cheapest folding with at most so many microseconds of latency.",
    )
    @click.option(
        "--use",
        metavar="PERCENT",
        help=f"How much of the FPGA a chosen folding may take, {DEFAULT_USE:.0%} if left out.  "
        "Without --fps and --latency the fastest is chosen that fits.",
    )
    @functools.wraps(function)
    def wrapper(
        fps: float | None,
        latency: float | None,
        use: str | None,
        options: Options,
        **rest: Any,
    ) -> Any:
        wishes = {"--fps": fps, "--latency": latency, "--use": use}
        given = [name for name, wish in wishes.items() if wish is not None]
        if given and options.folding.file is not None:
            raise click.UsageError(f"{given[0]} asks for a folding, and --fold gives one")
        if given and options.parallel:
            raise click.UsageError(f"{given[0]} asks for a folding, and --parallel leaves none")
        share = DEFAULT_USE if use is None else read_share(use)
        goal = Goal(fps, latency, share) if given else None
        return function(options=options, goal=goal, **rest)

    decorated: Command = wrapper
    return decorated
