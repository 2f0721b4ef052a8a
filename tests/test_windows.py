"""The plan of sliding windows: every value is there when it leaves, and nothing waits for long."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lutra.frontend.ops import Array, Window
from lutra.hls_templates.windows import GAP, Slide, slide, tap_groups

Image = tuple[int, int, int]


def random_window(rng: np.random.Generator) -> tuple[Image, Window]:
    """Any image and window that fit."""
    while True:
        height, width, channels = (int(n) for n in rng.integers(1, (12, 12, 4)))
        kernel, stride = (
            tuple(rng.integers(1, 6, 2).tolist()),
            tuple(rng.integers(1, 4, 2).tolist()),
        )
        pad = tuple((a, b) for a, b in rng.integers(0, 4, (2, 2)).tolist())
        dilation = tuple(rng.integers(1, 4, 2).tolist())
        window = Window(kernel, stride, pad, dilation)
        padded = (n + sum(p) for n, p in zip((height, width), pad, strict=True))
        if all(n >= r for n, r in zip(padded, window.reach, strict=True)):
            return (height, width, channels), window


def leaving(image: Image, window: Window, lanes: int, taps: int) -> Array:
    """Of each beat that leaves those that it is made of, in the order of arrival; -1 is padding.

    ``(beats, taps)``
    """
    height, width, channels = image
    folds = channels // lanes
    beats = np.arange(height * width * folds).reshape(height, width, folds)
    beats = np.pad(beats, (*window.pad, (0, 0)), constant_values=-1)
    out_h, out_w = window.infer(image)
    y = window.stride[0] * np.arange(out_h)[:, None] + window.dilation[0] * np.arange(
        window.kernel[0]
    )
    x = window.stride[1] * np.arange(out_w)[:, None] + window.dilation[1] * np.arange(
        window.kernel[1]
    )
    found: Array = beats[y[:, None, :, None], x[None, :, None, :]].reshape(-1, taps)
    return found


def is_sound(run: Slide, image: Image, beats: Array, width: int) -> bool:
    """Whether every value arrives in time and is not overwritten before it leaves."""
    reads, writes = run.reads(), run.writes()
    made = beats.max(1) >= 0
    newest = np.where(beats >= 0, reads[beats], -1).max(1)
    in_time = bool(np.all(newest[made] + GAP <= writes[made]))
    over = beats + run.row_banks * run.slots * width
    lost = (beats >= 0) & (over < reads.size)
    kept = bool(
        np.all(reads[np.where(lost, over, 0)][lost] > writes.repeat(beats.shape[1])[lost.ravel()])
    )
    return in_time and kept


def random_slides(seed: int) -> list[tuple[Image, Window, int, int]]:
    """Every way to go through a random image: lanes, and taps that leave together."""
    image, window = random_window(np.random.default_rng(seed))
    channels = image[2]
    ways = [(lanes, 1) for lanes in range(1, channels + 1) if channels % lanes == 0]
    ways += [(channels, taps) for taps in tap_groups(window)[1:]]
    return [(image, window, lanes, taps) for lanes, taps in ways]


@pytest.mark.parametrize("seed", range(20))
def test_every_value_is_there_when_it_leaves(seed: int) -> None:
    for image, window, lanes, taps in (
        way for i in range(15) for way in random_slides(100 * seed + i)
    ):
        run = slide(window, image, lanes, taps)
        beats = leaving(image, window, lanes, taps)
        assert run.reads().size == math.prod(image) // lanes
        assert run.writes().size == len(beats)
        for times in (run.reads(), run.writes()):
            assert times[0] >= 0
            assert times[-1] < run.trips
            assert np.all(np.diff(times) > 0)
        assert is_sound(run, image, beats, image[1] * image[2] // lanes)


@pytest.mark.parametrize(("taps", "cycles"), [(1, 9216), (3, 3072), (9, 1024)])
def test_a_call_takes_what_leaves_and_a_short_lead(taps: int, cycles: int) -> None:
    """3 x 3 over 32 x 32 pixels: one row and two pixels come first."""
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    run = slide(window, (32, 32, 16), 16, taps)
    assert run.trips == run.lead + cycles
    assert 34 <= run.lead <= 34 + GAP
    assert run.slots * run.row_banks == 3


def test_a_call_takes_what_arrives_if_that_is_more() -> None:
    run = slide(Window.of((2, 2), (2, 2)), (16, 16, 8), 8, 4)
    assert run.trips == run.lead + 256
    assert run.lead <= 18 + GAP


@pytest.mark.parametrize(
    ("taps", "distance", "banks"),
    [(1, 5, 1), (3, 1, 3), (2, 2, 3), (3, 2, 3), (4, 2, 5), (6, 6, 7)],
)
def test_values_that_leave_together_lie_in_different_banks(
    taps: int, distance: int, banks: int
) -> None:
    window = Window((1, taps), (1, 1), ((0, 0), (0, 0)), (1, distance))
    assert slide(window, (1, 99, 1), 1, taps).column_banks == banks
