"""Designs of no use, for the rules of docs/hardware.md: their C++, and their times worked out from
the inequalities there, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lutra.hls_templates.project import headers


@dataclass(frozen=True)
class Toy:
    """A process.

    Attributes:
        name: its identifier.
        depth: of its pipeline.
        loops: for each pipelined loop its iterations; an iteration is the streams that it reads
            and those that it writes.
    """

    name: str
    depth: int
    loops: Sequence[Sequence[tuple[Sequence[str], Sequence[str]]]]

    @property
    def reads(self) -> list[str]:
        return self._streams(0)

    @property
    def writes(self) -> list[str]:
        return self._streams(1)

    def _streams(self, side: int) -> list[str]:
        found = [name for loop in self.loops for step in loop for name in step[side]]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Design:
    """Processes, and FIFOs between them with their depths; ``x`` goes in and ``y`` comes out."""

    toys: Sequence[Toy]
    depths: Mapping[str, int]

    @property
    def pipelines(self) -> dict[str, int]:
        return {toy.name: toy.depth for toy in self.toys}

    def beats(self, stream: str) -> int:
        """Beats a frame."""
        reader = [step[0] for toy in self.toys for loop in toy.loops for step in loop]
        writer = [step[1] for toy in self.toys for loop in toy.loops for step in loop]
        return sum(stream in step for step in (writer if stream == "y" else reader))


def write_design(design: Design, project: Path) -> None:
    """The C++ of a design, laid out as a generated project."""
    files = headers()
    kernels = "\n".join(map(_kernel, design.toys))
    files["src/nn_top.h"] = (
        "#ifndef NN_TOP_H\n#define NN_TOP_H\n#include <ap_int.h>\n#include <hls_stream.h>\n"
        "void nn_top(hls::stream<ap_uint<8> >& x, hls::stream<ap_uint<8> >& y);\n#endif\n"
    )
    files["src/nn_weights.h"] = ""
    files["src/nn_layers.h"] = f"#ifndef NN_LAYERS_H\n#define NN_LAYERS_H\n{kernels}\n#endif\n"
    streams = "".join(
        f"    hls::stream<ap_uint<8> > {name};\n#pragma HLS STREAM variable={name} depth={depth}\n"
        for name, depth in design.depths.items()
    )
    calls = "".join(
        f"    {toy.name}({', '.join([*toy.reads, *toy.writes])});\n" for toy in design.toys
    )
    files["src/nn_top.cpp"] = (
        '#include "nn_top.h"\n#include "nn_layers.h"\n'
        "void nn_top(hls::stream<ap_uint<8> >& x, hls::stream<ap_uint<8> >& y) {\n"
        f"#pragma HLS DATAFLOW\n{streams}{calls}}}\n"
    )
    files["tb/nn_tb.cpp"] = (
        '#include "nn_top.h"\n#include "lutra/testbench.h"\nstruct bench {\n'
        f"    static const int in_values = {design.beats('x')};\n"
        f"    static const int out_values = {design.beats('y')};\n"
        "    static const int in_lanes = 1, in_width = 8, out_lanes = 1, out_width = 8;\n"
        "    static const bool out_signed = false;\n"
        "    static void run(hls::stream<ap_uint<8> >& x, hls::stream<ap_uint<8> >& y) {\n"
        "        nn_top(x, y);\n    }\n};\n"
        "int main(int argc, char** argv) {\n"
        "    return lutra::testbench<lutra::fifo_ports<bench> >(argc, argv);\n}\n"
    )
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)


def _kernel(toy: Toy) -> str:
    """A function that writes the number of beats that it has read, of all streams together."""
    arguments = ", ".join(f"hls::stream<ap_uint<8> >& {s}" for s in [*toy.reads, *toy.writes])
    loops = ""
    for loop in toy.loops:
        body = ""
        for side, action in ((0, "{0}.read(); ++seen;"), (1, "{0}.write(seen);")):
            for name in dict.fromkeys(name for step in loop for name in step[side]):
                mask = ", ".join(str(int(name in step[side])) for step in loop)
                body += (
                    f"        static const bool {name}_{'rw'[side]}[] = {{{mask}}};\n"
                    f"        if ({name}_{'rw'[side]}[i]) {{ {action.format(name)} }}\n"
                )
        loops += (
            f"    for (int i = 0; i < {len(loop)}; ++i) {{\n"
            f"#pragma HLS PIPELINE II=1 style=flp\n{body}    }}\n"
        )
    return f"void {toy.name}({arguments}) {{\n    ap_uint<8> seen = 0;\n{loops}}}\n"


@dataclass
class Step:
    """An iteration: its process, its distance from the one before, and its beats; its start and
    the time ``depth - 1`` before its writes, once they are known."""

    toy: Toy
    gap: int
    before: int | None
    reads: list[tuple[str, int]]
    writes: list[tuple[str, int]]
    start: int = 0
    time: int = 0
    started: bool = False
    done: bool = False


def unrolled(design: Design, frames: int) -> list[Step]:
    """All iterations of all frames."""
    steps: list[Step] = []
    for toy in design.toys:
        beats: dict[tuple[str, int], int] = {}
        drain = max(toy.depth - 1, 1)
        before: int | None = None
        for _ in range(frames):
            gap = drain + 3 if before is not None else 1
            for loop in toy.loops:
                for step in loop:
                    touched: list[list[tuple[str, int]]] = [[], []]
                    for side in (0, 1):
                        for name in step[side]:
                            beat = beats.get((name, side), 0)
                            touched[side].append((name, beat))
                            beats[name, side] = beat + 1
                    steps.append(Step(toy, gap, before, touched[0], touched[1]))
                    before, gap = len(steps) - 1, 1
                gap = drain + 2 if loop and gap == 1 else gap
    return steps


def times(design: Design, frames: int) -> list[Step] | None:
    """The smallest times that fulfil the inequalities, each found once all that it depends on is;
    none if some never are."""
    steps = unrolled(design, frames)
    writer = {beat: step for step in steps for beat in step.writes}
    reader = {beat: step for step in steps for beat in step.reads}
    moved = True
    while moved:
        moved = False
        for step in steps:
            before = steps[step.before] if step.before is not None else None
            if not step.started and (before is None or before.done):
                sources = [writer[beat] for beat in step.reads if beat in writer]
                if all(source.done for source in sources):
                    bounds = [source.time + source.toy.depth for source in sources]
                    step.start = max([step.gap + (before.time if before else 0), *bounds])
                    step.started = moved = True
            if step.started and not step.done:
                places = [(s, beat - design.depths.get(s, 1 << 60)) for s, beat in step.writes]
                freeing = [reader[place] for place in places if place in reader]
                if all(other.started for other in freeing):
                    bounds = [other.start + 2 - step.toy.depth for other in freeing]
                    step.time = max([step.start, *bounds])
                    step.done = moved = True
    return steps if all(step.done for step in steps) else None


def finishes(design: Design, steps: Sequence[Step]) -> list[int]:
    """The cycle after each frame's last beat."""
    per_frame = design.beats("y")
    ends = [step.time + step.toy.depth for step in steps for name, _ in step.writes if name == "y"]
    return ends[per_frame - 1 :: per_frame]


