"""The original model at work in another program, to hold our graph against.

Packages that are not ours are looked for when they are needed: onnxruntime; the ``qonnx`` package,
for models with its ops; and the reference evaluator of the onnx package, which is always there.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ..errors import ToolchainError, clip
from ..ops import Array
from .tensor import embedded

Run = Callable[[Mapping[str, Array]], dict[str, Array]]
"""From arrays by the inputs' names to arrays by the outputs' names; all as ONNX lays them out."""

QONNX_DOMAINS = ("onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general")
"""Where the ops of quantised models live that the ``qonnx`` package runs."""


class Original:
    """One model in the first of the programs that take it.

    Attributes:
        runner: the program's name and version.
    """

    def __init__(self, model: ModelProto, folder: Path | None, also: Iterable[str] = ()) -> None:
        """
        Args:
            model: as parsed.
            folder: where its external data lie.
            also: values that are wanted besides the outputs.

        Raises:
            ModelError: external data cannot be read.
        """
        self._model = _prepared(model, folder, also)
        self._programs = _programs(self._model)
        self._refusals: list[str] = []
        self._run: Run | None = None
        self.runner = ""

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every wanted value that is an array of numbers.

        Raises:
            ToolchainError: no program takes the model, or not on these inputs.
        """
        kinds = {port.name: port.type.tensor_type.elem_type for port in self._model.graph.input}
        typed = {
            name: np.ascontiguousarray(x, helper.tensor_dtype_to_np_dtype(kinds[name]))
            for name, x in feeds.items()
        }
        while True:
            if self._run is None:
                self._open()
            assert self._run is not None
            try:
                found = self._run(typed)
            except Exception as error:  # what other programs raise is theirs to choose
                self._refuse(self.runner, error)
                continue
            return {
                name: np.asarray(value)
                for name, value in found.items()
                if getattr(value, "dtype", np.dtype(object)).kind in "fiub"
            }

    def _open(self) -> None:
        """Start the next program that takes the model."""
        while self._programs:
            name, start = self._programs.pop(0)
            try:
                version, self._run = start(self._model)
            except Exception as error:
                self._refuse(name, error)
            else:
                self.runner = f"{name} {version}"
                return
        raise ToolchainError(
            "the original cannot be run, so nothing was compared",
            found="; ".join(self._refusals),
            expected="a program that runs this model",
            remedy="Install what is missing with pip: qonnx runs QONNX's ops, onnxruntime ONNX's",
        )

    def _refuse(self, name: str, error: Exception) -> None:
        text = "is not installed" if isinstance(error, ModuleNotFoundError) else str(error)
        self._refusals.append(f"{name}: {clip(text or type(error).__name__, 150)}")
        self._run = None


Start = Callable[[ModelProto], tuple[str, Run]]


def _programs(model: ModelProto) -> list[tuple[str, Start]]:
    """What may run the model, the best first."""
    if any(node.domain in QONNX_DOMAINS for node in model.graph.node):
        return [("qonnx", _qonnx)]
    return [("onnxruntime", _onnxruntime), ("onnx.reference", _reference)]


def _prepared(model: ModelProto, folder: Path | None, also: Iterable[str]) -> ModelProto:
    """A copy that holds all its data, with further outputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(embedded(tensor, folder))
    known = {port.name for port in copy.graph.output}
    for name in dict.fromkeys(also):
        if name not in known:
            copy.graph.output.add(name=name)
    return copy


def _onnxruntime(model: ModelProto) -> tuple[str, Run]:
    """Node by node as the file says: optimisations would fuse quantised models into integer ones,
    which round elsewhere."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    data = model.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return ort.__version__, lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def _reference(model: ModelProto) -> tuple[str, Run]:
    old = any(entry.version < 14 for entry in model.opset_import if not entry.domain)
    if old and any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise ValueError("trains a BatchNormalization before version 14 rather than running it")
    evaluator = ReferenceEvaluator(model)
    names = [port.name for port in model.graph.output]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            return dict(zip(names, evaluator.run(None, dict(feeds)), strict=True))

    return onnx.__version__, run


def _qonnx(model: ModelProto) -> tuple[str, Run]:
    """qonnx wants every shape fixed, so that each size of batch is a model of its own."""
    wrapper: Any = importlib.import_module("qonnx.core.modelwrapper").ModelWrapper
    shapes: Any = importlib.import_module("qonnx.transformation.infer_shapes").InferShapes
    execute: Any = importlib.import_module("qonnx.core.onnx_exec").execute_onnx
    version = importlib.import_module("importlib.metadata").version("qonnx")

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        fixed = ModelProto()
        fixed.CopyFrom(model)
        del fixed.graph.value_info[:]
        wanted = [port.name for port in fixed.graph.output]
        given = {port.name for port in model.graph.output if port.type.ByteSize()}
        kept = [port for port in fixed.graph.output if port.name in given]
        del fixed.graph.output[:]
        for port in kept:
            port.type.tensor_type.ClearField("shape")
            fixed.graph.output.append(port)
        for port in fixed.graph.input:
            if port.name in feeds:
                dims = port.type.tensor_type.shape.dim
                for dim, size in zip(dims, feeds[port.name].shape, strict=True):
                    dim.dim_value = size
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # about old domains, and shapes that were left out
            ready = wrapper(fixed).transform(shapes())
            context = execute(ready, dict(feeds), return_full_exec_context=True)
        return {name: context[name] for name in wanted if name in context}

    return version, run
