"""Figures of one value of a network, gathered block by block in memory that does not grow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..frontend.errors import ModelError
from ..frontend.ops import Array
from ..quantize.cast import Cast, fit, round_to_integer
from ..quantize.formats import MAX_INTEGER, MAX_WIDTH, Format
from ..quantize.lut import Lut

BINS = 128
"""Most bins of a histogram."""

SUBSTEP_BITS = 3
"""A bin is never narrower than the format's step divided by two to this power."""

MAX_POINTS = 10_000
"""Outputs that are kept for a picture."""

EDGE_BITS = 40
"""Bits of the edges of bins at most, so that a float holds each edge exactly."""


@dataclass(frozen=True)
class Histogram:
    """How often values occur: bin i counts ``start + i·width <= v < start + (i + 1)·width``."""

    start: float
    width: float
    counts: tuple[int, ...]

    @property
    def stop(self) -> float:
        """Right edge of the last bin."""
        return self.start + self.width * len(self.counts)


class HistogramTally:
    """Counts values in at most 128 bins whose width is a power of two.

    Where a new value lies outside, neighbouring bins are merged.  Bins start at multiples of their
    width, so that a merged bin counts just what it would have counted from the start: the result
    does not depend on the order of the values.

    Args:
        least: the smallest exponent of two that the width may have.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self.exponent = least
        self.low = math.inf
        self.high = -math.inf
        self.first = 0
        self.counts = np.zeros(0, np.int64)

    def add(self, v: Array) -> None:
        """Count finite float32 values, held in a float64 array that is not empty."""
        self.low = min(self.low, float(v.min()))
        self.high = max(self.high, float(v.max()))
        exponent = self._fitting_exponent()
        first = math.floor(math.ldexp(self.low, -exponent))
        last = math.floor(math.ldexp(self.high, -exponent))
        counts = np.zeros(last - first + 1, np.int64)
        for i in np.flatnonzero(self.counts):
            counts[((self.first + int(i)) >> (exponent - self.exponent)) - first] += self.counts[i]
        index = np.floor(np.ldexp(v.ravel(), -exponent)) - float(first)
        counts += np.bincount(index.astype(np.intp), minlength=len(counts))
        self.exponent, self.first, self.counts = exponent, first, counts

    def _fitting_exponent(self) -> int:
        """The smallest exponent with which all values so far fit into the bins."""
        exponent = self.least
        magnitude = max(abs(self.low), abs(self.high))
        if magnitude:
            exponent = max(exponent, math.frexp(magnitude)[1] - EDGE_BITS)
        if self.high > self.low:
            exponent = max(exponent, math.frexp((self.high - self.low) / BINS)[1] - 1)
        while (
            math.floor(math.ldexp(self.high, -exponent))
            - math.floor(math.ldexp(self.low, -exponent))
            >= BINS
        ):
            exponent += 1
        return exponent

    def result(self) -> Histogram:
        width = math.ldexp(1.0, self.exponent)
        return Histogram(self.first * width, width, tuple(map(int, self.counts)))


class ValueTally:
    """Compares one value of the float graph with its counterpart of the fixed graph.

    Attributes:
        count: values compared.
        signal, noise: sums of ``float^2`` and of ``(float - fixed)^2``.
        worst: largest ``|float - fixed|``.
        raw_low, raw_high: the smallest and the largest raw value.
        fixed_low, fixed_high: the smallest and the largest value that they stand for.
        step: worth of one raw unit, the largest of any channel.

    Args:
        format_: of the raw values.
        factor: what 1 stands for, one number or one a channel.
    """

    def __init__(self, format_: Format, factor: Array) -> None:
        self.format = format_
        self.factor = factor
        self.step = format_.step * float(factor.max())
        self.count = 0
        self.signal = 0.0
        self.noise = 0.0
        self.worst = 0.0
        self.raw_low = math.inf
        self.raw_high = -math.inf
        self.fixed_low = math.inf
        self.fixed_high = -math.inf
        finest = math.frexp(format_.step * float(factor.min()))[1] - 1
        self.histogram = HistogramTally(finest - SUBSTEP_BITS)

    def add(self, floats: Array, raw: Array) -> None:
        """Compare a block: float values, and raw values of the same shape.

        Raises:
            ModelError: a float value is NaN or infinite.
        """
        v = np.asarray(floats, np.float64)
        if not np.isfinite(v).all():
            raise ModelError(
                "the float network gives NaN or infinite values",
                expected="finite numbers",
                remedy="Scale the data as they were scaled for training",
            )
        fixed = np.asarray(raw, np.float64) * self.format.step * self.factor
        error = v - fixed
        self.count += v.size
        self.signal += float(np.square(v).sum())
        self.noise += float(np.square(error).sum())
        self.worst = max(self.worst, float(np.abs(error).max()))
        self.raw_low = min(self.raw_low, float(raw.min()))
        self.raw_high = max(self.raw_high, float(raw.max()))
        self.fixed_low = min(self.fixed_low, float(fixed.min()))
        self.fixed_high = max(self.fixed_high, float(fixed.max()))
        self.histogram.add(v)

    @property
    def sqnr(self) -> float:
        """Signal-to-quantisation-noise ratio in dB, ``10 log10(signal / noise)``: inf where the
        error is zero, -inf where there is an error and no signal."""
        if self.noise == 0:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


@dataclass
class Losses:
    """How often a lossy step lost more than a rounding error.

    Attributes:
        count: values that went through the step.
        overflow: of these, how many the overflow mode changed (for a table: whose true function
            value lies, after rounding, beyond the format).
        underflow: how many were not zero and were rounded to zero.  No value is both.
    """

    count: int = 0
    overflow: int = 0
    underflow: int = 0


class CastTally(Losses):
    """Counts what a Cast loses, from its exact operands."""

    def __init__(self, cast: Cast) -> None:
        super().__init__()
        self.cast = cast

    def add_raw(self, raw: Array) -> None:
        """Count a block of the operand's raw values."""
        self._add(np.ldexp(raw.astype(np.float64), -self.cast.shift))

    def add_floats(self, x: Array) -> None:
        """Count a block of floats that enter the network through this Cast."""
        self._add(np.ldexp(x.astype(np.float64), self.cast.format.fraction))

    def _add(self, v: Array) -> None:
        """Count values in steps of the target; scaling by a power of two was exact."""
        rounded = round_to_integer(v, self.cast.rounding)
        fitted = fit(rounded.copy(), self.cast.format, self.cast.overflow)
        self.count += v.size
        self.overflow += int(np.count_nonzero(fitted != rounded))
        self.underflow += int(np.count_nonzero((rounded == 0) & (v != 0)))


