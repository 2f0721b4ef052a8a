"""The closed set of ops.  An op that is not in :data:`Op` does not exist for any later stage."""

from __future__ import annotations

from .activation import Clip, HardSigmoid, HardSwish, LeakyRelu, PRelu, Relu, ThresholdedRelu
from .arithmetic import Add, Div, MatMul, Maximum, Minimum, Mul, ReduceMax, ReduceSum, Sub
from .base import Array, Computable, Operator, Pullback, Shape
from .conv import Conv
from .conv_transpose import ConvTranspose
from .dense import Dense
from .dropout import Dropout
from .elementwise import Abs, Cos, Erf, Exp, Log, Neg, Power, Sin
from .gru import Gru
from .losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from .lstm import Lstm
from .normalisation import BatchNorm, BatchNormTraining, LayerNorm, RmsNorm, batch_statistics
from .pool import AveragePool, GlobalAveragePool, MaxPool, SumPool
from .quantization import Bipolar, Quantize, Round
from .rearrange import Concat, Pad, Slice, Upsample
from .recurrent import SimpleRnn
from .reduction import Mean, Sum
from .shape import Flatten, Reshape, Transpose, View
from .smooth import Celu, Elu, Gelu, Mish, Selu, Sigmoid, Silu, Softplus, Softsign, Tanh
from .softmax import LogSoftmax, Softmax
from .window import Window

Op = (
    Dense
    | Conv
    | ConvTranspose
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Add
    | Sub
    | Mul
    | Div
    | Maximum
    | Minimum
    | MatMul
    | BatchNorm
    | LayerNorm
    | RmsNorm
    | Relu
    | LeakyRelu
    | PRelu
    | ThresholdedRelu
    | Clip
    | Abs
    | Neg
    | HardSigmoid
    | HardSwish
    | Sigmoid
    | Tanh
    | Elu
    | Selu
    | Gelu
    | Silu
    | Softplus
    | Softsign
    | Mish
    | Celu
    | Exp
    | Log
    | Power
    | Erf
    | Sin
    | Cos
    | Softmax
    | LogSoftmax
    | Flatten
    | Reshape
    | Transpose
    | Slice
    | Pad
    | Upsample
    | Concat
    | Quantize
    | Bipolar
    | SimpleRnn
    | Lstm
    | Gru
)
"""Ops of a float graph: what a network can be made of."""

__all__ = [
    "Abs",
    "Add",
    "Array",
    "AveragePool",
    "BatchNorm",
    "BatchNormTraining",
    "Bipolar",
    "Celu",
    "Clip",
    "Computable",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Dense",
    "Div",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Gelu",
    "GlobalAveragePool",
    "Gru",
    "HardSigmoid",
    "HardSwish",
    "LayerNorm",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Lstm",
    "MatMul",
    "MaxPool",
    "Maximum",
    "Mean",
    "Minimum",
    "Mish",
    "Mul",
    "Neg",
    "Op",
    "Operator",
    "PRelu",
    "Pad",
    "Power",
    "Pullback",
    "Quantize",
    "ReduceMax",
    "ReduceSum",
    "Relu",
    "Reshape",
    "RmsNorm",
    "Round",
    "Selu",
    "Shape",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Silu",
    "SimpleRnn",
    "Sin",
    "Slice",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Softsign",
    "SquaredError",
    "Sub",
    "Sum",
    "SumPool",
    "Tanh",
    "ThresholdedRelu",
    "Transpose",
    "Upsample",
    "View",
    "Window",
    "batch_statistics",
]
