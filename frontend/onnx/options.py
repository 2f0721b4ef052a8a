"""What a user can choose of how a model is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ImportOptions:
    """How a model is to be read, where its file leaves a choice.

    Attributes:
        shapes: sizes for dimensions that the file leaves open, by their names there; one without
            a name is called after its input and its axis, such as ``x.2``.
        outputs: the values, outputs of the file or not, that are the network's outputs; by
            default those that the file names.
    """

    shapes: Mapping[str, int] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


DEFAULTS = ImportOptions()
"""A model as its file has it."""
