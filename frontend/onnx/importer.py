"""From an ONNX model to the float graph, or to one error that names all that stands in the way.

Each node is translated literally (``nodes``), and the passes then remove the Transposes that
this leaves.  Nothing is approximated: an op, or a form of one, that is not known to be exact is
refused, together with everything else in the model that is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from ..errors import LutraError, ModelError, ShapeError, UnsupportedOpError, clip
from ..graph import Graph
from ..names import Names
from ..ops import Array, Shape
from ..ops.base import MAX_ELEMENTS
from ..passes import simplify
from .call import call_of, check_form
from .nodes import FORMS, OTHER_FORMS
from .read import check_structure, read_model
from .schema import schema_of
from .tensor import read_tensor, type_name
from .values import Activation, Builder, Constant, RefusedError, Unknown

MAX_RANK = 4
"""Most axes of the input, the batch among them."""

SHOWN = 8
"""Most refusals that a message lists, and most nodes of each; the error itself holds all."""


@dataclass(frozen=True)
class Refusal:
    """One op, or form of it, that cannot be expressed: why, and at which nodes."""

    op: str
    reason: str
    nodes: tuple[str, ...]


class UnsupportedModelError(UnsupportedOpError):
    """The model holds what Lutra cannot express; ``refusals`` says all of it."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        more = f"; and {len(refusals) - SHOWN} more" if len(refusals) > SHOWN else ""
        super().__init__(
            "the model needs what is not supported: "
            + "; ".join(_describe(refusal) for refusal in refusals[:SHOWN])
            + more,
            remedy="Replace these parts and export again. Supported ops: "
            + ", ".join(sorted([*FORMS, *OTHER_FORMS])),
        )
        self.refusals = tuple(refusals)


def load(path: str | Path) -> Graph:
    """Read an ONNX file into a float graph.

    Raises:
        ModelError: the file cannot be read, is not ONNX, or contradicts itself.
        ShapeError: shapes do not fit, or are left open beyond the batch.
        UnsupportedModelError: it holds what our graph cannot express, all of it named.
    """
    return from_onnx(read_model(path), str(path))


def from_onnx(model: ModelProto, file: str | None = None) -> Graph:
    """The float graph of an ONNX model; ``file`` is named in errors, and holds external data.

    Raises:
        LutraError: as :func:`load`.
    """
    try:
        return simplify(_Import(model, Path(file).parent if file else None).run().graph)
    except LutraError as error:
        if file:
            error.in_file(file)
        raise


@dataclass(frozen=True)
class Literal:
    """A model as it was translated, node by node, before any pass.

    Attributes:
        graph: where every value has the axes that ONNX gives it, but for the batch.
        values: what the values of the file became, by their names there; ``id`` is the name in
            the graph.  Those that no output depends on are not among them.
    """

    graph: Graph
    values: Mapping[str, Activation]


def literal(model: ModelProto, file: str | None = None) -> Literal:
    """The float graph of an ONNX model before any pass; arguments as for :func:`from_onnx`.

    Raises:
        LutraError: as :func:`load`.
    """
    try:
        return _Import(model, Path(file).parent if file else None).run()
    except LutraError as error:
        if file:
            error.in_file(file)
        raise


