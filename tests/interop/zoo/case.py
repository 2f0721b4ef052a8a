"""What one module of the suite is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

nn = torch.nn
functional = torch.nn.functional

NEVER: tuple[int, ...] = ()
NEW = (14, 17, 20)


@dataclass(frozen=True)
class Case:
    """A module and what it is fed.

    Attributes:
        name: of its files.
        shape: of one sample, without the batch.
        make: the module, with random weights.
        pixels: whether its inputs are integers from 0 to 255; else they are normal numbers.
        batch_axis: where the batch stands.
        opsets: operator sets for which the TorchScript-based exporter knows all of it.
    """

    name: str
    shape: tuple[int, ...]
    make: Callable[[], Any]
    pixels: bool = False
    batch_axis: int = 0
    opsets: tuple[int, ...] = (11, 13, 17, 20)


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """Layers by name, and how they are put together: ``compute(net, x)``.

    ``constants`` are buffers; an nn.Parameter among the layers is one of the module.
    """

    def __init__(self, compute: Callable[[Any, Any], Any], **layers: Any) -> None:
        super().__init__()
        self.compute = compute
        for name, layer in layers.items():
            if isinstance(layer, torch.Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)

    def forward(self, x: Any) -> Any:
        return self.compute(self, x)


def parameter(*shape: int) -> Any:
    """A learned array, drawn at random."""
    return nn.Parameter(torch.randn(shape) * 0.5)


def function(compute: Callable[[Any], Any]) -> Callable[[], Any]:
    """A module without weights."""
    return lambda: Net(lambda _, x: compute(x))
