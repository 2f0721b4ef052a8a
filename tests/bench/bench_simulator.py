"""The simulator, time a sample: against float inference and against hls4ml's emulation."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from lutra.frontend.errors import ToolchainError
from lutra.frontend.graph import Graph
from lutra.frontend.model import Model
from lutra.frontend.onnx.exporter import to_onnx
from lutra.frontend.onnx.importer import from_onnx
from lutra.frontend.ops import Array
from lutra.quantize.calibrate import calibrate
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.simulator import Simulator
from tests.bench.peers import CNN, LSTM_PEER, MLP, NETWORKS, exported, onnxruntime_of, samples
from tests.bench.table import Row, compare

BATCH = 1000
VALUES = 1 << 22
"""Values that a batch has at most: photographs are fewer."""

EMULATED = {MLP: (1000, 30.0), CNN: (50, 30.0), LSTM_PEER: (200, 50.0)}
"""Samples a call in the comparison with hls4ml, whose time a sample is the same for any number,
and how many times as fast as it the simulator is to be."""

RIGHT = (MLP, CNN)
"""Networks that hls4ml 1.3 computes rightly.  The values that it gives for an LSTM from PyTorch are
wrong, but those from Keras take as long."""

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
    for what in NETWORKS:
        for bits in (8, 16):
            yield against_float(what, bits)
    for what in EMULATED:
        yield against_hls4ml(what)


def against_float(what: str, bits: int) -> Row:
    """The same batch through the simulator and, in float, through onnxruntime."""
    model = exported(what)
    count = min(BATCH, VALUES // math.prod(model.input_shape))
    onnx, x = to_onnx(model.graph()), samples(model, count)
    ours = simulator(from_onnx(onnx, what), bits, x)
    run = onnxruntime_of(onnx.SerializeToString())
    expect_close(ours.predict(x), run(x))
    taken, reference = compare(lambda: ours.predict(x), lambda: run(x))
    title = f"simulator a sample, {what}, {bits} bits; onnxruntime float"
    return Row(title, taken / count, reference / count, 4.0)


def expect_close(found: Array, expected: Array) -> None:
    """Raise an AssertionError where the results are not those of the same network: where they
    differ by more than a tenth of their variance."""
    differ = np.square(found - expected).mean() / expected.var()
    assert differ < 0.1, f"results differ by {differ:.1%} of their variance"


def against_hls4ml(what: str) -> Row:
    """The simulator at the width of hls4ml's default type against its compiled emulation."""
    count, limit = EMULATED[what]
    model = exported(what)
    x = samples(model, count)
    ours = simulator(model.graph(), HLS4ML_BITS, samples(model, 256))
    with tempfile.TemporaryDirectory(prefix="lutra-bench-") as folder:
        emulate = hls4ml_emulation(what, model, folder)
        if what in RIGHT:
            expect_close(ours.predict(x), emulate(x).reshape(count, -1))
        taken, reference = compare(lambda: ours.predict(x), lambda: emulate(x), repetitions=9)
    wrong = "" if what in RIGHT else ", wrong"
    title = f"simulator a sample, {what}, {HLS4ML_BITS} bits; hls4ml <16,6>{wrong}"
    return Row(title, taken / count, reference / count, limit, least=True)


def hls4ml_emulation(what: str, model: Model, folder: str) -> Callable[[Array], Array]:
    """The network with the same weights in hls4ml, compiled; streaming, if it is the CNN.

    hls4ml reads PyTorch's LSTM as giving its last state.
    """
    import hls4ml
    from torch import nn

    from tests.bench import in_torch

    if shutil.which("g++") is None:
        raise ToolchainError("hls4ml's emulation needs a compiler", found="no g++")
    network = in_torch.sequential(what, nn.Softmax(-1))
    in_torch.plain(what, network).take(model)
    shape, images = model.input_shape, len(model.input_shape) == 3
    if images:
        shape = (shape[-1], *shape[:-1])
    with contextlib.redirect_stdout(io.StringIO()):
        config = hls4ml.utils.config_from_pytorch_model(
            network.eval(),
            shape,
            granularity="model",
            default_precision="ap_fixed<16,6>",
            backend="Vitis",
            # Without it dense weights are not transposed; a sequence stands as it is.
            channels_last_conversion="off" if what == LSTM_PEER else "full",
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
