"""C++ text of each process: the members of its configuration and its call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from ..frontend.ops import MaxPool
from ..quantize.formats import Format
from .bus import container
from .cpp_types import integer_type, value_type
from .folding import Fold
from .hardware.operators import multiplier
from .plan import Plan
from .processes import (
    AnyProcess,
    BelowMaxProcess,
    Cell,
    ConcatProcess,
    DenseProcess,
    DuplicateProcess,
    Elementwise,
    EnterProcess,
    GroupedProcess,
    LeaveProcess,
    MapArrayProcess,
    MapProcess,
    MapRowProcess,
    MatMulProcess,
    NarrowProcess,
    ParallelProcess,
    PoolProcess,
    RearrangeProcess,
    RecurrenceProcess,
    Sums,
    WidenProcess,
    WindowProcess,
)
from .windows import slide

KERNELS = {
    "dense": "products of a matrix and vectors: dense layers, convolutions behind their windows",
    "dense_constant": "the same, all at once: weights are wires and adders",
    "grouped": "grouped convolutions behind their windows",
    "matmul": "products of two streams of matrices",
    "recurrent": "a recurrent layer: a loop over time",
    "recurrent_two": "a recurrent layer whose step has two products, one after the other",
    "sliding_window": "the values of each window of an image",
    "pool": "maxima or sums of windows, sums of rows",
    "below_max": "how far each value of a row lies below the row's maximum",
    "map": "a function of each value",
    "map2": "a function of the values of two streams",
    "map_row": "a function of each value and of one value of its row",
    "map_array": "a function of each value and of a constant array",
    "rearrange": "a frame in another order: transposed, cut, padded, repeated",
    "concat": "two streams joined along an axis",
    "widen": "more lanes",
    "narrow": "fewer lanes",
    "duplicate": "a fork: every beat to two streams",
    "enter": "words of the bus to beats",
    "leave": "beats to words of the bus",
    "enter_frame": "a word of the bus that is a frame to a beat",
    "leave_frame": "a beat that is a frame to a word of the bus",
    "parallel": "the whole network, a frame a cycle",
}
"""What each kernel does, for the project's reader."""


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


def multiply_type(a: Format, b: Format, fold: Fold) -> str:
    """The way in which a process multiplies values of two formats: the same that is estimated."""
    return f"lutra::multiply_{multiplier(a.width, b.width, fold.multiply)}"


