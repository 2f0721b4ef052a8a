"""From an ONNX model to the float graph, or to one error that names all that stands in the way.

Each node is translated literally (``nodes``), and the passes then remove the Transposes that
this leaves.  Nothing is approximated: an op, or a form of one, that is not known to be exact is
refused, together with everything else in the model that is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from onnx import ModelProto, NodeProto

from ..errors import LutraError, ModelError, ShapeError, UnsupportedOpError, clip
from ..graph import Graph
from ..names import Names
from ..passes import simplify
from .call import Call, Form, call_of, check_form
from .fold import FORMS as FOLDED
from .fold import fold, folds
from .idioms.find import Found
from .options import DEFAULTS, ImportOptions
from .ports import (
    entered,
    expect_one_batch,
)
from .read import read_model
from .schema import schema_of
from .source import Source, twice
from .translate import codes
from .translate.forms import FORMS, OTHER_FORMS
from .unsupported import Refusal, UnsupportedModelError
from .values import Activation, Builder, Coded, Constant, RefusedError, Unknown, Value


def load(path: str | Path, options: ImportOptions = DEFAULTS) -> Graph:
    """Read an ONNX file into a float graph.

    Raises:
        ModelError: the file cannot be read, is not ONNX, or contradicts itself or the options.
        ShapeError: shapes do not fit, or are left open beyond the batch.
        UnsupportedModelError: it holds what our graph cannot express, all of it named.
    """
    return from_onnx(read_model(path), str(path), options)


def from_onnx(
    model: ModelProto, file: str | None = None, options: ImportOptions = DEFAULTS
) -> Graph:
    """The float graph of an ONNX model; ``file`` is named in errors, and holds external data.

    Each input has its batch on the axis that is open, or on the first.  Where the model cannot be
    read so, and all its shapes are fixed, it is taken whole: an input of one sample is then all
    of the file's, and the graph's notes say so.

    Raises:
        LutraError: as :func:`load`.
    """
    return simplify(literal(model, file, options).graph)


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


def literal(
    model: ModelProto, file: str | None = None, options: ImportOptions = DEFAULTS
) -> Literal:
    """The float graph of an ONNX model before any pass; arguments as for :func:`from_onnx`.

    Raises:
        LutraError: as :func:`load`.
    """
    try:
        source = Source(model, Path(file).parent if file else None, options)
        first: LutraError | None = None
        for axis in source.readings:
            try:
                return _Import(source, axis).run()
            except (UnsupportedModelError, ShapeError) as error:
                first = first or error
        assert first is not None  # there is a reading, and each of them returns or raises
        raise first
    except LutraError as error:
        if file:
            error.in_file(file)
        raise


class _Import:
    """One walk over the nodes of one model, with the batch of its inputs on one axis."""

    def __init__(self, source: Source, axis: int | None) -> None:
        self.source = source
        self.axis = axis
        self.graph = source.graph
        self.functions = source.functions
        self.folder = source.folder
        self.read = source.read
        self.refused: dict[tuple[str, str], list[str]] = {}
        self.damage: LutraError | None = None
        self.builder = Builder(source.opset, None, source.names)
        self.sources: dict[str, str] = {}
        self.notes = list(source.outputs.notes)

    def run(self) -> Literal:
        self.enter_constants()
        self.enter_inputs()
        self.visit_all()
        outputs = self.outputs()
        if self.refused:
            raise UnsupportedModelError(
                [Refusal(op, reason, tuple(names)) for (op, reason), names in self.refused.items()]
            )
        if self.damage:
            raise self.damage
        graph = self.builder.finish(self.graph.name, self.sources, outputs, tuple(self.notes))
        return Literal(graph, self.builder.found())

    def enter_constants(self) -> None:
        if self.graph.sparse_initializer:
            self.refuse("sparse weights", "not supported", "the model")
        for constant in self.source.constants:
            self.define(constant.name, "weight")
            self.builder.values[constant.name] = constant

    def enter_inputs(self) -> None:
        batches: dict[str, int | str] = {}
        for name, input in self.source.inputs.items():
            self.define(name, "input")
            self.builder.values[name] = Unknown()
            if input is None:
                self.notes.append(f"the input '{clip(name)}' is left out: nothing reads it")
                continue
            try:
                if isinstance(input, LutraError):
                    raise input
                batches[name], shape = entered(input, self.axis)
            except LutraError as error:
                self.keep(error)
                continue
            internal = self.builder.new(name, shape)
            self.sources[name] = internal
            x = Activation(internal, shape, batch=self.axis)
            self.builder.values[name] = value = codes.entered(self.builder, x, input.kind)
            self.note_place("input", name, x)
            if isinstance(value, Coded):
                self.note_codes("input", name)
        try:
            self.builder.batch = expect_one_batch(batches)
        except LutraError as error:
            self.keep(error)

    def note_codes(self, what: str, name: str) -> None:
        """Say that a port's array holds the integers of the file."""
        self.notes.append(f"the {what} '{clip(name)}' holds integers, as in the file")

    def note_place(self, what: str, name: str, value: Activation) -> None:
        """Say where the batch of a port is, unless it is first."""
        if value.batch is None:
            self.notes.append(f"the {what} '{clip(name)}' is taken whole, as one sample")
        elif value.batch:
            self.notes.append(f"the {what} '{clip(name)}' has its batch on axis {value.batch}")

    def outputs(self) -> dict[str, Activation]:
        for name, reason in self.source.outputs.refused:
            self.refuse("an output", reason, name)
        found: dict[str, Activation] = {}
        for name in self.source.outputs.names:
            value = self.builder.values.get(name) if name else None
            if isinstance(value, Coded):
                self.note_codes("output", name)
                try:
                    value = codes.codes_of(self.builder, name, value, name)
                except RefusedError as refusal:
                    self.refuse("an output", str(refusal), name)
            if value is None:
                self.keep(ModelError(f"no node defines the output '{clip(name)}'"))
            elif isinstance(value, Constant):
                self.keep(ModelError(f"the output '{clip(name)}' depends on no input"))
            elif isinstance(value, Activation):
                try:
                    found[name] = self.builder.values[name] = y = self.placed(value)
                except RefusedError as refusal:
                    self.refuse("an output", str(refusal), name)
                else:
                    self.note_place("output", name, y)
        return found

    def placed(self, y: Activation) -> Activation:
        """An output with a batch axis where the inputs have one, and none where they have none."""
        if self.axis is None:
            return self.builder.whole(y)
        if y.batch is not None and not y.merged:
            return y
        if self.builder.batch == 1:
            return self.builder.batched(y, self.axis)
        raise RefusedError("has its batch and other axes in one")

    def refuse(self, op: str, reason: str, name: str) -> None:
        self.refused.setdefault((op, reason), []).append(name)

    def keep(self, error: LutraError) -> None:
        """Report ``error`` in the end, unless there is an earlier one."""
        self.damage = self.damage or error

    def define(self, name: str, what: str) -> None:
        if not name:
            raise ModelError(f"the model has a {what} without a name")
        if name in self.builder.values:
            raise twice(name)

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

    def visit_all(self) -> None:
        """Translate the nodes: those of an idiom together, where its result stands."""
        names = self.node_names()
        live, idioms = self.source.live, self.source.idioms
        within = {index for found in idioms.values() for index in found.nodes}
        for i, node in enumerate(self.graph.node):
            if i not in within:
                self.visit(node, names[i], i in live)
            elif i in idioms and not self.translate_idiom(idioms[i], node, names[i]):
                for j in idioms[i].nodes:
                    self.visit(self.graph.node[j], names[j], j in live)

    def translate_idiom(self, found: Found, node: NodeProto, name: str) -> bool:
        """Translate nodes as the one op that they stand for, if that op takes their values."""
        inputs = tuple(self.builder.values[value] if value else None for value in found.inputs)
        (output,) = node.output
        if any(isinstance(value, Unknown) for value in inputs):
            self.builder.values[output] = Unknown()
            return True
        x = inputs[0]
        if not isinstance(x, Activation) or x.rank < found.rank:
            return False
        builder = self.builder
        call = Call(
            op=node.op_type,
            name=name,
            since=builder.opset,
            attributes=found.bound,
            inputs=inputs,
            outputs=(output,),
            used=(True,),
            folder=None,
            builder=builder,
        )
        try:
            value = found.idiom.translate(self.builder, call)
        except (RefusedError, LutraError):
            return False
        assert isinstance(value, Activation)
        self.builder.values[output] = value
        return True

    def visit(self, node: NodeProto, name: str, live: bool) -> None:
        """Translate one node, or note why it cannot be; those that nothing needs are left out."""
        for value in node.input:
            if value and value not in self.builder.values:
                problem = (
                    "is read before the node that defines it, or by way of itself"
                    if value in self.source.defined
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
        if not outputs or not live:
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
        if form is None and not schema.domain and self.known(node):
            form = FOLDED.get(node.op_type)
        if form is None:
            raise RefusedError("not supported")
        check_form(node, form, schema, self.read)
        call = call_of(node, name, schema, self.builder, self.read, self.folder)
        if call is None:
            return
        values = fold(self.builder, call, node) if folds(call) else self.attempt(form, call)
        found = values if isinstance(values, tuple) else (values,)
        for output, value in zip(node.output, found, strict=False):
            if output:
                self.builder.values[output] = value

    def known(self, node: NodeProto) -> bool:
        """Whether all that a node reads is known."""
        return all(isinstance(self.builder.values[name], Constant) for name in node.input if name)

    def attempt(self, form: Form, call: Call) -> Value | tuple[Value, ...]:
        """The results of a node; for a batch of one also with that taken as an axis like others."""
        try:
            return codes.translated(self.builder, call, form)
        except (RefusedError, ShapeError) as error:
            inputs = tuple(codes.whole(self.builder, value) for value in call.inputs)
            if self.builder.batch != 1 or inputs == call.inputs:
                raise
            try:
                return codes.translated(self.builder, replace(call, inputs=inputs), form)
            except (RefusedError, LutraError):
                raise error from None
