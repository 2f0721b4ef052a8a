"""The page on ONNX names the ops that are read, and their versions."""

from __future__ import annotations

import re
from pathlib import Path

from lutra.frontend.onnx.translate.forms import FORMS

ROOT = Path(__file__).parents[1]


def test_the_page_lists_every_op_with_its_newest_version() -> None:
    text = (ROOT / "docs" / "onnx.md").read_text().partition("## Refused")[0]
    listed = re.findall(r"`(\w+)` (\d+)", text)
    assert {op: int(version) for op, version in listed} == {
        op: form.newest for op, form in FORMS.items()
    }
    assert len(listed) == len(FORMS)


def test_the_readme_says_how_many_there_are() -> None:
    assert f"| ONNX, import | {len(FORMS)} ops " in (ROOT / "README.md").read_text()
