"""Which nodes share a process, and what the folds of each kind of process divide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lutra.frontend.errors import UnsupportedOpError
from lutra.frontend.ops import Conv, Dense, Mul, ReduceSum, Relu, Window
from lutra.hls_templates.folding import Fold, Folding, FoldingError
from lutra.hls_templates.functions import function_text
from lutra.hls_templates.plan import Plan
from lutra.hls_templates.planner import plan
from lutra.hls_templates.processes import DenseProcess, DuplicateProcess, RecurrenceProcess
from lutra.quantize.exact_ops import Square
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format

from .fixed_graphs import Maker, Recurrent, sigmoid

EIGHT = Format(True, 8, 3)


def kinds(design: Plan) -> list[str]:
    return [type(process).__name__.removesuffix("Process") for process in design.processes]


def test_a_gate_is_one_function_of_one_stream() -> None:
    """x times its sigmoid: what is read twice within a function needs no fork."""
    make = Maker((6,), EIGHT)
    gate = make.lut("x", sigmoid, 7)
    graph = make.graph(make.cast(make.add(Mul(), "x", gate), EIGHT))
    design = plan(graph, Folding({"v0": Fold(2)}))
    assert kinds(design) == ["Map"]
    (text,) = (function_text(design, {"constant0": "table"}, f) for f in design.functions)
    assert text.parameters == "const in& v0"
    assert text.lines == (
        "ap_ufixed<7, 0> v1 = lutra::lut<0, ap_fixed<8, 3>, ap_ufixed<7, 0>, table>::apply(v0);",
        "ap_fixed<15, 3> v2 = lutra::multiply<1, ap_fixed<8, 3>, ap_ufixed<7, 0>, ap_fixed<15, 3> >"
        "::apply(v0, v1);",
        "ap_fixed<8, 3> v3 = lutra::cast<2, ap_fixed<15, 3>, ap_fixed<8, 3, AP_RND, AP_SAT> >"
        "::apply(v2);",
        "return v3;",
    )


def test_a_value_that_others_read_leaves_its_function() -> None:
    make = Maker((4,), EIGHT)
    squares = make.add(Square(), make.add(Relu(), "x"))
    total = make.add(Dense(), squares, make.constant(np.ones((4, 4))))
    design = plan(make.graph(make.combine(total, squares)), Folding())
    assert kinds(design) == ["Map", "Duplicate", "Dense", "Map"]
    assert [len(process.reads) for process in design.processes] == [1, 1, 1, 2]


def test_every_branch_of_a_fork_has_the_beats_of_its_stream() -> None:
    """Three readers with other lanes than the writer take two forks, before they are adapted."""
    make = Maker((6, 4), EIGHT)
    a = make.add(Relu(), "x")
    ends = [make.add(Dense(), a, make.constant(np.ones((4, 4)))) for _ in range(3)]
    y = make.combine(ends[0], make.combine(ends[1], ends[2]))
    design = plan(make.graph(y), Folding({a: Fold(2), ends[0]: Fold(1, 4)}))
    forks = [p for p in design.processes if isinstance(p, DuplicateProcess)]
    assert [design.streams[name].beats for fork in forks for name in fork.writes] == [12] * 4


def recurrent(fold: Fold) -> tuple[FixedGraph, Folding]:
    """An LSTM of 3 inputs and 4 units, whose product ahead belongs to the same layer."""
    graph = Recurrent(6).graph("lstm")
    layers = dict.fromkeys(graph.layers, "lstm")
    return dataclasses.replace(graph, layers=layers), Folding({"lstm": fold})


def test_a_recurrent_layer_folds_by_its_units() -> None:
    """3 inputs cannot be taken 4 or 2 at a time: the product ahead takes them one by one."""
    design = plan(*recurrent(Fold(2, 4)))
    ahead, loop = (p for p in design.processes if isinstance(p, DenseProcess | RecurrenceProcess))
    assert (ahead.fold, loop.fold) == (Fold(2, 1), Fold(2, 4))
    assert design.streams[loop.reads[0]].lanes == design.streams[loop.writes[0]].lanes == 2


@pytest.mark.parametrize("fold", [Fold(3, 1), Fold(1, 3), Fold(8, 1)])
def test_a_recurrent_layer_refuses_what_does_not_divide_its_units(fold: Fold) -> None:
    with pytest.raises(FoldingError, match=r"'lstm'.* for 4; expected one of 1, 2, 4"):
        plan(*recurrent(fold))


@pytest.mark.parametrize(
    ("fold", "problem"),
    [
        (
            Fold(4, 1),
            "pe 4, simd 1; expected pe one of 1, 2, or one of 6 with simd 2",
        ),
        (Fold(4, 2), "pe does not fit the groups"),
        (Fold(1, 3), "simd does not divide"),
    ],
)
def test_a_grouped_convolution_folds_by_its_groups(fold: Fold, problem: str) -> None:
    make = Maker((5, 6), EIGHT)
    op = Conv(Window.of((3,)), groups=3)
    y = make.add(op, "x", make.constant(np.ones((3, 2, 6))))
    with pytest.raises(FoldingError, match=rf"'{y}'.*{problem}"):
        plan(make.graph(y), Folding({y: fold}))


def test_one_value_a_row_has_one_lane() -> None:
    make = Maker((3, 4), EIGHT)
    total = make.add(ReduceSum(), "x")
    y = make.combine("x", make.combine(total, make.add(Square(), total)))
    folds = dict.fromkeys(make.layers, Fold(4))
    design = plan(make.graph(y), Folding(folds))
    assert design.streams[design.outputs[0]].lanes == 4
    assert kinds(design)[-1] == "MapRow"


def test_a_loop_that_no_kernel_runs_is_refused() -> None:
    """The product is of a state that is not what leaves the loop."""
    make = Maker((3, 2), EIGHT)

    def body() -> str:
        total = make.add(Dense(), "before", make.constant(np.ones((2, 2))))
        make.cast(make.combine("part", total), EIGHT, "after")
        return make.add(Relu(), "after")

    y = make.loop("x", ["part"], [("before", "after", EIGHT)], body)
    with pytest.raises(UnsupportedOpError, match=f"'{y}'.*no kernel runs this loop"):
        plan(make.graph(y), Folding())
