"""What must hold of a network's structure before anything is inferred from it.

Lowering gives nothing else; a file that was damaged or made by hand may.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..frontend.errors import ModelError, ShapeError
from ..frontend.graph import Graph, Node, Port
from ..frontend.ops import Array, Computable, Conv, Dense, Mul, Shape
from .lut import Lut

REMEDY = "The file is damaged; run lutra quantize again"


def check_nodes(nodes: Sequence[Node[Computable]], constants: Mapping[str, Array]) -> None:
    """Raise a :class:`ModelError` unless names are unique and each op has its inputs: values
    where it computes on values, constants where it has weights or a table."""
    for name, count in Counter(node.name for node in nodes).items():
        if count > 1:
            raise ModelError(f"{count} nodes bear the same name", node=name, remedy=REMEDY)
    for node in nodes:
        pattern = "".join("c" if name in constants else "v" for name in node.inputs)
        if pattern not in _patterns(node.op):
            raise ModelError(
                f"the inputs of this {type(node.op).__name__} are not what it takes",
                node=node.name,
                found=[_SPELT[letter] for letter in pattern],
                expected=" or ".join(str([_SPELT[c] for c in p]) for p in _patterns(node.op)),
                remedy=REMEDY,
            )
        if isinstance(node.op, Mul) and pattern == "vc" and constants[node.inputs[1]].size != 1:
            raise ModelError("the factor is not one number", node=node.name, remedy=REMEDY)
    for name, value in constants.items():
        if not value.size:
            raise ModelError(f"the constant '{name}' is empty", found=value.shape, remedy=REMEDY)


_SPELT = {"v": "value", "c": "constant"}


def _patterns(op: Computable) -> tuple[str, ...]:
    """Which inputs an op may have: values and constants."""
    match op:
        case Dense() | Conv():
            return ("vc", "vcc")
        case Lut():
            return ("vc",)
        case Mul():
            return ("vv", "vc")
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
    ``source``."""
    if [*source.inputs, *source.outputs] != list(ports):
        raise ModelError(
            "the fixed-point network has other inputs or outputs than the float network",
            found=[port.name for port in ports],
            expected=[port.name for port in (*source.inputs, *source.outputs)],
            remedy=REMEDY,
        )
    known = {node.name for node in source.nodes}
    wrong = sorted(set(layers.values()) ^ known)
    if wrong:
        raise ModelError(
            "the fixed-point network has other layers than the float network",
            found=wrong[0],
            remedy=REMEDY,
        )
