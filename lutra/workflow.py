"""The steps behind the commands: each takes files or models and gives models, files and figures."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console

from . import show
from .console import counting, say, tracking
from .frontend.data import Samples, require
from .frontend.datafile import load_arrays, load_samples
from .frontend.errors import LutraError, ModelError
from .frontend.graph import Graph, expect_single
from .frontend.names import Names
from .frontend.onnx.options import DEFAULTS, ImportOptions
from .frontend.onnx.read import read_model
from .frontend.ops import Array, Shape
from .frontend.storage import check_file, write_file, write_folder
from .hls_templates.project import Options, project_files
from .quantize.calibrate import calibrate, check_data, check_samples
from .quantize.fixed_onnx import FixedModel, from_fixed_onnx, is_fixed, to_fixed_onnx
from .quantize.lower import lower
from .quantize.precision import Settings
from .sim.report import Report, accuracy_report
from .sim.report_html import html_page
from .sim.report_text import render_terminal
from .sim.scores import score_tally
from .sim.simulator import Simulator
from .sim.toolchain import find_compiler, find_headers
from .sim.verify import MODEL_FILE, Verification, verify_project

VERIFYING = ("compiling the C++", "C simulation")
"""What a verification does, in order."""

GOLDEN_FRAMES = 16
"""Frames of golden vectors that a project carries unless the user says otherwise."""


def read_samples(path: str | Path, graph: Graph, *, labels: bool = False) -> Samples:
    """Samples, and labels if wanted, from a file, checked against the network.

    Raises:
        LutraError: the file cannot be read or does not fit; it is named.
    """
    x, y = load_samples(path)
    try:
        x = check_data(graph, x)
        if labels and y is not None:
            score_tally(graph, y, len(x))
    except LutraError as error:
        raise error.in_file(str(path)) from None
    return Samples(x, y if labels else None)


def read_feeds(path: str | Path, graph: Graph) -> dict[str, Array]:
    """Samples for every input, by its name: for one input those of any file of samples, for several
    the arrays of a ``.npz`` file that are named as they are.

    Raises:
        LutraError: the file cannot be read or does not fit; it is named.
    """
    names = [port.name for port in graph.inputs]
    arrays = {names[0]: load_samples(path)[0]} if len(names) == 1 else load_arrays(path, names)
    try:
        lacking = [name for name in names if name not in arrays]
        if lacking:
            raise ModelError(
                "lacks arrays for some inputs",
                found=f"nothing named {', '.join(lacking)}",
                expected=f"arrays named {', '.join(names)}",
            )
        feeds = {port.name: check_samples(port, arrays[port.name]) for port in graph.inputs}
        if len({len(x) for x in feeds.values()}) > 1:
            raise ModelError(
                "holds different numbers of samples",
                found=", ".join(f"{name} {len(x)}" for name, x in feeds.items()),
                expected="as many for each input",
            )
    except LutraError as error:
        raise error.in_file(str(path)) from None
    return feeds


def quantise(graph: Graph, settings: Settings, x: Array, console: Console) -> FixedModel:
    """Choose formats from samples and lower the network."""
    track = tracking(console, "calibration")
    return FixedModel(graph, lower(graph, calibrate(graph, settings, x, track)))


def load_network(path: str | Path, options: ImportOptions = DEFAULTS) -> Graph:
    """A float network: of a float ONNX file, or the one that a fixed-point file was made from."""
    from .frontend.onnx.importer import from_onnx  # not needed by most commands

    body = read_model(path)
    try:
        if not is_fixed(body):
            return from_onnx(body, str(path), options)
        if options != DEFAULTS:
            raise ModelError(
                "is in fixed point, so its shapes and outputs are settled",
                expected="a float model",
                remedy="Leave out --shape and --take",
            )
        return from_fixed_onnx(body).source
    except LutraError as error:
        raise error.in_file(str(path)) from None


def load_single(path: str | Path, options: ImportOptions) -> Graph:
    """As :func:`load_network`, for a network with one input and one output.

    Raises:
        UnsupportedOpError: it has several; the file is named.
    """
    graph = load_network(path, options)
    try:
        expect_single(graph)
    except LutraError as error:
        raise error.in_file(str(path)) from None
    return graph


def write_project(
    model: FixedModel, path: str | Path, options: Options, x: Array | None, *, force: bool
) -> None:
    """Generate a project, whole.

    Args:
        model: the network.
        path: the project's folder.
        options: part, clock and folding.
        x: float samples, of which the first ones become golden vectors; random ones otherwise.
        force: replace a project that stands there.

    Raises:
        LutraError: the design cannot be made, or the folder cannot be written.
    """
    (port,) = model.fixed.inputs
    (outlet,) = model.fixed.outputs
    simulator = Simulator(model.fixed, keep=[port.name])
    values = (
        simulator.trace_raw(_random_frames(model))
        if x is None
        else simulator.trace(x[:GOLDEN_FRAMES])
    )
    files: dict[str, bytes | str] = dict(
        project_files(model.fixed, options, values[port.name], values[outlet.name])
    )
    content = to_fixed_onnx(model).SerializeToString(deterministic=True)
    files[MODEL_FILE] = content
    manifest = json.loads(files["manifest.json"])
    manifest["model_sha256"] = hashlib.sha256(content).hexdigest()
    manifest["files"] = sorted(files)
    files["manifest.json"] = json.dumps(manifest, indent=2) + "\n"
    write_folder(path, files, force=force)


def _random_frames(model: FixedModel) -> Array:
    """Raw inputs, uniform over the whole format; the same ones every time."""
    (port,) = model.fixed.inputs
    format_ = model.fixed.formats[port.name]
    rng = np.random.default_rng(0)
    shape = (GOLDEN_FRAMES, *port.shape)
    return rng.integers(format_.low, format_.high, shape, endpoint=True)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a ``.npz`` file whole.  Names may be any text, unlike with :func:`numpy.savez`, but a
    zip archive ends them at a zero byte, which is written in words."""
    stream = io.BytesIO()
    names = Names()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            member = names.new(name.replace("\0", "\\0"))
            with archive.open(f"{member}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, value, allow_pickle=False)
    write_file(path, stream.getvalue())


def simulate_file(
    model: FixedModel, source: Path, output: Path, *, raw: bool, keep: Path | None
) -> Shape:
    """Run the simulator from file to file.

    Args:
        model: the network.
        source: samples, floats or raw integers, in the user's layout.
        output: the results, alike.
        raw: whether both are raw integers.
        keep: where every intermediate goes.

    Returns:
        The shape of the results.
    """
    x, _ = load_samples(source)
    simulator = Simulator(model.fixed, keep=keep is not None)
    (inlet,), (outlet,) = model.fixed.inputs, model.fixed.outputs
    try:
        if raw:
            values = simulator.trace_raw(inlet.arrange(check_raw(x)))
        else:
            values = simulator.trace(check_data(model.source, x))
    except LutraError as error:
        raise error.in_file(str(source)) from None
    y = values[outlet.name]
    step = model.fixed.formats[outlet.name].step
    result = outlet.restore(y).astype(np.int64) if raw else outlet.leave(y * step)
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(result))
    write_file(output, stream.getvalue())
    if keep is not None:
        write_arrays(keep, {name: value.astype(np.int64) for name, value in values.items()})
    return result.shape


