"""Ways to damage an ONNX model: each takes the model and a generator, and changes the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from lutra.frontend.onnx.translate.forms import FORMS

Item = TypeVar("Item")
Rng = np.random.Generator

INTEGERS = (
    *(-(2**63), -(2**61) - 12345, -(2**31), -7, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 100),
    *(255, 1000, 2**15, 2**20, 2**24, 2**28, 2**30, 10**9, 2**31 - 1, 2**31, 2**32, 2**62),
    2**63 - 1,
)
"""Sizes, axes and counts that go wrong; among them what stands for a symbolic batch inside."""

FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-8, 1e8, 3e38, np.inf, -np.inf, np.nan)
TEXTS: tuple[str, ...] = (
    "",
    "x",
    "y",
    "NOTSET",
    "SAME_UPPER",
    "linear",
    "nearest",
    "cubic",
    "\0",
    "ü" * 300,
)
TEXTS += ("../../x", "Tanh", "bidirectional", "reverse", "a\nb", "ij,jk->ik", "%0", "none")
DOMAINS: tuple[str, ...] = (
    "",
    "ai.onnx",
    "onnx.brevitas",
    "finn.custom_op.general",
    "qonnx.custom_op.general",
)
DOMAINS += ("ai.onnx.ml", "com.microsoft")
QUANTISED = ("Quant", "IntQuant", "BipolarQuant", "Trunc", "FloatQuant")
SUPPORTED = tuple(FORMS)
OPS = tuple(sorted({s.name for s in onnx.defs.get_all_schemas() if not s.domain})) + QUANTISED


def pick(rng: Rng, items: Sequence[Item]) -> Item:
    """One of ``items``."""
    return items[int(rng.integers(len(items)))]


def some_name(graph: GraphProto, rng: Rng) -> str:
    """The name of a value of the model; now and then of none."""
    names = [port.name for port in graph.input] + [t.name for t in graph.initializer]
    names += [name for node in graph.node for name in node.output]
    return pick(rng, names) if names and rng.random() < 0.9 else pick(rng, TEXTS)


def change_op(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    node.op_type = pick(rng, OPS if rng.random() < 0.3 else SUPPORTED)
    if rng.random() < 0.2 or node.op_type in QUANTISED:
        node.domain = pick(rng, DOMAINS)


def rewire(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    if node.input:
        node.input[int(rng.integers(len(node.input)))] = some_name(model.graph, rng)


def change_inputs(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    inputs = list(node.input)
    match int(rng.integers(4)):
        case 0 if inputs:
            inputs.pop(int(rng.integers(len(inputs))))
        case 1:
            inputs.append(some_name(model.graph, rng))
        case 2:
            rng.shuffle(inputs)
        case _:
            inputs *= 2
    node.input[:] = inputs


def change_outputs(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    match int(rng.integers(3)):
        case 0 if node.output:
            node.output[int(rng.integers(len(node.output)))] = some_name(model.graph, rng)
        case 1 if node.output:
            node.output[0] = ""
        case _:
            node.output.append(f"further{rng.integers(3)}")


def change_nodes(model: ModelProto, rng: Rng) -> None:
    nodes = list(model.graph.node)
    at = int(rng.integers(len(nodes)))
    match int(rng.integers(4)):
        case 0:
            nodes.pop(at)
        case 1:
            nodes.insert(at, nodes[int(rng.integers(len(nodes)))])
        case 2:
            rng.shuffle(nodes)
        case _:
            copy = NodeProto.FromString(nodes[at].SerializeToString())
            copy.output[:] = [f"copy{i}" for i in range(len(copy.output))]
            nodes.insert(int(rng.integers(len(nodes) + 1)), copy)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def insert_node(model: ModelProto, rng: Rng) -> None:
    """A new node of any op behind a value, for all who read that value."""
    graph = model.graph
    name, op = some_name(graph, rng), pick(rng, OPS if rng.random() < 0.3 else SUPPORTED)
    new = f"new{rng.integers(1000)}"
    for node in graph.node:
        node.input[:] = [new if text == name else text for text in node.input]
    count = int(min(rng.geometric(0.5), 4))
    inputs = [name, *(some_name(graph, rng) for _ in range(count - 1))]
    node = onnx.helper.make_node(op, inputs, [new])
    for _ in range(int(rng.geometric(0.5)) - 1):
        add_attribute(node, rng)
    kept = [NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    kept.insert(int(rng.integers(len(kept) + 1)), node)
    del graph.node[:]
    graph.node.extend(kept)


def add_attribute(node: NodeProto, rng: Rng) -> None:
    """An attribute that the op has, with any value of its type or of another."""
    known = [a for s in _schemas(node.op_type) for a in s.attributes.values()]
    name = pick(rng, known).name if known and rng.random() < 0.9 else "further"
    integers = [int(pick(rng, INTEGERS)) for _ in range(int(rng.integers(5)))]
    floats = [pick(rng, FLOATS) for _ in range(int(rng.integers(1, 4)))]
    text, number = pick(rng, TEXTS), pick(rng, FLOATS)
    value: Any = pick(rng, (integers, floats, integers[:1] or 1, text, number))
    typed = {"INT": int(pick(rng, INTEGERS)), "INTS": integers, "FLOAT": number}
    typed |= {"FLOATS": floats, "STRING": text, "STRINGS": [text]}
    kinds = [str(a.type).rpartition(".")[2] for a in known if a.name == name]
    if kinds and rng.random() < 0.8:
        value = typed.get(kinds[0], value)
    if value != []:
        node.attribute.append(onnx.helper.make_attribute(name, value))


def _schemas(op: str) -> list[onnx.defs.OpSchema]:
    try:
        return [onnx.defs.get_schema(op, onnx.defs.onnx_opset_version(), "")]
    except onnx.defs.SchemaError:
        return []


def change_attribute(model: ModelProto, rng: Rng) -> None:
    node = pick(rng, model.graph.node)
    if not node.attribute or rng.random() < 0.3:
        add_attribute(node, rng)
        return
    attribute = pick(rng, node.attribute)
    match int(rng.integers(6)):
        case 0:
            node.attribute.remove(attribute)
        case 1:
            attribute.type = pick(rng, list(AttributeProto.AttributeType.values()))
        case 2 if attribute.ints:
            attribute.ints[int(rng.integers(len(attribute.ints)))] = pick(rng, INTEGERS)
        case 3 if attribute.ints:
            attribute.ints.pop()
        case 4 if attribute.HasField("t"):
            damage_tensor(attribute.t, rng)
        case _:
            attribute.i = pick(rng, INTEGERS)
            attribute.f = pick(rng, FLOATS)
            attribute.s = pick(rng, TEXTS).encode()


def damage_tensor(tensor: TensorProto, rng: Rng) -> None:
    """Wrong sizes, types, values or places of its data."""
    match int(rng.integers(7)):
        case 0 if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, INTEGERS)
        case 1:
            tensor.dims.append(pick(rng, INTEGERS))
        case 2:
            tensor.data_type = int(rng.integers(0, 30))
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=pick(rng, TEXTS))
        case 4:
            dims = list(tensor.dims)
            rng.shuffle(dims)
            tensor.dims[:] = dims
        case _:
            _change_values(tensor, rng)


def _change_values(tensor: TensorProto, rng: Rng) -> None:
    try:
        value = numpy_helper.to_array(tensor).copy()
    except Exception:  # damaged already
        return
    match int(rng.integers(4)):
        case 0 if value.size:
            flat = value.reshape(-1)
            choice: Sequence[Any] = INTEGERS if value.dtype.kind in "iu" else FLOATS
            with np.errstate(all="ignore"):
                new = np.array(pick(rng, choice)).astype(value.dtype)
            flat[int(rng.integers(value.size))] = new
        case 1:
            value = value.reshape(-1)
        case 2:
            value = value[None]
        case _:
            value = value[: int(rng.integers(len(value) + 1))] if value.ndim else value * 0
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))


def change_weight(model: ModelProto, rng: Rng) -> None:
    graph = model.graph
    if not graph.initializer:
        return
    tensor = pick(rng, graph.initializer)
    match int(rng.integers(8)):
        case 0:
            graph.initializer.remove(tensor)
        case 1:
            tensor.name = some_name(graph, rng)
        case 2:
            graph.initializer.append(tensor)
        case 3:
            elem = tensor.data_type
            dims = list(tensor.dims)
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, elem, dims))
            graph.initializer.remove(tensor)
        case _:
            damage_tensor(tensor, rng)


def change_port(model: ModelProto, rng: Rng) -> None:
    graph = model.graph
    ports = graph.input if rng.random() < 0.7 else graph.output
    if not ports:
        return
    port = pick(rng, ports)
    dims = port.type.tensor_type.shape.dim
    match int(rng.integers(8)):
        case 0:
            ports.remove(port)
        case 1:
            ports.append(port)
        case 2:
            port.name = some_name(graph, rng)
        case 3:
            port.type.tensor_type.elem_type = int(rng.integers(0, 30))
        case 4 if dims:
            pick(rng, dims).dim_param = pick(rng, TEXTS)
        case 5:
            dims.add(dim_value=pick(rng, INTEGERS))
        case 6 if dims:
            del dims[-1]
        case _:
            for dim in dims:
                if rng.random() < 0.5:
                    dim.dim_value = pick(rng, INTEGERS)


def resize_input(model: ModelProto, rng: Rng) -> None:
    """Another plausible size, so that most of the model still fits."""
    for port in model.graph.input:
        for dim in port.type.tensor_type.shape.dim:
            if rng.random() < 0.5:
                dim.dim_value = int(rng.integers(0, 9))


def change_model(model: ModelProto, rng: Rng) -> None:
    match int(rng.integers(4)):
        case 0:
            for entry in model.opset_import:
                entry.version = int(rng.integers(5, onnx.defs.onnx_opset_version() + 2))
        case 1:
            model.opset_import.add(domain=pick(rng, DOMAINS), version=int(rng.integers(1, 20)))
        case 2:
            node = pick(rng, model.graph.node)
            function = model.functions.add(name=node.op_type, domain=node.domain)
            function.node.append(node)
        case _:
            model.graph.name = pick(rng, TEXTS)
            model.graph.node[0].name = pick(rng, TEXTS)


def change_field(model: ModelProto, rng: Rng) -> None:
    """Any field at any depth: a number or a text changed, a list doubled, a message cleared."""
    message: Any = model
    while True:
        fields = [field for field, _ in message.ListFields()]
        if not fields:
            return
        field = pick(rng, fields)
        value = getattr(message, field.name)
        repeated = hasattr(value, "__len__") and not isinstance(value, str | bytes)
        if field.message_type is not None and rng.random() < 0.9:
            message = pick(rng, value) if repeated else value
            continue
        if field.message_type is not None:
            message.ClearField(field.name)
            return
        _change_scalar(message, field.name, repeated, rng)
        return


def _change_scalar(message: Any, name: str, repeated: bool, rng: Rng) -> None:
    old = getattr(message, name)
    sample = old[0] if repeated else old
    new: Any = pick(rng, INTEGERS)
    if isinstance(sample, float):
        new = pick(rng, FLOATS)
    elif isinstance(sample, str):
        new = pick(rng, TEXTS)
    elif isinstance(sample, bytes):
        new = sample[: int(rng.integers(len(sample) + 1))]
    try:
        if repeated:
            old[int(rng.integers(len(old)))] = new
        else:
            setattr(message, name, new)
    except (ValueError, TypeError):
        message.ClearField(name)  # a number that its type cannot hold


Mutation = Callable[[ModelProto, Rng], None]
MUTATIONS: tuple[Mutation, ...] = (
    change_op, rewire, change_inputs, change_outputs, change_nodes, insert_node, change_attribute,
    change_attribute, change_weight, change_weight, change_port, resize_input, change_model,
    change_field,
)  # fmt: skip


def damaged_model(content: bytes, rng: Rng) -> bytes:
    """The model with one mutation or a few."""
    model = ModelProto.FromString(content)
    for _ in range(min(int(rng.geometric(0.6)), 5)):
        if model.graph.node:
            pick(rng, MUTATIONS)(model, rng)
    return bytes(model.SerializeToString())


def damaged_bytes(content: bytes, rng: Rng) -> bytes:
    """The file with bytes changed, removed or repeated, or its end cut off."""
    file = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, length = int(rng.integers(len(file) + 1)), int(rng.integers(1, 40))
        match int(rng.integers(5)):
            case 0 if at < len(file):
                file[at] ^= 1 << int(rng.integers(8))
            case 1:
                file[at : at + length // 10 + 1] = rng.bytes(length // 10 + 1)
            case 2:
                del file[at : at + length]
            case 3:
                file[at:at] = file[at : at + length]
            case _ if rng.random() < 0.3:
                del file[at:]
    return bytes(file)


def damaged(content: bytes, rng: Rng) -> bytes:
    """A file made of a valid one: most often a model that can be parsed."""
    return damaged_bytes(content, rng) if rng.random() < 0.2 else damaged_model(content, rng)
