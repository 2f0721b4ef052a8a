"""The cycle model against the timed run of the generated C++, on every recipe's network: cycle for
cycle, beat for beat in every FIFO, and bit for bit; in two more foldings cycle for cycle.

The weights are those before training: times do not depend on them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lutra.frontend.recipe import BUILT_IN
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.project import Options
from lutra.quantize.fixed_onnx import FixedModel
from lutra.sim.timed import timed
from lutra.sim.toolchain import find_headers

from .test_buses import widened
from .timed_designs import (
    LIGHT,
    Design,
    differences,
    draw_folds,
    fixed,
    frames,
    untrained,
    wrong_times,
)


def compare(designs: list[Design], folder: Path, light: Path | None = None) -> list[list[str]]:
    """For each design in what its timed run differs from what is said of it; times alone with
    headers in the place of AMD's."""
    folder.mkdir(exist_ok=True)
    projects = [folder / str(i) for i in range(len(designs))]
    for design, project in zip(designs, projects, strict=True):
        design.write(project)
    check = wrong_times if light else differences
    with timed(projects, find_headers(light), ["-O0"]) as binary:
        return [check(design, design.run(binary, i)) for i, design in enumerate(designs)]


@pytest.mark.parametrize("recipe", BUILT_IN)
def test_the_model_is_the_timed_run(recipe: str, tmp_path: Path) -> None:
    graph = fixed(untrained(recipe))
    large = recipe == "image-filters"
    folding = draw_folds(graph, 7) if large else Folding()
    design = Design(graph, Options(folding=folding), frames(graph))
    assert compare([design], tmp_path / "exact") == [[]]
    others = [
        Design(graph, Options(folding=draw_folds(graph, seed)), frames(graph)) for seed in (8, 9)
    ]
    assert design.plan not in [other.plan for other in others]
    assert compare(others, tmp_path / "others", LIGHT) == [[], []]


def test_other_ports(fixed_cnn: FixedModel, tmp_path: Path) -> None:
    """Words of AXI4-Stream and of memory, and a network that takes a frame a cycle."""
    graph, mlp, twice = fixed_cnn.fixed, fixed(untrained("digits-mlp"), 4), widened(6, 9)
    folding = Folding({"conv": Fold(2, 2)})
    designs = [
        Design(graph, Options(folding=folding, interface="axis", bus_bits=24), frames(graph)),
        Design(graph, Options(folding=folding, interface="m_axi", bus_bits=64), frames(graph)),
        Design(mlp, Options(parallel=True), frames(mlp)),
        Design(twice, Options(parallel=True, interface="axis", bus_bits=72), frames(twice)),
        Design(twice, Options(parallel=True, interface="m_axi", bus_bits=32), frames(twice)),
    ]
    assert compare(designs, tmp_path) == [[]] * 5
    assert [design.model().interval for design in designs[2:]] == [1, 1, 6]
