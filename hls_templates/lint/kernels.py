"""Rules of the checker for what functions do: streams, loops, bursts, names, widths, sizes."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache

from .text import WIDEST, Finding, enclosed, split

MACROS = frozenset(
    (
        *("INLINE", "BIAS", "CTOR", "CTOR_FROM_INT", "MAX_MODE", "BIT_WIDTH_UPPER_LIMIT"),
        *("DOUBLE_BIAS", "DOUBLE_EXP", "DOUBLE_MAN", "FLOAT_BIAS", "FLOAT_EXP", "FLOAT_MAN"),
        *("HALF_BIAS", "HALF_EXP", "HALF_MAN", "OP_BIN_AF", "OP_BIN_AP", "REF_BIN_OP"),
        *("SC_RND", "SC_TRN", "SC_SAT", "SC_WRAP"),
    )
)
"""What AMD's headers define without a prefix of their own."""

_FUNCTION = re.compile(r"\bvoid\s+(\w+)\s*\(((?:[^(){}]|\([^(){}]*\))*)\)\s*\{", re.DOTALL)
_STREAM = re.compile(r"hls::stream<\s*((?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*)>\s*(&?)\s*(\w*)\s*(\(?)")
_CARRIED = re.compile(
    r"ap_uint<[^,]*>|ap_axiu<[^<>]*>|typename Config::word::type|(?:typename \w+<Config>::)?[Bb]eat"
)
"""What streams carry: in kernels ``beat`` is an ``ap_uint``, and ``word`` one of a port."""

_WIDTH = re.compile(r"\bap_u?(?:int|fixed)<\s*(\d+)")
_BRANCH = re.compile(r"\s*(?:else\s*)?(?:if \((?:[^()]|\([^()]*\))*\)\s*)?\{")
_EXIT = re.compile(r"\b(while|do|goto|break|continue)\b")
_LABEL = re.compile(r"^\s*(\w+):\s*(?:for|while)\b", re.MULTILINE)


@lru_cache(maxsize=256)
def check_functions(name: str, text: str) -> tuple[Finding, ...]:
    """Broken rules in a file; kept, as kernels are the same in every project."""
    return tuple(_findings(name, text))


