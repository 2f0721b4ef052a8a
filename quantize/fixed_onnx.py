"""``FIXED.onnx``: the network in fixed point, as a file that other tools can read too.

The body is the float network with a QONNX ``Quant`` node behind every quantised weight and value,
so that viewers and QONNX tools show what is quantised and how.  QONNX has no overflow modes, no
tables and no exact formats: the fixed graph itself therefore stands whole in the metadata, and is
what Lutra loads.  A digest of the body keeps the two from drifting apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, StringStringEntryProto, helper, numpy_helper

from ..frontend.errors import LutraError, ModelError
from ..frontend.graph import Graph
from ..frontend.onnx.exporter import save_model, to_onnx
from ..frontend.onnx.read import read_model
from ..frontend.onnx.tensor import read_tensor
from ..frontend.onnx.write.insert import insert_after
from .cast import Cast
from .codec import decode_fixed, decode_graph, encode_fixed, encode_graph
from .fixed import FixedGraph
from .formats import Format, Rounding
from .structure import check_pair

GRAPH_KEY = "lutra.fixed_graph"
DIGEST_KEY = "lutra.body_sha256"
LAYOUT = 2
"""Version of the metadata's layout."""

QONNX_DOMAIN = "qonnx.custom_op.general"

QONNX_ROUNDING = {
    Rounding.TRN: "FLOOR",
    Rounding.TRN_ZERO: "DOWN",
    Rounding.RND: "HALF_UP",
    Rounding.RND_INF: "HALF_UP",
    Rounding.RND_ZERO: "HALF_DOWN",
    Rounding.RND_MIN_INF: "HALF_DOWN",
    Rounding.RND_CONV: "ROUND",
}
"""The nearest mode that QONNX has; RND and RND_MIN_INF differ from theirs in negative ties."""


@dataclass(frozen=True)
class FixedModel:
    """A network in fixed point, and the float network that it was made from."""

    source: Graph
    fixed: FixedGraph

    def __post_init__(self) -> None:
        check_pair(self.source, [*self.fixed.inputs, *self.fixed.outputs], self.fixed.layers)


def to_fixed_onnx(model: FixedModel) -> ModelProto:
    """The model as ONNX with Quant nodes and metadata."""
    body = _quantised_body(model)
    data = {
        "layout": LAYOUT,
        "float": encode_graph(model.source),
        "fixed": encode_fixed(model.fixed),
    }
    for key, value in (
        (GRAPH_KEY, json.dumps(data, separators=(",", ":"), sort_keys=True)),
        (DIGEST_KEY, _digest(body)),
    ):
        body.metadata_props.append(StringStringEntryProto(key=key, value=value))
    return body


def save_fixed(model: FixedModel, path: str | Path) -> None:
    """Write the model to a file; an interrupted or failed write leaves what was there.

    Raises:
        OutputError: the file cannot be written.
    """
    save_model(to_fixed_onnx(model), path)


def load_fixed(path: str | Path) -> FixedModel:
    """Read a file that :func:`save_fixed` wrote; the graphs equal those that were saved.

    Raises:
        ModelError: it is no such file, is damaged, or its body was edited by another tool.
    """
    try:
        return from_fixed_onnx(read_model(path))
    except LutraError as error:
        raise error.in_file(str(path)) from None


def is_fixed(body: ModelProto) -> bool:
    """Whether the model claims to be one that :func:`save_fixed` wrote."""
    return any(entry.key == GRAPH_KEY for entry in body.metadata_props)


