"""What the tables of the command line say of a network."""

from __future__ import annotations

import numpy as np

from lutra import show
from lutra.frontend.ops import Dense

from .quantised_graphs import Quantised


def test_inspect_names_the_integers_of_a_quantised_network() -> None:
    made = Quantised((4,))
    x = made.quantize("input", "x", 0.25)
    x = made.quantize("narrow", x, 0.3, low=-7, high=7)
    x = made.quantize("single", x, [0.5, 0.5, 0.25, 0.5], low=0, high=15)
    x = made.quantize("odd", x, 1.0, low=-3, high=10)
    weight = made.on_grid("w", np.array([[-8, 7, 1]] * 4), 0.125)
    made.add("dense", Dense(), x, weight)
    made.bipolar("sign", "dense", 2.0)
    rows = {row["layer"]: row for row in show.layers(made.graph())}
    assert rows["input"]["op"] == "Quantize int8 2^-2"
    assert rows["narrow"]["op"] == "Quantize ±7 0.3"
    assert rows["single"]["op"] == "Quantize uint4 4 scales"
    assert rows["odd"]["op"] == "Quantize -3..10 2^0"
    assert rows["sign"]["op"] == "Bipolar 2^1"
    assert rows["dense"]["integers"] == "int4"
    assert rows["dense"]["parameters"] == 12
    assert rows["sign"]["parameters"] == 0
