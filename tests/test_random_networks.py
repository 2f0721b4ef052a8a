"""Random networks: simulator and compiled C++ give the same raw integers, always.

The networks are drawn first and then compiled many to a binary, since the compiler's start costs
more than a small network.  ``LUTRA_NETWORKS`` sets how many are drawn.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lutra.frontend.errors import FormatError
from lutra.frontend.ops import Op
from lutra.frontend.storage import write_folder
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.sim.csim import compare, compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

from .networks import Network, random_network

COUNT = int(os.environ.get("LUTRA_NETWORKS", "150"))
BATCHES = 6
"""Binaries, so that workers can share them."""


@functools.cache
def draw_networks() -> tuple[Network, ...]:
    """The same networks in every run; a failing one is found by its number."""
    return tuple(map(random_network, range(COUNT)))


@pytest.mark.skipif(COUNT < 150, reason="too few networks for every op")
def test_every_op_is_drawn() -> None:
    drawn = {type(node.op) for network in draw_networks() for node in network.graph.nodes}
    assert drawn == set(get_args(Op))


def lowered(network: Network) -> FixedGraph | None:
    """The fixed graph, unless an exact result would be wider than the tools can take."""
    precision = calibrate(network.graph, network.settings, network.x)
    try:
        return lower(network.graph, precision)
    except FormatError:
        return None


@pytest.mark.parametrize("batch", range(BATCHES))
def test_simulator_equals_csim(batch: int, tmp_path: Path) -> None:
    drawn = draw_networks()
    numbers = range(batch, len(drawn), BATCHES)
    cases = []
    for number in numbers:
        graph = lowered(drawn[number])
        if graph is None:
            continue
        rng = np.random.default_rng(number)
        format_ = graph.formats["x"]
        shape = (6, *graph.inputs[0].shape)
        raw = np.concatenate(
            [
                Simulator(graph, keep=["x"]).trace(drawn[number].x)["x"],
                rng.integers(format_.low, format_.high, shape, endpoint=True),
            ]
        )
        values = Simulator(graph, keep=True).trace_raw(raw)
        project = tmp_path / f"network_{number}"
        options = Options(folding=drawn[number].folding)
        output = values[graph.outputs[0].name]
        write_folder(project, project_files(graph, options, raw, output), force=False)
        cases.append((number, graph, raw, values, project))
    assert len(cases) >= 0.9 * len(numbers)
    with compiled([case[4] for case in cases], find_headers(), ["-O0"]) as binary:
        for i, (number, graph, raw, values, _) in enumerate(cases):
            result = compare(graph, values, binary.run(graph, raw, i))
            assert result.first is None, f"network {number}: {result.first}\n{drawn[number]}"
            assert result.compared > 0
