"""The accuracy report on the terminal, and how its numbers are written everywhere."""

from __future__ import annotations

import math
import re
from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..frontend.errors import clip
from .report import LayerReport, Report, Step
from .scores import Classification, Matrix, Regression

NAME = 18
"""Characters of a name that a table has room for."""

LAYER = 11
"""Characters of a line in a column of names that leaves the other columns room."""

WIDTH = 76
"""Columns that a confusion matrix may take; a wider one is told by its largest errors."""

LEGEND = """\
SQNR: power of the float values over power of the error; 6 dB are one bit.
Step: the smallest difference that the format can express.
Range used: how much of the format's range the values reached.
Overflow: values beyond the format, changed by its overflow mode.
Underflow: values that were not zero and were rounded to zero."""


def percent(share: float) -> str:
    """``0.98765`` as ``98.77 %``."""
    return f"{100 * share:.2f} %"


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}"


def steps(value: float) -> str:
    """An error in steps: with one decimal, or in powers of ten where it is large."""
    return f"{value:.1f}" if value < 10_000 else f"{value:.0e}"


def decibels(value: float) -> str:
    """A ratio in dB without its unit; ``exact`` where there is no error at all."""
    if math.isinf(value):
        return "exact" if value > 0 else "no signal"
    return f"{value:.1f}"


def with_unit(value: float) -> str:
    """A ratio in dB with its unit, where it has one."""
    return decibels(value) if math.isinf(value) else f"{decibels(value)} dB"


def modes(step: Step) -> str:
    """Rounding and overflow mode, such as ``RND, SAT``."""
    return ", ".join(mode for mode in (step.rounding, step.overflow_mode) if mode) or "exact"


def title(step: Step, limit: int = NAME) -> str:
    """The name under which a step is listed: its layer, and what it is inside of that."""
    name = clip(f"{step.layer}.{step.inside}" if step.inside else step.layer, limit)
    return f"{name} (input)" if step.kind == "input" else name


def class_name(report: Report, index: int, limit: int = 12) -> str:
    """What a class is called: its name, or its number."""
    return clip(report.class_names[index], limit) if report.class_names else str(index)


def headline(report: Report) -> list[tuple[str, str]]:
    """What to know first: pairs of a word and what it stands for."""
    lines = []
    match report.score:
        case Classification() as score:
            lines += [
                ("Accuracy, float", percent(score.float_accuracy)),
                ("Accuracy, fixed point", percent(score.fixed_accuracy)),
                ("Difference", f"{score.difference:+.2f} points"),
                ("Same answer", percent(score.agreement / score.total)),
            ]
        case Regression() as score:
            lines += [
                ("Mean squared error, float", number(score.float_error)),
                ("Mean squared error, fixed point", number(score.fixed_error)),
            ]
        case None:
            pass
    output = report.at_output
    return [
        *lines,
        ("SQNR at the output", with_unit(output.sqnr_db)),
        (
            "Worst error at the output",
            f"{number(output.worst_error)} ({output.worst_error_steps:.1f} steps)",
        ),
    ]


def confusions(matrix: Matrix, most: int) -> list[tuple[int, int, int]]:
    """The most frequent errors: count, label, answer."""
    errors = [
        (count, label, answer)
        for label, row in enumerate(matrix)
        for answer, count in enumerate(row)
        if count and label != answer
    ]
    return sorted(errors, key=lambda error: (-error[0], error[1:]))[:most]


def render_terminal(report: Report, console: Console) -> None:
    """Print the report so that it fits 80 columns."""
    console.print(
        Text.assemble(
            (clip(report.model, 40), "bold"),
            f": fixed point against float, {report.samples} samples",
        )
    )
    lines = Table(box=None, show_header=False, padding=(0, 1))
    lines.add_column(no_wrap=True)
    lines.add_column(no_wrap=True, justify="right", style="bold")
    for word, value in headline(report):
        lines.add_row(word, value)
    console.print(lines)
    console.print()
    console.print(_layers(report.layers))
    _print_modes(report.layers, console)
    if report.inner:
        console.print(_inner(report.inner))
    if isinstance(report.score, Classification) and report.score.fixed_confusion:
        _print_confusion(report, report.score.fixed_confusion, console)
    console.print(Text(LEGEND, style="dim"))


def _count(value: int) -> Text:
    return Text(str(value), style="bold yellow" if value else "")


def _layers(layers: tuple[LayerReport, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("Layer", overflow="fold", min_width=LAYER)
    table.add_column("Format", no_wrap=True)
    for name in ("SQNR\ndB", "Worst\nerror", "in\nsteps", "Range\nused", "Over-\nflow"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Under-\nflow", justify="right", no_wrap=True)
    for layer in layers:
        table.add_row(
            Text(at_dots(title(layer, 2 * NAME), LAYER)),
            layer.format,
            decibels(layer.sqnr_db),
            number(layer.worst_error),
            steps(layer.worst_error_steps),
            f"{100 * layer.range_used:.0f} %",
            _count(layer.overflow),
            str(layer.underflow),
        )
    return table


def at_dots(name: str, width: int) -> str:
    """A name in lines of at most ``width`` characters, broken behind its dots, if they allow it."""
    lines = [""]
    for part in re.split(r"(?<=\.)", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _print_modes(layers: tuple[LayerReport, ...], console: Console) -> None:
    """The modes of most layers on one line, and the layers that differ."""
    used = Counter(modes(layer) for layer in layers)
    usual = used.most_common(1)[0][0]
    console.print(Text(f"Modes (rounding, overflow): {usual}"))
    for layer in layers:
        if modes(layer) != usual:
            console.print(Text(f"  {title(layer)}: {modes(layer)}"))
    console.print()


def _inner(steps: tuple[Step, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("Step in a layer")
    table.add_column("Kind", no_wrap=True)
    table.add_column("Format", no_wrap=True)
    for name in ("Values", "Overflow", "Underflow"):
        table.add_column(name, justify="right", no_wrap=True)
    for step in steps:
        table.add_row(
            Text(clip(step.value, NAME + 8)),
            step.kind,
            step.format,
            str(step.values),
            _count(step.overflow),
            str(step.underflow),
        )
    return table


def _print_confusion(report: Report, matrix: Matrix, console: Console) -> None:
    """The whole matrix if it fits, else the largest errors."""
    names = [class_name(report, i) for i in range(len(matrix))]
    width = max(len(name) for name in names)
    cells = [
        max(len(name), *(len(str(row[i])) for row in matrix)) + 2 for i, name in enumerate(names)
    ]
    if width + 2 + sum(cells) <= WIDTH:
        console.print("Confusion in fixed point: rows are labels, columns are answers")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for name in ("", *names):
            table.add_column(Text(name), justify="right", no_wrap=True)
        for i, row in enumerate(matrix):
            counts = [
                Text(str(n) if n else ".", style="bold" if i == j else "yellow" if n else "dim")
                for j, n in enumerate(row)
            ]
            table.add_row(Text(names[i]), *counts)
        console.print(table)
        return
    errors = confusions(matrix, 5)
    if errors:
        console.print(Text("Most frequent errors in fixed point", style="italic"))
    for count, label, answer in errors:
        console.print(Text(f"  {count} of label {names[label]} were answered {names[answer]}"))
