"""Which ONNX ops are understood, and by which translator.  What is not in :data:`FORMS` is refused.

A translator says literally what ONNX says: where our op wants other axes, it stands between two
Transposes, which the passes remove.  Anything that it does not know to be exact it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...ops import HardSwish, LogSoftmax, Mul, Relu, Sigmoid, Softmax, Softplus, Sub, Tanh
from ..call import Form, anything, constant_node, only
from . import (
    attention,
    codes,
    einsum,
    functions,
    qlinear,
    quantised,
    reduce,
    resize,
    select,
    sequence,
    statistics,
    where,
)
from .activation import (
    always,
    clip,
    dropout,
    elementwise,
    elu,
    gelu,
    hard_sigmoid,
    identity,
    leaky_relu,
    prelu,
    selu,
    softmax,
)
from .arithmetic import add, binary
from .classic import FORMS as CLASSIC_FORMS
from .gemm import gemm
from .linear import conv, conv_transpose, matmul
from .normalisation import (
    batch_norm,
    global_average_pool,
    layer_norm,
    rms_norm,
)
from .rearrange import concat, pad, slice_, split
from .recurrent import absent, gru, lstm, rnn
from .reshape import flatten, reshape, squeeze, transpose, unsqueeze
from .shape import cast, cast_like, constant_of_shape, shape_of, size_of
from .window import average_pool, max_pool

_WINDOW = {
    "auto_pad": anything,
    "dilations": anything,
    "kernel_shape": anything,
    "pads": anything,
    "strides": anything,
}
_POOL = _WINDOW | {"ceil_mode": anything}
_CONV = _WINDOW | {"group": anything}
_CONSTANT = ("value", "value_float", "value_floats", "value_int", "value_ints")
_NORM = {"axis": anything, "epsilon": anything, "stash_type": only(1)}
_RECURRENT = {
    "activation_alpha": absent("use the plain activations"),
    "activation_beta": absent("use the plain activations"),
    "activations": anything,
    "clip": absent("train and export without it"),
    "direction": anything,
    "hidden_size": anything,
    "layout": only(0, 1),
}

FORMS: Mapping[str, Form] = {
    "Add": Form(14, add, {}),
    "AveragePool": Form(22, average_pool, _POOL | {"count_include_pad": anything}),
    "BatchNormalization": Form(
        15,
        batch_norm,
        {"epsilon": anything, "momentum": anything, "spatial": only(1), "training_mode": only(0)},
        extra_outputs=True,
    ),
    "Cast": Form(
        28, cast, {"round_mode": anything, "saturate": anything, "to": anything}, codes=True
    ),
    "CastLike": Form(25, cast_like, {"round_mode": anything, "saturate": anything}),
    "Clip": Form(13, elementwise(clip), {"max": anything, "min": anything}),
    "Concat": Form(13, concat, {"axis": anything}),
    "Constant": Form(25, constant_node, dict.fromkeys(_CONSTANT, anything)),
    "ConstantOfShape": Form(25, constant_of_shape, {"value": anything}),
    "Conv": Form(22, conv, _CONV),
    "ConvTranspose": Form(
        22, conv_transpose, _CONV | {"output_padding": anything, "output_shape": anything}
    ),
    "Dropout": Form(22, dropout, {"ratio": anything, "seed": anything}, extra_outputs=True),
    "Elu": Form(22, elementwise(elu), {"alpha": anything}),
    "Flatten": Form(25, flatten, {"axis": anything}),
    "GRU": Form(22, gru, _RECURRENT | {"linear_before_reset": only(0, 1)}, outputs=2),
    "Gelu": Form(20, elementwise(gelu), {"approximate": only("none", "tanh")}),
    "Gemm": Form(
        13,
        gemm,
        {"alpha": anything, "beta": anything, "transA": anything, "transB": anything},
    ),
    "GlobalAveragePool": Form(22, global_average_pool, {}),
    "HardSigmoid": Form(22, elementwise(hard_sigmoid), {"alpha": anything, "beta": anything}),
    "HardSwish": Form(22, always(HardSwish()), {}),
    "Identity": Form(25, identity, {}),
    "LSTM": Form(22, lstm, _RECURRENT | {"input_forget": only(0)}, outputs=3),
    "LayerNormalization": Form(17, layer_norm, _NORM, outputs=3),
    "LeakyRelu": Form(16, elementwise(leaky_relu), {"alpha": anything}),
    "LogSoftmax": Form(13, softmax(LogSoftmax()), {"axis": anything}),
    "MatMul": Form(13, matmul, {}),
    "MaxPool": Form(22, max_pool, _POOL | {"storage_order": only(0)}, extra_outputs=True),
    "Mul": Form(14, binary(Mul()), {}),
    "PRelu": Form(16, prelu, {}),
    "Pad": Form(
        25,
        pad,
        {"mode": only("constant", "reflect", "edge", "wrap"), "pads": anything, "value": anything},
    ),
    "RMSNormalization": Form(23, rms_norm, _NORM),
    "RNN": Form(22, rnn, _RECURRENT, outputs=2),
    "Relu": Form(14, always(Relu()), {}),
    "Reshape": Form(25, reshape, {"allowzero": only(0, 1)}),
    "Selu": Form(22, elementwise(selu), {"alpha": anything, "gamma": anything}),
    "Size": Form(25, size_of, {}),
    "Shape": Form(25, shape_of, {"end": anything, "start": anything}),
    "Sigmoid": Form(13, always(Sigmoid()), {}),
    "Slice": Form(13, slice_, {"axes": anything, "ends": anything, "starts": anything}),
    "Softmax": Form(13, softmax(Softmax()), {"axis": anything}),
    "Softplus": Form(22, always(Softplus()), {}),
    "Split": Form(
        18, split, {"axis": anything, "num_outputs": anything, "split": anything}, outputs=None
    ),
    "Squeeze": Form(25, squeeze, {"axes": anything}),
    "Sub": Form(14, binary(Sub()), {}),
    "Tanh": Form(13, always(Tanh()), {}),
    "Transpose": Form(25, transpose, {"perm": anything}),
    "Unsqueeze": Form(25, unsqueeze, {"axes": anything}),
    **attention.FORMS,
    **einsum.FORMS,
    **functions.FORMS,
    **codes.FORMS,
    **qlinear.FORMS,
    **quantised.ROUNDING_FORMS,
    **reduce.FORMS,
    **resize.FORMS,
    **select.FORMS,
    **sequence.FORMS,
    **statistics.FORMS,
    **where.FORMS,
}
"""The ONNX ops that are understood.  The tests hold this against the onnx package."""

OTHER_FORMS: Mapping[str, Form] = {
    **quantised.FORMS,
    **qlinear.MICROSOFT_FORMS,
    **CLASSIC_FORMS,
}
"""The ops of other domains that are understood."""
