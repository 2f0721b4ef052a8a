"""Symbols, and the layers that are called on them.

A symbol is a value of a network that is being described.  A layer is a frozen description; called
on symbols it gives the symbol of its result.  Nothing is computed and no weight exists before
:class:`lutra.frontend.model.Model` makes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .. import ops
from ..errors import LutraError, ModelError, ShapeError
from ..graph import expect_small
from ..initialisers import Initialiser
from ..ops import Shape
from ..tensor import Operand, Tensor

Role = Literal["trained", "state", "constant"]
"""Changed by the optimiser; changed by training in another way, such as a running mean; or part of
the layer's description.  The first two are saved with a model."""


@dataclass(frozen=True)
class Weight:
    """A tensor of a layer's own.

    Attributes:
        shape: its shape.
        initialiser: its start values; None: He's before a ReLU, else Xavier's.
        role: who changes it.
    """

    shape: Shape
    initialiser: Initialiser | None = None
    role: Role = "trained"


class State(Tensor):
    """A tensor that training changes, but not by its gradient; saved with the trained ones."""

    __slots__ = ()

    def assign(self, value: Operand) -> None:
        """Take up another value of the same shape."""
        self.data = np.array(value, self.dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Scope:
    """One use of a composite; the names of the layers within begin with its name.

    Attributes:
        prefix: how its name in a model begins.
        name: its name, if it was given one.
    """

    prefix: str
    name: str | None


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value of a network that is being described.

    Attributes:
        shape: without the batch axis, channels last.
        layer: what makes it; None for the network's input.
        inputs: what the layer reads.
        name: the layer's name within its scope, if it was given one.
        scope: the composites that the layer is part of, from the outermost.
    """

    shape: Shape
    layer: Layer | None = None
    inputs: tuple[Symbol, ...] = ()
    name: str | None = None
    scope: tuple[Scope, ...] = ()

    def __repr__(self) -> str:
        return f"Symbol({self.layer or 'Input'}, shape {self.shape})"


Block = Callable[[Symbol], Symbol]
"""A layer, a composite, or any function of a symbol: what can stand in a sequence."""

_scope: ContextVar[tuple[Scope, ...]] = ContextVar("scope", default=())


def Input(shape: Sequence[int]) -> Symbol:  # noqa: N802 - reads like the layers that follow it
    """The input of a network: samples of ``shape``, without the batch axis, channels last."""
    return Symbol(tuple(shape))


def _expect_sizes(what: str, shape: Sequence[int]) -> None:
    """Raise a ShapeError unless a value of this shape, without the batch, can be."""
    if not shape or not all(isinstance(n, int | np.integer) and n >= 1 for n in shape):
        raise ShapeError(
            f"{what} has an impossible shape", found=shape, expected="whole sizes of at least 1"
        )
    expect_small(tuple(shape))


def chain(blocks: Iterable[Block], symbol: Symbol) -> Symbol:
    """The blocks one after the other."""
    for block in blocks:
        if not callable(block):
            raise ModelError("this is no layer", found=block, expected="layers, or functions")
        symbol = block(symbol)
    return symbol


class Layer:
    """What all layers have; each is a frozen dataclass.

    Attributes:
        prefix: how its name in a model begins.
        fewest, most: how many symbols it can be called on.
        differs: whether training computes something else than the op; see :meth:`train`.
    """

    prefix: ClassVar[str] = "layer"
    fewest: ClassVar[int] = 1
    most: ClassVar[int] = 1
    differs: ClassVar[bool] = False

    def op(self, *shapes: Shape) -> ops.Op | ops.Dropout:
        """The op for inputs of these shapes, without the batch axis."""
        raise NotImplementedError

    def weights(self, *shapes: Shape) -> Mapping[str, Weight]:
        """The layer's own tensors for inputs of these shapes, in the op's order."""
        return {}

    def train(
        self,
        op: ops.Op | ops.Dropout,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        generator: np.random.Generator,
    ) -> Tensor:
        """The result in training, if it :attr:`differs`.

        Args:
            op: the layer's op.
            inputs: what the layer reads.
            weights: its own tensors, in the op's order.
            generator: where chance comes from.
        """
        raise NotImplementedError

    def __call__(self, *inputs: Symbol, name: str | None = None) -> Symbol:
        """The result for these inputs.

        Args:
            inputs: what the layer reads.
            name: its name in the model, or in the composite that it is part of; by default its
                prefix and a number.

        Raises:
            ShapeError: the inputs do not fit; the error names the layer.
        """
        place = Symbol((), self, inputs, name, _scope.get())
        try:
            _check_call(self, inputs, name)
            shapes = [symbol.shape for symbol in inputs]
            for source in shapes:
                _expect_sizes("the input", source)
            own = [weight.shape for weight in self.weights(*shapes).values()]
            for weight in own:
                expect_small(weight)
            shape = self.op(*shapes).infer(*shapes, *own)
            _expect_sizes("the result", shape)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"the layer's settings are wrong: {error}",
                node=names(topological(place))[place],
                found=self,
            ) from error
        except LutraError as error:
            error.node = error.node or names(topological(place))[place]
            raise
        return Symbol(shape, self, inputs, name, place.scope)


class Composite:
    """Layers that stand as one; each is a frozen dataclass with a :meth:`build`.

    Attributes:
        prefix: how its name in a model begins; the names of its layers begin with that name.
        fewest, most: how many symbols it can be called on.
    """

    prefix: ClassVar[str]
    fewest: ClassVar[int] = 1
    most: ClassVar[int] = 1

    def build(self, *inputs: Symbol) -> Symbol:
        """The result, made by calling layers on the inputs."""
        raise NotImplementedError

    def __call__(self, *inputs: Symbol, name: str | None = None) -> Symbol:
        """The result for these inputs; ``name`` as for a layer.

        Raises:
            ShapeError: the inputs do not fit; the error names the layer within.
        """
        token = _scope.set((*_scope.get(), Scope(self.prefix, name)))
        try:
            _check_call(self, inputs, name)
            return self.build(*inputs)
        except LutraError as error:
            if error.node is None:
                inside = Symbol((), Layer(), inputs, "inside", _scope.get())
                error.node = names(topological(inside))[inside].removesuffix(".inside")
            raise
        finally:
            _scope.reset(token)


def _check_call(what: Layer | Composite, inputs: tuple[Symbol, ...], name: str | None) -> None:
    if not what.fewest <= len(inputs) <= what.most:
        raise ShapeError(
            f"{type(what).__name__} is called on the wrong number of values",
            found=len(inputs),
            expected=f"{what.fewest}" if what.fewest == what.most else f"{what.fewest} or more",
        )
    if name is not None and (not name.isidentifier() or name in ("x", "y")):
        raise ModelError(
            "a layer cannot have this name",
            found=name,
            expected="letters, digits and underscores; x and y are the network's input and output",
        )


def topological(output: Symbol) -> list[Symbol]:
    """``output`` and all that it is made from, each once, every symbol after its inputs."""
    order: list[Symbol] = []
    seen: set[Symbol] = set()
    stack = [(output, False)]
    while stack:
        symbol, ready = stack.pop()
        if ready:
            order.append(symbol)
        elif symbol not in seen:
            seen.add(symbol)
            stack.append((symbol, True))
            stack.extend((source, False) for source in reversed(symbol.inputs))
    return order


def names(order: Iterable[Symbol]) -> dict[Symbol, str]:
    """The layers' names in a model: ``conv1``, ``dense2``, ``attention1.query``.

    Raises:
        ModelError: two have the same name.
    """
    count: Counter[str] = Counter()
    scopes: dict[Scope, str] = {}
    result: dict[Symbol, str] = {}
    taken: set[str] = set()

    def numbered(path: str, prefix: str, given: str | None) -> str:
        if given is None:
            count[path + prefix] += 1
            given = f"{prefix}{count[path + prefix]}"
        name = path + given
        if name in taken:
            raise ModelError(f"two layers are named '{name}'", expected="each name once")
        taken.add(name)
        return name

    for symbol in order:
        if symbol.layer is None:
            continue
        path = ""
        for scope in symbol.scope:
            if scope not in scopes:
                scopes[scope] = numbered(path, scope.prefix, scope.name)
            path = f"{scopes[scope]}."
        result[symbol] = numbered(path, symbol.layer.prefix, symbol.name)
    return result


def positive(what: str, value: int) -> None:
    """Raise a :class:`ShapeError` unless ``value`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ShapeError(f"{what} must be at least 1, and a whole number", found=value)


def probability(what: str, value: float) -> None:
    """Raise a :class:`LutraError` unless ``0 <= value < 1``."""
    if not 0 <= value < 1:
        raise LutraError(f"{what} is a probability", found=value, expected=f"0 <= {what} < 1")
