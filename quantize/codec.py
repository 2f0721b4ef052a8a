"""Graphs as JSON: the exact text that a fixed-point model carries in its metadata.

Ops are written field by field, as the types of their fields say.  What is read is untrusted: every
field is checked for its type, sizes are bounded before memory is taken, and the graphs verify
themselves when they are made.
"""

from __future__ import annotations

import base64
import binascii
import enum
import math
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

from ..frontend.errors import LutraError, ModelError
from ..frontend.graph import Graph, Grid, Node, Port
from ..frontend.onnx.exporter import arrangements
from ..frontend.onnx.layout import Arrangement
from ..frontend.ops import Array, Dense, Mul, Op, Quantize, Relu, Round, Shape, Window
from ..frontend.ops.base import MAX_ELEMENTS
from .cast import Cast
from .exact_ops import Clamp, Combine, Rearrange
from .fixed import FixedGraph, FixedOp
from .formats import MAX_WIDTH, Format
from .lut import Lut
from .structure import check_nodes, check_ports

FLOAT_OPS: Mapping[str, type] = {op.__name__: op for op in get_args(Op)}

FIXED_OPS: Mapping[str, type] = {op.__name__: op for op in get_args(FixedOp)}

BODY_OPS: Mapping[str, type] = {op.__name__: op for op in (Dense, Combine, Mul, Cast, Lut, Relu)}
"""What the body of a loop is made of."""

MAX_GRID = 1 << 127
"""Largest integer of a grid: as a float32 it is still finite."""

RAW = {
    (Clamp, "low"): 1 << MAX_WIDTH,
    (Clamp, "high"): 1 << MAX_WIDTH,
    (Rearrange, "fill"): 1 << MAX_WIDTH,
    (Quantize, "low"): MAX_GRID,
    (Quantize, "high"): MAX_GRID,
}
"""Fields that hold raw values, which may be larger than any size, and how large they may be."""

Json = Any
"""What ``json`` reads and writes."""


def encode_graph(graph: Graph) -> Json:
    """The structure of a float graph; of its weights the names, and how ONNX holds them."""
    return {
        "name": graph.name,
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "nodes": [_node(node) for node in graph.nodes],
        "constants": {name: _attributes(how) for name, how in arrangements(graph).items()},
        **({"grids": {n: _grid(grid) for n, grid in graph.grids.items()}} if graph.grids else {}),
    }


def decode_graph(data: Json, tensors: Mapping[str, Array]) -> Graph:
    """The float graph that :func:`encode_graph` wrote, with the weights as ONNX holds them."""
    constants = _mapping(_get(data, "constants"))
    missing = [name for name in constants if name not in tensors]
    if missing:
        raise ModelError("a weight is missing", found=missing[0])
    weights = {
        name: _read_op(Arrangement, how).read(tensors[name]) for name, how in constants.items()
    }
    nodes = tuple(_read_node(node, FLOAT_OPS) for node in _list(_get(data, "nodes")))
    check_nodes(nodes, weights)
    graph = Graph(
        _text(_get(data, "name")),
        tuple(_read_port(port) for port in _list(_get(data, "inputs"))),
        tuple(_read_port(port) for port in _list(_get(data, "outputs"))),
        nodes,
        weights,
        {name: _read_grid(grid) for name, grid in _mapping(data.get("grids", {})).items()},
    )
    check_ports(graph.inputs, graph.outputs, weights, graph.shapes)
    return graph


def encode_fixed(graph: FixedGraph) -> Json:
    """A fixed graph, whole."""
    factors = {name: factor.tolist() for name, factor in graph.factors.items()}
    return {
        "name": graph.name,
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "entry": {name: _attributes(cast) for name, cast in graph.entry.items()},
        "nodes": [_node(node) for node in graph.nodes],
        "constants": {name: _array(raw) for name, raw in graph.constants.items()},
        "formats": {name: str(format_) for name, format_ in graph.formats.items()},
        "layers": dict(graph.layers),
        **({"inexact": dict(graph.inexact)} if graph.inexact else {}),
        **({"factors": factors} if factors else {}),
    }


