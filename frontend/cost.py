"""How much work an op is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import ops
from .ops import Op, Shape


def multiply_adds(op: Op, inputs: Sequence[Shape], output: Shape) -> int:
    """Products that an op sums up for one sample: the multiplications by weights and of matrices.

    Args:
        op: what is computed.
        inputs: shapes of what it reads, its weights among them, without the batch axis.
        output: the result's shape.
    """
    match op:
        case ops.Dense() | ops.Conv():
            return math.prod(output) * math.prod(inputs[1][:-1])
        case ops.ConvTranspose():
            return math.prod(inputs[0][:-1]) * math.prod(inputs[1])
        case ops.MatMul():
            return math.prod(output) * inputs[0][-1]
        case ops.SimpleRnn() | ops.Lstm() | ops.Gru():
            return inputs[0][0] * (math.prod(inputs[1]) + math.prod(inputs[2]))
        case _:
            return 0
