"""Runs the network of this project: on a PYNQ board, on a card with XRT, or as its C simulation.

    from driver import CsimDevice, Network, PynqDevice, XrtDevice

    network = Network(PynqDevice("design.bit"))     # interface axis, behind an AXI DMA
    network = Network(XrtDevice("nn_top.xclbin"))   # interface m_axi
    network = Network(CsimDevice())                 # no board: the program that `make csim` makes
    y = network.predict(x)                          # floats in the model's own layout, batch first

Floats are rounded as the network's input says, bit for bit as Lutra does it.  Nothing is needed but
NumPy, what the device needs itself, and network.json beside this file.

As a program it runs the project's golden vectors and compares, or a file of samples:

    python host/driver.py                                 C simulation against golden.dat
    python host/driver.py --device xrt --design nn_top.xclbin
    python host/driver.py --input x.npy --output y.npy
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ANSWER = 3600.0
"""Seconds after which a C simulation is given up."""


def round_to_integer(v: Any, rounding: str) -> Any:
    """Round floats to integers as ``ap_fixed`` does in the named mode."""
    if rounding == "TRN":
        return np.floor(v)
    if rounding == "TRN_ZERO":
        return np.trunc(v)
    if rounding == "RND_CONV":
        return np.rint(v)
    whole = np.trunc(v)
    rest = v - whole
    if rounding == "RND":
        return whole + (rest >= 0.5) - (rest < -0.5)
    if rounding == "RND_MIN_INF":
        return whole + (rest > 0.5) - (rest <= -0.5)
    if rounding == "RND_INF":
        return whole + (rest >= 0.5) - (rest <= -0.5)
    if rounding == "RND_ZERO":
        return whole + (rest > 0.5) - (rest < -0.5)
    raise ValueError(f"no such rounding mode: {rounding}")


def fit(v: Any, low: int, high: int, overflow: str) -> Any:
    """Bring integers (as float64) into a format's range as ``ap_fixed`` does in the named mode."""
    if overflow == "SAT":
        return np.clip(v, low, high)
    if overflow == "SAT_SYM":
        # A signed number of one bit keeps its -1, as in AMD's headers.
        return np.clip(v, -high if low < -1 else low, high)
    if overflow == "SAT_ZERO":
        return np.where((v < low) | (v > high), 0.0, v)
    if overflow == "WRAP":
        modulus = float(high - low + 1)
        v = np.fmod(v, modulus)
        v = np.where(v < low, v + modulus, v)
        return np.where(v > high, v - modulus, v)
    raise ValueError(f"no such overflow mode: {overflow}")


class Port:
    """The network's input or output: its format, its layout, and how it lies in words of the bus.

    ``shape`` is that of a sample in the model's own layout.
    """

    def __init__(self, about: dict[str, Any], bus_bits: int) -> None:
        self.signed: bool = about["signed"]
        self.width: int = about["width"]
        self.fraction: int = about["fraction"]
        self.scale: float = about["scale"]
        self.rounding: str = about.get("rounding", "")
        self.overflow: str = about.get("overflow", "")
        self.inner: tuple[int, ...] = tuple(about["shape"])
        self.axes: tuple[int, ...] = tuple(about["axes"])
        self.shape = tuple(self.inner[self.axes.index(i)] for i in range(len(self.axes)))
        self.size = int(np.prod(self.inner, dtype=np.int64))
        self.low = -(1 << (self.width - 1)) if self.signed else 0
        self.high = (1 << (self.width - self.signed)) - 1
        size = about["container"] // 8
        self.container = np.dtype(f"<{'i' if self.signed else 'u'}{size}")
        self.word_bytes = bus_bits // 8
        self.each = self.word_bytes // size
        self.words = -(-self.size // self.each)
        self.bytes = self.words * self.word_bytes

    def arrange(self, x: Any) -> Any:
        """From the model's layout to the order of the hardware, ``(frames, values)``."""
        x = np.asarray(x)
        if x.ndim < 1 or x.shape[1:] != self.shape:
            wanted = ", ".join(["frames", *map(str, self.shape)])
            raise ValueError(f"the samples have the shape {x.shape}, expected ({wanted})")
        return x.transpose(0, *(axis + 1 for axis in self.axes)).reshape(len(x), self.size)

    def restore(self, values: Any) -> Any:
        """From the order of the hardware to the model's layout."""
        back = [self.axes.index(i) + 1 for i in range(len(self.axes))]
        return values.reshape(len(values), *self.inner).transpose(0, *back)

    def quantise(self, x: Any) -> Any:
        """Raw integers of floats; other numbers are taken as float32 first, as Lutra takes them."""
        x = np.asarray(x)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"the samples must be numbers, not {x.dtype}")
        if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise ValueError("the samples hold NaN or infinite values")
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self.scale != 1:
                x = np.asarray(x / self.scale, x.dtype)
            v = x.astype(np.float64) * 2.0**self.fraction
            v = fit(round_to_integer(v, self.rounding), self.low, self.high, self.overflow)
        if not np.isfinite(v).all():
            raise ValueError("a sample is too large to be wrapped")
        return v.astype(np.int64)

    def floats(self, raw: Any) -> Any:
        """What raw integers stand for, float64."""
        return raw * (2.0**-self.fraction * self.scale)

    def pack(self, raw: Any) -> Any:
        """Raw integers ``(frames, values)`` as bytes ``(frames, bytes)``."""
        if raw.size and (raw.min() < self.low or raw.max() > self.high):
            raise ValueError(f"raw values must lie in {self.low} to {self.high}")
        values = np.zeros((len(raw), self.words * self.each), self.container)
        values[:, : self.size] = raw
        packed = np.zeros((len(raw), self.words, self.word_bytes), np.uint8)
        used = self.each * self.container.itemsize
        packed[:, :, :used] = values.view(np.uint8).reshape(len(raw), self.words, used)
        return packed.reshape(len(raw), self.bytes)

    def unpack(self, packed: Any) -> Any:
        """Raw integers ``(frames, values)``, int64, from bytes ``(frames, bytes)``."""
        used = self.each * self.container.itemsize
        words = packed.reshape(len(packed), self.words, self.word_bytes)[:, :, :used]
        row = np.ascontiguousarray(words).reshape(len(packed), self.words * used)
        return row.view(self.container)[:, : self.size].astype(np.int64)


