"""Whether the float graph computes what the original model does, and where it does not.

The outputs are compared first.  Where they differ, each node is compared alone: it gets the
original's own values, so that the rounding of those before it cannot hide what it does, or be
taken for it.  Then the outputs are compared before and after each pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from .. import passes
from ..graph import Graph, evaluate
from ..ops import Array
from .importer import Literal, literal
from .options import DEFAULTS, ImportOptions
from .original import Original
from .tensor import INTEGERS
from .translate.codes import bounds_of

OF_NETWORK = 2.0**-13
"""How far outputs may differ, as a share of the largest magnitude among them.

Both sides round to float32 (2^-24 of a value) and add in orders of their own; over the thousands
of terms and the hundred layers of a large network that grows to some 2^-16.
"""

OF_NODE = 2.0**-16
"""The same for the result of one node on equal inputs: the sums of one layer alone."""

HALF_COARSER = 2.0**8
"""How much more models in float16 get: they round to 2^-11, where the graph keeps float32."""

SEED = 0
"""Start of the random inputs."""


@dataclass(frozen=True)
class Difference:
    """How far one value is from the original's.

    Attributes:
        value: its name in the file.
        absolute: the largest difference.
        relative: that as a share of the largest magnitude in the original.
        allowed: the largest ``relative`` that float rounding explains.
        problem: what else is wrong with it, such as its shape; empty if nothing is.
    """

    value: str
    absolute: float
    relative: float
    allowed: float
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether rounding explains it."""
        return not self.problem and self.relative <= self.allowed


@dataclass(frozen=True)
class Parting:
    """Something at which graph and original part.

    Attributes:
        where: the node of the file, as ``Conv 'name'``, or the pass.
        difference: how far the value that it gives is off.
    """

    where: str
    difference: Difference


@dataclass(frozen=True)
class Check:
    """How a comparison ended.

    Attributes:
        runner: what ran the original.
        samples: how many samples were compared.
        outputs: for each output, the largest difference.
        partings: the nodes, or the pass, at which outputs that differ part.
        rounding: outputs differ although no node and no pass does: the network makes small
            differences large, as the rounding of activations to few bits does.
    """

    runner: str
    samples: int
    outputs: tuple[Difference, ...]
    partings: tuple[Parting, ...] = ()
    rounding: bool = False

    @property
    def passed(self) -> bool:
        """Whether graph and original are the same but for rounding."""
        return self.rounding or all(output.agrees for output in self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"passed": self.passed}


Feeds = Mapping[str, Array]


def check(
    model: ModelProto,
    graph: Graph,
    file: str | None = None,
    data: Feeds | None = None,
    options: ImportOptions = DEFAULTS,
) -> Check:
    """Compare ``graph`` with the model that it was imported from.

    Args:
        model: as parsed.
        graph: what :func:`from_onnx` makes of it.
        file: where it lies.
        data: samples by the inputs' names, in the user's layout; random ones if left out: normal
            ones in batches of several sizes where the batch is symbolic, and uniform ones from 0
            to 1, the same every time.
        options: those that it was imported with.

    Raises:
        ToolchainError: no program that is installed runs the original.
        LutraError: as :func:`from_onnx`.
    """
    plain = literal(model, file, options)
    folder = Path(file).parent if file else None
    original = Original(model, folder, [port.name for port in graph.outputs])
    coarser = HALF_COARSER if _is_half(model) else 1.0
    worst: dict[str, Difference] = {}
    samples, differing = 0, None
    for feeds in _batches(model, graph, plain, data):
        theirs = original.run(_entered(feeds, plain))
        with np.errstate(all="ignore"):
            ours = evaluate(graph, feeds)
        samples += len(next(iter(feeds.values())))
        for port in graph.outputs:
            seen = plain.values[port.name]
            found = compare(
                port.name, seen.leave(ours[port.name]), theirs.get(port.name),
                coarser * OF_NETWORK,
            )  # fmt: skip
            worst[port.name] = _worse(worst.get(port.name), found)
            if not found.agrees and differing is None:
                differing = feeds
    outputs = tuple(worst.values())
    if differing is None:
        return Check(original.runner, samples, outputs)
    results = [name for node in model.graph.node for name in node.output if name]
    every = Original(model, folder, results)
    partings = (*_differing_nodes(model, plain, every, differing, coarser * OF_NODE),)
    partings = partings or (*_differing_passes(plain, differing, coarser * OF_NETWORK),)
    rounding = not partings and not any(output.problem for output in outputs)
    return Check(original.runner, samples, outputs, partings, rounding)


def compare(name: str, ours: Array, theirs: Array | None, allowed: float) -> Difference:
    """How far ``ours`` is from ``theirs``, which has the same layout."""

    def wrong(problem: str) -> Difference:
        return Difference(name, 0.0, 0.0, allowed, problem)

    if theirs is None:
        return wrong("the original gives no array of numbers")
    if ours.shape != theirs.shape:
        return wrong(f"has shape {ours.shape}; the original has {theirs.shape}")
    theirs = theirs.astype(np.float64)
    known = np.isfinite(theirs)
    if not np.array_equal(np.where(known, 0, ours), np.where(known, 0, theirs), equal_nan=True):
        return wrong("lacks NaN or infinite values that the original has")
    if not np.isfinite(ours[known]).all():
        return wrong("holds NaN or infinite values that the original has not")
    if not known.any():
        return wrong("is NaN or infinite everywhere, so that nothing was compared")
    absolute = float(np.abs(ours[known] - theirs[known]).max())
    largest = float(np.abs(theirs[known]).max())
    relative = absolute / max(largest, float(np.finfo(np.float32).tiny))
    return Difference(name, absolute, relative, allowed)


