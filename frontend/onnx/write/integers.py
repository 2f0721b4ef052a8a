"""Constants that lie on a grid, written as what they are: integers and their scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ...graph import Graph, Grid
from ...names import Names
from ...ops import Array
from ..layout import Arrangement

TYPES: tuple[DTypeLike, ...] = (np.int8, np.uint8, np.int32)
"""The types that integers are written in, the first that holds them all."""


def with_integers(
    model: ModelProto, graph: Graph, arrangements: Mapping[str, Arrangement]
) -> ModelProto:
    """``model`` with each constant that lies on a grid as integers and a DequantizeLinear.

    Its bounds are those of the integers' type, or a Clip's behind them, so that an import finds
    the same grid.  A constant whose scales are not along one axis of ONNX's stays in floats.

    Args:
        model: as :func:`~.exporter.to_onnx` gives it.
        graph: what it was made of.
        arrangements: how the model holds the constants.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    body = copy.graph
    names = Names({tensor.name for tensor in body.initializer})
    for node in body.node:
        names.taken.update((node.name, *node.input, *node.output))
    nodes: list[NodeProto] = []
    kept: list[TensorProto] = []
    for tensor in body.initializer:
        grid = graph.grids.get(tensor.name)
        made = grid and _written(tensor.name, graph, grid, arrangements[tensor.name], names)
        nodes += made[0] if made else []
        kept += made[1] if made else [tensor]
    if not nodes:
        return model
    nodes += body.node
    copied = [type(node).FromString(node.SerializeToString()) for node in nodes]
    tensors = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del body.node[:], body.initializer[:]
    body.node.extend(copied)
    body.initializer.extend(tensors)
    return copy


def _written(
    name: str, graph: Graph, grid: Grid, arrangement: Arrangement, names: Names
) -> tuple[list[NodeProto], list[TensorProto]] | None:
    """The nodes that give one constant, and what they read; None where ONNX has no such form."""
    value = graph.constants[name]
    axis = _axis(arrangement.write(np.broadcast_to(grid.scale, value.shape)), grid.scale)
    kind = next((kind for kind in TYPES if _holds(kind, grid)), None)
    if axis is None or kind is None:
        return None
    q = np.asarray(arrangement.write(grid.integers(value)), kind, order="C")
    source, scale = names.new(f"{name}_integers"), names.new(f"{name}_scale")
    single = grid.scale.size == 1
    tensors = [
        numpy_helper.from_array(q, source),
        numpy_helper.from_array(grid.scale.reshape(()) if single else grid.scale, scale),
    ]
    nodes: list[NodeProto] = []
    limits = np.iinfo(kind)
    if (grid.low, grid.high) != (limits.min, limits.max):
        bounds = [names.new(f"{name}_{which}") for which in ("low", "high")]
        ends = zip(bounds, (grid.low, grid.high), strict=True)
        tensors += [numpy_helper.from_array(np.array(end, kind), bound) for bound, end in ends]
        clipped = names.new(f"{name}_clipped")
        label = names.new(f"{name}_clip")
        nodes.append(helper.make_node("Clip", [source, *bounds], [clipped], name=label))
        source = clipped
    label = names.new(f"{name}_dequantise")
    along: dict[str, Any] = {} if single else {"axis": axis}
    nodes.append(helper.make_node("DequantizeLinear", [source, scale], [name], name=label, **along))
    return nodes, tensors


def _holds(kind: DTypeLike, grid: Grid) -> bool:
    limits = np.iinfo(kind)
    return bool(limits.min <= grid.low <= grid.high <= limits.max)


def _axis(full: Array, scale: Array) -> int | None:
    """The axis along which an array repeats ``scale``; any for one number."""
    if scale.size == 1:
        return 0
    for axis, size in enumerate(full.shape):
        row = scale.reshape(-1, *(1,) * (full.ndim - 1 - axis))
        if size == scale.size and np.array_equal(full, np.broadcast_to(row, full.shape)):
            return axis
    return None