class Network:
    """The network on a device.

    Args:
        device: it has ``run(packed, out_bytes)``, from bytes ``(frames, bytes)`` to bytes
            ``(frames, out_bytes)``, and ``interface``, the one that it takes, or "".
        about: network.json, or another place of it.
        batch: most frames that the device gets at a time.
    """

    def __init__(
        self, device: Any, about: str | Path = HERE / "network.json", batch: int = 256
    ) -> None:
        described = json.loads(Path(about).read_text(encoding="utf-8"))
        if device.interface not in ("", described["interface"]):
            raise ValueError(
                f"this device needs a project with the interface {device.interface}, "
                f"this one has {described['interface']}"
            )
        if batch < 1:
            raise ValueError("a batch has at least one frame")
        self.device = device
        self.batch = batch
        self.input = Port(described["input"], described["bus_bits"])
        self.output = Port(described["output"], described["bus_bits"])

    def predict(self, x: Any) -> Any:
        """Outputs for samples, both floats in the model's own layout, batch first."""
        raw = self.input.quantise(self.input.arrange(x))
        return self.output.floats(self.output.restore(self.run(raw)))

    def predict_raw(self, raw: Any) -> Any:
        """As :meth:`predict`, from raw integers of the input's format to those of the output's."""
        raw = np.asarray(raw)
        if raw.dtype.kind not in "iu":
            raise ValueError(f"raw values must be integers, not {raw.dtype}")
        return self.output.restore(self.run(self.input.arrange(raw)))

    def run(self, raw: Any) -> Any:
        """Raw integers, ``(frames, values)`` in the order of the hardware, int64."""
        results = np.empty((len(raw), self.output.size), np.int64)
        for start in range(0, len(raw), self.batch):
            part = raw[start : start + self.batch]
            packed = self.device.run(self.input.pack(part), self.output.bytes)
            results[start : start + len(part)] = self.output.unpack(packed)
        return results


