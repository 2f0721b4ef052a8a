"""The processes of each part of a network, with the streams that they read and write."""

from __future__ import annotations

import math
from typing import TypedDict

from ..frontend.errors import UnsupportedOpError
from ..frontend.ops import Conv, Dense, MaxPool, ReduceSum, SumPool, Window
from ..quantize.exact_ops import BelowMax
from ..quantize.fixed import FixedGraph
from .clusters import Part, is_elementwise, is_map
from .folding import Fold, Folding, divide
from .plan import (
    BelowMaxProcess,
    DenseProcess,
    Elementwise,
    MapArrayProcess,
    MapProcess,
    MapRowProcess,
    PoolProcess,
    WindowProcess,
    as_image,
    is_trivial,
    window_of,
)
from .wiring import Wiring


class _Common(TypedDict):
    """What every process of a part has."""

    name: str
    layer: str
    writes: tuple[str, ...]


class Stages:
    """Adds processes to a design, part by part."""

    def __init__(self, graph: FixedGraph, folding: Folding, wiring: Wiring) -> None:
        self.graph = graph
        self.folding = folding
        self.wiring = wiring
        self.functions: list[Elementwise] = []

    def add(self, part: Part) -> None:
        """The processes of one part; its result is offered to those that read it.

        Raises:
            FoldingError: the layer's fold does not divide it.
            UnsupportedOpError: no kernel computes it.
        """
        match part.node.op:
            case Dense() | Conv():
                stream = self._linear(part)
            case MaxPool() | SumPool() as op:
                stream = self._pool(part, op.window)
            case ReduceSum():
                stream = self._reduce(part)
            case BelowMax():
                stream = self._below_max(part)
            case _ if is_elementwise(self.graph, part.node):
                stream = self._map(part)
            case _ if is_map(part.node):
                stream = self._broadcast(part)
            case op:
                raise UnsupportedOpError("no kernel computes this", found=type(op).__name__)
        self.wiring.share(part.result, stream, self._layer(part))

    def lanes(self, part: Part) -> int:
        """Lanes with which the part reads its first value."""
        fold = self._fold(part)
        match part.node.op:
            case Dense() | Conv():
                return fold.simd
            case MaxPool() | SumPool():
                return fold.pe
            case ReduceSum() | BelowMax():
                return 1
            case _:
                return fold.pe if self.graph.shapes[part.node.inputs[0]][-1] > 1 else 1

    def _layer(self, part: Part) -> str:
        return self.graph.layers[part.node.name]

    def _fold(self, part: Part) -> Fold:
        return self.folding.fold(self._layer(part))

    def _post(self, part: Part, *operands: str) -> Elementwise:
        """The part's elementwise nodes as a function of ``operands``."""
        if not part.nodes:
            return Elementwise("", operands, (), part.result)
        name = self.wiring.names.fresh(f"{part.result}_function")
        self.functions.append(Elementwise(name, operands, part.nodes, part.result))
        return self.functions[-1]

    def _common(self, part: Part, word: str, stream: str) -> _Common:
        """A process called after its layer, or after what it writes."""
        layer = self._layer(part)
        near = layer if word == "layer" else stream
        return {
            "name": self.wiring.names.fresh(f"{near}_{word}"),
            "layer": layer,
            "writes": (stream,),
        }

    def _linear(self, part: Part) -> str:
        node, layer, fold = part.node, self._layer(part), self._fold(part)
        x = node.inputs[0]
        weight = self.graph.shapes[node.inputs[1]]
        inputs, outputs = math.prod(weight[:-1]), weight[-1]
        divide(layer, "simd", fold.simd, weight[-2])
        divide(layer, "pe", fold.pe, outputs)
        reads = self.wiring.read(x, fold.simd, layer)
        window = window_of(node.op)
        if window is not None:
            reads = self._window(window, x, reads, fold.simd, layer, 0)
        stream = self.wiring.stream(part.result, part.result, fold.pe)
        self.wiring.processes.append(
            DenseProcess(
                **self._common(part, "layer", stream),
                reads=(reads,),
                node=node,
                positions=math.prod(self.graph.shapes[node.output]) // outputs,
                inputs=inputs,
                outputs=outputs,
                fold=fold,
                post=self._post(part, node.output),
            )
        )
        return stream

    def _pool(self, part: Part, window: Window) -> str:
        node, layer, pe = part.node, self._layer(part), self._fold(part).pe
        x = node.inputs[0]
        shape = self.graph.shapes[node.output]
        divide(layer, "pe", pe, shape[-1])
        reads = self.wiring.read(x, pe, layer)
        fill = self.graph.formats[self.wiring.source(x)].low if isinstance(node.op, MaxPool) else 0
        reads = self._window(window, x, reads, pe, layer, fill)
        stream = self.wiring.stream(part.result, part.result, pe)
        self.wiring.processes.append(
            PoolProcess(
                **self._common(part, "layer", stream),
                reads=(reads,),
                node=node,
                positions=math.prod(shape[:-1]),
                window=window.size,
                channels=shape[-1],
                pe=pe,
                post=self._post(part, node.output),
            )
        )
        return stream

    def _window(self, window: Window, x: str, reads: str, lanes: int, layer: str, fill: int) -> str:
        """The windows of ``x``; its own stream where they are the image as it arrives."""
        shape = self.graph.shapes[x]
        if is_trivial(window, shape):
            return reads
        image, window = as_image(shape, window)
        positions = math.prod(window.infer(image))
        beats = positions * window.size * image[2] // lanes
        stream = self.wiring.stream(f"{layer}_windows", self.wiring.source(x), lanes, beats)
        self.wiring.processes.append(
            WindowProcess(
                self.wiring.names.fresh(f"{layer}_window"),
                layer,
                (reads,),
                (stream,),
                window,
                image,
                lanes,
                fill,
            )
        )
        return stream

    def _reduce(self, part: Part) -> str:
        """The sums of rows, as a pool with one window a row."""
        shape = self.graph.shapes[part.node.inputs[0]]
        reads = self.wiring.read(part.node.inputs[0], 1, self._layer(part))
        stream = self.wiring.stream(part.result, part.result, 1)
        self.wiring.processes.append(
            PoolProcess(
                **self._common(part, "stage", stream),
                reads=(reads,),
                node=part.node,
                positions=math.prod(shape[:-1]),
                window=shape[-1],
                channels=1,
                pe=1,
                post=self._post(part, part.node.output),
            )
        )
        return stream

    def _below_max(self, part: Part) -> str:
        shape = self.graph.shapes[part.node.inputs[0]]
        reads = self.wiring.read(part.node.inputs[0], 1, self._layer(part))
        stream = self.wiring.stream(part.result, part.result, 1)
        self.wiring.processes.append(
            BelowMaxProcess(
                **self._common(part, "stage", stream),
                reads=(reads,),
                node=part.node,
                rows=math.prod(shape[:-1]),
                length=shape[-1],
                post=self._post(part, part.node.output),
            )
        )
        return stream

    def _map_lanes(self, part: Part) -> int:
        lanes = self.lanes(part)
        divide(self._layer(part), "pe", lanes, self.graph.shapes[part.node.inputs[0]][-1])
        return lanes

    def _map(self, part: Part) -> str:
        """A function of one stream, or of two side by side."""
        layer, pe = self._layer(part), self._map_lanes(part)
        reads = tuple(self.wiring.read(value, pe, layer) for value in part.reads)
        stream = self.wiring.stream(part.result, part.result, pe)
        self.wiring.processes.append(
            MapProcess(
                **self._common(part, "stage", stream),
                reads=reads,
                beats=math.prod(self.graph.shapes[part.node.output]) // pe,
                pe=pe,
                post=self._post(part, *part.reads),
            )
        )
        return stream

    def _broadcast(self, part: Part) -> str:
        """A function of a stream, and of one value a row or a constant array."""
        layer, pe = self._layer(part), self._map_lanes(part)
        x, other = part.node.inputs
        a, b = self.graph.shapes[x], self.graph.shapes[other]
        reads = self.wiring.read(x, pe, layer)
        beats = math.prod(a) // pe
        if other in self.graph.constants:
            stream = self.wiring.stream(part.result, part.result, pe)
            self.wiring.processes.append(
                MapArrayProcess(
                    **self._common(part, "stage", stream),
                    reads=(reads,),
                    beats=beats,
                    pe=pe,
                    post=self._post(part, part.reads[0], other),
                )
            )
            return stream
        if b != (*a[:-1], 1):
            raise UnsupportedOpError(
                "no kernel repeats this operand", found=b, expected=f"{a}, or one value a row"
            )
        factors = self.wiring.read(other, 1, layer)
        stream = self.wiring.stream(part.result, part.result, pe)
        rows = math.prod(b)
        self.wiring.processes.append(
            MapRowProcess(
                **self._common(part, "stage", stream),
                reads=(reads, factors),
                rows=rows,
                beats_a_row=beats // rows,
                pe=pe,
                post=self._post(part, *part.reads),
            )
        )
        return stream
