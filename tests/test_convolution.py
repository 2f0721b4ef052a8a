"""Windows, convolutions and pools against their definitions, on integers and therefore exactly."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.errors import ShapeError
from lutra.frontend.graph import Graph
from lutra.frontend.ops import Array, Shape, Window
from lutra.frontend.ops.window import ceil_pad
from tests.cases import CASES, Case

WINDOWS = [
    Window.of((3, 3)),
    Window.of((2, 2), (2, 2)),
    Window((3, 2), (2, 3), ((1, 0), (0, 2))),
    Window.of((1, 1), (2, 1)),
    Window((3,), (2,), ((2, 1),)),
    Window((3, 2), (1, 1), ((1, 2), (0, 3)), (2, 3)),
    Window((2, 3), (3, 2), ((0, 1), (1, 1)), (4, 1)),
    Window((2,), (2,), ((0, 3),), (3,)),
]
GROUPS = [(1, 1, 4), (3, 1, 4), (4, 2, 6), (6, 3, 3), (3, 3, 3), (2, 2, 6)]
"""Channels, groups, outputs."""


def whole(rng: np.random.Generator, *shape: int, dtype: type = np.float64) -> Array:
    """Small whole numbers."""
    return rng.integers(-9, 10, shape).astype(dtype)


def all_samples(place: Shape) -> tuple[Any, ...]:
    """The index of one place in every sample of a batch."""
    return (slice(None), *place)


def operands(window: Window, channels: int, groups: int, outputs: int) -> tuple[Array, ...]:
    """Input for five samples, weight and bias."""
    rng = np.random.default_rng(6)
    x = whole(rng, 5, *(9, 8)[: len(window.kernel)], channels)
    return x, whole(rng, *window.kernel, channels // groups, outputs), whole(rng, outputs)


def by_definition(window: Window, groups: int, x: Array, w: Array, b: Array) -> Array:
    """Value by value: place, kernel position, output channel."""
    y = np.zeros((len(x), *window.infer(x.shape[1:]), w.shape[-1])) + b
    inputs, outputs = x.shape[-1] // groups, w.shape[-1] // groups
    for place in np.ndindex(*y.shape[1:-1]):
        for tap in np.ndindex(*window.kernel):
            at = tuple(
                i * s + k * d - before
                for i, s, k, d, (before, _) in zip(
                    place, window.stride, tap, window.dilation, window.pad, strict=True
                )
            )
            if any(not 0 <= i < n for i, n in zip(at, x.shape[1:-1], strict=True)):
                continue
            for m in range(w.shape[-1]):
                first = m // outputs * inputs
                seen = x[(slice(None), *at, slice(first, first + inputs))]
                y[(slice(None), *place, m)] += seen @ w[tap][:, m]
    return y


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("channels", "groups", "outputs"), GROUPS)
def test_convolution_is_its_definition(
    window: Window, channels: int, groups: int, outputs: int
) -> None:
    x, w, b = operands(window, channels, groups, outputs)
    op = ops.Conv(window, groups)
    expected = by_definition(window, groups, x, w, b)
    assert op.infer(x.shape[1:], w.shape, b.shape) == expected.shape[1:]
    for dtype in (np.float32, np.float64):
        y = op.forward(*(a.astype(dtype) for a in (x, w, b)))
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("channels", "groups", "outputs"), GROUPS)
def test_blocks_do_not_show(
    window: Window,
    channels: int,
    groups: int,
    outputs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results and gradients are the same whether a batch is worked on whole or in blocks."""
    inputs = operands(window, channels, groups, outputs)
    op = ops.Conv(window, groups)
    y, pullback = op.vjp([True, True, True], *inputs)
    grad = whole(np.random.default_rng(7), *y.shape)
    expected = pullback(grad)
    for size in (1, 3 * math.prod(y.shape[1:-1]) * window.size * channels * 8):
        monkeypatch.setattr("lutra.frontend.ops.correlation.BLOCK", size)
        parts, pullback = op.vjp([True, True, True], *inputs)
        np.testing.assert_array_equal(parts, y)
        for ours, theirs in zip(pullback(grad), expected, strict=True):
            assert ours is not None
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("channels", "groups", "outputs"), GROUPS)
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_transposed_convolution_is_the_adjoint(
    window: Window, channels: int, groups: int, outputs: int, extra: int
) -> None:
    """``<conv(x), z> = <x, transposed(z)>`` for all x and z: on integers with no tolerance."""
    rank = len(window.kernel)
    rng = np.random.default_rng(8)
    op = ops.ConvTranspose(window, (extra,) * rank, groups)
    z, v = (
        whole(rng, 3, *(4, 5)[:rank], channels),
        whole(rng, *window.kernel, channels // groups, outputs),
    )
    y = op.forward(z, v)
    assert y.shape[1:] == op.infer(z.shape[1:], v.shape)
    x = whole(rng, *y.shape)
    # The same weight for the convolution: each group's inputs and outputs change places.
    parts = np.split(v, groups, -1)
    w = np.concatenate([part.swapaxes(-1, -2) for part in parts], -1)
    forward = by_definition(window, groups, x, w, np.zeros(channels))
    # Windows beyond those of z begin in the output padding.
    forward = forward[tuple(slice(n) for n in z.shape)]
    assert (forward * z).sum() == (x * y).sum()


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("channels", "groups", "outputs"), GROUPS)
def test_transposed_convolution_is_its_definition(
    window: Window, channels: int, groups: int, outputs: int
) -> None:
    rank = len(window.kernel)
    rng = np.random.default_rng(9)
    x = whole(rng, 3, *(4, 5)[:rank], channels)
    w, b = whole(rng, *window.kernel, channels // groups, outputs), whole(rng, outputs)
    op = ops.ConvTranspose(window, (1, 2)[:rank], groups)
    expected = np.zeros((3, *op.infer(x.shape[1:], w.shape, b.shape))) + b
    inputs, each = channels // groups, outputs // groups
    for place in np.ndindex(*x.shape[1:-1]):
        for tap in np.ndindex(*window.kernel):
            at = tuple(
                i * s + k * d - before
                for i, s, k, d, (before, _) in zip(
                    place, window.stride, tap, window.dilation, window.pad, strict=True
                )
            )
            if any(not 0 <= i < n for i, n in zip(at, expected.shape[1:-1], strict=True)):
                continue
            for g in range(groups):
                seen = x[(slice(None), *place, slice(g * inputs, (g + 1) * inputs))]
                made = slice(g * each, (g + 1) * each)
                expected[(slice(None), *at, made)] += seen @ w[tap][:, made]
    y = op.forward(*(a.astype(np.float32) for a in (x, w, b)))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, expected)


