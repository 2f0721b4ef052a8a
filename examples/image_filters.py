"""Image filters: blur, sharpening and edges as one convolution with given weights.

Run this file to filter a photograph in float and, bit for bit as the hardware will, in fixed
point; it writes the pictures to ``image-filters.png`` and the network to ``image-filters.onnx``.
To make your own, copy it and change the kernels or what ``recipe`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lutra.frontend.data import Samples, require
from lutra.frontend.layers import Conv2D
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import save
from lutra.frontend.ops import Array
from lutra.frontend.pictures import save_picture
from lutra.frontend.recipe import GivenRecipe
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

HEIGHT, WIDTH = 64, 96
"""Pixels of a frame."""

_BOXES = np.array([1, 2, 2, 2, 1]) / 8
_BELL = np.array([1, 2, 1]) / 4
_SLOPE = np.array([-1, 0, 1]) / 2
_POINT = np.array([0, 1, 0])

KERNELS: dict[str, Array] = {
    "blur": np.outer(_BOXES, _BOXES),
    "sharpen": 2 * np.outer(_POINT, _POINT) - np.outer(_BELL, _BELL),
    "edges from left to right": np.outer(_BELL, _SLOPE),
    "edges from top to bottom": np.outer(_SLOPE, _BELL),
    "Laplacian": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 4,
}
"""Name and kernel of each output channel: two box filters in turn, an unsharp mask, Sobel's edges,
and the second derivative.  All weights are multiples of 1/64 and below 2, so that 8 bits hold them;
what sharpening makes whiter than white is cut off there."""


def build() -> Model:
    """One convolution of a grey image, a channel a kernel; the smaller ones get a rim of zeros."""
    model = Model(
        [Conv2D(len(KERNELS), kernel=5, padding="same", bias=False)],
        input_shape=(HEIGHT, WIDTH, 1),
    )
    kernels = [np.pad(kernel, (5 - len(kernel)) // 2) for kernel in KERNELS.values()]
    model.assign({"conv1.weight": np.stack(kernels, axis=-1)[:, :, None]})
    return model


def load() -> tuple[Samples, Samples]:
    """Frames of a photograph to choose formats from, and of another to judge by.

    The first frame of each is the whole at a sixth of its resolution, the others are parts of it at
    half.
    """
    return Samples(frames("flower.jpg")), Samples(frames("china.jpg"))


def frames(name: str) -> Array:
    """Frames (n, HEIGHT, WIDTH, 1) in [0, 1] of one of scikit-learn's photographs."""
    require("PIL", extra="examples")
    photograph = require("sklearn.datasets", extra="examples").load_sample_image(name)
    grey = photograph @ np.array([0.299, 0.587, 0.114]) / 255
    whole = reduced(grey, 6)[None, :HEIGHT, :WIDTH]
    half = reduced(grey, 2)
    rows, columns = half.shape[0] // HEIGHT, half.shape[1] // WIDTH
    bands = half[: rows * HEIGHT, : columns * WIDTH].reshape(rows, HEIGHT, columns, WIDTH)
    parts = bands.swapaxes(1, 2).reshape(-1, HEIGHT, WIDTH)
    return np.concatenate([whole, parts])[..., None].astype(np.float32)


def reduced(image: Array, factor: int) -> Array:
    """The image at a fraction of its resolution: means of squares."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    squares = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    means: Array = squares.mean(axis=(1, 3))
    return means


recipe = GivenRecipe(
    name="image-filters",
    description="Blur, sharpening and edges as one convolution",
    build=build,
    load=load,
)


def draw(frame: Array, results: Sequence[tuple[str, Array]], path: Path) -> None:
    """A row of pictures for each result (HEIGHT, WIDTH, kernels), the frame before each.

    Kernels that sum to 0 give values around 0, which are shown as grey.
    """
    names = ["original", *KERNELS]
    lows = [0.0, *(0.0 if kernel.sum() else -0.5 for kernel in KERNELS.values())]

    def paint(figure: Any) -> None:
        grid = figure.subplots(len(results), len(names), squeeze=False)
        for axes, (title, channels) in zip(grid, results, strict=True):
            pictures = [frame, *np.moveaxis(channels, -1, 0)]
            for place, name, low, picture in zip(axes, names, lows, pictures, strict=True):
                place.imshow(picture, cmap="gray", vmin=low, vmax=low + 1)
                place.set_title(name, fontsize=8)
                place.set(xticks=[], yticks=[])
            axes[0].set_ylabel(title, fontsize=8)
        figure.tight_layout()

    save_picture(path, 2.2 * len(names), 1.8 * len(results), paint)


if __name__ == "__main__":
    trained = recipe.run()
    save(trained.graph, Path("image-filters.onnx"))
    frame = trained.test.x[:1]
    results = [("float", trained.model.predict(frame)[0])]
    for bits in (16, 8):
        formats = calibrate(trained.graph, Settings.uniform(bits), trained.calibration.x)
        simulator = Simulator(lower(trained.graph, formats))
        results.append((f"{bits} bits", simulator.predict(frame)[0]))
    draw(frame[0, ..., 0], results, Path("image-filters.png"))
    print("wrote image-filters.onnx and image-filters.png")
