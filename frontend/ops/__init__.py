"""The closed set of ops.  An op that is not in :data:`Op` does not exist for any later stage."""

from __future__ import annotations

from .activation import Relu, Sigmoid, Softmax, Tanh
from .arithmetic import Add, Div, MatMul, Mul, ReduceMax, ReduceSum, Sub
from .base import Array, Computable, Operator, Pullback, Shape
from .conv import Conv
from .conv_transpose import ConvTranspose
from .dense import Dense
from .dropout import Dropout
from .elementwise import Abs, Exp, Log, Neg, Power
from .losses import SoftmaxCrossEntropy, SquaredError
from .pool import AveragePool, GlobalAveragePool, MaxPool, SumPool
from .rearrange import Concat, Pad, Slice, Upsample
from .reduction import Mean, Sum
from .shape import Flatten, Reshape, Transpose, View
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
    | MatMul
    | Relu
    | Sigmoid
    | Tanh
    | Softmax
    | Flatten
    | Reshape
    | Transpose
    | Slice
    | Pad
    | Upsample
    | Concat
)
"""Ops of a float graph: what a network can be made of."""

__all__ = [
    "Abs",
    "Add",
    "Array",
    "AveragePool",
    "Computable",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Div",
    "Dropout",
    "Exp",
    "Flatten",
    "GlobalAveragePool",
    "Log",
    "MatMul",
    "MaxPool",
    "Mean",
    "Mul",
    "Neg",
    "Op",
    "Operator",
    "Pad",
    "Power",
    "Pullback",
    "ReduceMax",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "Sub",
    "Sum",
    "SumPool",
    "Tanh",
    "Transpose",
    "Upsample",
    "View",
    "Window",
]