POOLED = [
    *WINDOWS[:6],
    Window((3, 2), (2, 2), ((1, 1), (1, 0)), (2, 4)),
    Window((9, 8), (1, 1), ((2, 0), (1, 1))),
    Window((9, 8), (2, 2), ((1, 0), (0, 1))),
]


def inside(
    window: Window, x: Shape, place: Shape, margin: tuple[tuple[int, int], ...]
) -> list[Shape]:
    """Positions of one window that lie in the input, or within the margin of it."""
    axes = []
    for axis, (i, (before, after)) in enumerate(zip(place, margin, strict=True)):
        first = i * window.stride[axis] - window.pad[axis][0]
        spots = (first + k * window.dilation[axis] for k in range(window.kernel[axis]))
        axes.append([p for p in spots if -before <= p < x[axis] + after])
    return list(itertools.product(*axes))


@pytest.mark.parametrize("window", POOLED, ids=str)
def test_pools_are_their_definitions(window: Window) -> None:
    """The means up to the rounding of a reciprocal and a product."""
    rng = np.random.default_rng(3)
    x = whole(rng, 3, *(9, 8)[: len(window.kernel)], 2)
    shape = x.shape[1:]
    none = ((0, 0),) * len(window.kernel)
    some = tuple((min(before, 1), min(after, 1)) for before, after in window.pad)
    most, total = ops.MaxPool(window).forward(x), ops.SumPool(window).forward(x)
    means = [ops.AveragePool(window, counted).forward(x) for counted in (none, some, window.pad)]
    for place in np.ndindex(*window.infer(shape)):
        at = all_samples(place)
        values = np.stack([x[all_samples(p)] for p in inside(window, shape, place, none)])
        np.testing.assert_array_equal(most[at], values.max(0))
        np.testing.assert_array_equal(total[at], values.sum(0))
        for mean, counted in zip(means, (none, some, window.pad), strict=True):
            count = len(inside(window, shape, place, counted))
            np.testing.assert_allclose(mean[at], values.sum(0) / count, rtol=1e-14, atol=1e-14)
            assert ops.AveragePool(window, counted).counts(shape)[place] == count


