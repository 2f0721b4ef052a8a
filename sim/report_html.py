"""The accuracy report as one HTML page that needs nothing else."""

from __future__ import annotations

from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from ..frontend.errors import clip
from . import report_pictures as pictures
from .report import LayerReport, Report, Step
from .report_text import decibels, headline, modes, number, title
from .scores import Classification

NAME = 40
"""Characters of a name that the page has room for."""


def html_page(report: Report) -> str:
    """The page: equal reports give equal text.

    Names from the model are untrusted; they are clipped and escaped, and the page forbids itself
    scripts and everything from elsewhere.

    Raises:
        ToolchainError: matplotlib is not installed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    return environment.get_template("report.html.j2").render(_context(report))


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _context(report: Report) -> dict[str, Any]:
    """Finished values for the template, which decides nothing."""
    artist = pictures.Artist()
    places, drawn = report.at_output.values, len(report.points)
    return {
        "model": clip(report.model, NAME),
        "samples": report.samples,
        "headline": headline(report),
        "layers": [_layer(artist, layer) for layer in report.layers],
        "inner": [_step(step) | {"name": clip(step.value, NAME)} for step in report.inner],
        "ratios": Markup(pictures.ratios(artist, report.layers)),
        "weakest": _weakest(report),
        "matrices": _matrices(artist, report),
        "scatter": Markup(pictures.scatter(artist, report)),
        "points": f"All {places}" if drawn == places else f"{drawn} of {places}",
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": title(step, NAME),
        "kind": step.kind,
        "format": step.format,
        "modes": modes(step),
        "count": step.values,
        "overflow": step.overflow,
        "underflow": step.underflow,
        "overflow_share": f"{100 * step.overflow / step.values:.2g}",
        "underflow_share": f"{100 * step.underflow / step.values:.2g}",
    }


def _layer(artist: pictures.Artist, layer: LayerReport) -> dict[str, Any]:
    return _step(layer) | {
        "sqnr": decibels(layer.sqnr_db),
        "worst": number(layer.worst_error),
        "steps": f"{layer.worst_error_steps:.1f}",
        "step": number(layer.step),
        "float_range": _range(layer.float_low, layer.float_high),
        "fixed_range": _range(layer.fixed_low, layer.fixed_high),
        "range": _range(layer.lowest, layer.highest),
        "used": f"{100 * layer.range_used:.0f}",
        "picture": Markup(pictures.distribution(artist, layer)),
    }


def _range(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"


def _weakest(report: Report) -> str:
    """The layer with the smallest SQNR, in words."""
    layer = min(report.layers, key=lambda layer: layer.sqnr_db)
    return f"Smallest at {title(layer, NAME)}."


def _matrices(artist: pictures.Artist, report: Report) -> list[dict[str, Any]]:
    score = report.score
    if not isinstance(score, Classification):
        return []
    return [
        {"title": which, "picture": Markup(pictures.confusion(artist, report, matrix, which))}
        for which, matrix in (
            ("fixed point", score.fixed_confusion),
            ("float", score.float_confusion),
        )
        if matrix is not None
    ]
