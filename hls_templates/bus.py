"""The bus that carries frames in and out of a design, and how values lie in its words.

Each value stands in a container of 1, 2, 4 or 8 bytes, the smallest that holds its bits: extended
by its sign if it is signed, by zeros if not.  A word carries as many containers as fit, the first
value in the lowest bits; what is left of a word is 0.  A frame's values stand in the order in which
they are streamed, and each frame starts with a new word.  In memory the lowest byte comes first, so
that a frame is an array of words of ``bits / 8`` bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..frontend.errors import LutraError
from ..quantize.formats import Format

Interface = Literal["stream", "axis", "m_axi"]
INTERFACES: tuple[Interface, ...] = get_args(Interface)

CONTAINERS = (8, 16, 32, 64)
BYTE = Format(False, 8, 8)

DEFAULT_BITS = {"axis": 64, "m_axi": 512}
WIDEST_AXIS = 1024
MEMORY_BITS = (32, 64, 128, 256, 512)


def container(width: int) -> int:
    """Bits of the container of a value of ``width`` bits."""
    return next(bits for bits in CONTAINERS if width <= bits)


@dataclass(frozen=True)
class Bus:
    """AXI4-Stream ports (``axis``) or ports to memory (``m_axi``), ``bits`` wide.

    Raises:
        LutraError: there is no such bus.
    """

    kind: Literal["axis", "m_axi"]
    bits: int

    def __post_init__(self) -> None:
        if self.kind == "axis" and (self.bits % 8 or not 8 <= self.bits <= WIDEST_AXIS):
            raise LutraError(
                "a stream's bus cannot have this width",
                found=f"{self.bits} bits",
                expected=f"a multiple of 8, up to {WIDEST_AXIS}",
            )
        if self.kind == "m_axi" and self.bits not in MEMORY_BITS:
            raise LutraError(
                "a bus to memory cannot have this width",
                found=f"{self.bits} bits",
                expected=", ".join(map(str, MEMORY_BITS)),
            )

    @staticmethod
    def of(interface: str, bits: int | None) -> Bus | None:
        """The bus of an interface, by its usual width unless ``bits`` is given; none for FIFO
        ports.

        Raises:
            LutraError: there is no such interface, or it has no bus of this width.
        """
        match interface:
            case "axis" | "m_axi":
                return Bus(interface, DEFAULT_BITS[interface] if bits is None else bits)
            case "stream" if bits is None:
                return None
            case "stream":
                raise LutraError(
                    "FIFO ports are as wide as their beats, they have no bus",
                    found=f"a bus of {bits} bits",
                    remedy="Leave its width out, or choose the interface axis or m_axi",
                )
            case _:
                raise LutraError(
                    "there is no such interface", found=interface, expected=", ".join(INTERFACES)
                )

    def values(self, format_: Format, port: str) -> int:
        """How many values of a format a word carries.

        Raises:
            LutraError: not even one.
        """
        need = container(format_.width)
        if need > self.bits:
            raise LutraError(
                f"the bus is too narrow for '{port}'",
                found=f"{self.bits} bits",
                expected=f"at least {need} bits for values of {format_.width}",
                remedy="Choose a wider bus with --bus",
            )
        return self.bits // need
