"""A damaged file of a quantised network: refused with an error of ours, or run without a crash."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from lutra.frontend.errors import LutraError, ModelError
from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import Array, Bipolar, Quantize
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel, from_fixed_onnx, to_fixed_onnx
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

from .quantised_graphs import Quantised
from .test_bad_input_fixed import ODD, Json, metadata, places, with_metadata


@pytest.fixture(scope="module")
def saved() -> onnx.ModelProto:
    net = Quantised((4,))
    net.quantize("q0", "x", 0.1037, zero=3)
    net.dense("d", "q0", (4, 3), [0.0313, 0.25, 0.0719])
    net.quantize("q1", "d", [0.0519, 0.0611, 0.0707], low=0, high=15)
    net.bipolar("b", "q1", 0.3)
    graph = net.graph()
    return to_fixed_onnx(FixedModel(graph, lower(graph, calibrate(graph, Settings()))))


def parts(data: Json) -> list[Json]:
    """What only quantised networks have."""
    quantised = [node for node in data["float"]["nodes"] if node["op"] in ("Quantize", "Bipolar")]
    own = [data["float"]["grids"], data["fixed"]["factors"], quantised]
    return [*own, data["fixed"]["inputs"], data["fixed"]["outputs"]]


def test_any_value_in_any_place(saved: onnx.ModelProto) -> None:
    text = metadata(saved)
    count = len([None for part in parts(json.loads(text)) for _ in places(part)])
    assert count > 60
    x = np.zeros((2, 4), np.float32)
    for place in range(count):
        for value in ODD[place % 3 :: 3]:
            data = json.loads(text)
            found = [at for part in parts(data) for at in places(part)]
            container, key = found[place]
            container[key] = value
            try:
                model = from_fixed_onnx(with_metadata(saved, json.dumps(data)))
                with np.errstate(all="ignore"):
                    Simulator(model.fixed).run(x)
            except LutraError:
                pass


@pytest.mark.parametrize(
    ("scale", "zero", "problem"),
    [
        ([0.0], [0.0], "a scale is not positive"),
        ([-1.0], [0.0], "a scale is not positive"),
        ([0.5], [0.5], "a zero point is no integer"),
    ],
)
def test_scales_and_zero_points(scale: list[float], zero: list[float], problem: str) -> None:
    constants: dict[str, Array] = {
        "s": np.array(scale, np.float32),
        "z": np.array(zero, np.float32),
    }
    node = Node("q", Quantize(0, 3), ("x", "s", "z"), "y")
    ports = (Port.of("x", (2,)),), (Port.of("y", (2,)),)
    with pytest.raises(ModelError, match=rf"node 'q'.*{problem}"):
        Graph("g", *ports, (node,), constants)


def test_a_scale_that_is_computed() -> None:
    nodes = (
        Node("a", Bipolar(), ("x", "s"), "a"),
        Node("b", Bipolar(), ("x", "a"), "y"),
    )
    ports = (Port.of("x", (1,)),), (Port.of("y", (1,)),)
    with pytest.raises(ModelError, match=r"node 'b'.*no constant"):
        Graph("g", *ports, nodes, {"s": np.ones(1, np.float32)})
