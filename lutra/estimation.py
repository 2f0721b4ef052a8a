"""``lutra estimate``: what a design does and takes, before any vendor tool has seen it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from . import show
from .console import open_console, print_json, say
from .frontend.errors import LutraError, ModelError, clip
from .frontend.graph import expect_single
from .frontend.onnx.importer import from_onnx
from .frontend.onnx.read import read_model
from .frontend.storage import check_distinct, check_file, write_file
from .hls_templates.folding import Folding
from .hls_templates.hardware.estimate import Estimate, LayerEstimate, estimate, total
from .hls_templates.hardware.figures import KINDS, NAMES, Figure, Resources, time_text
from .hls_templates.hardware.fold_file import fold_file
from .hls_templates.hardware.goal import Goal
from .hls_templates.plan import Plan
from .hls_templates.project import Options, planned
from .options import PATH, design_options, file_option, goal_options, json_option
from .quantize.calibrate import UnsettledError, calibrate
from .quantize.fixed import FixedGraph
from .quantize.fixed_onnx import from_fixed_onnx, is_fixed
from .quantize.lower import lower
from .quantize.precision import Settings

HEADINGS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM", "uram": "URAM"}
"""Of the kinds of resources; block RAMs in units of 18 Kbit."""

NAME_WIDTH, WIDE_NAME = 16, 27
"""Columns of a layer's name, beside many figures, and of a process's or stream's."""


@click.command(
    "estimate",
    epilog="Example: lutra estimate fixed.onnx --part KV260 --fps 30000 -o fold.toml",
    short_help="Cycles, FIFO depths and resources, and a folding that reaches a target.",
)
@click.argument("fixed", type=PATH)
@design_options
@goal_options
@file_option(
    "-o",
    "--save-fold",
    "saved",
    metavar="TOML",
    help="Also write the folding there; edit it and give it to --fold.",
)
@click.option("--ranges", is_flag=True, help="Also show between which bounds each figure lies.")
@click.option("--fifos", is_flag=True, help="Also show the FIFO between each two processes.")
@click.option("--processes", is_flag=True, help="Also show each process, and what it waits for.")
@json_option
def estimate_command(
    fixed: Path,
    options: Options,
    goal: Goal | None,
    saved: Path | None,
    ranges: bool,
    fifos: bool,
    processes: bool,
    as_json: bool,
) -> None:
    """Estimate cycles, FIFO depths and resources of FIXED, layer by layer, on a part.

    FIXED may also be a model that is quantised already and says all of its formats itself.  With
    --fps, --latency or --use a folding is chosen that reaches the target.
    """
    if saved is not None:
        check_distinct([saved], [fixed])
        check_file(saved)
    graph = read_design(fixed)
    found = settle(graph, options, goal)
    if saved is not None:
        write_file(saved, fold_file(found))
    if as_json:
        print_json(found.to_dict() | {"folding": found.folding_dict()})
        return
    console = open_console()
    print_estimate(found, console)
    if ranges:
        console.print(range_table(found))
    if fifos:
        console.print(fifo_table(found))
    if processes:
        console.print(process_table(found))
    if saved is not None:
        say(console, f"wrote {saved}")


def read_design(path: Path) -> FixedGraph:
    """The network of a fixed-point file, or of a float file that says all its formats itself.

    Raises:
        ModelError: it leaves formats open; the file is named.
    """
    body = read_model(path)
    try:
        if is_fixed(body):
            return from_fixed_onnx(body).fixed
        graph = from_onnx(body, str(path))
        expect_single(graph)
        return lower(graph, calibrate(graph, Settings()))
    except UnsettledError:
        raise ModelError(
            "is a float model, whose formats are still open",
            file=str(path),
            expected="a model in fixed point, or one that is quantised throughout",
            remedy=f"Quantise it first: lutra quantize {path} -o FIXED.onnx --data DATA.npz",
        ) from None
    except LutraError as error:
        raise error.in_file(str(path)) from None


def settle(graph: FixedGraph, options: Options, goal: Goal | None) -> Estimate:
    """The design that the options describe, or the one that is found to reach the goal.

    Raises:
        TargetError: nothing reaches it.
        LutraError: the folding does not fit the network.
    """

    def make(folding: Folding) -> Plan:
        return planned(graph, replace(options, folding=folding))

    if goal is None:
        return estimate(planned(graph, options), options.folding, options.target)
    if options.parallel:
        raise LutraError(
            "a fully parallel design has no folding that could be chosen",
            found="a target for the folding",
            remedy="Leave out --parallel, or else --fps, --latency and --use",
        )
    from .hls_templates.hardware.explore import explore  # not needed by most commands

    return explore(make, options.target, goal)


def print_estimate(found: Estimate, console: Console) -> None:
    """Layer by layer, and what all of them come to."""
    console.print(layer_table(found))
    bottleneck = found.bottleneck.process
    part = found.target.part
    pace = "cycle" if found.interval == 1 else f"{found.interval:,} cycles"
    lines = [
        f"throughput: {found.frames_a_second:,.0f} frames/s, one each {pace}",
        f"latency: {time_text(found.latency_us)}, {found.latency:,} cycles",
        f"slowest (*): {bottleneck.name}, of {clip(bottleneck.layer, NAME_WIDTH)}",
    ]
    for kind, name in NAMES.items():
        if getattr(found.total, kind).high > getattr(part, kind):
            word = "does" if found.shares[kind] > 1 else "may"
            lines.append(f"{word} not fit: {name}, see the range")
    for line in (*lines, "all figures are estimates; no vendor tool was run"):
        say(console, line)


