"""Valid models, as bytes, that the mutations start from."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from lutra.frontend.errors import LutraError
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.ops import BatchNorm, Bipolar, Quantize

from ..cases import CASES
from ..networks import random_network
from ..onnx_models import chain
from ..test_onnx_random import VICTIMS

LARGEST = 300_000
"""Most bytes of a file: the time should go into reading damage, not into copying weights."""

MOST_WEIGHTS = 2**25
"""Most bytes of weights, for the same reason: a small file can ask for many."""


NEEDS_POSITIVE = (BatchNorm, Quantize, Bipolar)
"""Ops for which random constants will not do; the random networks and the node tests have them."""


def few() -> list[bytes]:
    """Models that are made in no time: for the tests."""
    files = list(VICTIMS)
    files += [_bytes(to_onnx(random_network(seed).graph)) for seed in range(12)]
    for case in CASES[::4]:
        if not case.more and not isinstance(case.op, NEEDS_POSITIVE):
            files.append(_bytes(to_onnx(chain(case.shape, [(case.op, case.weights)]))))
    return [file for file in files if _group(file) == "taken"]


def all_models() -> tuple[list[bytes], ...]:
    """In groups: these; more random networks; the onnx project's own test cases, and its networks
    and those in LUTRA_MODEL_DIR, as far as they are supported; and those that are refused."""
    package = Path(onnx.__file__).parent / "backend" / "test" / "data"
    paths = [*package.glob("*/*/model.onnx"), *package.glob("light/*.onnx")]
    if folder := os.environ.get("LUTRA_MODEL_DIR"):
        paths += Path(folder).glob("*.onnx")
    drawn = [_bytes(to_onnx(random_network(seed).graph)) for seed in range(12, 72)]
    refused: list[bytes] = []
    taken: list[list[bytes]] = []
    for files in (_node_cases(), [path.read_bytes() for path in sorted(paths)]):
        groups = [(file, _group(file)) for file in files if len(file) <= LARGEST]
        taken.append([file for file, group in groups if group == "taken"])
        refused += [file for file, group in groups if group == "refused"]
    kept = (few(), drawn, *taken, refused)
    return tuple(group for group in kept if group)


def _group(file: bytes) -> str | None:
    """Where a model belongs: ``taken`` or ``refused``; None where it has too many weights."""
    try:
        graph = from_onnx(ModelProto.FromString(file))
    except LutraError:
        return "refused"
    except Exception:  # a defect, which the cases made of it will show
        return "taken"
    weights = sum(value.nbytes for value in graph.constants.values())
    return "taken" if weights <= MOST_WEIGHTS else None


def _node_cases() -> list[bytes]:
    """The node tests, with all inputs but the first as weights."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    files = []
    for case in cases:
        assert case.model is not None
        assert case.data_sets is not None
        inputs: Any = case.data_sets[0][0]
        copy = ModelProto()
        copy.CopyFrom(case.model)
        kept = [copy.graph.input[0]] if copy.graph.input else []
        for port, value in list(zip(copy.graph.input, inputs, strict=False))[1:]:
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
                copy.graph.initializer.append(numpy_helper.from_array(value, port.name))
            else:
                kept.append(port)
        kept = [onnx.ValueInfoProto.FromString(port.SerializeToString()) for port in kept]
        del copy.graph.input[:]
        copy.graph.input.extend(kept)
        files += [_bytes(case.model), _bytes(copy)]
    return files


def _bytes(model: ModelProto) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))
