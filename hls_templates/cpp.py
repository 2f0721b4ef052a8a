"""C++ text of each process: the members of its configuration and its call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from ..frontend.graph import Node
from ..frontend.ops import MaxPool, Mul, Relu
from ..quantize.cast import Cast
from ..quantize.fixed import FixedGraph, FixedOp
from ..quantize.formats import Format
from ..quantize.lut import Lut
from .plan import (
    AnyProcess,
    BelowMaxProcess,
    DenseProcess,
    DuplicateProcess,
    MapProcess,
    NarrowProcess,
    Plan,
    PoolProcess,
    ScaleRowsProcess,
    Unary,
    WidenProcess,
    WindowProcess,
)

NATIVE = ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))


@dataclass(frozen=True)
class Config:
    """The configuration type of a process.

    Attributes:
        name: its identifier.
        constants: ``static const int`` members.
        types: ``typedef`` members, the name and the type.
    """

    name: str
    constants: Mapping[str, int]
    types: Mapping[str, str]


@dataclass(frozen=True)
class Call:
    """One statement of the top function."""

    kernel: str
    config: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"lutra::{self.kernel}<{self.config}>({', '.join(self.arguments)});"


def value_type(format_: Format) -> str:
    """The type that holds exactly the format's values."""
    kind = "ap_fixed" if format_.signed else "ap_ufixed"
    return f"{kind}<{format_.width}, {format_.integer}>"


def cast_type(cast: Cast) -> str:
    """The type whose assignment is ``cast``."""
    plain = value_type(cast.format).rstrip(">")
    return f"{plain}, AP_{cast.rounding}, AP_{cast.overflow}>"


def native_type(format_: Format) -> str:
    """The smallest C++ integer type for the format's raw values."""
    name = next(name for width, name in NATIVE if format_.width <= width)
    return f"{'signed' if format_.signed else 'unsigned'} {name}"


