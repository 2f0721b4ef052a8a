"""The bit-accurate simulator: a fixed graph run on batches of raw integers.

Raw values are held in float arrays: float32 where every operand, partial sum and result of a node
provably has at most 24 bits, float64 otherwise.  Dense and convolution layers then run as BLAS
matrix products and are still exact, in whatever order BLAS adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..frontend.errors import ModelError
from ..frontend.graph import Node
from ..frontend.ops import Array
from ..quantize.cast import cast_float
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.recurrence import Recurrence
from .exactness import FloatType, float_type, function_of, holding
from .loop import Loop, products_ahead
from .products import Product, find_products
from .shortcuts import shorten

CACHE = 1 << 21
"""Bytes that the largest node may take in one block of a batch: enough values for NumPy to work at
full speed, few enough for a cache."""


@dataclass(frozen=True)
class _Step:
    """One node, ready to run.

    Attributes:
        output: the value that it defines.
        inputs: what it reads.
        run: the values that it adds, from its inputs.
        kind: the type of its inputs.
        size: bytes of a sample that it works on.
    """

    output: str
    inputs: tuple[str, ...]
    run: Callable[..., dict[str, Array]]
    kind: FloatType
    size: int


class Simulator:
    """Runs one fixed graph; made once, it keeps nothing of what it ran.

    Args:
        graph: the network.
        keep: values to return besides the outputs; ``True`` for every one.
    """

    def __init__(self, graph: FixedGraph, keep: Iterable[str] | bool = ()) -> None:
        self.graph = graph
        values = [port.name for port in graph.inputs]
        values += [node.output for node in graph.every_node()]
        if isinstance(keep, bool):
            keep = values if keep else ()
        kept = set(keep)
        self.keep = [name for name in values if name in kept]
        self.outputs = [port.name for port in graph.outputs]
        self._constants: dict[tuple[str, str], Array] = {}
        wanted = {*self.keep, *self.outputs}
        self._run = shorten(graph, wanted)
        ahead = products_ahead(self._run, wanted)
        products = {each.last.output: each for each in find_products(self._run, wanted)}
        inner = [node for each in products.values() for node in each.nodes if node != each.last]
        merged = {node.output for node in (*ahead.values(), *inner)}
        steps = [
            self._product(products[node.output])
            if node.output in products
            else self._step(node, ahead.get(node.output), wanted)
            for node in self._run.nodes
            if node.output not in merged
        ]
        last = {name: step.output for step in steps for name in step.inputs}
        alive = {*wanted, *self._run.constants}
        self._steps = [
            (step, [n for n in {*step.inputs} - alive if last[n] == step.output]) for step in steps
        ]
        self.block = max(1, CACHE // max([step.size for step in steps], default=1))

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
        return self._leave(self.trace_raw(self.graph.inputs[0].arrange(raw)))

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
        return values | {port.name: port.restore(values[port.name]) for port in self.graph.outputs}

    def predict(self, x: Array) -> Array:
        """Outputs as floats (value = raw · 2^-F, times the port's scale) for samples in the user's
        layout."""
        (port,) = self.graph.outputs
        raw = self.run(x)[port.name]
        raw *= self.graph.formats[port.name].step * port.scale
        return raw

    def _blocks(self, x: Array, enter: Callable[[Array], Array]) -> dict[str, Array]:
        names = list(dict.fromkeys([*self.keep, *self.outputs]))
        results: dict[str, Array] = {}
        count = max(1, -(-len(x) // self.block))
        size = max(1, -(-len(x) // count))
        for start in range(0, max(len(x), 1), size):
            stop = min(start + size, len(x))
            values = self._run_block(enter(x[start:stop]))
            for name in names:
                part = values[name]
                if name not in results:
                    kind = holding(self.graph.bounds[name].partial)
                    results[name] = np.empty((len(x), *part.shape[1:]), kind)
                results[name][start:stop] = part
        return results

    def _run_block(self, x: Array) -> dict[str, Array]:
        (port,) = self.graph.inputs
        values = {port.name: x}
        for step, dead in self._steps:
            inputs = [
                values[name] if name in values else self._constants[name, step.output]
                for name in step.inputs
            ]
            values |= step.run(*(v.astype(step.kind, copy=False) for v in inputs))
            for name in dead:
                del values[name]
        return values

    def _step(self, node: Node[FixedOp], ahead: Node[FixedOp] | None, wanted: set[str]) -> _Step:
        if isinstance(node.op, Recurrence):
            loop = Loop(self._run, node, node.op, ahead, wanted)
            return _Step(node.output, (ahead or node).inputs[:1], loop.run, loop.kind, loop.size)
        kind = float_type(self._run, node)
        for name in node.inputs:
            if name in self._run.constants:
                self._constants[name, node.output] = self._run.constants[name].astype(kind)
        compute = function_of(self._run, node, kind)
        run = _single(node.output, compute)
        return _Step(node.output, node.inputs, run, kind, self._size(node, kind))

    def _product(self, product: Product) -> _Step:
        """A layer together with its neighbours."""
        run = _single(product.last.output, product.function())
        size = self._size(product.node, product.kind)
        return _Step(product.last.output, (product.x,), run, product.takes, size)

    def _size(self, node: Node[FixedOp], kind: FloatType) -> int:
        """Bytes of a sample that a node reads and writes, in its float type."""
        shapes, constants = self._run.shapes, self._run.constants
        size = math.prod(shapes[node.output])
        size += sum(math.prod(shapes[name]) for name in node.inputs if name not in constants)
        return size * kind.itemsize


def _single(output: str, compute: Callable[..., Array]) -> Callable[..., dict[str, Array]]:
    """A node that defines one value."""
    return lambda *inputs: {output: compute(*inputs)}
