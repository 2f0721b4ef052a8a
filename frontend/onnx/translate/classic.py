"""Ops of the domain ai.onnx.ml that stand before and behind networks of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import GraphProto

from ...errors import ShapeError
from ...ops import Mul, Sub
from ..call import Call, Form, anything, only
from ..schema import CLASSIC_DOMAIN
from ..steps import Steps
from ..values import Builder, Value
from .statistics import lp_norm


def scaler(builder: Builder, call: Call) -> Value:
    """``(x - offset) · scale``, each one number or one a feature."""
    x = call.data()
    steps = Steps(builder, call)
    for op, what, neutral in ((Sub(), "offset", 0.0), (Mul(), "scale", 1.0)):
        vector = np.array(call.get(what, [neutral]), np.float32)
        if len(x.shape) != 1 or vector.size not in (1, x.shape[0]):
            raise ShapeError(
                f"its {what} does not fit the data",
                found=f"{vector.size} for data of shape {x.shape}",
                expected="one number, or one a feature",
            )
        if (vector != neutral).any():
            x = steps.apply(op, x, steps.weight(what, vector))
    return steps.done(x)


def normalizer(builder: Builder, call: Call) -> Value:
    """Each row divided by its norm, as ONNX's LpNormalization."""
    order = 1 if call.get("norm", "MAX") == "L1" else 2
    return lp_norm(builder, replace(call, attributes={"axis": -1, "p": order}))


def tensors_of_maps(graph: GraphProto) -> dict[str, str]:
    """For each output that is a list of maps from class to probability, the tensor of these."""
    outputs = {port.name for port in graph.output}
    return {
        node.output[0]: node.input[0]
        for node in graph.node
        if (node.domain, node.op_type) == (CLASSIC_DOMAIN, "ZipMap")
        and len(node.input) == len(node.output) == 1
        and node.output[0] in outputs
    }


FORMS: Mapping[str, Form] = {
    "Normalizer": Form(1, normalizer, {"norm": only("L1", "L2")}),
    "Scaler": Form(1, scaler, {"offset": anything, "scale": anything}),
}
