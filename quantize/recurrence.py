"""``Recurrence``: a recurrent layer as a loop over time whose body is a small fixed graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frontend.graph import Node
from ..frontend.ops import Array, Shape
from ..frontend.ops.base import expect


@dataclass(frozen=True)
class State:
    """A value that a step leaves to the next one.

    Attributes:
        before: its name in the body, with the value that the step before left; at first 0.
        after: the body's value that it takes.
    """

    before: str
    after: str


@dataclass(frozen=True)
class Recurrence:
    """A loop over the first axis of x ``(T, G · H)``.

    Every value of the body has H values a step.  Its nodes read the parts of x, the states, the
    constants and each other; they compute on one step at a time, and stand in topological order.
    Inputs of the node: x, then the constants that the body names.

    Attributes:
        parts: names of the G parts of x in the body.
        states: what is kept from step to step.
        constants: names of the graph's constants that the body reads, as in the node's inputs.
        body: the nodes of one step.
        result: the body's value that leaves.
        reverse: from the last step to the first.
        last: only the result of the final step leaves, ``(H,)``, instead of ``(T, H)``.
    """

    parts: tuple[str, ...]
    states: tuple[State, ...]
    constants: tuple[str, ...]
    body: tuple[Node[Any], ...]
    result: str
    reverse: bool
    last: bool

    def infer(self, *shapes: Shape) -> Shape:
        x = shapes[0]
        expect(
            len(x) == 2 and x[0] >= 1 and self.parts != () and x[1] % len(self.parts) == 0,
            "a recurrent layer's gates do not fit",
            found=x,
            expected=f"(steps, {len(self.parts)} times the units)",
        )
        units = x[1] // len(self.parts)
        return (units,) if self.last else (x[0], units)

    def forward(self, *inputs: Array) -> Array:
        """The loop written down: what it means.  The simulator has a faster one."""
        x, *constants = inputs
        batch, steps, width = x.shape
        units = width // len(self.parts)
        parts = x.reshape(batch, steps, len(self.parts), units).transpose(1, 2, 0, 3)
        states = {state.before: np.zeros((batch, units), x.dtype) for state in self.states}
        results = np.empty((batch, steps, units), x.dtype)
        values: dict[str, Array] = {}
        for step in range(steps - 1, -1, -1) if self.reverse else range(steps):
            values = dict(zip(self.constants, constants, strict=True))
            values |= states | dict(zip(self.parts, parts[step], strict=True))
            for node in self.body:
                values[node.output] = node.op.forward(*(values[name] for name in node.inputs))
            states = {state.before: values[state.after] for state in self.states}
            results[:, step] = values[self.result]
        return values[self.result] if self.last else results
