"""A model: layers with their weights.

Layers in sequence are a list; any other network without cycles is described by calling layers on
symbols, from one ``Input`` to the output::

    from lutra.frontend.layers import Add, Conv2D, Dense, Flatten, Input, ReLU
    from lutra.frontend.model import Model

    model = Model([Flatten(), Dense(32), ReLU(), Dense(10)], input_shape=(8, 8, 1), seed=0)

    x = Input((8, 8, 1))
    a = ReLU()(Conv2D(8, padding="same")(x))
    b = Conv2D(8, padding="same")(a)
    y = Dense(10)(Flatten()(Add()(a, b)), name="logits")
    model = Model.of(y, seed=0)

Every call is a layer of its own with weights of its own.  Layers are named by their kind and a
number (``conv1``, ``dense2``) or as the call says; those within a composite, such as
``MultiHeadAttention``, bear its name as well (``attention1.query``).  In a list may stand layers,
composites, and any function from symbol to symbol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from . import ops
from .errors import ModelError, ShapeError
from .graph import Graph, Node, Port
from .initialisers import He, Xavier
from .layers.activations import Activation
from .layers.base import Block, Input, Layer, State, Symbol, Weight, chain, names, topological
from .ops import Array, Op, Shape
from .tensor import Tensor, Variable, apply, no_grad


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer in its place.

    Attributes:
        name: the layer's name in the model, such as ``conv1``.
        layer: its description.
        op: the op that computes it.
        inputs: numbers of the values that it reads: 0 is the model's input, 1 the result of the
            first stage, and so on.
        weights: its own tensors, in the op's order: a :class:`Variable` if it is trained.
        shape: the output's shape, without the batch axis.
    """

    name: str
    layer: Layer
    op: Op | ops.Dropout
    inputs: tuple[int, ...]
    weights: tuple[Tensor, ...]
    shape: Shape


class Model:
    """Layers in sequence, with weights for one input shape; see :meth:`of` for other networks.

    Args:
        sequence: the layers, from input to output.
        input_shape: shape of a sample, without the batch axis, channels last.
        seed: the start weights follow from it alone.

    Attributes:
        output: the symbol of the result.
        stages: the layers in their places, each after those that it reads from.

    Raises:
        ShapeError: a layer does not fit what comes before it; the error names the layer.
    """

    def __init__(self, sequence: Sequence[Block], input_shape: Shape, seed: int = 0) -> None:
        self._set_up(chain(sequence, Input(input_shape)), seed, {})

    @staticmethod
    def of(output: Symbol, seed: int = 0) -> Model:
        """The model from the only input of ``output`` to ``output``.

        Raises:
            ModelError: there are several inputs, or two layers of the same name.
        """
        model = object.__new__(Model)
        model._set_up(output, seed, {})
        return model

    def _set_up(self, output: Symbol, seed: int, made: Mapping[Symbol, Stage]) -> None:
        """Make the stages on the way to ``output``, but for those that are made already."""
        self.output = output
        self.seed = seed
        self.generator = np.random.default_rng((seed, len(made)) if made else seed)
        """Draws the start weights, then the dropout masks when no other generator is given."""
        order = topological(output)
        inputs = [symbol for symbol in order if symbol.layer is None]
        if len(inputs) != 1:
            raise ModelError(
                "a model has one input", found=f"{len(inputs)} inputs of shapes {_shapes(inputs)}"
            )
        self.input_shape: Shape = inputs[0].shape
        symbols = [symbol for symbol in order if symbol.layer is not None]
        number = {symbol: i for i, symbol in enumerate(inputs + symbols)}
        name = names(symbols)
        rectified = _rectified(symbols)
        self._stages = {
            symbol: made.get(symbol)
            or _stage(symbol, name[symbol], number, rectified[symbol], self.generator)
            for symbol in symbols
        }
        self.stages: tuple[Stage, ...] = tuple(self._stages.values())
        last = {i: stage for stage in self.stages for i in stage.inputs}
        self._plan = [(stage, tuple(i for i in last if last[i] is stage)) for stage in self.stages]
        """The stages, each with the values that no later one reads."""

    @property
    def output_shape(self) -> Shape:
        """Shape of the output for one sample, without the batch axis."""
        return self.output.shape

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All trainable tensors, from input to output."""
        return tuple(value for value in self._saved if isinstance(value, Variable))

    @property
    def _saved(self) -> tuple[Variable | State, ...]:
        """All tensors that training changes."""
        return tuple(
            value
            for stage in self.stages
            for value in stage.weights
            if isinstance(value, Variable | State)
        )

    @property
    def weights(self) -> dict[str, Array]:
        """A copy of all that training changes, by name: variables, and running statistics."""
        return {value.name: value.data.copy() for value in self._saved}

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set all that training changes, all or none.

        Raises:
            ModelError: the names or shapes are not this model's.
        """
        self.verify(weights)
        for value in self._saved:
            value.assign(weights[value.name])

    def verify(self, weights: Mapping[str, Array]) -> None:
        """See that there is a value of the right shape for all that training changes, no other.

        Raises:
            ModelError: naming those that are wrong.
        """
        expected = {value.name: value.shape for value in self._saved}
        found = {name: value.shape for name, value in weights.items()}
        if found != expected:
            wrong = sorted(
                name
                for name in expected.keys() | found.keys()
                if expected.get(name) != found.get(name)
            )
            raise ModelError(
                "the weights are not those of this model",
                found={name: found.get(name) for name in wrong},
                expected={name: expected.get(name) for name in wrong},
            )

    def __call__(
        self,
        x: Tensor | Array,
        training: bool = False,
        generator: np.random.Generator | None = None,
    ) -> Tensor:
        """Result for a batch.

        Args:
            x: batch first, channels last.
            training: dropout is at work; batch normalisation goes by the batch, and learns.
            generator: draws the dropout masks; the model's own by default.

        Raises:
            ShapeError: the samples are not of ``input_shape``.
        """
        value = x if isinstance(x, Tensor) else Tensor(x, "x")
        if value.shape[1:] != self.input_shape or len(value.shape) == 0:
            raise ShapeError(
                "the model's input has the wrong shape",
                found=value.shape,
                expected=f"(batch, {', '.join(map(str, self.input_shape))})",
            )
        values = {0: value}
        for i, (stage, finished) in enumerate(self._plan, 1):
            reads = stage.inputs
            if training and stage.layer.differs:
                inputs = [values[number] for number in reads]
                chance = generator or self.generator
                value = stage.layer.train(stage.op, inputs, stage.weights, chance)
            elif isinstance(stage.op, ops.Dropout):
                value = values[reads[0]]
            elif len(reads) == 1:  # most layers, and a list would cost a tenth of a small one
                value = apply(stage.op, values[reads[0]], *stage.weights)
            else:
                value = apply(stage.op, *[values[number] for number in reads], *stage.weights)
            for number in finished:
                del values[number]
            values[i] = value
        return value

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """Result for any number of samples, in batches, without gradients."""
        with no_grad():
            parts = [self(x[i : i + batch_size]).data for i in range(0, max(len(x), 1), batch_size)]
        return np.concatenate(parts)

    def then(self, *more: Block) -> Model:
        """This model with layers added at its end; the weights are shared, not copied."""
        longer = object.__new__(Model)
        longer._set_up(chain(more, self.output), self.seed, self._stages)
        return longer

    def graph(self, name: str = "model") -> Graph:
        """The network for inference, from ``x`` to ``y``, with a copy of the present weights.

        Raises:
            ModelError: no layer is left without dropout, or a weight is not finite.
        """
        value = {0: "x"}
        kept: list[tuple[int, Stage]] = []
        for i, stage in enumerate(self.stages, 1):
            if isinstance(stage.op, ops.Dropout):
                value[i] = value[stage.inputs[0]]
            else:
                value[i] = stage.name
                kept.append((i, stage))
        if value[len(self.stages)] == "x":
            raise ModelError("the model has no layer to export", expected="at least one")
        value |= {i: "y" for i in value if value[i] == value[len(self.stages)]}
        nodes: list[Node[Op]] = []
        constants: dict[str, Array] = {}
        for i, stage in kept:
            assert not isinstance(stage.op, ops.Dropout)
            reads = [value[number] for number in stage.inputs]
            reads += [weight.name for weight in stage.weights]
            nodes.append(Node(stage.name, stage.op, tuple(reads), value[i]))
            for weight in stage.weights:
                constant = weight.data.astype(np.float32)
                constant.flags.writeable = False
                constants[weight.name] = constant
        ports = Port.of("x", self.input_shape), Port.of("y", self.output_shape)
        return Graph(name, ports[:1], ports[1:], tuple(nodes), constants)

    def summary(self, console: Console | None = None) -> None:
        """Print the layers with their output shapes, parameters and multiply-adds a sample.

        Args:
            console: where to; by default the standard output.
        """
        from .summary import print_summary  # which needs this module itself

        print_summary(self, console or Console())

    def describe(self) -> dict[str, object]:
        """What fixes the model before training, in plain values."""
        known = ("x", *(stage.name for stage in self.stages))
        lines = []
        for i, stage in enumerate(self.stages):
            reads = "" if stage.inputs == (i,) else f"({', '.join(known[n] for n in stage.inputs)})"
            lines.append(f"{stage.name}{reads}: {stage.layer}")
        return {
            "input shape": list(self.input_shape),
            "layers": lines,
            "model seed": self.seed,
        }


