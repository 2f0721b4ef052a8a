"""How the kernel of sliding windows goes through an image: when it reads, and what it keeps.

``include/lutra/window.h`` explains the loop.  How far reading runs ahead and how many rows are kept
are found here: the least with which, in the middle of an image, every value is there when it
leaves.  One row of windows tells, since all are alike but for those at the image's ends, which need
less.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..frontend.ops import Array, Window

GAP = 4
"""Iterations from writing a value to reading it, at least: a memory's pipeline needs a few."""


@dataclass(frozen=True)
class Slide:
    """One frame through the kernel; a beat is what arrives at a time, a phase a row of windows.

    Attributes:
        lead: beats that are read before the first one leaves; if negative, so many turns of
            reading pass before the first beat is read.
        fetch, emit: turns of reading and beats that leave, in each phase.
        phases: rows of windows.
        arrive: beats of a frame.
        slots: rows of the image that are kept, of ``pitch`` words in each bank.
        row_banks, column_banks: memories that take turns at neighbouring rows and columns, so that
            the values that leave together lie in different ones.
        group: rows and columns of the kernel that leave together.
    """

    lead: int
    fetch: int
    emit: int
    phases: int
    arrive: int
    slots: int
    row_banks: int
    column_banks: int
    pitch: int
    group: tuple[int, int]

    @property
    def steps(self) -> int:
        """Iterations of a phase."""
        return max(self.fetch, self.emit)

    @property
    def trips(self) -> int:
        """Iterations of a call."""
        return max(self.lead, 0) + self.phases * self.steps

    @property
    def words(self) -> int:
        """Beats that each bank holds."""
        return self.slots * self.pitch

    def reads(self) -> Array:
        """The iteration that reads each beat of a frame."""
        turn = np.arange(self.arrive) - self.lead
        phase, place = np.divmod(turn, self.fetch)
        later = max(self.lead, 0) + phase * self.steps + paced(place, self.fetch, self.steps)
        return np.where(turn < 0, turn + max(self.lead, 0), later)

    def writes(self) -> Array:
        """The iteration that writes each beat that leaves."""
        phase = max(self.lead, 0) + np.arange(self.phases) * self.steps
        return (phase[:, None] + paced(np.arange(self.emit), self.emit, self.steps)).ravel()


def tap_groups(window: Window) -> tuple[int, ...]:
    """How many taps may leave together: whole parts of a kernel's row, or parts of its rows."""
    rows, columns = (window.kernel[0], 1) if len(window.kernel) == 1 else window.kernel
    within = (n for n in range(1, columns + 1) if columns % n == 0)
    across = (n * columns for n in range(1, rows + 1) if rows % n == 0)
    return tuple(sorted({*within, *across}))


@lru_cache(maxsize=1024)
def slide(window: Window, image: tuple[int, int, int], lanes: int, taps: int) -> Slide:
    """How the kernel goes through ``image`` (height, width, channels).

    Args:
        window: of two spatial axes.
        lanes: values of an arriving beat; they divide the channels.
        taps: of :func:`tap_groups`; if there are several, ``lanes`` are the channels.
    """
    height, width, channels = image
    (kernel_h, kernel_w), (stride_h, stride_w) = window.kernel, window.stride
    (dilation_h, dilation_w), (pad_h, pad_w) = window.dilation, window.pad
    out_h, out_w = window.infer(image)[:2]
    folds = channels // lanes
    columns = min(taps, kernel_w)
    rows = taps // columns
    row, fetch = width * folds, stride_h * width * folds
    emit = out_w * window.size * folds // taps
    steps = max(fetch, emit)

    # Of the windows of one row: x of each tap, and the first and last that lie in the image.
    x = stride_w * np.arange(out_w)[:, None] - pad_w[0] + dilation_w * np.arange(kernel_w)
    x = x.reshape(out_w, 1, kernel_w // columns, columns)
    inside = (x >= 0) & (x < width)
    first = np.where(inside, x, width).min(3, keepdims=True)
    last = np.where(inside, x, -1).max(3, keepdims=True)
    # Rows, from the window's first one, and iterations; of all folds the first and last will do.
    y = dilation_h * np.arange(0, kernel_h, rows)[None, :, None, None]
    fold = np.array(sorted({0, folds - 1}))
    shape = (out_w, kernel_h // rows, kernel_w // columns, folds)
    when = paced(np.arange(emit), emit, steps).reshape(shape)[..., fold]
    needed = np.broadcast_to(inside.any(3, keepdims=True), when.shape)

    # Beats are counted from the first row of the first window, as if no row were missing.
    begin = -pad_h[0] * row
    before = when - GAP
    arrived = np.where(before >= 0, (before + 1) * fetch // steps, before + 1)
    newest = (y + dilation_h * (rows - 1)) * row + last * folds + fold
    lead = begin + (window.reach[0] - 1) * row
    if needed.any():
        lead = max(lead, begin + int((newest + 1 - arrived)[needed].max()))
    lead = min(lead, height * row + GAP - 1)
    slots = 1
    if needed.any():
        oldest = begin + y * row + first * folds + fold
        overwritten = lead + (when + 1) * fetch // steps - oldest
        slots = max(slots, -(-int(overwritten[needed].max()) // row))
    slots = min(slots, height)
    row_banks, column_banks = _banks(rows, dilation_h), _banks(columns, dilation_w)
    return Slide(
        lead=lead,
        fetch=fetch,
        emit=emit,
        phases=out_h,
        arrive=height * row,
        slots=-(-slots // row_banks),
        row_banks=row_banks,
        column_banks=column_banks,
        pitch=((width - 1 + pad_w[0] % column_banks) // column_banks + 1) * folds,
        group=(rows, columns),
    )


def paced(index: Array, count: int, steps: int) -> Array:
    """The iterations of ``count`` events, spread evenly over ``steps``, the last in the last."""
    return -(-(index + 1) * steps // count) - 1


def _banks(taps: int, distance: int) -> int:
    """The fewest memories in turns of which ``taps`` places so far apart lie in different ones."""
    return next(
        n
        for n in range(taps, taps * distance + 1)
        if len({k * distance % n for k in range(taps)}) == taps
    )
