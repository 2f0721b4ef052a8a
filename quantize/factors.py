"""Factors of values: what lets them pass, and where they lead."""

from __future__ import annotations

import math

import numpy as np

from ..frontend.graph import Graph
from ..frontend.ops import (
    Add,
    Array,
    AveragePool,
    Clip,
    Concat,
    Flatten,
    GlobalAveragePool,
    LeakyRelu,
    MaxPool,
    PRelu,
    Quantize,
    Relu,
    Reshape,
    Shape,
    Slice,
    Sub,
    Transpose,
    Upsample,
)
from .grids import step_fraction

ONE = np.ones(1)

MOST_VALUES = 1 << 24
"""Values of which each has a factor, at most."""

Channelwise = Relu | LeakyRelu | PRelu | MaxPool | AveragePool | GlobalAveragePool
"""Ops of each channel by itself that a positive factor passes."""

Moving = Flatten | Reshape | Transpose | Slice | Upsample
"""Ops that move values, and their factors with them."""


def is_one(factor: Array) -> bool:
    """Whether a factor changes nothing."""
    return bool((factor == 1).all())


def moved_factor(op: Moving, shape: Shape, factor: Array) -> Array | None:
    """The factor of the result of a move, if it is one for each index of the last axis; None if it
    is not, or if there are too many values."""
    if factor.size == 1:
        return factor
    if math.prod(shape) > MOST_VALUES:
        return None
    full = op.forward(np.broadcast_to(factor, (1, *shape)))[0]
    rows = full.reshape(-1, full.shape[-1])
    return rows[0].copy() if (rows == rows[0]).all() else None


def scales_ahead(graph: Graph) -> dict[str, float | None]:
    """Of each value the scale of the quantisations that it leads to through ops that a positive
    factor passes, if that is one number; 1 for powers of two."""
    found: dict[str, float | None] = {}
    outputs = {port.name for port in graph.outputs}
    wanted: dict[str, set[float | None]] = {}
    for node in reversed(graph.nodes):
        scales = wanted.get(node.output, {None})
        scale = next(iter(scales)) if len(scales) == 1 else None
        found[node.output] = None if node.output in outputs else scale
        match node.op:
            case Quantize():
                steps = graph.constants[node.inputs[1]].astype(np.float64)
                single = steps.min() == steps.max()
                plain = step_fraction(steps) is not None
                passed = 1.0 if plain else float(steps[0]) if single else None
            case op if isinstance(op, Channelwise | Moving | Clip | Add | Sub | Concat):
                passed = found[node.output]
            case _:
                passed = None
        for name in node.inputs:
            wanted.setdefault(name, set()).add(passed)
    return found
