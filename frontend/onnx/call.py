"""One node of an ONNX file as its translator sees it: attributes checked, inputs looked up."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto
from onnx.defs import OpSchema

from ..errors import ModelError, clip
from ..ops import Array
from .sizes import SAMPLES, Number, Size
from .tensor import read_tensor
from .values import Activation, Builder, Constant, RefusedError, Unknown, Value, is_float

BATCH = -(2**61) - 12345
"""What stands for the size of a symbolic batch in a list of integers."""

Check = Callable[[Any], str | None]
"""Whether a value of an attribute can be expressed: the reason why not, or None."""


def anything(value: Any) -> str | None:
    """The translator handles every value."""
    return None


def only(*allowed: Any) -> Check:
    """Every value but these is refused."""

    def check(value: Any) -> str | None:
        if value in allowed:
            return None
        return f"is {shown(value)}; supported: {', '.join(map(str, allowed))}"

    return check


@dataclass(frozen=True)
class Form:
    """What is handled of one ONNX op.

    Attributes:
        newest: the newest version of the op whose definition this handles.
        attributes: those that are handled, and which of their values.
        translate: adds the node to the graph and gives its first output, or several.
        outputs: how many of its outputs are handled at most; None is all.
        extra_outputs: whether outputs beyond these may stand there unread.
        codes: whether it takes integers that stand for data (:class:`~.values.Coded`).
    """

    newest: int
    translate: Callable[[Builder, Call], Value | tuple[Value, ...]]
    attributes: Mapping[str, Check]
    outputs: int | None = 1
    extra_outputs: bool = False
    codes: bool = False


@dataclass(frozen=True)
class Call:
    """One node: its name, the version of its op, its attributes, inputs and outputs.

    An output that the node does not give has an empty name; ``used`` says which of them are read.
    """

    op: str
    name: str
    since: int
    attributes: Mapping[str, Any]
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    used: tuple[bool, ...]
    folder: Path | None
    builder: Builder

    @property
    def output(self) -> str:
        """The name of the first output that has one."""
        return next(name for name in self.outputs if name)

    def get(self, attribute: str, default: Any) -> Any:
        return self.attributes.get(attribute, default)

    def value(self, index: int) -> Value | None:
        """An input, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def number(self, attribute: str, default: float) -> float:
        """A float attribute, as the number that was meant when it became a float32."""
        value = self.get(attribute, default)
        if not math.isfinite(value):
            raise self.damaged(attribute, "a finite number")
        return default if np.float32(value) == np.float32(default) else meant(value)

    def data(self, index: int = 0, anywhere: bool = False, merged: bool = False) -> Activation:
        """An input that depends on the network's input; anything else is refused.

        Args:
            index: which input.
            anywhere: whether its batch may be any axis, or none; otherwise it is the first.
            merged: whether axes of a sample may lie in one axis with the batch.
        """
        value = self.value(index)
        if not isinstance(value, Activation):
            raise RefusedError("works on constants alone; fold them before the export")
        single = self.builder.batch == 1
        if value.merged and not merged:
            if not single:
                raise RefusedError("has the batch and other axes in one; supported: apart")
            value = self.builder.whole(value)
        if anywhere or value.batch == 0:
            return value
        if single:
            return self.builder.batched(value, 0)
        raise RefusedError(f"has the batch on axis {value.batch}; supported: on axis 0")

    def axis(self, x: Activation, axis: int, attribute: str = "axis") -> int:
        """The axis of ours that the file means with ``axis``; the batch is refused."""
        if not -x.rank <= axis < x.rank:
            raise self.damaged(attribute, f"{-x.rank} to {x.rank - 1}")
        if axis % x.rank == x.batch:
            raise RefusedError("is over the batch")
        return x.own_axis(axis % x.rank)

    def constant(self, index: int) -> Constant:
        """An input that is known; one that is computed from the network's input is refused."""
        value = self.value(index)
        if isinstance(value, Constant):
            return value
        raise RefusedError(f"input {index + 1} is not a constant")

    def weight(self, index: int, repeated: bool = False) -> Constant:
        """A constant input of a float type, as float32.

        Args:
            index: which input.
            repeated: whether it may be one that is repeated for each sample.
        """
        source = self.constant(index)
        if not repeated:
            require_floats(source)
        elif not is_float(source.stored):
            raise RefusedError(f"weight '{clip(source.name)}' is of type {source.stored.dtype}")
        return source.floats

    def sizes(self, index: int) -> list[Number]:
        """A constant input that is a list of integers; they may depend on the batch."""
        array = self.constant(index).array
        if array.dtype.kind not in "iO" or array.ndim > 1:
            raise ModelError(
                f"input {index + 1} is no list of integers",
                found=f"{array.dtype} of shape {array.shape}",
            )
        return [n if isinstance(n, Size) else int(n) for n in array.reshape(-1).tolist()]

    def integers(self, index: int, batch: bool = False) -> list[int]:
        """A constant input that is a list of integers.

        Args:
            index: which input.
            batch: whether the size of a symbolic batch may be among them, as :data:`BATCH`.
        """
        found = []
        for n in self.sizes(index):
            if n == BATCH or (isinstance(n, Size) and not (batch and n == SAMPLES)):
                raise RefusedError("depends on how many samples there are")
            found.append(BATCH if isinstance(n, Size) else n)
        return found

    def damaged(self, attribute: str, expected: object) -> ModelError:
        """The error for an attribute that no valid file has."""
        return ModelError(
            f"attribute '{attribute}' is wrong",
            found=shown(self.attributes.get(attribute, "nothing")),
            expected=expected,
        )


