"""Nodes inserted into an ONNX model by the name of the value that they work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnx import ModelProto, NodeProto

from ...errors import ModelError
from ...names import Names

Build = Callable[[str, str], Sequence[NodeProto]]
"""Given the names of a source and of a result value, the nodes that lead from one to the other."""


def insert_after(model: ModelProto, builds: Mapping[str, Build]) -> ModelProto:
    """A copy of ``model`` in which all that read a value read the result of further nodes on it.

    Args:
        model: as :func:`to_onnx` gives it.
        builds: for the name of a value (an initialiser, an input or a node's output) the nodes to
            insert behind it.  The result of the nodes behind an output of the model takes the
            output's name; otherwise the value keeps its name and the result gets a new one.

    Raises:
        ModelError: the model has no value of such a name.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    given = [*(tensor.name for tensor in graph.initializer), *(port.name for port in graph.input)]
    defined = {name for node in graph.node for name in node.output}
    names = Names({*given, *defined})
    for name in builds:
        if name not in names.taken:
            raise ModelError("the model has no such value", found=name)
    outputs = {port.name for port in graph.output} & defined
    other = {name: names.new(f"{name}_behind") for name in builds}
    readers_read = {name: new for name, new in other.items() if name not in outputs}
    nodes = [
        n
        for name in dict.fromkeys(given)
        if name in builds
        for n in builds[name](name, other[name])
    ]
    for node in graph.node:
        node.input[:] = [readers_read.get(name, name) for name in node.input]
        behind: list[NodeProto] = []
        for i, name in enumerate(node.output):
            if name in outputs and name in builds:
                node.output[i] = other[name]
                behind.extend(builds[name](other[name], name))
            elif name in builds:
                behind.extend(builds[name](name, other[name]))
        nodes += [node, *behind]
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return copy
