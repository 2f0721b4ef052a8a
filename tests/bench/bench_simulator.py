"""The simulator, time a sample: against float inference and against hls4ml's emulation."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lutra.frontend.errors import ToolchainError
from lutra.frontend.graph import Graph
from lutra.frontend.onnx_export import to_onnx
from lutra.frontend.ops import Array
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator
from tests.bench.bench_training import same_weights
from tests.bench.peers import CNN, MLP, classifier, in_torch, onnxruntime_of, samples
from tests.bench.table import Row, compare

BATCH = 1000
EMULATED = {MLP: 1000, CNN: 50}
"""Samples a call in the comparison with hls4ml, whose time a sample is the same for any number."""

HLS4ML_BITS = 16


def simulator(graph: Graph, bits: int, x: Array) -> Simulator:
    """The network at a width, calibrated on some of the samples."""
    settings = Settings(bits=bits, weight_bits=bits)
    return Simulator(lower(graph, calibrate(graph, settings, x[:256])))


def rows() -> Iterator[Row]:
    """The networks of the project's targets.

    Raises:
        AssertionError: the two sides do not compute alike, so that the comparison means nothing.
    """
    for what, bits in ((MLP, 8), (CNN, 8), (MLP, 16), (CNN, 16)):
        yield against_float(what, bits)
    for what in (MLP, CNN):
        yield against_hls4ml(what)


def against_float(what: str, bits: int) -> Row:
    """The same batch through the simulator and, in float, through onnxruntime."""
    model = classifier(what)
    graph, x = model.graph(), samples(model, BATCH)
    ours = simulator(graph, bits, x)
    run = onnxruntime_of(to_onnx(graph).SerializeToString())
    assert np.abs(ours.predict(x) - run(x)).max() < 0.2
    taken, reference = compare(lambda: ours.predict(x), lambda: run(x))
    title = f"simulator a sample, {what}, {bits} bits; onnxruntime float"
    return Row(title, taken / BATCH, reference / BATCH, 4.0)


def against_hls4ml(what: str) -> Row:
    """The simulator at the width of hls4ml's default type against its compiled emulation."""
    count = EMULATED[what]
    model = classifier(what)
    x = samples(model, count)
    ours = simulator(model.graph(), HLS4ML_BITS, samples(model, 256))
    with tempfile.TemporaryDirectory(prefix="lutra-bench-") as folder:
        emulate = hls4ml_emulation(what, model, folder)
        assert np.abs(ours.predict(x) - emulate(x).reshape(count, -1)).max() < 0.2
        taken, reference = compare(lambda: ours.predict(x), lambda: emulate(x), repetitions=9)
    title = f"simulator a sample, {what}, {HLS4ML_BITS} bits; hls4ml <16,6>"
    return Row(title, taken / count, reference / count, 30.0, least=True)


def hls4ml_emulation(what: str, model: Any, folder: str) -> Callable[[Array], Array]:
    """The network with the same weights in hls4ml, compiled; streaming, if it is the CNN."""
    import hls4ml
    import torch

    if shutil.which("g++") is None:
        raise ToolchainError("hls4ml's emulation needs a compiler", found="no g++")
    network = in_torch(torch, what)
    same_weights(torch, model, network)
    shape, images = model.input_shape, len(model.input_shape) == 3
    shape = (shape[-1], *shape[:-1])
    with contextlib.redirect_stdout(io.StringIO()):
        config = hls4ml.utils.config_from_pytorch_model(
            network.eval(),
            shape,
            granularity="model",
            default_precision="ap_fixed<16,6>",
            backend="Vitis",
            channels_last_conversion="full",  # without it dense weights are not transposed
            transpose_outputs=False,
        )
        emulation = hls4ml.converters.convert_from_pytorch_model(
            network,
            output_dir=folder,
            project_name="peer",
            backend="Vitis",
            io_type="io_stream" if images else "io_parallel",
            hls_config=config,
        )
        emulation.compile()
    run: Callable[[Array], Array] = emulation.predict
    return run
