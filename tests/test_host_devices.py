"""The host's driver with whole projects: the C simulation in place of a device, and stand-ins for
PYNQ and XRT that keep their rules."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lutra.frontend.graph import Port
from lutra.frontend.ops import Array, Dense
from lutra.frontend.storage import write_folder
from lutra.hls_templates import host_driver
from lutra.hls_templates.folding import Fold, Folding
from lutra.hls_templates.host_driver import CsimDevice, Network, PynqDevice, XrtDevice
from lutra.hls_templates.project import Options, project_files
from lutra.quantize.calibrate import calibrate
from lutra.quantize.cast import Cast
from lutra.quantize.fixed import FixedGraph
from lutra.quantize.formats import Format, Overflow, Rounding
from lutra.quantize.lower import lower
from lutra.quantize.precision import Settings
from lutra.sim.csim import compiled
from lutra.sim.simulator import Simulator
from lutra.sim.toolchain import find_headers

from .conftest import samples, small_cnn
from .fixed_graphs import Maker
from .test_host import Echo

FRAMES = 7


@dataclass
class Case:
    """A project, float samples for it, and how its program is called."""

    graph: FixedGraph
    folder: Path
    x: Array
    command: list[str | Path]

    def network(self, device: Any, batch: int = 3) -> Network:
        return Network(device, self.folder / "host" / "network.json", batch)


def odd() -> FixedGraph:
    """6 bits in, 13 bits out, sizes of 15 and 55, another layout, scales, odd modes of entry."""
    make = Maker((5, 3), Format(True, 6, 3))
    weights = np.random.default_rng(4).integers(-60, 60, (3, 11))
    total = make.add(Dense(), "x", make.constant(weights, 2))
    graph = make.graph(make.cast(total, Format(True, 13, 9)))
    entry = Cast(0, Format(True, 6, 3), Rounding.RND_CONV, Overflow.WRAP)
    return replace(
        graph,
        inputs=(Port("x", (5, 3), (1, 0), 0.7),),
        outputs=(replace(graph.outputs[0], axes=(1, 0), scale=0.25),),
        entry={"x": entry},
    )


def six_bits() -> FixedGraph:
    """A CNN with a softmax, an image as the user's input, channels first."""
    graph = small_cnn()
    graph = replace(graph, inputs=(Port("x", (6, 6, 2), (1, 2, 0)),))
    x = samples().transpose(0, 3, 1, 2)
    return lower(graph, calibrate(graph, Settings.uniform(6), x))


def project(graph: FixedGraph, options: Options, folder: Path) -> Array:
    """Write a project; float samples for it, some beyond the input's range."""
    (inlet,), (outlet,) = graph.inputs, graph.outputs
    format_ = graph.formats[inlet.name]
    x = np.random.default_rng(5).normal(0, 1, (FRAMES, *inlet.outer_shape)).astype(np.float32)
    x *= np.float32(format_.high * format_.step * inlet.scale / 2)
    values = Simulator(graph, keep=[inlet.name]).trace(x)
    files = project_files(graph, options, values[inlet.name], values[outlet.name])
    write_folder(folder, files, force=False)
    return x


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    root = tmp_path_factory.mktemp("host")
    cnn, plain = six_bits(), odd()
    fold = Folding({"conv": Fold(4, 2), "pool": Fold(2), "dense": Fold(5, 6)})
    chosen = {
        "cnn, axis": (cnn, Options(folding=fold, interface="axis")),
        "cnn, m_axi": (cnn, Options(folding=fold, interface="m_axi")),
        "odd, axis": (plain, Options(interface="axis", bus_bits=40)),
        "odd, m_axi": (plain, Options(interface="m_axi", bus_bits=32)),
    }
    folders = [root / str(i) for i in range(len(chosen))]
    made = {
        name: Case(graph, folder, project(graph, options, folder), [])
        for (name, (graph, options)), folder in zip(chosen.items(), folders, strict=True)
    }
    with compiled(folders, find_headers(), ("-O0",)) as binary:
        for i, case in enumerate(made.values()):
            case.command = [binary.path, str(i)]
        yield made