def decode_fixed(data: Json) -> FixedGraph:
    """The fixed graph that :func:`encode_fixed` wrote.

    Raises:
        LutraError: the data are damaged, or the graph does not verify.
    """
    entry = _mapping(_get(data, "entry"))
    constants = _mapping(_get(data, "constants"))
    formats = _mapping(_get(data, "formats"))
    layers = _mapping(_get(data, "layers"))
    return FixedGraph(
        _text(_get(data, "name")),
        tuple(_read_port(port) for port in _list(_get(data, "inputs"))),
        tuple(_read_port(port) for port in _list(_get(data, "outputs"))),
        {name: _read_op(Cast, cast) for name, cast in entry.items()},
        tuple(_read_node(node, FIXED_OPS) for node in _list(_get(data, "nodes"))),
        {name: _read_array(raw) for name, raw in constants.items()},
        {name: Format.parse(_text(text)) for name, text in formats.items()},
        {name: _text(layer) for name, layer in layers.items()},
        {name: _number(error) for name, error in _mapping(data.get("inexact", {})).items()},
        {name: _read_factor(factor) for name, factor in _mapping(data.get("factors", {})).items()},
    )


# Writing


def _port(port: Port) -> Json:
    scale = {} if port.scale == 1 else {"scale": port.scale}
    return {"name": port.name, "shape": list(port.shape), "axes": list(port.axes), **scale}


def _grid(grid: Grid) -> Json:
    return {"low": grid.low, "high": grid.high, "scale": grid.scale.tolist()}


def _node(node: Node[Any]) -> Json:
    return {
        "name": node.name,
        "op": type(node.op).__name__,
        **({"attributes": attributes} if (attributes := _attributes(node.op)) else {}),
        "inputs": list(node.inputs),
        "output": node.output,
    }


def _attributes(op: Any) -> dict[str, Json]:
    return {field.name: _plain(getattr(op, field.name)) for field in fields(op)}


def _plain(value: Any) -> Json:
    match value:
        case Format():
            return str(value)
        case Round():
            return value.name
        case Node():
            return _node(value)
        case tuple():
            return [_plain(item) for item in value]
        case _ if is_dataclass(value):
            return _attributes(value)
        case _:
            return value


