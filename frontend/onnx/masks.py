"""Masks of attention: minus infinity, added to what a softmax reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from ..graph import Node
from ..ops import Add, Array, Op, Softmax

MASKED = -(2.0**127)
"""What stands for minus infinity.

It leaves nothing of a score: after the softmax both give 0, since float32 has no number that could
bring the sum near to any other score's."""


def without_infinities(
    nodes: Sequence[Node[Op]], weights: Mapping[str, Array], outputs: Set[str]
) -> dict[str, Array]:
    """The weights, of which those that only mask scores hold finite numbers.

    A mask that leaves nothing of a row stays as it is: its softmax would be NaN.
    """
    readers: dict[str, list[Node[Op]]] = {}
    for node in nodes:
        for read in node.inputs:
            readers.setdefault(read, []).append(node)
    made = dict(weights)
    for name, value in weights.items():
        if not value.size or value.min() >= MASKED or not (value > MASKED).any(axis=-1).all():
            continue
        sums = [
            node.output
            for node in readers.get(name, [])
            if isinstance(node.op, Add) and node.inputs.count(name) == 1
        ]
        masks = len(sums) == len(readers.get(name, []))
        if masks and all(_only_softmax(readers, output, outputs) for output in sums):
            made[name] = np.maximum(value, np.float32(MASKED))
    return made


def _only_softmax(readers: Mapping[str, list[Node[Op]]], value: str, outputs: Set[str]) -> bool:
    found = readers.get(value, [])
    return value not in outputs and all(isinstance(node.op, Softmax) for node in found)