def from_fixed_onnx(body: ModelProto) -> FixedModel:
    """As :func:`load_fixed`, from a model in memory."""
    if not is_fixed(body):
        raise ModelError(
            "is not a fixed-point model",
            expected="a file that lutra quantize wrote",
            remedy="Run: lutra quantize MODEL.onnx -o FIXED.onnx --data DATA.npz",
        )
    metadata = {entry.key: entry.value for entry in body.metadata_props}
    if metadata.get(DIGEST_KEY) != _digest(body):
        raise ModelError(
            "the network was changed after it was quantised",
            found="a body that differs from the fixed-point network in the metadata",
            remedy="Run lutra quantize again on the changed float model",
        )
    try:
        data = json.loads(metadata[GRAPH_KEY])
    except (ValueError, RecursionError):
        raise ModelError("the metadata are damaged", expected="JSON") from None
    if not isinstance(data, dict) or data.get("layout") != LAYOUT:
        raise ModelError(
            "was written by another version of Lutra",
            found=data.get("layout") if isinstance(data, dict) else None,
            expected=f"layout {LAYOUT}",
            remedy="Run lutra quantize again",
        )
    tensors = {tensor.name: read_tensor(tensor, None) for tensor in body.graph.initializer}
    return FixedModel(decode_graph(data.get("float"), tensors), decode_fixed(data.get("fixed")))


def _quantised_body(model: FixedModel) -> ModelProto:
    """The float model with a Quant node behind each weight and value that has a format."""
    plain = to_onnx(model.source)
    casts = {port.name: model.fixed.entry[port.name] for port in model.fixed.inputs}
    for node in model.fixed.nodes:
        if node.output in model.source.shapes:
            format_ = model.fixed.formats[node.output]
            casts[node.output] = node.op if isinstance(node.op, Cast) else Cast(0, format_)
    computed = {node.output for node in model.source.nodes}
    weights = {
        name: Cast(0, model.fixed.formats[name])
        for name in model.source.constants
        if name in model.fixed.constants
    }
    wanted = {
        name: cast
        for name, cast in (casts | weights).items()
        if name in computed or name in weights or name in model.fixed.entry
    }
    body = insert_after(plain, {name: _Quant(cast) for name, cast in wanted.items()})
    for cast in wanted.values():
        _add_parameters(body, cast.format)
    body.opset_import.append(helper.make_opsetid(QONNX_DOMAIN, 1))
    return body


@dataclass(frozen=True)
class _Quant:
    """Builds the Quant node of one value."""

    cast: Cast

    def __call__(self, source: str, result: str) -> Sequence[NodeProto]:
        format_ = self.cast.format
        inputs = [source, *_parameters(format_)]
        return [
            helper.make_node(
                "Quant",
                inputs,
                [result],
                domain=QONNX_DOMAIN,
                signed=int(format_.signed),
                narrow=0,
                rounding_mode=QONNX_ROUNDING[self.cast.rounding],
            )
        ]


def _parameters(format_: Format) -> tuple[str, str, str]:
    """Names of the initialisers that a Quant node of this format reads."""
    return (
        f"lutra.scale.{format_.fraction}",
        "lutra.zero_point",
        f"lutra.bit_width.{format_.width}",
    )


def _add_parameters(body: ModelProto, format_: Format) -> None:
    present = {tensor.name for tensor in body.graph.initializer}
    values = (format_.step, 0.0, float(format_.width))
    for name, value in zip(_parameters(format_), values, strict=True):
        if name not in present:
            tensor = numpy_helper.from_array(np.array(value, np.float32), name)
            body.graph.initializer.append(tensor)


def _digest(body: ModelProto) -> str:
    """SHA-256 of what the body computes: nodes, attributes and weights, whatever their encoding."""
    digest = hashlib.sha256()
    for node in body.graph.node:
        attributes = sorted(
            (a.name, a.type, a.i, a.f, a.s.hex(), list(a.ints), list(a.floats))
            for a in node.attribute
        )
        parts = [node.op_type, node.domain, list(node.input), list(node.output), attributes]
        digest.update(json.dumps(parts).encode())
    for tensor in body.graph.initializer:
        digest.update(json.dumps([tensor.name, list(tensor.dims)]).encode())
        digest.update(read_tensor(tensor, None).tobytes())
    for port in (*body.graph.input, *body.graph.output):
        dims = [d.dim_value for d in port.type.tensor_type.shape.dim]
        digest.update(json.dumps([port.name, dims]).encode())
    return digest.hexdigest()
