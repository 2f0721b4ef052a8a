"""From fixed graph and folding to a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..frontend.errors import LutraError
from ..frontend.graph import Node
from ..frontend.layer_file import check_layers
from ..frontend.ops import Conv, Dense, Flatten, MaxPool, Mul, ReduceSum, Relu, SumPool, Window
from ..quantize.cast import Cast
from ..quantize.exact import BelowMax
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Format
from ..quantize.lut import Lut
from .folding import Folding, FoldingError, divide
from .plan import (
    BelowMaxProcess,
    DenseProcess,
    MapProcess,
    Plan,
    PoolProcess,
    ScaleRowsProcess,
    Unary,
    WindowProcess,
    as_image,
    is_trivial,
    window_of,
)
from .wiring import Wiring

WIDEST = 4096
"""Bits of the widest ``ap_uint`` that the tools take."""


def plan(graph: FixedGraph, folding: Folding) -> Plan:
    """Decide the processes and streams of a design.

    Raises:
        FoldingError: a folding does not divide its layer, or makes a word wider than 4096 bits.
    """
    check_layers(folding.layers, dict.fromkeys(graph.layers.values()), folding.file)
    try:
        return _Planner(graph, folding).run()
    except FoldingError as error:
        error.file = error.file or folding.file
        raise


class _Planner:
    """Walks the nodes once, in order, and adds the processes that each needs."""

    def __init__(self, graph: FixedGraph, folding: Folding) -> None:
        self.graph = graph
        self.folding = folding
        self.wiring = Wiring(graph)
        self.ids = {node.output: i for i, node in enumerate(graph.nodes)}

    def run(self) -> Plan:
        (inlet,), (outlet,) = self.graph.inputs, self.graph.outputs
        taken: set[str] = set()
        heads = []
        for node in self.graph.nodes:
            if node.name not in taken and not isinstance(node.op, Flatten):
                chain = self._chain(node)
                taken |= {link.name for link in chain}
                heads.append((node, chain))
        first = next((h for h in heads if inlet.name in map(self.wiring.source, h[0].inputs)), None)
        lanes = self._lanes_in(first[0]) if first else 1
        port_in = self.wiring.stream(inlet.name, inlet.name, lanes)
        self.wiring.share(inlet.name, port_in)
        for node, chain in heads:
            try:
                self._head(node, chain)
            except LutraError as error:
                error.node = error.node or self.graph.layers[node.name]
                raise
        port_out = self.wiring.take(self.wiring.source(outlet.name))
        if port_out == port_in:
            port_out = self.wiring.copy(port_in, outlet.name)
        self._check_widths()
        return Plan(
            self.graph,
            tuple(self.wiring.processes),
            self.wiring.streams,
            (port_in,),
            (port_out,),
            self.ids,
        )

    def _chain(self, node: Node[FixedOp]) -> Unary:
        """The functions of one value that follow ``node`` and that nobody else reads before."""
        links: list[Node[FixedOp]] = []
        value = node.output
        while True:
            readers = self.wiring.readers.get(value, [])
            if len(readers) != 1 or readers[0] is None or not self._is_unary(readers[0]):
                return tuple(links)
            links.append(readers[0])
            value = readers[0].output

    def _is_unary(self, node: Node[FixedOp]) -> bool:
        match node.op:
            case Relu() | Cast() | Lut():
                return True
            case Mul():
                return node.inputs[1] in self.graph.constants
            case _:
                return False

    def _format(self, value: str) -> Format:
        return self.graph.formats[value]

    # Processes

    def _lanes_in(self, node: Node[FixedOp]) -> int:
        """Lanes with which the process of ``node`` reads its first input."""
        fold = self.folding.fold(self.graph.layers[node.name])
        match node.op:
            case Dense() | Conv():
                return fold.simd
            case ReduceSum() | BelowMax():
                return 1
            case Mul() if not self._is_unary(node):
                return 1
            case _:
                return fold.pe

    def _head(self, node: Node[FixedOp], chain: Unary) -> None:
        layer = self.graph.layers[node.name]
        last = chain[-1].output if chain else node.output
        common: dict[str, Any] = {"layer": layer, "post": chain}
        match node.op:
            case Dense() | Conv():
                stream = self._linear(node, last, common)
            case MaxPool() | SumPool() as op:
                stream = self._pool(node, op.window, last, common)
            case ReduceSum():
                shape = self.graph.shapes[node.inputs[0]]
                reads = (self.wiring.read(node.inputs[0], 1, layer),)
                stream = self.wiring.stream(last, last, 1)
                self.wiring.processes.append(
                    PoolProcess(
                        name=self.wiring.names.fresh(f"{stream}_stage"),
                        reads=reads,
                        writes=(stream,),
                        node=node,
                        positions=math.prod(shape[:-1]),
                        window=shape[-1],
                        channels=1,
                        pe=1,
                        **common,
                    )
                )
            case BelowMax() | Mul() if not self._is_unary(node):
                stream = self._rows(node, last, common)
            case _:
                stream = self._map(node, last, layer, chain)
        self.wiring.share(last, stream)

    def _linear(self, node: Node[FixedOp], last: str, common: dict[str, Any]) -> str:
        layer = common["layer"]
        fold = self.folding.fold(layer)
        x = node.inputs[0]
        weight = self.graph.shapes[node.inputs[1]]
        inputs, outputs = math.prod(weight[:-1]), weight[-1]
        divide(layer, "simd", fold.simd, weight[-2])
        divide(layer, "pe", fold.pe, outputs)
        reads = self.wiring.read(x, fold.simd, layer)
        window = window_of(node.op)
        if window is not None:
            reads = self._window(window, x, reads, fold.simd, layer, 0)
        stream = self.wiring.stream(last, last, fold.pe)
        positions = math.prod(self.graph.shapes[node.output]) // outputs
        self.wiring.processes.append(
            DenseProcess(
                name=self.wiring.names.fresh(f"{layer}_layer"),
                reads=(reads,),
                writes=(stream,),
                node=node,
                positions=positions,
                inputs=inputs,
                outputs=outputs,
                fold=fold,
                **common,
            )
        )
        return stream

    def _pool(self, node: Node[FixedOp], window: Window, last: str, common: dict[str, Any]) -> str:
        layer = common["layer"]
        fold = self.folding.fold(layer)
        x = node.inputs[0]
        shape = self.graph.shapes[node.output]
        divide(layer, "pe", fold.pe, shape[-1])
        reads = self.wiring.read(x, fold.pe, layer)
        fill = self._format(x).low if isinstance(node.op, MaxPool) else 0
        reads = self._window(window, x, reads, fold.pe, layer, fill)
        stream = self.wiring.stream(last, last, fold.pe)
        self.wiring.processes.append(
            PoolProcess(
                name=self.wiring.names.fresh(f"{layer}_layer"),
                reads=(reads,),
                writes=(stream,),
                node=node,
                positions=math.prod(shape[:-1]),
                window=window.size,
                channels=shape[-1],
                pe=fold.pe,
                **common,
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

    def _rows(self, node: Node[FixedOp], last: str, common: dict[str, Any]) -> str:
        shape = self.graph.shapes[node.inputs[0]]
        reads = tuple(self.wiring.read(name, 1, common["layer"]) for name in node.inputs)
        stream = self.wiring.stream(last, last, 1)
        kind = BelowMaxProcess if isinstance(node.op, BelowMax) else ScaleRowsProcess
        self.wiring.processes.append(
            kind(
                name=self.wiring.names.fresh(f"{stream}_stage"),
                reads=reads,
                writes=(stream,),
                node=node,
                rows=math.prod(shape[:-1]),
                length=shape[-1],
                **common,
            )
        )
        return stream

    def _map(self, node: Node[FixedOp], last: str, layer: str, chain: Unary) -> str:
        pe = self.folding.fold(layer).pe
        shape = self.graph.shapes[node.inputs[0]]
        divide(layer, "pe", pe, shape[-1])
        reads = self.wiring.read(node.inputs[0], pe, layer)
        stream = self.wiring.stream(last, last, pe)
        beats = math.prod(shape) // pe
        name = self.wiring.names.fresh(f"{layer}_layer")
        self.wiring.processes.append(
            MapProcess(name, layer, (reads,), (stream,), beats, pe, (node, *chain))
        )
        return stream

    def _check_widths(self) -> None:
        """Refuse words that are wider than the tools take."""
        widest: Mapping[str, int] = {
            process.layer: max(
                process.fold.pe * process.fold.simd * self._format(process.node.inputs[1]).width,
                process.fold.pe * self._format(process.node.output).width,
            )
            for process in self.wiring.processes
            if isinstance(process, DenseProcess)
        }
        for process in self.wiring.processes:
            bits = max(self.wiring.streams[name].bits for name in (*process.reads, *process.writes))
            bits = max(bits, widest.get(process.layer, 0))
            if bits > WIDEST:
                raise FoldingError(
                    "the folding makes a word too wide",
                    node=process.layer,
                    found=f"{bits} bits",
                    expected=f"at most {WIDEST} bits",
                    remedy="Choose a smaller pe or simd for this layer",
                )
