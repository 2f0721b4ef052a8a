"""The accuracy report as JSON, on the terminal and as a page, from friendly and hostile names."""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from rich.console import Console

from lutra.frontend.errors import ToolchainError
from lutra.sim.report import Report
from lutra.sim.report_html import html_page
from lutra.sim.report_text import render_terminal
from lutra.sim.scores import Classification

from .test_report import network, network_report, reported, target


def printed(report: Report) -> str:
    file = io.StringIO()
    render_terminal(report, Console(file=file, width=80))
    return file.getvalue()


def test_json_round_trip() -> None:
    for report in (network_report(network()), reported([[0.0, 1.0]], d=target("fixed<4,4>"))):
        content = report.to_dict()
        assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["output"]["sqnr_db"] == "inf"
    assert (content["classification"], content["regression"]) == (None, None)
    assert content["layers"][1]["format"] == "fixed<4,4>"


HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=http://evil onerror=alert(1)>",
    "$x^{2$",
    "new\nline\x1b[31m\x00\ud800",
    "n" * 10_000,
    "]]> --> url(#a) 中文😀",
    "[red]x[/]",
]


def hostile(turn: int) -> Callable[[str], str]:
    """Gives each value of the network one of the names, and the network itself all of them."""

    def name(key: str) -> str:
        place = "xcrmfdy".find(key)
        return "".join(HOSTILE) if place < 0 else HOSTILE[(place + turn) % len(HOSTILE)] + key

    return name


class Page(HTMLParser):
    """What a browser would make of a page: tags and addresses that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given)
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag == "svg":
            self.pictures.append(given)


@pytest.mark.parametrize("turn", [2, 3])
def test_hostile_names_on_the_page(turn: int) -> None:
    text = html_page(network_report(network(hostile(turn), len(HOSTILE)), class_names=HOSTILE))
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "base", "object"} & set(page.tags)
    assert all(a.startswith(("#", "data:image/png;base64,")) for a in page.addresses)
    assert "n" * 100 not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text
    assert all(p["role"] == "img" and p["aria-label"] for p in page.pictures)
    assert len(page.pictures) == 4 + 1 + 2 + 1  # layers, SQNR, confusion, scatter


@pytest.mark.parametrize("turn", [0, 2, 3])
def test_hostile_names_on_the_terminal(turn: int) -> None:
    report = network_report(network(hostile(turn), len(HOSTILE)), class_names=HOSTILE)
    lines = printed(report).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(c.isprintable() for line in lines for c in line)
    assert turn or any(line.split()[:1] == ["[red]x[/]y"] for line in lines)


def test_the_terminal_begins_with_the_headline() -> None:
    report = network_report(network())
    lines = printed(report).splitlines()
    assert lines[0] == "net: fixed point against float, 60 samples"
    assert isinstance(report.score, Classification)
    assert lines[1].split() == [
        "Accuracy,",
        "float",
        f"{report.score.float_accuracy:.2%}"[:-1],
        "%",
    ]
    assert lines[3].split()[1:] == [f"{report.score.difference:+.2f}", "points"]
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "ufixed<" in line]
    assert [row[0] for row in rows][:2] == ["r", "y"]


def test_equal_reports_give_equal_pages() -> None:
    first, second = (html_page(network_report(network())) for _ in range(2))
    assert first == second
    assert len(first) < 500_000
    assert html_page(network_report(network(), bits=6)) != first


def test_pages_of_all_kinds_are_drawn_without_a_warning() -> None:
    exact = reported([[0.0, 0.0]], d=target("fixed<4,4>"))
    lost = reported([[0.25, 0.25]], [[1.0, 2.0]], entry="fixed<4,4>", d=target("fixed<40,20>"))
    huge = reported([[1e30, -1e30]], [1], d=target("fixed<2,1>"))
    many = network_report(network(classes=40), class_names=[f"{i}" for i in range(40)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for report in (exact, lost, huge, many):
            assert Page(html_page(report)).pictures
            assert printed(report)


def test_matplotlib_is_left_as_it_was() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"axes.grid": True, "svg.fonttype": "path", "font.size": 30}):
        before = dict(mpl.rcParams)
        page = html_page(network_report(network()))
        assert dict(mpl.rcParams) == before
    assert page == html_page(network_report(network()))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    report = reported([[0.0, 1.0]], d=target("fixed<4,4>"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolchainError, match=r"pip install 'lutra\[report\]'"):
        html_page(report)
    assert printed(report)
