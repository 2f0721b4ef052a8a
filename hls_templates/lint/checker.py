"""A checker for generated C++: the rules of Vitis HLS that a text can break.

No vendor tool runs where projects are generated, so what breaks a rule is refused before it is
written: a region that is not canonical dataflow, a stream with two readers or writers, reserved or
unsafe identifiers, pragmas that are deprecated or lack a part, and constructs that cannot become
hardware.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...frontend.errors import LutraError
from ..names import is_safe
from .kernels import check_functions, check_sizes
from .pragmas import check_ports, check_pragmas
from .text import Finding, enclosed, split


class LintError(LutraError):
    """Generated text breaks a rule: a defect of the generator."""


FORBIDDEN = (
    (r"\b(new|delete|malloc|calloc|realloc|free)\b", "memory cannot be allocated in hardware"),
    (r"\bstd::(?!size_t\b)\w+", "the standard library cannot be synthesised"),
    (r"\bvirtual\b|\bdynamic_cast\b|\btypeid\b", "there is no run-time polymorphism in hardware"),
    (r"\breinterpret_cast\b", "pointers cannot be cast"),
    (r"\b(fopen|printf|exit|system|getenv)\s*\(", "the system cannot be called"),
    (r"\.(?:read_nb|write_nb|empty|full)\s*\(", "streams are read and written blocking only"),
)
"""Constructs that must not stand in synthesised code (outside of LUTRA_TRACE blocks)."""

REGION_PRAGMAS = ("#pragma HLS STREAM", "#pragma HLS BIND_STORAGE")
"""What may stand among the declarations and calls of dataflow."""

DECLARATION = re.compile(r"hls::stream<ap_uint<(\d+)>\s*>\s+(\w+);$")
CALL = re.compile(r"(?:lutra::)?(\w+)(?:<\w+>)?\(([\w, ]*)\);$")
FUNCTION = re.compile(r"\bvoid\s+(\w+)\s*\(")
POINTER = re.compile(r"\bap_uint<\d+>\s*\*\s*(\w+)")
LOOP = re.compile(r"\)\s*\{\s*for \(int (\w+) = 0; \1 < \w+; \+\+\1\) \{\s*$")
SIGNATURE = re.compile(
    r"template\s*<[^{;]*?>\s*void\s+(\w+)\s*\(((?:[^(){}]|\([^(){}]*\))*)\)\s*\{", re.DOTALL
)
PARAMETER = re.compile(r"hls::stream<[^&]*>\s*&\s*(\w+)")


def check_project(files: Mapping[str, str]) -> None:
    """Raise a :class:`LintError` that lists every broken rule in the project's sources."""
    findings = lint(files)
    if findings:
        raise LintError(
            "the generated C++ breaks rules of Vitis HLS",
            found="; ".join(map(str, findings[:10])),
            remedy="This is a defect of Lutra; please report it with the model",
        )


def lint(files: Mapping[str, str]) -> list[Finding]:
    """All broken rules in the ``src`` folder of a project."""
    sources = {
        name: text
        for name, text in files.items()
        if name.startswith("src/") and not name.endswith("testbench.h")
    }
    findings = []
    for name, text in sources.items():
        visible = _without_trace(text)
        findings += _forbidden(name, visible)
        findings += check_pragmas(name, visible)
        findings += check_ports(name, visible)
        findings += check_functions(name, visible)
        findings += _identifiers(name, visible)
    findings += check_sizes(sources)
    kernels: dict[str, list[str]] = {}
    for name, text in sources.items():
        if name.startswith("src/lutra/"):
            kernels |= _directions(text)
    for name, text in sources.items():
        if "#pragma HLS DATAFLOW" in text:
            findings += _dataflow(name, text, kernels)
        elif name == "src/nn_top.cpp":
            findings += _pipelined(name, text, kernels)
    return findings


def _without_trace(text: str) -> str:
    """The text as synthesis sees it: comments and LUTRA_TRACE blocks blanked, lines kept."""
    shown, skipping = [], False
    for line in text.splitlines():
        if line.startswith("#ifdef LUTRA_TRACE"):
            skipping = True
        shown.append("" if skipping else line.split("//")[0])
        if skipping and line.startswith(("#else", "#endif")):
            skipping = False
    return "\n".join(shown)