def occupancies(design: Design, steps: Sequence[Step]) -> dict[str, int]:
    """The most beats that each FIFO held, one until the end of the cycle in which it is read."""
    held = {}
    for stream in design.depths:
        written = [
            step.time + step.toy.depth - 1 for step in steps for s, _ in step.writes if s == stream
        ]
        read = np.array([step.start for step in steps for s, _ in step.reads if s == stream])
        held[stream] = max(i + 1 - int((read < time).sum()) for i, time in enumerate(written))
    return held


def random_design(seed: int) -> Design:
    """Processes in a row, each of which reads what earlier ones wrote; FIFOs of a few beats."""
    rng = np.random.default_rng(seed)

    def some(low: int, high: int) -> int:
        return int(rng.integers(low, high, endpoint=True))

    count = some(2, 5)
    ends: list[tuple[list[str], list[str]]] = [([], []) for _ in range(count)]
    beats = {"x": some(1, 6), "y": some(1, 6)}
    ends[0][0].append("x")
    ends[-1][1].append("y")
    pairs = [(i, i + 1) for i in range(count - 1)]
    pairs += [tuple(sorted(rng.choice(count, 2, replace=False))) for _ in range(some(0, 3))]
    for i, (a, b) in enumerate(pairs):
        beats[f"s{i}"] = some(1, 8)
        ends[a][1].append(f"s{i}")
        ends[b][0].append(f"s{i}")
    toys = []
    for i, (reads, writes) in enumerate(ends):
        most = max(beats[name] for name in reads + writes)
        trips = most + some(0, 4)
        steps: list[tuple[list[str], list[str]]] = [([], []) for _ in range(trips)]
        for side, names in enumerate((reads, writes)):
            for name in names:
                for at in sorted(rng.choice(trips, beats[name], replace=False)):
                    steps[at][side].append(name)
        cut = some(0, trips) if some(0, 2) == 0 else 0
        toys.append(Toy(f"p{i}", some(1, 9), [steps[:cut], steps[cut:]] if cut else [steps]))
    depths = {f"s{i}": some(1, 5) for i in range(len(pairs))}
    return Design(toys, depths)
