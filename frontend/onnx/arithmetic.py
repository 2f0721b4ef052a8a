"""ONNX's elementwise arithmetic, of two values of the network or of one and a constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import ShapeError
from ..ops import Add, Array, Mul, Sigmoid, Silu, Sub
from .call import Call
from .linear import per_channel
from .values import Activation, Builder, Constant, RefusedError, Value


def add(builder: Builder, call: Call) -> Value:
    """A constant bias right behind a layer joins it; anything else is an addition."""
    pair = (call.value(0), call.value(1))
    for i, (x, c) in enumerate((pair, pair[::-1])):
        if isinstance(x, Activation) and x.linear is not None and isinstance(c, Constant):
            bias = per_channel(call.weight(1 - i), x.shape, x.linear.axis, x.batch)
            if bias is not None:
                return builder.linear(x.linear, call.output, bias)
    return binary(Add())(builder, call)


def mul(builder: Builder, call: Call) -> Value:
    """A value times its own sigmoid is SiLU; anything else is a product."""
    pair = (call.value(0), call.value(1))
    for x, gate in (pair, pair[::-1]):
        if isinstance(x, Activation) and isinstance(gate, Activation):
            maker = builder.maker(gate)
            if (
                maker
                and maker.op == Sigmoid()
                and maker.inputs == (x.id,)
                and x.batch == gate.batch
            ):
                return builder.emit(Silu(), (x.id,), call.name, call.output, batch=x.batch)
    return binary(Mul())(builder, call)


def div(builder: Builder, call: Call) -> Value:
    """By a constant whose reciprocal is exact: a product."""
    if isinstance(call.value(0), Constant) or not isinstance(call.value(1), Constant):
        raise RefusedError("supported: the division by a constant")
    divisor = call.weight(1).array
    if not np.all(np.abs(np.frexp(divisor)[0]) == 0.5):
        raise RefusedError("by what is no power of two has no exact reciprocal; multiply instead")
    return binary(Mul(), lambda c: 1 / c)(builder, call)


def binary(
    op: Add | Sub | Mul, make: Callable[[Array], Array] | None = None
) -> Callable[[Builder, Call], Value]:
    """The translator of an op on two values; constants go through ``make`` first."""

    def translate(builder: Builder, call: Call) -> Value:
        values = (call.value(0), call.value(1))
        data = [call.data(i, anywhere=True) for i in (0, 1) if isinstance(values[i], Activation)]
        if not data:
            call.data()
        x = data[0]
        if any((y.rank, y.batch) != (x.rank, x.batch) for y in data):
            raise RefusedError("is of values with different axes, or the batch on different ones")
        ids = tuple(
            value.id if isinstance(value, Activation) else _operand(builder, call, i, x, make)
            for i, value in enumerate(values)
        )
        return builder.emit(op, ids, call.name, call.output, batch=x.batch)

    return translate


def _operand(
    builder: Builder, call: Call, index: int, x: Activation, make: Callable[[Array], Array] | None
) -> str:
    """A constant operand without the axis that stands for the batch."""
    source = call.weight(index)
    shape = source.array.shape
    if len(shape) > x.rank:
        raise ShapeError(
            "a constant has more axes than the data", found=shape, expected=f"at most {x.rank} axes"
        )
    at = x.batch - (x.rank - len(shape))
    if at >= 0 and shape[at] != 1:
        raise RefusedError(f"has a constant of shape {shape}, which differs between samples")
    kept = tuple(n for i, n in enumerate(shape) if i != at)
    return builder.weight(
        source, f"operand {at} {make}", lambda c: (make(c) if make else c).reshape(kept)
    )
