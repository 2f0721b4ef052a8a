"""Random networks of forks and joins in the timed run: none stops at the depths of its project, the
model says when each beat moves, and the depths are tight.

Kernels are compiled against types of numbers that mean nothing (``light_ap``), since only times
matter here and AMD's take most of a compiler's time.  ``LUTRA_FORKS`` sets how many are drawn.

The rule for tightness: of a design's FIFOs the deepest is taken, the first of them in the order of
the plan if there are several, and made shallower by one.  Then a frame must end later, or the
design must stop.  A design whose deepest FIFO has 2 places does not count, because no FIFO ever has
fewer, needed or not.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lutra.hls_templates.hardware.depths import LEAST
from lutra.hls_templates.project import Options
from lutra.sim.timed import timed
from lutra.sim.toolchain import find_headers

from .random_forks import random_forks
from .timed_designs import LIGHT, Design, draw_folds, frames, wrong_times

COUNT = int(os.environ.get("LUTRA_FORKS", "200"))
BATCHES = 8
"""Binaries, so that workers can share them."""

FRAMES = 8
"""A FIFO that is too shallow may take some frames to delay one."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_forks_and_joins(batch: int, tmp_path: Path) -> None:
    designs = {}
    for seed in range(batch, COUNT, BATCHES):
        graph = random_forks(seed)
        options = Options(folding=draw_folds(graph, seed))
        designs[seed] = Design(graph, options, frames(graph, FRAMES))
        designs[seed].write(tmp_path / str(seed))
    tight: dict[int, bool] = {}
    with timed([tmp_path / str(seed) for seed in designs], find_headers(LIGHT), ["-O0"]) as binary:
        for i, (seed, design) in enumerate(designs.items()):
            found = design.run(binary, i)
            assert wrong_times(design, found) == [], f"design {seed}"
            deepest = max(found.depths, key=lambda name: found.depths[name])
            if found.depths[deepest] > LEAST:
                depths = {deepest: found.depths[deepest] - 1}
                less = binary.run(design.raw, design.pipelines(), depths, i)
                later = any(a > b for a, b in zip(less.finish, found.finish, strict=False))
                tight[seed] = less.deadlock or later
    loose = [seed for seed, slower in tight.items() if not slower]
    print(f"{len(designs)} designs, {len(tight)} with deep FIFOs, not tight: {loose}")
    assert len(tight) >= len(designs) / 3
    assert len(loose) <= 0.1 * len(tight)
