"""The expected outputs of quantised models, held against the executor of the qonnx package.

``python -m tests.interop.test_qonnx`` writes them.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from onnx import ModelProto

from lutra.frontend.ops import Array
from tests.qonnx_models import GOLDEN, MODELS, SAMPLES, cases, inputs, shared

pytest.importorskip("qonnx")

from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

pytestmark = pytest.mark.filterwarnings("ignore")  # its own, of which there are many


def executed(model: ModelProto) -> Array:
    """The output for :data:`SAMPLES` samples, each by itself, as the files fix the batch."""
    wrapped = ModelWrapper(model).transform(InferShapes())
    weights = {tensor.name for tensor in model.graph.initializer}
    (port,) = (p for p in model.graph.input if p.name not in weights)
    shape = wrapped.get_tensor_shape(port.name)
    samples = inputs(SAMPLES, *shape)
    output = model.graph.output[0].name
    return np.concatenate([execute_onnx(wrapped, {port.name: x})[output] for x in samples])


def expected() -> dict[str, Array]:
    """Everything that the golden file holds, as the executor gives it."""
    made = {name: executed(model) for name, model in cases().items()}
    return made | {name: executed(shared(name)) for name in MODELS}


@pytest.mark.skipif("LUTRA_MODEL_DIR" not in os.environ, reason="LUTRA_MODEL_DIR is unset")
def test_the_expected_outputs_are_the_executors() -> None:
    with np.load(GOLDEN) as golden:
        found = expected()
        assert set(golden) == set(found)
        for name, value in found.items():
            assert np.array_equal(golden[name], value), name


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **expected())  # type: ignore[arg-type]
