"""Rules of the checker for pragmas: those that exist, their parts, and ports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from .text import Finding

DEPRECATED = {
    "RESOURCE": "BIND_STORAGE or BIND_OP",
    "DATA_PACK": "AGGREGATE",
    "INTERFACE ap_": "INTERFACE mode=",
    "ALLOCATION instances": "ALLOCATION function",
    "ARRAY_MAP": "nothing; it is gone",
}

MEMORIES = {
    "ram_1p": "auto bram lutram uram",
    "ram_2p": "auto bram lutram uram",
    "ram_s2p": "auto bram lutram uram",
    "ram_t2p": "auto bram uram",
    "ram_1wnr": "auto bram lutram uram",
    "rom_1p": "auto bram lutram",
    "rom_2p": "auto bram lutram",
    "rom_np": "auto bram lutram",
    "fifo": "auto bram lutram uram srl memory",
}
"""What each kind of storage can be made of; a ROM is never an UltraRAM."""

OPERATIONS = frozenset(("mul", "add", "sub"))
MADE_OF = frozenset(("auto", "dsp", "fabric"))
MODES = frozenset(("ap_fifo", "axis", "m_axi", "s_axilite", "ap_none", "ap_ctrl_none"))

Options = Mapping[str, str]


def _array(options: Options) -> str | None:
    if "dim" not in options:
        return "dim must be given"
    if options.get("type") not in ("complete", "cyclic", "block"):
        return "type must be complete, cyclic or block"
    if (options["type"] == "complete") == ("factor" in options):
        return "a factor belongs to cyclic and block"
    return None


def _interface(options: Options) -> str | None:
    mode = options.get("mode")
    if mode is None:
        return "mode must be given"
    if mode not in MODES:
        return "there is no such mode"
    if "port" not in options:
        return "port must be given"
    if mode != "m_axi":
        return None
    if re.fullmatch(r"[a-z][a-z0-9_]*", options.get("bundle", "")) is None:
        return "a bundle is named in lower case"
    if options.get("offset") != "slave" or not _positive(options.get("depth")):
        return "a port to memory has offset=slave and a depth"
    return None


def _storage(options: Options) -> str | None:
    if "impl" not in options:
        return "impl must be given"
    made_of = MEMORIES.get(options.get("type", ""))
    if made_of is None:
        return "there is no such storage"
    return None if options.get("impl") in made_of.split() else "storage cannot be made of this"


def _operation(options: Options) -> str | None:
    if options.get("op") not in OPERATIONS:
        return "there is no such operation"
    if options.get("impl") not in MADE_OF:
        return "an operation cannot be made of this"
    latency = options.get("latency", "0")
    return None if latency.isdigit() and int(latency) <= 4 else "latency is 0 to 4"


def _pipeline(options: Options) -> str | None:
    if re.fullmatch(r"[1-9]\d*|Config::\w+", options.get("II", "")) is None:
        return "II must be given"
    return None if options.get("style") in ("flp", "frp", "stp") else "style must be given"


def _stream(options: Options) -> str | None:
    return None if _positive(options.get("depth")) else "depth must be given"


def _dependence(options: Options) -> str | None:
    if options.get("type") not in ("inter", "intra"):
        return "type must be inter or intra"
    known = options.get("dependent") in ("true", "false")
    return None if known else "dependent must be true or false"


def _aggregate(options: Options) -> str | None:
    return None if options.get("compact") == "bit" else "compact must be bit"


def _anything(options: Options) -> str | None:
    return None


RULES: Mapping[str, tuple[bool, Callable[[Options], str | None]]] = {
    "ARRAY_PARTITION": (True, _array),
    "ARRAY_RESHAPE": (True, _array),
    "INTERFACE": (False, _interface),
    "BIND_STORAGE": (True, _storage),
    "BIND_OP": (True, _operation),
    "PIPELINE": (False, _pipeline),
    "STREAM": (True, _stream),
    "DEPENDENCE": (True, _dependence),
    "AGGREGATE": (True, _aggregate),
    "INLINE": (False, _anything),
    "UNROLL": (False, _anything),
    "DATAFLOW": (False, _anything),
    "LOOP_TRIPCOUNT": (False, _anything),
    "LATENCY": (False, _anything),
    "ALLOCATION": (False, _anything),
}
"""For each pragma that may stand in a project: whether it names a variable, and its own rule."""


def _positive(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"[1-9]\d*", text) is not None


def check_pragmas(name: str, text: str) -> Iterator[Finding]:
    """Broken rules of single pragmas."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words[:1] != ["#pragma"] or len(words) < 3 or words[1] != "HLS":
            if words[:1] == ["#pragma"]:
                yield Finding(name, number, "a pragma is HLS's", line)
            continue
        old = [instead for word, instead in DEPRECATED.items() if f"HLS {word}" in line]
        if old:
            yield Finding(name, number, f"deprecated, use {old[0]}", line)
            if words[2] not in RULES:
                continue
        if words[2] not in RULES:
            yield Finding(name, number, "no rule is known for this pragma", line)
            continue
        options = dict(word.partition("=")[::2] for word in words[3:])
        named, rule = RULES[words[2]]
        broken = rule(options)
        if named and not options.get("variable"):
            yield Finding(name, number, "variable must be given", line)
        elif broken:
            yield Finding(name, number, broken, line)


_TOP = re.compile(
    r"^(?:extern \"C\" )?void \w+\(([^{}]*)\) \{\n((?:#pragma HLS INTERFACE[^\n]*\n)+)",
    re.MULTILINE,
)


def check_ports(name: str, text: str) -> Iterator[Finding]:
    """Rules of the ports of a top function, all of them together."""
    for match in _TOP.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        modes: dict[str, set[str]] = {}
        bundles: Counter[str] = Counter()
        for line in match[2].splitlines():
            options = dict(word.partition("=")[::2] for word in line.split()[3:])
            mode = options.get("mode", "")
            modes.setdefault(options.get("port", ""), set()).add(mode)
            bundles.update([options.get("bundle", "")] if mode == "m_axi" else [])
        broken = [*_arguments(match[1], modes), *_control(modes)]
        broken += [("one port a bundle", item) for item, count in bundles.items() if count > 1]
        arrays = re.findall(r"HLS ARRAY_\w+ variable=(\w+)", text[match.end() :])
        broken += [
            ("memory cannot be partitioned", array)
            for array in arrays
            if "m_axi" in modes.get(array, ())
        ]
        for rule, item in broken:
            yield Finding(name, number, rule, item)


def _arguments(text: str, modes: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Each argument has the port that its type asks for."""
    arguments = re.findall(r"([*&]?)\s*(\w+)\s*(?:,\s*(?=\w+::|const |ap_|int )|$)", text)
    for mark, argument in arguments:
        allowed, rule = {
            "*": ({"m_axi"}, "a pointer is a port to memory"),
            "&": ({"ap_fifo", "axis"}, "a stream is a FIFO or AXI4-Stream"),
        }.get(mark, ({"s_axilite"}, "a number comes by s_axilite"))
        if not modes.get(argument, set()) & allowed:
            yield rule, argument
    for port in modes.keys() - {argument for _, argument in arguments} - {"return"}:
        yield "a port is no argument", port


def _control(modes: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Block control suits the ports."""
    found = set().union(*modes.values())
    control = modes.get("return", set())
    if "s_axilite" in found and "s_axilite" not in control:
        yield "if an argument is in registers, so is the control of the block", "return"
    if "ap_ctrl_none" in control and found & {"s_axilite", "m_axi"}:
        yield "without block control every port is a stream", "ap_ctrl_none"
