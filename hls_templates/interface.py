"""The C++ of a design's ports: the top function's arguments and pragmas."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ..frontend.graph import Port
from ..quantize.formats import Format
from .bus import container
from .cpp import Config
from .plan import Plan, Stream


@dataclass(frozen=True)
class Top:
    """The top function and its tools.

    Attributes:
        interface: ``stream``, ``axis`` or ``m_axi``.
        signature: of the function, without what follows it.
        pragmas: of the ports.
        flow: the tools' flow, ``vivado`` or ``vitis``.
        package: what the tools hand over, ``ip_catalog`` or ``xo``.
        includes: headers of the ports' types.
    """

    interface: str
    signature: str
    pragmas: tuple[str, ...]
    flow: str
    package: str
    includes: tuple[str, ...]


def top(design: Plan, frames: int) -> Top:
    """The top function of a design whose test bench runs ``frames``."""
    (source,), (result,) = (
        [design.streams[name] for name in names] for names in (design.inputs, design.outputs)
    )
    if design.bus is None:
        return _streams("stream", "ap_uint<{}>", source, result, "ap_fifo")
    if design.bus.kind == "axis":
        return _streams("axis", "ap_axiu<{}, 0, 0, 0>", source, result, "axis")
    word = f"ap_uint<{design.bus.bits}>"
    return Top(
        "m_axi",
        f'extern "C" void nn_top(const {word}* memory_in, {word}* memory_out, int frames)',
        (
            _memory("memory_in", "gmem0", frames * source.beats),
            _memory("memory_out", "gmem1", frames * result.beats),
            "mode=s_axilite port=memory_in",
            "mode=s_axilite port=memory_out",
            "mode=s_axilite port=frames",
            "mode=s_axilite port=return",
        ),
        "vitis",
        "xo",
        (),
    )


def _memory(port: str, bundle: str, words: int) -> str:
    """``depth`` is what co-simulation keeps of the memory, in words."""
    return f"mode=m_axi port={port} bundle={bundle} offset=slave depth={words}"


def _streams(interface: str, word: str, source: Stream, result: Stream, mode: str) -> Top:
    """A top function whose two ports are streams.

    With AXI4-Stream there is no block control: a frame starts when its first word is there, so that
    a host needs nothing but a DMA.  Co-simulation allows it where every port is a stream.
    """
    arguments = [
        f"hls::stream<{word.format(stream.bits)} >& {stream.name}" for stream in (source, result)
    ]
    pragmas = [f"mode={mode} port={stream.name}" for stream in (source, result)]
    if interface == "axis":
        pragmas.append("mode=ap_ctrl_none port=return")
    return Top(
        interface,
        f"void nn_top({', '.join(arguments)})",
        tuple(pragmas),
        "vivado",
        "ip_catalog",
        ("ap_axi_sdata.h",) if interface == "axis" else (),
    )


def network_streams(design: Plan) -> tuple[Stream, Stream]:
    """The streams of beats of the network's input and output, behind and before the bus."""
    if design.bus is None:
        return design.streams[design.inputs[0]], design.streams[design.outputs[0]]
    enter, leave = design.processes[0], design.processes[-1]
    return design.streams[enter.writes[0]], design.streams[leave.reads[0]]


def movers(design: Plan) -> list[Config]:
    """The configurations of what moves words between memory and the network."""
    if design.bus is None or design.bus.kind != "m_axi":
        return []
    words = {"nn_load_config": design.inputs[0], "nn_store_config": design.outputs[0]}
    return [
        Config(name, {"bits": design.bus.bits, "words": design.streams[stream].beats}, {})
        for name, stream in words.items()
    ]


def memory_bank(part: str) -> str:
    """The bank of memory that a part's boards have, as linkers name it."""
    return "HBM[0]" if re.match(r"xcu(50|55|280)|xcv80|xcvh", part.lower()) else "DDR[0]"


def host_files(design: Plan, inlet: Port, outlet: Port) -> dict[str, str]:
    """The host's driver, and what it needs to know of the network; none for FIFO ports.

    The ports are the user's: a design's own have an axis where a sample is one value.
    """
    if design.bus is None:
        return {}
    entry = design.graph.entry[inlet.name]
    source, result = network_streams(design)
    about = {
        "interface": design.bus.kind,
        "bus_bits": design.bus.bits,
        "input": _about(inlet, source.format)
        | {"rounding": str(entry.rounding), "overflow": str(entry.overflow)},
        "output": _about(outlet, result.format),
    }
    return {
        "host/driver.py": (resources.files(__package__) / "host_driver.py").read_text("utf-8"),
        "host/network.json": json.dumps(about, indent=2) + "\n",
    }


def _about(port: Port, format_: Format) -> dict[str, Any]:
    """The model's own names have no place here."""
    return {
        "shape": list(port.shape),
        "axes": list(port.axes),
        "scale": port.scale,
        "signed": format_.signed,
        "width": format_.width,
        "fraction": format_.fraction,
        "container": container(format_.width),
    }
