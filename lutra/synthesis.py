"""``lutra synth``: Vitis HLS on a project where it is installed, and its reports beside ours."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from .console import open_console, print_json, say
from .frontend.errors import ModelError, OutputError, clip
from .frontend.storage import MANIFEST, write_file
from .options import FAILED, PATH, json_option
from .show import new_table, shown_name
from .sim.vitis.compare import (
    RESOURCES,
    Estimated,
    Row,
    check_design,
    compare,
    estimate_dict,
    estimated_total,
    within,
)
from .sim.vitis.csynth import Area, to_dict
from .sim.vitis.project import Project, load_project
from .sim.vitis.reports import Reports, read_reports
from .sim.vitis.tools import STAGES, Ended, Runner, Vitis, Watch, require_vitis, work_folder
from .sim.vitis.values import Span

HEADS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram18": "BRAM18", "uram": "URAM"}


def _stage_option(stage: str) -> Callable[..., Any]:
    return click.option(f"--{stage}", stage, is_flag=True, help=f"Run the {STAGES[stage]}.")


@click.command(
    epilog="Example: lutra synth project --reports project/synth",
    short_help="Run Vitis HLS where it is installed, and set its reports beside our estimates.",
)
@click.argument("project", type=PATH)
@_stage_option("csim")
@_stage_option("synth")
@_stage_option("cosim")
@_stage_option("export")
@click.option("--all", "everything", is_flag=True, help="Run all four stages.")
@click.option(
    "--reports",
    "given",
    type=PATH,
    multiple=True,
    metavar="PATH",
    help="Run nothing: read this report, or those in this folder; again for more.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=12.0,
    show_default=True,
    metavar="HOURS",
    help="Longest time for a stage.",
)
@json_option
def synth(
    project: Path,
    csim: bool,
    synth: bool,
    cosim: bool,
    export: bool,
    everything: bool,
    given: tuple[Path, ...],
    time_limit: float,
    as_json: bool,
) -> int:
    """Run Vitis HLS on PROJECT, and set what it reports beside what was estimated.

    Runs C simulation and C synthesis, or the stages that are asked for. Logs are kept in the
    project's folder synth.
    """
    chosen = {"csim": csim, "synth": synth, "cosim": cosim, "export": export}
    stages = [stage for stage in STAGES if everything or chosen[stage]]
    if given and stages:
        raise click.UsageError("--reports runs nothing; leave the stages out")
    design = load_project(project)
    console = open_console(as_json=as_json)
    ended: list[Ended] = []
    if not given:
        vitis = require_vitis()
        ended = _run(design, vitis, stages or ["csim", "synth"], time_limit * 3600, console)
        given = (work_folder(project, vitis),)
        if not all(stage.passed for stage in ended):
            if as_json:
                print_json({"passed": False, "stages": _stages(ended)})
            return FAILED
        if not any(stage.stage in ("synth", "cosim", "export") for stage in ended):
            if as_json:
                print_json({"passed": True, "stages": _stages(ended)})
            return 0
    reports = read_reports(given, design.top)
    check_design(design, reports)
    rows, total = compare(design, reports), estimated_total(design)
    result = _result(design, reports, rows, total, ended)
    _record(design, result)
    if as_json:
        print_json(result)
    else:
        _show(design, reports, rows, total, console)
    return 0 if result["passed"] else FAILED


def _run(
    design: Project, vitis: Vitis, stages: Sequence[str], limit: float, console: Console
) -> list[Ended]:
    """Run stages up to the first one whose check fails."""
    runner = Runner(design.folder, vitis, stages)
    runner.check()
    say(console, f"using {vitis}")
    ended: list[Ended] = []
    with _alone(runner.folder):
        for stage in stages:
            with _watching(console, STAGES[stage]) as watch:
                done = runner.run(stage, limit, watch)
            ended.append(done)
            word = "done" if done.passed else "failed"
            say(console, f"{STAGES[stage]} {word} in {done.seconds:.0f} s; log: {done.log}")
            if not done.passed:
                say(console, clip(done.why or "the log does not say why", 400), style="red")
                break
    return ended


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep two runs on one project apart."""
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                "another lutra synth is at work on it", file=str(folder.parent)
            ) from None
        yield


