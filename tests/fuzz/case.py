"""One damaged file through everything that a user's file goes through."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np

from lutra.frontend.cost import multiply_adds
from lutra.frontend.errors import LutraError, ToolchainError
from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.check import check
from lutra.frontend.onnx.importer import load
from lutra.frontend.onnx.read import read_model
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

MOST_VALUES = 2**18
"""Values of all nodes together up to which a graph is run."""

MOST_WORK = 2**24
"""Multiply-adds, alike."""


def outcome(path: Path, *, quantised: bool, compared: bool = False) -> str:
    """What became of a file: ``refused``, ``loaded``, ``run``, ``compared`` or ``lowered``.

    Args:
        path: the file.
        quantised: whether a network that can be run is also brought to fixed point.
        compared: whether it is held against onnxruntime instead, where that takes the file.

    Raises:
        Exception: whatever is no answer to a user; a warning is none either.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            graph = load(path)
        except LutraError as error:
            _expect_line(error)
            return "refused"
        if not _small(graph):
            return "loaded"
        rng = np.random.default_rng(0)
        feeds = {
            port.name: rng.standard_normal((2, *port.outer_shape), np.float32)
            for port in graph.inputs
        }
        with np.errstate(all="ignore"):
            values = evaluate(graph, feeds)
        for port in graph.outputs:
            assert values[port.name].shape == (2, *port.outer_shape), "evaluated to another shape"
        if compared:
            return _compared(path, graph)
        if not quantised or len(feeds) != 1 or len(graph.outputs) != 1:
            return "run"
        (x,) = feeds.values()
        try:
            lower(graph, calibrate(graph, Settings(), x))
        except LutraError as error:
            _expect_line(error)
            return "run"
    return "lowered"


def _compared(path: Path, graph: Graph) -> str:
    try:
        found = check(read_model(path), graph, str(path))
    except ToolchainError:
        return "run"
    if not found.runner.startswith("onnxruntime"):
        return "run"
    numbers = [o for o in found.outputs if not o.problem.startswith("is NaN or infinite")]
    if not found.passed and any(not output.agrees for output in numbers):
        raise AssertionError(f"differs: {numbers} {found.partings}")
    return "compared"


def _small(graph: Graph) -> bool:
    work = sum(
        multiply_adds(node.op, [graph.shapes[n] for n in node.inputs], graph.shapes[node.output])
        for node in graph.nodes
    )
    values = sum(math.prod(shape) for shape in graph.shapes.values())
    return values <= MOST_VALUES and work <= MOST_WORK


def _expect_line(error: LutraError) -> None:
    text = str(error)
    assert text.isprintable(), "an error that is no printable line"
    assert len(text) < 5000, "an error that is too long"