NAMES = ["cnn, axis", "cnn, m_axi", "odd, axis", "odd, m_axi"]


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_the_simulators(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    network = case.network(CsimDevice(case.command))
    simulator = Simulator(case.graph)
    (outlet,) = case.graph.outputs
    raw = simulator.run(case.x)[outlet.name]
    assert len(np.unique(raw, axis=0)) > FRAMES // 2  # a frame in the wrong place would be seen
    step = case.graph.formats[outlet.name].step * outlet.scale
    found = network.predict(case.x)
    assert found.dtype == np.float64
    assert found.tolist() == (raw * step).tolist() == simulator.predict(case.x).tolist()
    inner = network.input.quantise(network.input.arrange(case.x))
    users = network.input.restore(inner)
    assert network.predict_raw(users).tolist() == raw.tolist()
    assert network.predict_raw(users).tolist() == simulator.run_raw(users)[outlet.name].tolist()


class Buffer(np.ndarray[Any, np.dtype[np.uint8]]):
    """Stands for PYNQ's buffers."""


@dataclass
class Channel:
    """One direction of a DMA in simple mode: idle again after ``wait``, and a whole buffer each."""

    limit: int
    work: Any
    busy: bool = False

    def transfer(self, array: Array) -> None:
        assert isinstance(array, Buffer)
        assert array.nbytes <= self.limit
        assert not self.busy
        self.busy = True
        self.work(array)

    def wait(self) -> None:
        self.busy = False


class Board:
    """A DMA with the C simulation between its channels; a reception ends with TLAST, so that it
    takes one frame, and frames come in the order in which they were sent."""

    def __init__(self, case: Case, limit: int) -> None:
        about = json.loads((case.folder / "host" / "network.json").read_text())
        self.into = host_driver.Port(about["input"], about["bus_bits"]).bytes
        self.out = host_driver.Port(about["output"], about["bus_bits"]).bytes
        self.device = CsimDevice(case.command)
        self.results: list[Array] = []
        self.waiting: list[Array] = []
        self.sent: list[int] = []
        dma = SimpleNamespace(
            buffer_max_size=limit,
            sendchannel=Channel(limit - 1, self.send),
            recvchannel=Channel(limit - 1, self.receive),
        )
        self.module: Any = SimpleNamespace(
            Overlay=lambda file: SimpleNamespace(axi_dma_0=dma, file=file),
            allocate=lambda shape, dtype: np.zeros(shape, dtype).view(Buffer),
        )

    def send(self, array: Array) -> None:
        frames = np.asarray(array).reshape(-1, self.into)
        self.sent.append(len(frames))
        self.results += list(self.device.run(frames, self.out))
        self.serve()

    def receive(self, array: Array) -> None:
        self.waiting.append(array)
        self.serve()

    def serve(self) -> None:
        while self.waiting and self.results:
            self.waiting.pop(0)[:] = self.results.pop(0)


def test_a_pynq_board(cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases["cnn, axis"]
    board = Board(case, 200)
    assert 2 * board.into < 200 < 3 * board.into
    monkeypatch.setitem(sys.modules, "pynq", board.module)
    device = PynqDevice("design.bit")
    assert device.overlay.file == "design.bit"
    network = case.network(device, batch=5)
    assert network.predict(case.x).tolist() == Simulator(case.graph).predict(case.x).tolist()
    assert board.sent == [2, 2, 1, 2]
    assert board.results == []
    small = Board(case, 1 << 6)
    monkeypatch.setitem(sys.modules, "pynq", small.module)
    with pytest.raises(ValueError, match=r"a frame takes .* the DMA moves 63"):
        case.network(PynqDevice("design.bit")).predict(case.x)


class Card:
    """An XRT device with the C simulation as its kernel."""

    def __init__(self, case: Case) -> None:
        about = json.loads((case.folder / "host" / "network.json").read_text())
        self.bytes = [
            host_driver.Port(about[end], about["bus_bits"]).bytes for end in ("input", "output")
        ]
        self.csim = CsimDevice(case.command)
        self.state = "completed"
        self.frames: list[int] = []
        card = self

        class Bo:
            normal = "normal"

            def __init__(self, device: Any, size: int, flags: str, group: int) -> None:
                assert flags == "normal"
                self.group = group
                self.host, self.card = bytearray(size), bytearray(size)

            def map(self) -> memoryview:
                return memoryview(self.host)

            def sync(self, direction: str, size: int, offset: int) -> None:
                pair = (self.card, self.host) if direction == "to" else (self.host, self.card)
                pair[0][offset : offset + size] = pair[1][offset : offset + size]

        class Kernel:
            shared = "shared"

            def __init__(self, device: Any, uuid: str, name: str, mode: str) -> None:
                assert (uuid, name, mode) == ("uuid of k.xclbin", "nn_top", "shared")

            def group_id(self, argument: int) -> int:
                return 10 + argument

            def __call__(self, source: Bo, target: Bo, frames: int) -> Any:
                assert (source.group, target.group) == (10, 11)
                card.frames.append(frames)
                into, out = card.bytes
                data = np.frombuffer(source.card, np.uint8)[: frames * into]
                result = card.csim.run(data.reshape(frames, into), out)
                target.card[: frames * out] = result.tobytes()
                return SimpleNamespace(wait=lambda: card.state)

        self.module: Any = SimpleNamespace(
            bo=Bo,
            kernel=Kernel,
            xclbin=lambda file: file,
            device=lambda index: SimpleNamespace(load_xclbin=lambda xclbin: f"uuid of {xclbin}"),
            xclBOSyncDirection=SimpleNamespace(
                XCL_BO_SYNC_BO_TO_DEVICE="to", XCL_BO_SYNC_BO_FROM_DEVICE="from"
            ),
            ert_cmd_state=SimpleNamespace(ERT_CMD_STATE_COMPLETED="completed"),
        )


@pytest.mark.parametrize("name", ["cnn, m_axi", "odd, m_axi"])
def test_a_card(cases: dict[str, Case], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases[name]
    card = Card(case)
    monkeypatch.setitem(sys.modules, "pyxrt", card.module)
    network = case.network(XrtDevice("k.xclbin"))
    assert (
        network.predict(case.x[:2]).tolist() == Simulator(case.graph).predict(case.x[:2]).tolist()
    )
    assert network.predict(case.x).tolist() == Simulator(case.graph).predict(case.x).tolist()
    assert card.frames == [2, 3, 3, 1]
    card.state = "aborted"
    with pytest.raises(RuntimeError, match="the kernel ended with aborted"):
        network.predict(case.x)


def test_a_device_of_the_other_interface_is_refused(cases: dict[str, Case]) -> None:
    with pytest.raises(ValueError, match="needs a project with the interface m_axi, this one has"):
        cases["odd, axis"].network(SimpleNamespace(interface="m_axi"))
    with pytest.raises(ValueError, match="at least one frame"):
        cases["odd, axis"].network(Echo(), batch=0)


def test_a_broken_program_is_an_error(cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases["odd, axis"]
    with pytest.raises(FileNotFoundError, match="make csim"):
        CsimDevice([tmp_path / "nothing"])
    with pytest.raises(RuntimeError, match="does not hold whole frames"):
        CsimDevice(case.command).run(np.zeros((1, 7), np.uint8), 7)


def drive(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the delivered driver as a program, from another place, without Lutra."""
    command = [sys.executable, "-I", str(folder / "host" / "driver.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)


def test_the_driver_as_a_program(cases: dict[str, Case]) -> None:
    case = cases["odd, m_axi"]
    program = case.folder / "tb" / "nn_tb"
    program.write_text(f'#!/bin/sh\nexec "{case.command[0]}" {case.command[1]} "$@"\n')
    program.chmod(0o755)
    done = drive(case.folder)
    assert (done.returncode, done.stdout) == (0, "7 frames, 0 wrong values\n"), done.stderr
    np.save(case.folder / "x.npy", case.x)
    places = (str(case.folder / "x.npy"), str(case.folder / "y.npy"))
    done = drive(case.folder, "--input", places[0], "--output", places[1])
    assert done.stdout == f"wrote {places[1]}: 7 x 11 x 5\n", done.stderr
    expected = Simulator(case.graph).predict(case.x)
    assert np.load(places[1]).tolist() == expected.tolist()
    golden = case.folder / "tb" / "golden.dat"
    first, _, rest = golden.read_text().partition(" ")
    golden.write_text(f"{int(first) ^ 1} {rest}")
    done = drive(case.folder)
    assert (done.returncode, done.stdout) == (1, "7 frames, 1 wrong values\n")
    assert drive(case.folder, "--device", "xrt").returncode == 2
    assert drive(case.folder, "--input", "x.npy").returncode == 2


def test_the_project_builds_its_own_program(cases: dict[str, Case]) -> None:
    """As a user without a board runs it: make, then the driver."""
    case = cases["odd, axis"]
    include = f"AP_INCLUDE={find_headers().folder}"
    for target in ("csim", "host"):
        done = subprocess.run(
            ["make", target, include, "CXXFLAGS=-O0", f"PYTHON={sys.executable}"],
            cwd=case.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("7 frames, 0 wrong values\n")


def test_names_stay_out_of_the_hosts_files(tmp_path: Path) -> None:
    evil = 'x"; import os; os.system("true") # \\'
    make = Maker((3,), Format(True, 6, 3))
    graph = make.graph(make.combine("x", "x"))
    graph = replace(graph, name=evil)
    raw = np.zeros((1, 3))
    files = project_files(graph, Options(interface="axis"), raw, raw)
    assert files["host/driver.py"] == Path(host_driver.__file__).read_text()
    assert "import os" not in files["host/network.json"]
    assert "link.cfg" not in files
    plain = project_files(graph, Options(), raw, raw)
    assert not [name for name in plain if name.startswith("host/")]
