"""Import of ONNX's Resize and Upsample in every mode, against onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from lutra.frontend.errors import LutraError
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.ops import Upsample

from .onnx_models import assert_same, model, node

SHAPE: list[Any] = ["N", 2, 6, 5]
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
COORDINATES = (
    "half_pixel",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "half_pixel_symmetric",
)
SCALES: tuple[list[float], ...] = ([1, 1, 2, 3], [1, 1, 0.5, 0.4], [1, 1, 1.5, 1.7])


def scaled(scales: list[float], opset: int = 18, shape: list[Any] = SHAPE, **kw: Any) -> ModelProto:
    weights = {"s": np.array(scales, np.float32), "roi": np.array([], np.float32)}
    inputs = ["x", "roi", "s"] if opset > 10 else ["x", "s"]
    return model([node("Resize", inputs, "y", **kw)], shape, weights, opset=opset)


def forms() -> Iterator[ModelProto]:
    for scales in SCALES:
        for way in COORDINATES:
            attributes: dict[str, Any] = {"coordinate_transformation_mode": way}
            for rounding in NEAREST:
                yield scaled(scales, nearest_mode=rounding, **attributes)
            yield scaled(scales, mode="linear", **attributes)
            yield scaled(scales, mode="linear", antialias=1, **attributes)
            for outside in (0, 1):
                attributes["exclude_outside"] = outside
                yield scaled(scales, mode="cubic", cubic_coeff_a=-0.5, **attributes)
                yield scaled(scales, mode="cubic", antialias=1, **attributes)


def test_every_mode_equals_onnxruntime_or_is_refused_by_name() -> None:
    """Where onnxruntime and onnx's own reference differ, neither is taken for right."""
    refused = 0
    reasons = "supported: whole sizes|with one nearest value"
    for original in forms():
        try:
            graph = from_onnx(original)
        except LutraError as error:
            refused += bool(re.search(reasons, str(error)))
            continue
        assert_same(graph, original)
    assert refused == 20


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes_of_images_whose_batch_is_open(mode: str, opset: int) -> None:
    """PyTorch takes the first two sizes from the data's own shape."""
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Slice", ["shape", "zero", "two"], "front"),
        node("Concat", ["front", "to"], "sizes", axis=0),
        node("Resize", ["x", "roi", "none", "sizes"], "y", mode=mode, nearest_mode="floor",
             coordinate_transformation_mode="pytorch_half_pixel"),
    ]  # fmt: skip
    weights = {
        "zero": np.array([0]),
        "two": np.array([2]),
        "to": np.array([9, 4]),
        "roi": np.array([], np.float32),
        "none": np.array([], np.float32),
    }
    original = model(nodes, SHAPE, weights, opset=opset)
    graph = assert_same(from_onnx(original), original)
    assert_same(from_onnx(to_onnx(graph)), original)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_sizes_may_keep_the_aspect_ratio(policy: str) -> None:
    weights = {"to": np.array([7, 11])}
    resize = node("Resize", ["x", "", "", "to"], "y", mode="linear", axes=[2, 3],
                  keep_aspect_ratio_policy=policy)  # fmt: skip
    original = model([resize], SHAPE, weights, opset=18)
    assert_same(from_onnx(original), original)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_part_of_the_image_with_a_value_beyond_it(mode: str) -> None:
    roi = [0, 0, 0.13, -0.21, 1, 1, 0.71, 1.3]
    weights = {"roi": np.array(roi, np.float32), "to": np.array([3, 2, 7, 9])}
    resize = node("Resize", ["x", "roi", "", "to"], "y", mode=mode, extrapolation_value=4.5,
                  coordinate_transformation_mode="tf_crop_and_resize")  # fmt: skip
    original = model([resize], [3, *SHAPE[1:]], weights, opset=13)
    assert_same(from_onnx(original), original)
    weights["roi"] = np.array([0, 0, 0, 0, 1, 1, 1.2, 1], np.float32)
    with pytest.raises(LutraError, match="ends on a value"):
        from_onnx(model([resize], [3, 2, 6, 5], weights | {"to": np.array([3, 2, 7, 5])}, opset=13))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resizing_before_positions_had_names(mode: str) -> None:
    scales = [1.0, 1.0, 2.0, 3.0]
    resize = scaled(scales, opset=10, mode=mode)
    assert_same(from_onnx(resize), resize)
    old = node("Upsample", ["x"], "y", mode=mode, scales=scales)
    upsample = model([old], SHAPE, opset=7)
    assert_same(from_onnx(upsample), upsample)
    given = model([node("Upsample", ["x", "s"], "y", mode=mode)], SHAPE,
                  {"s": np.array(scales, np.float32)}, opset=9)  # fmt: skip
    assert_same(from_onnx(given), given)


def test_a_sequence_is_resized_too() -> None:
    for mode in ("nearest", "linear"):
        original = scaled([1, 1, 2.5], shape=["N", 3, 4], mode=mode)
        assert_same(from_onnx(original), original)


def test_whole_factors_stay_one_repetition() -> None:
    graph = from_onnx(scaled([1, 1, 2, 3]))
    assert [n.op for n in graph.nodes if isinstance(n.op, Upsample)] == [Upsample((2, 3))]
    assert len(graph.nodes) == 1


@pytest.mark.parametrize(
    ("original", "reason"),
    [
        (scaled([2, 1, 1, 1]), "resizes the batch"),
        (scaled([1, 1, 1]), "has too few scales"),
        (scaled([1, 1, 0.1, 1]), "leaves nothing of an axis"),
        (scaled([1, 1, -1, 1]), "asks for an impossible size"),
        (scaled([1, 1, 1e30, 1]), "asks for an impossible size"),
        (scaled([1, 1, 2e8, 1]), "is too large"),
        (scaled([1, 1, 1, 1.01]), "supported: whole sizes"),
    ],
)
def test_what_cannot_be_resized_is_refused(original: ModelProto, reason: str) -> None:
    with pytest.raises(LutraError, match=reason):
        from_onnx(original)
