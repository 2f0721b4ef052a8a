"""What must hold of a network's structure before anything is inferred from it.

Lowering gives nothing else; a file that was damaged or made by hand may.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from ..frontend.errors import ModelError, ShapeError
from ..frontend.graph import Graph, Node, Port
from ..frontend.ops import (
    Add,
    Array,
    BatchNorm,
    Bipolar,
    Computable,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Div,
    Gru,
    LayerNorm,
    Lstm,
    MatMul,
    Maximum,
    Minimum,
    Mul,
    PRelu,
    Quantize,
    RmsNorm,
    Shape,
    SimpleRnn,
    Sub,
)
from .exact_ops import Combine, Leaky
from .lut import Lut
from .recurrence import Recurrence

REMEDY = "The file is damaged; run lutra quantize again"


def check_nodes(nodes: Sequence[Node[Computable]], constants: Mapping[str, Array]) -> None:
    """Raise a :class:`ModelError` unless names are unique and each op has its inputs: values
    where it computes on values, constants where it has weights or a table."""
    every = [*nodes, *(inner for node in nodes for inner in _body(node))]
    for name, count in Counter(node.name for node in every).items():
        if count > 1:
            raise ModelError(f"{count} nodes bear the same name", node=name, remedy=REMEDY)
    for node in nodes:
        _check_inputs(node, constants)
        if isinstance(node.op, Recurrence):
            if node.op.constants != node.inputs[1:]:
                raise ModelError(
                    "the loop names other constants than it reads", node=node.name, remedy=REMEDY
                )
            for inner in node.op.body:
                _check_inputs(inner, set(node.op.constants))
    for name, value in constants.items():
        if not value.size:
            raise ModelError(f"the constant '{name}' is empty", found=value.shape, remedy=REMEDY)


def _body(node: Node[Computable]) -> tuple[Node[Computable], ...]:
    return node.op.body if isinstance(node.op, Recurrence) else ()


def _check_inputs(node: Node[Computable], constants: Container[str]) -> None:
    pattern = "".join("c" if name in constants else "v" for name in node.inputs)
    if not any(re.fullmatch(allowed, pattern) for allowed in _patterns(node.op)):
        raise ModelError(
            f"the inputs of this {type(node.op).__name__} are not what it takes",
            node=node.name,
            found=[_SPELT[letter] for letter in pattern],
            expected=" or ".join(_spelt(allowed) for allowed in _patterns(node.op)),
            remedy=REMEDY,
        )


def _spelt(pattern: str) -> str:
    """A pattern in words; ``+`` and ``*`` stand for more of the last."""
    more = pattern[-1] in "+*"
    words = [_SPELT[letter] for letter in pattern.rstrip("+*")]
    return str([*words, "..."] if more else words)


_SPELT = {"v": "value", "c": "constant"}


def _patterns(op: Computable) -> tuple[str, ...]:
    """Which inputs an op may have: values (v) and constants (c), as regular expressions."""
    match op:
        case Dense() | Conv() | ConvTranspose():
            return ("vc", "vcc")
        case Lut() | Leaky() | PRelu() | RmsNorm() | Bipolar():
            return ("vc",)
        case Mul() | MatMul() | Add() | Sub() | Div() | Maximum() | Minimum():
            return ("vv", "vc", "cv")
        case Combine():
            return ("vv", "vc")
        case Concat():
            return ("vv+",)
        case BatchNorm():
            return ("vcccc",)
        case LayerNorm() | Quantize():
            return ("vcc",)
        case SimpleRnn() | Lstm():
            return ("vccc",)
        case Gru():
            return ("vcccc",) if op.reset_after else ("vccc",)
        case Recurrence():
            return ("vc+",)
        case _:
            return ("v",)


def check_ports(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    constants: Iterable[str],
    shapes: Mapping[str, Shape],
) -> None:
    """Raise unless there is one input and one output, and the output is a computed value."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            "the network must have one input and one output",
            found=f"{len(inputs)} inputs, {len(outputs)} outputs",
        )
    (outlet,) = outputs
    if outlet.name in constants or shapes.get(outlet.name) != outlet.shape:
        raise ShapeError(
            f"the output '{outlet.name}' is not what the nodes compute",
            found=outlet.shape,
            expected=shapes.get(outlet.name, "a value that a node defines"),
            remedy=REMEDY,
        )


def check_pair(source: Graph, ports: Sequence[Port], layers: Mapping[str, str]) -> None:
    """Raise unless a fixed graph with these ports, and these layers of its nodes, can come from
    ``source``.

    Scales of ports may differ, and layers that became part of others have no nodes."""
    expected = [*source.inputs, *source.outputs]
    if [replace(port, scale=1.0) for port in ports] != expected:
        raise ModelError(
            "the fixed-point network has other inputs or outputs than the float network",
            found=[port.name for port in ports],
            expected=[port.name for port in expected],
            remedy=REMEDY,
        )
    known = {node.name for node in source.nodes}
    wrong = sorted(set(layers.values()) - known)
    if wrong:
        raise ModelError(
            "the fixed-point network has other layers than the float network",
            found=wrong[0],
            remedy=REMEDY,
        )
