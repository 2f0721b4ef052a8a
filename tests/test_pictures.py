"""Pictures of graphs and of training curves, and the table of a run."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lutra.frontend import drawing
from lutra.frontend.curves import plot
from lutra.frontend.drawing import draw
from lutra.frontend.errors import LutraError, OutputError, ToolchainError
from lutra.frontend.graph import Graph
from lutra.frontend.history import AdversarialHistory, AdversarialResult, EpochResult, History
from lutra.frontend.layers import Add, Dense, Input, MultiHeadAttention, ReLU, Residual
from lutra.frontend.model import Model

RUN = History(
    (
        EpochResult(1, 2.5, 2.25, 0.5),
        EpochResult(2, 1.0, 1.125, 0.75),
        EpochResult(3, 0.5, 1.25, 0.625),
    )
)


def graph() -> Graph:
    return Model([Dense(4), Residual([Dense(4), ReLU()]), MultiHeadAttention(2)], (3, 2)).graph()


def words(path: Path) -> set[str]:
    """The texts of an SVG picture: matplotlib writes each as a comment beside its outlines."""
    return set(re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8")))


def test_a_graph_is_drawn_whole(tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    network = graph()
    draw(network, path)
    found = words(path)
    assert {node.name for node in network.nodes} <= found
    assert {"x", "y", "3 x 2", "Dense  3 x 4", "MatMul  2 x 3 x 3", "Add  3 x 4"} <= found


def test_boxes_do_not_touch() -> None:
    """Several branches, one of which is passed by a long line."""
    x = Input((4,))
    parts = [ReLU()(Dense(4)(x)) for _ in range(5)]
    y = parts[0]
    for part in parts[1:]:
        y = Residual([Dense(4)])(y)
        y = Add()(y, part)

    rows = drawing._rows(Model.of(y).graph())
    drawing._order(rows)
    drawing._place(rows)
    for row in rows:
        places = sorted(row, key=lambda cell: cell.x)
        for a, b in itertools.pairwise(places):
            assert b.x - a.x >= (a.width + b.width) / 2 + drawing.GAP - 1e-9
            assert a.x >= a.width / 2


def test_a_picture_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("net.svg", "net.png"):
        draw(graph(), tmp_path / name)
        before = (tmp_path / name).read_bytes()
        draw(graph(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    assert before.startswith(b"\x89PNG")


def test_names_are_no_formulas(tmp_path: Path) -> None:
    network = Model([Dense(2)], (2,)).graph()
    node = network.nodes[0]
    odd = type(node)("$\\frac{$", node.op, node.inputs, node.output)
    odd_graph = Graph("odd", network.inputs, network.outputs, (odd,), network.constants)
    draw(odd_graph, tmp_path / "odd.svg")
    assert "$\\frac{$" in words(tmp_path / "odd.svg")


def test_curves(tmp_path: Path) -> None:
    path = tmp_path / "run.svg"
    plot(RUN, path)
    assert {"loss", "accuracy (%)", "epoch", "training", "validation", "best epoch"} <= words(path)
    assert {"0.5", "1", "2"} <= words(path)
    assert not any("$" in word for word in words(path))
    plot(History((EpochResult(1, 0.0, 1.0, None),)), path)
    assert "loss" in words(path)
    assert "accuracy (%)" not in words(path)
    plot(RUN, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_curves_of_two_networks_that_learn_against_each_other(tmp_path: Path) -> None:
    path = tmp_path / "gan.svg"
    plot(AdversarialHistory((AdversarialResult(1, 1.5, 0.5), AdversarialResult(2, 1, 0.7))), path)
    assert {"loss", "epoch", "generator", "discriminator"} <= words(path)
    assert not {"accuracy (%)", "best epoch"} & words(path)


def test_the_table_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    unknown = EpochResult(4, 0.1, 0.7, None)
    History((*RUN.epochs, unknown)).save_csv(path)
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in table] == [2.5, 1.0, 0.5, 0.1]
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    assert [float(row["validation_loss"]) for row in table] == [2.25, 1.125, 1.25, 0.7]
    assert [row["validation_accuracy"] for row in table] == ["0.5", "0.75", "0.625", ""]


WRITERS: list[Callable[[Path], None]] = [
    lambda path: draw(graph(), path.with_suffix(".svg")),
    lambda path: plot(RUN, path.with_suffix(".svg")),
    lambda path: RUN.save_csv(path.with_suffix(".csv")),
]


@pytest.mark.parametrize("write", WRITERS)
def test_a_place_that_cannot_be_written(tmp_path: Path, write: Callable[[Path], None]) -> None:
    with pytest.raises(OutputError):
        write(tmp_path / "missing" / "file")
    assert not list(tmp_path.iterdir())


def test_wrong_endings(tmp_path: Path) -> None:
    for name in ("net.jpg", "net", "net.svg.txt"):
        with pytest.raises(OutputError, match="ending") as caught:
            draw(graph(), tmp_path / name)
        assert caught.value.expected
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(LutraError, match="no epoch"):
        plot(History(), tmp_path / "run.svg")


@pytest.mark.parametrize("write", WRITERS[:2])
def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolchainError, match=r"pip install 'lutra\[report\]'"):
        write(tmp_path / "file")
    assert not list(tmp_path.iterdir())
