"""The C++ kernels that move values or multiply streams, on their own, against NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.ops import Array, Shape, Window
from lutra.hls_templates.orders import Loop, Order, keeps_last_axis, order_of
from lutra.hls_templates.pack import grouped_rows, weight_rows
from lutra.hls_templates.windows import slide, tap_groups
from lutra.quantize.exact_ops import Axis, Rearrange
from lutra.quantize.formats import Format

from .kernel_bench import FRAMES, Case, Data, Post, cpp_type, integers, raw_values, run_cases

SIGNED, UNSIGNED = Format(True, 6, 2), Format(False, 5, 3)
RESULT = Format(True, 8, 6)


def matmul(
    name: str, sizes: Shape, *, simd: int, pe: int, transposed: bool, multiply: str = "dsp"
) -> Case:
    """``sizes``: batches, rows, inner size, columns."""
    batches, n, k, m = sizes
    rng = np.random.default_rng(sizes)
    a = raw_values(rng, SIGNED, FRAMES, batches, n, k)
    b = raw_values(rng, UNSIGNED, FRAMES, batches, k, m)
    acc = Format(True, 16, 10)
    post = Post(acc, RESULT)
    product = a @ b
    result = post.apply(product)
    arrives = b.swapaxes(-1, -2) if transposed else b
    return Case(
        name,
        "matmul",
        {"id": 0, "batches": batches, "n": n, "k": k, "m": m, "transposed": transposed}
        | {"simd": simd, "pe": pe},
        {"a": cpp_type(SIGNED), "b": cpp_type(UNSIGNED), "acc": cpp_type(acc), "post": post.type}
        | {"multiply": f"lutra::multiply_{multiply}"},
        (Data(a, SIGNED, simd), Data(arrives, UNSIGNED, simd if transposed else pe)),
        Data(result, RESULT, pe),
        traced={0: product, 1: result},
    )


def concat(name: str, a: Shape, b: Shape, axis: int, lanes: int, *, traced: bool = True) -> Case:
    rng = np.random.default_rng(a)
    left, right = raw_values(rng, SIGNED, FRAMES, *a), raw_values(rng, UNSIGNED, FRAMES, *b)
    value = Format(True, 8, 4)
    both = np.concatenate([left, right * 4], axis + 1)
    inner = (int(np.prod(shape[axis:])) // lanes for shape in (a, b))
    a_beats, b_beats = inner
    post = Post(value, RESULT)
    result = post.apply(both)
    return Case(
        name,
        "concat",
        {"id": 0 if traced else -1, "outer": int(np.prod(a[:axis])), "lanes": lanes}
        | {"a_beats": a_beats, "b_beats": b_beats},
        {"a": cpp_type(SIGNED), "b": cpp_type(UNSIGNED), "value": cpp_type(value)}
        | {"post": post.type},
        (Data(left, SIGNED, lanes), Data(right, UNSIGNED, lanes)),
        Data(result, RESULT, lanes),
        traced={0: both, 1: result} if traced else {1: result},
    )


def axes_text(order: Order) -> str:
    loops = (
        f"lutra::axis<{o.size}, {o.start}, {o.step}, {o.divisor}, {o.limit}, "
        f"{str(o.sparse).lower()}, {o.stride}>"
        for o in order.loops
    )
    return f"lutra::axes<{', '.join(loops)} >"


def rearrange(name: str, op: Rearrange, shape: Shape, lanes: int = 1) -> Case:
    rng = np.random.default_rng(shape)
    x = raw_values(rng, SIGNED, FRAMES, *shape)
    order = order_of(op, shape, lanes)
    moved = op.forward(x)
    value = Format(True, 9, 5)  # the fill need not fit the operand's format
    post = Post(value, RESULT)
    result = post.apply(moved)
    return Case(
        name,
        "rearrange",
        {"id": 0, "in_beats": order.in_beats, "lanes": lanes, "lead": order.lead}
        | {"fill": op.fill},
        {"axes": axes_text(order), "in": cpp_type(SIGNED), "value": cpp_type(value)}
        | {"post": post.type},
        (Data(x, SIGNED, lanes),),
        Data(result, RESULT, lanes),
        traced={0: moved, 1: result},
    )


def patches(x: Array, window: Window, fill: int) -> Array:
    """Every window of x ``(frames, height, width, channels)``, tap by tap."""
    x = np.pad(x, ((0, 0), *window.pad, (0, 0)), constant_values=fill)
    (kernel_h, kernel_w), (stride_h, stride_w) = window.kernel, window.stride
    reach_h, reach_w = window.reach
    height = (x.shape[1] - reach_h) // stride_h + 1
    width = (x.shape[2] - reach_w) // stride_w + 1
    taps = [
        x[:, i * window.dilation[0] :, j * window.dilation[1] :][:, ::stride_h, ::stride_w]
        for i in range(kernel_h)
        for j in range(kernel_w)
    ]
    return np.stack([tap[:, :height, :width] for tap in taps], axis=3)


def sliding_window(
    name: str, shape: tuple[int, int, int], window: Window, lanes: int, fill: int = 0, taps: int = 1
) -> Case:
    rng = np.random.default_rng(shape)
    x = raw_values(rng, SIGNED, FRAMES, *shape)
    result = patches(x, window, fill)
    height, width, channels = shape
    run = slide(window, shape, lanes, taps)
    pairs = {
        "kernel": window.kernel,
        "stride": window.stride,
        "dilation": window.dilation,
        "out": result.shape[1:3],
    }
    members = {
        f"{key}_{axis}": pair["hw".index(axis)] for key, pair in pairs.items() for axis in "hw"
    }
    return Case(
        name,
        "sliding_window",
        {"lanes": lanes, "channels": channels, "height": height, "width": width, "fill": fill}
        | {"pad_top": window.pad[0][0], "pad_left": window.pad[1][0]}
        | {"group_h": run.group[0], "group_w": run.group[1], "lead": run.lead, "slots": run.slots}
        | {"row_banks": run.row_banks, "column_banks": run.column_banks}
        | members,
        {"in": cpp_type(SIGNED)},
        (Data(x, SIGNED, lanes),),
        Data(result, SIGNED, lanes * taps),
    )


def dense(name: str, x_format: Format, weight: Format, multiply: str, *, pe: int = 2) -> Case:
    """Three positions of 6 inputs, 4 outputs."""
    rng = np.random.default_rng(weight.width)
    acc = Format(True, 22, 22 - x_format.width + x_format.integer)
    x = raw_values(rng, x_format, FRAMES, 3, 6)
    weights = raw_values(rng, weight, 6, 4)
    bias = raw_values(rng, integers(10), 4)
    sums = x @ weights + bias
    post = Post(acc, RESULT)
    result = post.apply(sums)
    return Case(
        name,
        "dense",
        {"id": 0, "positions": 3, "inputs": 6, "outputs": 4, "simd": 3, "pe": pe},
        {"in": cpp_type(x_format), "weight": cpp_type(weight), "acc": cpp_type(acc)}
        | {"post": post.type, "multiply": f"lutra::multiply_{multiply}"},
        (Data(x, x_format, 3),),
        Data(result, RESULT, pe),
        arrays=(
            (weight_rows(weights, pe, 3), weight.width),
            (bias.reshape(-1, pe), acc.width),
        ),
        traced={0: sums, 1: result},
    )


def grouped(
    name: str, sizes: Shape, *, across: int, simd: int, pe: int, multiply: str = "lut"
) -> Case:
    """``sizes``: positions, taps, groups, inputs and outputs of a group."""
    positions, taps, groups, inputs, outputs = sizes
    rng = np.random.default_rng(sizes)
    weight, acc = integers(5), Format(True, 19, 15)
    x = raw_values(rng, SIGNED, FRAMES, positions, taps, groups, inputs)
    weights = raw_values(rng, weight, taps, inputs, groups * outputs)
    bias = raw_values(rng, integers(10), groups * outputs)
    by_group = weights.reshape(taps, inputs, groups, outputs)
    sums = np.einsum("fptgi,tigo->fpgo", x, by_group).reshape(FRAMES, positions, -1) + bias
    post = Post(acc, RESULT)
    result = post.apply(sums)
    return Case(
        name,
        "grouped",
        {"id": 0, "positions": positions, "taps": taps, "groups": groups, "inputs": inputs}
        | {"outputs": outputs, "simd": simd, "pe": pe, "across": across},
        {"in": cpp_type(SIGNED), "weight": cpp_type(weight), "acc": cpp_type(acc)}
        | {"post": post.type, "multiply": f"lutra::multiply_{multiply}"},
        (Data(x, SIGNED, across * simd),),
        Data(result, RESULT, across * pe),
        arrays=(
            (grouped_rows(weights, groups, across, pe, simd), weight.width),
            (bias.reshape(-1, across * pe), acc.width),
        ),
        traced={0: sums, 1: result},
    )


def pool(name: str, channels: int, pe: int, *, maximum: bool) -> Case:
    """Two windows of three vectors."""
    rng = np.random.default_rng(channels)
    acc = SIGNED if maximum else Format(True, 8, 4)
    x = raw_values(rng, SIGNED, FRAMES, 2, 3, channels)
    reduced = x.max(2) if maximum else x.sum(2)
    post = Post(acc, RESULT)
    result = post.apply(reduced)
    return Case(
        name,
        "pool",
        {"id": 0, "positions": 2, "window": 3, "channels": channels, "pe": pe},
        {"in": cpp_type(SIGNED), "acc": cpp_type(acc), "post": post.type}
        | {"reduce": f"lutra::{'maximum' if maximum else 'sum'}"},
        (Data(x, SIGNED, pe),),
        Data(result, RESULT, pe),
        traced={0: reduced, 1: result},
    )


def dilated(kernel: Shape, dilation: Shape, stride: Shape, pad: tuple[Shape, Shape]) -> Window:
    (top, bottom), (left, right) = pad
    return Window(kernel, stride, ((top, bottom), (left, right)), dilation)


NONE = ((0, 0), (0, 0))
CASES = [
    matmul("matmul_one_by_one", (2, 3, 4, 6), simd=1, pe=1, transposed=False),
    matmul("matmul_folded", (2, 3, 4, 6), simd=2, pe=3, transposed=False),
    matmul("matmul_unfolded", (1, 2, 4, 6), simd=4, pe=6, transposed=False),
    matmul("matmul_transposed_one_by_one", (2, 3, 4, 6), simd=1, pe=1, transposed=True),
    matmul("matmul_transposed_folded", (3, 3, 6, 4), simd=3, pe=2, transposed=True),
    matmul("matmul_transposed_unfolded", (2, 1, 5, 3), simd=5, pe=3, transposed=True),
    matmul("matmul_of_few_rows", (4, 1, 6, 4), simd=3, pe=2, transposed=False),
    matmul("matmul_of_few_rows_transposed", (3, 2, 6, 4), simd=2, pe=4, transposed=True),
    matmul("matmul_of_many_rows", (3, 7, 4, 4), simd=4, pe=2, transposed=False),
    matmul("matmul_one_value", (1, 1, 1, 1), simd=1, pe=1, transposed=False),
    matmul("matmul_packed", (2, 3, 4, 6), simd=2, pe=2, transposed=False, multiply="packed"),
    matmul("matmul_lut", (2, 3, 4, 6), simd=2, pe=1, transposed=True, multiply="lut"),
    dense("dense_dsp", SIGNED, integers(7), "dsp"),
    dense("dense_lut", UNSIGNED, integers(7), "lut", pe=1),
    *(
        dense(f"dense_packed_{i}", Format(i > 1, 8, 4), integers(8, signed=i % 2 > 0), "packed")
        for i in range(4)
    ),
    dense("dense_packed_one_bit", Format(False, 1, 1), integers(8), "packed", pe=4),
    pool("maxima", 6, 2, maximum=True),
    pool("sums_of_many_channels", 40, 2, maximum=False),
    concat("concat_inner", (3, 2), (3, 4), 1, 1),
    concat("concat_outer", (2, 4), (1, 4), 0, 4),
    concat("concat_middle_untraced", (2, 1, 4), (2, 3, 4), 1, 2, traced=False),
    rearrange("transposed", Rearrange.transpose((3, 4, 5), (2, 0, 1)), (3, 4, 5)),
    rearrange("transposed_beats", Rearrange.transpose((2, 3, 6), (1, 0, 2)), (2, 3, 6), 3),
    rearrange("reversed", Rearrange.along((5, 4), {0: Axis(5, 0, 4, -1)}), (5, 4), 2),
    rearrange("sliced_backwards", Rearrange.along((7, 2), {0: Axis(3, 0, 6, -2)}), (7, 2)),
    rearrange("sliced", Rearrange.along((3, 7), {1: Axis(3, 1, 1, 2)}), (3, 7)),
    rearrange("cut", Rearrange.along((3, 4, 2), {1: Axis(2, 1, 1)}), (3, 4, 2), 2),
    rearrange(
        "padded",
        Rearrange.along((3, 2, 2), {0: Axis(6, 0, -2), 1: Axis(5, 1, -1)}, -100),
        (3, 2, 2),
        2,
    ),
    rearrange("padded_inside", Rearrange.along((2, 3), {1: Axis(6, 1, -1)}, 200), (2, 3)),
    rearrange(
        "upsampled",
        Rearrange.along((2, 3, 2), {0: Axis(4, 0, 0, 1, 2), 1: Axis(9, 1, 0, 1, 3)}),
        (2, 3, 2),
    ),
    rearrange(
        "spread_out",
        Rearrange.along(
            (3, 2, 2), {0: Axis(8, 0, -1, 1, 2, True), 1: Axis(6, 1, -2, 1, 3, True)}, 1
        ),
        (3, 2, 2),
        2,
    ),
    rearrange("stepped_division", Rearrange.along((4, 1), {0: Axis(5, 0, 1, 2, 3)}), (4, 1)),
    rearrange("down_by_division", Rearrange.along((4, 2), {0: Axis(6, 0, 7, -2, 3)}, 3), (4, 2)),
    rearrange("repeated", Rearrange.expand((2, 1, 3), (2, 4, 3)), (2, 1, 3), 3),
    rearrange("repeated_inside", Rearrange.expand((2, 3, 1), (2, 3, 4)), (2, 3, 1)),
    rearrange(
        "turned_and_cut",
        Rearrange((Axis(2, 1, 1), Axis(3, 0, 2, -1), Axis(1, 3, 1), Axis(4, 2, -1)), 9),
        (3, 4, 3, 2),
    ),
    sliding_window(
        "window_plain", (5, 4, 4), dilated((3, 2), (1, 1), (1, 1), ((1, 1), (0, 1))), 2, -3
    ),
    sliding_window("window_dilated", (7, 6, 2), dilated((3, 2), (2, 3), (1, 1), NONE), 1),
    sliding_window(
        "window_dilated_padded", (6, 5, 4), dilated((3, 3), (2, 2), (2, 1), ((2, 2), (2, 1))), 4, 5
    ),
    sliding_window(
        "window_strided", (8, 7, 1), dilated((2, 3), (3, 1), (2, 2), ((3, 0), (1, 1))), 1
    ),
    sliding_window("window_long", (9, 1, 2), dilated((3, 1), (3, 1), (1, 1), ((4, 2), (0, 0))), 2),
    sliding_window("window_skipping", (9, 3, 1), dilated((2, 1), (1, 1), (4, 2), NONE), 1),
    sliding_window(
        "window_larger", (2, 2, 1), dilated((2, 2), (3, 2), (1, 1), ((2, 2), (1, 1))), 1
    ),
    grouped("groups", (3, 4, 2, 6, 4), across=1, simd=2, pe=2),
    grouped("groups_one_by_one", (2, 2, 3, 2, 2), across=1, simd=1, pe=1),
    grouped("groups_whole", (2, 3, 4, 2, 3), across=1, simd=2, pe=3),
    grouped("groups_two_at_a_time", (2, 3, 4, 2, 3), across=2, simd=2, pe=3),
    grouped("depthwise", (4, 9, 6, 1, 1), across=1, simd=1, pe=1),
    grouped("depthwise_three", (4, 9, 6, 1, 1), across=3, simd=1, pe=1),
    grouped("depthwise_all", (3, 3, 4, 1, 1), across=4, simd=1, pe=1),
    grouped("depthwise_twofold", (3, 3, 4, 1, 2), across=2, simd=1, pe=2),
    grouped("depthwise_threefold", (3, 3, 2, 1, 6), across=1, simd=1, pe=3),
    grouped("groups_packed", (3, 4, 2, 6, 4), across=1, simd=2, pe=2, multiply="packed"),
    grouped("groups_of_many_parts", (2, 2, 2, 2, 20), across=1, simd=1, pe=1),
    grouped("many_groups", (2, 3, 20, 2, 1), across=1, simd=1, pe=1),
    grouped("one_group_one_tap", (5, 1, 1, 4, 4), across=1, simd=4, pe=1),
]


WINDOWS = {
    "same": ((6, 7, 2), dilated((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))),
    "valid": ((7, 6, 2), dilated((4, 4), (1, 1), (1, 1), NONE)),
    "strided": ((9, 8, 2), dilated((3, 3), (1, 1), (2, 2), ((1, 1), (0, 1)))),
    "far": ((9, 10, 1), dilated((2, 4), (3, 2), (1, 1), ((1, 2), (3, 0)))),
    "far_strided": ((11, 9, 1), dilated((4, 2), (2, 4), (3, 1), ((4, 5), (2, 2)))),
    "one_axis": ((11, 1, 2), dilated((6, 1), (1, 1), (2, 1), ((2, 2), (0, 0)))),
    "wide_padding": ((3, 4, 1), dilated((2, 2), (1, 1), (1, 1), ((3, 3), (4, 3)))),
    "above_and_left_only": ((4, 5, 1), dilated((3, 3), (1, 1), (3, 2), ((4, 0), (5, 0)))),
    "small": ((2, 2, 3), dilated((2, 2), (1, 1), (1, 1), NONE)),
    "one_pixel": ((1, 1, 2), dilated((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))),
}
CASES += [
    sliding_window(f"taps_{taps}_{name}", shape, window, shape[-1], -7, taps)
    for name, (shape, window) in WINDOWS.items()
    for taps in tap_groups(window)
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each case gets wrong; one program runs them all."""
    folder: Path = tmp_path_factory.mktemp("kernels")
    return run_cases(CASES, folder)


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_kernel_computes_what_numpy_does(name: str, wrong: dict[str, list[str]]) -> None:
    assert wrong[name] == []


