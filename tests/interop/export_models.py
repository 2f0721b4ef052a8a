"""Writes the ONNX files of ``tests/models/torch``: every case of the zoo, by both exporters.

    python -m tests.interop.export_models [NAME ...]

needs torch and onnxscript.  The files that are checked in were written with torch 2.13.0,
onnxscript 0.7.2 and onnx 1.23.2; the same versions write the same files again.  Beside the two
models of a case, NAME.npz holds three samples 'x' and what PyTorch gives for them, 'y'.
"""

from __future__ import annotations

import argparse
import io
import logging
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from .zoo import attention, dense, recurrent, shaping, windows
from .zoo.case import Case

FOLDER = Path(__file__).parent.parent / "models" / "torch"

CASES = [
    *dense.CASES,
    *windows.CASES,
    *recurrent.CASES,
    *attention.CASES,
    *shaping.CASES,
]

DYNAMO_OPSETS = (18, 20, 21, 23)

SAMPLES = 3


def seed_of(name: str) -> int:
    """A number that depends on the name alone, so that a case more changes no other."""
    return zlib.crc32(name.encode())


def settled(net: Any) -> Any:
    """The network for inference, with running statistics that are not the initial ones."""
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.5)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, torch.nn.LayerNorm | torch.nn.GroupNorm | torch.nn.RMSNorm):
            for weight in module.parameters():
                torch.nn.init.normal_(weight, mean=0.5, std=0.5)
    return net.eval()


def samples(case: Case) -> np.ndarray[Any, Any]:
    """Inputs, with the batch where the case has it."""
    rng = np.random.default_rng(seed_of(case.name))
    shape = (SAMPLES, *case.shape)
    x = rng.integers(0, 256, shape) if case.pixels else rng.normal(size=shape)
    return np.moveaxis(x, 0, case.batch_axis).astype(np.float32)


def exported(case: Case, net: Any, dynamo: bool) -> onnx.ModelProto:
    """What one of the exporters writes.

    Half of the files have an open batch, and the two of a case differ in that; the operator set
    goes through all that the exporter has.
    """
    seed = seed_of(case.name)
    opsets = DYNAMO_OPSETS if dynamo else case.opsets
    open_batch = bool(seed % 2) == dynamo
    x = torch.from_numpy(samples(case))
    options: dict[str, Any] = {"opset_version": opsets[seed // 2 % len(opsets)]}
    if not open_batch:
        x = x.narrow(case.batch_axis, 0, 1)
    elif dynamo:
        options["dynamic_shapes"] = ({case.batch_axis: torch.export.Dim("batch", min=1)},)
    else:
        options["dynamic_axes"] = {name: {case.batch_axis: "batch"} for name in "xy"}
    if dynamo:
        program = torch.onnx.export(
            net, (x,), dynamo=True, verbose=False, input_names=["x"], output_names=["y"], **options
        )
        return tidied(program.model_proto)
    stream = io.BytesIO()
    torch.onnx.export(
        net, (x,), stream, dynamo=False, input_names=["x"], output_names=["y"], **options
    )
    return tidied(onnx.load_from_string(stream.getvalue()))


def tidied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what was remembered of the source code: lines and places of files."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    parts = [*model.graph.node, *model.graph.value_info, *model.graph.initializer]
    parts += [*model.graph.input, *model.graph.output]
    for function in model.functions:
        parts += function.node
        del function.metadata_props[:], function.value_info[:]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def write(case: Case, folder: Path) -> None:
    """Both models of a case, and its samples.

    Raises:
        AssertionError: the module gives NaN or infinity.
    """
    torch.manual_seed(seed_of(case.name))
    net = settled(case.make())
    x = samples(case)
    with torch.no_grad():
        y = net(torch.from_numpy(x)).numpy()
    assert np.isfinite(y).all(), case.name
    np.savez_compressed(folder / f"{case.name}.npz", x=x, y=y)
    for kind, dynamo in (("script", False), ("dynamo", True)):
        if not (dynamo or case.opsets):
            continue
        try:
            model = exported(case, net, dynamo)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error) else ""
            print(f"{case.name}.{kind}: not exported: {type(error).__name__}: {first[:150]}")
            continue
        (folder / f"{case.name}.{kind}.onnx").write_bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="cases; by default all of them")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    options.folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        if not options.names or case.name in options.names:
            write(case, options.folder)
            print(case.name, flush=True)


if __name__ == "__main__":
    main()
