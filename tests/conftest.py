"""Fixtures that several tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from lutra.frontend.graph import Graph, Node, Port
from lutra.frontend.ops import Array, Conv, Dense, Flatten, MaxPool, Relu, Softmax, Window
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed_onnx import FixedModel
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings

from .commands import files, here, lutra, refused

__all__ = ["files", "here", "lutra", "refused"]

# A shell that runs the tests in the background has Ctrl-C ignored, by all programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def small_cnn() -> Graph:
    """A CNN with one of everything that a recipe has, small enough to compile in seconds."""
    rng = np.random.default_rng(5)

    def weights(*shape: int) -> Array:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    constants = {
        "conv.weight": weights(3, 3, 2, 4),
        "conv.bias": weights(4),
        "dense.weight": weights(36, 5),
        "dense.bias": weights(5),
    }
    same = Window.of((3, 3), None, ((1, 1), (1, 1)))
    nodes = (
        Node("conv", Conv(same), ("x", "conv.weight", "conv.bias"), "conv"),
        Node("relu", Relu(), ("conv",), "relu"),
        Node("pool", MaxPool(Window.of((2, 2), (2, 2))), ("relu",), "pool"),
        Node("flat", Flatten(), ("pool",), "flat"),
        Node("dense", Dense(), ("flat", "dense.weight", "dense.bias"), "dense"),
        Node("softmax", Softmax(), ("dense",), "y"),
    )
    return Graph("small", (Port.of("x", (6, 6, 2)),), (Port.of("y", (5,)),), nodes, constants)


def samples(count: int = 40) -> Array:
    """Inputs for :func:`small_cnn`."""
    return np.random.default_rng(6).normal(0, 1, (count, 6, 6, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def cnn() -> Graph:
    return small_cnn()


@pytest.fixture(scope="session")
def fixed_cnn(cnn: Graph) -> FixedModel:
    return FixedModel(cnn, lower(cnn, calibrate(cnn, Settings(), samples())))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