def layer_table(found: Estimate) -> Table:
    """Cycles and resources of each layer, of the FIFOs, and of the part."""
    part = found.target.part
    kinds = _kinds(found)
    title = f"{clip(found.plan.graph.name, 24)} on {part.number} at {found.target.clock:g} ns"
    table = _table(f"Estimate: {title}", "Layer", "Fold")
    for name in ("Cycles", *(HEADINGS[kind] for kind in kinds)):
        table.add_column(name, justify="right", overflow="fold")
    slowest = found.bottleneck.process.layer
    for layer in found.layers():
        mark = "*" if layer.layer == slowest else ""
        name, fold = clip(layer.layer, NAME_WIDTH), fold_text(layer)
        table.add_row(name, fold, f"{mark}{layer.period:,}", *_expected(layer.resources, kinds))
    table.add_row("FIFOs", "", "", *_expected(_fifos(found), kinds))
    if found.plan.bus:
        table.add_row("ports", "", "", *_expected(found.ports, kinds))
    table.add_section()
    figures = [getattr(found.total, kind) for kind in kinds]
    there = [getattr(part, kind) for kind in kinds]
    table.add_row("total", "", "", *(f"{figure.expected:,}" for figure in figures))
    table.add_row("at least", "", "", *(f"{figure.low:,}" for figure in figures))
    table.add_row("at most", "", "", *(f"{figure.high:,}" for figure in figures))
    table.add_row("on the part", "", "", *(f"{count:,}" for count in there))
    table.add_row("share", "", "", *(share_text(found.shares[kind]) for kind in kinds))
    return table


def range_table(found: Estimate) -> Table:
    """Between which bounds each figure of :func:`layer_table` lies."""
    kinds = _kinds(found)
    table = _table("Ranges", "Layer")
    for kind in kinds:
        table.add_column(HEADINGS[kind], justify="right", overflow="fold")
    rows = [(clip(layer.layer, NAME_WIDTH), layer.resources) for layer in found.layers()]
    rows.append(("FIFOs", _fifos(found)))
    if found.plan.bus:
        rows.append(("ports", found.ports))
    for name, resources in (*rows, ("total", found.total)):
        table.add_row(name, *(range_text(getattr(resources, kind)) for kind in kinds))
    return table


def fold_text(layer: LayerEstimate) -> str:
    """``16 x 48 packed``: pe, and simd and what multiplies where these matter."""
    fold = layer.fold
    if not layer.multiplies:
        return str(fold.pe)
    return f"{fold.pe} x {fold.simd}" + ("" if fold.multiply == "auto" else f" {fold.multiply}")


def share_text(share: float) -> str:
    """A percentage; in words if the part has nothing of the kind."""
    return "none" if share == math.inf else f"{100 * share:.0f} %"


def range_text(figure: Figure) -> str:
    """``12..34``; one number if it is known."""
    if figure.low == figure.high:
        return f"{figure.expected:,}"
    return f"{figure.low:,}..{figure.high:,}"


def _table(title: str, *names: str) -> Table:
    """A table whose first columns are names and never wrapped."""
    table = show.new_table(title)
    table.collapse_padding = True
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _kinds(found: Estimate) -> list[str]:
    """What is shown: UltraRAM only if it is used."""
    return [kind for kind in KINDS if kind != "uram" or found.total.uram.high]


def _fifos(found: Estimate) -> Resources:
    return total(fifo.resources for fifo in found.fifos)


def _expected(resources: Resources, kinds: list[str]) -> list[str]:
    return [f"{getattr(resources, kind).expected:,}" for kind in kinds]


def fifo_table(found: Estimate) -> Table:
    """Depth and memory of each FIFO, and how many beats it held at most."""
    table = _table("FIFOs", "Stream")
    kinds = ["lut", "ff", "bram18", "uram"]
    for name in ("Depth", "Bits", "Held", *(HEADINGS[kind] for kind in kinds)):
        table.add_column(name, justify="right", overflow="fold")
    for fifo in found.fifos:
        sizes = (f"{size:,}" for size in (fifo.depth, fifo.bits, fifo.held))
        table.add_row(clip(fifo.name, WIDE_NAME), *sizes, *_expected(fifo.resources, kinds))
    return table


def process_table(found: Estimate) -> Table:
    """Timing of each process, and which stream it waits for most."""
    table = _table("Processes", "Process")
    for name in ("Depth", "Cycles", "Waits"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("most for", no_wrap=True)
    for item in found.processes:
        stall = item.stall
        what = f"{'room in ' if stall.room else ''}{clip(stall.stream, WIDE_NAME)}"
        table.add_row(
            clip(item.process.name, WIDE_NAME),
            f"{item.depth:,}",
            f"{item.period:,}",
            *((f"{stall.cycles:,}", what) if stall.stream else ()),
        )
    return table
