"""Normalisation: by the statistics of a channel (batch norm) or of a row (layer and RMS norm)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import LutraError
from .base import Array, Pullback, Shape, expect


@dataclass(frozen=True)
class BatchNorm:
    """``gamma · (x - mean) / √(variance + epsilon) + beta`` with statistics that are given.

    Inputs: x ``(..., C)``; gamma, beta, mean and variance, each ``(C,)``.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _expect_epsilon(self.epsilon)

    def infer(self, *shapes: Shape) -> Shape:
        return _channels("batch norm", shapes, ("gamma", "beta", "mean", "variance"))

    def forward(self, *inputs: Array) -> Array:
        x, gamma, beta, mean, variance = inputs
        scale = gamma / np.sqrt(variance + self.epsilon)
        y = _wide_rows(x) * _wide(scale, x)
        y += _wide(beta - mean * scale, x)
        return np.asarray(y).reshape(x.shape)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, gamma, _, mean, variance = inputs
        inverse = 1 / np.sqrt(variance + self.epsilon)
        scale = gamma * inverse

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            dx = (_wide_rows(grad) * _wide(scale, x)).reshape(x.shape) if needs[0] else None
            dgamma = dbeta = dmean = dvariance = None
            if needs[2] or needs[3]:
                dbeta = channel_sums(grad)
                dmean = dbeta * -scale
            if needs[1] or needs[4]:
                dgamma = channel_sums(grad * (x - mean)) * inverse
                dvariance = dgamma * scale * inverse * -0.5
            return (dx, dgamma, dbeta, dmean, dvariance)

        return self.forward(*inputs), pullback


@dataclass(frozen=True)
class BatchNormTraining:
    """:class:`BatchNorm` with the batch's own mean and variance.  Training alone uses it.

    Inputs: x ``(..., C)``; gamma and beta, each ``(C,)``.  The variance is the biased one (Ioffe,
    Szegedy 2015), and the gradient takes in that it depends on x.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _expect_epsilon(self.epsilon)

    def infer(self, *shapes: Shape) -> Shape:
        return _channels("batch norm", shapes, ("gamma", "beta"))

    def forward(self, *inputs: Array) -> Array:
        return self.vjp((False, False, False), *inputs)[0]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, gamma, beta = inputs
        count = x.size // x.shape[-1]
        centred = _wide_rows(x) - _wide(channel_sums(x) / count, x)
        variance = channel_sums((centred * centred).reshape(x.shape)) / count
        inverse = 1 / np.sqrt(variance + self.epsilon)
        scale = gamma * inverse
        y = centred * _wide(scale, x)
        y += _wide(beta, x)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            rows = grad.reshape(centred.shape)
            dbeta = channel_sums(grad)
            dgamma = channel_sums((rows * centred).reshape(x.shape)) * inverse
            dx = None
            if needs[0]:
                part = centred * _wide(dgamma * inverse / -count, x)
                part += rows
                part -= _wide(dbeta / count, x)
                part *= _wide(scale, x)
                dx = part.reshape(x.shape)
            return (dx, dgamma, dbeta)

        return y.reshape(x.shape), pullback


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, ``(C,)`` each, over all axes but the last."""
    count = x.size // x.shape[-1]
    mean = channel_sums(x) / count
    centred = _wide_rows(x) - _wide(mean, x)
    centred *= centred
    return mean, channel_sums(centred.reshape(x.shape)) / count


