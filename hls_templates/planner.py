"""From fixed graph and folding to a plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..frontend.errors import LutraError
from ..frontend.graph import Node, Port
from ..frontend.layer_file import check_layers
from ..frontend.ops import Reshape
from ..quantize.exact_ops import Rearrange
from ..quantize.fixed import FixedGraph, FixedOp
from .bus import Bus
from .clusters import find_parts
from .folding import Folding, FoldingError
from .legal import expect_choices
from .parallel import WIDEST, parallel_plan
from .plan import Plan, find_sources
from .processes import AnyProcess, DenseProcess, GroupedProcess, MapArrayProcess, RecurrenceProcess
from .site import Site
from .stages import add_part, lanes_in
from .wiring import Wiring


def plan(
    graph: FixedGraph, folding: Folding, bus: Bus | None = None, *, parallel: bool = False
) -> Plan:
    """Decide the processes and streams of a design.

    Args:
        graph: the network.
        folding: parallelism of each layer; of none if ``parallel``.
        bus: what the ports are connected to; without one they are the first and last FIFO.
        parallel: make one function of the network that takes a frame a cycle.

    Raises:
        FoldingError: a folding does not divide its layer, or makes a word wider than 4096 bits.
        LutraError: no kernel computes a node, or the bus is too narrow for a value.
    """
    graph = _with_axes(graph)
    if parallel:
        return parallel_plan(graph, bus)
    check_layers(folding.layers, dict.fromkeys(graph.layers.values()), folding.file)
    try:
        expect_choices(graph, folding)
        design = _design(graph, folding, bus)
    except FoldingError as error:
        error.file = error.file or folding.file
        raise
    return design


def _with_axes(graph: FixedGraph) -> FixedGraph:
    """The network with an axis of size 1 for each value that has none: streams have a last axis."""
    if () not in (graph.shapes[name] for name in graph.shapes if name not in graph.constants):
        return graph
    return replace(
        graph,
        inputs=tuple(_with_axis(port) for port in graph.inputs),
        outputs=tuple(_with_axis(port) for port in graph.outputs),
        nodes=tuple(
            replace(node, op=Reshape((1,)))
            if graph.shapes[node.output] == () and _moves(node)
            else node
            for node in graph.nodes
        ),
    )


def _with_axis(port: Port) -> Port:
    return replace(port, shape=(1,), axes=(0,)) if port.shape == () else port


def _moves(node: Node[FixedOp]) -> bool:
    return isinstance(node.op, Reshape | Rearrange)


def _design(graph: FixedGraph, folding: Folding, bus: Bus | None) -> Plan:
    (inlet,), (outlet,) = graph.inputs, graph.outputs
    sources = find_sources(graph)
    parts = find_parts(graph, sources)
    wiring = Wiring(graph, sources, parts)
    site = Site(graph, folding, wiring)
    first = next((part for part in parts if inlet.name in part.reads), None)
    lanes = 1
    if first:
        with _naming(site.layer(first)):
            lanes = lanes_in(site, first)
    first_stream = wiring.stream(inlet.name, inlet.name, lanes)
    port_in = wiring.enter(bus, first_stream, inlet.name) if bus else first_stream
    wiring.share(inlet.name, first_stream, inlet.name)
    for part in parts:
        with _naming(site.layer(part)):
            add_part(site, part)
    port_out = wiring.take(outlet.name)
    if bus:
        port_out = wiring.leave(bus, port_out, outlet.name)
    elif port_out == port_in:
        port_out = wiring.copy(port_in, outlet.name)
    design = Plan(
        graph,
        tuple(wiring.processes),
        wiring.streams,
        (port_in,),
        (port_out,),
        tuple(site.functions),
        sources,
        {node.output: i for i, node in enumerate(graph.traced())},
        bus,
    )
    _check_widths(design)
    return design


@contextmanager
def _naming(layer: str) -> Iterator[None]:
    """Errors that name no node name this layer."""
    try:
        yield
    except LutraError as error:
        error.node = error.node or layer
        raise


def _check_widths(design: Plan) -> None:
    """Refuse words that are wider than the tools take."""
    for process in design.processes:
        bits = max(
            *(design.streams[name].bits for name in (*process.reads, *process.writes)),
            *_words(design, process),
        )
        if bits > WIDEST:
            raise FoldingError(
                "the folding makes a word too wide",
                node=process.layer,
                found=f"{bits} bits",
                expected=f"at most {WIDEST} bits",
                remedy="Choose a smaller pe or simd for this layer",
            )


def _words(design: Plan, process: AnyProcess) -> list[int]:
    """Bits of the words that a process reads from its constants."""
    formats = design.graph.formats
    match process:
        case DenseProcess(wired=None, node=node, fold=fold):
            return [
                fold.pe * fold.simd * formats[node.inputs[1]].width,
                fold.pe * formats[node.output].width,
            ]
        case GroupedProcess(node=node, fold=fold, across=across):
            lanes = across * fold.pe
            return [
                lanes * fold.simd * formats[node.inputs[1]].width,
                lanes * formats[node.output].width,
            ]
        case RecurrenceProcess(fold=fold, cells=cells):
            return [
                *(fold.pe * fold.simd * cell.weight.width for cell in cells),
                *(fold.pe * cell.acc.width for cell in cells),
            ]
        case MapArrayProcess(pe=pe, post=post):
            return [pe * formats[post.operands[1]].width]
        case _:
            return [0]