class _Import:
    """One walk over the nodes of one model."""

    def __init__(self, model: ModelProto, folder: Path | None) -> None:
        opset = check_structure(model)
        self.graph = model.graph
        self.folder = folder
        self.functions = {(f.domain, f.name) for f in model.functions}
        self.refused: dict[tuple[str, str], list[str]] = {}
        self.damage: LutraError | None = None
        self.defined = {name for node in self.graph.node for name in node.output if name}
        self.read = {name for node in self.graph.node for name in node.input}
        self.read |= {port.name for port in self.graph.output}
        constants = {tensor.name for tensor in self.graph.initializer}
        self.inputs = [port for port in self.graph.input if port.name not in constants]
        names = self.defined | constants | {port.name for port in self.inputs}
        self.builder = Builder(opset, None, names)
        self.sources: dict[str, str] = {}

    def run(self) -> Literal:
        if not self.graph.node:
            raise ModelError("the model has no nodes", remedy="Export it again")
        self.enter_constants()
        self.enter_inputs()
        for node, name in zip(self.graph.node, self.node_names(), strict=True):
            self.visit(node, name)
        outputs = self.outputs()
        if self.refused:
            raise UnsupportedModelError(
                [Refusal(op, reason, tuple(names)) for (op, reason), names in self.refused.items()]
            )
        if self.damage:
            raise self.damage
        graph = self.builder.finish(self.graph.name, self.sources, outputs)
        return Literal(graph, self.builder.found())

    def enter_constants(self) -> None:
        if self.graph.sparse_initializer:
            self.refuse("sparse weights", "not supported", "the model")
        for tensor in self.graph.initializer:
            self.define(tensor.name, "weight")
            self.builder.values[tensor.name] = Constant(tensor.name, self.reader(tensor))

    def reader(self, tensor: TensorProto) -> _Reader:
        return _Reader(tensor, self.folder)

    def enter_inputs(self) -> None:
        if not self.inputs:
            raise ModelError("the model has no input", expected="one")
        self.refuse_further("input", self.inputs)
        for port in self.inputs:
            self.define(port.name, "input")
            self.builder.values[port.name] = Unknown()
            try:
                batch, shape = _input_shape(port)
            except LutraError as error:
                self.keep(error)
                continue
            self.builder.batch = batch
            internal = self.builder.new(port.name, shape)
            self.sources[port.name] = internal
            self.builder.values[port.name] = Activation(internal, shape)

    def outputs(self) -> dict[str, Activation]:
        if not self.graph.output:
            raise ModelError("the model has no output", expected="one")
        self.refuse_further("output", self.graph.output)
        found = {}
        for port in self.graph.output:
            value = self.builder.values.get(port.name) if port.name else None
            if value is None:
                self.keep(ModelError(f"no node defines the output '{clip(port.name)}'"))
            elif isinstance(value, Constant):
                self.keep(ModelError(f"the output '{clip(port.name)}' depends on no input"))
            elif isinstance(value, Activation) and value.batch:
                self.refuse("an output", f"has its batch on axis {value.batch}", port.name)
            elif isinstance(value, Activation):
                found[port.name] = value
        return found

    def refuse_further(self, what: str, ports: Sequence[ValueInfoProto]) -> None:
        for port in ports[1:]:
            self.refuse(f"a second {what}", "supported: one", port.name)

    def refuse(self, op: str, reason: str, name: str) -> None:
        self.refused.setdefault((op, reason), []).append(name)

    def keep(self, error: LutraError) -> None:
        """Report ``error`` in the end, unless there is an earlier one."""
        self.damage = self.damage or error

    def define(self, name: str, what: str) -> None:
        if not name:
            raise ModelError(f"the model has a {what} without a name")
        if name in self.builder.values:
            raise ModelError(
                f"the model defines '{clip(name)}' twice",
                remedy="The file is damaged; export it again",
            )

    def node_names(self) -> list[str]:
        """A unique name for every node: its own where it has one to itself."""
        given = Counter(node.name for node in self.graph.node)
        names = Names(given)
        seen: set[str] = set()
        result = []
        for i, node in enumerate(self.graph.node):
            name = node.name or names.new(f"{node.op_type}_{i}")
            result.append(names.new(name) if name in seen else name)
            seen.add(name)
        return result

    def visit(self, node: NodeProto, name: str) -> None:
        """Translate one node, or note why it cannot be."""
        for value in node.input:
            if value and value not in self.builder.values:
                problem = (
                    "is read before the node that defines it, or by way of itself"
                    if value in self.defined
                    else "is defined nowhere"
                )
                raise ModelError(
                    f"its input '{clip(value)}' {problem}",
                    node=name,
                    remedy="The file is damaged; export it again",
                )
        outputs = [value for value in node.output if value]
        for value in outputs:
            self.define(value, "node output")
            self.builder.values[value] = Unknown()
        if not outputs:
            return
        op = clip(f"{node.domain}::{node.op_type}" if node.domain else node.op_type)
        try:
            self.translate(node, name)
        except RefusedError as refusal:
            self.refuse(op, str(refusal), name)
        except UnsupportedOpError as error:
            self.refuse(op, f"{error.problem}: {error.found}; supported: {error.expected}", name)
        except LutraError as error:
            error.node = error.node or name
            self.keep(error)

    def translate(self, node: NodeProto, name: str) -> None:
        if (node.domain, node.op_type) in self.functions:
            raise RefusedError("a function of the model's own; inline it before the export")
        schema = schema_of(node.domain, node.op_type, self.builder.opset)
        if schema is None and node.domain not in ("", "ai.onnx"):
            raise RefusedError("not an op of ONNX itself")
        if schema is None:
            raise RefusedError(f"no op of ONNX operator set {self.builder.opset}")
        form = (OTHER_FORMS if schema.domain else FORMS).get(node.op_type)
        if form is None:
            raise RefusedError("not supported")
        check_form(node, form, schema, self.read)
        call = call_of(node, name, schema, self.builder, self.read, self.folder)
        if call is None:
            return
        values = form.translate(self.builder, call)
        found = values if isinstance(values, tuple) else (values,)
        for output, value in zip(node.output, found, strict=False):
            if output:
                self.builder.values[output] = value