class Writer:
    """Writes the C++ of one plan; ``tables`` are the type names of its look-up tables."""

    def __init__(self, plan: Plan, tables: Mapping[str, str]) -> None:
        self.plan = plan
        self.graph: FixedGraph = plan.graph
        self.tables = tables

    def _type(self, value: str) -> str:
        return value_type(self.graph.formats[value])

    def function(self, node: Node[FixedOp]) -> str:
        """A function of one value, as a type of elementwise.h."""
        source, result = self._type(node.inputs[0]), self._type(node.output)
        number = self.plan.ids[node.output]
        match node.op:
            case Relu():
                return f"lutra::relu<{number}, {source}, {result}>"
            case Cast() as cast:
                return self._cast(number, self.graph.formats[node.inputs[0]], cast)
            case Lut():
                table = self.tables[node.inputs[1]]
                return f"lutra::lut<{number}, {source}, {result}, {table}>"
            case Mul():
                factor = self._type(node.inputs[1])
                raw = int(self.graph.constants[node.inputs[1]].item())
                return f"lutra::scale<{number}, {source}, {result}, {factor}, {raw}LL>"
            case op:
                raise AssertionError(f"{op} is not a function of one value")

    def _cast(self, number: int, source: Format, cast: Cast) -> str:
        """An assignment; from a type that holds every bit that is dropped, since the headers read
        past the end of a narrower one."""
        missing = cast.shift + 1 - source.width
        if missing <= 0:
            return f"lutra::cast<{number}, {value_type(source)}, {cast_type(cast)} >"
        wide = value_type(Format(source.signed, cast.shift + 1, source.integer + missing))
        narrow = value_type(source)
        first = f"lutra::extend<{narrow}, {wide} >"
        return f"lutra::chain<{first}, lutra::cast<{number}, {wide}, {cast_type(cast)} > >"

    def post(self, functions: Unary, source: str) -> str:
        """All functions in order, as one type; ``source`` is the type that goes in."""
        if not functions:
            return f"lutra::pass<{source} >"
        *firsts, last = [self.function(node) for node in functions]
        text = last
        for function in reversed(firsts):
            text = f"lutra::chain<{function}, {text} >"
        return text

    def config(self, process: AnyProcess) -> Config:
        """What the process's kernel needs to know."""
        name = f"{process.name}_config"
        match process:
            case DenseProcess():
                return self._dense(name, process)
            case WindowProcess():
                return self._window(name, process)
            case PoolProcess():
                constants = {
                    "id": self.plan.ids[process.node.output],
                    "positions": process.positions,
                    "window": process.window,
                    "channels": process.channels,
                    "pe": process.pe,
                }
                types = self._row_types(process)
                maximum = isinstance(process.node.op, MaxPool)
                types["reduce"] = "lutra::maximum" if maximum else "lutra::sum"
                return Config(name, constants, types)
            case MapProcess():
                source = value_type(self.plan.streams[process.reads[0]].format)
                constants = {"beats": process.beats, "pe": process.pe}
                return Config(name, constants, {"post": self.post(process.post, source)})
            case BelowMaxProcess() | ScaleRowsProcess():
                constants = {
                    "id": self.plan.ids[process.node.output],
                    "rows": process.rows,
                    "length": process.length,
                }
                types = self._row_types(process)
                if isinstance(process, ScaleRowsProcess):
                    types["factor"] = self._type(process.node.inputs[1])
                return Config(name, constants, types)
            case WidenProcess() | NarrowProcess():
                narrow = min(self.plan.streams[s].bits for s in (*process.reads, *process.writes))
                constants = {"bits": narrow, "factor": process.factor, "beats": process.beats}
                return Config(name, constants, {})
            case DuplicateProcess():
                bits = self.plan.streams[process.reads[0]].bits
                return Config(name, {"bits": bits, "beats": process.beats}, {})
            case _:
                assert_never(process)

    def _row_types(
        self, process: DenseProcess | PoolProcess | BelowMaxProcess | ScaleRowsProcess
    ) -> dict[str, str]:
        acc = self._type(process.node.output)
        return {
            "in": self._type(process.node.inputs[0]),
            "acc": acc,
            "post": self.post(process.post, acc),
        }

    def _dense(self, name: str, process: DenseProcess) -> Config:
        constants = {
            "id": self.plan.ids[process.node.output],
            "positions": process.positions,
            "inputs": process.inputs,
            "outputs": process.outputs,
            "simd": process.fold.simd,
            "pe": process.fold.pe,
        }
        types = self._row_types(process)
        types["weight"] = self._type(process.node.inputs[1])
        return Config(name, constants, types)

    def _window(self, name: str, process: WindowProcess) -> Config:
        window, (height, width, channels) = process.window, process.image
        out_h, out_w = window.infer(process.image)
        constants = {
            "lanes": process.lanes,
            "channels": channels,
            "height": height,
            "width": width,
            "kernel_h": window.kernel[0],
            "kernel_w": window.kernel[1],
            "stride_h": window.stride[0],
            "stride_w": window.stride[1],
            "pad_top": window.pad[0][0],
            "pad_left": window.pad[1][0],
            "out_h": out_h,
            "out_w": out_w,
        }
        source = value_type(self.plan.streams[process.reads[0]].format)
        return Config(name, constants | {"fill": process.fill}, {"in": source})

    def call(self, process: AnyProcess) -> Call:
        """The statement that starts the process."""
        kernel: str
        extra: tuple[str, ...] = ()
        match process:
            case DenseProcess():
                kernel, extra = "dense", (f"{process.name}_weights", f"{process.name}_bias")
            case WindowProcess():
                kernel = "sliding_window"
            case PoolProcess():
                kernel = "pool"
            case MapProcess():
                kernel = "map"
            case BelowMaxProcess():
                kernel = "below_max"
            case ScaleRowsProcess():
                kernel = "scale_rows"
            case WidenProcess():
                kernel = "widen"
            case NarrowProcess():
                kernel = "narrow"
            case DuplicateProcess():
                kernel = "duplicate"
            case _:
                assert_never(process)
        arguments = (*process.reads, *process.writes, *extra)
        return Call(kernel, f"{process.name}_config", arguments)
