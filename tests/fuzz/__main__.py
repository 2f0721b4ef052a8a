"""Fuzz the importer: ``python -m tests.fuzz --count 20000 --seed 1``.

Each case is a valid model with a few random mutations.  Cases are read in a process that may take
2 GB of memory, and 10 seconds of the processor for each.  What fails is written to a folder, with
the traceback; ``--case N`` reads that one alone, in this process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import numpy as np

from .case import outcome
from .mutate import damaged, pick
from .seeds import all_models

MEMORY = 2 * 2**30
"""Bytes of address space for the process that reads cases."""

SECONDS = 10.0
"""What one case may take of the processor."""

PATIENCE = 60.0
"""How long we wait for it, on a machine that may be busy with other things."""

Groups = tuple[list[bytes], ...]


def content(groups: Groups, seed: int, case: int) -> bytes:
    """The file of a case: the same for the same numbers and the same valid models."""
    rng = np.random.default_rng([seed, case])
    return damaged(pick(rng, pick(rng, groups)), rng)


def read(groups: Groups, seed: int, case: int, path: Path, compared: bool) -> str:
    """What became of a case; every fourth one that can be run is lowered too."""
    path.write_bytes(content(groups, seed, case))
    return outcome(path, quantised=case % 4 == 0, compared=compared)


def work(groups: Groups, seed: int, cases: range, compared: bool, pipe: Connection) -> None:
    """Read case after case, and tell what became of each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, _stop)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                found = read(groups, seed, case, Path(folder) / "m.onnx", compared)
            except Exception:
                found = "FAILED\n" + traceback.format_exc()
            signal.setitimer(signal.ITIMER_PROF, 0)
            pipe.send((case, found))


def _stop(number: int, frame: object) -> NoReturn:
    raise TimeoutError(f"took more than {SECONDS:g} s")


def results(
    groups: Groups, seed: int, cases: range, compared: bool = False
) -> Iterator[tuple[int, str]]:
    """Every case and what became of it; a process that dies or hangs is followed by another."""
    context = multiprocessing.get_context("fork")
    start = cases.start
    while start < cases.stop:
        ours, theirs = context.Pipe(duplex=False)
        rest = range(start, cases.stop)
        process = context.Process(target=work, args=(groups, seed, rest, compared, theirs))
        process.start()
        theirs.close()
        try:
            while start < cases.stop:
                if not ours.poll(PATIENCE):
                    yield start, f"FAILED\nno answer after {PATIENCE:g} s"
                    break
                case, found = ours.recv()
                yield case, found
                start = case + 1
        except EOFError:
            process.join()
            yield start, f"FAILED\nthe process died with status {process.exitcode}"
        process.kill()
        process.join()
        start += 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="how many cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="read this case alone")
    parser.add_argument(
        "--compare", action="store_true", help="hold what can be run against onnxruntime"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("fuzz-out"))
    options = parser.parse_args()
    groups = all_models()
    if options.case is not None:
        options.output.mkdir(exist_ok=True)
        path = options.output / f"{options.seed}-{options.case}.onnx"
        print(read(groups, options.seed, options.case, path, options.compare))
        return 0
    counts: Counter[str] = Counter()
    cases = range(options.first, options.first + options.count)
    for case, found in results(groups, options.seed, cases, options.compare):
        what, _, text = found.partition("\n")
        counts[what] += 1
        if what == "FAILED":
            options.output.mkdir(exist_ok=True)
            name = options.output / f"{options.seed}-{case}"
            name.with_suffix(".onnx").write_bytes(content(groups, options.seed, case))
            name.with_suffix(".txt").write_text(text)
            print(f"case {case}: {text.strip().splitlines()[-1][:150]}", flush=True)
    print(", ".join(f"{number} {what}" for what, number in sorted(counts.items())))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
