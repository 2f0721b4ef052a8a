"""The checker of generated C++: what is generated passes, and each rule can be broken."""

from __future__ import annotations

import pytest

from lutra.hls_templates.folding import Folding
from lutra.hls_templates.lint.checker import LintError, check_project, lint
from lutra.quantize.fixed_onnx import FixedModel

from .test_generator import generated


@pytest.fixture(scope="module")
def files(fixed_cnn: FixedModel) -> dict[str, str]:
    return generated(fixed_cnn, Folding(), 1)


def test_a_generated_project_breaks_no_rule(files: dict[str, str]) -> None:
    assert lint(files) == []


TOP, LAYERS, KERNEL = "src/nn_top.cpp", "src/nn_layers.h", "src/lutra/pool.h"
CALL = "    lutra::pool<pool_layer_config>(pool_windows, pool);\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        (TOP, CALL, CALL + "    int a = 3;\n", "only declarations and calls"),
        (TOP, CALL, "    if (true) {\n" + CALL + "    }\n", "only declarations and calls"),
        (TOP, CALL, "    return;\n" + CALL, "only declarations and calls"),
        (TOP, CALL, CALL + CALL, "a stream has one reader and one writer"),
        (TOP, CALL, "", "a stream has one reader and one writer"),
        (TOP, CALL, CALL.replace("pool_windows", "x"), "a port has one process"),
        (TOP, CALL, CALL.replace("(pool_windows", "(nowhere"), "not a stream"),
        (TOP, CALL, CALL.replace("lutra::pool", "lutra::pond"), "no such kernel"),
        (
            TOP,
            CALL,
            CALL.replace("pool_windows, pool", "pool, pool_windows"),
            "read before written",
        ),
        (TOP, " depth=2\n", "\n", "depth must be given"),
        (TOP, "INTERFACE mode=ap_fifo port=x", "INTERFACE ap_fifo port=x", "mode must be given"),
        (TOP, "INTERFACE mode=ap_fifo port=x", "DATA_PACK variable=x", "deprecated, use AGGREGATE"),
        (TOP, "> relu;", "> signal;", "reserved or unsafe"),
        (TOP, "> relu;", "> INLINE;", "reserved or unsafe"),
        (LAYERS, "struct pool_layer_config", "struct class", "reserved or unsafe"),
        (KERNEL, "complete dim=1", "complete", "dim must be given"),
        (TOP, " impl=lutram\n", "\n", "impl must be given"),
        (KERNEL, "HLS ARRAY_PARTITION", "HLS RESOURCE", "deprecated, use BIND_STORAGE"),
        (KERNEL, "int fold = 0;", "int* fold = new int;", "memory cannot be allocated"),
        (KERNEL, "int fold = 0;", "std::vector<int> fold;", "standard library"),
        (KERNEL, "int fold = 0;", "printf(0);", "system cannot be called"),
        (KERNEL, "int fold = 0;", "int fold = in.empty();", "blocking only"),
        (KERNEL, "int fold = 0;", "long* p = reinterpret_cast<long*>(0);", "pointers"),
        (KERNEL, "struct maximum {", "struct maximum { virtual ~maximum();", "polymorphism"),
    ],
)
def test_a_broken_rule_is_found(
    files: dict[str, str], file: str, old: str, new: str, rule: str
) -> None:
    assert old in files[file]
    broken = files | {file: files[file].replace(old, new, 1)}
    found = lint(broken)
    assert any(rule in finding.rule and finding.file == file for finding in found), found
    with pytest.raises(LintError, match="defect of Lutra"):
        check_project(broken)


def test_streams_are_followed_into_the_functions_of_a_kernel(files: dict[str, str]) -> None:
    """Who reads a stream is not always the kernel itself."""
    helper = (
        "template <typename Config, typename Beat>\n"
        "void take(int (&counts)[2], hls::stream<Beat>& from) {\n    from.read();\n}\n\n"
    )
    text = files[KERNEL].replace("// For each of", helper + "// For each of", 1)
    text = text.replace("x = in.read();", "x = 0; take<Config>(counts, in);")
    assert lint(files | {KERNEL: text}) == []
    text = text.replace("from.read();", "from.write(0);")
    rules = {finding.rule for finding in lint(files | {KERNEL: text})}
    assert "a stream has one reader and one writer" in rules


def test_comments_and_tracing_are_not_synthesised(files: dict[str, str]) -> None:
    text = files[KERNEL].replace(
        "int fold = 0;",
        "int fold = 0;  // not new\n#ifdef LUTRA_TRACE\n    std::vector<int> v;\n#endif\n",
    )
    assert lint(files | {KERNEL: text}) == []
