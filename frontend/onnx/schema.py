"""Definitions of ops: ONNX's own, and those of other domains that real files hold.

The latter are written down here, since the onnx package knows nothing of them: how many inputs
they take, and which attributes of which types.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx.defs import OpSchema

QONNX_DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")
"""What the domain of QONNX's ops has been called; files with none at all exist too.  Whether a
file imports the domain, and in which version, says nothing: many import another, or none."""

CLASSIC_DOMAIN = "ai.onnx.ml"
CLASSIC = ("Normalizer", "Scaler")
"""ONNX's domain for other methods than networks, and its ops that stand before networks; there is
one version of them."""

_INT, _STRING = OpSchema.AttrType.INT, OpSchema.AttrType.STRING
_ROUNDED = {"rounding_mode": _STRING}
_RANGE = {"narrow": _INT, "signed": _INT}


def _schema(
    name: str, inputs: tuple[int, int], attributes: Mapping[str, OpSchema.AttrType], domain: str
) -> OpSchema:
    """The definition of an op with one output that takes between so many inputs."""
    least, most = inputs
    single, optional = (
        OpSchema.FormalParameterOption.Single,
        (OpSchema.FormalParameterOption.Optional),
    )
    parameters = [
        OpSchema.FormalParameter(f"input{i}", "T", param_option=single if i < least else optional)
        for i in range(most)
    ]
    return OpSchema(
        name,
        domain,
        1,
        inputs=parameters,
        outputs=[OpSchema.FormalParameter("output", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
        attributes=[
            OpSchema.Attribute(key, kind, required=False) for key, kind in attributes.items()
        ],
    )


_QONNX = {
    name: _schema(name, inputs, attributes, QONNX_DOMAINS[0])
    for name, inputs, attributes in (
        ("BipolarQuant", (2, 2), {}),
        ("IntQuant", (4, 4), _ROUNDED | _RANGE),
        ("Quant", (4, 4), _ROUNDED | _RANGE),
        ("Trunc", (5, 6), _ROUNDED | _RANGE),
    )
}

_INTS = OpSchema.AttrType.INTS
_POOL = {
    "auto_pad": _STRING,
    "ceil_mode": _INT,
    "count_include_pad": _INT,
    "kernel_shape": _INTS,
    "pads": _INTS,
    "strides": _INTS,
}
_LAST = {"channels_last": _INT}
_FLOAT = OpSchema.AttrType.FLOAT

_MICROSOFT = {
    name: _schema(name, inputs, attributes, "com.microsoft")
    for name, inputs, attributes in (
        ("DequantizeLinear", (2, 3), {"axis": _INT, "block_size": _INT}),
        ("QGemm", (6, 9), {"alpha": _FLOAT, "transA": _INT, "transB": _INT}),
        ("QLinearAdd", (7, 8), {}),
        ("QLinearAveragePool", (4, 5), _POOL | _LAST),
        ("QLinearConcat", (5, 2**10), {"axis": _INT}),
        ("QLinearGlobalAveragePool", (5, 5), _LAST),
        ("QLinearLeakyRelu", (4, 5), {"alpha": _FLOAT}),
        ("QLinearMul", (7, 8), {}),
        ("QLinearSigmoid", (4, 5), {}),
        ("QLinearSoftmax", (5, 5), {"axis": _INT, "opset": _INT}),
        ("QuantizeLinear", (2, 3), {"axis": _INT, "block_size": _INT}),
    )
}
"""Ops of onnxruntime that its quantiser writes."""


def schema_of(domain: str, op: str, opset: int) -> OpSchema | None:
    """The definition of an op, in the version that ONNX's operator set ``opset`` means.

    Returns:
        None for an op that neither ONNX nor this module defines.
    """
    if domain in ("", "ai.onnx"):
        try:
            return onnx.defs.get_schema(op, opset, "")
        except onnx.defs.SchemaError:
            return _QONNX.get(op)
    if domain == "com.microsoft":
        return _MICROSOFT.get(op)
    if domain == CLASSIC_DOMAIN and op in CLASSIC:
        return onnx.defs.get_schema(op, 1, domain)
    return _QONNX.get(op) if domain in QONNX_DOMAINS else None