def _findings(name: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for word in _EXIT.findall(line):
            yield Finding(name, number, f"a loop has one exit and no {word}", line)
        for word in MACROS.intersection(re.findall(r"\b[A-Z][A-Z0-9_]+\b", line)):
            yield Finding(name, number, "AMD's headers define this as a macro", word)
        for width in _WIDTH.findall(line):
            if not 1 <= int(width) <= WIDEST:
                yield Finding(name, number, f"a width is 1 to {WIDEST} bits", line)
    for match in _STREAM.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        if not _CARRIED.fullmatch(match[1].strip()):
            rule = "a stream carries ap_uint, without a depth as its argument"
            yield Finding(name, number, rule, match[0])
        elif match[3] and match[4]:
            yield Finding(name, number, "a stream has no name of its own", match[0])
    for label, count in Counter(_LABEL.findall(text)).items():
        if count > 1:
            yield Finding(name, 1, "labels of loops are unique", label)
    if re.search(r"\bap_u?int<", text) and "AP_INT_MAX_W" in text:
        head, _, _ = text.partition("#include <ap_")
        if "#define AP_INT_MAX_W" not in head:
            yield Finding(name, 1, "AP_INT_MAX_W is defined before the headers", "AP_INT_MAX_W")
    for match in _FUNCTION.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        inner = enclosed(text, match.end())
        parameters = split(match[2], "<([", ">)]")
        yield from _streams(name, number, inner, parameters)
        yield from _bursts(name, number, inner, parameters)


def _streams(name: str, number: int, inner: str, parameters: list[str]) -> Iterator[Finding]:
    """Streams are read and written by their methods, one read of each on every path of a loop."""
    for parameter in parameters:
        match = re.search(r"hls::stream<.*>\s*&\s*(\w+)$", parameter, re.DOTALL)
        if not match:
            continue
        stream = match[1]
        if re.search(rf"\b{stream}\s*(<<|>>)", inner):
            yield Finding(name, number, "streams are read by read() and written by write()", stream)
        for loop in _loops(inner):
            if _most(loop, f"{stream}.read(") > 1:
                yield Finding(name, number, "one read of a stream an iteration", stream)


def _loops(text: str) -> Iterator[str]:
    """The bodies of loops, without those of loops inside them unless these are unrolled."""
    for match in re.finditer(r"\bfor \([^{}]*\) \{", text):
        inner = enclosed(text, match.end())
        yield _without_loops(inner)


def _without_loops(text: str) -> str:
    """The text with the bodies of loops blanked; they are looked at on their own."""
    match = re.search(r"\bfor \([^{}]*\) \{", text)
    if match is None:
        return text
    inner = enclosed(text, match.end())
    return text[: match.start()] + _without_loops(text[match.end() + len(inner) + 1 :])


def _most(text: str, call: str) -> int:
    """How often a call stands on the longest way through branches."""
    match = re.search(r"\bif \(", text)
    if match is None:
        return text.count(call)
    condition = enclosed(text, match.end(), "()")
    position = match.end() + len(condition) + 1
    most = text[: match.start()].count(call) + condition.count(call)
    branches: list[int] = []
    while True:
        opening = re.match(
            r"\s*(?:else\s*)?(?:if \((?:[^()]|\([^()]*\))*\)\s*)?\{", text[position:]
        )
        if opening is None or (branches and "else" not in opening[0]):
            break
        inner = enclosed(text, position + opening.end())
        branches.append(_most(inner, call))
        position += opening.end() + len(inner) + 1
    if not branches:
        return text.count(call)
    return most + max(branches) + _most(text[position:], call)


def _bursts(name: str, number: int, inner: str, parameters: list[str]) -> Iterator[Finding]:
    """Memory is read or written word after word, unconditionally, as many as are known before."""
    for parameter in parameters:
        match = re.search(r"ap_uint<[^<>]*>\s*\*\s*(\w+)$", parameter)
        uses = re.findall(rf"\b{match[1]}(\[[^\]]*\])( = )?", inner) if match else []
        if match is None or not uses:
            continue
        loop = re.search(r"for \(int (\w+) = 0; \1 < (\w+); \+\+\1\) \{", inner)
        broken = None
        if loop is None or "if (" in inner:
            broken = "a burst has no condition and a length that is known"
        elif any(place != f"[{loop[1]}]" for place, _ in uses):
            broken = "a burst has consecutive addresses"
        elif len({written for _, written in uses}) > 1:
            broken = "a burst has one direction"
        if broken:
            yield Finding(name, number, broken, match[1])


# Sizes of arrays that are taken apart


def check_sizes(sources: Mapping[str, str]) -> Iterator[Finding]:
    """Arrays that a kernel takes apart have few elements, as far as its configuration says."""
    kernels: dict[str, str] = {}
    for name, text in sources.items():
        if name.startswith("src/lutra/"):
            kernels |= _kernels(text)
    configs: dict[str, dict[str, int]] = {}
    for text in sources.values():
        for match in re.finditer(r"^struct (\w+_config) \{\n", text, re.MULTILINE):
            inner = enclosed(text, match.end())
            constants = re.findall(r"static const int (\w+) = (-?\d+);", inner)
            configs[match[1]] = {key: int(value) for key, value in constants}
    for name, text in sources.items():
        for match in re.finditer(r"lutra::(\w+)<(\w+)>\(", text):
            for array, count in _taken_apart(kernels.get(match[1], ""), configs.get(match[2], {})):
                if count > WIDEST:
                    number = text.count("\n", 0, match.start()) + 1
                    rule = f"an array of {count} elements is taken apart, more than {WIDEST}"
                    yield Finding(name, number, rule, f"{match[1]}<{match[2]}>: {array}")


@lru_cache(maxsize=64)
def _kernels(text: str) -> Mapping[str, str]:
    """The bodies of a header's functions by their names."""
    return {match[1]: enclosed(text, match.end()) for match in _FUNCTION.finditer(text)}


def _taken_apart(kernel: str, config: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Arrays with a complete partition and their elements, where these can be worked out."""
    names: dict[str, int] = {f"Config.{key}": value for key, value in config.items()}
    for pattern in (r"static const int (\w+) = ([^;{]+);", r"static_assert\((\w+) == ([^,]+),"):
        for key, expression in re.findall(pattern, kernel):
            value = _value(expression, names)
            if value is not None:
                names[key] = value
    for array, dim in re.findall(
        r"HLS ARRAY_PARTITION variable=(\w+) type=complete dim=(\d)", kernel
    ):
        match = re.search(rf"\b{array}((?:\[[^\[\];]+\])+);", kernel)
        sizes = re.findall(r"\[([^\[\]]+)\]", match[1]) if match else []
        chosen = sizes if dim == "0" else sizes[int(dim) - 1 : int(dim)]
        count = 1
        for size in chosen:
            value = _value(size, names)
            count *= value if value is not None else 0
        yield array, count


def _value(expression: str, names: Mapping[str, int]) -> int | None:
    """An expression of constants, sums and products; None if it holds anything else."""
    try:
        tree = ast.parse(expression.strip().replace("::", ".").replace("/", "//"), mode="eval")
        return _evaluate(tree.body, names)
    except (SyntaxError, ValueError, LookupError, ZeroDivisionError):
        return None


def _evaluate(node: ast.expr, names: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.Attribute(value=ast.Name(id="Config"), attr=name):
            return names[f"Config.{name}"]
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, names), _evaluate(right, names)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return a // b
    raise ValueError("no sum or product")
