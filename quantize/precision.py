"""How many bits a user wants, and where: defaults, and a TOML file for single layers.

A file looks like this; every key is optional::

    bits = 8                    # activations
    weight_bits = 8             # weights
    index_bits = 12             # widest index of a table (sigmoid, tanh, softmax)
    rounding = "RND"
    overflow = "SAT"

    [layers.conv1]              # a node of the model, or its input
    bits = 6
    weight_bits = 4
    format = "ufixed<6,2>"      # instead of a format chosen from values
    weight_format = "fixed<4,1>"
    rounding = "TRN"
    overflow = "WRAP"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..frontend.errors import FormatError, ModelError, clip
from ..frontend.layer_file import read_toml
from .formats import Format, Overflow, Rounding

MAX_BITS = 32
MAX_INDEX_BITS = 16
STATE_BITS = 16


@dataclass(frozen=True)
class LayerSettings:
    """Wishes for one layer; None means the default."""

    bits: int | None = None
    weight_bits: int | None = None
    format: Format | None = None
    weight_format: Format | None = None
    rounding: Rounding | None = None
    overflow: Overflow | None = None

    def over(self, other: LayerSettings) -> LayerSettings:
        """These wishes, and the other's where there are none."""
        merged = {
            f.name: getattr(self, f.name)
            if getattr(self, f.name) is not None
            else getattr(other, f.name)
            for f in fields(self)
        }
        return LayerSettings(**merged)


@dataclass(frozen=True)
class Settings:
    """Wishes for a whole network; ``file`` is where they were read, for messages."""

    bits: int = 8
    weight_bits: int = 8
    index_bits: int = 12
    rounding: Rounding = Rounding.RND
    overflow: Overflow = Overflow.SAT
    layers: Mapping[str, LayerSettings] = field(default_factory=dict)
    file: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _in_range("bits", self.bits, MAX_BITS)
        _in_range("weight_bits", self.weight_bits, MAX_BITS)
        _in_range("index_bits", self.index_bits, MAX_INDEX_BITS)

    @staticmethod
    def uniform(bits: int) -> Settings:
        """The same width for activations and weights."""
        return Settings(bits=bits, weight_bits=bits)

    @property
    def wide_bits(self) -> int:
        """Width of a value that only looks up tables: twice the others', as far as an index goes.

        It costs entries of the tables, but no arithmetic.
        """
        return max(self.bits, min(2 * self.bits, self.index_bits))

    @property
    def state_bits(self) -> int:
        """Width of a value inside a layer that is only multiplied value by value, such as the cell
        of an LSTM: twice the others', up to 16."""
        return max(self.bits, min(2 * self.bits, STATE_BITS))


def load_settings(path: Path) -> Settings:
    """Read a precision file.

    Raises:
        ModelError: it cannot be read, is not TOML, or holds an unknown key.
        FormatError: a format cannot exist, or a number of bits is out of range.
    """
    data = read_toml(path)
    try:
        layers = data.pop("layers", {})
        if not isinstance(layers, dict) or not all(isinstance(v, dict) for v in layers.values()):
            raise ModelError("'layers' must hold a table for each layer", found=layers)
        return Settings(
            **_read(data, Settings),
            file=str(path),
            layers={
                name: LayerSettings(**_read(table, LayerSettings)) for name, table in layers.items()
            },
        )
    except (ModelError, FormatError) as error:
        raise error.in_file(str(path)) from None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "bits": lambda v: _in_range("bits", v, MAX_BITS),
    "weight_bits": lambda v: _in_range("weight_bits", v, MAX_BITS),
    "index_bits": lambda v: _in_range("index_bits", v, MAX_INDEX_BITS),
    "format": lambda v: Format.parse(str(v)),
    "weight_format": lambda v: Format.parse(str(v)),
    "rounding": lambda v: _mode(Rounding, v),
    "overflow": lambda v: _mode(Overflow, v),
}


def _read(table: Mapping[str, Any], kind: type) -> dict[str, Any]:
    allowed = [f.name for f in fields(kind) if f.name in _READERS]
    for key in table:
        if key not in allowed:
            raise ModelError(
                f"unknown key '{clip(key)}'", expected=f"one of {', '.join(allowed)}, [layers.NAME]"
            )
    return {key: _READERS[key](value) for key, value in table.items()}


def _in_range(name: str, value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise FormatError(f"{name} is out of range", found=value, expected=f"1 to {most}")
    return value


def _mode(kind: type[Rounding] | type[Overflow], value: Any) -> Rounding | Overflow:
    try:
        return kind(value)
    except ValueError:
        raise FormatError(
            f"unknown {kind.__name__.lower()} mode", found=value, expected=", ".join(kind)
        ) from None
