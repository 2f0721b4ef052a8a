"""The table of a model, and the work of an op."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lutra.frontend import ops
from lutra.frontend.cost import multiply_adds
from lutra.frontend.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    LayerNorm,
    MultiHeadAttention,
    PositionalEmbedding,
    ReLU,
    Residual,
    TransformerEncoder,
)
from lutra.frontend.model import Model
from lutra.frontend.ops import Op, Shape, Window
from lutra.frontend.summary import Row, rows


def text(model: Model, width: int = 80) -> list[str]:
    file = io.StringIO()
    model.summary(Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]


def test_a_sequence() -> None:
    model = Model(
        [Conv2D(8, padding="same"), BatchNorm(), ReLU(), Flatten(), Dropout(0.5), Dense(10)],
        (8, 8, 1),
    )
    assert text(model) == [
        " Layer         Output      Parameters   Multiply-adds",
        " ────────────────────────────────────────────────────",
        " input         8 x 8 x 1",
        " conv1         8 x 8 x 8           80           4,608",
        " batch_norm1   8 x 8 x 8           32",
        " relu1         8 x 8 x 8",
        " flatten1      512",
        " dropout1      512",
        " dense1        10               5,130           5,120",
        " total                          5,242           9,728",
        "5,226 parameters are trained, 16 are running statistics",
    ]


def test_branches_and_composites() -> None:
    model = Model([Dense(4), Residual([LayerNorm(), Dense(4)]), MultiHeadAttention(2)], (3, 2))
    lines = text(model)
    assert " residual1" in lines
    assert any(line.startswith("   add1 ") and line.endswith(".dense1, dense1") for line in lines)
    assert any(line.startswith("   query: Dense ") for line in lines)
    assert sum(line.split()[0] == "attention1" for line in lines) == 1
    found = {row.name: row for row in rows(model)}
    assert found["residual1.add1"].inputs == ("residual1.dense1", "dense1")
    assert found["dense1"] == Row("dense1", "Dense", True, (3, 4), 12, 0, 24, ())
    assert found["attention1.mix"].multiply_adds == 2 * 3 * 3 * 2


def test_names_that_begin_alike() -> None:
    """``block2`` is no part of ``block``."""
    inner = Residual([ReLU()])(Input((3,)), name="block2")
    lines = text(Model.of(Residual([ReLU()])(inner, name="block")))
    assert any(line.endswith(" .relu1, block2.add1") for line in lines)
    assert any(line.endswith(" .relu1, input") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_the_terminal(width: int) -> None:
    model = Model([PositionalEmbedding(), TransformerEncoder(4, 64, dropout=0.1)], (8, 32))
    lines = text(model, width)
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if line.lstrip().startswith("layer_norm")]) == 2


def test_it_goes_to_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    Model([Dense(2)], (3,)).summary()
    assert "dense1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("op", "inputs", "products"),
    [
        (ops.Dense(), [(3, 4), (4, 5), (5,)], 3 * 4 * 5),
        (ops.Conv(Window.of((2, 3))), [(4, 5, 6), (2, 3, 6, 7)], 3 * 3 * 2 * 3 * 6 * 7),
        (ops.Conv(Window.of((3,)), 2), [(4, 6), (3, 3, 8)], 2 * 3 * 3 * 8),
        (ops.ConvTranspose(Window.of((3,), (2,)), (), 2), [(4, 6), (3, 3, 8)], 4 * 3 * 3 * 8),
        (ops.MatMul(), [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (ops.MatMul(transposed=True), [(2, 3, 4), (2, 5, 4)], 2 * 3 * 4 * 5),
        (ops.Lstm(), [(7, 3), (3, 20), (5, 20), (20,)], 7 * (3 + 5) * 20),
        (ops.SimpleRnn(last=True), [(7, 3), (3, 5), (5, 5), (5,)], 7 * (3 + 5) * 5),
        (ops.Add(), [(3,), (3,)], 0),
    ],
)
def test_multiply_adds(op: Op, inputs: list[Shape], products: int) -> None:
    assert multiply_adds(op, inputs, op.infer(*inputs)) == products
