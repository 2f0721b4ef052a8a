"""Quantised models of others: fixed point gives the integers that their own float ops give."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from lutra.frontend.graph import Graph, evaluate
from lutra.frontend.onnx.importer import from_onnx, load
from lutra.frontend.ops import Array, Bipolar, Quantize
from lutra.quantize.calibrate import calibrate
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator

from .onnx_models import run
from .quantised_graphs import in_float64
from .test_onnx_codes import made
from .test_onnx_qlinear import I8, OPERATORS, OPS, QDQ, U8, Images, images, network, numbers


def expect_equal_integers(graph: Graph, fixed: FixedGraph, x: Array) -> None:
    """Every value that the model quantises."""
    values = Simulator(fixed, keep=True).trace(x)
    wanted = in_float64(graph, x)
    nodes = [node for node in graph.nodes if isinstance(node.op, Quantize | Bipolar)]
    assert nodes
    for node in nodes:
        scale = graph.constants[node.inputs[1]].astype(np.float64)
        factor = fixed.factors.get(node.output, np.ones(1))
        made = values[node.output] * fixed.formats[node.output].step * factor
        assert np.array_equal(np.rint(made / scale), np.rint(wanted[node.output] / scale)), node


@pytest.mark.parametrize(
    ("form", "channels", "kind", "options"),
    [(QDQ, True, I8, {"ActivationSymmetric": True}), (OPERATORS, False, U8, {})],
)
def test_a_network_that_onnxruntime_quantised(
    form: QuantFormat, channels: bool, kind: QuantType, options: dict[str, Any], tmp_path: Path
) -> None:
    """It says all formats itself, and fixed point gives what onnxruntime gives."""
    onnx.save(network(), tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "q.onnx", Images(), quant_format=form,
        per_channel=channels, activation_type=kind, weight_type=kind, extra_options=options,
    )  # fmt: skip
    quantised = onnx.load(tmp_path / "q.onnx")
    graph = from_onnx(quantised)
    fixed = lower(graph, calibrate(graph, Settings()))
    assert not fixed.inexact
    x = images(64)
    expect_equal_integers(graph, fixed, x)
    (theirs,) = run(quantised, x=x)
    step = fixed.outputs[0].scale
    off = np.abs(np.rint((Simulator(fixed).predict(x) - theirs) / step))
    # A float32 sum next to the border between two integers may fall on its other side.
    assert off.max() <= 1
    assert np.count_nonzero(off) <= off.size / 100


@pytest.mark.parametrize("name", ["gemm", "add", "mul", "global pool", "leaky relu", "sigmoid"])
def test_an_op_on_integers(name: str) -> None:
    """Integers enter and leave as they are."""
    op, shape = OPS[name]
    number = helper.np_dtype_to_tensor_dtype(np.dtype(np.uint8))
    quantised = made([op], ("n", *shape), numbers(np.uint8), entry=number, output=number, opset=17)
    quantised.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    x = np.random.default_rng(0).integers(0, 256, (32, *shape)).astype(np.float32)
    graph = from_onnx(quantised)
    fixed = lower(graph, calibrate(graph, Settings(bits=16), x))
    assert np.array_equal(Simulator(fixed).predict(x), evaluate(graph, {"x": x})["y"])


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is not set")
@pytest.mark.parametrize(
    ("file", "spread"),
    [("qkeras_jettagging.onnx", 1.5), ("TFC_1W2A.onnx", 0.5), ("resnet8_a8w8b16.onnx", 1.0)],
)
def test_real_models(file: str, spread: float) -> None:
    """Scales of powers of two: equal in every value, for inputs that the input's format holds."""
    graph = load(Path(os.environ["LUTRA_MODEL_DIR"]) / file)
    (port,) = graph.inputs
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(0, spread, (40, *port.outer_shape))).astype(np.float32)
    fixed = lower(graph, calibrate(graph, Settings(), x))
    step = fixed.formats[port.name].step
    held = Simulator(fixed, keep=[port.name]).trace(x)[port.name] * step
    assert not fixed.inexact
    assert not fixed.factors
    expect_equal_integers(graph, fixed, port.restore(held.astype(np.float32)))