@dataclass(frozen=True)
class _Reader:
    """Reads one tensor when it is asked for."""

    tensor: TensorProto
    folder: Path | None

    def __call__(self) -> Array:
        return read_tensor(self.tensor, self.folder)


def _input_shape(port: ValueInfoProto) -> tuple[int | None, Shape]:
    """The batch, None where it is symbolic, and the shape without it."""
    what = f"the input '{clip(port.name)}'"
    kind = port.type.tensor_type
    if not port.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ShapeError(
            f"{what} is no tensor with a known shape",
            expected="a shape that is fixed but for the batch",
            remedy="Give the shape at the export",
        )
    if kind.elem_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
        raise ModelError(
            f"{what} has a data type that is not supported",
            found=type_name(kind.elem_type),
            expected="float32, float64 or float16",
        )
    dims = kind.shape.dim
    found = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]
    if not 2 <= len(dims) <= MAX_RANK:
        raise ShapeError(
            f"{what} has {len(dims)} axes",
            found=found[:10],
            expected=f"2 to {MAX_RANK}, batch first",
        )
    open_axes = [i for i, dim in enumerate(dims) if i and not dim.HasField("dim_value")]
    if open_axes:
        raise ShapeError(
            f"{what} leaves more than the batch open: axis {', '.join(map(str, open_axes))}",
            found=found,
            expected="fixed sizes behind the batch",
            remedy="Export it with fixed sizes, without dynamic axes but the first",
        )
    sizes = tuple(dim.dim_value for dim in dims if dim.HasField("dim_value"))
    if min(sizes) < 1 or math.prod(sizes) > MAX_ELEMENTS:
        raise ShapeError(
            f"{what} has an impossible shape",
            found=found,
            expected=f"positive sizes, at most {MAX_ELEMENTS} elements",
        )
    batch = dims[0].dim_value if dims[0].HasField("dim_value") else None
    return batch, tuple(dim.dim_value for dim in dims[1:])


def _describe(refusal: Refusal) -> str:
    names = ", ".join(f"'{clip(name, 40)}'" for name in refusal.nodes[:SHOWN])
    more = len(refusal.nodes) - SHOWN
    return f"{refusal.op} at {names}{f' and {more} more' if more > 0 else ''} ({refusal.reason})"
