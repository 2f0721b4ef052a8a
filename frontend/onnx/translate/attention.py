"""ONNX's Attention: products of matrices, a softmax, and a mask that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...errors import ShapeError
from ...ops import Add, Array, MatMul, Mul, Softmax, Tanh
from ..aligned import own_shape
from ..call import Call, Form, anything, only
from ..masks import MASKED
from ..steps import Steps
from ..values import Activation, Builder, Constant, RefusedError, Value, expect_foldable, is_float

HIDDEN = np.float32(MASKED)
"""The score of a key that a query must not see."""


@dataclass(frozen=True)
class _Inputs:
    """Queries, keys and values as ``(..., heads, steps, size)``, the cache among the keys.

    Attributes:
        past: how many keys are from the cache.
        flat: whether the file has the heads beside each other in one axis.
    """

    q: Activation
    k: Activation
    v: Activation
    past: int
    flat: bool


def attention(builder: Builder, call: Call) -> tuple[Value, ...]:
    """Y, the keys and values with the cache in front, and the scores at one point on the way."""
    steps = Steps(builder, call)
    found = _inputs(steps, call)
    heads = found.q.shape[-3]
    shared, rest = divmod(heads, found.k.shape[-3])
    if rest or found.k.shape[-3] != found.v.shape[-3]:
        raise ShapeError("has heads that do not fit", found=heads, expected=found.k.shape[-3])
    head = len(found.q.shape) - 3
    keys, values = (steps.repeated(x, head, shared) for x in (found.k, found.v))
    scale = call.get("scale", None)
    scale = 1 / math.sqrt(found.q.shape[-1]) if scale is None else call.number("scale", 1.0)
    if not scale > 0:
        raise RefusedError(f"attribute 'scale' is {scale}; supported: above 0")
    scores = [steps.apply(MatMul(transposed=True), found.q, keys)]
    scores[0] = steps.scaled(scores[0], scale)
    scores.append(_capped(steps, scores[0], call.number("softcap", 0.0)))
    biased, hidden, empty = _masked(steps, call, scores[1], found.past)
    scores.append(biased)
    shares = steps.apply(Softmax(), biased)
    if empty is not None:
        shares = steps.apply(Mul(), shares, steps.weight("seen", empty))
    scores.append(shares)
    mode = call.get("qk_matmul_output_mode", 0)
    if mode == 2 and hidden and len(call.used) > 3 and call.used[3]:
        raise RefusedError("gives scores of minus infinity; supported: modes 0, 1 and 3")
    y = steps.apply(MatMul(), shares, values)
    if found.flat:
        order = (*range(head), head + 1, head, head + 2)
        y = steps.turned(y, order)
        y = steps.reshaped(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1]))
    return steps.done(y), found.k, found.v, scores[mode]


def _inputs(steps: Steps, call: Call) -> _Inputs:
    parts = [call.data(i, anywhere=True) for i in range(3)]
    if len({(x.batch, x.rank) for x in parts}) > 1 or parts[0].batch not in (0, None):
        raise RefusedError("is of values with the batch on different axes, or not the first")
    rank = parts[0].rank
    if rank not in (3, 4):
        raise ShapeError("attends to what has 3 or 4 axes", found=rank, expected="3 or 4 axes")
    if rank == 3:
        heads = [call.get(key, 0) for key in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
        parts = [split_heads(steps, x, n) for x, n in zip(parts, heads, strict=True)]
    q, k, v = parts
    past = 0
    if (call.value(4) is None) != (call.value(5) is None):
        raise ShapeError("has half a cache", found="one of two", expected="keys and values")
    if call.value(4) is not None:
        caches = [call.data(i, anywhere=True) for i in (4, 5)]
        if any(cache.batch != q.batch for cache in caches):
            raise RefusedError("has a cache with the batch on another axis")
        past = caches[0].shape[-2]
        axis = len(q.shape) - 2
        k, v = (steps.joined((c, x), axis) for c, x in zip(caches, (k, v), strict=True))
    return _Inputs(q, k, v, past, rank == 3)


def split_heads(steps: Steps, x: Activation, heads: int) -> Activation:
    """``(..., steps, heads · size)`` as ``(..., heads, steps, size)``."""
    *before, count, size = x.shape
    if heads < 1 or size % heads:
        raise ShapeError("does not divide into heads", found=size, expected=f"{heads} heads")
    lead = len(before)
    parts = steps.reshaped(x, (*before, count, heads, size // heads))
    return steps.turned(parts, (*range(lead), lead + 1, lead, lead + 2))


def _capped(steps: Steps, scores: Activation, cap: float) -> Activation:
    """Softly between ``-cap`` and ``cap``; 0 is no cap."""
    if cap <= 0:
        return scores
    return steps.scaled(steps.apply(Tanh(), steps.scaled(scores, 1 / cap)), cap)


def _masked(
    steps: Steps, call: Call, scores: Activation, past: int
) -> tuple[Activation, bool, Array | None]:
    """The scores with all masks added, whether any is hidden, and queries that see nothing.

    The last is 0 for such a query and 1 for others, or None where there is none.
    """
    *_, rows, columns = scores.shape
    bias: Array = np.zeros((1, 1), np.float32)
    mask = call.value(3)
    if isinstance(mask, Constant):
        bias = _known_mask(call, mask, scores)
    elif mask is not None:
        computed = call.data(3, anywhere=True)
        (wide,) = [steps.builder.widened(computed, scores.rank)]
        if wide.batch != scores.batch or wide.shape[-1] not in (1, columns):
            raise RefusedError("has a mask with the batch on another axis, or that is too short")
        scores = steps.apply(Add(), scores, wide)
    allowed = _window(call, scores, rows, columns, past)
    expect_foldable(np.broadcast_shapes(bias.shape, allowed.shape))
    bias = np.where(allowed & (bias > HIDDEN), bias, HIDDEN)
    if not bias.any():
        return scores, False, None
    visible = np.broadcast_to(bias > HIDDEN, (*bias.shape[:-1], columns))
    seen = np.asarray(visible.any(axis=-1, keepdims=True))
    y = steps.apply(Add(), scores, steps.weight("mask", bias))
    hidden = bool((bias == HIDDEN).any())
    return y, hidden, None if seen.all() else seen.astype(np.float32)


def _known_mask(call: Call, mask: Constant, scores: Activation) -> Array:
    """What a constant mask adds to the scores."""
    value = mask.array
    if value.dtype == bool:
        value = np.where(value, np.float32(0), -np.inf)
    elif is_float(value):
        value = call.weight(3).array
    else:
        raise RefusedError(f"has a mask of type {value.dtype}; supported: floats and bools")
    if np.isnan(value).any() or (value == np.inf).any():
        raise RefusedError("has a mask with NaN or infinite values")
    columns = scores.shape[-1]
    short = columns - (value.shape[-1] if value.ndim else 1)
    if short > 0 and value.ndim and value.shape[-1] > 1:
        value = np.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, short)], constant_values=-np.inf)
    shape = own_shape(Constant(mask.name, lambda: value), scores)
    if shape is None:
        raise RefusedError(f"has a mask of shape {value.shape}, which differs between samples")
    if any(n not in (1, m) for n, m in zip(shape, scores.shape, strict=True)):
        raise ShapeError("has a mask that does not fit", found=shape, expected=scores.shape)
    return np.asarray(value.reshape(shape), np.float32)


def _window(call: Call, scores: Activation, rows: int, columns: int, past: int) -> Array:
    """Which keys each query may see by its place: bools that can be broadcast to the scores."""
    left, right = call.get("left_window_size", -1), call.get("right_window_size", -1)
    expect_foldable((rows, columns))
    offset: Array = np.full((1, 1), past)
    allowed = np.ones((1, 1), bool)
    keys = np.arange(columns)
    if call.value(6) is not None:
        valid = _valid(call, scores)
        offset = valid - rows
        allowed = keys < valid
    at = np.arange(rows)[:, None] + offset
    if call.get("is_causal", 0):
        allowed = allowed & (keys <= at)
    if left >= 0:
        allowed = allowed & (keys >= at - left)
    if right >= 0:
        allowed = allowed & (keys <= at + right)
    return np.asarray(allowed)


def _valid(call: Call, scores: Activation) -> Array:
    """How many keys are no padding: one number, or one a sample where all are one value."""
    counts = call.integers(6)
    if scores.batch is None and len(counts) == scores.shape[0]:
        return np.array(counts).reshape(-1, *(1,) * (len(scores.shape) - 1))
    if len(set(counts)) != 1:
        raise RefusedError("has samples with different numbers of keys")
    return np.full((1, 1), counts[0])


_ATTENTION = {
    "is_causal": only(0, 1),
    "kv_num_heads": anything,
    "left_window_size": anything,
    "q_num_heads": anything,
    "qk_matmul_output_mode": only(0, 1, 2, 3),
    "right_window_size": anything,
    "scale": anything,
    "softcap": anything,
    "softmax_precision": only(0, 1, 11),
}
FORMS = {"Attention": Form(25, attention, _ATTENTION, outputs=4)}