@dataclass(frozen=True)
class LayerNorm:
    """``gamma · (x - mean) / √(variance + epsilon) + beta`` with the statistics of each row.

    Inputs: x ``(..., n)``; gamma and beta, each ``(n,)``.  A row runs along the last axis; the
    variance is the biased one (Ba, Kiros, Hinton 2016).
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _expect_epsilon(self.epsilon)

    def infer(self, *shapes: Shape) -> Shape:
        return _channels("layer norm", shapes, ("gamma", "beta"))

    def forward(self, *inputs: Array) -> Array:
        return self.vjp((False, False, False), *inputs)[0]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, gamma, beta = inputs
        rows = x.reshape(-1, x.shape[-1])
        centred = rows - _row_means(rows)[:, None]
        inverse, scale = _row_scales(centred, gamma, self.epsilon)
        y = centred * scale
        y += beta

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            flat = grad.reshape(rows.shape)
            dx, dgamma = _pull_rows(flat, centred, gamma, inverse, scale)
            dx -= (flat @ gamma * inverse / len(gamma))[:, None]
            return (dx.reshape(x.shape), dgamma, channel_sums(flat))

        return y.reshape(x.shape), pullback


@dataclass(frozen=True)
class RmsNorm:
    """``gamma · x / √(mean of x² + epsilon)``, over the last axis (Zhang, Sennrich 2019).

    Inputs: x ``(..., n)``; gamma ``(n,)``.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _expect_epsilon(self.epsilon)

    def infer(self, *shapes: Shape) -> Shape:
        return _channels("RMS norm", shapes, ("gamma",))

    def forward(self, *inputs: Array) -> Array:
        return self.vjp((False, False), *inputs)[0]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, gamma = inputs
        rows = x.reshape(-1, x.shape[-1])
        inverse, scale = _row_scales(rows, gamma, self.epsilon)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            dx, dgamma = _pull_rows(grad.reshape(rows.shape), rows, gamma, inverse, scale)
            return (dx.reshape(x.shape), dgamma)

        return (rows * scale).reshape(x.shape), pullback


def channel_sums(x: Array) -> Array:
    """Sums over all axes but the last, ``(C,)``: as a matrix product, faster than a reduction."""
    rows = x.reshape(-1, x.shape[-1])
    return np.asarray(np.ones(len(rows), x.dtype) @ rows)


def _wide_rows(x: Array) -> Array:
    """``x`` as rows of the last two axes: NumPy works row by row, and few channels are slow."""
    return x.reshape(-1, _positions(x) * x.shape[-1])


def _wide(values: Array, x: Array) -> Array:
    """One value a channel, repeated to stand beside :func:`_wide_rows`."""
    return np.tile(values, _positions(x))


def _positions(x: Array) -> int:
    return int(x.shape[-2]) if x.ndim > 2 else 1


def _row_means(rows: Array) -> Array:
    n = rows.shape[-1]
    return np.asarray(rows @ np.full(n, 1 / n, rows.dtype))


def _row_scales(rows: Array, gamma: Array, epsilon: float) -> tuple[Array, Array]:
    """``1 / √(mean of x² + epsilon)`` of each row, and its products with ``gamma``."""
    inverse = 1 / np.sqrt(_row_means(rows * rows) + epsilon)
    return inverse, np.dot(inverse[:, None], gamma[None])  # faster here than broadcasting


def _pull_rows(
    grad: Array, rows: Array, gamma: Array, inverse: Array, scale: Array
) -> tuple[Array, Array]:
    """Gradients of ``rows`` and ``gamma``, given that of ``rows · scale``."""
    product = grad * rows
    dx = grad * scale
    dx -= rows * (product @ gamma * (inverse * inverse * inverse / len(gamma)))[:, None]
    return dx, inverse @ product


def _expect_epsilon(epsilon: float) -> None:
    """Raise a LutraError if the square root of a variance and ``epsilon`` may not exist."""
    if not 0 <= epsilon < math.inf:
        raise LutraError(
            "the epsilon of a normalisation is wrong",
            found=epsilon,
            expected="a number of at least 0",
        )


def _channels(what: str, shapes: tuple[Shape, ...], names: tuple[str, ...]) -> Shape:
    """Shape of ``x``, after a check that every parameter has one value a channel."""
    x, *parameters = shapes
    expect(len(x) >= 1, f"{what} needs an axis", found=x, expected="(..., n)")
    for name, shape in zip(names, parameters, strict=True):
        expect(shape == x[-1:], f"{what}: {name} does not fit", found=shape, expected=x[-1:])
    return x