def check_raw(x: Array) -> Array:
    """Raw integers of a user's."""
    if x.dtype.kind not in "iu" or not len(x):
        raise ModelError(
            "raw data must be integers",
            found=f"{x.dtype}, {len(x)} samples",
            expected="at least one sample of an integer type",
        )
    return x


def require_same(graph: Graph, fixed: FixedModel, model_file: Path, fixed_file: Path) -> None:
    """Raise a :class:`ModelError` unless ``fixed`` was made from ``graph``."""
    source = fixed.source
    same = (graph.inputs, graph.nodes) == (source.inputs, source.nodes) and all(
        np.array_equal(value, source.constants[name]) for name, value in graph.constants.items()
    )
    if not same:
        raise ModelError(
            "was not made from this model",
            file=str(fixed_file),
            expected=f"the fixed-point form of {model_file}",
            remedy="Run lutra quantize on that model first",
        )


def check_page(output: Path) -> None:
    """Raise now, rather than after long work, if a page with pictures cannot be written."""
    require("matplotlib", extra="report")
    check_file(output)


def publish(report: Report, output: Path | None, console: Console, *, tables: bool = True) -> None:
    """Print a report, and write its page if asked to."""
    page = html_page(report) if output is not None else None
    if tables:
        render_terminal(report, console)
    if output is not None and page is not None:
        write_file(output, page)
        say(console, f"wrote {output}")


def finish_project(
    model: FixedModel,
    output: Path,
    options: Options,
    tests: Samples,
    *,
    force: bool,
    ap_include: str | None,
    console: Console,
    first_step: int = 1,
) -> tuple[Verification, Report]:
    """Generate a project, verify it on all of ``tests``, and report beside it.

    Raises:
        LutraError: something is missing, found out before anything is written, or fails.
    """
    find_compiler()
    find_headers(ap_include)
    console.rule(f"{first_step}  generate the Vitis HLS project", align="left")
    write_project(model, output, options, tests.x, force=force)
    say(console, f"wrote {output}")
    console.rule(f"{first_step + 1}  verify: C simulation against the simulator", align="left")
    with counting(console, *VERIFYING) as progress:
        result = verify_project(output, x=tests.x, ap_include=ap_include, progress=progress)
    show.print_verification(result, console)
    console.rule(f"{first_step + 2}  report: fixed point against float", align="left")
    track = tracking(console, "comparing with float")
    report = accuracy_report(model.source, model.fixed, tests.x, tests.y, track=track)
    pictures = importlib.util.find_spec("matplotlib") is not None
    publish(report, output / "report.html" if pictures else None, console)
    if not pictures:
        say(console, "no page with pictures: pip install 'lutra[report]' adds it")
    return result, report