@contextmanager
def _watching(console: Console, what: str) -> Iterator[Watch]:
    """Show a stage at work: seconds and last line on a terminal, one line in a log."""
    if not console.is_terminal:
        say(console, f"{what} runs")
        yield lambda seconds, line: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def watch(seconds: float, line: str) -> None:
            room = max(10, console.width - len(what) - 16)
            text = f"{what} {seconds:.0f} s  {clip(line, room)}"
            progress.update(task, description=text)

        yield watch


def _stages(ended: Sequence[Ended]) -> list[dict[str, Any]]:
    return [
        {"stage": stage.stage, "passed": stage.passed, "seconds": round(stage.seconds, 1)}
        for stage in ended
    ]


def _result(
    design: Project,
    reports: Reports,
    rows: Sequence[Row],
    total: Estimated | None,
    ended: Sequence[Ended],
) -> dict[str, Any]:
    """All figures, as JSON holds them."""
    synthesis, cosim = reports.synthesis, reports.cosimulation
    area = synthesis.top.area if synthesis else None
    return {
        "passed": reports.simulated is not False and (cosim is None or cosim.passed),
        "stages": _stages(ended),
        "files": list(reports.files),
        "tool": synthesis.version if synthesis else None,
        "part": design.part,
        "clock_ns": design.clock,
        "reported_clock_ns": synthesis.clock if synthesis else None,
        "csim": reports.simulated,
        "cosim": cosim.to_dict() if cosim else None,
        "estimate": estimate_dict(total),
        "synthesis": to_dict(synthesis.top) if synthesis else None,
        "available": synthesis.available.to_dict() if synthesis else None,
        "vivado": [report.to_dict() for report in reports.implementations],
        "within": {resource: within(total, area, resource) for resource in RESOURCES},
        "processes": [row.to_dict() for row in rows],
    }


def _record(design: Project, result: dict[str, Any]) -> None:
    """Write the figures down in the manifest."""
    file = design.folder / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        manifest["synthesis"] = result
    except (OSError, ValueError, TypeError) as error:
        raise ModelError("the manifest is damaged", file=str(file), found=error) from None
    write_file(file, json.dumps(manifest, indent=2) + "\n")


def _show(
    design: Project,
    reports: Reports,
    rows: Sequence[Row],
    total: Estimated | None,
    console: Console,
) -> None:
    """Print what was found: checks, processes, the design."""
    synthesis = reports.synthesis
    if synthesis is not None:
        tool = f"Vitis HLS {synthesis.version}".strip()
        say(console, f"{tool}, {synthesis.part}, {synthesis.clock or design.clock:g} ns")
        if synthesis.clock is not None and synthesis.clock != design.clock:
            say(console, f"The project was generated for {design.clock:g} ns.", style="yellow")
        if total is None:
            say(console, "The project holds no estimate to compare with.")
        if any(row.module for row in rows):
            console.print(_process_table(rows))
    console.print(_design_table(design, reports, total))
    wrong = sum(row.within(name) is False for row in rows for name in RESOURCES)
    if wrong:
        say(console, f"! marks what lies outside of the estimate's range: {wrong} figures.")
    if reports.simulated is not None:
        say(console, f"C simulation: {_passed(reports.simulated)}")
    if reports.cosimulation is not None:
        say(console, f"co-simulation: {_passed(reports.cosimulation.passed)}")


def _passed(passed: bool) -> str:
    return "passed" if passed else "FAILED"


