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
from .attention import (
    AdditiveAttention,
    Mask,
    MultiHeadAttention,
    MultiplicativeAttention,
    SoftAttentionPooling,
)
from .base import Block, Composite, Input, Layer, Symbol, Weight, chain
from .blocks import Residual, TransformerEncoder
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
from .normalisation import BatchNorm, LayerNorm, RmsNorm
from .pooling import AveragePool1D, AveragePool2D, GlobalAveragePool, MaxPool1D, MaxPool2D
from .recurrent import GRU, LSTM, Bidirectional, SimpleRNN
from .shaping import Flatten, Pad, Reshape, Slice, Transpose, Upsample

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "SELU",
    "Activation",
    "Add",
    "AdditiveAttention",
    "AveragePool1D",
    "AveragePool2D",
    "BatchNorm",
    "Bidirectional",
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
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "Mask",
    "MatMul",
    "MaxPool1D",
    "MaxPool2D",
    "MultiHeadAttention",
    "MultiplicativeAttention",
    "Multiply",
    "PReLU",
    "Pad",
    "Padding",
    "PositionalEmbedding",
    "ReLU",
    "Reshape",
    "Residual",
    "RmsNorm",
    "Scale",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Size",
    "Slice",
    "SoftAttentionPooling",
    "Softmax",
    "Softplus",
    "Subtract",
    "Symbol",
    "Tanh",
    "TransformerEncoder",
    "Transpose",
    "Upsample",
    "Weight",
    "chain",
]
