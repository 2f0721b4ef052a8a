"""Models that PyTorch wrote: our graph gives what PyTorch gives."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.ops import Shape

torch = pytest.importorskip("torch")
nn = torch.nn


class Residual(nn.Module):  # type: ignore[misc, name-defined]
    """Two residual blocks with batch norm, and the average over space."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.first = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm1 = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.short = nn.Conv2d(8, 12, 1, stride=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.norm1(self.first(x)) + x)
        x = nn.functional.leaky_relu(self.second(x) + self.short(x), 0.1)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))


class Generator(nn.Module):  # type: ignore[misc, name-defined]
    """Transposed convolutions from a vector to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(6, 8 * 2 * 3)
        self.first = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.ConvTranspose2d(6, 2, 3, stride=2, output_padding=1)

    def forward(self, x: Any) -> Any:
        x = nn.functional.elu(self.start(x)).reshape(-1, 8, 2, 3)
        x = nn.functional.interpolate(self.first(x), scale_factor=2)
        return torch.tanh(self.second(nn.functional.silu(self.norm(x))))


class LastState(nn.Module):  # type: ignore[misc, name-defined]
    """A recurrent layer and a linear one on its last state, in one of three spellings."""

    def __init__(self, layer: Any, spelling: str) -> None:
        super().__init__()
        self.layer, self.spelling = layer, spelling
        sides = 2 if layer.bidirectional else 1
        self.head = nn.Linear(layer.hidden_size * sides, 3)

    def forward(self, x: Any) -> Any:
        states, last = self.layer(x)
        if isinstance(last, tuple):
            last = last[0]
        match self.spelling:
            case "last of all":
                return self.head(states[:, -1])
            case "last":
                return self.head(last[-1])
            case "both sides":
                return self.head(torch.cat([last[-2], last[-1]], dim=1))
            case _:
                return self.head(states)


class Attention(nn.Module):  # type: ignore[misc, name-defined]
    """Scaled dot products of one head, a layer norm, and the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(4, 4) for _ in range(3))
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Any) -> Any:
        scores = self.query(x) @ self.key(x).transpose(1, 2) * 0.5
        x = self.norm(x + scores.softmax(-1) @ self.value(x))
        return nn.functional.gelu(x)[:, 1:3].mean(1)


def settled(net: Any) -> Any:
    """The network for inference, with running statistics that are not the initial ones."""
    for name, value in net.named_buffers():
        if value.dtype.is_floating_point:
            value.copy_(torch.rand_like(value) + 0.5 if "var" in name else torch.rand_like(value))
    return net.eval()


def exported(net: Any, shape: Shape, open_batch: bool, **kw: Any) -> onnx.ModelProto:
    """What PyTorch's exporter that needs no other package writes, for batches of one or any."""
    stream = io.BytesIO()
    if open_batch:
        kw["dynamic_axes"] = {"x": {0: "N"}, "y": {0: "N"}}
    torch.onnx.export(
        net, (torch.zeros(1, *shape),), stream, dynamo=False,
        input_names=["x"], output_names=["y"], **kw,
    )  # fmt: skip
    return onnx.load_from_string(stream.getvalue())


def imported(make: Callable[[], Any], shape: Shape, **kw: Any) -> Graph:
    """The same graph for a fixed and for an open batch, which gives what PyTorch gives."""
    torch.manual_seed(1)
    net = settled(make())
    fixed, graph = (from_onnx(exported(net, shape, open_, **kw)) for open_ in (False, True))
    assert [node.op for node in fixed.nodes] == [node.op for node in graph.nodes]
    x = np.random.default_rng(2).normal(size=(3, *shape)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], expected, rtol=1e-5, atol=1e-5)
    return graph


def kinds(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


pytestmark = pytest.mark.filterwarnings("ignore")
"""PyTorch's exporter warns of itself, and of batches of one."""


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_a_residual_network(opset: int) -> None:
    graph = imported(Residual, (3, 8, 10), opset_version=opset)
    assert "Transpose" not in kinds(graph)
    assert "BatchNorm" not in kinds(graph)
    assert kinds(graph).count("Add") == 2


def test_a_generator() -> None:
    graph = imported(Generator, (6,))
    assert kinds(graph).count("ConvTranspose") == 2


LAYERS: list[Callable[..., Any]] = [nn.RNN, nn.GRU, nn.LSTM]


@pytest.mark.parametrize("spelling", ["last of all", "last", "all"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_recurrent_layer(layer: Callable[..., Any], spelling: str) -> None:
    graph = imported(lambda: LastState(layer(4, 6, batch_first=True), spelling), (5, 4))
    assert kinds(graph)[1:] == ["Dense"]
    assert len(graph.nodes) == 2


@pytest.mark.parametrize("spelling", ["both sides", "all"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_recurrent_layer_of_two_directions(layer: Callable[..., Any], spelling: str) -> None:
    def make() -> LastState:
        return LastState(layer(4, 6, batch_first=True, bidirectional=True), spelling)

    graph = imported(make, (5, 4))
    assert kinds(graph)[2:] == ["Concat", "Dense"]


def test_stacked_layers() -> None:
    graph = imported(lambda: LastState(nn.LSTM(4, 6, 2, batch_first=True), "last"), (5, 4))
    assert kinds(graph) == ["Lstm", "Lstm", "Dense"]


def test_attention() -> None:
    imported(Attention, (5, 4), opset_version=20)
