"""Report files as untrusted input: bounded in size, XML without a document type or entities."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.parsers import expat

from ...frontend.errors import ModelError

MOST_BYTES = 64 << 20
MOST_ELEMENTS = 1 << 20
MOST_DEPTH = 64
"""Reports of large designs have megabytes, most of them in the parts that are skipped."""

SKIPPED = frozenset(
    (
        "InterfaceSummary",
        "RtlModules",
        "RTLDesignHierarchy",
        "FIFOInformation",
        "UserConfigCSynth",
        "Interfaces",
        "ReportHWInterface",
        "ReportSWInterface",
        "ReportBurst",
        "PragmaReport",
        "AutoPragmaReport",
        "BindNodes",
        "InstancesList",
        "SummaryOfViolations",
    )
)
"""Elements whose content nothing here reads."""


def read_bytes(path: Path) -> bytes:
    """A whole report.

    Raises:
        ModelError: it cannot be read, or is larger than a report can be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot be read: {reason}", file=str(path)) from None
    if len(data) > MOST_BYTES:
        raise ModelError(
            "is too large to be a report", file=str(path), expected=f"at most {MOST_BYTES} bytes"
        )
    return data


def parse_tree(data: bytes, file: str) -> ElementTree.Element:
    """The elements of an XML report, without those that are :data:`SKIPPED`.

    Raises:
        ModelError: it is no XML, is cut off, declares a document type, or is nested or large
            beyond all reports.
    """
    reader = _Reader(file)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ModelError(
            "is not a whole XML file",
            file=file,
            found=f"line {error.lineno}: {expat.ErrorString(error.code)}",
            remedy="It may be cut off; let the tool write it again",
        ) from None
    return reader.builder.close()


class _Reader:
    """Builds the tree from expat's events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.builder = ElementTree.TreeBuilder()
        self.depth = self.count = self.skipping = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.count += 1
        if self.depth > MOST_DEPTH or self.count > MOST_ELEMENTS * (16 if self.skipping else 1):
            raise ModelError("is nested or long as no report is", file=self.file)
        if self.skipping or tag in SKIPPED:
            self.skipping += 1
        else:
            self.builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        self.depth -= 1
        if self.skipping:
            self.skipping -= 1
        else:
            self.builder.end(tag)

    def data(self, text: str) -> None:
        if not self.skipping:
            self.builder.data(text)

    def doctype(self, *_: object) -> None:
        raise ModelError("declares a document type, which no report does", file=self.file)
