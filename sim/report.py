"""The accuracy report: how far the fixed graph is from the float graph, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..frontend.errors import ModelError, ShapeError
from ..frontend.graph import Graph, Node, evaluate
from ..frontend.ops import Array, Quantize
from ..frontend.progress import Track, silently
from ..quantize.calibrate import check_data
from ..quantize.cast import Cast
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Overflow, Rounding
from ..quantize.lut import Lut
from ..quantize.points import Internal, internals, points
from .scores import Classification, ClassTally, Regression, score_tally
from .simulator import Simulator
from .statistics import CastTally, Histogram, Losses, LutTally, PointSample, ValueTally

BLOCK_VALUES = 1 << 22
"""Values of both networks that are held at a time."""

MAX_BLOCK = 256
"""Samples that are run at a time, at most."""


@dataclass(frozen=True)
class Step:
    """One lossy step, and how often it lost more than a rounding error.

    Attributes:
        layer: the layer of the float graph that it belongs to; for an input its own name.
        value: the value that it defines.
        inside: what it is within its layer, such as ``cell``; empty for the layer's result, and
            for what the float graph has no value for.
        kind: ``input``, ``cast``, ``table``, or ``exact`` for a value that loses nothing itself.
        format: the format of the value, such as ``fixed<8,3>``.
        rounding, overflow_mode: as in ``ap_fixed``; None for ``exact``.
        values: how many values went through it.
        overflow: how many of them the overflow mode changed: the exact operand lay, after
            rounding, beyond the format.  For a table: the function's true value did.
        underflow: how many were not zero before, and were rounded to zero.
    """

    layer: str
    value: str
    inside: str
    kind: str
    format: str
    rounding: str | None
    overflow_mode: str | None
    values: int
    overflow: int
    underflow: int


@dataclass(frozen=True)
class LayerReport(Step):
    """A value of the float graph beside its counterpart in the fixed graph.

    Attributes:
        step: worth of one raw unit; the largest, where channels have factors of their own.
        lowest, highest: the smallest and the largest value that the format has.
        sqnr_db: ``10 log10(sum float^2 / sum (float - fixed)^2)``; inf where the error is zero.
        worst_error: largest ``|float - fixed|``.
        float_low, float_high, fixed_low, fixed_high: the values that occurred.
        range_used: ``(fixed_high - fixed_low) / (highest - lowest)``, 0 to 1.
        histogram: how often which float value occurred.
    """

    step: float
    lowest: float
    highest: float
    sqnr_db: float
    worst_error: float
    float_low: float
    float_high: float
    fixed_low: float
    fixed_high: float
    range_used: float
    histogram: Histogram

    @property
    def worst_error_steps(self) -> float:
        """The worst error in steps of the format."""
        return self.worst_error / self.step


@dataclass(frozen=True)
class Report:
    """What :func:`accuracy_report` found.

    Attributes:
        model: what the model calls itself.
        samples: how many samples both networks were run on.
        score: how well they do; None if no labels were given.
        class_names: names of the classes; empty if unknown.
        layers: quantisation points, those inside layers too, and the output, in order.
        inner: lossy steps within a layer that the float graph has no value for.
        output: the value that is the network's output.
        points: a sample of the outputs, pairs of float and fixed; the last has the worst error.
    """

    model: str
    samples: int
    score: Classification | Regression | None
    class_names: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    inner: tuple[Step, ...]
    output: str
    points: tuple[tuple[float, float], ...]

    @property
    def at_output(self) -> LayerReport:
        """The layer report of the network's output."""
        return next(layer for layer in self.layers if layer.value == self.output)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON: numbers in the units of the attributes, without the sample of
        outputs.  JSON has no infinity: it is the string ``"inf"`` or ``"-inf"``."""
        score = self.score
        result = {
            "model": self.model,
            "samples": self.samples,
            "classification": score.to_dict() if isinstance(score, Classification) else None,
            "regression": score.to_dict() if isinstance(score, Regression) else None,
            "class_names": list(self.class_names),
            "output": {
                "value": self.output,
                "sqnr_db": self.at_output.sqnr_db,
                "worst_error": self.at_output.worst_error,
                "worst_error_steps": self.at_output.worst_error_steps,
            },
            "layers": [
                asdict(layer) | {"worst_error_steps": layer.worst_error_steps}
                for layer in self.layers
            ],
            "inner": [asdict(step) for step in self.inner],
        }
        plain: dict[str, Any] = _plain(result)
        return plain


def _plain(value: Any) -> Any:
    """``value`` with infinities as strings and tuples as lists, as JSON has neither."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