class CsimDevice:
    """No device: the project's C simulation, which gives the same bits.

    Args:
        command: the program and its first arguments; by default what ``make csim`` compiles.
    """

    interface = ""

    def __init__(self, command: Sequence[str | Path] | None = None) -> None:
        self.command = [str(part) for part in command or [HERE.parent / "tb" / "nn_tb"]]
        if not Path(self.command[0]).is_file():
            raise FileNotFoundError(f"{self.command[0]} is not there: run `make csim` first")

    def run(self, packed: Any, out_bytes: int) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.bin", Path(folder) / "out.bin"
            source.write_bytes(packed.tobytes())
            done = subprocess.run(
                [*self.command, "--words", str(source), str(target)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=ANSWER,
            )
            if done.returncode or "WARNING" in done.stdout + done.stderr:
                raise RuntimeError(f"the C simulation failed: {done.stderr.strip()[:500]}")
            return np.frombuffer(target.read_bytes(), np.uint8).reshape(len(packed), out_bytes)


class PynqDevice:
    """A board with PYNQ: the network between the two channels of an AXI DMA in simple mode.

    TLAST ends each frame, so that each is received by a transfer of its own, while many are sent by
    one.  The network needs no start: it works when words come.

    Args:
        bitstream: the overlay's file, with its .hwh file beside it.
        dma: what the DMA is called in the block design.
    """

    interface = "axis"

    def __init__(self, bitstream: str | Path, dma: str = "axi_dma_0") -> None:
        from pynq import Overlay, allocate

        self._allocate = allocate
        self.overlay = Overlay(str(bitstream))
        self.dma = getattr(self.overlay, dma)
        self._buffers: dict[tuple[str, int], Any] = {}

    def _buffer(self, use: str, size: int) -> Any:
        """Memory that the DMA can reach.  A transfer moves all of it."""
        if (use, size) not in self._buffers:
            self._buffers[use, size] = self._allocate(shape=(size,), dtype=np.uint8)
        return self._buffers[use, size]

    def run(self, packed: Any, out_bytes: int) -> Any:
        longest = self.dma.buffer_max_size - 1
        if max(packed.shape[1], out_bytes) > longest:
            raise ValueError(
                f"a frame takes {packed.shape[1]} and {out_bytes} bytes, the DMA moves {longest} "
                "at a time: choose a larger width of the buffer length register"
            )
        results = np.empty((len(packed), out_bytes), np.uint8)
        count = longest // packed.shape[1]
        for start in range(0, len(packed), count):
            part = packed[start : start + count]
            source, target = self._buffer("in", part.size), self._buffer("out", out_bytes)
            source[:] = part.reshape(-1)
            for frame in range(len(part)):
                self.dma.recvchannel.transfer(target)
                if frame == 0:
                    self.dma.sendchannel.transfer(source)
                self.dma.recvchannel.wait()
                results[start + frame] = target
            self.dma.sendchannel.wait()
        return results


class XrtDevice:
    """A card or board with XRT: the kernel of an .xclbin file.

    Args:
        xclbin: what ``make link`` gives.
        index: of the device.
        kernel: its name.
    """

    interface = "m_axi"

    def __init__(self, xclbin: str | Path, index: int = 0, kernel: str = "nn_top") -> None:
        import pyxrt

        self._xrt = pyxrt
        self.device = pyxrt.device(index)
        uuid = self.device.load_xclbin(pyxrt.xclbin(str(xclbin)))
        self.kernel = pyxrt.kernel(self.device, uuid, kernel, pyxrt.kernel.shared)
        self._buffers: dict[int, tuple[int, Any]] = {}

    def _buffer(self, argument: int, size: int) -> Any:
        """Memory for an argument of the kernel, kept while it is large enough."""
        if self._buffers.get(argument, (0, None))[0] < size:
            flags, group = self._xrt.bo.normal, self.kernel.group_id(argument)
            self._buffers[argument] = size, self._xrt.bo(self.device, size, flags, group)
        return self._buffers[argument][1]

    def run(self, packed: Any, out_bytes: int) -> Any:
        directions = self._xrt.xclBOSyncDirection
        size = len(packed) * out_bytes
        source, target = self._buffer(0, packed.size), self._buffer(1, size)
        np.frombuffer(source.map(), np.uint8)[: packed.size] = packed.reshape(-1)
        source.sync(directions.XCL_BO_SYNC_BO_TO_DEVICE, packed.size, 0)
        state = self.kernel(source, target, len(packed)).wait()
        if state != self._xrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED:
            raise RuntimeError(f"the kernel ended with {state}")
        target.sync(directions.XCL_BO_SYNC_BO_FROM_DEVICE, size, 0)
        return np.frombuffer(target.map(), np.uint8)[:size].reshape(-1, out_bytes).copy()


def vectors(name: str, size: int) -> Any:
    """Frames of a file of the test bench, raw, in the order of the hardware."""
    text = (HERE.parent / "tb" / name).read_text(encoding="ascii")
    return np.array(text.split(), np.int64).reshape(-1, size)


def main(arguments: list[str] | None = None) -> int:
    """Run the golden vectors or a file; 0 if all is well, 1 if a value differs."""
    parser = argparse.ArgumentParser(description="Run the network of this project.")
    parser.add_argument("--device", choices=["csim", "pynq", "xrt"], default="csim")
    parser.add_argument("--design", metavar="FILE", help="the .bit or .xclbin file")
    parser.add_argument("--input", metavar="NPY", help="samples; golden vectors if left out")
    parser.add_argument("--output", metavar="NPY", help="where the results go")
    options = parser.parse_args(arguments)
    if (options.device == "csim") == bool(options.design):
        parser.error("--design belongs to the devices pynq and xrt")
    if bool(options.input) != bool(options.output):
        parser.error("--input and --output belong together")
    kinds = {"pynq": PynqDevice, "xrt": XrtDevice}
    device = kinds[options.device](options.design) if options.design else CsimDevice()
    network = Network(device)
    if options.input:
        result = network.predict(np.load(options.input, allow_pickle=False))
        np.save(options.output, result)
        print(f"wrote {options.output}: {' x '.join(map(str, result.shape))}")
        return 0
    found = network.run(vectors("in.dat", network.input.size))
    wrong = int((found != vectors("golden.dat", network.output.size)).sum())
    print(f"{len(found)} frames, {wrong} wrong values")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
