"""ResNets for CIFAR-10, as they are estimated and timed; their weights are fresh."""

from __future__ import annotations

import numpy as np

from lutra.frontend.layers import (
    BatchNorm,
    Block,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePool,
    ReLU,
    Residual,
)
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings


def resnet(blocks: int, widths: tuple[int, ...] = (16, 32, 64), size: int = 32) -> Model:
    """A stage of so many residual blocks for each width; with 3 blocks, ResNet20 (He, 2016)."""
    layers: list[Block] = [*_normalised(widths[0]), ReLU()]
    before = widths[0]
    for width in widths:
        for _ in range(blocks):
            stride = width // before
            shortcut: list[Block] = _normalised(width, 1, stride) if stride > 1 else []
            main: list[Block] = [*_normalised(width, 3, stride), ReLU(), *_normalised(width)]
            layers += [Residual(main, shortcut), ReLU()]
            before = width
    return Model([*layers, GlobalAveragePool(), Flatten(), Dense(10)], (size, size, 3))


def fixed_resnet(blocks: int, widths: tuple[int, ...] = (16, 32, 64), size: int = 32) -> FixedModel:
    """The same at 8 bits, calibrated on noise."""
    graph = from_onnx(to_onnx(resnet(blocks, widths, size).graph()), "resnet")
    x = np.random.default_rng(0).uniform(0, 1, (4, size, size, 3)).astype(np.float32)
    return FixedModel(graph, lower(graph, calibrate(graph, Settings(), x)))


def _normalised(filters: int, kernel: int = 3, stride: int = 1) -> list[Block]:
    conv = Conv2D(filters, kernel=kernel, stride=stride, padding="same", bias=False)
    return [conv, BatchNorm()]
