"""ONNX's Gemm: a dense layer, or whatever other product and sum it is used for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import ShapeError
from ...ops import Add, Array, Dense, Mul
from ..call import Call
from ..values import Activation, Builder, Constant, Linear, Value
from .arithmetic import binary
from .linear import matmul, per_channel


def gemm(builder: Builder, call: Call) -> Value:
    """``alpha · A · B + beta · C``, with A and B transposed where the node says so."""
    a = _matrix(builder, call, 0, bool(call.get("transA", 0)))
    if isinstance(a, Activation) and a.batch != 1 and isinstance(call.value(1), Constant):
        y = _dense(builder, call, a)
        if y is not None:
            return y
    b = _matrix(builder, call, 1, bool(call.get("transB", 0)))
    alpha, c = call.get("alpha", 1.0), call.value(2)
    if alpha == 1 and c is None:
        return matmul(builder, replace(call, inputs=(a, b), attributes={}))
    y = _scaled(builder, call, "scaled", matmul(builder, _part(call, "product", a, b)), alpha)
    if c is None:
        return y
    if isinstance(c, Constant):
        c = call.weight(2)
    c = _scaled(builder, call, "addend", c, call.get("beta", 1.0))
    return binary(Add())(builder, replace(call, inputs=(y, c), attributes={}))


def _dense(builder: Builder, call: Call, x: Activation) -> Value | None:
    """A matrix of weights and a bias for each of its outputs; None if it is something else."""
    source, c = call.weight(1), call.value(2)
    if source.array.ndim != 2:
        raise ShapeError("Gemm takes matrices", found=source.array.shape, expected="two axes")
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    turned = bool(call.get("transB", 0))

    def make(b: Array) -> Array:
        b = b.T if turned else b
        return b if alpha == 1 else b * np.float64(alpha)

    size = source.array.shape[0 if turned else 1]
    bias = None
    if c is not None:
        if not isinstance(c, Constant):
            return None
        addend = call.weight(2)
        scaled = addend if beta == 1 else addend.mapped(lambda c: c * np.float64(beta))
        axis = len(x.shape) - 1
        bias = per_channel(scaled, replace(x, shape=(*x.shape[:-1], size)), axis)
        if bias is None:
            return None
    weight = builder.weight(source, f"gemm {alpha} {turned}", make)
    layer = Linear(Dense(), x.id, weight, None, len(x.shape) - 1, None, call.name)
    return builder.linear(layer, x, call.output, bias)


def _matrix(builder: Builder, call: Call, index: int, turned: bool) -> Activation | Constant:
    """An operand of two axes, transposed if it is to be."""
    if isinstance(call.value(index), Constant):
        source = call.weight(index)
        if source.array.ndim != 2:
            raise ShapeError("Gemm takes matrices", found=source.array.shape, expected="two axes")
        return source.mapped(np.transpose) if turned else source
    x = call.data(index, anywhere=True, merged=not turned)
    if x.rank != 2:
        raise ShapeError("Gemm takes matrices", found=x.shape, expected="(batch, features)")
    if not turned:
        return x
    if x.batch is not None:
        return replace(x, batch=1 - x.batch, linear=None)
    name, wish = f"{call.name}_turned{index}", f"{call.output}_turned{index}"
    return builder.turned(x, (1, 0), name, wish).placed(x)


def _scaled(builder: Builder, call: Call, what: str, x: Value, factor: float) -> Value:
    """A value times a number."""
    if factor == 1:
        return x
    if isinstance(x, Constant):
        return x.mapped(lambda c: c * np.float64(factor))
    number = Constant(f"{call.output}_{what}_by", lambda: np.full((), factor, np.float32))
    return binary(Mul())(builder, _part(call, what, x, number))


def _part(call: Call, what: str, *inputs: Value) -> Call:
    """A node of its own that does a part of the work."""
    return replace(
        call,
        name=f"{call.name}_{what}",
        inputs=inputs,
        outputs=(f"{call.output}_{what}",),
        attributes={},
    )
