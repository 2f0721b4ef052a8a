"""The pictures of the accuracy report, as SVG that stands inside an HTML page.

Colours are written as CSS variables and fonts are inherited, so that the page decides about both,
in light and in dark.  Names from a model appear as plain text only.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np

from ..frontend.data import require
from ..frontend.errors import clip
from ..frontend.ops import Array
from .report import LayerReport, Report
from .report_text import class_name, decibels, number, title
from .scores import Matrix

INK, MUTED, GRID = "#010203", "#010204", "#010205"
BLUE, ORANGE, SHADE = "#010206", "#010207", "#010208"

VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    SHADE: "var(--shade)",
}
"""Stand-ins that matplotlib draws with, and the page's colours."""

RIGHT_RGB, WRONG_RGB = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
"""Blue and vermillion of Okabe and Ito's palette, told apart with every kind of colour vision."""

LABELLED = 30
"""Most classes whose counts are written into the confusion matrix."""

FINE = 64
"""Most steps of a format that are drawn one by one."""

DOTS = 250
"""Dots that can be told apart along an axis; of those that cannot, one is drawn."""

REACH = 8
"""A range wider than this many times that of the values is not drawn whole."""

STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


class Artist:
    """Draws pictures; every one has its own names for what it defines.

    Raises:
        ToolchainError: matplotlib is not installed.
    """

    def __init__(self) -> None:
        self.matplotlib = require("matplotlib", extra="report")
        self.figure = require("matplotlib.figure", extra="report")
        self.svg = require("matplotlib.backends.backend_svg", extra="report")
        self.drawn = 0

    def draw(self, width: float, height: float, alt: str, paint: Callable[[Any], None]) -> str:
        """An SVG element.

        Args:
            width, height: in inches of 72 units.
            alt: what the picture shows, for those who do not see it.
            paint: draws on the axes that it is given.
        """
        self.drawn += 1
        file = io.StringIO()
        with self._style():
            figure = self.figure.Figure(figsize=(width, height), layout="constrained")
            figure.patch.set_visible(False)
            axes = figure.add_subplot()
            axes.patch.set_visible(False)
            paint(axes)
            self.svg.FigureCanvasSVG(figure).print_svg(file)
        return _embed(file.getvalue(), alt)

    @contextmanager
    def _style(self) -> Iterator[None]:
        """Matplotlib's own defaults and ours, whatever the user has set."""
        with self.matplotlib.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            self.matplotlib.rcdefaults()
            self.matplotlib.rcParams.update(STYLE)
            self.matplotlib.rcParams["svg.hashsalt"] = f"lutra-{self.drawn}"
            yield


def _embed(svg: str, alt: str) -> str:
    """The ``svg`` element for an HTML page: no date, no size, the page's colours and fonts."""
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="([0-9. ]+)"', body)
    assert view is not None
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    used = set(re.findall(r"(?:href=\"|url\()#(\w+)", body))
    body = re.sub(r"<[^>]*>", lambda tag: _clean(tag[0], used), body[body.index(">") + 1 :])
    label = escape(" ".join(alt.split()))
    return f'<svg viewBox="{view[1]}" role="img" aria-label="{label}">{body.strip()}'


def _clean(tag: str, used: set[str]) -> str:
    """A tag of matplotlib's with the page's colours and fonts, and without ids of no use."""
    for stand_in, variable in VARIABLES.items():
        tag = tag.replace(stand_in, variable)
    tag = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    return re.sub(r' id="(\w+)"', lambda found: found[0] if found[1] in used else "", tag)


