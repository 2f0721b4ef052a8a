"""Checkpoints: all that a training run needs to go on as if it had never stopped.

A checkpoint is a NumPy archive without pickled objects, and at every moment the file is the last
complete one.
"""

from __future__ import annotations

import io
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ModelError, OutputError
from .ops import Array
from .storage import check_file, write_file

KIND = "lutra-checkpoint-1"
"""What a checkpoint calls itself; the number changes with its layout."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    ValueError,
)
"""What NumPy, zipfile and json raise for bytes that are not what they should be."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after some epochs.

    Attributes:
        configuration: what fixes the run (model, data, loss, optimiser, batch size, seed), in
            plain values; a checkpoint fits only the run of which it is the same.
        history: the results of the epochs so far, by name.
        weights: every variable by name.
        best: the weights of the best epoch so far, by name.
        optimiser: the optimiser's state.
        generator: the state of the random generator.
    """

    configuration: Mapping[str, object]
    history: tuple[Mapping[str, Any], ...]
    weights: Mapping[str, Array]
    best: Mapping[str, Array]
    optimiser: Mapping[str, Array]
    generator: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write the checkpoint; after an interrupt at any moment ``path`` is whole, old or new.

        Raises:
            OutputError: the file cannot be written; what was there is still there.
        """
        header = {
            "kind": KIND,
            "configuration": self.configuration,
            "history": self.history,
            "generator": self.generator,
        }
        arrays: dict[str, Any] = {"header": np.asarray(json.dumps(header))}
        for part in ("weights", "best", "optimiser"):
            arrays |= {f"{part}/{name}": value for name, value in getattr(self, part).items()}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_file(path, content.getvalue())

    @staticmethod
    def load(path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            ModelError: the file cannot be read, is damaged, or is not a checkpoint.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                header = json.loads(str(archive["header"]))
                if header["kind"] != KIND:
                    raise ValueError(f"kind {header['kind']!r}")
                parts: dict[str, dict[str, Array]] = {"weights": {}, "best": {}, "optimiser": {}}
                for key in archive.files:
                    if key != "header":
                        part, name = key.split("/", 1)
                        parts[part][name] = archive[key]
                return Checkpoint(
                    header["configuration"],
                    tuple(map(dict, header["history"])),
                    generator=header["generator"],
                    **parts,
                )
        except _DAMAGE as error:
            raise ModelError(
                "not a whole checkpoint of Lutra's",
                file=str(path),
                found=getattr(error, "strerror", None) or f"{type(error).__name__}: {error}",
                expected=f"a file that training wrote ({KIND})",
                remedy="Give the right file, or train without resuming",
            ) from None

    def check(self, configuration: Mapping[str, object], path: Path) -> None:
        """Refuse to go on with another run's checkpoint.

        Raises:
            ModelError: naming every setting that differs.
        """
        wanted = json.loads(json.dumps(configuration))
        differing = sorted(
            key
            for key in wanted.keys() | self.configuration.keys()
            if wanted.get(key) != self.configuration.get(key)
        )
        if differing:
            raise ModelError(
                f"the checkpoint is of another run: {', '.join(differing)} differ",
                file=str(path),
                found={key: self.configuration.get(key) for key in differing},
                expected={key: wanted.get(key) for key in differing},
                remedy="Resume with the settings of that run, or train without resuming",
            )


def prepare(path: Path) -> None:
    """Make sure, before any work is done, that a checkpoint can be written at ``path``.

    Raises:
        OutputError: the folder does not exist or cannot be written, or ``path`` holds something
            that is not a checkpoint and would be lost.
    """
    check_file(path)
    if path.exists():
        try:
            Checkpoint.load(path)
        except ModelError as error:
            raise OutputError(
                "the file there is not a whole checkpoint of Lutra's and is not overwritten",
                file=str(path),
                found=error.found,
                remedy="Choose another place, or remove the file",
            ) from None
