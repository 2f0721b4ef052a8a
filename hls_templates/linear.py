"""Processes that multiply by matrices: dense layers, convolutions behind windows, products."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..frontend.ops import Conv, Dense, MatMul, Window
from .adders import ConstantMatrix
from .clusters import Part
from .folding import Fold
from .plan import as_image, is_trivial
from .processes import DenseProcess, GroupedProcess, MatMulProcess, Sums, WindowProcess
from .site import Site

MOST_TERMS = 4096
"""Signed powers of two that a layer's weights may be made of, to become wires and adders."""


def dense_fold(site: Site, part: Part) -> Fold:
    """The fold of a dense layer or convolution.

    In a recurrent layer it is the loop's; the product with the inputs, which runs ahead of the
    loop, takes as much of ``simd`` as divides the inputs.
    """
    fold = site.fold(part)
    if site.layer(part) in site.units:
        inputs = site.graph.shapes[part.node.inputs[1]][-2]
        return replace(fold, simd=math.gcd(fold.simd, inputs))
    return fold


def linear(site: Site, part: Part, op: Dense | Conv) -> str:
    """A dense layer, or a convolution and its window."""
    if isinstance(op, Conv) and op.groups > 1:
        return _grouped(site, part, op)
    node, layer, fold = part.node, site.layer(part), dense_fold(site, part)
    x = node.inputs[0]
    weight = site.graph.shapes[node.inputs[1]]
    if isinstance(op, Conv):
        lanes, taps = conv_lanes(site, part, op), -(-fold.simd // weight[-2])
        reads = windows(site, op.window, x, lanes, layer, 0, taps)
    else:
        reads = site.wiring.read(x, fold.simd, layer)
    stream = site.wiring.stream(part.result, part.result, fold.pe)
    site.wiring.processes.append(
        DenseProcess(
            **site.common(part, "layer", stream),
            reads=(reads,),
            node=node,
            positions=math.prod(site.graph.shapes[node.output]) // weight[-1],
            inputs=math.prod(weight[:-1]),
            outputs=weight[-1],
            fold=fold,
            post=site.post(part, node.output),
            constant=_constant(site, part, fold),
        )
    )
    return stream


def _constant(site: Site, part: Part, fold: Fold) -> Sums | None:
    """The sums of a layer that takes a whole vector at once, unless they are too many."""
    node, graph = part.node, site.graph
    weights = graph.constants[node.inputs[1]]
    outputs = weights.shape[-1]
    if fold.pe != outputs or fold.simd * outputs != weights.size:
        return None
    bounds = graph.bounds[node.inputs[0]]
    low, high = bounds.low, bounds.high
    if isinstance(node.op, Conv) and node.op.window.padded:
        low, high = min(low, 0), max(high, 0)
    bias = graph.constants[node.inputs[2]] if node.inputs[2:] else np.zeros(outputs, np.int64)
    matrix = ConstantMatrix(weights.reshape(-1, outputs), bias, low, high)
    if int(matrix.terms.sum()) > MOST_TERMS:
        return None
    name = site.wiring.names.fresh(f"{node.output}_sums")
    return Sums(name, matrix, np.arange(fold.simd)[None])


def conv_lanes(site: Site, part: Part, op: Conv) -> int:
    """Lanes with which a convolution of one group reads the image.

    They are whole positions at most, unless the image needs no window.
    """
    simd = site.fold(part).simd
    shape = site.graph.shapes[part.node.inputs[0]]
    return simd if is_trivial(op.window, shape) else min(simd, shape[-1])


def grouped_fold(site: Site, part: Part, op: Conv) -> tuple[int, Fold]:
    """Groups at a time, and the fold of one of them.

    Where ``pe`` is a multiple of a group's outputs, so many groups are computed side by side, each
    with all its inputs.
    """
    fold = site.fold(part)
    outputs = site.graph.shapes[part.node.output][-1] // op.groups
    if outputs % fold.pe == 0:
        return 1, fold
    return fold.pe // outputs, replace(fold, pe=outputs)


def _grouped(site: Site, part: Part, op: Conv) -> str:
    node, layer = part.node, site.layer(part)
    across, fold = grouped_fold(site, part, op)
    x = node.inputs[0]
    *kernel, inputs, outputs = site.graph.shapes[node.inputs[1]]
    reads = windows(site, op.window, x, across * fold.simd, layer, 0)
    stream = site.wiring.stream(part.result, part.result, across * fold.pe)
    site.wiring.processes.append(
        GroupedProcess(
            **site.common(part, "layer", stream),
            reads=(reads,),
            node=node,
            positions=math.prod(site.graph.shapes[node.output]) // outputs,
            taps=math.prod(kernel),
            groups=op.groups,
            inputs=inputs,
            outputs=outputs // op.groups,
            across=across,
            fold=fold,
            post=site.post(part, node.output),
        )
    )
    return stream


def windows(
    site: Site, window: Window, x: str, lanes: int, layer: str, fill: int, taps: int = 1
) -> str:
    """The windows of ``x``, ``taps`` at a time; its own stream where they are the image as it
    arrives."""
    shape = site.graph.shapes[x]
    reads = site.wiring.read(x, lanes, layer)
    if is_trivial(window, shape):
        return reads
    image, window = as_image(shape, window)
    positions = math.prod(window.infer(image))
    beats = positions * window.size * image[2] // (lanes * taps)
    stream = site.wiring.stream(f"{layer}_windows", site.wiring.source(x), lanes * taps, beats)
    site.wiring.processes.append(
        WindowProcess(
            site.wiring.names.fresh(f"{layer}_window"),
            layer,
            (reads,),
            (stream,),
            window,
            image,
            lanes,
            taps,
            fill,
        )
    )
    return stream


def matmul(site: Site, part: Part, op: MatMul) -> str:
    """Products of two streams of matrices."""
    node, layer, fold = part.node, site.layer(part), site.fold(part)
    a, b = node.inputs
    *batches, rows, inner = site.graph.shapes[a]
    columns = site.graph.shapes[node.output][-1]
    reads = (
        site.wiring.read(a, fold.simd, layer),
        site.wiring.read(b, fold.simd if op.transposed else fold.pe, layer),
    )
    stream = site.wiring.stream(part.result, part.result, fold.pe)
    site.wiring.processes.append(
        MatMulProcess(
            **site.common(part, "layer", stream),
            reads=reads,
            node=node,
            batches=math.prod(batches),
            rows=rows,
            inner=inner,
            columns=columns,
            transposed=op.transposed,
            fold=fold,
            post=site.post(part, node.output),
        )
    )
    return stream
