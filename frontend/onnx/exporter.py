"""From the float graph to an ONNX model, and to a file that is whole or not there.

Layouts.  The graph is channels last; ONNX's convolutions and pools are channels first.  Every
value of the graph stands in the model under its own name, in one layout: channels first behind
convolutions, pools and batch norms, and behind the ops that follow them and work in any layout; the
user's (``Port.axes``) at inputs and outputs; channels last elsewhere.  A Transpose stands only
where a reader needs another layout than the value has; its result has a made-up name.

Constants.  Every constant is an initialiser under its own name, rearranged one-to-one as ONNX has
it (``layout.Arrangement``): convolution kernels as ``(out, in, kernel...)``, those of
transposed convolutions as ``(in, out / groups, kernel...)``, weights of recurrent layers as
``(1, out, in)`` and their biases as ``(1, out)``, operands of channels-first values with their axes
moved, all others unchanged.  A constant that is read in a second arrangement stands there under a
made-up name as well.  ONNX's two biases of a recurrent layer are joined from ours and zeros by a
Concat.  What ONNX wants as an input and is an attribute of ours is an initialiser of a made-up
name.

So a tool that annotates the model by name, with one scale a value or one scale an output channel,
finds everything that the graph names.  The operator set is the lowest that has all ops.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ..errors import LutraError, ModelError
from ..graph import Graph, Port
from ..storage import write_file
from .layout import Arrangement, unchanged
from .write.integers import with_integers
from .write.ops import write_node
from .write.writer import Writer

MAX_BYTES = 2**31 - 2**20
"""Largest file: protobuf stops at 2 GB; a little is left for what is not weights."""


def to_onnx(graph: Graph) -> ModelProto:
    """The graph as an ONNX model with a symbolic batch axis, accepted by ``onnx.checker``.

    Raises:
        ModelError: the weights exceed the 2 GB that an ONNX file can hold, or the graph computes
            on constants alone, or reads a weight that is not a constant.
    """
    size = sum(value.nbytes for value in graph.constants.values())
    if size > MAX_BYTES:
        raise ModelError(
            "the network is too large for an ONNX file",
            found=f"{size} bytes of weights",
            expected=f"at most {MAX_BYTES}",
        )
    writer = _write(graph)
    opset = helper.make_opsetid("", writer.opset)
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            graph.name or "network",
            [_port(port) for port in graph.inputs],
            [_port(port) for port in graph.outputs],
            [
                numpy_helper.from_array(np.asarray(value, order="C"), name)
                for name, value in writer.initialisers().items()
            ],
        ),
        opset_imports=[opset],
        ir_version=helper.find_min_ir_version_for([opset]),
        producer_name="lutra",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def arrangements(graph: Graph) -> dict[str, Arrangement]:
    """How :func:`to_onnx` writes the graph's constants, by name."""
    known = _write(graph).arrangements
    return {n: known.get(n) or unchanged(value.shape) for n, value in graph.constants.items()}


def save(graph: Graph, path: str | Path) -> None:
    """Write the graph to an ONNX file; an interrupted or failed write leaves what was there.

    Constants that lie on a grid are written as integers, so that loading finds the grid again.

    Raises:
        OutputError: the folder is missing, cannot be written to or is full, or ``path`` is a
            folder.
        ModelError: as :func:`to_onnx`.
    """
    save_model(with_integers(to_onnx(graph), graph, arrangements(graph)), path)


def save_model(model: ModelProto, path: str | Path) -> None:
    """Write an ONNX model as :func:`save` does.  The same model gives the same bytes."""
    write_file(path, model.SerializeToString(deterministic=True))


def _port(port: Port) -> ValueInfoProto:
    return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, ["batch", *port.outer_shape])


def _write(graph: Graph) -> Writer:
    """All nodes of the graph, written."""
    writer = Writer(graph)
    for node in graph.nodes:
        try:
            write_node(writer, node)
        except LutraError as error:
            error.node = error.node or node.name
            raise
    return writer
