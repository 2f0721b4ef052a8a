"""What enters and leaves a model: its inputs' shapes, the ways to read them, and its outputs."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnx import GraphProto, TensorProto, ValueInfoProto

from ..errors import ModelError, ShapeError, clip
from ..graph import MAX_RANK
from ..ops import Shape
from ..ops.base import MAX_ELEMENTS
from .options import ImportOptions
from .tensor import INTEGERS, type_name

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
"""The types that data may have."""

RECURRENT = ("LSTM", "GRU", "RNN")
"""The ops that have the batch behind the time, unless their layout says otherwise."""


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        name: in the file.
        dims: its shape, the batch among it: sizes, or the names of open ones.
        kind: ONNX's number of its type.
    """

    name: str
    dims: tuple[int | str, ...]
    kind: int = TensorProto.FLOAT

    @property
    def open(self) -> tuple[int, ...]:
        """The axes whose sizes are open."""
        return tuple(i for i, dim in enumerate(self.dims) if isinstance(dim, str))


def open_dimensions(ports: Iterable[ValueInfoProto]) -> list[str]:
    """The names of the dimensions that inputs leave open."""
    return list(dict.fromkeys(dim for port in ports for dim in _dims(port) if isinstance(dim, str)))


def expect_shapes(shapes: Mapping[str, int], ports: Sequence[ValueInfoProto]) -> None:
    """Raise a ModelError unless each of these sizes is one for an open dimension."""
    known = open_dimensions(ports)
    unknown = [name for name in shapes if name not in known]
    if unknown:
        raise ModelError(
            f"the model has no open dimension '{clip(unknown[0])}'",
            expected=", ".join(map(clip, known)) or "none, all its dimensions are fixed",
        )
    for name, size in shapes.items():
        if not 1 <= size <= MAX_ELEMENTS:
            raise ModelError(
                f"the size of '{clip(name)}' is impossible",
                found=size,
                expected=f"1 to {MAX_ELEMENTS}",
            )


def read_input(port: ValueInfoProto, shapes: Mapping[str, int]) -> Input:
    """One input, with the sizes that ``shapes`` has for open dimensions.

    Raises:
        LutraError: it is no tensor of floats with a known number of axes, or an impossible one.
    """
    what = f"the input '{clip(port.name)}'"
    kind = port.type.tensor_type
    if not port.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ShapeError(
            f"{what} is no tensor with a known shape",
            expected="a shape that is fixed but for the batch",
            remedy="Give the shape at the export",
        )
    if kind.elem_type not in (*FLOATS, *INTEGERS):
        raise ModelError(
            f"{what} has a data type that is not supported",
            found=type_name(kind.elem_type),
            expected="float32, float64 or float16, or integers of at most 16 bits",
        )
    if len(kind.shape.dim) > MAX_RANK:
        raise ShapeError(
            f"{what} has {len(kind.shape.dim)} axes", expected=f"at most {MAX_RANK}, batch first"
        )
    dims = tuple(shapes.get(dim, dim) if isinstance(dim, str) else dim for dim in _dims(port))
    sizes = [dim for dim in dims if not isinstance(dim, str)]
    if min(sizes, default=1) < 1 or math.prod(sizes) > MAX_ELEMENTS:
        raise ShapeError(
            f"{what} has an impossible shape",
            found=dims,
            expected=f"positive sizes, at most {MAX_ELEMENTS} elements",
        )
    return Input(port.name, dims, kind.elem_type)


def _dims(port: ValueInfoProto) -> list[int | str]:
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{port.name}.{i}"
        for i, dim in enumerate(port.type.tensor_type.shape.dim)
    ]


def readings(inputs: Sequence[Input], graph: GraphProto) -> list[int | None]:
    """The axes on which the inputs may have their batch, the likeliest first.

    None stands for the reading in which they have no batch: the whole of them is one sample's.
    It needs fixed shapes, as does the batch behind the time, where recurrent layers want it.
    """
    found = {input.open for input in inputs}
    if len(found) == 1 and len(alone := found.pop()) == 1:
        return [alone[0]]
    if any(input.open for input in inputs):
        return [0]
    behind_time = any(
        node.op_type in RECURRENT and not any(a.name == "layout" and a.i for a in node.attribute)
        for node in graph.node
    )
    return [0, 1, None] if behind_time else [0, None]