class Writer:
    """Writes the C++ of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def _type(self, value: str) -> str:
        return value_type(self.plan.format(value))

    def _post(self, function: Elementwise) -> str:
        """The type of a function, or of one that changes nothing."""
        return function.name or f"lutra::pass<{self._type(function.result)} >"

    def config(self, process: AnyProcess) -> Config:
        """What the process's kernel needs to know."""
        name = f"{process.name}_config"
        match process:
            case DenseProcess():
                return self._dense(name, process)
            case GroupedProcess():
                return self._grouped(name, process)
            case MatMulProcess():
                return self._matmul(name, process)
            case WindowProcess():
                return self._window(name, process)
            case PoolProcess():
                return self._pool(name, process)
            case MapProcess() | MapArrayProcess():
                constants = {"beats": process.beats, "pe": process.pe}
                return Config(name, constants, {"post": self._post(process.post)})
            case MapRowProcess():
                constants = {
                    "rows": process.rows,
                    "beats_a_row": process.beats_a_row,
                    "pe": process.pe,
                }
                return Config(name, constants, {"post": self._post(process.post)})
            case BelowMaxProcess():
                constants = {
                    "id": self.plan.ids[process.node.output],
                    "rows": process.rows,
                    "length": process.length,
                }
                return Config(name, constants, self._row_types(process))
            case RearrangeProcess():
                return self._rearrange(name, process)
            case ConcatProcess():
                return self._concat(name, process)
            case RecurrenceProcess():
                return self._recurrence(name, process)
            case WidenProcess() | NarrowProcess():
                narrow = min(self.plan.streams[s].bits for s in (*process.reads, *process.writes))
                constants = {"bits": narrow, "factor": process.factor, "beats": process.beats}
                return Config(name, constants, {})
            case DuplicateProcess():
                bits = self.plan.streams[process.reads[0]].bits
                return Config(name, {"bits": bits, "beats": process.beats}, {})
            case EnterProcess() | LeaveProcess():
                return self._bus(name, process)
            case ParallelProcess():
                return Config(name, {}, {"network": f"{process.name}_function"})
            case _:
                assert_never(process)

    def _row_types(
        self, process: DenseProcess | GroupedProcess | PoolProcess | BelowMaxProcess
    ) -> dict[str, str]:
        return {
            "in": self._type(process.node.inputs[0]),
            "acc": self._type(process.node.output),
            "post": self._post(process.post),
        }

    def _factors(self, process: DenseProcess | GroupedProcess, weight: str) -> dict[str, str]:
        x = process.node.inputs[0]
        multiply = multiply_type(self.plan.format(x), self.plan.format(weight), process.fold)
        return {"weight": self._type(weight), "multiply": multiply}

    def _dense(self, name: str, process: DenseProcess) -> Config:
        constants = {
            "id": self.plan.ids[process.node.output],
            "positions": process.positions,
            "inputs": process.inputs,
            "outputs": process.outputs,
        }
        types = self._row_types(process)
        if process.wired:
            types["sums"] = process.wired.name
        else:
            constants |= {"simd": process.fold.simd, "pe": process.fold.pe}
            types |= self._factors(process, process.node.inputs[1])
        return Config(name, constants, types)

    def _grouped(self, name: str, process: GroupedProcess) -> Config:
        constants = {
            "id": self.plan.ids[process.node.output],
            "positions": process.positions,
            "taps": process.taps,
            "groups": process.groups,
            "inputs": process.inputs,
            "outputs": process.outputs,
            "simd": process.fold.simd,
            "pe": process.fold.pe,
            "across": process.across,
        }
        types = self._row_types(process)
        types |= self._factors(process, process.node.inputs[1])
        return Config(name, constants, types)

    def _matmul(self, name: str, process: MatMulProcess) -> Config:
        a, b = process.node.inputs
        constants = {
            "id": self.plan.ids[process.node.output],
            "batches": process.batches,
            "n": process.rows,
            "k": process.inner,
            "m": process.columns,
            "transposed": int(process.transposed),
            "simd": process.fold.simd,
            "pe": process.fold.pe,
        }
        types = {
            "a": self._type(a),
            "b": self._type(b),
            "acc": self._type(process.node.output),
            "multiply": multiply_type(self.plan.format(a), self.plan.format(b), process.fold),
            "post": self._post(process.post),
        }
        return Config(name, constants, types)

    def _rearrange(self, name: str, process: RearrangeProcess) -> Config:
        constants = {
            "id": self.plan.ids[process.node.output],
            "in_beats": process.order.in_beats,
            "lanes": process.lanes,
            "lead": process.order.lead,
            "fill": process.fill,
        }
        axes = (
            f"lutra::axis<{loop.size}, {loop.start}, {loop.step}, {loop.divisor}, {loop.limit}, "
            f"{'true' if loop.sparse else 'false'}, {loop.stride}>"
            for loop in process.order.loops
        )
        types = {
            "in": self._type(process.node.inputs[0]),
            "value": self._type(process.node.output),
            "post": self._post(process.post),
            "axes": f"lutra::axes<{', '.join(axes)} >",
        }
        return Config(name, constants, types)

    def _concat(self, name: str, process: ConcatProcess) -> Config:
        constants = {
            "id": self.plan.ids[process.node.output] if process.last else -1,
            "outer": process.outer,
            "a_beats": process.beats[0],
            "b_beats": process.beats[1],
            "lanes": process.lanes,
        }
        a, b = (value_type(self.plan.streams[name].format) for name in process.reads)
        value = self._type(process.node.output)
        types = {"a": a, "b": b, "value": value, "post": self._post(process.post)}
        return Config(name, constants, types)

    def group(self, process: RecurrenceProcess, cell: Cell) -> Config:
        """What the kernel of recurrent layers needs to know of a cell's products."""
        operand = self.plan.format(cell.dense[0].inputs[0])
        constants = {"count": len(cell.dense), "pe": process.fold.pe, "simd": process.fold.simd}
        types = {
            "in": integer_type(operand),
            "weight": integer_type(cell.weight),
            "acc": integer_type(cell.acc),
            "multiply": multiply_type(operand, cell.weight, process.fold),
        }
        return Config(f"{cell.name}_group", constants, types)

    def _recurrence(self, name: str, process: RecurrenceProcess) -> Config:
        loop = process.loop
        constants = {
            "steps": process.steps,
            "units": process.units,
            "parts": len(loop.parts),
            "lanes": process.lanes,
            "reverse": int(loop.reverse),
            "last": int(loop.last),
        }
        types = {"in": self._type(loop.parts[0]), "state": f"{process.name}_state"}
        words = ("",) if len(process.cells) == 1 else ("first_", "second_")
        for word, cell in zip(words, process.cells, strict=True):
            types |= {f"{word}group": f"{cell.name}_group", f"{word}cell": cell.name}
        return Config(name, constants, types)

    def _pool(self, name: str, process: PoolProcess) -> Config:
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

    def _window(self, name: str, process: WindowProcess) -> Config:
        window, (height, width, channels) = process.window, process.image
        out_h, out_w = window.infer(process.image)
        run = slide(window, process.image, process.lanes, process.taps)
        constants = {
            "lanes": process.lanes,
            "group_h": run.group[0],
            "group_w": run.group[1],
            "channels": channels,
            "height": height,
            "width": width,
            "kernel_h": window.kernel[0],
            "kernel_w": window.kernel[1],
            "stride_h": window.stride[0],
            "stride_w": window.stride[1],
            "dilation_h": window.dilation[0],
            "dilation_w": window.dilation[1],
            "pad_top": window.pad[0][0],
            "pad_left": window.pad[1][0],
            "out_h": out_h,
            "out_w": out_w,
            "fill": process.fill,
            "lead": run.lead,
            "slots": run.slots,
            "row_banks": run.row_banks,
            "column_banks": run.column_banks,
        }
        source = value_type(self.plan.streams[process.reads[0]].format)
        return Config(name, constants, {"in": source})

    def _bus(self, name: str, process: EnterProcess | LeaveProcess) -> Config:
        constants = {
            "bits": process.bus.bits,
            "values": process.values,
            "container": container(process.format.width),
            "width": process.format.width,
            "is_signed": int(process.format.signed),
            "lanes": process.lanes,
            "unit": process.unit,
            "beats": process.beats,
            "steps": process.steps,
        }
        kind = "axis_word" if process.bus.kind == "axis" else "plain_word"
        return Config(name, constants, {"word": f"lutra::{kind}<{process.bus.bits}>"})

    def call(self, process: AnyProcess) -> Call:
        """The statement that starts the process."""
        kernel: str
        extra: tuple[str, ...] = ()
        match process:
            case DenseProcess(wired=Sums()):
                kernel = "dense_constant"
            case DenseProcess():
                kernel, extra = "dense", (f"{process.name}_weights", f"{process.name}_bias")
            case GroupedProcess():
                kernel, extra = "grouped", (f"{process.name}_weights", f"{process.name}_bias")
            case MatMulProcess():
                kernel = "matmul"
            case WindowProcess():
                kernel = "sliding_window"
            case PoolProcess():
                kernel = "pool"
            case MapProcess():
                kernel = "map" if len(process.reads) == 1 else "map2"
            case MapRowProcess():
                kernel = "map_row"
            case MapArrayProcess():
                kernel, extra = "map_array", (f"{process.name}_array",)
            case BelowMaxProcess():
                kernel = "below_max"
            case RearrangeProcess():
                kernel = "rearrange"
            case ConcatProcess():
                kernel = "concat"
            case RecurrenceProcess(name=name, cells=cells):
                kernel, extra = "recurrent", (f"{name}_weights", f"{name}_bias")
                if len(cells) == 2:
                    kernel = "recurrent_two"
                    extra += (f"{name}_second_weights", f"{name}_second_bias")
            case WidenProcess():
                kernel = "widen"
            case NarrowProcess():
                kernel = "narrow"
            case DuplicateProcess():
                kernel = "duplicate"
            case EnterProcess():
                kernel = "enter_frame" if process.whole else "enter"
            case LeaveProcess():
                kernel = "leave_frame" if process.whole else "leave"
            case ParallelProcess():
                kernel = "parallel"
            case _:
                assert_never(process)
        arguments = (*process.reads, *process.writes, *extra)
        return Call(kernel, f"{process.name}_config", arguments)