class LutTally(Losses):
    """Counts what a table loses, from the raw values of its index.

    The table is made once more with the widest format of the same fraction: where an entry of that
    lies beyond the format, the function saturates.  Formats of 53 bits leave no room to see it.
    """

    def __init__(self, lut: Lut, index: Format, output: Format) -> None:
        super().__init__()
        width = min(MAX_WIDTH, MAX_INTEGER + output.fraction)
        wide = Format(True, max(width, 1), max(width, 1) - output.fraction)
        true = lut.table(index, wide)
        self.saturated = (true < output.low) | (true > output.high)
        something = np.array([value != 0 for value in lut.exact(index)])
        self.vanished = (true == 0) & np.roll(something, index.low)

    def add_raw(self, raw: Array) -> None:
        """Count a block of look-ups."""
        patterns = raw.astype(np.intp)
        self.count += raw.size
        self.overflow += int(self.saturated.take(patterns, mode="wrap").sum())
        self.underflow += int(self.vanished.take(patterns, mode="wrap").sum())


class PointSample:
    """Keeps a sample of pairs, spread evenly over all values and over the output's places, and the
    pair that differs most."""

    def __init__(self, samples: int, places: int) -> None:
        self.stride = max(1, -(-samples * places // MAX_POINTS))
        while self.stride > 1 and math.gcd(self.stride, places) > 1:
            self.stride += 1
        self.seen = 0
        self.pairs: list[tuple[float, float]] = []
        self.worst = (0.0, 0.0)

    def add(self, floats: Array, fixed: Array) -> None:
        a, b = floats.ravel(), fixed.ravel()
        taken = slice(-self.seen % self.stride, None, self.stride)
        self.pairs += zip(a[taken].tolist(), b[taken].tolist(), strict=True)
        self.seen += a.size
        most = int(np.abs(b - a).argmax())
        if abs(b[most] - a[most]) > abs(self.worst[1] - self.worst[0]):
            self.worst = (float(a[most]), float(b[most]))

    def result(self) -> tuple[tuple[float, float], ...]:
        """The sample; the pair that differs most is its last."""
        if self.worst[0] == self.worst[1]:
            return tuple(self.pairs)
        return (*(pair for pair in self.pairs if pair != self.worst), self.worst)