def _process_table(rows: Sequence[Row]) -> Table:
    """Two lines a process: what was estimated, and what is reported."""
    table = new_table("Each process: estimate (range), and below it the report")
    table.add_column("Process", no_wrap=True)
    for head in ("Cycles", *HEADS.values()):
        table.add_column(head, justify="right", overflow="fold")
    for row in rows:
        if row.estimated:
            cells = [
                str(row.estimated.cycles),
                *(_range(row.estimated, name) for name in RESOURCES),
            ]
            table.add_row(shown_name(row.process.name), *cells)
        if row.module:
            name = Text("  reported") if row.estimated else shown_name(row.process.name)
            area = row.module.area
            table.add_row(
                name,
                _figure(row.cycles),
                *(_figure(getattr(area, item), row.within(item)) for item in RESOURCES),
            )
        elif row.estimated:
            table.add_row(Text("  not in the report"))
    return table


def _design_table(design: Project, reports: Reports, total: Estimated | None) -> Table:
    """The whole design, a source of figures a column; the clock's period is what was asked for, and
    what was reached."""
    columns: list[tuple[str, list[Text]]] = []
    if total is not None:
        cycles = [f"{design.clock:g}", str(total.latency), str(total.cycles)]
        expected = [str(total.resources[name][1]) for name in RESOURCES]
        columns.append(("Estimate", [Text(cell) for cell in (*cycles, *expected)]))
        ranges = [_range(total, name) for name in RESOURCES]
        columns.append(("Range", [Text(cell) for cell in ("", "", "", *ranges)]))
    if synthesis := reports.synthesis:
        top = synthesis.top
        late = top.period is not None and top.period > design.clock
        cells = [_period(top.period, late), _span(top.latency), _span(top.interval)]
        inside = [within(total, top.area, name) for name in RESOURCES]
        columns.append(("C synth", [*cells, *_area(top.area, inside)]))
    if cosim := reports.cosimulation:
        cells = [Text(""), _figure(cosim.latency.most), _figure(cosim.interval.most)]
        columns.append(("Co-sim", cells + [Text("")] * len(RESOURCES)))
    for report in reports.implementations:
        inside = [within(total, report.area, name) for name in RESOURCES]
        head = "Vivado\nsynth" if report.stage == "synthesis" else "Vivado\nimpl"
        period = _period(report.achieved, report.met is False)
        columns.append((head, [period, Text(""), Text(""), *_area(report.area, inside)]))
    if synthesis:
        columns.append(("Part", [*[Text("")] * 3, *_area(synthesis.available)]))
    table = new_table("The design")
    table.add_column("", no_wrap=True)
    for head, _ in columns:
        table.add_column(head, justify="right", overflow="fold")
    for i, what in enumerate(("Clock, ns", "Latency", "Interval", *HEADS.values())):
        table.add_row(what, *(cells[i] for _, cells in columns))
    return table


def _area(area: Area, inside: Sequence[bool | None] = ()) -> Iterator[Text]:
    marks = inside or [None] * len(RESOURCES)
    for name, mark in zip(RESOURCES, marks, strict=True):
        yield _figure(getattr(area, name), mark)


def _period(period: float | None, late: bool) -> Text:
    """A clock period; ! if it is longer than was asked for."""
    if period is None:
        return Text("")
    return Text(f"! {period:g}", style="yellow") if late else Text(f"{period:g}")


def _span(span: Span | None) -> Text:
    return Text(str(span or "?"))


def _range(estimated: Estimated, name: str) -> str:
    """From least to most; large ones in thousands, rounded outwards."""
    low, _, high = estimated.resources[name]
    if low == high:
        return str(low)
    return f"{low}-{high}" if high < 10_000 else f"{low // 1000}k-{-(-high // 1000)}k"


def _figure(value: int | None, inside: bool | None = None) -> Text:
    """A reported figure; ! if it lies outside of the estimate's range."""
    if value is None:
        return Text("?")
    return Text(f"! {value}", style="yellow") if inside is False else Text(str(value))
