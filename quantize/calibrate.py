"""Formats chosen from values: the network is run on real data, and each format is the one that
keeps the data best at the width that the user wants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..frontend.errors import ModelError
from ..frontend.graph import Graph, evaluate
from ..frontend.layer_file import check_layers
from ..frontend.ops import (
    Array,
    AveragePool,
    Conv,
    Dense,
    GlobalAveragePool,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)
from ..frontend.progress import Track, silently
from .cast import cast_float
from .formats import MAX_INTEGER, Format, Overflow, Rounding
from .precision import LayerSettings, Settings

SAMPLE = 1 << 18
"""Values kept of each edge: enough for its distribution, small enough for any network."""

BLOCK = 256
"""Samples that are run through the float network at a time."""

CLIPPED_BITS = 5
"""How many bits below the largest value a format's range is tried at."""


@dataclass(frozen=True)
class Target:
    """The format of a quantisation point, and the modes of its Cast."""

    format: Format
    rounding: Rounding
    overflow: Overflow


@dataclass(frozen=True)
class Precision:
    """Every choice that lowering needs.

    Attributes:
        points: by the name of the float value.
        weights: format of each weight, by the name of the constant.
        index_bits: widest index of a table.
    """

    points: Mapping[str, Target]
    weights: Mapping[str, Format]
    index_bits: int


def points(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Quantisation points: values that get a Cast, with the layers whose settings rule them.

    A dense or convolution layer that feeds one ReLU alone is cast after the ReLU, where no bit is
    spent on negative values.
    """
    outputs = {port.name for port in graph.outputs}
    found: dict[str, tuple[str, ...]] = {port.name: (port.name,) for port in graph.inputs}
    waiting: dict[str, str] = {}
    for node in graph.nodes:
        match node.op:
            case Dense() | Conv() | AveragePool() | GlobalAveragePool():
                readers = graph.consumers(node.output)
                alone = len(readers) == 1 and isinstance(readers[0].op, Relu)
                if alone and node.output not in outputs:
                    waiting[node.output] = node.name
                else:
                    found[node.output] = (node.name,)
            case Relu() if node.inputs[0] in waiting:
                found[node.output] = (node.name, waiting[node.inputs[0]])
            case Sigmoid() | Tanh() | Softmax():
                found[node.output] = (node.name,)
            case _:
                pass
    return found


def calibrate(graph: Graph, settings: Settings, x: Array, track: Track = silently) -> Precision:
    """Choose all formats.

    Args:
        graph: the float network.
        settings: the user's wishes.
        x: calibration data in the user's layout, batch first.
        track: goes through the blocks of samples.

    Raises:
        ModelError: the data hold no sample, NaN or infinity, or a setting names no layer.
        ShapeError: the data do not fit the input.
    """
    where = points(graph)
    known = [*(port.name for port in graph.inputs), *(node.name for node in graph.nodes)]
    check_layers(settings.layers, known, settings.file)
    samples = _observe(graph, check_data(graph, x), list(where), track)
    targets = {}
    for value, layers in where.items():
        wish = LayerSettings()
        for layer in layers:
            wish = wish.over(settings.layers.get(layer, LayerSettings()))
        bits = wish.bits or (settings.wide_bits if _only_indexes(graph, value) else settings.bits)
        targets[value] = Target(
            wish.format or choose_format(samples[value], bits),
            wish.rounding or settings.rounding,
            wish.overflow or settings.overflow,
        )
    return Precision(targets, _weight_formats(graph, settings), settings.index_bits)


def _only_indexes(graph: Graph, value: str) -> bool:
    """Whether the value does nothing but look up tables, so that its width costs no arithmetic."""
    readers = graph.consumers(value)
    return (
        bool(readers)
        and all(isinstance(node.op, Sigmoid | Tanh | Softmax) for node in readers)
        and all(port.name != value for port in (*graph.inputs, *graph.outputs))
    )


def check_data(graph: Graph, x: Array) -> Array:
    """Samples as float32 in the user's layout, checked.

    Raises:
        ModelError: not numbers, no sample, or NaN or infinity among them.
        ShapeError: the shape does not fit the input.
    """
    (port,) = graph.inputs
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
    blocks: dict[str, list[Array]] = {name: [] for name in names}
    share = max(1, SAMPLE // math.ceil(len(x) / BLOCK))
    for start in track(range(0, len(x), BLOCK)):
        with np.errstate(over="ignore", invalid="ignore"):
            kept = evaluate(graph, {port.name: x[start : start + BLOCK]}, names)
        for name in names:
            flat = kept[name].ravel()
            if not np.isfinite(flat).all():
                raise ModelError(
                    f"the float network overflows at '{name}' on these data",
                    expected="finite values",
                    remedy="Give samples like those that it was trained on",
                )
            stride = -(-flat.size // share)
            blocks[name].append(flat[::stride])
            blocks[name].append(np.array([flat.min(), flat.max()]))
    return {name: np.concatenate(parts) for name, parts in blocks.items()}


def _weight_formats(graph: Graph, settings: Settings) -> dict[str, Format]:
    formats = {}
    for node in graph.nodes:
        if isinstance(node.op, Dense | Conv):
            wish = settings.layers.get(node.name, LayerSettings())
            formats[node.inputs[1]] = wish.weight_format or choose_format(
                graph.constants[node.inputs[1]], wish.weight_bits or settings.weight_bits
            )
    return formats


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
    top = min(math.frexp(largest)[1] + signed, MAX_INTEGER)
    best, least = None, math.inf
    for integer in range(top, max(top - CLIPPED_BITS, -MAX_INTEGER), -1):
        tried = Format(signed, width, integer)
        error = float(np.square(cast_float(v, tried) * tried.step - v).sum())
        if error < least:
            best, least = tried, error
    assert best is not None
    return best