def distribution(artist: Artist, layer: LayerReport) -> str:
    """Histogram of a layer's float values against the range of its format."""
    histogram = layer.histogram
    edges = histogram.start + histogram.width * np.arange(len(histogram.counts) + 1)
    counts = np.array(histogram.counts)
    half = layer.step / 2
    beyond = (edges[:-1] >= layer.highest + half) | (edges[1:] <= layer.lowest - half)
    low, high = _view(layer)

    def paint(axes: Any) -> None:
        axes.axvspan(layer.lowest, layer.highest, color=SHADE, linewidth=0, zorder=0)
        for limit in (layer.lowest, layer.highest):
            axes.axvline(limit, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        if (high - low) / layer.step <= FINE:
            steps = np.arange(math.ceil(low / layer.step), math.floor(high / layer.step) + 1)
            axes.vlines(steps * layer.step, 0.5, 0.65, color=MUTED, linewidth=0.8)
        for part, colour in ((~beyond, BLUE), (beyond, ORANGE)):
            axes.stairs(
                np.maximum(np.where(part, counts, 0), 0.5),
                edges,
                baseline=0.5,
                fill=True,
                color=colour,
                linewidth=0,
            )
        axes.set_yscale("log")
        axes.set(xlim=(low, high), ylim=(0.5, 2 * counts.max()), xlabel="value", ylabel="count")
        axes.yaxis.set_major_formatter(lambda value, _: _thousands(value))
        axes.yaxis.set_minor_locator(artist.matplotlib.ticker.NullLocator())

    share = counts[beyond].sum() / counts.sum()
    alt = (
        f"Histogram of the float values of {title(layer, 60)}: {number(layer.float_low)} to "
        f"{number(layer.float_high)}. The format {layer.format} reaches from "
        f"{number(layer.lowest)} to {number(layer.highest)} in steps of {number(layer.step)}. "
        f"{100 * share:.2g} % of the values lie in bins beyond it."
    )
    return artist.draw(3.6, 2.0, alt, paint)


def _view(layer: LayerReport) -> tuple[float, float]:
    """What part of the axis is shown: values and range, unless the range is far wider."""
    low, high = layer.histogram.start, layer.histogram.stop
    span = high - low
    low = max(min(low, layer.lowest), low - REACH * span)
    high = min(max(high, layer.highest), high + REACH * span)
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def _thousands(value: float) -> str:
    """A power of ten in few characters."""
    for worth, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= worth:
            return f"{value / worth:g}{letter}"
    return f"{value:g}" if value >= 1 else ""


def ratios(artist: Artist, layers: tuple[LayerReport, ...]) -> str:
    """SQNR of each layer as a bar."""
    values = np.array([layer.sqnr_db for layer in layers])
    finite = values[np.isfinite(values)]
    top = max(float(finite.max(initial=0)), 10.0) * 1.05
    low = min(float(finite.min(initial=0)), 0.0) * 1.05
    shown = np.clip(np.where(np.isneginf(values), 0, values), low, top)
    weakest = finite.min(initial=math.inf)

    def paint(axes: Any) -> None:
        places = np.arange(len(layers))
        colours = [ORANGE if value == weakest else BLUE for value in values]
        bars = axes.barh(places, shown, height=0.7, color=colours)
        for bar, value in zip(bars, values, strict=True):
            if math.isinf(value):
                bar.set(fill=False, hatch="////", edgecolor=MUTED)
            axes.annotate(
                decibels(value),
                (max(bar.get_width(), 0), bar.get_y() + 0.35),
                (4, 0),
                textcoords="offset points",
                verticalalignment="center",
            )
        axes.set_yticks(places, [title(layer, 24) for layer in layers])
        axes.set(xlim=(low, top * 1.15), ylim=(len(layers) - 0.4, -0.6), xlabel="SQNR (dB)")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)

    alt = "Signal-to-quantisation-noise ratio of each layer in dB: " + ", ".join(
        f"{title(layer, 24)} {decibels(layer.sqnr_db)}" for layer in layers
    )
    return artist.draw(4.8, 0.75 + 0.27 * len(layers), clip(alt, 2000), paint)


def confusion(artist: Artist, report: Report, matrix: Matrix, which: str) -> str:
    """Confusion matrix as a heat map: right answers blue, wrong ones orange."""
    counts = np.array(matrix)
    names = [class_name(report, i) for i in range(len(counts))]
    strength = _strength(counts)

    def paint(axes: Any) -> None:
        colours = np.empty((*counts.shape, 4), np.uint8)
        colours[..., :3] = WRONG_RGB
        colours[np.arange(len(counts)), np.arange(len(counts)), :3] = RIGHT_RGB
        colours[..., 3] = np.round(255 * strength)
        axes.imshow(colours, interpolation="none")
        if len(counts) <= LABELLED:
            axes.set_xticks(
                range(len(counts)), names, rotation=90 if max(map(len, names)) > 3 else 0
            )
            axes.set_yticks(range(len(counts)), names)
            size = min(9.0, 100 / len(counts))
            for (i, j), count in np.ndenumerate(counts):
                if count:
                    colour = "white" if strength[i, j] > 0.6 else INK
                    axes.text(j, i, count, ha="center", va="center", color=colour, fontsize=size)
        axes.set(xlabel="answer", ylabel="label")

    right = int(np.trace(counts))
    alt = (
        f"Confusion matrix in {which}, {len(counts)} classes: {right} right and "
        f"{int(counts.sum()) - right} wrong answers."
    )
    return artist.draw(3.8, 3.7, alt, paint)


def _strength(counts: Array) -> Array:
    """Opacity of each cell, 0 for no count; the root lets single errors be seen."""
    largest = max(int(counts.max()), 1)
    return np.where(counts > 0, 0.15 + 0.75 * np.sqrt(counts / largest), 0.0)


def scatter(artist: Artist, report: Report) -> str:
    """Outputs of the fixed graph against those of the float graph."""
    floats, fixed = np.array(report.points).T
    low, high = float(min(floats.min(), fixed.min())), float(max(floats.max(), fixed.max()))
    margin = 0.04 * (high - low) or 1.0
    places = np.round(np.array(report.points) * (DOTS / (high - low or 1.0)))
    distinct = np.unique(places, axis=0, return_index=True)[1]

    def paint(axes: Any) -> None:
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color=MUTED, linewidth=0.8)
        _dots(axes, floats[distinct], fixed[distinct], size=3, color=BLUE, alpha=0.5)
        _dots(axes, floats[-1:], fixed[-1:], size=5, color=ORANGE)
        axes.set(xlim=limits, ylim=limits, xlabel="float output", ylabel="fixed-point output")
        axes.set_aspect("equal")
        axes.grid()

    alt = (
        f"{len(floats)} outputs of the fixed-point network against those of the float network, "
        f"from {number(low)} to {number(high)}; equal outputs lie on the diagonal."
    )
    return artist.draw(3.8, 3.7, alt, paint)


def _dots(axes: Any, x: Array, y: Array, size: float, **style: Any) -> None:
    axes.plot(x, y, linestyle="none", marker="o", markersize=size, markeredgewidth=0, **style)
