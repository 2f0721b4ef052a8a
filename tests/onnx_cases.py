"""The ONNX project's own test cases, and what the importer makes of each.

``python -m tests.onnx_cases`` writes the table of them anew; look at what it changes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import Port, evaluate
from lutra.frontend.onnx.importer import Literal, literal
from lutra.frontend.onnx.tensor import INTEGERS
from lutra.frontend.onnx.translate.forms import FORMS
from lutra.frontend.ops import Array
from lutra.frontend.passes import simplify

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
TABLE = Path(__file__).with_suffix(".json")
"""Every case of an op that is understood: how it passes, or why it is refused."""

KINDS = ("simple", "pytorch-operator", "pytorch-converted")
"""The small models that the onnx package brings along."""

WEIGHTS = {"CausalConvWithState": ("weight", "bias")}
"""Inputs of an op that are weights in practice while others, before and behind them, are data."""

HALF = 2**-9
"""Tolerance of what is expected as float16: each of its steps was rounded to 11 bits."""

LONGEST = 60
"""Letters of a refusal that the table keeps."""

PASSES = ("data", "weights")
"""How a case can pass: with every float input as data, or with some of them as weights."""


@dataclass(frozen=True)
class Case:
    """One case: a model, inputs, what it must give, and how closely."""

    name: str
    op: str
    model: ModelProto
    feeds: Mapping[str, Any]
    expected: Mapping[str, Any]
    rtol: float
    atol: float


@cache
def node_cases() -> tuple[Case, ...]:
    """The node tests; a case that is spelled out as its function's body belongs to its op."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    ops = {}
    for c in found:
        if c.model is not None and len(c.model.graph.node) == 1:
            ops[c.name] = c.model.graph.node[0].op_type
    cases = []
    for c in found:
        assert c.model is not None
        assert c.data_sets is not None
        op = ops.get(c.name.partition("_expanded")[0], "")
        for inputs, outputs in c.data_sets:
            graph = c.model.graph
            feeds = {p.name: _plain(x) for p, x in zip(graph.input, inputs, strict=True)}
            expected = {p.name: _plain(y) for p, y in zip(graph.output, outputs, strict=True)}
            cases.append(Case(c.name, op, c.model, feeds, expected, c.rtol, c.atol))
    return tuple(cases)


@cache
def model_cases(kind: str) -> tuple[Case, ...]:
    """The small models that the onnx package brings along."""
    from onnx.backend.test.loader import load_model_tests

    cases = []
    for c in load_model_tests(kind=kind):
        folder = Path(str(c.model_dir))
        model = onnx.load(folder / "model.onnx")
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [port for port in model.graph.input if port.name not in constants]
        data = folder / "test_data_set_0"
        try:
            feeds = {p.name: _tensor(data / f"input_{i}.pb") for i, p in enumerate(inputs)}
            names = [port.name for port in model.graph.output]
            expected = {name: _tensor(data / f"output_{i}.pb") for i, name in enumerate(names)}
        except (onnx.checker.ValidationError, ValueError, TypeError, OSError):
            feeds, expected = {}, {}  # a sequence or an optional value
        cases.append(Case(c.name, kind, model, feeds, expected, c.rtol, c.atol))
    return tuple(cases)


