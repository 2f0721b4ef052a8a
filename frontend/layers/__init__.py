"""Layers: what a network is described with.

A layer is a frozen description; :class:`lutra.frontend.model.Model` gives it weights.  Layouts are
channels last: ``(batch, height, width, channels)``, ``(batch, length, channels)`` or
``(batch, features)``.
"""

from .activations import (
    ELU,
    GELU,
    SELU,
    Activation,
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .base import Block, Composite, Input, Layer, Symbol, Weight, chain
from .convolution import (
    Conv1D,
    Conv2D,
    ConvTranspose1D,
    ConvTranspose2D,
    DepthwiseConv1D,
    DepthwiseConv2D,
    Padding,
    Size,
)
from .dense import Dense, Dropout
from .joining import Add, Concat, MatMul, Multiply, PositionalEmbedding, Scale, Subtract
from .pooling import AveragePool1D, AveragePool2D, GlobalAveragePool, MaxPool1D, MaxPool2D
from .shaping import Flatten, Pad, Reshape, Slice, Transpose, Upsample

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Add",
    "AveragePool1D",
    "AveragePool2D",
    "Block",
    "Clip",
    "Composite",
    "Concat",
    "Conv1D",
    "Conv2D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Input",
    "Layer",
    "LeakyReLU",
    "LogSoftmax",
    "MatMul",
    "MaxPool1D",
    "MaxPool2D",
    "Multiply",
    "PReLU",
    "Pad",
    "Padding",
    "PositionalEmbedding",
    "ReLU",
    "Reshape",
    "Scale",
    "SiLU",
    "Sigmoid",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Subtract",
    "Symbol",
    "Tanh",
    "Transpose",
    "Upsample",
    "Weight",
    "chain",
]
