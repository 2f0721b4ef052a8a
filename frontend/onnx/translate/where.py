"""ONNX's Where: a choice between two values, place by place, by a condition that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import ModelError, ShapeError
from ...ops import Add, Array, Mul
from ..call import Call, Form
from ..values import Activation, Builder, Constant, Value, expect_foldable
from .arithmetic import binary


def where(builder: Builder, call: Call) -> Value:
    """The sum of both, each with zeros where the other one is chosen.

    Minus infinity is added instead: what it takes the place of does not matter to it.
    """
    condition = call.constant(0)
    chosen = condition.stored
    if chosen.dtype != bool:
        raise ModelError("its condition is no truth", found=chosen.dtype, expected="bool")
    sides = [(1, chosen), (2, ~chosen)]
    for index, mask in sides:
        if _infinite(call, index):
            values = np.where(mask, np.float32(-np.inf), np.float32(0))
            added = builder.folded(f"{call.output}_mask", values)
            return binary(Add())(builder, replace(call, inputs=(call.value(3 - index), added)))
    parts = tuple(_kept(builder, call, index, mask) for index, mask in sides)
    return binary(Add())(builder, replace(call, inputs=parts))


def _infinite(call: Call, index: int) -> bool:
    """Whether an input is a constant that is minus infinity throughout."""
    value = call.value(index)
    if not isinstance(value, Constant):
        return False
    return bool(np.isneginf(call.weight(index, repeated=True).stored).all())


def _kept(builder: Builder, call: Call, index: int, mask: Array) -> Value:
    """An input with zeros where ``mask`` is not set."""
    name, output = (f"{text}_{('', 'first', 'second')[index]}" for text in (call.name, call.output))
    if isinstance(call.value(index), Activation):
        ones = builder.folded(f"{output}_mask", mask.astype(np.float32))
        part = replace(call, name=name, outputs=(output,), inputs=(call.value(index), ones))
        return binary(Mul())(builder, part)
    value = call.weight(index, repeated=True).stored
    try:
        expect_foldable(np.broadcast_shapes(mask.shape, value.shape))
    except ValueError:
        found = [mask.shape, value.shape]
        raise ShapeError("its shapes cannot be broadcast", found=found) from None
    return builder.folded(output, np.where(mask, value, np.float32(0)))


FORMS = {"Where": Form(16, where, {})}