def accuracy_report(
    graph: Graph,
    fixed: FixedGraph,
    x: Array,
    y: Array | None = None,
    *,
    class_names: Sequence[str] = (),
    block: int | None = None,
    track: Track = silently,
) -> Report:
    """Run both networks on the same samples and compare them.

    Args:
        graph: the float network, with one input and one output.
        fixed: the same network after quantisation.
        x: samples in the user's layout, batch first.
        y: what the outputs should be: class numbers, one-hot rows or real targets
            (see :func:`lutra.sim.scores.score_tally`).
        class_names: names of the classes, in order.
        block: samples that are run at a time; by default as many as memory is well used by.
        track: goes through the blocks of samples.

    Raises:
        ModelError: the data or the labels are not what they should be, or the two graphs are not
            the same network.
        ShapeError: shapes do not fit one another.
    """
    x = check_data(graph, x)
    _check_pair(graph, fixed)
    comparison = _Comparison(graph, fixed)
    score = None if y is None else score_tally(graph, np.asarray(y), len(x))
    if isinstance(score, ClassTally):
        score.check_names(class_names)
    points = PointSample(len(x), math.prod(graph.outputs[0].shape))
    size = block or comparison.block
    for start in track(range(0, len(x), size)):
        samples = slice(start, min(start + size, len(x)))
        floats, outputs = comparison.add(x[samples])
        points.add(floats, outputs)
        if score is not None:
            score.add(samples, floats, outputs)
    return Report(
        graph.name,
        len(x),
        None if score is None else score.result(),
        tuple(class_names),
        comparison.layers(),
        comparison.inner(),
        fixed.outputs[0].name,
        points.result(),
    )


def _check_pair(graph: Graph, fixed: FixedGraph) -> None:
    """Raise unless the two graphs can be the same network."""
    for port, other in (
        (graph.inputs[0], fixed.inputs[0]),
        (graph.outputs[0], fixed.outputs[0]),
    ):
        if (port.shape, port.axes) != (other.shape, other.axes):
            raise ShapeError(
                f"the fixed network's '{other.name}' differs from the float network's",
                found=other.outer_shape,
                expected=port.outer_shape,
                remedy="Quantise this float model again",
            )
    for name, shape in fixed.shapes.items():
        if name not in fixed.constants and graph.shapes.get(name, shape) != shape:
            raise ModelError(
                f"the value '{name}' differs between the float and the fixed network",
                found=shape,
                expected=graph.shapes[name],
                remedy="Quantise this float model again",
            )


def _inside(graph: Graph) -> dict[str, str]:
    """Values inside layers, by the names that they have in a fixed graph too: what they are."""
    found = {}
    outputs = [node.output for node in graph.nodes if isinstance(node.op, Internal)]
    for output in sorted(outputs, key=len):
        for name in points(graph):
            if name.startswith(f"{output}.") and name not in graph.shapes:
                found[name] = name.removeprefix(f"{output}.")
    return found