def test_equal_attributes_make_equal_ops() -> None:
    assert Window((3,), (1,), ((0, 0),)) == Window((3,), (1,), ((0, 0),), (1,))
    window = Window.of((3, 2))
    assert ops.AveragePool(window, ((0, 0), (0, 0))) == ops.AveragePool(window)
    assert ops.ConvTranspose(window) == ops.ConvTranspose(window, (0, 0))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_single_precision_stays_so(case: Case) -> None:
    inputs = case.arrays(dtype=np.float32)
    y, pullback = case.op.vjp([True] * len(inputs), *inputs)
    assert y.dtype == np.float32
    assert y.shape[1:] == case.op.infer(case.shape, *case.more, *case.weights)
    for grad in pullback(np.ones_like(y)):
        assert grad is not None
        assert grad.dtype == np.float32


def test_an_empty_batch() -> None:
    for window, (channels, groups, outputs) in itertools.product(WINDOWS, GROUPS):
        x, w, b = operands(window, channels, groups, outputs)
        for op in (ops.Conv(window, groups), ops.ConvTranspose(window, (), groups)):
            y, pullback = op.vjp([True] * 3, x[:0], w, b)
            assert y.shape == (0, *op.infer(x.shape[1:], w.shape, b.shape))
            for grad, value in zip(pullback(y), (x[:0], w, b), strict=True):
                assert grad is not None
                assert grad.shape == value.shape
                assert not grad.any()


