"""Identifiers for C++ made from names that come from a model file and may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..frontend import names

LONGEST = 40

_RESERVED = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
    class compl concept const const_cast constexpr continue decltype default delete do double
    dynamic_cast else enum explicit export extern false float for friend goto if inline int long
    mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public
    register reinterpret_cast requires return short signed sizeof static static_assert static_cast
    struct switch template this thread_local throw true try typedef typeid typename union unsigned
    using virtual void volatile wchar_t while xor xor_eq
    main std hls lutra ap_int ap_uint ap_fixed ap_ufixed stream bench
    nn_top nn_frames frame frames memory_in memory_out
    module wire reg input output inout begin end always assign initial entity architecture signal
    process port
"""

RESERVED = frozenset(_RESERVED.split())
"""C++ keywords, names that the project uses itself, and words that Verilog or VHDL reserve."""

MACRO = re.compile(r"(AP_|HLS_|LUTRA_|INLINE$|__|[A-Z0-9_]+$)")
"""Names that a header may define as a macro: anything all in capitals, and known prefixes."""


def identifier(name: str) -> str:
    """A safe C++ identifier that resembles ``name``: lower case, at most 40 characters."""
    safe = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:LONGEST].strip("_")
    if not safe or safe[0].isdigit():
        safe = f"v_{safe}".rstrip("_")
    return f"{safe}_v" if safe in RESERVED else safe


def is_safe(name: str) -> bool:
    """Whether ``name`` may stand in generated C++ as it is."""
    return (
        re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None
        and name not in RESERVED
        and MACRO.match(name) is None
    )


class Names:
    """Gives out identifiers, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._names = names.Names(taken)

    def fresh(self, name: str) -> str:
        """An identifier near ``name`` that was not given out before."""
        return self._names.new(identifier(name))
