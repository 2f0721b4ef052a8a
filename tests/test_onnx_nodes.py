"""The ONNX project's own test cases: each passes, or is refused and listed as such.

The table in ``onnx_cases.json`` says which; ``python -m tests.onnx_cases`` writes it.
"""

from __future__ import annotations

import json

import onnx
import pytest

from .onnx_cases import KINDS, PASSES, TABLE, all_cases, judge, understood

LISTED = json.loads(TABLE.read_text())
SAME = LISTED["onnx"] == onnx.__version__
"""Whether the installed package has the cases that the table was made from."""


@pytest.mark.parametrize("op", sorted(all_cases()))
def test_every_case_passes_or_is_refused_as_the_table_says(op: str) -> None:
    """Not one gives another result, be the op understood or not."""
    listed = {
        name: outcome in PASSES
        for outcome, names in LISTED["cases"].get(op, {}).items()
        for name in names
    }
    for case in all_cases()[op]:
        passes = judge(case) in PASSES
        if case.name in listed:
            assert passes == listed[case.name], f"{case.name} is listed otherwise"
        elif SAME:
            assert not passes and not understood(op), f"{case.name} is not listed"  # noqa: PT018
    if SAME:
        assert set(listed) <= {case.name for case in all_cases()[op]}


def test_enough_cases_pass() -> None:
    passing = {
        op: sum(len(outcomes.get(how, ())) for how in PASSES)
        for op, outcomes in LISTED["cases"].items()
    }
    assert sum(count for op, count in passing.items() if op not in KINDS) >= 450
