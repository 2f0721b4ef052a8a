"""Tensors that remember how they were made, and their gradients.

An op is applied with :func:`apply`; the result keeps the op, the tensors that it read and the
function that pulls a gradient back to them.  :meth:`Tensor.backward` walks that graph from the
result to the variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import ops
from .errors import LutraError, ShapeError
from .memory import keep_freed_memory
from .ops import Array, Operator, Pullback, Shape
from .tensor_graph import Row, TensorGraph, op_text

Operand = npt.ArrayLike
"""What can stand beside a tensor in an expression: an array, a number or nested lists of them."""

keep_freed_memory()

_recording: ContextVar[bool] = ContextVar("recording", default=True)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """How a tensor was made: the op, what it read, and the way back for gradients."""

    op: Operator
    inputs: tuple[Tensor, ...]
    needs: tuple[bool, ...]
    pullback: Pullback


class Tensor:
    """An array that takes part in a computation.

    Args:
        data: float32 and float64 are kept, everything else becomes float32.  The array is not
            copied and must not be changed while a gradient may still be asked for.
        name: what the printed graph calls it.

    Attributes:
        data: the array.
        grad: gradient of the last :meth:`backward`, of the same shape; only a :class:`Variable`
            gets one.
        step: how it was made; None for an input.
    """

    __slots__ = ("data", "grad", "name", "step")
    __array_priority__ = 1000  # so that array + tensor is a tensor

    def __init__(self, data: Operand, name: str = "", step: Step | None = None) -> None:
        array = np.asarray(data)
        if array.dtype != np.float32 and array.dtype != np.float64:
            array = array.astype(np.float32)
        elif not isinstance(data, (np.ndarray, np.generic)):
            array = array.astype(np.float32)  # Python numbers
        self.data: Array = array
        self.name = name
        self.step = step
        self.grad: Array | None = None

    @property
    def trainable(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self.step is not None

    @property
    def shape(self) -> Shape:
        return cast(Shape, self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        name = f"{self.name}: " if self.name else ""
        return f"{type(self).__name__}({name}{self.data!r})"

    def numpy(self) -> Array:
        """The array itself."""
        return self.data

    def item(self) -> float:
        """The only value, as a Python number.

        Raises:
            ShapeError: there are several.
        """
        if self.data.size != 1:
            raise ShapeError("not a single number", found=self.shape, expected="one value")
        return float(self.data.reshape(-1)[0])

    def graph(self) -> TensorGraph:
        """The computation that led here, to print or to read."""
        order = topological(self)
        number = {id(tensor): i for i, tensor in enumerate(order)}
        rows = []
        for i, tensor in enumerate(order):
            if tensor.step is not None:
                op = op_text(tensor.step.op)
                inputs = tuple(number[id(source)] for source in tensor.step.inputs)
            else:
                op, inputs = "Variable" if isinstance(tensor, Variable) else "Input", ()
            rows.append(Row(i, op, tensor.name, inputs, tensor.shape))
        return TensorGraph(tuple(rows))

    def backward(self, grad: Operand | None = None) -> None:
        """Compute the gradient of this tensor for every variable that it depends on.

        Each variable's ``grad`` is replaced, not added to.

        Args:
            grad: gradient of this tensor, of its shape; 1 by default, if it is a single number.

        Raises:
            ShapeError: no ``grad`` for a tensor of several numbers, or one of the wrong shape.
            LutraError: the tensor depends on no variable.
        """
        if not self.trainable:
            raise LutraError(
                "there is nothing to differentiate: the tensor depends on no variable",
                remedy="Compute it from a Variable, outside no_grad()",
            )
        seed = np.asarray(1 if grad is None else grad, self.data.dtype)
        if seed.shape != self.shape and (grad is not None or self.data.size != 1):
            raise ShapeError(
                "backward needs a gradient of the tensor's shape",
                found=seed.shape,
                expected=self.shape,
                remedy="Reduce the tensor to one number first, for example with .mean()",
            )
        _propagate(self, seed.reshape(self.shape))

    # Arithmetic ---------------------------------------------------------------------------------

    def __add__(self, other: Tensor | Operand) -> Tensor:
        return apply(ops.Add(), self, self._lift(other))

    def __radd__(self, other: Operand) -> Tensor:
        return apply(ops.Add(), self._lift(other), self)

    def __sub__(self, other: Tensor | Operand) -> Tensor:
        return apply(ops.Sub(), self, self._lift(other))

    def __rsub__(self, other: Operand) -> Tensor:
        return apply(ops.Sub(), self._lift(other), self)

    def __mul__(self, other: Tensor | Operand) -> Tensor:
        return apply(ops.Mul(), self, self._lift(other))

    def __rmul__(self, other: Operand) -> Tensor:
        return apply(ops.Mul(), self._lift(other), self)

    def __truediv__(self, other: Tensor | Operand) -> Tensor:
        return apply(ops.Div(), self, self._lift(other))

    def __rtruediv__(self, other: Operand) -> Tensor:
        return apply(ops.Div(), self._lift(other), self)

    def __matmul__(self, other: Tensor | Operand) -> Tensor:
        return apply(ops.MatMul(), self, self._lift(other))

    def __rmatmul__(self, other: Operand) -> Tensor:
        return apply(ops.MatMul(), self._lift(other), self)

    def __neg__(self) -> Tensor:
        return apply(ops.Neg(), self)

    def __pow__(self, exponent: float) -> Tensor:
        return apply(ops.Power(exponent), self)

    def abs(self) -> Tensor:
        return apply(ops.Abs(), self)

    def exp(self) -> Tensor:
        return apply(ops.Exp(), self)

    def log(self) -> Tensor:
        """Natural logarithm."""
        return apply(ops.Log(), self)

    def sum(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over the given axes, over all by default."""
        return apply(ops.Sum(_axes(axis), keepdims), self)

    def mean(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """The mean over the given axes, over all by default."""
        return apply(ops.Mean(_axes(axis), keepdims), self)

    def relu(self) -> Tensor:
        return apply(ops.Relu(), self)

    def leaky_relu(self, slope: float = 0.01) -> Tensor:
        return apply(ops.LeakyRelu(slope), self)

    def gelu(self) -> Tensor:
        return apply(ops.Gelu(), self)

    def silu(self) -> Tensor:
        """``x · sigmoid(x)``."""
        return apply(ops.Silu(), self)

    def softplus(self) -> Tensor:
        """``log(1 + exp(x))``."""
        return apply(ops.Softplus(), self)

    def sigmoid(self) -> Tensor:
        return apply(ops.Sigmoid(), self)

    def tanh(self) -> Tensor:
        return apply(ops.Tanh(), self)

    def softmax(self) -> Tensor:
        """Softmax over the last axis."""
        return apply(ops.Softmax(), self)

    def log_softmax(self) -> Tensor:
        """The logarithm of the softmax over the last axis."""
        return apply(ops.LogSoftmax(), self)

    def flatten(self) -> Tensor:
        """All axes but the first in one."""
        return apply(ops.Flatten(), self)

    def reshape(self, *shape: int) -> Tensor:
        """The same values in another shape; one size may be -1."""
        return apply(ops.View(shape), self)

    def _lift(self, other: Tensor | Operand) -> Tensor:
        """``other`` as a tensor; numbers and constants take this tensor's type."""
        return other if isinstance(other, Tensor) else Tensor(np.asarray(other, self.data.dtype))


class Variable(Tensor):
    """A tensor that training changes.

    Args:
        data: start value; copied.
        name: unique in its model; weights are stored under it.
    """

    __slots__ = ()

    def __init__(self, data: Operand, name: str = "") -> None:
        super().__init__(data, name)
        self.data = self.data.copy()

    @property
    def trainable(self) -> bool:
        return True

    def assign(self, value: Operand) -> None:
        """Write ``value`` into the variable's array.

        Raises:
            ShapeError: the shape differs.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ShapeError(
                f"'{self.name}' cannot take this value", found=array.shape, expected=self.shape
            )
        self.data[...] = array


def apply(op: Operator, *inputs: Tensor) -> Tensor:
    """Apply an op to tensors.

    Raises:
        ShapeError: the shapes do not fit the op.
    """
    arrays = [tensor.data for tensor in inputs]
    needs = tuple([tensor.trainable for tensor in inputs])
    try:
        if not (True in needs and _recording.get()):
            return Tensor(op.forward(*arrays))
        data, pullback = op.vjp(needs, *arrays)
    except ValueError as error:
        raise ShapeError(
            f"{type(op).__name__} cannot take these shapes: {error}",
            found=", ".join(str(tensor.shape) for tensor in inputs),
        ) from None
    return Tensor(data, step=Step(op, inputs, needs, pullback))


@contextmanager
def no_grad() -> Iterator[None]:
    """Inside, results do not remember how they were made: faster, and no memory is held."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def _axes(axis: int | Sequence[int] | None) -> Shape | None:
    if axis is None:
        return None
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _propagate(root: Tensor, seed: Array) -> None:
    """Give every variable above ``root`` its gradient; no recursion, so depth has no limit.

    Gradients are never added to in place: an op may hand the same array to several inputs.
    """
    grads: dict[int, Array] = {id(root): seed}
    for tensor in reversed(topological(root)):
        grad = grads.pop(id(tensor), None)
        if tensor.step is None:
            if isinstance(tensor, Variable):
                tensor.grad = grad
            continue
        assert grad is not None
        step = tensor.step
        for source, needed, part in zip(step.inputs, step.needs, step.pullback(grad), strict=False):
            if needed and part is not None:
                key = id(source)
                grads[key] = grads[key] + part if key in grads else part


def topological(root: Tensor) -> list[Tensor]:
    """``root`` and all that it was made from, each once, every tensor after its inputs."""
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(root, False)]
    while stack:
        tensor, ready = stack.pop()
        if ready:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            if tensor.step is not None:
                stack.extend((source, False) for source in reversed(tensor.step.inputs))
    return order
