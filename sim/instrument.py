"""Rewrites the sources of a project for the timed build (see :mod:`.timed`).

Nothing is added to a line but code, so that the compiler's messages name the project's own lines.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..frontend.errors import ModelError, clip

LARGEST_SOURCE = 1 << 26
"""Bytes of the longest source file that is read."""

REMEDY = "Only a project as Lutra wrote it can be timed: generate it again"

_HIDDEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_PIPELINE = re.compile(r"^[ \t]*#pragma[ \t]+HLS[ \t]+PIPELINE\b([^\n]*)", re.MULTILINE)
_EDGE = re.compile(r"[{}]")
_SPACE = re.compile(r"\s+|#pragma[^\n]*")
_DECLARED = re.compile(r"hls::stream<[^;{}]*>\s*(\w+)\s*;")
_STREAM = re.compile(r"\bhls::stream<[^;{}]*?>\s*(?:&\s*(\w+)\s*[,)]|(\w+)\s*;)")
_DEPTH = re.compile(r"#pragma[ \t]+HLS[ \t]+STREAM[ \t]+variable=(\w+)[ \t]+depth=([0-9]{1,12})\b")
_TOP = re.compile(r"\bvoid\s+nn_top\s*\([^{};]*\)\s*\{")
_FRAMES = re.compile(
    r"\bvoid\s+nn_frames\s*\([^{};]*\)\s*\{"
    r"\s*for \(int frame = 0; frame < frames; \+\+frame\) \{"
)
_BENCH = re.compile(
    r"return lutra::testbench<lutra::(fifo_ports|axis_ports|memory_ports)<bench> >\(argc, argv\);"
)
_CALL = re.compile(r"([\w:]+)\s*(?:<\s*([^;{}]*?)\s*>)?\s*\(([^;{}()]*)\)\s*;")

DEFAULT_DEPTH = 2
"""Beats of a stream that no pragma says anything of."""


def read_source(path: Path) -> str:
    """The text of a source file.

    Raises:
        ModelError: it cannot be read, or is very long.
    """
    try:
        if path.stat().st_size > LARGEST_SOURCE:
            raise ModelError("is too long for a source file", file=str(path))
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError("cannot be read", file=str(path), found=reason) from None


def timed_kernels(text: str, file: str) -> str:
    """A header of kernels: each pipelined loop says when it begins, and each of its iterations.

    Raises:
        ModelError: a pipeline is none that can be timed.
    """
    plain = _without_comments(text)
    pragmas = list(_PIPELINE.finditer(plain))
    opens: list[int] = []
    inserts: list[tuple[int, str]] = []
    edges = iter([*_EDGE.finditer(plain)])
    edge = next(edges, None)
    for pragma in pragmas:
        while edge is not None and edge.start() < pragma.start():
            if edge[0] == "{":
                opens.append(edge.start())
            elif opens:
                opens.pop()
            edge = next(edges, None)
        if not opens or not _interval_one(pragma[1]):
            raise _refused("a pipeline cannot be timed", text, pragma.start(), file)
        start = _header(plain, opens[-1])
        if start is None:
            raise _refused("a pipeline cannot be timed", text, pragma.start(), file)
        if plain.startswith("for", start):
            inserts.append((start, "if (::timed::loop()) {} else "))
        inserts.append((opens[-1] + 1, " ::timed::turn timed_turn;"))
    return _with_inserts(text, inserts)


def timed_top(text: str, file: str) -> str:
    """The top function: streams with their depths, and a process for each call.

    Between memory and the network, words are read before the run and written after it.

    Raises:
        ModelError: the body is not made of declarations, pragmas and calls.
    """
    plain = _without_comments(text)
    depths = {match[1]: int(match[2]) for match in _DEPTH.finditer(plain)}
    streams = {match[1] or match[2] for match in _STREAM.finditer(plain)}
    framed = _FRAMES.search(plain)
    region = framed or _TOP.search(plain)
    if region is None:
        raise ModelError("has no function nn_top", file=file, remedy=REMEDY)
    inserts = []
    if framed:
        inserts.append((framed.end(), " if (frame) continue;"))
        inserts += [
            (match.end(), f" {match[1]}.limit({_quoted(match[1])}, ::timed::UNLIMITED);")
            for match in _DECLARED.finditer(plain, plain.index("nn_top", framed.end()))
        ]
    at = region.end()
    while not plain.startswith("}", at):
        match = _SPACE.match(plain, at)
        if match is not None:
            pass
        elif match := _DECLARED.match(plain, at):
            depth = max(depths.get(match[1], DEFAULT_DEPTH), 1)
            inserts.append((match.end(), f" {match[1]}.limit({_quoted(match[1])}, {depth});"))
        elif match := _CALL.match(plain, at):
            name = (match[2] or match[1]).removesuffix("_config")
            ends = [word for word in re.findall(r"\w+", match[3]) if word in streams]
            states = ", ".join(f"{end}.state()" for end in ends)
            begin = f"::timed::the().add_process({_quoted(name)}, {{{states}}}, [&] {{ "
            inserts.append((at, begin))
            inserts.append((match.end(), " });"))
        else:
            raise _refused("the top function cannot be timed", text, at, file)
        at = match.end()
    inserts.append((at, "::timed::the().run(); "))
    return _with_inserts(text, inserts)


def timed_bench(text: str, file: str) -> str:
    """The test bench, with a main that runs all frames at once.

    Raises:
        ModelError: it is not the bench that Lutra writes.
    """
    ports = r"::timed::\1<bench>"
    call = f"return ::timed::bench(argv, {ports}::in_values, &{ports}::run_values);"
    timed, count = _BENCH.subn(f"(void)argc; {call}", text)
    if count != 1:
        raise ModelError("the test bench cannot be timed", file=file, remedy=REMEDY)
    return timed


def _without_comments(text: str) -> str:
    """The text with blanks for comments and literals, every other character in its place."""
    return _HIDDEN.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def _interval_one(options: str) -> bool:
    words = options.split()
    return "II=1" in words and all(
        word in ("II=1", "rewind") or word.startswith("style=") for word in words
    )


def _header(plain: str, brace: int) -> int | None:
    """Where the ``for`` of the block that opens at ``brace`` stands, or the name of the function;
    nowhere if it is another block."""
    end = len(plain[:brace].rstrip())
    if not plain.startswith(")", end - 1):
        return None
    depth = 0
    for at in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(plain[at], 0)
        if depth == 0:
            word = re.search(r"\w+\s*$", plain[max(at - 200, 0) : at])
            if word is None or word[0].strip() in ("if", "while", "switch"):
                return None
            return at - len(word[0])
    return None


def _quoted(name: str) -> str:
    """A name as a C++ literal."""
    return '"' + re.sub(r"\W", "_", name) + '"'


def _refused(what: str, text: str, at: int, file: str) -> ModelError:
    line = text.count("\n", 0, at) + 1
    found = text[at:].lstrip().split("\n", 1)[0]
    return ModelError(what, file=f"{file}:{line}", found=clip(found), remedy=REMEDY)


def _with_inserts(text: str, inserts: list[tuple[int, str]]) -> str:
    parts = []
    last = 0
    for at, piece in sorted(inserts, key=lambda insert: insert[0]):
        parts += [text[last:at], piece]
        last = at
    return "".join([*parts, text[last:]])
