"""A model: layers in sequence, with their weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import layers, ops
from .errors import LutraError, ModelError, ShapeError
from .graph import Graph, Node, Port
from .layers import Layer
from .ops import Array, Op, Shape
from .tensor import Tensor, Variable, apply, no_grad


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer in its place.

    Attributes:
        name: the layer's name in the model, such as ``conv1``.
        layer: its description.
        op: the op that computes it.
        variables: its weights, in the op's order.
        shape: the output's shape, without the batch axis.
    """

    name: str
    layer: Layer
    op: Op | ops.Dropout
    variables: tuple[Variable, ...]
    shape: Shape


class Model:
    """Layers in sequence, with weights for one input shape.

    Args:
        sequence: the layers, from input to output.
        input_shape: shape of a sample, without the batch axis, channels last.
        seed: the start weights follow from it alone.

    Raises:
        ShapeError: a layer does not fit what comes before it; the error names the layer.
    """

    def __init__(self, sequence: Sequence[Layer], input_shape: Shape, seed: int = 0) -> None:
        self.input_shape: Shape = tuple(input_shape)
        self.seed = seed
        self.generator = np.random.default_rng(seed)
        """Draws the start weights, then the dropout masks when no other generator is given."""
        self.stages: tuple[Stage, ...] = ()
        self._append(sequence)

    def _append(self, sequence: Sequence[Layer]) -> None:
        count = Counter(stage.layer.prefix for stage in self.stages)
        stages = list(self.stages)
        shape = self.output_shape
        for i, layer in enumerate(sequence):
            count[layer.prefix] += 1
            name = f"{layer.prefix}{count[layer.prefix]}"
            try:
                op = layer.op(shape)
                shapes = layer.weights(shape)
                shape = op.infer(shape, *shapes.values())
            except LutraError as error:
                error.node = error.node or name
                raise
            rectified = _next_activation(sequence[i + 1 :])
            variables = tuple(
                Variable(initial(part, rectified, self.generator), f"{name}.{key}")
                for key, part in shapes.items()
            )
            stages.append(Stage(name, layer, op, variables, shape))
        self.stages = tuple(stages)

    @property
    def output_shape(self) -> Shape:
        """Shape of the output for one sample, without the batch axis."""
        return self.stages[-1].shape if self.stages else self.input_shape

    @property
    def variables(self) -> tuple[Variable, ...]:
        """All trainable tensors, from input to output."""
        return tuple(variable for stage in self.stages for variable in stage.variables)

    @property
    def weights(self) -> dict[str, Array]:
        """A copy of every variable's value, by name."""
        return {variable.name: variable.data.copy() for variable in self.variables}

    def assign(self, weights: Mapping[str, Array]) -> None:
        """Set every variable, all or none.

        Raises:
            ModelError: the names or shapes are not this model's.
        """
        self.verify(weights)
        for variable in self.variables:
            variable.assign(weights[variable.name])

    def verify(self, weights: Mapping[str, Array]) -> None:
        """See that there is a value of the right shape for every variable, and no other.

        Raises:
            ModelError: naming those that are wrong.
        """
        expected = {variable.name: variable.shape for variable in self.variables}
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
            training: dropout is at work.
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
        for stage in self.stages:
            if not isinstance(stage.layer, layers.Dropout):
                value = apply(stage.op, value, *stage.variables)
            elif training and stage.layer.rate > 0:
                mask = dropout_mask(value, stage.layer.rate, generator or self.generator)
                value = apply(stage.op, value, Tensor(mask, f"{stage.name}.mask"))
        return value

    def predict(self, x: Array, batch_size: int = 256) -> Array:
        """Result for any number of samples, in batches, without gradients."""
        with no_grad():
            parts = [self(x[i : i + batch_size]).data for i in range(0, max(len(x), 1), batch_size)]
        return np.concatenate(parts)

    def then(self, *more: Layer) -> Model:
        """This model with layers added at its end; the weights are shared, not copied."""
        longer = Model((), self.input_shape, self.seed)
        longer.stages = self.stages
        longer._append(more)
        return longer

    def graph(self, name: str = "model") -> Graph:
        """The network for inference, from ``x`` to ``y``, with a copy of the present weights.

        Raises:
            ModelError: no layer is left without dropout, or a weight is not finite.
        """
        kept = [stage for stage in self.stages if not isinstance(stage.op, ops.Dropout)]
        if not kept:
            raise ModelError("the model has no layer to export", expected="at least one")
        nodes: list[Node[Op]] = []
        constants: dict[str, Array] = {}
        value = "x"
        for stage in kept:
            assert not isinstance(stage.op, ops.Dropout)
            output = "y" if stage is kept[-1] else stage.name
            names = tuple(variable.name for variable in stage.variables)
            nodes.append(Node(stage.name, stage.op, (value, *names), output))
            for variable in stage.variables:
                constant = variable.data.astype(np.float32)
                constant.flags.writeable = False
                constants[variable.name] = constant
            value = output
        ports = Port.of("x", self.input_shape), Port.of("y", self.output_shape)
        return Graph(name, ports[:1], ports[1:], tuple(nodes), constants)

    def describe(self) -> dict[str, object]:
        """What fixes the model before training, in plain values."""
        return {
            "input shape": list(self.input_shape),
            "layers": [f"{stage.name}: {stage.layer}" for stage in self.stages],
            "model seed": self.seed,
        }


def _next_activation(rest: Sequence[Layer]) -> bool:
    """Whether the next activation is a ReLU."""
    kinds = (layers.ReLU, layers.Sigmoid, layers.Tanh, layers.Softmax, layers.Dense, layers.Conv2D)
    first = next((layer for layer in rest if isinstance(layer, kinds)), None)
    return isinstance(first, layers.ReLU)


def initial(shape: Shape, rectified: bool, generator: np.random.Generator) -> Array:
    """Start values: 0 for a bias; for weights uniform, of a variance that keeps signals in size.

    Before a ReLU the variance is 2 / inputs (He et al., 2015), else 2 / (inputs + outputs)
    (Glorot and Bengio, 2010).
    """
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    positions = math.prod(shape[:-2])
    inputs, outputs = positions * shape[-2], positions * shape[-1]
    variance = 2 / inputs if rectified else 2 / (inputs + outputs)
    limit = math.sqrt(3 * variance)
    return generator.uniform(-limit, limit, shape).astype(np.float32)


def dropout_mask(value: Tensor, rate: float, generator: np.random.Generator) -> Array:
    """0 with probability ``rate``, else 1 / (1 - rate), in the value's shape and type."""
    mask = (generator.random(value.shape, np.float32) >= rate).astype(value.dtype)
    mask *= 1 / (1 - rate)
    return mask
