"""ONNX's normalisations, and the mean over space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import ShapeError
from ...ops import Add, BatchNorm, LayerNorm, Mul, Power, RmsNorm, Shape, Sub
from ..aligned import own_shape
from ..call import Call
from ..layout import channels_first
from ..steps import Steps, rows_of
from ..values import Activation, Builder, RefusedError, Value
from .reduce import mean


def batch_norm(builder: Builder, call: Call) -> Value:
    """The form for inference, over the axis behind the batch."""
    x = call.data()
    sources = [call.weight(i) for i in range(1, 5)]
    _expect_sizes([source.array.shape for source in sources], (x.shape or (0,))[0])
    weights = tuple(builder.weight(source, "vector", lambda v: v) for source in sources)
    op = BatchNorm(call.number("epsilon", BatchNorm().epsilon))
    last = channels_first(len(x.shape))
    return builder.between(op, last, x, call.name, call.output, weights)


def layer_norm(builder: Builder, call: Call) -> tuple[Value, ...]:
    """From one axis on, which are one row; the mean and the inverse deviation if they are read."""
    x, axes = _normalised(call)
    steps = Steps(builder, call)
    rows = rows_of(steps, x, axes)
    epsilon = call.number("epsilon", LayerNorm().epsilon)
    scale = _row(builder, call, 1, x, axes)
    offset = None if call.value(2) is None else _row(builder, call, 2, x, axes)
    plain = scale is None or (offset is None and call.value(2) is not None)
    if scale is None or plain:
        scale = steps.weight("factor", np.ones(rows.shape[-1], np.float32))
    if offset is None or plain:
        offset = steps.weight("addend", np.zeros(rows.shape[-1], np.float32))
    y = steps.reshaped(steps.apply(LayerNorm(epsilon), rows, scale, offset), x.shape)
    if plain:
        y = _scaled(steps, y)
    further = _statistics(steps, x, axes, epsilon) if any(call.used[1:]) else ()
    return (steps.done(y), *further)


def _statistics(
    steps: Steps, x: Activation, axes: Sequence[int], epsilon: float
) -> tuple[Value, Value]:
    """LayerNormalization's Mean and InvStdDev."""
    middle = mean(steps, x, axes)
    centred = steps.apply(Sub(), x, middle)
    variance = mean(steps, steps.apply(Mul(), centred, centred), axes)
    least = steps.weight("epsilon", np.full((1,) * len(x.shape), epsilon, np.float32))
    return middle, steps.apply(Power(-0.5), steps.apply(Add(), variance, least))


def rms_norm(builder: Builder, call: Call) -> Value:
    """From one axis on, which are one row."""
    x, axes = _normalised(call)
    steps = Steps(builder, call)
    rows = rows_of(steps, x, axes)
    scale = _row(builder, call, 1, x, axes)
    factor = scale or steps.weight("factor", np.ones(rows.shape[-1], np.float32))
    op = RmsNorm(call.number("epsilon", RmsNorm().epsilon))
    y = steps.reshaped(steps.apply(op, rows, factor), x.shape)
    return steps.done(y if scale else _scaled(steps, y))


def _normalised(call: Call) -> tuple[Activation, Sequence[int]]:
    """The data, and those of our axes that are normalised together, the last ones."""
    x = call.data(anywhere=True, merged=True)
    first = call.axis(x, call.get("axis", -1))
    if x.batch is not None and x.batch > call.get("axis", -1) % x.rank:
        raise RefusedError("is over the batch")
    return x, range(first, len(x.shape))


def _row(
    builder: Builder, call: Call, index: int, x: Activation, axes: Sequence[int]
) -> str | None:
    """A weight with one number for each value of a row; None where it has another shape."""
    source = call.weight(index)
    wanted = tuple(x.shape[axis] for axis in axes)
    sizes = source.array.shape
    if len(sizes) > len(wanted) and set(sizes[: -len(wanted)]) == {1}:
        sizes = sizes[-len(wanted) :]
    if sizes != wanted:
        return None
    return builder.weight(source, "vector", lambda v: v.reshape(-1))


def _scaled(steps: Steps, y: Activation) -> Activation:
    """A factor and an addend of any shape that can be broadcast."""
    call = steps.call
    for index, op in ((1, Mul()), (2, Add())):
        if call.value(index) is None:
            continue
        source = call.weight(index)
        shape = own_shape(source, y)
        if shape is None or any(n not in (1, m) for n, m in zip(shape, y.shape, strict=True)):
            raise ShapeError(
                "weights do not fit the data", found=source.array.shape, expected=y.shape
            )
        y = steps.apply(op, y, steps.shaped(source, shape))
    return y


def _expect_sizes(shapes: list[Shape], size: int) -> None:
    if any(shape != (size,) for shape in shapes):
        raise ShapeError("weights do not fit the data", found=shapes, expected=(size,))


def global_average_pool(builder: Builder, call: Call) -> Value:
    x = call.data()
    if len(x.shape) < 2:
        raise RefusedError("has 0 spatial axes; supported: 1 and more")
    steps = Steps(builder, call)
    return steps.done(mean(steps, x, range(1, len(x.shape))))
