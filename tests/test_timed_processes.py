"""Every kind of process in the timed run, loops over time in both directions included: the cycle
model says when each beat moves."""

from __future__ import annotations

from pathlib import Path

from lutra.hls_templates.folding import Folding
from lutra.hls_templates.project import Options
from lutra.sim.timed import timed
from lutra.sim.toolchain import find_headers

from .test_processes import NETWORKS
from .timed_designs import LIGHT, Design, frames, wrong_times


def test_every_process(tmp_path: Path) -> None:
    designs = {}
    for name, make in NETWORKS.items():
        graph, folds = make()
        designs[name] = Design(graph, Options(folding=Folding(folds)), frames(graph))
        designs[name].write(tmp_path / name)
    with timed([tmp_path / name for name in designs], find_headers(LIGHT), ["-O0"]) as binary:
        wrong = {
            name: wrong_times(design, design.run(binary, i))
            for i, (name, design) in enumerate(designs.items())
        }
    assert {name: found for name, found in wrong.items() if found} == {}