def _forbidden(name: str, text: str) -> list[Finding]:
    return [
        Finding(name, number, rule, line)
        for pattern, rule in FORBIDDEN
        if re.search(pattern, text)
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def _identifiers(name: str, text: str) -> list[Finding]:
    """Names that the generator made up must be safe; kernels are written by hand."""
    if name.startswith("src/lutra/"):
        return []
    pattern = re.compile(r"(?:struct|word_t|hls::stream<ap_uint<\d+>\s*>\s*&?)\s*(\w+)")
    return [
        Finding(name, number, "this identifier is reserved or unsafe", match[1])
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
        if not is_safe(match[1])
    ]


def _directions(text: str) -> dict[str, list[str]]:
    """For each kernel of a header, 'read' or 'write' for each of its stream parameters."""
    functions = {
        match[1]: (split(match[2], "<([", ">)]"), enclosed(text, match.end()))
        for match in SIGNATURE.finditer(text)
    }
    kernels = {}
    for name, (parameters, _) in functions.items():
        uses = [_uses(functions, name, i) for i, p in enumerate(parameters) if PARAMETER.search(p)]
        if uses:
            kernels[name] = [
                "both" if len(use) == 2 else min(use, default="unused") for use in uses
            ]
    return kernels


def _uses(functions: Mapping[str, tuple[list[str], str]], name: str, place: int) -> set[str]:
    """Whether a function reads or writes the stream that is its parameter at ``place``, itself or
    in the functions of the header that it passes the stream on to."""
    parameters, body = functions[name]
    stream = PARAMETER.findall(parameters[place])[0]
    uses = {word for word in ("read", "write") if re.search(rf"\b{stream}\.{word}\(", body)}
    for match in re.finditer(r"\b(\w+)(?:<[^;()]*>)?\(", body):
        if match[1] in functions and match[1] != name:
            arguments = split(enclosed(body, match.end(), "()"), "([", ")]")
            for i, argument in enumerate(arguments):
                if argument == stream:
                    uses |= _uses(functions, match[1], i)
    return uses


@dataclass
class _Region:
    """A dataflow region while its calls are read.

    Attributes:
        name, first: the function that holds it, and the line of its pragma.
        ports, pointers: the function's arguments, streams and others.
        declared: its own streams.
        sized: those with a depth.
        reads, writes: how often each of them all is read and written.
    """

    name: str
    first: int
    ports: list[str]
    pointers: list[str]
    declared: list[str] = field(default_factory=list)
    sized: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)


def _pipelined(name: str, text: str, kernels: Mapping[str, list[str]]) -> list[Finding]:
    """Rules of a top that is one pipelined function: interval 1, and one call that reads and writes
    the ports."""
    head, pragma, region = text.partition("#pragma HLS PIPELINE")
    first = head.count("\n") + 1
    if not pragma:
        return [Finding(name, first, "the top is neither dataflow nor pipelined", "nn_top")]
    options, _, rest = enclosed(region, 0).partition("\n")
    statements = [line.strip() for line in rest.splitlines() if line.strip()]
    findings = []
    if "II=1" not in options.split():
        findings.append(Finding(name, first, "a pipelined top takes a frame a cycle", options))
    call = CALL.match(statements[0]) if len(statements) == 1 else None
    if call is None or call[1] not in kernels:
        shown = " ".join(statements) or "nothing"
        return [*findings, Finding(name, first + 1, "a pipelined top is one call", shown)]
    arguments = [argument.strip() for argument in call[2].split(",")]
    uses = dict(zip(arguments, kernels[call[1]], strict=False))
    wanted = dict(zip(PARAMETER.findall(head), ("read", "write"), strict=False))
    if uses != wanted or len(arguments) != len(wanted):
        shown = ", ".join(f"{port} is {use}" for port, use in uses.items())
        findings.append(Finding(name, first + 1, "a port is read or written once", shown))
    return findings


