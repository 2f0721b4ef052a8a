"""Names that a model file may hold, and that mean something to a shell, a compiler, a template, a
terminal, a browser or a file system: they must work the whole way, and do nothing."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.onnx.exporter import save
from lutra.frontend.ops import Flatten
from lutra.quantize.fixed_onnx import load_fixed

from .commands import LABELS, Run
from .conftest import samples, small_cnn

NAMES = [
    '";#}{', "a/b\\c", "../../x", "int", "INLINE", "EOF", "line\nbreak\r", "*/ int x; /*", "a\\\n",
    "{{7*7}}", "{% for x in y %}", "[bold]x[/nope]", "\x1b[31mred\x1b]0;t\x07", "naïve ☃ 漢字",
    "x" * 10_000, " ", "a.npy", "ap_int", "project_0", "\u202egnp.exe", "__init", "nul\0l",
    "$(touch pwned)", "`touch pwned`", "<script>alert(1)</script>", "]]><b>", "%s%n", ":smile:",
]  # fmt: skip


def renamed(graph: Graph, names: list[str]) -> Graph:
    """The same network; nodes, values, weights and the model itself take these names in turn."""
    left = iter(names)
    new: dict[str, str] = {}

    def name(old: str) -> str:
        if old not in new:
            new[old] = next(left)
        return new[old]

    return Graph(
        next(left),
        tuple(Port(name(p.name), p.shape, p.axes) for p in graph.inputs),
        tuple(Port(name(p.name), p.shape, p.axes) for p in graph.outputs),
        tuple(
            Node(next(left), n.op, tuple(name(value) for value in n.inputs), name(n.output))
            for n in graph.nodes
        ),
        {name(old): value for old, value in graph.constants.items()},
    )


def assert_plain(text: str) -> None:
    """Nothing in it moves the cursor, changes colours or rings."""
    assert all(c.isprintable() or c == "\n" for c in text), text


@pytest.mark.parametrize("turn", [0, 14])
def test_the_whole_way(lutra: Run, folder: Path, turn: int) -> None:
    """In each of two turns the names stand in other places; all of them in each."""
    graph = renamed(small_cnn(), NAMES[turn:] + NAMES[:turn])
    save(graph, folder / "m.onnx")
    np.savez(folder / "c.npz", x=samples(), y=LABELS)
    np.save(folder / "x.npy", samples())

    for command in (
        ("inspect", "m.onnx"),
        ("quantize", "m.onnx", "-o", "f.onnx", "--data", "c.npz"),
        ("simulate", "f.onnx", "--input", "x.npy", "-o", "y.npy", "--keep", "k.npz"),
        ("report", "m.onnx", "f.onnx", "--data", "c.npz"),
    ):
        outcome = lutra(*command)
        assert outcome.status == 0, outcome
        assert_plain(outcome.out + outcome.err)
        assert max(map(len, outcome.out.splitlines())) <= 80
    shown = json.loads(lutra("inspect", "m.onnx", "--json").out)
    assert [layer["layer"] for layer in shown["layers"]] == [node.name for node in graph.nodes]

    outcome = lutra("build", "m.onnx", "-o", "p", "--data", "c.npz")
    assert outcome.status == 0, outcome
    assert "equal, bit for bit" in outcome.out
    assert_plain(outcome.out + outcome.err)
    check_intermediates(folder)
    check_project(folder / "p", graph)
    assert sorted(path.name for path in folder.iterdir()) == [
        "c.npz", "f.onnx", "k.npz", "m.onnx", "p", "x.npy", "y.npy",
    ]  # fmt: skip


def check_intermediates(folder: Path) -> None:
    """The archive holds every value under its name."""
    model = load_fixed(folder / "f.onnx").fixed
    values = {node.output for node in model.nodes} | {model.inputs[0].name}
    with np.load(folder / "k.npz") as kept:
        assert set(kept.files) == {value.replace("\0", "\\0") for value in values}
        assert all(len(kept[name]) == 40 for name in kept.files)


def check_project(project: Path, graph: Graph) -> None:
    """The manifest has the names as they are; everything else is plain ASCII without them."""
    manifest = json.loads((project / "manifest.json").read_text())
    assert manifest["model"] == graph.name
    computed = {node.name for node in graph.nodes if not isinstance(node.op, Flatten)}
    assert {row["layer"] for row in manifest["trace"]} == computed
    assert manifest["verification"]["passed"]
    for path in (*project.rglob("*.h"), *project.rglob("*.cpp"), project / "README.md"):
        text = path.read_text()
        assert text.isascii()
        for name in ("{{", "{%", "$(", "`touch pwned", "x" * 50, "<script", "\r", "*/ int"):
            assert name not in text, path
    page = (project / "report.html").read_text()
    assert "<script" not in page
    assert_plain(re.sub(r"\s", " ", html.unescape(page)))


def test_a_name_is_shown_as_it_is_written(lutra: Run, folder: Path) -> None:
    """Escaped where it must be, and otherwise not changed: no markup, no smileys."""
    names = ["[bold]x[/nope]", *(f"n{i}:smile:\x1b[31m" for i in range(30))]
    save(renamed(small_cnn(), names), folder / "m.onnx")
    out = lutra("inspect", "m.onnx").out
    for name in ("[bold]x[/nope]", "\\x1b[31m", ":smile:"):
        assert name in out
