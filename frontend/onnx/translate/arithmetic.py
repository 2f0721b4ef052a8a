"""ONNX's elementwise arithmetic, of two values of the network or of one and a constant."""

from __future__ import annotations

from collections.abc import Callable

from ...ops import Add, Array, Div, Maximum, Minimum, Mul, Sub
from ..aligned import aligned, own_shape
from ..call import Call
from ..values import Activation, Builder, Constant, RefusedError, Value
from .linear import per_channel


def add(builder: Builder, call: Call) -> Value:
    """A constant bias right behind a layer joins it; anything else is an addition."""
    pair = (call.value(0), call.value(1))
    for i, (x, c) in enumerate((pair, pair[::-1])):
        if isinstance(x, Activation) and x.linear is not None and isinstance(c, Constant):
            bias = per_channel(call.weight(1 - i, repeated=True), x, x.linear.axis)
            if bias is not None:
                return builder.linear(x.linear, x, call.output, bias)
    return binary(Add())(builder, call)


def binary(
    op: Add | Sub | Mul | Div | Maximum | Minimum, make: Callable[[Array], Array] | None = None
) -> Callable[[Builder, Call], Value]:
    """The translator of an op on two values; constants go through ``make`` first."""

    def translate(builder: Builder, call: Call) -> Value:
        values = (call.value(0), call.value(1))
        at = [i for i, value in enumerate(values) if isinstance(value, Activation)]
        data = [call.data(i, anywhere=True, merged=True) for i in at]
        if not data:
            call.data()
        ranks = [value.stored.ndim for value in values if isinstance(value, Constant)]
        data = aligned(builder, data, max(ranks, default=0))
        x = data[0]
        ids = tuple(
            data[at.index(i)].id if i in at else _operand(builder, call, i, x, make) for i in (0, 1)
        )
        return builder.emit(op, ids, call.name, call.output, like=x)

    return translate


def _operand(
    builder: Builder, call: Call, index: int, x: Activation, make: Callable[[Array], Array] | None
) -> str:
    """A constant operand of ``x``, without the axis that stands for the batch."""
    source = call.weight(index, repeated=True)
    shape = own_shape(source, x)
    if shape is None:
        raise RefusedError(
            f"has a constant of shape {source.stored.shape}, which differs between samples"
        )
    added = x.rank - source.stored.ndim  # axes of size 1, to whose place broadcasting comes
    if x.batch is not None and x.batch < added:
        added += x.merged - 1
    kept = shape[added:]
    return builder.weight(
        source, f"operand {kept} {make}", lambda c: (make(c) if make else c).reshape(kept)
    )