def expect_distinct(axes: Sequence[int], rank: int) -> None:
    """Raise a ModelError if one of ``rank`` axes is named twice, from the front or the end."""
    if len({axis % max(rank, 1) for axis in axes}) != len(axes):
        raise ModelError("names an axis twice", found=shown(axes), expected="different axes")


def meant(value: float) -> float:
    """A number that was stored as a float32: a fraction with a small denominator, or a decimal.

    Both have the same float32 as ``value``, which may be a number that is not finite.
    """
    stored = np.float32(value)
    if math.isfinite(value):
        fraction = Fraction(value).limit_denominator(100)
        if np.float32(fraction) == stored:
            return float(fraction)
    return float(str(stored))


def require_floats(source: Constant) -> Constant:
    """``source``, refused unless it is of a float type."""
    if source.array.dtype == object:
        raise RefusedError("depends on how many samples there are")
    if not is_float(source.array):
        raise RefusedError(
            f"weight '{clip(source.name)}' is of type {source.array.dtype}; supported: floats"
        )
    return source


def shown(value: Any) -> str:
    return clip(str(value))


def check_form(node: NodeProto, form: Form, schema: OpSchema, read: Collection[str]) -> None:
    """Verify that the node's version, attributes and outputs are among those that are handled.

    Needs no shapes, so that it also works behind a node that could not be translated.

    Raises:
        RefusedError: at the first thing that is not handled.
    """
    if schema.since_version > form.newest:
        raise RefusedError(f"is in version {schema.since_version}; supported: up to {form.newest}")
    if len(node.input) > schema.max_input:
        raise RefusedError(f"has {len(node.input)} inputs; its op takes {schema.max_input}")
    for attribute in node.attribute:
        known = schema.attributes.get(attribute.name)
        check = form.attributes.get(attribute.name)
        if known is None or check is None:
            raise RefusedError(f"attribute '{clip(attribute.name)}' is not supported")
        if str(known.type) != f"AttrType.{attribute_type(attribute)}" or attribute.ref_attr_name:
            raise RefusedError(
                f"attribute '{attribute.name}' has another type than its op gives it"
            )
        reason = check(attribute_value(attribute))
        if reason:
            raise RefusedError(f"attribute '{attribute.name}' {reason}")
    for name in list(node.output)[form.outputs :] if form.outputs is not None else ():
        if name and (name in read or not form.extra_outputs):
            raise RefusedError("its further outputs are not supported")


_ATTRIBUTE_TYPES: dict[int, str] = {v: k for k, v in AttributeProto.AttributeType.items()}


def attribute_type(attribute: AttributeProto) -> str:
    """The name of an attribute's type, also of one that does not exist."""
    return _ATTRIBUTE_TYPES.get(attribute.type, "UNDEFINED")


def attribute_value(attribute: AttributeProto) -> Any:
    """What an attribute says: a number, a text, a list of them, or the tensor as it stands."""
    match attribute_type(attribute):
        case "FLOAT":
            return attribute.f
        case "INT":
            return attribute.i
        case "STRING":
            return attribute.s.decode("utf-8", "backslashreplace")
        case "STRINGS":
            return [text.decode("utf-8", "backslashreplace") for text in attribute.strings]
        case "FLOATS":
            return list(attribute.floats)
        case "INTS":
            return list(attribute.ints)
        case "TENSOR":
            return attribute.t
        case other:
            return other


def call_of(
    node: NodeProto,
    name: str,
    schema: OpSchema,
    builder: Builder,
    read: Collection[str],
    folder: Path | None,
) -> Call | None:
    """The node with its inputs looked up; None where one of them is unknown."""
    inputs = tuple(builder.values[text] if text else None for text in node.input)
    if any(isinstance(value, Unknown) for value in inputs):
        return None
    names = [attribute.name for attribute in node.attribute]
    if len(set(names)) != len(names):
        raise ModelError("has an attribute twice", found=shown(names))
    given = sum(value is not None for value in inputs[: schema.min_input])
    if given < schema.min_input:
        raise ModelError("lacks inputs", found=given, expected=f"at least {schema.min_input}")
    attributes = {attribute.name: attribute_value(attribute) for attribute in node.attribute}
    outputs = tuple(node.output)
    used = tuple(text in read for text in outputs)
    since = int(schema.since_version)
    return Call(node.op_type, name, since, attributes, inputs, outputs, used, folder, builder)


def constant_node(builder: Builder, call: Call) -> Value:
    """ONNX Constant: one of several attributes holds the value."""
    if len(call.attributes) != 1:
        raise ModelError("must hold one value", found=sorted(call.attributes))
    ((key, value),) = call.attributes.items()

    def read() -> Array:
        if key == "value":
            return read_tensor(value, call.folder, call.output)
        return np.array(value, np.float32 if key.startswith("value_float") else np.int64)

    return Constant(call.output, read)
