"""Nodes that work on constants alone: what they give is worked out, not built into the graph.

The onnx package's own definition of each op does it.  How large the result will be, and how much
work it is, is known before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ..errors import ModelError, ShapeError, clip
from ..ops import Array, Shape
from .call import Call, Form, anything
from .sizes import PAIRS, product, settled
from .values import Builder, Constant, RefusedError, expect_foldable, is_float

MAX_WORK = 2**32
"""Most numbers that one node may look at."""

Bound = Callable[[Call, Sequence[Array]], tuple[Shape, int]]
"""From the arrays a shape that holds at least the result, and how many numbers are looked at."""


def _broadcast(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        found = [array.shape for array in arrays]
        raise ShapeError("constants cannot be broadcast", found=found) from None
    return shape, math.prod(shape)


def _first(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    """No larger than the first input; with an axis of size 1 more at most for each it has."""
    return arrays[0].shape, arrays[0].size


def _tile(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    repeats = call.integers(1)
    if len(repeats) != arrays[0].ndim or min(repeats, default=0) < 0:
        raise ShapeError("repeats what is not there", found=repeats, expected=arrays[0].shape)
    shape = tuple(n * count for n, count in zip(arrays[0].shape, repeats, strict=True))
    return shape, math.prod(shape)


def _range(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    if any(array.size != 1 for array in arrays):
        raise ShapeError("its bounds are no numbers", found=[array.shape for array in arrays])
    start, limit, step = (float(array.reshape(())) for array in arrays)
    if step == 0 or not all(map(math.isfinite, (start, limit, step))):
        raise ModelError("has no end", found=(start, limit, step), expected="a step")
    count = max(0, math.ceil((limit - start) / step))
    return (count,), count


def _pad(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    pads = call.integers(1) if call.since >= 11 else list(call.get("pads", []))
    size = math.prod(n + sum(abs(pad) for pad in pads) for n in arrays[0].shape)
    return (size,), size


def _matmul(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    """Each number of the result is the sum of as many products as the left rows are long."""
    a, b = arrays[0], arrays[1]
    if min(a.ndim, b.ndim) < 1:
        raise ShapeError("is of no matrices", found=[a.shape, b.shape])
    rows = a.size // max(a.shape[-1], 1) if call.op != "Gemm" else max(a.shape)
    columns = b.shape[-1] if call.op != "Gemm" else max(b.shape)
    lead = max(1, b.size // max(math.prod(b.shape[-2:]), 1))
    size = rows * columns * lead
    return (size,), size * max(a.shape)


def _einsum(call: Call, arrays: Sequence[Array]) -> tuple[Shape, int]:
    """As if every index ran to the largest axis of all that it may stand for."""
    equation = str(call.get("equation", ""))
    letters = {c for c in equation if c.isalpha()}
    largest = max((n for array in arrays for n in array.shape), default=1)
    axes = len(letters) + (max(array.ndim for array in arrays) if "..." in equation else 0)
    if axes > 16:
        raise ShapeError("has too many indices", found=axes, expected="16")
    return arrays[0].shape, largest**axes


_ANY_SHAPE = (
    "Abs Add And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Cos "
    "Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Max Mean Min "
    "Mod Mul Neg Not Or Pow Reciprocal Relu Round Sigmoid Sign Sin Sqrt Sub Sum Tan Tanh Where Xor"
)
_OF_FIRST = (
    "ArgMax ArgMin CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
    "ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax Trilu"
)

BOUNDS: Mapping[str, Bound] = {
    **dict.fromkeys(_ANY_SHAPE.split(), _broadcast),
    **dict.fromkeys(_OF_FIRST.split(), _first),
    "Einsum": _einsum,
    "Gemm": _matmul,
    "MatMul": _matmul,
    "Pad": _pad,
    "Range": _range,
    "Tile": _tile,
}
"""The ops that fold.  Those that give values other axes fold where they are translated."""


def _never(builder: Builder, call: Call) -> Constant:
    raise RefusedError("works with a constant that is repeated for each sample")


def _attributes() -> dict[str, set[str]]:
    """For each op those that it has in any version: the reference knows them all."""
    known: dict[str, set[str]] = {op: set() for op in BOUNDS}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in known:
            known[schema.name].update(schema.attributes)
    return known


FORMS: Mapping[str, Form] = {
    op: Form(onnx.defs.onnx_opset_version(), _never, dict.fromkeys(attributes, anything))
    for op, attributes in _attributes().items()
}
"""The same ops as forms, for those that have no other."""


def folds(call: Call) -> bool:
    """Whether all that the node reads is known, and its op can be worked out.

    Integers that are clipped may stand for data, of which their bounds are known then.
    """
    given = [value for value in call.inputs if value is not None]
    known = [value for value in given if isinstance(value, Constant)]
    if call.op not in BOUNDS or not given or len(known) != len(given):
        return False
    if any(value.repeated is not None for value in known) and call.op not in _ROW_BY_ROW:
        return False
    return call.op != "Clip" or is_float(known[0].stored)


def fold(builder: Builder, call: Call, node: NodeProto) -> Constant:
    """The result of a node whose inputs are known.

    Raises:
        RefusedError: it depends on how many samples there are in a way that is not followed.
        LutraError: it would be too large, or the op does not take these inputs.
    """
    sources = [call.constant(i) for i, value in enumerate(call.inputs) if value is not None]
    repeated = _repeated(call, sources)
    arrays = [source.stored for source in sources]
    if any(array.dtype == object for array in arrays):
        return replace(builder.folded(call.output, _of_sizes(call, arrays)), repeated=repeated)
    shape, work = BOUNDS[call.op](call, arrays)
    if math.prod(shape) > 0:
        expect_foldable((math.prod(shape),))
    if work + sum(array.size for array in arrays) > MAX_WORK:
        raise ShapeError("is too much to work out", found=work, expected=f"at most {MAX_WORK}")
    made = builder.folded(call.output, _run(builder.opset, call, node, arrays))
    return replace(made, repeated=repeated)


_ROW_BY_ROW = {*_ANY_SHAPE.split(), "MatMul", "Gemm"}
"""The ops that may treat what is repeated for each sample as if it were there once."""


def _repeated(call: Call, sources: Sequence[Constant]) -> int | None:
    """The axis of the result that is as long as there are samples; None where none is.

    Raises:
        RefusedError: the samples meet other values along it.
    """
    if all(source.repeated is None for source in sources):
        return None
    first, shapes = sources[0], [source.stored.shape for source in sources]
    rank = max(map(len, shapes))
    if call.op in ("MatMul", "Gemm"):
        rows = first.repeated is not None and first.repeated < len(shapes[0]) - 1
        others = all(source.repeated is None for source in sources[1:])
        others &= len(shapes[1]) == 2 and all(shape[:-1] in ((), (1,)) for shape in shapes[2:])
        if rows and others and not call.get("transA", 0):
            return first.repeated
        raise RefusedError("works with a constant that is repeated for each sample")
    places = {
        rank - len(shape) + source.repeated
        for source, shape in zip(sources, shapes, strict=True)
        if source.repeated is not None
    }
    place = min(places)
    along = {shape[place - rank] for shape in shapes if len(shape) >= rank - place}
    if len(places) > 1 or along != {1}:
        raise RefusedError("works with a constant that is repeated for each sample")
    return place


def _run(opset: int, call: Call, node: NodeProto, arrays: Sequence[Array]) -> Array:
    """The node by the onnx package's reference."""
    names = [f"v{i}" if value is not None else "" for i, value in enumerate(call.inputs)]
    alone = NodeProto()
    alone.CopyFrom(node)
    del alone.input[:], alone.output[:]
    alone.input.extend(names)
    alone.output.append("y")
    ports = [
        helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in names if name
    ]
    graph = helper.make_graph(
        [alone], "fold", ports, [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = dict(zip((name for name in names if name), arrays, strict=True))
    try:
        with np.errstate(all="ignore"):
            found: Any = ReferenceEvaluator(model).run(["y"], feeds)
    except Exception as error:  # whatever the reference raises, the file is at fault
        raise ModelError(
            "cannot be worked out from its constants",
            found=clip(str(error) or type(error).__name__),
        ) from error
    result = np.asarray(found[0])
    if result.dtype.kind not in "biufV":
        raise RefusedError(f"gives a constant of type {result.dtype}; supported: numbers")
    return result


def _of_sizes(call: Call, arrays: Sequence[Array]) -> Array:
    """Integers among which some depend on the number of samples."""
    if any(array.dtype.kind not in "biuO" for array in arrays):
        raise RefusedError("mixes the number of samples with other numbers than integers")
    shape, _ = _broadcast(call, arrays) if call.op in _ANY_SHAPE.split() else _first(call, arrays)
    expect_foldable(shape)
    if call.op in PAIRS and len(arrays) == 2:
        return settled(np.asarray(PAIRS[call.op](*(a.astype(object) for a in arrays)), object))
    if call.op == "Where" and arrays[0].dtype.kind == "b":
        return settled(np.where(arrays[0], *(a.astype(object) for a in arrays[1:])))
    if call.op == "Cast" and call.get("to", 0) in (TensorProto.INT64, TensorProto.INT32):
        return arrays[0]
    if call.op == "ReduceProd" and arrays[0].ndim == 1 and len(arrays) == 1:
        total = product(arrays[0].tolist())
        kept = (1,) if call.get("keepdims", 1) else ()
        return settled(np.array([total], object).reshape(kept))
    raise RefusedError("depends on how many samples there are")
