"""ONNX's normalisations, and the mean over space."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..ops import BatchNorm, GlobalAveragePool, LayerNorm, RmsNorm, Shape
from .call import Call
from .layout import channels_first
from .values import Activation, Builder, RefusedError, Value


def batch_norm(builder: Builder, call: Call) -> Value:
    """The form for inference, over the axis behind the batch."""
    x = call.data()
    sources = [call.weight(i) for i in range(1, 5)]
    _expect_sizes([source.array.shape for source in sources], (x.shape or (0,))[0])
    weights = tuple(builder.weight(source, "vector", lambda v: v) for source in sources)
    op = BatchNorm(call.number("epsilon", BatchNorm().epsilon))
    last = channels_first(len(x.shape))
    return builder.between(op, last, x, call.name, call.output, weights)


def layer_norm(builder: Builder, call: Call) -> Value:
    x = _over_last(call)
    scale = call.weight(1)
    sources = [scale] if call.value(2) is None else [scale, call.weight(2)]
    _expect_sizes([source.array.shape for source in sources], x.shape[-1])
    weights = [builder.weight(source, "vector", lambda v: v) for source in sources]
    if len(weights) == 1:
        weights.append(builder.add_weight(f"{scale.name}_offset", np.zeros_like(scale.array)))
    op = LayerNorm(call.number("epsilon", LayerNorm().epsilon))
    return builder.emit(op, (x.id, *weights), call.name, call.output, like=x)


def rms_norm(builder: Builder, call: Call) -> Value:
    x, scale = _over_last(call), call.weight(1)
    _expect_sizes([scale.array.shape], x.shape[-1])
    weight = builder.weight(scale, "vector", lambda v: v)
    op = RmsNorm(call.number("epsilon", RmsNorm().epsilon))
    return builder.emit(op, (x.id, weight), call.name, call.output, like=x)


def _over_last(call: Call) -> Activation:
    x = call.data(anywhere=True, merged=True)
    if call.axis(x, call.get("axis", -1)) != len(x.shape) - 1 or x.batch == x.rank - 1:
        raise RefusedError(f"attribute 'axis' is {call.get('axis', -1)}; supported: the last")
    return x


def _expect_sizes(shapes: list[Shape], size: int) -> None:
    if any(shape != (size,) for shape in shapes):
        raise ShapeError("weights do not fit the data", found=shapes, expected=(size,))


def global_average_pool(builder: Builder, call: Call) -> Value:
    x = call.data()
    if len(x.shape) not in (2, 3):
        raise RefusedError(f"has {len(x.shape) - 1} spatial axes; supported: 1 and 2")
    last = channels_first(len(x.shape))
    return builder.between(GlobalAveragePool(), last, x, call.name, call.output)
