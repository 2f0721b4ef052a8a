"""The bit-accurate simulator: a fixed graph run on batches of raw integers.

Raw values are held in float arrays: float32 where every operand, partial sum and result of a node
provably has at most 24 bits, float64 otherwise.  Dense and convolution layers then run as BLAS
matrix products and are still exact, in whatever order BLAS adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..frontend.errors import ModelError
from ..frontend.graph import Node
from ..frontend.ops import Array, Conv
from ..quantize.cast import LARGEST_SHIFT, Cast, cast_float
from ..quantize.fixed import FixedGraph, FixedOp
from .shortcuts import shorten

CACHE = 1 << 22
"""Bytes that the largest node may take in one block of a batch: enough values for NumPy to work at
full speed, few enough for a cache."""


@dataclass(frozen=True)
class _Step:
    """One node, ready to run: a function of values by name, and which values end with it."""

    output: str
    inputs: tuple[str, ...]
    compute: Callable[..., Array]
    dtype: np.dtype[np.float64] | np.dtype[np.float32]
    dead: tuple[str, ...]


class Simulator:
    """Runs one fixed graph; made once, it keeps nothing of what it ran.

    Args:
        graph: the network.
        keep: values to return besides the outputs; ``True`` for every one.
    """

    def __init__(self, graph: FixedGraph, keep: Iterable[str] | bool = ()) -> None:
        self.graph = graph
        values = [port.name for port in graph.inputs] + [node.output for node in graph.nodes]
        if isinstance(keep, bool):
            keep = values if keep else ()
        self.keep = [name for name in values if name in set(keep)]
        self.outputs = [port.name for port in graph.outputs]
        self._constants: dict[tuple[str, str], Array] = {}
        wanted = {*self.keep, *self.outputs}
        self._run = shorten(graph, wanted)
        last = {name: node.output for node in self._run.nodes for name in node.inputs}
        self._steps = [self._step(node, last, wanted) for node in self._run.nodes]
        self.block = self._block_size()

    def run(self, x: Array) -> dict[str, Array]:
        """Quantise floats and run them.

        Args:
            x: samples in the user's layout, batch first.

        Returns:
            Raw values, float arrays that hold integers, by name: outputs in the user's layout,
            other kept values channels last.
        """
        return self._leave(self.trace(x))

    def run_raw(self, raw: Array) -> dict[str, Array]:
        """Run raw integers (user's layout, batch first) that are already in the input's format.

        Raises:
            ModelError: a value lies outside the format.
        """
        return self._leave(self.trace_raw(self.graph.inputs[0].enter(raw)))

    def trace_raw(self, raw: Array) -> dict[str, Array]:
        """As :meth:`run_raw`, with inputs and outputs in the layout of the hardware."""
        (port,) = self.graph.inputs
        format_ = self.graph.formats[port.name]
        if raw.size and (raw.min() < format_.low or raw.max() > format_.high):
            raise ModelError(
                f"raw data do not fit the format of '{port.name}'",
                found=f"{raw.min()} to {raw.max()}",
                expected=f"{format_.low} to {format_.high} for {format_}",
            )
        return self._blocks(raw, lambda block: block)

    def trace(self, x: Array) -> dict[str, Array]:
        """As :meth:`run`, with the outputs too in the layout of the hardware, channels last."""
        (port,) = self.graph.inputs
        entry = self.graph.entry[port.name]
        return self._blocks(
            port.enter(x),
            lambda block: cast_float(block, entry.format, entry.rounding, entry.overflow),
        )

    def _leave(self, values: dict[str, Array]) -> dict[str, Array]:
        return values | {port.name: port.leave(values[port.name]) for port in self.graph.outputs}

    def predict(self, x: Array) -> Array:
        """Outputs as floats (value = raw · 2^-F) for samples in the user's layout."""
        (port,) = self.graph.outputs
        return self.run(x)[port.name] * self.graph.formats[port.name].step

    def _blocks(self, x: Array, enter: Callable[[Array], Array]) -> dict[str, Array]:
        names = list(dict.fromkeys([*self.keep, *self.outputs]))
        results: dict[str, Array] = {}
        for start in range(0, max(len(x), 1), self.block):
            stop = min(start + self.block, len(x))
            values = self._run_block(enter(x[start:stop]))
            for name in names:
                part = values[name]
                if name not in results:
                    results[name] = np.empty((len(x), *part.shape[1:]), part.dtype)
                results[name][start:stop] = part
        return results

    def _run_block(self, x: Array) -> dict[str, Array]:
        (port,) = self.graph.inputs
        values = {port.name: x}
        for step in self._steps:
            inputs = [
                values[name] if name in values else self._constants[name, step.output]
                for name in step.inputs
            ]
            inputs = [v if v.dtype == step.dtype else v.astype(step.dtype) for v in inputs]
            values[step.output] = step.compute(*inputs)
            for name in step.dead:
                del values[name]
        return values

    def _step(self, node: Node[FixedOp], last: Mapping[str, str], wanted: set[str]) -> _Step:
        dtype = self._dtype(node)
        for name in node.inputs:
            if name in self._run.constants:
                self._constants[name, node.output] = self._run.constants[name].astype(dtype)
        compute: Callable[..., Array] = node.op.forward
        if isinstance(node.op, Cast):
            bound = self._run.bounds[node.inputs[0]].partial
            if node.op.is_quick(bound, 24 if dtype == np.float32 else 53):
                compute = node.op.quick
        dead = tuple(
            name
            for name in dict.fromkeys(node.inputs)
            if last[name] == node.output and name not in {*wanted, *self._run.constants}
        )
        return _Step(node.output, node.inputs, compute, dtype, dead)

    def _dtype(self, node: Node[FixedOp]) -> np.dtype[np.float32] | np.dtype[np.float64]:
        """The narrowest float type in which the node is exact, from its bounds alone."""
        bounds = [self._run.bounds[name].partial for name in (*node.inputs, node.output)]
        small = max(bounds) <= 1 << 24
        if isinstance(node.op, Cast) and abs(node.op.shift) > LARGEST_SHIFT:
            small = False
        return np.dtype(np.float32) if small else np.dtype(np.float64)

    def _block_size(self) -> int:
        """Samples a block, so that the largest node's data fit the cache."""
        most = 1
        for node in self._run.nodes:
            size = math.prod(self._run.shapes[node.output])
            if isinstance(node.op, Conv):
                weight = self._run.shapes[node.inputs[1]]
                size += size // weight[-1] * math.prod(weight[:-1])
            size += sum(
                math.prod(self._run.shapes[name])
                for name in node.inputs
                if name not in self._run.constants
            )
            most = max(most, size * self._dtype(node).itemsize)
        return max(1, CACHE // most)