def _worse(first: Difference | None, second: Difference) -> Difference:
    if first is None or (second.agrees, -second.relative) < (first.agrees, -first.relative):
        return second
    return first


def _is_half(model: ModelProto) -> bool:
    half = TensorProto.FLOAT16
    tensors = any(tensor.data_type == half for tensor in model.graph.initializer)
    ports = any(port.type.tensor_type.elem_type == half for port in model.graph.input)
    return tensors or ports


# Inputs


def _batches(
    model: ModelProto, graph: Graph, plain: Literal, data: Feeds | None
) -> Iterator[dict[str, Array]]:
    """Samples for our graph, in batches that the original takes."""
    fixed = _fixed_batch(model, plain)
    if data is not None:
        count = len(next(iter(data.values())))
        size = fixed or 16
        for start in range(0, count, size):
            at = [min(start + i, count - 1) for i in range(size if fixed else count - start)]
            yield {name: x[at[:size]] for name, x in data.items()}
        return
    rng = np.random.default_rng(SEED)
    integers = _integer_inputs(model)

    def drawn(size: int, uniform: bool) -> dict[str, Array]:
        feeds = {}
        for port in graph.inputs:
            shape = (size, *port.outer_shape)
            draw = rng.random if uniform else rng.standard_normal
            feeds[port.name] = draw(shape, np.float32)
            if port.name in integers:
                low, high = integers[port.name]
                feeds[port.name] = rng.integers(low, high, shape, endpoint=True).astype(np.float32)
        return feeds

    yield from (drawn(size, uniform=False) for size in ([fixed] if fixed else [1, 3]))
    yield drawn(fixed or 2, uniform=True)


def _integer_inputs(model: ModelProto) -> dict[str, tuple[int, int]]:
    """Inputs that hold integers, and the bounds of their types, at most those of 16 bits."""
    found = {}
    for port in model.graph.input:
        kind = port.type.tensor_type.elem_type
        if kind in INTEGERS:
            low, high = bounds_of(INTEGERS[kind])
            found[port.name] = (max(low, -(2**15)), min(high, 2**15 - 1))
    return found


def _fixed_batch(model: ModelProto, plain: Literal) -> int | None:
    """How many samples the original takes at once; None if as many as one likes."""
    for port in model.graph.input:
        if port.name not in plain.values:
            continue
        batch = plain.values[port.name].batch
        if batch is None:
            return 1
        dim = port.type.tensor_type.shape.dim[batch]
        if dim.HasField("dim_value"):
            return int(dim.dim_value)
    return None


def _entered(feeds: Feeds, plain: Literal) -> dict[str, Array]:
    return {name: plain.values[name].leave(x) for name, x in feeds.items()}


# Where they part


def _differing_nodes(
    model: ModelProto, plain: Literal, original: Original, feeds: Feeds, allowed: float
) -> Iterator[Parting]:
    """The nodes that give something else than the original on the original's own values."""
    theirs = original.run(_entered(feeds, plain))
    makers = {
        name: f"{node.op_type} '{node.name or name}'"
        for node in model.graph.node
        for name in node.output
    }
    names: dict[str, list[str]] = defaultdict(list)
    for name, seen in plain.values.items():
        if name in theirs and name in makers:
            names[seen.id].append(name)
    graph = plain.graph
    values: dict[str, Array] = dict(graph.constants)
    values |= {port.name: port.enter(feeds[port.name]) for port in graph.inputs}
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for i, node in enumerate(graph.nodes):
        with np.errstate(all="ignore"):
            value = node.op.forward(*(values[name] for name in node.inputs))
        value = values[node.output] = np.asarray(value)
        differs = False
        for name in names[node.output]:
            seen = plain.values[name]
            found = compare(name, seen.leave(value), theirs[name], allowed)
            if not differs and not found.agrees and np.isfinite(theirs[name]).any():
                differs = True  # further names of the same value would repeat it
                yield Parting(makers[name], found)
            back = seen.enter(theirs[name]).astype(np.float32)
            if back.shape == value.shape:
                values[node.output] = back
        for name in node.inputs:
            if last[name] == i:
                values.pop(name, None)


def _differing_passes(plain: Literal, feeds: Feeds, allowed: float) -> Iterator[Parting]:
    """The first pass after which the outputs, or the values named in both graphs, are others."""
    graph = plain.graph
    outputs = [port.name for port in graph.outputs]
    with np.errstate(all="ignore"):
        before = evaluate(graph, feeds)
        for step in passes.PASSES:
            previous, graph = graph, step(graph)
            after = evaluate(graph, feeds)
            found = [compare(name, after[name], before[name], allowed) for name in outputs]
            if all(difference.agrees for difference in found):
                continue
            first = _first_changed(previous, graph, feeds, allowed)
            name = getattr(step, "__name__", "a pass")
            yield Parting(f"pass '{name}'", first or next(d for d in found if not d.agrees))
            return


def _first_changed(before: Graph, after: Graph, feeds: Feeds, allowed: float) -> Difference | None:
    """The first value whose numbers a pass changed; it may give them another order of axes."""
    names = [node.output for node in after.nodes if node.output in before.shapes]
    old, new = evaluate(before, feeds, names), evaluate(after, feeds, names)
    for name in names:
        found = compare(name, np.sort(new[name], axis=None), np.sort(old[name], axis=None), allowed)
        if not found.agrees:
            return found
    return None