class _Comparison:
    """Both networks, and a tally for each of their values that matters."""

    def __init__(self, graph: Graph, fixed: FixedGraph) -> None:
        self.graph = graph
        self.fixed = fixed
        self.input, self.output = fixed.inputs[0].name, fixed.outputs[0].name
        self.makers = {node.output: node for node in fixed.every_node()}
        self.inside = _inside(graph)
        self.floats = {name: name for name in graph.shapes if name not in graph.constants}
        self.floats |= {name: name for name in self.inside}
        self.floats |= {self.input: graph.inputs[0].name, self.output: graph.outputs[0].name}
        self.losses: dict[str, CastTally | LutTally] = {
            self.input: CastTally(fixed.entry[self.input])
        }
        split = self._split()
        for node in self.makers.values():
            x = node.inputs[0]
            divided = x in split and node.output not in self.floats
            if divided or x not in {self.input, *self.makers}:
                continue  # or a part or a state of a loop, which is known under another name
            if isinstance(node.op, Cast):
                self.losses[node.output] = CastTally(node.op)
            elif isinstance(node.op, Lut):
                self.losses[node.output] = self._table(node, node.op)
        exact = {node.output for node in graph.nodes if isinstance(node.op, Quantize)}
        exact.add(self.output)
        self.values = {
            name: ValueTally(fixed.formats[name], self._factor(name))
            for name in (self.input, *self.makers)
            if name in self.floats and (name in self.losses or name in exact)
        }
        operands = {self.makers[name].inputs[0] for name in self.losses if name in self.makers}
        self.simulator = Simulator(fixed, [*self.values, *operands])
        self.block = self._block_size()

    def _factor(self, name: str) -> Array:
        """What 1 in a value of the fixed graph stands for."""
        return self.fixed.factors.get(name, np.ones(1))

    def _split(self) -> set[str]:
        """Values within layers whose upper and lower bits go separate ways, so that no bit is lost:
        nothing else within a layer wraps."""
        return {
            node.inputs[0]
            for node in self.makers.values()
            if isinstance(node.op, Cast)
            and node.op.overflow is Overflow.WRAP
            and node.output not in self.floats
        }

    def _table(self, node: Node[FixedOp], lut: Lut) -> LutTally:
        formats = self.fixed.formats
        return LutTally(lut, formats[node.inputs[0]], formats[node.output])

    def _block_size(self) -> int:
        kept = [*self.simulator.keep, *self.values]
        size = sum(math.prod(self.fixed.shapes[name]) for name in kept)
        return max(1, min(MAX_BLOCK, BLOCK_VALUES // max(size, 1)))

    def add(self, x: Array) -> tuple[Array, Array]:
        """Run a block of samples; the outputs, float and fixed, channels last."""
        floats = self._floats(x)
        port = self.graph.outputs[0]
        floats[port.name] = port.enter(floats[port.name])
        raws = self.simulator.trace(x)
        for name, tally in self.values.items():
            tally.add(floats[self.floats[name]], raws[name])
        for name, losses in self.losses.items():
            if name in self.makers:
                losses.add_raw(raws[self.makers[name].inputs[0]])
            elif isinstance(losses, CastTally):
                losses.add_floats(self.fixed.inputs[0].enter(x))
        step = self.fixed.formats[self.output].step * self.fixed.outputs[0].scale
        return floats[port.name], np.asarray(raws[self.output], np.float64) * step

    def _floats(self, x: Array) -> dict[str, Array]:
        """The float values, those inside layers too."""
        inner = [node for node in self.graph.nodes if isinstance(node.op, Internal)]
        wanted = {name for value in self.values if (name := self.floats[value]) not in self.inside}
        wanted.update(node.inputs[0] for node in inner)
        with np.errstate(over="ignore", invalid="ignore"):
            floats = evaluate(self.graph, {self.graph.inputs[0].name: x}, wanted)
            for node in inner:
                weights = (self.graph.constants[name] for name in node.inputs[1:])
                for what, value in internals(node.op, [floats[node.inputs[0]], *weights]).items():
                    floats[f"{node.output}.{what}"] = value
        return floats

    def layers(self) -> tuple[LayerReport, ...]:
        return tuple(self._layer(name, tally) for name, tally in self.values.items())

    def inner(self) -> tuple[Step, ...]:
        return tuple(Step(**self._step(name)) for name in self.losses if name not in self.values)

    def _step(self, name: str) -> dict[str, Any]:
        """The attributes of a :class:`Step`."""
        losses = self.losses[name] if name in self.losses else Losses(self.values[name].count)
        kind, rounding, overflow = _modes(self.makers, self.fixed.entry, name)
        node = self.makers.get(name)
        return {
            "layer": self.fixed.layers[node.name] if node else name,
            "value": name,
            "inside": self.inside.get(name, ""),
            "kind": kind,
            "format": str(self.fixed.formats[name]),
            "rounding": rounding,
            "overflow_mode": overflow,
            "values": losses.count,
            "overflow": losses.overflow,
            "underflow": losses.underflow,
        }

    def _layer(self, name: str, tally: ValueTally) -> LayerReport:
        format_ = tally.format
        step = tally.step
        return LayerReport(
            **self._step(name),
            step=step,
            lowest=format_.low * step,
            highest=format_.high * step,
            sqnr_db=tally.sqnr,
            worst_error=tally.worst,
            float_low=tally.histogram.low,
            float_high=tally.histogram.high,
            fixed_low=tally.fixed_low,
            fixed_high=tally.fixed_high,
            range_used=(tally.raw_high - tally.raw_low) / (format_.high - format_.low),
            histogram=tally.histogram.result(),
        )


def _modes(
    makers: Mapping[str, Node[FixedOp]], entry: Mapping[str, Cast], name: str
) -> tuple[str, str | None, str | None]:
    """Kind, rounding mode and overflow mode of the step that defines a value."""
    if name in entry:
        return "input", str(entry[name].rounding), str(entry[name].overflow)
    match makers[name].op:
        case Cast() as cast:
            return "cast", str(cast.rounding), str(cast.overflow)
        case Lut():
            return "table", str(Rounding.RND), str(Overflow.SAT)
        case _:
            return "exact", None, None