def _array(raw: Array) -> Json:
    """Raw integers in the narrowest type, compressed."""
    low, high = (int(raw.min()), int(raw.max())) if raw.size else (0, 0)
    kind = next(kind for kind in _KINDS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    packed = zlib.compress(np.ascontiguousarray(raw, kind).tobytes(), 9)
    return {
        "shape": list(raw.shape),
        "type": kind,
        "data": base64.b64encode(packed).decode("ascii"),
    }


_KINDS = ("<i1", "<i2", "<i4", "<i8")


# Reading


def _damaged(found: Any, expected: str) -> LutraError:
    return ModelError(
        "the fixed-point network in the metadata is damaged",
        found=found,
        expected=expected,
        remedy="Run lutra quantize again",
    )


def _get(data: Json, key: str) -> Json:
    if not isinstance(data, dict) or key not in data:
        raise _damaged(f"no '{key}'", "the metadata that lutra quantize writes")
    return data[key]


def _list(data: Json) -> list[Json]:
    if not isinstance(data, list):
        raise _damaged(type(data).__name__, "a list")
    return data


def _mapping(data: Json) -> dict[str, Json]:
    if not isinstance(data, dict):
        raise _damaged(type(data).__name__, "a table")
    return data


def _text(data: Json) -> str:
    if not isinstance(data, str):
        raise _damaged(type(data).__name__, "a text")
    if not data.isascii() and any("\ud800" <= c <= "\udfff" for c in data):
        raise _damaged(ascii(data[:80]), "text of whole characters")
    return data


def _integer(data: Json, most: int = MAX_ELEMENTS) -> int:
    if type(data) is not int or abs(data) > most:
        raise _damaged(data, f"a whole number up to {most}")
    return data


def _number(data: Json) -> float:
    try:
        number = float(data) if type(data) in (int, float) else math.nan
    except OverflowError:
        number = math.nan
    if math.isnan(number):
        raise _damaged(data, "a number that a float can hold")
    return number


def _shape(data: Json) -> Shape:
    return tuple(_integer(item) for item in _list(data))


def _read_port(data: Json) -> Port:
    scale = _number(data.get("scale", 1.0)) if isinstance(data, dict) else 1.0
    port = Port(
        _text(_get(data, "name")), _shape(_get(data, "shape")), _shape(_get(data, "axes")), scale
    )
    if not 0 < scale < math.inf:
        raise _damaged(scale, "a positive scale")
    if sorted(port.axes) != list(range(len(port.shape))) or min(port.shape, default=0) < 1:
        raise _damaged(f"shape {port.shape}, axes {port.axes}", "positive sizes, each axis once")
    if math.prod(port.shape) > MAX_ELEMENTS:
        raise _damaged(port.shape, f"at most {MAX_ELEMENTS} elements")
    return port


def _read_factor(data: Json) -> Array:
    factor = np.array([_number(item) for item in _list(data)])
    if not factor.size or not (np.isfinite(factor) & (factor > 0)).all():
        raise _damaged(factor[:4], "positive factors")
    return factor


def _read_grid(data: Json) -> Grid:
    low, high = (_integer(_get(data, end), MAX_GRID) for end in ("low", "high"))
    scale = np.array([_number(item) for item in _list(_get(data, "scale"))])
    with np.errstate(over="ignore", under="ignore"):
        scale = scale.astype(np.float32)
    if not scale.size or not (np.isfinite(scale) & (scale > 0)).all():
        raise _damaged(scale[:4], "positive scales")
    return Grid(low, high, scale)


def _read_node(data: Json, ops: Mapping[str, type]) -> Node[Any]:
    kind = _text(_get(data, "op"))
    if kind not in ops:
        raise _damaged(kind, f"one of {', '.join(ops)}")
    attributes = data.get("attributes", {})
    return Node(
        _text(_get(data, "name")),
        _read_op(ops[kind], attributes),
        tuple(_text(name) for name in _list(_get(data, "inputs"))),
        _text(_get(data, "output")),
    )


def _read_op(kind: type, data: Json) -> Any:
    """A dataclass from its fields."""
    hints = _hints(kind)
    if sorted(_mapping(data)) != sorted(hints):
        raise _damaged(f"{kind.__name__} with {sorted(data)}", f"{kind.__name__} with {[*hints]}")
    found = {
        name: _integer(data[name], RAW[kind, name])
        if (kind, name) in RAW
        else _read(hint, data[name])
        for name, hint in hints.items()
    }
    op = kind(**found)
    if isinstance(op, Window) and not (
        len(op.kernel) == len(op.stride) == len(op.pad) == len(op.dilation) > 0
    ):
        raise _damaged(op, "kernel, stride, padding and dilation with the same axes")
    return op


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _read(hint: Any, data: Json) -> Any:
    """A field of the type ``hint``."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        items = _list(data)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else inner
        if len(items) != len(kinds):
            raise _damaged(items, f"{len(kinds)} items")
        return tuple(_read(kind, item) for kind, item in zip(kinds, items, strict=True))
    if origin is Literal or hint is bool:
        known = inner or (False, True)
        if not any(type(data) is type(value) and data == value for value in known):
            raise _damaged(data, f"one of {', '.join(map(str, known))}")
        return data
    if origin is Node:
        return _read_node(data, BODY_OPS)
    if hint is Round:
        if _text(data) not in Round.__members__:
            raise _damaged(data, "a known rounding")
        return Round[data]
    if isinstance(hint, enum.EnumType):
        try:
            return hint(_text(data))
        except ValueError as error:
            raise _damaged(error, "a known mode") from None
    if hint is Format:
        return Format.parse(_text(data))
    if isinstance(hint, type) and is_dataclass(hint):
        return _read_op(hint, data)
    return _SIMPLE[hint](data)


_SIMPLE = {int: _integer, float: _number, str: _text}


def _read_array(data: Json) -> Array:
    shape, kind = _shape(_get(data, "shape")), _text(_get(data, "type"))
    if kind not in _KINDS or min(shape, default=1) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise _damaged(f"{kind}, {shape}", "an array of integers")
    size = math.prod(shape) * np.dtype(kind).itemsize
    try:
        packed = base64.b64decode(_text(_get(data, "data")), validate=True)
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(packed, size + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise _damaged(error, "compressed integers") from None
    if len(content) != size:
        raise _damaged(f"{len(content)} bytes", f"{size} bytes")
    return np.frombuffer(content, kind).reshape(shape).astype(np.int64)
