"""The closed set of ops.  An op that is not in :data:`Op` does not exist for any later stage."""

from __future__ import annotations

from .activation import Relu, Sigmoid, Softmax, Tanh
from .arithmetic import Add, Mul, ReduceMax, ReduceSum, Sub
from .base import Array, Operator, Pullback, Shape
from .conv import Conv
from .dense import Dense
from .dropout import Dropout
from .pool import AveragePool, GlobalAveragePool, MaxPool, SumPool
from .shape import Flatten, Transpose
from .window import Window

Op = (
    Dense
    | Conv
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Relu
    | Sigmoid
    | Tanh
    | Softmax
    | Flatten
    | Transpose
)
"""Ops of a float graph: what a network can be made of."""

__all__ = [
    "Add",
    "Array",
    "AveragePool",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "MaxPool",
    "Mul",
    "Op",
    "Operator",
    "Pullback",
    "ReduceMax",
    "ReduceSum",
    "Relu",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Sub",
    "SumPool",
    "Tanh",
    "Transpose",
    "Window",
]