def _shapes(symbols: Sequence[Symbol]) -> str:
    return ", ".join(str(symbol.shape) for symbol in symbols)


def _stage(
    symbol: Symbol,
    name: str,
    number: Mapping[Symbol, int],
    rectified: bool,
    generator: np.random.Generator,
) -> Stage:
    """The stage of a symbol, with its start weights."""
    assert symbol.layer is not None
    shapes = [source.shape for source in symbol.inputs]
    own = {f"{name}.{key}": weight for key, weight in symbol.layer.weights(*shapes).items()}
    return Stage(
        name,
        symbol.layer,
        symbol.layer.op(*shapes),
        tuple(number[source] for source in symbol.inputs),
        tuple(_tensor(key, weight, rectified, generator) for key, weight in own.items()),
        symbol.shape,
    )


def _tensor(name: str, weight: Weight, rectified: bool, generator: np.random.Generator) -> Tensor:
    initialiser = weight.initialiser or (He() if rectified else Xavier())
    value = initialiser(weight.shape, generator)
    match weight.role:
        case "trained":
            return Variable(value, name)
        case "state":
            return State(value, name)
        case "constant":
            return Tensor(value, name)


def _rectified(symbols: Sequence[Symbol]) -> dict[Symbol, bool]:
    """Whether the first activation after each layer stops half of the signal, as a ReLU does.

    Layers without matrices lie between the two; among several ways, one is enough.
    """
    result = dict.fromkeys(symbols, False)
    for symbol in reversed(symbols):
        assert symbol.layer is not None
        if isinstance(symbol.layer, Activation):
            passes = symbol.layer.rectifies
        else:
            own = symbol.layer.weights(*(source.shape for source in symbol.inputs)).values()
            weighs = any(weight.role == "trained" and len(weight.shape) > 1 for weight in own)
            passes = result[symbol] and not weighs
        for source in symbol.inputs:
            result[source] = result.get(source, False) or passes
    return result
