"""Formats chosen from values: the network is run on real data, and each format is the one that
keeps the data best at the width that the user wants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from ..frontend.errors import ModelError
from ..frontend.graph import Graph, Node, Port, evaluate, expect_single
from ..frontend.layer_file import check_layers
from ..frontend.ops import (
    Array,
    Bipolar,
    Conv,
    ConvTranspose,
    Dense,
    Gru,
    Lstm,
    MatMul,
    Op,
    Quantize,
    SimpleRnn,
    Softmax,
)
from ..frontend.pass_tools import readers_of
from ..frontend.progress import Track, silently
from .cast import cast_float
from .formats import MAX_INTEGER, Format, Target
from .grids import NEAREST, grid_fraction, next_target, raw_range
from .points import Internal, Point, Role, internals, points
from .precision import LayerSettings, Settings
from .quantised import settled
from .scales import rescale

SAMPLE = 1 << 18
"""Values kept of each edge: enough for its distribution, small enough for any network."""

BLOCK = 256
"""Samples that are run through the float network at a time."""

REACH = 16.0
"""How far below the largest of its row an argument of softmax matters: exp(-16) is 2^-23."""

SCALE_BITS = 8
"""Width of a normalisation's factor beyond that of a state: rows of small deviations need a large
one, those of large deviations a fine one."""

CLIPPED_BITS = 5
"""How many bits below the largest value a format's range is tried at."""


class UnsettledError(ModelError):
    """A value has no format yet, and there are no data to choose one from."""


@dataclass(frozen=True)
class Precision:
    """Every choice that lowering needs.

    Attributes:
        points: by the name of the float value.
        weights: format of each weight, by the name of the constant.
        index_bits: widest index of a table.
        weight_bits: width of constants that are no weights of a layer, such as slopes.
        gate_bits: width of the gates of recurrent layers.
        settled: values that have no point because the model itself is quantised.
    """

    points: Mapping[str, Target]
    weights: Mapping[str, Format]
    index_bits: int
    weight_bits: int
    gate_bits: int
    settled: frozenset[str] = frozenset()


def calibrate(
    graph: Graph, settings: Settings, x: Array | None = None, track: Track = silently
) -> Precision:
    """Choose all formats that the model does not say itself, for the network as
    :func:`~.scales.rescale` gives it.

    Args:
        graph: the float network.
        settings: the user's wishes.
        x: calibration data in the user's layout, batch first; only a model whose values are all
            quantised needs none.
        track: goes through the blocks of samples.

    Raises:
        ModelError: the data hold no sample, NaN or infinity, or are missing, or a setting names no
            layer, or one that the model quantises itself.
        ShapeError: the data do not fit the input.
    """
    known = [node.name for node in graph.nodes]
    rescaled = rescale(graph)
    graph = rescaled.graph
    named = _named(graph, settings)
    free = settled(graph, named, rescaled.waiting)
    where = points(graph, free)
    known += [port.name for port in graph.inputs]
    known += [layer for point in where.values() for layer in point.layers]
    check_layers(settings.layers, dict.fromkeys(known), settings.file)
    targets = _known_targets(graph, where, settings)
    open_points = [value for value in where if value not in targets]
    samples = {} if x is None else _observe(graph, check_data(graph, x), open_points, track)
    for value in open_points:
        point = where[value]
        wish = LayerSettings()
        for layer in point.layers:
            wish = wish.over(settings.layers.get(layer, LayerSettings()))
        targets[value] = Target(
            wish.format or _format_for(point.role, _seen(samples, value), wish.bits, settings),
            wish.rounding or settings.rounding,
            wish.overflow or settings.overflow,
        )
    return Precision(
        targets,
        _weight_formats(graph, settings),
        settings.index_bits,
        settings.weight_bits,
        settings.wide_bits,
        free,
    )


def _named(graph: Graph, settings: Settings) -> set[str]:
    """The layers to whose results the user wants to give a format.

    Raises:
        ModelError: the model quantises that result itself, so that its format is no choice.
    """
    named = set()
    for node in graph.nodes:
        wish = settings.layers.get(node.name, LayerSettings())
        wanted = (wish.bits, wish.format, wish.rounding, wish.overflow)
        if isinstance(node.op, Quantize | Bipolar) and any(wish is not None for wish in wanted):
            raise ModelError(
                "the model itself says onto which values this layer rounds",
                node=node.name,
                file=settings.file,
                found="a setting of it",
                remedy="Leave it out of the precision file",
            )
        if wish.bits is not None or wish.format is not None:
            named.add(node.name)
    return named


def _known_targets(
    graph: Graph, where: Mapping[str, Point], settings: Settings
) -> dict[str, Target]:
    """The Casts of inputs and results that nothing but a Quantize reads: it rounds once.

    Tables know one way to round, to the nearest.
    """
    readers = readers_of(graph)
    inputs = {port.name for port in graph.inputs}
    targets = {}
    for value, point in where.items():
        if value not in graph.shapes or any(name in settings.layers for name in point.layers):
            continue
        target = next_target(graph, value, readers)
        if target is not None and (value in inputs or target.rounding in NEAREST):
            targets[value] = target
    return targets


def _seen(samples: Mapping[str, Array], value: str) -> Array:
    if value not in samples:
        raise UnsettledError(
            f"no format is known for '{value}'",
            expected="calibration data",
            remedy="Give samples like those that the network was trained on",
        )
    return samples[value]


