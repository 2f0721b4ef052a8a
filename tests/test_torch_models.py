"""What PyTorch exports: imported, quantised, simulated, and compiled, each with the same result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from lutra.frontend.errors import LutraError
from lutra.frontend.graph import evaluate
from lutra.frontend.storage import write_folder
from lutra.hls_templates.project import Options, project_files
from lutra.sim.csim import compare, compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

from .onnx_models import relative
from .torch_models import FILES, Exported

REFUSED = {
    "attention_learned_queries.dynamo": r"Split.*works on constants alone",
    "attention_learned_queries.script": r"Reshape.*repeated for each sample",
    # What the exporter writes is no valid LSTM, and another one than PyTorch's.
    "lstm_projection.dynamo": r"start state.*proj_size",
}
"""Files that are refused, and what the error says."""

FLOAT_ALONE = {
    "lstm_cell_state.dynamo": "memory of an LSTM",
    "lstm_cell_state.script": "memory of an LSTM",
}
"""Files that have no form in fixed point, and what the error says."""

NOT_RUN = {
    "conv_same_dilated.script": "Dilation not supported",
}
"""Files that onnxruntime cannot run, and what it says; PyTorch's own result is there."""

LEAST = 70.0
"""Decibels that the signal is above the error of 16 bits, over all outputs: 1 to 3000.

A value of 16 bits that is spread like a normal distribution has some 85; what layers add up and
functions amplify costs the rest."""

SHOWN = [
    "attention_causal.script",
    "average_pool_inside.script",
    "cnn_lstm.script",
    "conv_transpose_options.dynamo",
    "gru_two_bidirectional.dynamo",
    "inverted_residual.dynamo",
    "lstm_slices.script",
    "products.script",
    "reductions.script",
    "series.script",
    "scalar.dynamo",
    "shuffle_unit.dynamo",
    "vision_transformer.script",
    "unet_bilinear.dynamo",
]
"""Files whose C++ is compiled by every run of the tests; LUTRA_CSIM=all compiles all."""

GROUP = 8
"""Projects that are compiled as one program, which costs less than one at a time."""

FRAMES = 8

KNOWN = [file for file in FILES if file not in REFUSED]

FIXED = [file for file in KNOWN if file not in FLOAT_ALONE]

COMPILED = FIXED if os.environ.get("LUTRA_CSIM") == "all" else SHOWN


@pytest.mark.parametrize("file", KNOWN)
def test_imported_it_computes_the_same(file: str) -> None:
    """As onnxruntime and PyTorch do; all of them add in float32, in orders of their own."""
    exported = Exported.of(file)
    found = exported.imported(exported.graph())
    assert relative(found, exported.y) < 1e-5
    if file in NOT_RUN:
        with pytest.raises(ort.capi.onnxruntime_pybind11_state.InvalidArgument) as caught:
            exported.original()
        assert NOT_RUN[file] in str(caught.value)
    else:
        assert relative(found, exported.original()) < 1e-5


@pytest.mark.parametrize("file", REFUSED)
def test_what_cannot_be_expressed_is_refused(file: str) -> None:
    with pytest.raises(LutraError, match=REFUSED[file]):
        Exported.of(file).graph()


@pytest.mark.parametrize("file", FLOAT_ALONE)
def test_what_has_no_fixed_point_form_is_refused(file: str) -> None:
    exported = Exported.of(file)
    with pytest.raises(LutraError, match=FLOAT_ALONE[file]):
        exported.fixed(exported.graph())


@pytest.mark.parametrize("file", FIXED)
def test_in_fixed_point_it_is_close(file: str) -> None:
    exported = Exported.of(file)
    graph = exported.graph()
    x = exported.more(graph)
    expected = evaluate(graph, {graph.inputs[0].name: x})[graph.outputs[0].name]
    error = Simulator(exported.fixed(graph)).predict(x) - expected
    assert 10 * np.log10(np.square(expected).sum() / np.square(error).sum()) > LEAST


@pytest.mark.parametrize(
    "files", [COMPILED[i : i + GROUP] for i in range(0, len(COMPILED), GROUP)], ids=" ".join
)
def test_compiled_it_computes_the_same_integers(files: list[str], tmp_path: Path) -> None:
    """Every value in C++ and in the simulator; and the outputs where it takes shortcuts."""
    made = []
    for file in files:
        exported = Exported.of(file)
        graph = exported.graph()
        fixed = exported.fixed(graph)
        values = Simulator(fixed, keep=True).trace(exported.more(graph)[:FRAMES])
        raw, outlet = values[fixed.inputs[0].name], fixed.outputs[0].name
        np.testing.assert_array_equal(Simulator(fixed).trace_raw(raw)[outlet], values[outlet])
        project = project_files(fixed, Options(), raw[:2], values[outlet][:2])
        write_folder(tmp_path / file, project, force=False)
        made.append((fixed, values))
    with compiled([tmp_path / file for file in files], find_headers(), ["-O0"]) as binary:
        for i, (fixed, values) in enumerate(made):
            theirs = binary.run(fixed, values[fixed.inputs[0].name], i)
            found = compare(fixed, values, theirs)
            assert (found.wrong, found.first) == (0, None), files[i]
            assert found.compared >= FRAMES
