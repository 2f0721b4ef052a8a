"""C++ types of fixed-point formats."""

from __future__ import annotations

from ..quantize.cast import Cast
from ..quantize.formats import Format

NATIVE = ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))


def value_type(format_: Format) -> str:
    """The type that holds exactly the format's values."""
    kind = "ap_fixed" if format_.signed else "ap_ufixed"
    return f"{kind}<{format_.width}, {format_.integer}>"


def integer_type(format_: Format) -> str:
    """The type of the format's raw values."""
    return value_type(Format(format_.signed, format_.width, format_.width))


def cast_type(cast: Cast) -> str:
    """The type whose assignment is ``cast``."""
    plain = value_type(cast.format).rstrip(">")
    return f"{plain}, AP_{cast.rounding}, AP_{cast.overflow}>"


def native_type(format_: Format) -> str:
    """The smallest C++ integer type for the format's raw values."""
    name = next(name for width, name in NATIVE if format_.width <= width)
    return f"{'signed' if format_.signed else 'unsigned'} {name}"
