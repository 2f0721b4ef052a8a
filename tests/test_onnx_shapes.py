"""Integers that are worked out from shapes, reshapes across the batch, and constants that fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.onnx.sizes import SAMPLES, Number, Size, divided, equal, less, rest
from lutra.frontend.onnx.unsupported import UnsupportedModelError
from lutra.frontend.onnx.values import RefusedError
from lutra.frontend.ops import Add, Array, Dense, Flatten, Pad, Relu

from .onnx_models import assert_faithful, data, model, node

INTS: dict[str, Array] = {
    f"i{i}".replace("-", "m"): np.array([i]) for i in (-1, 0, 1, 2, 3, 4, 5, 6, 8, 12)
}
INTS |= {"zero": np.array(0), "minus": np.array(-1), "three": np.array(3)}


def built(nodes: list[NodeProto], shape: list[Any], **more: Array) -> ModelProto:
    read = {name for n in nodes for name in n.input}
    weights = {name: value for name, value in (INTS | more).items() if name in read}
    return model(nodes, shape, weights)


def to_target(*steps: NodeProto) -> list[NodeProto]:
    """Reshape 'x' to 'target', which the steps work out from the shape 's' and batch 'n'."""
    return [
        node("Shape", ["x"], "s"),
        node("Slice", ["s", "i0", "i1"], "n"),
        *steps,
        node("Reshape", ["x", "target"], "r"),
        node("Relu", ["r"], "y"),
    ]


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize(
    "steps",
    [
        [node("Concat", ["n", "im1"], "target", axis=0)],
        [node("Mul", ["n", "i2"], "t"), node("Div", ["t", "i2"], "q"),
         node("Concat", ["q", "i12"], "target", axis=0)],
        [node("Gather", ["s", "i2"], "last"), node("Mul", ["last", "i3"], "all"),
         node("Concat", ["n", "all"], "target", axis=0)],
        [node("Cast", ["s"], "s32", to=TensorProto.INT32), node("ReduceProd", ["s32"], "count"),
         node("Cast", ["count"], "long", to=TensorProto.INT64), node("Div", ["long", "n"], "own"),
         node("Concat", ["n", "own"], "target", axis=0)],
        [node("Add", ["n", "i5"], "t"), node("Sub", ["t", "i5"], "q"),
         node("Concat", ["q", "im1"], "target", axis=0)],
        [node("Concat", ["im1", "i12"], "wish", axis=0), node("Equal", ["wish", "im1"], "open"),
         node("Concat", ["n", "i1"], "fallback", axis=0),
         node("Where", ["open", "fallback", "wish"], "target")],
        [node("Mod", ["s", "i2"], "odd")] * 0
        + [node("Unsqueeze", ["n", "i0"], "u"), node("Squeeze", ["u", "i0"], "v"),
           node("Concat", ["v", "i4", "im1"], "target", axis=0)],
        [node("Gather", ["s", "zero"], "b"), node("Gather", ["s", "minus"], "own"),
         node("Mul", ["own", "three"], "all"), node("Unsqueeze", ["b", "i0"], "bu"),
         node("Unsqueeze", ["all", "i0"], "au"), node("Concat", ["bu", "au"], "target", axis=0)],
        [node("Max", ["n", "i1"], "v"), node("Concat", ["v", "i2", "i6"], "target", axis=0)],
        [node("Size", ["x"], "all"), node("Unsqueeze", ["all", "i0"], "u"),
         node("Div", ["u", "i12"], "v"), node("Concat", ["v", "i12"], "target", axis=0)],
    ],
)  # fmt: skip
def test_arithmetic_on_shapes(steps: list[NodeProto], batch: str | int) -> None:
    """Whatever the file computes, the graph holds at most one reshape."""
    original = built(to_target(*steps), [batch, 3, 4])
    graph = assert_faithful(original, *([1, 3] if batch == "N" else [batch]))
    assert [n.op for n in graph.nodes if not isinstance(n.op, Relu)][1:] == []


def test_numbers_that_depend_on_the_batch() -> None:
    n: Number = SAMPLES
    assert 3 * n + 2 - n == Size(2, 2)
    assert n - n == 0
    assert str(2 * n - 1) == "2*N-1"
    assert divided(4 * n + 2, 2) == Size(1, 2)
    assert divided(6 * n, 2 * n) == 3
    assert [divided(a, b) for a, b in ((7, 2), (-7, 2), (7, -2))] == [3, -3, -3]
    assert rest(4 * n + 3, 4) == 3
    assert not equal(n, 0)
    assert not equal(2 * n, 3)
    assert equal(n, n)
    assert less(0, n)
    assert not less(n, 1)
    refused: tuple[Callable[[], object], ...] = (
        lambda: n * n,
        lambda: divided(n, 2),
        lambda: divided(4, n),
        lambda: rest(n, 2),
        lambda: equal(n, 2),
        lambda: less(n, 2),
    )
    for wrong in refused:
        with pytest.raises(RefusedError):
            wrong()


def test_what_depends_on_the_batch_otherwise_is_refused() -> None:
    shape = node("Shape", ["x"], "s")
    for nodes, reason in (
        ([node("Mul", ["s", "s"], "t"), node("Reshape", ["x", "t"], "y")], "with itself"),
        ([node("Div", ["s", "i2"], "t"), node("Reshape", ["x", "t"], "y")], "leaves a rest"),
        ([node("Cast", ["s"], "t", to=1), node("Add", ["x", "t"], "y")], "how many samples"),
        ([node("Range", ["z", "s", "o"], "t"), node("Gather", ["x", "t"], "y")], "samples"),
        ([node("Tile", ["x", "s"], "y")], "depends on how many samples"),
        ([node("Equal", ["s", "i2"], "t"), node("Where", ["t", "s", "s"], "u"),
          node("Reshape", ["x", "u"], "y")], "compares N with 2"),
    ):  # fmt: skip
        more = {"z": np.array(0), "o": np.array(1)}
        with pytest.raises(UnsupportedModelError, match=reason):
            from_onnx(built([shape, *nodes], ["N", 12], **more))


RESHAPED: list[tuple[list[Any], list[list[int]], list[int]]] = [
    (["N", 6, 4], [[-1, 3, 4], [-1, 4]], [0, 6, 4]),
    (["N", 6, 4], [[-1, 4]], [-1, 6, 4]),
    (["N", 6, 4], [[-1, 2]], [-1, 2, 3, 4]),
    (["N", 2, 3, 4], [[-1, 3, 4], [-1, 2, 12]], [-1, 24]),
    ([4, "N", 6], [[4, -1, 3], [4, -1, 6]], [4, -1, 6]),
    ([4, "N", 6], [[-1, 6], [4, -1, 3]], [4, -1, 6]),
]


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("shape", "through", "back"), RESHAPED)
def test_axes_may_join_the_batch_for_a_while(
    shape: list[Any], through: list[list[int]], back: list[int], fixed: bool
) -> None:
    """In between are ops that do not care, and a product with a matrix."""
    nodes = []
    weights: dict[str, Array] = {}
    current = "x"
    for i, target in enumerate(through):
        weights |= {f"t{i}": np.array(target), f"w{i}": data((target[-1], target[-1]), i)}
        if target[-1] < 0:
            target = [1]
        nodes += [
            node("Reshape", [current, f"t{i}"], f"r{i}"),
            node("MatMul", [f"r{i}", f"w{i}"], f"m{i}"),
            node("Add", [f"m{i}", f"r{i}"], f"a{i}"),
            node("Softmax", [f"a{i}"], f"v{i}", axis=-1),
        ]
        current = f"v{i}"
    if back[0] == 0:
        back = [-1, *back[1:]]
    nodes.append(node("Reshape", [current, "back"], "y"))
    weights["back"] = np.array(back)
    sizes = [3 if fixed and n == "N" else n for n in shape]
    assert_faithful(model(nodes, sizes, weights), *([sizes[0]] if fixed else [1, 3]))


def test_flatten_from_any_axis() -> None:
    for axis in (0, 1, 2, 3, -1):
        nodes = [
            node("Flatten", ["x"], "f", axis=axis),
            node("Sigmoid", ["f"], "g"),
            node("Reshape", ["g", "t"], "y"),
        ]
        t = np.array([-1, 3, 4])
        assert_faithful(model(nodes, ["N", 3, 4], {"t": t}), 1, 2)
    graph = assert_faithful(model([node("Flatten", ["x"], "y")], ["N", 3, 4]), 2)
    assert [n.op for n in graph.nodes] == [Flatten()]


def test_what_moves_between_samples_is_refused() -> None:
    nodes = [node("Reshape", ["x", "t"], "y")]
    for target, reason in (
        ([2, -1], "moves values between samples"),
        ([-1, 5], "moves values between samples"),
        ([3, 4], "does not keep the batch"),
        ([-1, 4], "has its batch and other axes in one"),
    ):
        with pytest.raises(UnsupportedModelError, match=reason):
            from_onnx(model(nodes, ["N", 3, 4], {"t": np.array(target)}))
    pool = [node("Reshape", ["x", "t"], "r"), node("MaxPool", ["r"], "y", kernel_shape=[2])]
    with pytest.raises(UnsupportedModelError, match="batch and other axes in one"):
        from_onnx(model(pool, ["N", 6, 4], {"t": np.array([-1, 3, 4])}))


def attention(first: bool, heads: int, merged: bool) -> tuple[list[NodeProto], dict[str, Array]]:
    """Self-attention as PyTorch writes it: (T, N, E), or the batch first, with 8 features.

    With its heads merged into the batch, as its older form has them, or as an axis of their own.
    """
    size = 8 // heads
    weights: dict[str, Array] = {"w": data((8, 24), 1) / 3, "b": data((24,), 2)}
    weights |= {"o": data((8, 8), 3), "ob": data((8,), 4), "scale": np.array(size**-0.5, "f")}
    weights |= {"e": np.array([8]), "h": np.array([heads]), "d": np.array([size])}
    weights |= {"i0": np.array([0]), "i1": np.array([1]), "three": np.array([3])}
    nodes = [
        *(
            [node("Transpose", ["x"], "t", perm=[1, 0, 2])]
            if first
            else [node("Identity", ["x"], "t")]
        ),
        node("Shape", ["t"], "s"),
        node("Gather", ["s", "i0"], "steps"),
        node("Gather", ["s", "i1"], "n"),
        node("MatMul", ["t", "w"], "m"),
        node("Add", ["m", "b"], "qkv"),
        node("Concat", ["steps", "n", "three", "e"], "split", axis=0),
        node("Reshape", ["qkv", "split"], "four"),
        node("Unsqueeze", ["four", "i0"], "five"),
        node("Transpose", ["five"], "front", perm=[3, 1, 2, 0, 4]),
        node("Squeeze", ["front", "minus"], "parts"),
        node("Mul", ["n", "h"], "nh"),
    ]
    weights["minus"] = np.array([-2])
    for i, name in enumerate("qkv"):
        weights[f"at{i}"] = np.array(i)
        nodes.append(node("Gather", ["parts", f"at{i}"], f"{name}0", axis=0))
        if merged:
            nodes += [
                node("Concat", ["steps", "nh", "d"], f"{name}_shape", axis=0),
                node("Reshape", [f"{name}0", f"{name}_shape"], f"{name}1"),
                node("Transpose", [f"{name}1"], name, perm=[1, 0, 2]),
            ]
        else:
            nodes += [
                node("Concat", ["steps", "n", "h", "d"], f"{name}_shape", axis=0),
                node("Reshape", [f"{name}0", f"{name}_shape"], f"{name}1"),
                node("Transpose", [f"{name}1"], name, perm=[1, 2, 0, 3]),
            ]
    nodes += [
        node("Mul", ["q", "scale"], "qs"),
        node("Transpose", ["k"], "kt", perm=[0, 2, 1] if merged else [0, 1, 3, 2]),
        node("MatMul", ["qs", "kt"], "scores"),
        node("Softmax", ["scores"], "shares", axis=-1),
        node("MatMul", ["shares", "v"], "read"),
        node("Transpose", ["read"], "back", perm=[1, 0, 2] if merged else [2, 0, 1, 3]),
        node("Mul", ["steps", "n"], "tn"),
        node("Concat", ["tn", "e"], "rows", axis=0),
        node("Reshape", ["back", "rows"], "flat"),
        node("Gemm", ["flat", "o", "ob"], "out"),
        node("Concat", ["steps", "n", "e"], "shape", axis=0),
        node("Reshape", ["out", "shape"], "whole"),
        node("Transpose", ["whole"], "y", perm=[1, 0, 2] if first else [0, 1, 2]),
    ]  # fmt: skip
    return nodes, weights


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("batch", ["N", 2])
def test_attention_spelled_out(first: bool, merged: bool, batch: Any) -> None:
    nodes, weights = attention(first, 2, merged)
    original = model(nodes, [batch, 5, 8] if first else [5, batch, 8], weights)
    if first or batch == "N":
        graph = assert_faithful(original, *([1, 3] if batch == "N" else [2]))
        assert graph.inputs[0].shape == (5, 8)
        assert sum(isinstance(n.op, Dense) for n in graph.nodes) == 2
    else:
        assert_faithful(original, 1)  # taken whole: nothing says which axis is the batch


def test_a_bias_behind_a_moved_batch_joins_its_layer() -> None:
    nodes = [
        node("MatMul", ["x", "w"], "m"),
        node("Transpose", ["m"], "t", perm=[1, 0, 2]),
        node("Add", ["t", "b"], "y"),
    ]
    original = model(nodes, ["N", 5, 4], {"w": data((4, 3)), "b": data((3,))})
    assert [n.op for n in assert_faithful(original, 2).nodes] == [Dense()]


def test_constants_fold() -> None:
    """A causal mask as exporters compute it, and a table of positions."""
    nodes = [
        node("ConstantOfShape", ["square"], "full", value=numpy_helper.from_array(np.ones(1, "f"))),
        node("Trilu", ["full", "one"], "upper", upper=1),
        node("Cast", ["upper"], "hidden", to=TensorProto.BOOL),
        node("Where", ["hidden", "minus", "zero"], "mask"),
        node("Range", ["start", "end", "step"], "t"),
        node("Unsqueeze", ["t", "i1"], "column"),
        node("Mul", ["column", "rate"], "angle"),
        node("Sin", ["angle"], "positions"),
        node("Add", ["x", "positions"], "p"),
        node("MatMul", ["p", "w"], "scores"),
        node("Add", ["scores", "mask"], "masked"),
        node("Softmax", ["masked"], "y"),
    ]
    weights: dict[str, Array] = {
        "square": np.array([4, 4]), "one": np.array(1), "minus": np.array(-1e4, "f"),
        "zero": np.array(0, "f"), "start": np.array(0, "f"), "end": np.array(4, "f"),
        "i1": INTS["i1"],
        "step": np.array(1, "f"), "rate": data((1, 4)), "w": data((4, 4), 3),
    }  # fmt: skip
    graph = assert_faithful(model(nodes, ["N", 4, 4], weights), 2)
    assert len(graph.nodes) <= 4


@pytest.mark.parametrize(
    ("kind", "sums"),
    [
        (np.float16, [6140, 2.5]),
        (np.float64, [6141, 2.5]),
        (np.int32, [6141, 2]),
        (np.int64, [6141, 2]),
    ],
)
def test_constants_fold_in_their_own_type(kind: type, sums: list[float]) -> None:
    """Where float16 has no 6141 the sum is rounded, and integers lose their fractions."""
    nodes = [
        node("Mul", ["a", "b"], "p"),
        node("Add", ["p", "a"], "q"),
        node("Cast", ["q"], "f", to=TensorProto.FLOAT),
        node("Add", ["x", "f"], "y"),
    ]
    weights: dict[str, Array] = {
        "a": np.array([2047, 1.25]).astype(kind),
        "b": np.array([2, 1]).astype(kind),
    }
    (total,) = from_onnx(model(nodes, ["N", 2], weights)).constants.values()
    np.testing.assert_array_equal(total, sums)


def test_what_is_too_large_to_fold_is_refused_before() -> None:
    for nodes in (
        [node("Tile", ["c", "many"], "t"), node("Add", ["x", "t"], "y")],
        [node("Range", ["zero", "most", "one"], "t"), node("Add", ["x", "t"], "y")],
        [node("MatMul", ["tall", "wide"], "t"), node("Add", ["x", "t"], "y")],
        [node("Add", ["tall", "wide"], "t"), node("Add", ["x", "t"], "y")],
        [
            node("Einsum", ["tall", "wide"], "t", equation="ab,cd->abcd"),
            node("Add", ["x", "t"], "y"),
        ],
    ):
        weights: dict[str, Array] = {
            "c": np.ones((1, 4), np.float32), "many": np.array([2**40, 1]),
            "zero": np.array(0.0), "most": np.array(1e12), "one": np.array(1.0),
            "tall": np.ones((2**15, 1), np.float32), "wide": np.ones((1, 2**15), np.float32),
        }  # fmt: skip
        read = {name for n in nodes for name in n.input}
        kept = {name: value for name, value in weights.items() if name in read}
        with pytest.raises(Exception, match=r"too large|too much"):
            from_onnx(model(nodes, ["N", 4], kept))


def test_a_constant_for_each_sample() -> None:
    """A class token, repeated to as many as there are samples, and joined to them."""
    nodes = [
        node("Shape", ["x"], "s"),
        node("Slice", ["s", "i0", "i1"], "n"),
        node("Concat", ["n", "one", "four"], "t", axis=0),
        node("Expand", ["token", "t"], "tokens"),
        node("Concat", ["tokens", "x"], "c", axis=1),
        node("Shape", ["tokens"], "ts"),
        node("Slice", ["ts", "i0", "i1"], "tn"),
        node("Concat", ["tn", "im1"], "u", axis=0),
        node("Reshape", ["c", "u"], "y"),
    ]
    more = {"token": data((1, 1, 4)), "one": INTS["i1"], "four": INTS["i4"]}
    graph = assert_faithful(built(nodes, ["N", 5, 4], **more), 1, 3)
    assert {type(n.op) for n in graph.nodes} == {Pad, Add, Flatten}
    nodes[4] = node("ReduceSum", ["tokens", "i0"], "r")
    nodes[5:] = [node("Add", ["x", "r"], "y")]
    with pytest.raises(UnsupportedModelError, match="works on constants alone"):
        from_onnx(built(nodes, ["N", 5, 4], **more))


def test_what_is_worked_out_for_each_sample_folds() -> None:
    """A state of zeros that a step of a network written out begins with."""
    begin = [
        node("Shape", ["x"], "s"),
        node("Slice", ["s", "i0", "i1"], "n"),
        node("Concat", ["n", "i3"], "t", axis=0),
        node("Expand", ["start", "t"], "h"),
    ]
    more = {"start": data((1, 3)), "w": data((3, 4), 2), "b": data((4,), 3)}
    end = [node("Tanh", ["p"], "q"), node("Add", ["x", "q"], "y")]
    for product in (
        [node("MatMul", ["h", "w"], "m"), node("Add", ["m", "b"], "p")],
        [node("Gemm", ["h", "w", "b"], "p", alpha=0.5)],
    ):
        graph = assert_faithful(built([*begin, *product, *end], ["N", 4], **more), 1, 3)
        assert [type(n.op) for n in graph.nodes] == [Add]
    for wrong in (
        [node("Transpose", ["h"], "v"), node("MatMul", ["b", "v"], "p")],
        [node("Gemm", ["h", "w", "rows"], "p")],
    ):
        original = built([*begin, *wrong, *end], ["N", 4], rows=data((3, 4)), **more)
        with pytest.raises(UnsupportedModelError, match="repeated for each sample"):
            from_onnx(original)