def test_axes_that_stay_whole_merge_with_the_one_around_them() -> None:
    rows = Rearrange.along((3, 4, 6), {0: Axis(5, 0, -1)}, 7)
    assert order_of(rows, (3, 4, 6), 2) == Order((Loop(60, -12, 1, 1, 36, False, 1),), 36, 0)
    flipped = Rearrange.along((3, 4, 6), {0: Axis(3, 0, 2, -1)})
    assert [loop.size for loop in order_of(flipped, (3, 4, 6), 1).loops] == [3, 24]


@pytest.mark.parametrize(("stop", "lead"), [(0, 1), (1, 7), (2, 13)])
def test_as_few_beats_as_possible_come_before_the_first(stop: int, lead: int) -> None:
    later = Rearrange.along((3, 6), {0: Axis(3 - stop, 0, stop)})
    assert order_of(later, (3, 6), 1).lead == lead


def test_a_beat_has_several_values_only_where_the_last_axis_stays() -> None:
    assert keeps_last_axis(Rearrange.transpose((2, 3, 4), (1, 0, 2)), (2, 3, 4))
    assert not keeps_last_axis(Rearrange.transpose((2, 3, 4), (0, 2, 1)), (2, 3, 4))
    assert not keeps_last_axis(Rearrange.along((2, 4), {1: Axis(3, 1)}), (2, 4))
