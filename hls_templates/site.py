"""What the planning of every part needs: network, folding, streams, and the functions so far."""

from __future__ import annotations

from typing import TypedDict

from ..quantize.fixed import FixedGraph
from ..quantize.recurrence import Recurrence
from .clusters import Part
from .folding import Fold, Folding
from .legal import expect_factors, expect_legal
from .processes import Elementwise
from .wiring import Wiring


class Common(TypedDict):
    """What every process of a part has."""

    name: str
    layer: str
    writes: tuple[str, ...]


class Site:
    """A design while its processes are added.

    Attributes:
        graph: the network.
        wiring: its streams and processes.
        functions: the elementwise functions of the processes.
        units: of each layer that holds a loop.
    """

    def __init__(self, graph: FixedGraph, folding: Folding, wiring: Wiring) -> None:
        self.graph = graph
        self.wiring = wiring
        self.functions: list[Elementwise] = []
        self.units = {
            graph.layers[node.name]: graph.shapes[node.output][-1]
            for node in graph.nodes
            if isinstance(node.op, Recurrence)
        }
        self._folding = folding

    def layer(self, part: Part) -> str:
        """The model's layer that a part belongs to."""
        return self.graph.layers[part.node.name]

    def fold(self, part: Part) -> Fold:
        """The parallelism of a part's layer.

        Raises:
            FoldingError: the part cannot have it.
        """
        fold = self._folding.fold(self.layer(part))
        expect_legal(self.graph, part.node, fold)
        expect_factors(self.graph, part.node, fold)
        return fold

    def post(self, part: Part, *operands: str) -> Elementwise:
        """The part's elementwise nodes as a function of ``operands``."""
        if not part.nodes:
            return Elementwise("", operands, (), part.result)
        name = self.wiring.names.fresh(f"{part.result}_function")
        self.functions.append(Elementwise(name, operands, part.nodes, part.result))
        return self.functions[-1]

    def common(self, part: Part, word: str, stream: str) -> Common:
        """A process called after its layer, or after what it writes."""
        layer = self.layer(part)
        near = layer if word == "layer" else stream
        return {
            "name": self.wiring.names.fresh(f"{near}_{word}"),
            "layer": layer,
            "writes": (stream,),
        }
