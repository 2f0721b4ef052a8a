"""ONNX models written as formulas, for tests of what exporters spell out."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from lutra.frontend.ops import Array

from .onnx_models import model

Spell = Callable[[str, Array], list[NodeProto]]
"""Gives the nodes that define a constant."""


class Formula:
    """The nodes that compute an expression of nested calls of ONNX ops.

    ``Mul(x, Add(Erf(x), 1.0))`` reads the input x and a constant; what is written twice is computed
    once.  A list is a vector, of integers or floats, and keyword arguments are attributes.
    """

    def __init__(self, text: str, weights: dict[str, Array], spell: Spell | None) -> None:
        self.nodes: list[NodeProto] = []
        self.weights = dict(weights)
        self._spell = spell
        self._names: dict[str, str] = {}
        self._count = itertools.count()
        self.output = self._value(ast.parse(text, mode="eval").body)

    def _value(self, tree: ast.expr) -> str:
        if isinstance(tree, ast.Name):
            return tree.id
        key = ast.dump(tree)
        if key not in self._names:
            self._names[key] = self._made(tree)
        return self._names[key]

    def _made(self, tree: ast.expr) -> str:
        name = f"v{next(self._count)}"
        if not isinstance(tree, ast.Call):
            value = np.asarray(ast.literal_eval(tree))
            value = value.astype(np.float32 if value.dtype.kind == "f" else np.int64)
            if self._spell and value.dtype.kind == "f":
                self.nodes += self._spell(name, value)
            else:
                self.weights[name] = value
            return name
        assert isinstance(tree.func, ast.Name)
        inputs = [self._value(argument) for argument in tree.args]
        attributes: dict[str, Any] = {
            str(keyword.arg): ast.literal_eval(keyword.value) for keyword in tree.keywords
        }
        self.nodes.append(helper.make_node(tree.func.id, inputs, [name], name, **attributes))
        return name


def formula(
    text: str,
    shape: Sequence[int] = (6,),
    weights: dict[str, Array] | None = None,
    spell: Spell | None = None,
    opset: int = 18,
) -> ModelProto:
    """A model that gives, of batches of ``shape``, what the formula says."""
    made = Formula(text, weights or {}, spell)
    return model(made.nodes, ("N", *shape), made.weights, output=made.output, opset=opset)


def as_node(name: str, value: Array) -> list[NodeProto]:
    return [helper.make_node("Constant", [], [name], value=helper.make_tensor(
        name, TensorProto.FLOAT, value.shape, value.reshape(-1)
    ))]  # fmt: skip


def as_vector(name: str, value: Array) -> list[NodeProto]:
    """One number as a list of one."""
    return as_node(name, value.reshape(-1) if value.ndim == 0 else value)


def as_copy(name: str, value: Array) -> list[NodeProto]:
    """By way of another node."""
    return [*as_node(f"{name}_c", value), helper.make_node("Identity", [f"{name}_c"], [name])]


SPELLINGS = (None, as_node, as_vector, as_copy)
"""How exporters write a constant; None is as an initialiser."""
