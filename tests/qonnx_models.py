"""Small models of QONNX's ops, and the inputs that they are tried on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from lutra.frontend.ops import Array

from .onnx_models import model, node

DOMAIN = "qonnx.custom_op.general"

GOLDEN = Path(__file__).parent / "golden" / "qonnx.npz"
"""What the executor of the qonnx package gives for :func:`cases` and for the models made by
others; ``tests/interop`` holds it against that package, and writes it."""

MODELS = ("TFC_1W2A", "qkeras_jettagging", "resnet8_a8w8b16")
"""Those of the models made by others that are quantised."""

SAMPLES = 3

MODES = ("ROUND", "half_even", "CEIL", "floor", "UP", "Down", "HALF_UP", "half_down")


def inputs(*shape: int, step: float = 1 / 64) -> Array:
    """Multiples of ``step`` that look random, and are the same everywhere."""
    count = int(np.prod(shape))
    return ((np.arange(count) * 7919 % 509 - 254) * step).astype(np.float32).reshape(shape)


def shared(name: str) -> ModelProto:
    """A model made by others, without what stands behind its last integers."""
    proto = onnx.load(Path(os.environ["LUTRA_MODEL_DIR"]) / f"{name}.onnx")
    graph = proto.graph
    while graph.node[-1].op_type in ("Add", "Div", "Mul", "Pow", "Softmax", "Sub"):
        graph.node.pop()
    shape = [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim]
    output = helper.make_tensor_value_info(graph.node[-1].output[0], TensorProto.FLOAT, shape)
    del graph.output[:], graph.value_info[:]
    graph.output.append(output)
    return proto


def quant(x: str, y: str, *numbers: float | str, op: str = "Quant", **attributes: Any) -> NodeProto:
    """A node of QONNX; its numbers are names of weights, or scalars for :func:`made` to add."""
    names = [n if isinstance(n, str) else f"scalar_{float(n)}" for n in numbers]
    return node(op, [x, *names], y, domain=DOMAIN, **attributes)


def made(
    nodes: Sequence[NodeProto],
    shape: Sequence[int],
    weights: Mapping[str, Array] | None = None,
    opset: int = 1,
) -> ModelProto:
    """A model of the nodes, with the scalars that they read."""
    read = {name for n in nodes for name in n.input if name.startswith("scalar_")}
    scalars = {name: np.array(name.removeprefix("scalar_"), np.float32) for name in read}
    proto = model(nodes, shape, {**(weights or {}), **scalars}, opset=13)
    proto.opset_import.append(helper.make_opsetid(DOMAIN, opset))
    return proto


def cases() -> Mapping[str, ModelProto]:
    """Models by name; the input is 'x', the output 'y'."""
    found: dict[str, ModelProto] = {}
    for mode in MODES:
        for signed in (0, 1):
            plain: dict[str, Any] = {"signed": signed, "narrow": 0, "rounding_mode": mode}
            found[f"{mode} {signed}"] = made([quant("x", "y", 0.25, 0, 4, **plain)], (1, 6, 8))
            found[f"{mode} {signed} zero"] = made(
                [quant("x", "y", 0.125, 3, 5, **plain)], (1, 6, 8)
            )
        found[f"trunc {mode}"] = made(
            [
                quant("x", "q", 0.125, 0, 8, signed=1, narrow=0, rounding_mode="ROUND"),
                quant("q", "y", 0.125, 0, 8, 5, op="Trunc", rounding_mode=mode),
            ],
            (1, 40),
        )
        found[f"trunc 2 {mode}"] = made(
            [
                quant("x", "q", 0.125, 0, 8, signed=1, narrow=0, rounding_mode="ROUND"),
                quant(
                    "q", "y", 0.125, 0, 8, 0.5, 4,
                    op="Trunc", rounding_mode=mode, signed=1, narrow=1,
                ),
            ],
            (1, 40),
            opset=2,
        )  # fmt: skip
    narrow: dict[str, Any] = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
    found["narrow unsigned"] = made(
        [quant("x", "y", 0.25, 0, 3, signed=0, narrow=1, rounding_mode="ROUND")], (1, 6, 8)
    )
    found["no power of two"] = made([quant("x", "y", 0.3, 0, 4, **narrow)], (1, 6, 8))
    found["trunc no power of two"] = made(
        [
            quant("x", "q", 0.3, 0, 8, **narrow),
            quant("q", "y", 0.3, 0, 8, 6, op="Trunc", rounding_mode="FLOOR"),
        ],
        (1, 40),
    )
    found["one bit"] = made([quant("x", "y", 0.5, 0, 1, **narrow)], (1, 6, 8))
    found["bipolar"] = made([quant("x", "y", 0.5, op="BipolarQuant")], (1, 6, 8))
    found["channels of data"] = made(
        [quant("x", "y", "scale", "zero", 4, **narrow)],
        (1, 3, 4, 5),
        {
            "scale": np.array([0.25, 0.5, 0.125], np.float32).reshape(1, 3, 1, 1),
            "zero": np.array([1, 0, -2], np.float32).reshape(1, 3, 1, 1),
        },
    )
    found["bipolar channels"] = made(
        [quant("x", "y", "scale", op="BipolarQuant")],
        (1, 3, 4),
        {
            "scale": np.array([0.25, 0.5, 0.125], np.float32).reshape(1, 3, 1),
        },
    )
    found["integers as bit width"] = made(
        [quant("x", "y", 0.5, "zero", "bits", **narrow)],
        (1, 8),
        {
            "zero": np.array(0, np.int64),
            "bits": np.array(6, np.int64),
        },
    )
    found["conv"] = made(
        [
            quant("w", "wq", "scale", 0, 4, **narrow),
            node("Conv", ["x", "wq"], "c"),
            quant("c", "y", 0.25, 0, 8, **narrow),
        ],
        (1, 2, 5, 5),
        {
            "w": inputs(4, 2, 3, 3),
            "scale": np.array([0.5, 0.25, 0.5, 1.0], np.float32).reshape(4, 1, 1, 1),
        },
    )
    found["turned weight"] = made(
        [
            quant("w", "wq", 0.25, op="BipolarQuant"),
            node("Transpose", ["wq"], "wt", perm=[1, 0]),
            node("MatMul", ["x", "wt"], "y"),
        ],
        (1, 8),
        {
            "w": inputs(3, 8),
        },
    )
    return found