def entered(input: Input, axis: int | None) -> tuple[int | str, Shape]:
    """The size of the batch, or its name where it is open, and the shape without it.

    Args:
        input: the input.
        axis: where its batch is; None takes all of it as one sample.

    Raises:
        ShapeError: it has no such axis, or leaves another one open.
    """
    dims = input.dims
    if axis is None:
        return 1, tuple(dim for dim in dims if isinstance(dim, int))
    what = f"the input '{clip(input.name)}'"
    if len(dims) < 2:
        raise ShapeError(
            f"{what} has {len(dims)} axes", found=dims, expected=f"2 to {MAX_RANK}, batch first"
        )
    open_axes = [i for i in input.open if i != axis]
    if open_axes:
        names = [clip(str(dims[i])) for i in open_axes]
        raise ShapeError(
            f"{what} leaves more than the batch open: axis {', '.join(map(str, open_axes))}",
            found=dims,
            expected="fixed sizes behind the batch",
            remedy=f"Fix them, as --shape {names[0]}=N does from the command line",
        )
    rest = (*dims[:axis], *dims[axis + 1 :])
    return dims[axis], tuple(dim for dim in rest if isinstance(dim, int))


def expect_one_batch(batches: Mapping[str, int | str]) -> int | None:
    """The one size that the batches of the inputs have; None where that is open.

    Raises:
        ShapeError: they have different ones.
    """
    if len(set(batches.values())) > 1:
        raise ShapeError(
            "the inputs have different batches",
            found=", ".join(f"{clip(name)}: {clip(str(n))}" for name, n in batches.items()),
            expected="one size, or one name for it",
            remedy="Export with one batch dimension, or fix them with --shape NAME=N",
        )
    batch = next(iter(batches.values()), 1)
    return batch if isinstance(batch, int) else None


@dataclass(frozen=True)
class Outputs:
    """The values that a network gives.

    Attributes:
        names: theirs in the file.
        notes: what was left out.
        refused: for each that is not possible, its name and why.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def choose_outputs(
    ports: Sequence[ValueInfoProto],
    options: ImportOptions,
    known: Collection[str],
    tensors: Mapping[str, str],
) -> Outputs:
    """The outputs that the options ask for, or all of the file's that are data.

    That are floats and the integers that data are quantised to; sums of these, of 32 bits, are
    taken where there is nothing else.

    Args:
        ports: the outputs that the file names.
        options: as given.
        known: the names of all values of the file.
        tensors: for outputs that hold the numbers of a tensor in another form, that tensor.

    Raises:
        ModelError: the file has no output, or not the one that is asked for.
    """
    for name in options.outputs:
        if name not in known:
            names = [clip(port.name) for port in ports]
            near = [clip(n) for n in difflib.get_close_matches(name[:200], _short(known), 3)]
            raise ModelError(
                f"the model has no value '{clip(name)}'",
                expected=" or ".join(near) or f"one of its outputs {', '.join(names[:8])}",
            )
    if options.outputs:
        return Outputs(tuple(dict.fromkeys(tensors.get(name, name) for name in options.outputs)))
    if not ports:
        raise ModelError("the model has no output", expected="one")
    kinds = {port.name: _kind(port) for port in ports if port.name not in tensors}
    wide = type_name(TensorProto.INT32)
    given = [port.name for port in ports if kinds.get(port.name) is None] or [
        name for name, kind in kinds.items() if kind == wide
    ]
    floats = tuple(dict.fromkeys(tensors.get(name, name) for name in given))
    others = tuple((name, kind) for name, kind in kinds.items() if kind and name not in given)
    if not floats:
        return Outputs((), refused=tuple((name, f"is of type {kind}") for name, kind in others))
    notes = [
        f"the output '{clip(name)}' is left out: it is of type {kind}" for name, kind in others
    ]
    notes += [
        f"the output '{clip(name)}' is given as the tensor '{clip(tensors[name])}'"
        for name in given
        if name in tensors
    ]
    return Outputs(floats, tuple(notes))


def _short(names: Iterable[str]) -> list[str]:
    """Names that are no burden to compare, and not too many of them."""
    return [name for name in names if len(name) <= 200][:5000]


def _kind(port: ValueInfoProto) -> str | None:
    """What an output is; None for data, and where the file does not say."""
    if port.type.WhichOneof("value") not in (None, "tensor_type"):
        return str(port.type.WhichOneof("value")).removesuffix("_type").replace("_", " ")
    kind = port.type.tensor_type.elem_type
    data = (TensorProto.UNDEFINED, TensorProto.BFLOAT16, *FLOATS, *INTEGERS)
    return None if kind in data else type_name(kind)