def _format_for(role: Role, values: Array, bits: int | None, settings: Settings) -> Format:
    """The format of a value with this role, of ``bits`` bits or as many as the role has."""
    match role:
        case Role.VALUE:
            return choose_format(values, bits or settings.bits)
        case Role.INDEX:
            return choose_format(values, bits or settings.wide_bits)
        case Role.STATE:
            return choose_format(values, bits or settings.state_bits)
        case Role.SCALE:
            largest = math.frexp(float(values.max()))[1]
            return Format(False, bits or settings.state_bits + SCALE_BITS, largest)
        case _:
            assert_never(role)


def gate_format(bits: int, signed: bool) -> Format:
    """The format of a gate: of a sigmoid's results, or, if signed, of a tanh's."""
    return Format(signed, bits, int(signed))


def check_data(graph: Graph, x: Array) -> Array:
    """Samples for the one input of ``graph``; see :func:`check_samples`."""
    port, _ = expect_single(graph)
    return check_samples(port, x)


def check_samples(port: Port, x: Array) -> Array:
    """Samples as float32 in the user's layout, checked.

    Raises:
        ModelError: not numbers, no sample, or NaN or infinity among them.
        ShapeError: the shape does not fit the input.
    """
    if x.dtype.kind not in "fiub":
        raise ModelError("the data must be numbers", found=x.dtype, expected="float or integer")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    port.enter(x)
    if not len(x):
        raise ModelError("the data hold no sample", found=x.shape, expected="at least one")
    bad = np.count_nonzero(~np.isfinite(x))
    if bad:
        raise ModelError(
            "the data hold NaN or infinite values",
            found=f"{bad} of {x.size}",
            expected="finite numbers that a float32 can hold",
            remedy="Drop or mend those samples",
        )
    return x


def _observe(graph: Graph, x: Array, names: list[str], track: Track) -> dict[str, Array]:
    """A sample of each value's distribution, with its extremes."""
    (port,) = graph.inputs
    inner = [node for node in graph.nodes if isinstance(node.op, Internal)]
    wanted = {*names, *(node.inputs[0] for node in inner)}
    clipped = {name for name in names if feeds_softmax(graph, name)}
    blocks: dict[str, list[Array]] = {name: [] for name in names}
    share = max(1, SAMPLE // math.ceil(len(x) / BLOCK))
    for start in track(range(0, len(x), BLOCK)):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            kept = evaluate(graph, {port.name: x[start : start + BLOCK]}, wanted)
            for node in inner:
                inputs = [kept[node.inputs[0]], *(graph.constants[n] for n in node.inputs[1:])]
                for what, value in internals(node.op, inputs).items():
                    kept[f"{node.output}.{what}"] = value
        for name in names:
            values = kept[name]
            if not np.isfinite(values).all():
                raise ModelError(
                    f"the float network overflows at '{name}' on these data",
                    expected="finite values",
                    remedy="Give samples like those that it was trained on",
                )
            if name in clipped:
                values = np.maximum(values, values.max(axis=-1, keepdims=True) - REACH)
            flat = values.ravel()
            stride = -(-flat.size // share)
            blocks[name].append(flat[::stride])
            blocks[name].append(np.array([flat.min(), flat.max()]))
    return {name: np.concatenate(parts) for name, parts in blocks.items()}


def feeds_softmax(graph: Graph, value: str) -> bool:
    """Whether only softmaxes read a value, so that what lies far below a row's maximum is 0."""
    readers = graph.consumers(value)
    outputs = {port.name for port in graph.outputs}
    return (
        bool(readers)
        and all(isinstance(node.op, Softmax) for node in readers)
        and value not in outputs
    )


def _weight_formats(graph: Graph, settings: Settings) -> dict[str, Format]:
    formats = {}
    for node in graph.nodes:
        wish = settings.layers.get(node.name, LayerSettings())
        for name in _weights(node):
            fraction = grid_fraction(graph, name)
            chosen = wish.weight_format or wish.weight_bits
            if fraction is not None and not chosen:
                low, high = raw_range(graph.grids[name], graph.constants[name])
                formats[name] = Format.holding(low, high, fraction)
            elif name in graph.constants:
                formats[name] = wish.weight_format or choose_format(
                    graph.constants[name], wish.weight_bits or settings.weight_bits
                )
    return formats


def _weights(node: Node[Op]) -> tuple[str, ...]:
    """The inputs of a node that are matrices of weights, if they are constants."""
    match node.op:
        case Dense() | Conv() | ConvTranspose():
            return node.inputs[1:2]
        case MatMul():
            return node.inputs
        case SimpleRnn() | Lstm() | Gru():
            return node.inputs[1:3]
        case _:
            return ()


def choose_format(values: Array, width: int) -> Format:
    """The format of ``width`` bits that keeps ``values`` with the least squared error.

    Tried are the range that holds the largest value and smaller ones, where clipping a few values
    buys a finer step for all others; of two equally good ones the larger range wins.
    """
    v = np.asarray(values, np.float64).ravel()
    signed = bool((v < 0).any())
    largest = float(np.abs(v).max(initial=0.0))
    if largest == 0.0:
        return Format(signed, width, 0)
    top = max(min(math.frexp(largest)[1] + signed, MAX_INTEGER), 1 - MAX_INTEGER)
    best, least = None, math.inf
    for integer in range(top, max(top - CLIPPED_BITS, -MAX_INTEGER), -1):
        tried = Format(signed, width, integer)
        error = float(np.square(cast_float(v, tried) * tried.step - v).sum())
        if error < least:
            best, least = tried, error
    assert best is not None
    return best