def _dataflow(name: str, text: str, kernels: Mapping[str, list[str]]) -> list[Finding]:
    """Rules of canonical regions: declarations and calls; one reader and one writer a stream; a
    region in a loop is all that its function holds."""
    findings: list[Finding] = []
    known = dict(kernels)
    position = 0
    for match in re.finditer("#pragma HLS DATAFLOW", text):
        head, body = text[position : match.start()], enclosed(text, match.end())
        function = FUNCTION.findall(head)[-1:]
        ports, pointers = PARAMETER.findall(head), POINTER.findall(head)
        first = text.count("\n", 0, match.start()) + 1
        region = _Region("".join(function), first, ports, pointers)
        position = match.end() + len(body)
        if re.search(r"\bfor\b", head):
            findings += _loop(name, region, head, text[position:])
        findings += _calls(name, region, body, known)
        findings += _balance(name, region)
        known[region.name] = ["read" if region.reads[port] else "write" for port in ports]
    return findings


def _loop(name: str, region: _Region, head: str, rest: str) -> list[Finding]:
    """A loop around a region counts from 0 by 1 to a constant or argument, and stands alone."""
    loop = LOOP.search(head)
    if loop and rest.lstrip("} \n") != rest and re.match(r"\}\s*\}", rest):
        return []
    rule = "a loop around dataflow counts to an argument, alone in its function"
    return [Finding(name, region.first, rule, head.strip().splitlines()[-1])]


def _calls(
    name: str, region: _Region, body: str, kernels: Mapping[str, list[str]]
) -> list[Finding]:
    """What breaks a rule in the statements of a region, whose reads and writes are counted."""
    findings = []
    for number, line in enumerate(body.splitlines(), region.first):
        statement = line.strip()
        declaration, call = DECLARATION.match(statement), CALL.match(statement)
        if declaration:
            region.declared.append(declaration[2])
        elif call:
            arguments = [a.strip() for a in call[2].split(",")]
            directions = kernels.get(call[1])
            if directions is None:
                findings.append(Finding(name, number, "no such kernel", statement))
                continue
            uses = list(zip(arguments, directions, strict=False))
            for argument, direction in uses:
                rule = _use(region, argument, direction)
                if rule:
                    findings.append(Finding(name, number, rule, argument))
            behind = any(use == "read" and a in region.declared for a, use in uses)
            before = {a for a, use in uses if use == "read" and a in region.ports}
            if behind and before:
                rule = "a process that reads another one reads no port"
                findings.append(Finding(name, number, rule, statement))
            for pointer in region.pointers:
                region.reads[pointer] += arguments.count(pointer)
        elif statement.startswith(REGION_PRAGMAS):
            region.sized += re.findall(r"HLS STREAM variable=(\w+) depth=[1-9]\d*$", statement)
        elif statement:
            findings.append(
                Finding(name, number, "only declarations and calls in dataflow", statement)
            )
    return findings


def _use(region: _Region, argument: str, direction: str) -> str | None:
    """Count one use of a stream; which rule it breaks, if any."""
    if argument not in region.declared and argument not in region.ports:
        return "not a stream"
    if direction == "read":
        region.reads[argument] += 1
        if argument in region.declared and not region.writes[argument]:
            return "read before written"
    elif direction == "write":
        region.writes[argument] += 1
    else:
        return f"stream is {direction}"
    return None


def _balance(name: str, region: _Region) -> list[Finding]:
    """Each stream has one reader and one writer, each port one process."""
    findings = []
    for stream in region.declared:
        reads, writes = region.reads[stream], region.writes[stream]
        if stream not in region.sized:
            findings.append(Finding(name, region.first, "each stream has its depth", stream))
        if reads != 1 or writes != 1:
            text = f"{stream}: {reads} readers, {writes} writers"
            rule = "a stream has one reader and one writer"
            findings.append(Finding(name, region.first, rule, text))
    return findings + [
        Finding(name, region.first, "a port has one process", port)
        for port in (*region.ports, *region.pointers)
        if region.reads[port] + region.writes[port] != 1
    ]
