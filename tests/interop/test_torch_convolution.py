"""Convolutions and pools against PyTorch: outputs and gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutra.frontend import ops
from lutra.frontend.ops import Array, Operator, Shape, Window
from lutra.frontend.ops.window import ceil_pad

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOLERANCE = 1e-10
"""Both sides round differently; sums are over a few hundred values of size 1."""


def channels_first(x: Any) -> Any:
    return x.movedim(-1, 1)


def compare(op: Operator, reference: Callable[..., Any], shapes: tuple[Shape, ...]) -> None:
    """Outputs, and the gradients of all inputs for a random gradient of the output.

    ``reference`` takes our inputs, as tensors, the first of them channels first.
    """
    rng = np.random.default_rng(0)
    inputs: list[Array] = [rng.normal(size=shape) for shape in shapes]
    y, pullback = op.vjp([True] * len(inputs), *inputs)
    theirs = [torch.tensor(x, requires_grad=True) for x in inputs]
    expected = reference(channels_first(theirs[0]), *theirs[1:]).movedim(1, -1)
    assert y.shape == tuple(expected.shape)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)
    grad = rng.normal(size=y.shape)
    expected.backward(torch.tensor(grad))
    for ours, tensor in zip(pullback(grad), theirs, strict=True):
        assert ours is not None
        np.testing.assert_allclose(ours, tensor.grad.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


CONVOLUTIONS = [
    # kernel, stride, padding, dilation, groups, outputs; of 6 channels
    ((3,), (1,), (0,), (1,), 1, 4),
    ((4,), (3,), (2,), (2,), 2, 4),
    ((3,), (2,), (4,), (3,), 6, 12),
    ((3, 3), (1, 1), (1, 1), (1, 1), 1, 4),
    ((3, 2), (2, 3), (1, 2), (1, 1), 3, 6),
    ((2, 3), (1, 2), (3, 0), (3, 2), 2, 4),
    ((3, 3), (1, 1), (1, 1), (1, 1), 6, 6),
    ((3, 3), (2, 2), (2, 1), (2, 1), 6, 6),
    ((2, 3), (1, 3), (0, 2), (2, 3), 6, 12),
]


@pytest.mark.parametrize(("kernel", "stride", "pad", "dilation", "groups", "outputs"), CONVOLUTIONS)
def test_convolution(
    kernel: Shape, stride: Shape, pad: Shape, dilation: Shape, groups: int, outputs: int
) -> None:
    rank = len(kernel)
    window = Window(kernel, stride, tuple((p, p) for p in pad), dilation)
    function = (F.conv1d, F.conv2d)[rank - 1]

    def reference(x: Any, w: Any, b: Any) -> Any:
        return function(x, w.movedim((-1, -2), (0, 1)), b, stride, pad, dilation, groups)

    shapes = ((3, *(10, 9)[:rank], 6), (*kernel, 6 // groups, outputs), (outputs,))
    compare(ops.Conv(window, groups), reference, shapes)


TRANSPOSED = [
    # kernel, stride, padding, dilation, output padding, groups, outputs; of 6 channels
    ((3,), (1,), (0,), (1,), (0,), 1, 4),
    ((4,), (3,), (2,), (2,), (2,), 2, 4),
    ((3,), (2,), (1,), (3,), (2,), 6, 12),
    ((4, 4), (2, 2), (1, 1), (1, 1), (0, 0), 1, 4),
    ((3, 2), (2, 3), (1, 2), (1, 1), (1, 2), 3, 6),
    ((2, 3), (1, 2), (1, 0), (3, 2), (2, 1), 2, 4),
    ((1, 2), (3, 3), (0, 0), (1, 1), (2, 1), 1, 3),
    ((3, 3), (2, 2), (2, 1), (2, 1), (1, 1), 6, 6),
    ((2, 3), (1, 3), (0, 2), (2, 3), (0, 1), 6, 12),
]


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation", "extra", "groups", "outputs"), TRANSPOSED
)
def test_transposed_convolution(
    kernel: Shape,
    stride: Shape,
    pad: Shape,
    dilation: Shape,
    extra: Shape,
    groups: int,
    outputs: int,
) -> None:
    rank = len(kernel)
    window = Window(kernel, stride, tuple((p, p) for p in pad), dilation)
    function = (F.conv_transpose1d, F.conv_transpose2d)[rank - 1]

    def reference(x: Any, w: Any, b: Any) -> Any:
        # Theirs is (input channels, outputs a group, kernel...): the groups are in the first axis.
        theirs = torch.cat(w.split(outputs // groups, -1), -2).movedim((-2, -1), (0, 1))
        return function(x, theirs, b, stride, pad, extra, groups, dilation)

    shapes = ((3, *(4, 5)[:rank], 6), (*kernel, 6 // groups, outputs), (outputs,))
    compare(ops.ConvTranspose(window, extra, groups), reference, shapes)


POOLS = [
    # kernel, stride, padding, dilation
    ((3,), (2,), (1,), (1,)),
    ((4,), (3,), (2,), (2,)),
    ((1,), (3,), (0,), (1,)),
    ((2, 2), (2, 2), (0, 0), (1, 1)),
    ((2, 3), (3, 4), (1, 1), (1, 1)),
    ((3, 2), (2, 3), (1, 1), (1, 1)),
    ((3, 4), (2, 2), (1, 2), (3, 1)),
]
SIZES = [(5, 9), (6, 8), (7, 7), (8, 10)]


def pool_window(
    spatial: Shape, kernel: Shape, stride: Shape, pad: Shape, dilation: Shape, ceil: bool
) -> Window:
    """The window with what ``ceil`` adds after each axis."""
    plain = zip(spatial, kernel, stride, pad, dilation, strict=True)
    pads = tuple((p, p + (ceil_pad(n, k, s, (p, p), d) if ceil else 0)) for n, k, s, p, d in plain)
    return Window(kernel, stride, pads, dilation)


@pytest.mark.parametrize("spatial", SIZES, ids=str)
@pytest.mark.parametrize(("kernel", "stride", "pad", "dilation"), POOLS)
@pytest.mark.parametrize("ceil", [False, True])
def test_max_pool(
    spatial: Shape, kernel: Shape, stride: Shape, pad: Shape, dilation: Shape, ceil: bool
) -> None:
    rank = len(kernel)
    window = pool_window(spatial[:rank], kernel, stride, pad, dilation, ceil)
    function = (F.max_pool1d, F.max_pool2d)[rank - 1]
    compare(
        ops.MaxPool(window),
        lambda x: function(x, kernel, stride, pad, dilation, ceil_mode=ceil),
        ((3, *spatial[:rank], 2),),
    )


@pytest.mark.parametrize("spatial", SIZES, ids=str)
@pytest.mark.parametrize(("kernel", "stride", "pad"), [p[:3] for p in POOLS])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("include_pad", [False, True])
def test_average_pool(
    spatial: Shape, kernel: Shape, stride: Shape, pad: Shape, ceil: bool, include_pad: bool
) -> None:
    """What ceil mode adds does not count, even if padding does."""
    rank = len(kernel)
    window = pool_window(spatial[:rank], kernel, stride, pad, (1,) * rank, ceil)
    function = (F.avg_pool1d, F.avg_pool2d)[rank - 1]
    counted = tuple((p, p) for p in pad) if include_pad else ()
    compare(
        ops.AveragePool(window, counted),
        lambda x: function(x, kernel, stride, pad, ceil, include_pad),
        ((3, *spatial[:rank], 2),),
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3)], ids=str)
def test_matrix_product(transposed: bool, lead: Shape) -> None:
    def reference(a: Any, b: Any) -> Any:
        return (a.movedim(1, -1) @ (b.mT if transposed else b)).movedim(-1, 1)

    right = (4, 5) if transposed else (5, 4)
    compare(ops.MatMul(transposed), reference, ((3, *lead, 6, 5), (3, *lead, *right)))
    compare(ops.MatMul(transposed), reference, ((3, *lead, 6, 5), right))