REFUSED: list[tuple[ops.Op, tuple[Shape, ...], str]] = [
    (ops.Conv(Window.of((3, 3))), ((2, 5, 1), (3, 3, 1, 1)), "larger than the padded input"),
    (
        ops.Conv(Window((3,), (1,), ((0, 0),), (2,))),
        ((4, 1), (3, 1, 1)),
        r"larger than the padded input .*dilation \(2,\)",
    ),
    (ops.Conv(Window.of((3,)), 2), ((5, 3), (3, 1, 2)), "groups must divide .*2 groups, 3 input"),
    (ops.Conv(Window.of((3,)), 2), ((5, 4), (3, 2, 3)), "groups must divide .* 3 output"),
    (ops.Conv(Window.of((3,)), 0), ((5, 4), (3, 4, 2)), "groups must divide .*0 groups"),
    (ops.Conv(Window.of((3,)), 2), ((5, 4), (3, 4, 2)), "weight does not fit .* for 2 input"),
    (ops.Conv(Window.of((3,))), ((5, 4), (3, 4, 2), (3,)), "bias does not fit"),
    (ops.Conv(Window((3,), (1,), ((0, 0),), (0,))), ((5, 4), (3, 4, 2)), "dilation must be at"),
    (ops.Conv(Window((3,), (1,), ((0, 0),), (1, 1))), ((5, 4), (3, 4, 2)), "axes alike"),
    (ops.ConvTranspose(Window.of((3,)), (), 3), ((5, 4), (3, 1, 3)), "groups must divide"),
    (ops.ConvTranspose(Window.of((3,)), (-1,)), ((5, 4), (3, 4, 3)), "output padding must"),
    (ops.ConvTranspose(Window.of((3,)), (1, 1)), ((5, 4), (3, 4, 3)), "output padding must"),
    (
        ops.ConvTranspose(Window((3,), (1,), ((2, 2),))),
        ((2, 4), (3, 4, 3)),
        "cuts off the whole result",
    ),
    (ops.MaxPool(Window((2,), (2,), ((2, 0),))), ((4, 1),), "in the padding alone"),
    (ops.MaxPool(Window((2,), (1,), ((1, 1),), (5,))), ((4, 1),), "in the padding alone"),
    (ops.AveragePool(Window((2,), (2,), ((2, 0),))), ((4, 1),), "no position that counts"),
    (ops.AveragePool(Window((2,), (2,), ((0, 0),)), ((0, 1),)), ((4, 1),), "no more than the pad"),
    (ops.AveragePool(Window((2,), (2,), ((1, 1),)), ((1, 1),) * 2), ((4, 1),), "no more than"),
    (ops.Slice(0, 3, 3), ((5, 2),), "at least one value"),
    (ops.Slice(0, 3, 6), ((5, 2),), "none beyond the axis"),
    (ops.Slice(0, 5, -1, -1), ((5, 2),), "none beyond the axis"),
    (ops.Slice(0, 0, 5, 0), ((5, 2),), "at least one value"),
    (ops.Slice(2, 0, 1), ((5, 2),), "no such axis"),
    (ops.Slice(-1, 0, 1), ((5, 2),), "no such axis"),
    (ops.Pad((1,), (0,)), ((5, 2),), "sizes for 2 axes"),
    (ops.Pad((1, -1), (0, 0)), ((5, 2),), "at least 0"),
    (ops.Upsample((2, 2)), ((5, 2),), "found .* expected 1 factors"),
    (ops.Upsample((0,)), ((5, 2),), "factor of at least 1"),
    (ops.Concat(1), ((5, 2), (4, 2)), "differ in its axis alone"),
    (ops.Concat(0), ((5, 2), (5, 2, 1)), "differ in its axis alone"),
    (ops.Concat(0), ((5, 2),), "two or more inputs"),
    (ops.MatMul(), ((3, 4), (5, 4)), "do not fit"),
    (ops.MatMul(transposed=True), ((3, 4), (4, 5)), r"\(\.\.\., m, k\)"),
    (ops.MatMul(), ((2, 3, 4), (3, 4, 5)), "cannot be broadcast"),
    (ops.Add(), ((3, 4), (3, 5)), "cannot be broadcast"),
]


@pytest.mark.parametrize(("op", "shapes", "problem"), REFUSED, ids=str)
def test_what_does_not_fit_is_refused(op: ops.Op, shapes: tuple[Shape, ...], problem: str) -> None:
    with pytest.raises(ShapeError, match=problem):
        op.infer(*shapes)


def graph_of(op: ops.Op, moving: list[Shape], fixed: list[Shape]) -> Graph:
    """The case of an op on activations and constants of these shapes."""
    return Case("alone", op, moving[0], tuple(fixed), tuple(moving[1:])).graph()


def test_batch_axes_meet() -> None:
    """NumPy would broadcast a batch against another axis without a word."""
    assert graph_of(ops.Add(), [(3, 4)], [(4,)]).shapes["y"] == (3, 4)
    with pytest.raises(ShapeError, match=r"node 'op': a constant has more axes .*at most 1 axes"):
        graph_of(ops.Mul(), [(4,)], [(3, 4)])
    with pytest.raises(ShapeError, match=r"node 'op': operands must be .*same number of axes"):
        graph_of(ops.MatMul(), [(2, 3, 4), (4, 5)], [])
    with pytest.raises(ShapeError, match=r"node 'op': a concatenation takes no constants"):
        graph_of(ops.Concat(0), [(3, 4)], [(3, 4)])


def test_ceil_pad() -> None:
    """Windows beyond the input are added where a part is left over, unless they start beyond."""
    assert ceil_pad(6, 2, 2) == 0
    assert ceil_pad(5, 2, 2) == 1
    assert ceil_pad(7, 3, 3) == 2
    assert ceil_pad(5, 1, 2) == 0
    assert ceil_pad(6, 1, 3) == 0, "a window at 6 would start beyond the input"
    assert ceil_pad(5, 2, 3, (1, 1)) == 0, "a window at 6 would start in the padding"
    assert ceil_pad(6, 2, 3, (1, 1), 2) == 1
