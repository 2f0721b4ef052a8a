"""Networks of the size that people use: the nine of the onnx package, and one of 100 MB."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from lutra.frontend.graph import evaluate
from lutra.frontend.onnx.check import check
from lutra.frontend.onnx.importer import from_onnx, load

from .onnx_models import data, model, node

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = sorted(LIGHT.glob("*.onnx"))
SECONDS = 20
MEMORY = 4 * 2**30


def by_name(path: Path) -> str:
    return path.stem.removeprefix("light_")


def test_there_are_nine() -> None:
    assert len(NETWORKS) == 9


@pytest.mark.parametrize("path", NETWORKS, ids=by_name)
def test_each_network_gives_what_the_onnx_package_expects(path: Path) -> None:
    """On the input of that package's own runner; 2 units of float32's last place or so."""
    began = time.process_time()
    graph = load(path)
    assert time.process_time() - began < SECONDS
    (port,) = graph.inputs
    shape = (1, *port.outer_shape)
    size = math.prod(shape)
    x = (np.arange(size).reshape(shape) / size).astype(np.float32)
    expected = numpy_helper.to_array(onnx.load_tensor(LIGHT / f"{path.stem}_output_0.pb"))
    (y,) = evaluate(graph, {port.name: x}).values()
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def filled(path: Path) -> ModelProto:
    """A network with random weights in place of constant ones, which would hide wrong orders."""
    m = onnx.load(path)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in m.graph.initializer}
    kept = []
    for i, n in enumerate(m.graph.node):
        if n.op_type != "ConstantOfShape":
            kept.append(n)
            continue
        sizes = tuple(map(int, shapes[n.input[0]]))
        value = data(sizes, i)
        # Variances and factors stay positive; sums of products keep their size.
        value = value * math.sqrt(2 / math.prod(sizes[1:])) if len(sizes) > 1 else 1 + 0.1 * value
        m.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), n.output[0]))
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept]
    del m.graph.node[:]
    m.graph.node.extend(nodes)
    return m


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_networks_with_random_weights_equal_onnxruntime(name: str) -> None:
    m = filled(LIGHT / f"light_{name}.onnx")
    found = check(m, from_onnx(m))
    assert found.passed
    assert not found.rounding
    assert found.runner.startswith("onnxruntime")


def inspected(path: Path) -> str:
    """What ``lutra inspect`` prints, within the time and memory that it may take."""
    done = subprocess.run(
        [sys.executable, "-m", "lutra", "inspect", str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        capture_output=True,
        text=True,
        check=False,
        timeout=3 * SECONDS,  # the tests share the machine
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["vgg19", "densenet121"])
def test_inspect_takes_the_largest_and_the_longest(name: str) -> None:
    assert "total" in inspected(LIGHT / f"light_{name}.onnx")


LOAD = """
import resource, sys
from lutra.frontend.onnx.importer import load
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
graph = load(sys.argv[1])
print(peak() - before, sum(value.nbytes for value in graph.constants.values()))
"""


@pytest.mark.parametrize("external", [False, True])
def test_a_model_of_100_megabytes_loads_in_bounded_memory(tmp_path: Path, external: bool) -> None:
    """The file, its weights as parsed, and the graph's: three times the weights, at most."""
    size, layers = 1024, 25
    nodes, weights = [], {}
    for i in range(layers):
        weights[f"w{i}"] = data((size, size), i)
        weights[f"b{i}"] = data((size,), i)
        source = f"v{i}" if i else "x"
        nodes += [
            node("Gemm", [source, f"w{i}", f"b{i}"], f"g{i}", transB=i % 2),
            node("Relu", [f"g{i}"], f"v{i + 1}" if i < layers - 1 else "y"),
        ]
    path = tmp_path / "m.onnx"
    onnx.save(
        model(nodes, ["N", size], weights), path, save_as_external_data=external, size_threshold=0
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - began < 15  # alone it takes half a second
    grown, held = map(int, done.stdout.split())
    assert held == 4 * layers * size * (size + 1)
    assert grown < 3.3 * held


def test_a_network_of_many_nodes_takes_time_in_proportion() -> None:
    """Every pass is one sweep: eight times the nodes may not take 64 times the time."""

    def seconds(blocks: int) -> float:
        nodes = []
        for i in range(blocks):
            source = f"v{i}" if i else "x"
            nodes += [
                node("Transpose", [source], f"t{i}", perm=[0, 2, 1]),
                node("MatMul", [f"t{i}", "w"], f"m{i}"),
                node("Relu", [f"m{i}"], f"r{i}"),
                node("Transpose", [f"r{i}"], f"u{i}", perm=[0, 2, 1]),
                node("Add", [f"u{i}", source], f"v{i + 1}" if i < blocks - 1 else "y"),
            ]
        m = model(nodes, ["N", 3, 4], {"w": data((3, 3))})
        began = time.process_time()
        from_onnx(m)
        return time.process_time() - began

    seconds(10)
    assert seconds(800) < 24 * seconds(100) + 1
