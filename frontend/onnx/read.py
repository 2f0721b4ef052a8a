"""From an untrusted file to an ONNX model whose outer structure can be relied on."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from ..errors import ModelError

MAX_FILE = 2**31 - 1
"""Largest file in bytes, protobuf's own limit; larger weights belong in external data."""

OLDEST_OPSET = 7
"""The first opset in which operands broadcast as they do today."""


def read_model(path: str | Path) -> ModelProto:
    """Parse an ONNX file.

    Raises:
        ModelError: there is no such file, it cannot be read, is larger than 2 GB, or is not ONNX.
    """
    file = str(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ModelError("is a folder", file=file, expected="an ONNX file")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("is a device or pipe", file=file, expected="an ONNX file")
        if status.st_size > MAX_FILE:
            raise ModelError(
                "the file is too large",
                file=file,
                found=f"{status.st_size} bytes",
                expected=f"at most {MAX_FILE}",
                remedy="Save the model with its weights as external data",
            )
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ModelError("the file cannot be read", file=file, found=reason) from error
    if not data:
        raise ModelError("the file is empty", file=file, expected="an ONNX model")
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError:
        raise ModelError(
            "the file is not ONNX, or is damaged",
            file=file,
            expected="an ONNX model",
            remedy="Export it again, or copy it again if it was cut off on the way",
        ) from None
    return model


def check_structure(model: ModelProto) -> int:
    """Verify what every later step relies on: a graph, readable names, a known opset.

    Returns:
        The version of ONNX's own operator set.

    Raises:
        ModelError: something of this is missing.
    """
    if not model.HasField("graph"):
        raise ModelError(
            "holds no network", found="a file without a graph", expected="an ONNX model"
        )
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise ModelError(
            "holds a name that is not text",
            expected="UTF-8",
            remedy="The file is damaged; export it again",
        )
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1:
        raise ModelError(
            "does not say which ONNX operator set it uses",
            found=sorted(versions) or "none",
            expected="one version",
            remedy="The file is damaged or cut off; export it again",
        )
    (version,) = versions
    if version < OLDEST_OPSET:
        raise ModelError(
            f"uses ONNX operator set {version}",
            expected=f"{OLDEST_OPSET} to {newest}",
            remedy=f"Convert it with onnx.version_converter.convert_version(model, {OLDEST_OPSET})",
        )
    if version > newest:
        raise ModelError(
            f"uses ONNX operator set {version}",
            expected=f"{OLDEST_OPSET} to {newest}",
            remedy="Update the Python package 'onnx', or export for an older operator set",
        )
    return int(version)


def _texts(model: ModelProto) -> Iterator[str]:
    """All names in the model; protobuf gives bytes for those that are not UTF-8."""
    graph = model.graph
    yield graph.name
    yield from (entry.domain for entry in model.opset_import)
    yield from (text for f in model.functions for text in (f.name, f.domain))
    yield from (tensor.name for tensor in graph.initializer)
    for port in chain(graph.input, graph.output):
        yield port.name
        yield from (dim.dim_param for dim in port.type.tensor_type.shape.dim)
    for node in graph.node:
        parts: Iterable[Iterable[str]] = (
            (node.name, node.op_type, node.domain),
            node.input,
            node.output,
            (attribute.name for attribute in node.attribute),
        )
        yield from chain.from_iterable(parts)
