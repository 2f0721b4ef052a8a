"""ONNX's Einsum of one operand or two: sums, a product of matrices, and axes reordered."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ...errors import ModelError, ShapeError
from ...ops import Array, MatMul, Shape
from ..call import Call, Form, anything, shown
from ..steps import Steps, without
from ..values import Activation, Builder, Constant, RefusedError, Value
from .reduce import total

Letters = tuple[str, ...]


def einsum(builder: Builder, call: Call) -> Value:
    """Letters of one operand alone are summed, shared ones multiplied, and the rest reordered."""
    values = [call.value(i) for i in range(len(call.inputs))]
    if len(values) > 2:
        raise RefusedError(f"has {len(values)} operands; supported: 1 and 2")
    data = [call.data(i, anywhere=True) for i, v in enumerate(values) if not _known(v)]
    if not data:
        call.data()
    ranks = [call.constant(i).array.ndim if _known(v) else call.data(i, anywhere=True).rank
             for i, v in enumerate(values)]  # fmt: skip
    operands, result = parsed(call.get("equation", ""), ranks)
    if any(len(set(letters)) != len(letters) for letters in operands):
        raise RefusedError("takes a diagonal; supported: each letter once in an operand")
    batches = {
        letters[x.batch]
        for letters, x in zip(
            (o for o, v in zip(operands, values, strict=True) if not _known(v)), data, strict=True
        )
        if x.batch is not None
    }
    if len(batches) > 1 or batches - set(result) or len({x.batch is None for x in data}) > 1:
        raise RefusedError("is over the batch")
    batch = next(iter(batches), "")
    steps = Steps(builder, call)
    parts = [
        _constant(steps, call, i, o, batch) if _known(v) else (data.pop(0), _own(o, batch))
        for i, (o, v) in enumerate(zip(operands, values, strict=True))
    ]
    if len(parts) == 1:
        ((x, letters),) = parts
        assert isinstance(x, Activation)  # constants alone were refused above
        y, left = _summed(steps, x, letters, [n for n in letters if n not in result])
    else:
        y, left = _product(steps, parts, [n for n in result if n != batch])
    own = _own(result, batch)
    y = steps.turned(y, tuple(left.index(letter) for letter in own))
    return steps.done(y, result.index(batch) if batch else None)


def parsed(equation: str, ranks: Sequence[int]) -> tuple[list[Letters], Letters]:
    """The letters of each operand's axes and of the result's; dots stand for axes from the end.

    Raises:
        ModelError: it is no equation for operands of these ranks.
    """
    text = equation.replace(" ", "")
    before, arrow, after = text.partition("->")
    terms = before.split(",")
    legal = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
    if len(terms) != len(ranks) or any(not re.fullmatch(legal, t) for t in (*terms, after)):
        raise ModelError("has a wrong equation", found=shown(equation), expected="a,b->c")
    widest = 0
    for term, rank in zip(terms, ranks, strict=True):
        missing = rank - len(term.replace("...", ""))
        if missing < 0 or (missing and "..." not in term):
            raise ModelError("has an equation for other axes", found=shown(equation))
        widest = max(widest, missing if "..." in term else 0)
    dots = [f"#{i}" for i in range(widest)]

    def letters(term: str, count: int) -> Letters:
        head, found, tail = term.partition("...")
        return (*head, *(dots[widest - count :] if found else ()), *tail)

    operands = [
        letters(term, rank - len(term.replace("...", "")))
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if arrow:
        result = letters(after, widest)
    else:
        every = [letter for operand in operands for letter in operand]
        single = sorted(n for n in set(every) if every.count(n) == 1 and n not in dots)
        result = (*dots, *single)
    if set(dots) - set(result):
        raise ModelError("leaves out what its dots are", found=shown(equation), expected="dots")
    if len(set(result)) != len(result) or set(result) - {n for o in operands for n in o}:
        raise ModelError("has a wrong result", found=shown(equation), expected="known letters")
    return operands, result


def _known(value: Value | None) -> bool:
    return isinstance(value, Constant)


def _own(letters: Letters, batch: str) -> Letters:
    return tuple(letter for letter in letters if letter != batch)


def _constant(
    steps: Steps, call: Call, index: int, letters: Letters, batch: str
) -> tuple[Constant, Letters]:
    source = call.weight(index)
    if batch and batch in letters:
        at = letters.index(batch)
        if source.array.shape[at] != 1:
            raise RefusedError("has a constant that differs between samples")
        source = source.mapped(lambda v: v.squeeze(at))
    return source, _own(letters, batch)


def _summed(
    steps: Steps, x: Activation, letters: Letters, gone: Sequence[str]
) -> tuple[Activation, Letters]:
    axes = [letters.index(letter) for letter in gone]
    y = total(steps, x, axes)
    left = tuple(letter for letter in letters if letter not in gone)
    return (steps.reshaped(y, without(x, axes)) if axes else y), left


def _product(
    steps: Steps, parts: Sequence[tuple[Activation | Constant, Letters]], result: Sequence[str]
) -> tuple[Activation, Letters]:
    """``(shared, left, summed) · (shared, summed, right)``, each group joined to one axis."""
    (_, first), (_, second) = parts
    shared = [n for n in first if n in second and n in result]
    inner = [n for n in first if n in second and n not in result]
    sizes: dict[str, int] = {}
    ids: list[Activation | str] = []
    free: list[list[str]] = []
    for i, (value, letters) in enumerate(parts):
        lone = [n for n in letters if n not in shared and n not in inner]
        gone = [n for n in lone if n not in result]
        own = [n for n in lone if n in result]
        free.append(own)
        order = (*shared, *own, *inner) if i == 0 else (*shared, *inner, *own)
        array = value.array.shape if isinstance(value, Constant) else value.shape
        for letter, size in zip(letters, array, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ShapeError("has a letter of two sizes", found=letter, expected=sizes[letter])
        groups = (shared, own, inner) if i == 0 else (shared, inner, own)
        shape: Shape = tuple(math.prod(sizes[n] for n in group) for group in groups)
        ids.append(_operand(steps, value, letters, gone, order, shape))
    left, right = ids
    if isinstance(left, str):
        # Our product takes its constant on the right: (A · B)^T = B^T · A^T.
        assert isinstance(right, Activation)  # one of them is data
        turned = steps.apply(MatMul(transposed=True), steps.turned(right, (0, 2, 1)), left)
        y = steps.turned(turned, (0, 2, 1))
    else:
        y = steps.apply(MatMul(), left, right)
    letters = (*shared, *free[0], *free[1])
    return steps.reshaped(y, tuple(sizes[n] for n in letters)), letters


def _operand(
    steps: Steps,
    value: Activation | Constant,
    letters: Letters,
    gone: Sequence[str],
    order: Sequence[str],
    shape: Shape,
) -> Activation | str:
    """An operand as a stack of matrices."""
    if isinstance(value, Constant):
        axes = tuple(letters.index(n) for n in gone)
        kept = [n for n in letters if n not in gone]

        def make(array: Array) -> Array:
            summed = np.asarray(array.sum(axes)) if axes else array
            return summed.transpose([kept.index(n) for n in order]).reshape(shape)

        return steps.builder.weight(value, f"einsum {order} {shape} {axes}", make)
    x, left = _summed(steps, value, letters, gone)
    return steps.reshaped(steps.turned(x, tuple(left.index(n) for n in order)), shape)


FORMS = {"Einsum": Form(28, einsum, {"equation": anything})}