def _plain(value: Any) -> Any:
    """Numbers of four bits come as a tensor."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _tensor(path: Path) -> Array:
    tensor = TensorProto.FromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def judge(case: Case) -> str:
    """How the case passes, one of PASSES, or why it is refused.

    Every way in which the model can be read must be refused or give what is expected.

    Raises:
        AssertionError: a result differs.
    """
    outcome = ""
    for how, frozen in _ways(case):
        try:
            plain = literal(_frozen(_of_today(case.model), case.feeds, frozen))
        except LutraError as error:
            outcome = outcome or _short(error)
            continue
        _compare(case, plain)
        return how
    return outcome or "no input of a float type"


def _ways(case: Case) -> Iterator[tuple[str, frozenset[str]]]:
    """Which inputs to freeze, the fewest first: what is no data always, then all but one."""
    floats = [p.name for p in case.model.graph.input if _is_data(p) and p.name in case.feeds]
    others = frozenset(case.feeds) - set(floats)
    if floats:
        yield "data", others
    if not understood(case.op):
        return
    if case.op in WEIGHTS:
        yield "weights", others | (set(floats) & set(WEIGHTS[case.op]))
    short = "_expanded" not in case.name
    for count in range(len(floats) - 1, 0, -1) if short else (1,):
        yield "weights", others | set(floats[count:])
    for kept in floats[1:] if short else ():
        yield "weights", frozenset(case.feeds) - {kept}


def _is_data(port: ValueInfoProto) -> bool:
    """Whether it is of floats, or of integers that data are quantised to."""
    return port.type.tensor_type.elem_type in (*FLOATS, *INTEGERS)


def _is_float(port: ValueInfoProto) -> bool:
    return port.type.tensor_type.elem_type in FLOATS


def _frozen(model: ModelProto, feeds: Mapping[str, Any], names: frozenset[str]) -> ModelProto:
    """The model with some of its inputs as initialisers."""
    if not names:
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = [port for port in copy.graph.input if port.name not in names]
    for port in copy.graph.input:
        if port.name in names and isinstance(feeds[port.name], np.ndarray | np.generic):
            value = np.asarray(feeds[port.name])
            copy.graph.initializer.append(numpy_helper.from_array(value, port.name))
        elif port.name in names:
            kept.append(port)
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    return copy


def _of_today(model: ModelProto) -> ModelProto:
    """A model of an opset that is too old, converted as our error says."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or min(versions) >= 7:
        return model
    try:
        return onnx.version_converter.convert_version(model, 7)
    except RuntimeError:
        return model


def _compare(case: Case, plain: Literal) -> None:
    """Every output of a float type must be there, and all that are there be as expected."""
    graph = simplify(plain.graph)
    with np.errstate(all="ignore"):
        feeds = {
            port.name: _entered(plain, port, np.asarray(case.feeds[port.name]).astype(np.float32))
            for port in graph.inputs
        }
        found = evaluate(graph, feeds)
        expected = {name: np.asarray(case.expected[name]).astype(np.float32) for name in found}
    floats = {port.name for port in case.model.graph.output if _is_float(port)}
    assert floats <= set(found), f"{case.name} gives {sorted(found)}, not {sorted(floats)}"
    half = any(np.asarray(case.expected[name]).dtype == np.float16 for name in found)
    rtol = max(case.rtol, HALF) if half else case.rtol
    for name, y in found.items():
        wanted = expected[name]
        got = plain.values[name].leave(y) if name in plain.values else y.reshape(wanted.shape)
        assert got.shape == wanted.shape, f"{case.name}: {got.shape}, not {wanted.shape}"
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=case.atol, err_msg=case.name)


def _entered(plain: Literal, port: Port, x: Array) -> Array:
    """The data of a port; integers that stand for data are no values of the file of their own."""
    if port.name in plain.values:
        return plain.values[port.name].enter(x)
    return x.reshape(-1, *port.outer_shape)


def _short(error: LutraError) -> str:
    """Why, without the node's name."""
    refusals: Sequence[Any] = getattr(error, "refusals", ())
    text = f"{refusals[0].op}: {refusals[0].reason}" if refusals else error.problem
    return text[:LONGEST]


def all_cases() -> dict[str, list[Case]]:
    """The cases by their ops, or the folder that a model is from."""
    found: dict[str, list[Case]] = {}
    for case in (*node_cases(), *chain.from_iterable(map(model_cases, KINDS))):
        found.setdefault(case.op, []).append(case)
    return found


def understood(op: str) -> bool:
    """Whether all cases of an op are listed, the refused ones too."""
    return op in FORMS or op in KINDS


def write_table() -> None:
    """Judge every case, and write down what comes out."""
    table: dict[str, Any] = {}
    for op, cases in sorted(all_cases().items()):
        outcomes: dict[str, list[str]] = {}
        for case in cases:
            outcome = judge(case)
            if outcome in PASSES or understood(op):
                outcomes.setdefault(outcome, []).append(case.name)
        if outcomes:
            table[op] = {outcome: sorted(names) for outcome, names in sorted(outcomes.items())}
    text = json.dumps({"onnx": onnx.__version__, "cases": table}, indent=1)
    TABLE.write_text(text + "\n")


if __name__ == "__main__":
    write_table()
