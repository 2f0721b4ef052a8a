"""The files of a generated project."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import jinja2
import numpy as np

from ..frontend.errors import LutraError
from ..frontend.graph import Port
from ..frontend.ops import Array
from ..quantize.fixed import FixedGraph
from .bus import Bus, container
from .cells import cell_text, state_text
from .constants import packed_arrays, tables
from .cpp import KERNELS, Writer
from .folding import Folding
from .functions import function_text
from .hardware.estimate import Estimate, estimate
from .hardware.fold_file import fold_file
from .hardware.memory import fifo_memory
from .hardware.parts import Target, find_part
from .hardware.summary import performance
from .hardware.summary import resources as resource_rows
from .interface import host_files, memory_bank, movers, network_streams, top
from .lint.checker import check_project
from .names import Names, identifier
from .parallel_code import network_text, sums_text
from .plan import Plan, Stream
from .planner import plan
from .processes import DenseProcess, ParallelProcess, RecurrenceProcess

DEFAULT_PART = "xczu7ev-ffvc1156-2-e"
DEFAULT_CLOCK = 5.0


@dataclass(frozen=True)
class Options:
    """What a user may choose about a project.

    Attributes:
        part: the FPGA, by part number or board; the full part number once the options are made.
        clock: target period in ns.
        folding: parallelism of each layer.
        parallel: make one function of the network that takes a frame a cycle.
    """

    part: str = DEFAULT_PART
    clock: float = DEFAULT_CLOCK
    folding: Folding = field(default_factory=Folding)
    interface: str = "stream"
    bus_bits: int | None = None
    parallel: bool = False

    @property
    def bus(self) -> Bus | None:
        """What the ports are connected to; none if they are FIFOs."""
        return Bus.of(self.interface, self.bus_bits)

    def __post_init__(self) -> None:
        # Only what find_part spells reaches the tools' scripts.
        object.__setattr__(self, "part", find_part(self.part).number)
        if not 0.1 <= self.clock <= 1000:
            raise LutraError(
                "the clock period is out of range", found=self.clock, expected="0.1 to 1000 ns"
            )
        Bus.of(self.interface, self.bus_bits)
        if self.parallel and self.folding.layers:
            raise LutraError(
                "a fully parallel design has no layers to fold",
                file=self.folding.file,
                found=", ".join(map(repr, self.folding.layers)),
                remedy="Give --parallel or a folding, not both",
            )

    @property
    def target(self) -> Target:
        """What the design is made for."""
        return Target(find_part(self.part), self.clock)


def planned(graph: FixedGraph, options: Options) -> Plan:
    """The processes and streams of a project; the depths of its FIFOs are still open.

    Raises:
        LutraError: the design cannot be made (see :func:`plan`).
    """
    return plan(graph, options.folding, options.bus, parallel=options.parallel)


def project_files(
    graph: FixedGraph, options: Options, inputs: Array, golden: Array
) -> dict[str, str]:
    """All files of a project, contents by path.

    Args:
        graph: the network.
        options: part, clock and folding.
        inputs: raw integers for the test bench, channels last, batch first.
        golden: the raw outputs that belong to them, channels last.

    Raises:
        LutraError: the design cannot be made (see :func:`plan`).
    """
    estimated = estimate(planned(graph, options), options.folding, options.target)
    design = estimated.plan
    context = _context(estimated, options, len(inputs))
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _resource("templates", name)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    places = {
        "nn_top.h": "src/nn_top.h",
        "nn_top.cpp": "src/nn_top.cpp",
        "nn_layers.h": "src/nn_layers.h",
        "nn_weights.h": "src/nn_weights.h",
        "nn_tb.cpp": "tb/nn_tb.cpp",
        "hls_config.cfg": "hls_config.cfg",
        "run_hls.tcl": "run_hls.tcl",
        "Makefile": "Makefile",
        "README.md": "README.md",
    }
    files = {
        place: environment.get_template(f"{name}.j2").render(context)
        for name, place in places.items()
    }
    if design.bus and design.bus.kind == "m_axi":
        files["link.cfg"] = environment.get_template("link.cfg.j2").render(context)
    if design.bus and design.bus.kind == "axis":
        standin = _resource("include/standin_axi", "ap_axi_sdata.h")
        files["tb/standin/ap_axi_sdata.h"] = standin
    files |= host_files(design, graph.inputs[0], graph.outputs[0])
    files |= headers()
    files["tb/in.dat"] = _integers(inputs)
    files["tb/golden.dat"] = _integers(golden)
    check_project(files)
    if not options.parallel:
        files["fold.toml"] = fold_file(estimated)
    files["manifest.json"] = json.dumps(manifest(estimated, options), indent=2) + "\n"
    return files


def headers() -> dict[str, str]:
    """The kernel library, by path within a project."""
    folder = resources.files(__package__) / "include" / "lutra"
    return {
        f"src/lutra/{entry.name}": entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".h")
    }


def _resource(folder: str, name: str) -> str:
    return (resources.files(__package__) / folder / name).read_text(encoding="utf-8")


def version() -> str:
    """The version of Lutra that runs."""
    return importlib.metadata.version("lutra")


def _context(estimated: Estimate, options: Options, frames: int) -> dict[str, Any]:
    """Finished values for the templates, which decide nothing."""
    design = estimated.plan
    graph = design.graph
    loops = [process for process in design.processes if isinstance(process, RecurrenceProcess)]
    cells = [(loop, cell) for loop in loops for cell in loop.cells]
    whole = [process for process in design.processes if isinstance(process, ParallelProcess)]
    sums = [item for process in whole for item in process.sums.values()]
    sums += [p.wired for p in design.processes if isinstance(p, DenseProcess) and p.wired]
    named = (*design.processes, *design.functions, *(cell for _, cell in cells), *sums)
    found = tables(design, Names(item.name for item in named))
    types = {constant: table.name for constant, table in found.items()}
    writer = Writer(design)
    ports = {*design.inputs, *design.outputs}
    calls = [writer.call(process) for process in design.processes]
    used = {call.kernel for call in calls}
    source, result = network_streams(design)
    return {
        "title": f"nn_top: {identifier(graph.name)}",
        "version": version(),
        "part": options.part,
        "bank": memory_bank(options.part),
        "clock": f"{options.clock:g}",
        "frames": frames,
        "top": top(design, frames),
        "in_words": design.streams[design.inputs[0]],
        "out_words": design.streams[design.outputs[0]],
        "in_container": container(source.format.width),
        "out_container": container(result.format.width),
        "in_stream": source,
        "out_stream": result,
        "in_format": str(source.format),
        "out_format": str(result.format),
        "in_shape": " x ".join(map(str, design.input_port.shape)),
        "out_shape": " x ".join(map(str, design.output_port.shape)),
        "out_signed": "true" if result.format.signed else "false",
        "in_scale": design.input_port.scale,
        "out_scale": design.output_port.scale,
        "entry": graph.entry[design.input_port.name],
        "streams": [s for s in design.streams.values() if s.name not in ports],
        "fifos": {
            stream.name: fifo_memory(stream.bits, stream.depth, options.target.part)
            for stream in design.streams.values()
        },
        "states": [state_text(design, loop) for loop in loops],
        "functions": [
            *(function_text(design, types, function) for function in design.functions),
            *(cell_text(design, types, *pair) for pair in cells),
        ],
        "sums": [sums_text(item) for item in sums],
        "networks": [network_text(design, types, process) for process in whole],
        "whole": bool(whole) and design.bus is None,
        "configs": [
            *(writer.group(*pair) for pair in cells),
            *(writer.config(process) for process in design.processes),
            *movers(design),
        ],
        "calls": calls,
        "kernels": [(name, does) for name, does in KERNELS.items() if name in used],
        "arrays": packed_arrays(design),
        "tables": list(found.values()),
        "rows": [
            {
                "name": process.name,
                "reads": ", ".join(process.reads),
                "writes": ", ".join(process.writes),
                "kernel": call.kernel,
            }
            for process, call in zip(design.processes, calls, strict=True)
        ],
        "folded": not options.parallel,
        "performance": performance(estimated),
        "resources": resource_rows(estimated),
    }


def _integers(raw: Array) -> str:
    """One frame a line, values in the order in which they are streamed."""
    rows = raw.reshape(len(raw), -1).astype(np.int64)
    return "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist())


def manifest(estimated: Estimate, options: Options) -> dict[str, Any]:
    """What made the project; the model's own names stand here, as data."""
    design = estimated.plan
    graph = design.graph
    source, result = network_streams(design)
    return {
        "lutra": version(),
        "model": graph.name,
        "part": options.part,
        "clock_ns": options.clock,
        "interface": options.interface,
        "bus_bits": options.bus.bits if options.bus else None,
        "folding": estimated.folding_dict(),
        "estimate": estimated.to_dict(),
        "inputs": _ports(graph.inputs, source),
        "outputs": _ports(graph.outputs, result),
        "formats": {name: str(format_) for name, format_ in graph.formats.items()},
        "processes": [
            {
                "name": process.name,
                "layer": process.layer,
                "reads": list(process.reads),
                "writes": list(process.writes),
            }
            for process in design.processes
        ],
        "trace": [
            {"id": design.ids[node.output], "value": node.output, "layer": graph.layers[node.name]}
            for node in graph.traced()
        ],
        "verification": None,
    }


def _ports(ports: Sequence[Port], stream: Stream) -> list[Mapping[str, Any]]:
    (port,) = ports
    return [
        {
            "name": port.name,
            "stream": stream.name,
            "shape": list(port.shape),
            "format": str(stream.format),
            "lanes": stream.lanes,
            "beats": stream.beats,
        }
    ]
