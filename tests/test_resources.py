"""What processes, streams and operators are estimated to take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lutra.frontend.ops import Dense
from lutra.frontend.recipe import Recipe, load_recipe
from lutra.hls_templates.bus import Bus
from lutra.hls_templates.folding import Fold, Folding, Multiply
from lutra.hls_templates.hardware.estimate import estimate
from lutra.hls_templates.hardware.estimate import total as sum_of
from lutra.hls_templates.hardware.figures import Figure, Resources
from lutra.hls_templates.hardware.finn import MatrixVectorUnit, finn_mvu_luts
from lutra.hls_templates.hardware.operators import Bill, dsps, multiplier
from lutra.hls_templates.hardware.parts import Target, find_part
from lutra.hls_templates.hardware.ports import port_resources
from lutra.hls_templates.hardware.resources import process_resources, stream_resources
from lutra.hls_templates.plan import Stream
from lutra.hls_templates.planner import plan
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

from .fixed_graphs import Maker
from .test_processes import NETWORKS

KRIA = Target(find_part("kv260"), 5.0)
ZYNQ = Target(find_part("pynq-z2"), 10.0)
VERSAL = Target(find_part("vck190"), 3.0)
EIGHT = Format(True, 8, 8)


def whole(graph: FixedGraph, folds: dict[str, Fold], target: Target = KRIA) -> Resources:
    design = plan(graph, Folding(folds))
    total = Resources()
    for process in design.processes:
        total += process_resources(design, process, target)
    for stream in design.streams.values():
        total += stream_resources(stream, target)
    return total


@pytest.mark.parametrize("target", [KRIA, ZYNQ, VERSAL], ids=["kria", "zynq", "versal"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_process_has_an_estimate(name: str, target: Target) -> None:
    total = whole(*NETWORKS[name](), target)
    assert 0 < total.lut.low < total.lut.expected < total.lut.high < 60_000
    assert 0 < total.ff.low < total.ff.expected < total.ff.high < 60_000
    assert total.dsp.high < 300
    assert total.bram18.high < 100
    assert total.uram == Figure.exact(0)


# Multipliers


@pytest.mark.parametrize(
    ("a_bits", "b_bits", "kind"),
    [(8, 8, "dsp"), (4, 8, "lut"), (5, 7, "dsp"), (1, 16, "lut"), (2, 24, "lut"), (16, 16, "dsp")],
)
def test_small_products_are_computed_in_luts(a_bits: int, b_bits: int, kind: str) -> None:
    assert multiplier(a_bits, b_bits) == multiplier(b_bits, a_bits) == kind
    for choice in ("dsp", "lut", "packed"):
        assert multiplier(a_bits, b_bits, choice) == choice


@pytest.mark.parametrize(
    ("a", "b", "slices"),
    [
        (18, 25, (1, 1, 1)),
        (18, 27, (2, 1, 1)),
        (24, 27, (2, 2, 1)),
        (16, 32, (2, 2, 2)),
        (26, 32, (4, 2, 2)),
        (32, 32, (4, 4, 4)),
    ],
)
def test_wide_products_take_several_slices(a: int, b: int, slices: tuple[int, int, int]) -> None:
    formats = Format(True, a, a), Format(True, b, b)
    found = tuple(dsps(*formats, kind) for kind in ("DSP48E1", "DSP48E2", "DSP58"))
    assert found == slices
    # An unsigned value needs a bit more than a signed one of the same width.
    unsigned = Format(False, a, a), Format(False, b, b)
    assert all(
        dsps(*unsigned, kind) >= some
        for kind, some in zip(("DSP48E1", "DSP48E2", "DSP58"), slices, strict=True)
    )


@pytest.mark.parametrize(
    ("choice", "slices"), [("dsp", 32), ("packed", 16), ("lut", 0), ("auto", 32)]
)
def test_packed_products_share_a_slice(choice: Multiply, slices: int) -> None:
    bill = Bill(KRIA)
    bill.dot_products(EIGHT, EIGHT, Format(True, 20, 20), Fold(8, 4, choice), 8)
    assert bill.total().dsp == Figure.exact(slices)


@pytest.mark.parametrize(
    ("operator", "luts"),
    [
        (lambda bill: bill.multiply(Format(True, 7, 7), Format(True, 9, 9), "lut"), 50),
        (lambda bill: bill.multiply(Format(True, 8, 8), Format(False, 3, 3), "lut"), 41),
        (lambda bill: bill.add(18), 25),
        (lambda bill: bill.add(32), 39),
        (lambda bill: bill.compare(17), 13),
        (lambda bill: bill.compare(32), 18),
        (lambda bill: bill.select(8, 2), 9),
        (lambda bill: bill.select(8, 3), 14),
        (lambda bill: bill.select(8, 4), 20),
        (lambda bill: bill.select(8, 5), 26),
        (lambda bill: bill.select(8, 8), 43),
        (lambda bill: bill.select(24, 26), 117),
        (lambda bill: bill.select(27, 104), 517),
        (lambda bill: bill.rom(13, 16, "lutram"), 4),
        (lambda bill: bill.rom(12, 56, "lutram"), 11),
    ],
)
def test_published_reports_of_operators_lie_in_the_ranges(
    operator: Callable[[Bill], None], luts: int
) -> None:
    bill = Bill(ZYNQ)
    operator(bill)
    figure = bill.total().lut
    assert figure.low <= luts <= figure.high


def test_published_fifos_lie_in_the_ranges() -> None:
    for depth, luts, flip_flops, blocks in [(2, 68, 99, 0), (50, 68, 154, 2)]:
        takes = stream_resources(Stream("s", Format(True, 32, 32), 1, 100, depth), ZYNQ)
        assert takes.lut.low <= luts <= takes.lut.high
        assert takes.ff.low <= flip_flops <= takes.ff.high
        assert takes.bram18.low <= blocks <= takes.bram18.high


# Published figures


def test_the_formula_of_finn_gives_its_published_values() -> None:
    # FINN's own test of its estimates (tests/fpgadataflow/test_fpgadataflow_res_estimate.py): a
    # matrix of 4 by 4, PE 1, SIMD 1, weights and inputs INT2, weights embedded (16 words).
    unit = MatrixVectorUnit(4, 4, 1, 1, 2, 2, signed=True)
    assert finn_mvu_luts(unit, dsp=False) == 317
    assert finn_mvu_luts(unit, dsp=True) == 313
    # What FINN estimated for units of a public design; weights of 8 bits are streamed in.
    for inputs, outputs, pe, simd, acc, luts in [
        (72, 8, 8, 9, 15, 4691),
        (288, 56, 4, 9, 17, 2504),
        (936, 208, 13, 9, 18, 7478),
        (208, 56, 1, 8, 17, 790),
    ]:
        unit = MatrixVectorUnit(inputs, outputs, pe, simd, 8, 3, False, acc, embedded=False)
        assert finn_mvu_luts(unit, dsp=False) == luts


Published = tuple[int, int, int, int, int, tuple[int, int], tuple[int, int, int]]

PUBLISHED: list[Published] = [
    # pe, simd, inputs, outputs, accumulator; LUT and FF of Vitis HLS; LUT, FF, DSP of Vivado
    (8, 9, 72, 8, 15, (2745, 1808), (1323, 2146, 72)),
    (4, 9, 288, 56, 17, (2066, 2791), (873, 2107, 36)),
    (13, 9, 936, 208, 18, (5760, 8420), (2393, 6391, 117)),
    (1, 8, 208, 56, 17, (1025, 1358), (509, 1069, 8)),
]
"""Matrix-vector units of a public detector on a Z-7020, made by FINN with Vitis HLS and Vivado
2022.2: weights of 8 bits, which arrive in a stream; inputs of 3 bits, kept in registers; seven
thresholds an output."""


@pytest.mark.parametrize("row", PUBLISHED)
def test_published_units_lie_in_the_ranges(row: Published) -> None:
    pe, simd, inputs, outputs, acc, hls, vivado = row
    words, word = inputs // simd, simd * 3
    bill = Bill(ZYNQ)
    bill.dot_products(Format(False, 3, 3), EIGHT, Format(True, acc, acc), Fold(pe, simd, "dsp"), pe)
    bill.control(4, math.ceil(math.log2(words * outputs)))
    bill.compare(acc, 7 * pe)
    bill.registers(words * word, words * word, words * word)
    bill.select(word, words)
    weights = 8 * pe * simd
    bill.registers(word, word + 2 * weights, word + 4 * weights)
    takes = bill.total()
    assert takes.dsp == Figure.exact(vivado[2])
    assert takes.lut.low <= vivado[0] <= hls[0] <= takes.lut.high
    assert takes.ff.low <= min(vivado[1], hls[1]) <= max(vivado[1], hls[1]) <= takes.ff.high
    assert takes.lut.expected == pytest.approx(vivado[0], rel=0.4)
    assert takes.ff.expected == pytest.approx(vivado[1], rel=0.15)


# Ports


def test_ports_take_what_their_bus_asks_for() -> None:
    graph = dense()
    sizes = [
        port_resources(plan(graph, Folding(), bus=bus), KRIA)
        for bus in (None, Bus("axis", 64), Bus("m_axi", 64), Bus("m_axi", 512))
    ]
    assert sizes[0] == Resources()
    assert [size.bram18.expected for size in sizes] == [0, 0, 4, 30]
    for kind in ("lut", "ff"):
        figures = [getattr(size, kind).expected for size in sizes]
        assert figures == sorted(figures)
    # Published for one port of 32 or 64 bits with its control, after synthesis.
    for luts, flip_flops, blocks in [(938, 1439, 1), (1149, 1602, 1)]:
        assert sizes[2].lut.low <= 2 * luts <= sizes[2].lut.high
        assert sizes[2].ff.low <= 2 * flip_flops <= sizes[2].ff.high
        assert sizes[2].bram18.low <= 2 * blocks <= sizes[2].bram18.high


def test_the_estimate_of_a_design_counts_its_ports() -> None:
    found = estimate(plan(dense(), Folding(), bus=Bus("m_axi", 64)), Folding(), KRIA)
    assert found.ports.bram18.expected == 4
    processes = sum_of(item.resources for item in found.processes)
    fifos = sum_of(item.resources for item in found.fifos)
    assert found.total == processes + fifos + found.ports
    assert found.to_dict()["ports"]["bram18"] == [2, 4, 16]


# Folding


def dense() -> FixedGraph:
    make = Maker((16,), EIGHT)
    weights = np.arange(-128, 128).reshape(16, 16)
    return make.graph(make.cast(make.add(Dense(), "x", make.constant(weights, 0)), EIGHT))


@pytest.mark.parametrize("multiply", ["auto", "dsp", "packed", "lut"])
def test_more_parallelism_never_takes_fewer_multipliers(multiply: Multiply) -> None:
    graph = dense()
    layer = graph.layers[graph.nodes[0].name]
    seen = []
    for pe, simd in [(1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4), (8, 8), (16, 8)]:
        if multiply == "packed" and pe % 2:
            continue
        total = whole(graph, {layer: Fold(pe, simd, multiply)})
        lanes = pe * simd
        packed = -(-lanes // 2) if multiply == "packed" else lanes
        assert total.dsp.expected == (0 if multiply == "lut" else packed)
        seen.append((total.dsp.expected, total.ff.expected))
    assert seen == sorted(seen)


def test_deeper_streams_never_take_less() -> None:
    stream = Stream("s", EIGHT, 4, 1000, 2)
    figures = [
        stream_resources(replace(stream, depth=depth), KRIA)
        for depth in (3, 8, 16, 32, 33, 64, 512, 513, 1024, 4096)
    ]
    assert [f.bram18.expected for f in figures] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 0]
    assert [f.uram.expected for f in figures] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    luts = [f.lut.expected for f in figures]
    assert luts[:4] == sorted(luts[:4])
    assert luts[4:] == sorted(luts[4:])


# Whole designs


@pytest.mark.parametrize(
    ("recipe", "luts", "flip_flops", "dsp", "bram18"),
    [
        ("digits-mlp", (300, 1500), (300, 1500), 4, 8),
        ("digits-cnn", (1500, 4500), (1300, 4000), 5, 12),
        ("digits-resnet", (3000, 8000), (3000, 8000), 15, 25),
        ("digits-lstm", (900, 3500), (900, 3500), 10, 30),
    ],
)
def test_recipes_are_as_large_as_they_look(
    recipe: str, luts: tuple[int, int], flip_flops: tuple[int, int], dsp: int, bram18: int
) -> None:
    made = load_recipe(recipe)
    assert isinstance(made, Recipe)
    graph = made.build(0).graph(made.name)
    x = np.random.default_rng(0).normal(size=(4, *graph.inputs[0].shape)).astype(np.float32)
    total = whole(lower(graph, calibrate(graph, Settings(), x)), {})
    assert luts[0] < total.lut.expected < luts[1]
    assert flip_flops[0] < total.ff.expected < flip_flops[1]
    assert 0 < total.dsp.expected <= dsp
    assert total.bram18.high <= bram18
    # The upper end is what synthesis reports would say: two to four times what is expected.
    assert 1.5 < total.lut.high / total.lut.expected < 4
    assert 1.5 < total.ff.high / total.ff.expected < 4
