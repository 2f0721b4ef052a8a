"""Random networks of forks and joins in the timed run: none stops at the depths of its project, and
the model says when each beat moves.

Kernels are compiled against types of numbers that mean nothing (``light_ap``), since only times
matter here and AMD's take most of a compiler's time.  ``LUTRA_FORKS`` sets how many are drawn.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lutra.hls_templates.project import Options
from lutra.sim.timed import timed
from lutra.sim.toolchain import find_headers

from .random_forks import random_forks
from .timed_designs import LIGHT, Design, draw_folds, frames, wrong_times

COUNT = int(os.environ.get("LUTRA_FORKS", "200"))
BATCHES = 8
"""Binaries, so that workers can share them."""


@pytest.mark.parametrize("batch", range(BATCHES))
def test_forks_and_joins(batch: int, tmp_path: Path) -> None:
    designs = {}
    for seed in range(batch, COUNT, BATCHES):
        graph = random_forks(seed)
        options = Options(folding=draw_folds(graph, seed))
        designs[seed] = Design(graph, options, frames(graph))
        designs[seed].write(tmp_path / str(seed))
    with timed([tmp_path / str(seed) for seed in designs], find_headers(LIGHT), ["-O0"]) as binary:
        for i, (seed, design) in enumerate(designs.items()):
            found = design.run(binary, i)
            assert wrong_times(design, found) == [], f"design {seed}"
