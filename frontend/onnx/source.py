"""A model's file, as far as it does not depend on where the batch is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto

from ..errors import LutraError, ModelError, clip
from ..ops import Array
from .idioms.find import find_idioms
from .idioms.nodes import Nodes
from .options import ImportOptions
from .ports import Input, choose_outputs, expect_shapes, read_input, readings
from .read import check_structure
from .tensor import read_tensor
from .translate.classic import tensors_of_maps
from .values import Constant


class Source:
    """A model, and what does not depend on how it is read."""

    def __init__(self, model: ModelProto, folder: Path | None, options: ImportOptions) -> None:
        self.opset = check_structure(model)
        self.graph = model.graph
        self.folder = folder
        if not self.graph.node:
            raise ModelError("the model has no nodes", remedy="Export it again")
        self.functions = {(f.domain, f.name) for f in model.functions}
        self.defined = {name for node in self.graph.node for name in node.output if name}
        self.constants = [
            Constant(tensor.name, _Reader(tensor, folder)) for tensor in self.graph.initializer
        ]
        constants = {constant.name for constant in self.constants}
        ports = [port for port in self.graph.input if port.name not in constants]
        if not ports:
            raise ModelError("the model has no input", expected="one")
        expect_shapes(options.shapes, ports)
        self.names = self.defined | constants | {port.name for port in ports}
        self.outputs = choose_outputs(
            self.graph.output, options, self.names, tensors_of_maps(self.graph)
        )
        self.live, self.read = _live(self.graph, self.outputs.names)
        self.inputs: dict[str, Input | LutraError | None] = {}
        for port in ports:
            if port.name in self.inputs:
                raise twice(port.name)
            self.inputs[port.name] = None
            if port.name in self.read:
                try:
                    self.inputs[port.name] = read_input(port, options.shapes)
                except LutraError as error:
                    self.inputs[port.name] = error
        found = [input for input in self.inputs.values() if isinstance(input, Input)]
        self.readings = readings(found, self.graph)
        idioms = find_idioms(Nodes(model, self.opset, folder))
        self.idioms = {root: found for root, found in idioms.items() if root in self.live}


def _live(graph: GraphProto, outputs: Iterable[str]) -> tuple[set[int], set[str]]:
    """Which nodes the outputs need, by their places, and all that these and the outputs read."""
    read = set(outputs)
    live = set()
    for i in reversed(range(len(graph.node))):
        if any(name in read for name in graph.node[i].output if name):
            live.add(i)
            read.update(graph.node[i].input)
    return live, read


def twice(name: str) -> ModelError:
    """The error for a name that is defined a second time."""
    return ModelError(
        f"the model defines '{clip(name)}' twice", remedy="The file is damaged; export it again"
    )


@dataclass(frozen=True)
class _Reader:
    """Reads one tensor when it is asked for."""

    tensor: TensorProto
    folder: Path | None

    def __call__(self) -> Array:
        return read_tensor(self.tensor, self.folder)
