"""Normalisation: by the statistics of a channel (batch norm) or of a row (layer and RMS norm)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect


@dataclass(frozen=True)
class BatchNorm:
    """``gamma · (x - mean) / √(variance + epsilon) + beta`` with statistics that are given.

    Inputs: x ``(..., C)``; gamma, beta, mean and variance, each ``(C,)``.
    """

    epsilon: float = 1e-5

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
            total = channel_sums(grad)
            dx = (_wide_rows(grad) * _wide(scale, x)).reshape(x.shape) if needs[0] else None
            dgamma = dvariance = None
            if needs[1] or needs[4]:
                dgamma = channel_sums(grad * (x - mean)) * inverse
                dvariance = dgamma * scale * inverse * -0.5
            return (dx, dgamma, total, total * -scale, dvariance)

        return self.forward(*inputs), pullback


@dataclass(frozen=True)
class BatchNormTraining:
    """:class:`BatchNorm` with the batch's own mean and variance.  Training alone uses it.

    Inputs: x ``(..., C)``; gamma and beta, each ``(C,)``.  The variance is the biased one (Ioffe,
    Szegedy 2015), and the gradient takes in that it depends on x.
    """

    epsilon: float = 1e-5

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

    def infer(self, *shapes: Shape) -> Shape:
        return _channels("layer norm", shapes, ("gamma", "beta"))

    def forward(self, *inputs: Array) -> Array:
        return self.vjp((False, False, False), *inputs)[0]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, gamma, beta = inputs
        n = x.shape[-1]
        rows = x.reshape(-1, n)
        normal = rows - (rows @ np.full(n, 1 / n, x.dtype))[:, None]
        inverse = _inverse_deviations(normal, self.epsilon)
        normal *= inverse
        y = normal * gamma
        y += beta

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            flat = grad.reshape(normal.shape)
            product = flat * normal
            dx = None
            if needs[0]:
                dx = _pull_rows(flat, product, normal, inverse, gamma)
                dx -= inverse * (flat @ (gamma / n))[:, None]
                dx = dx.reshape(x.shape)
            return (dx, channel_sums(product), channel_sums(flat))

        return y.reshape(x.shape), pullback


@dataclass(frozen=True)
class RmsNorm:
    """``gamma · x / √(mean of x² + epsilon)``, over the last axis (Zhang, Sennrich 2019).

    Inputs: x ``(..., n)``; gamma ``(n,)``.
    """

    epsilon: float = 1e-5

    def infer(self, *shapes: Shape) -> Shape:
        return _channels("RMS norm", shapes, ("gamma",))

    def forward(self, *inputs: Array) -> Array:
        return self.vjp((False, False), *inputs)[0]

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        x, gamma = inputs
        rows = x.reshape(-1, x.shape[-1])
        inverse = _inverse_deviations(rows, self.epsilon)
        normal = rows * inverse

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            flat = grad.reshape(normal.shape)
            product = flat * normal
            dx = None
            if needs[0]:
                dx = _pull_rows(flat, product, normal, inverse, gamma).reshape(x.shape)
            return (dx, channel_sums(product))

        return (normal * gamma).reshape(x.shape), pullback


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


def _inverse_deviations(rows: Array, epsilon: float) -> Array:
    """``1 / √(mean of x² + epsilon)`` of each row, as a column."""
    squares = np.vecdot(rows, rows)
    squares /= rows.shape[-1]
    squares += epsilon
    return np.asarray(1 / np.sqrt(squares))[:, None]


def _pull_rows(grad: Array, product: Array, normal: Array, inverse: Array, gamma: Array) -> Array:
    """Gradient of rows divided by their deviation: ``product`` is ``grad · normal``."""
    dx = normal * (product @ (gamma / -len(gamma)))[:, None]
    dx += grad * gamma
    dx *= inverse
    return np.asarray(dx)


def _channels(what: str, shapes: tuple[Shape, ...], names: tuple[str, ...]) -> Shape:
    """Shape of ``x``, after a check that every parameter has one value a channel."""
    x, *parameters = shapes
    expect(len(x) >= 1, f"{what} needs an axis", found=x, expected="(..., n)")
    for name, shape in zip(names, parameters, strict=True):
        expect(shape == x[-1:], f"{what}: {name} does not fit", found=shape, expected=x[-1:])
    return x
