"""The computation graph of a tensor, as a listing to print."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass

from .ops import Shape


@dataclass(frozen=True)
class Row:
    """One tensor of the graph.

    Attributes:
        index: its number; inputs have lower numbers than what is made from them.
        op: the op that made it, or ``Variable`` or ``Input``.
        name: the tensor's name, if it has one.
        inputs: numbers of the tensors that the op read.
        shape: its shape, the batch axis included.
    """

    index: int
    op: str
    name: str
    inputs: tuple[int, ...]
    shape: Shape

    @property
    def expression(self) -> str:
        """What stands on the right of the equals sign."""
        if self.inputs:
            return f"{self.op}({', '.join(f'%{i}' for i in self.inputs)})"
        return f"{self.op} {self.name}".rstrip()


@dataclass(frozen=True)
class TensorGraph:
    """Every tensor that one was computed from, each once, in the order of computation."""

    rows: tuple[Row, ...]

    def __str__(self) -> str:
        left = [f"%{row.index} = {row.expression}" for row in self.rows]
        width = max(map(len, left))
        parameters = sum(math.prod(row.shape) for row in self.rows if row.op == "Variable")
        lines = [f"{text:<{width}}  {row.shape}" for text, row in zip(left, self.rows, strict=True)]
        return "\n".join([*lines, f"{len(lines)} tensors, {parameters} trainable values"])


def op_text(op: object) -> str:
    """An op's name, with those of its attributes that differ from their defaults."""
    shown: list[str] = []
    if is_dataclass(op):
        for item in fields(op):
            value = getattr(op, item.name)
            if value != item.default:
                shown.append(f"{item.name}={value}")
    return type(op).__name__ + (f"[{', '.join(shown)}]" if shown else "")
