"""``python -m tests.bench``: all benchmarks, one table.

Every module ``bench_*.py`` in this folder has a function ``rows() -> Iterable[Row]``.  A module
whose requirement is missing raises ImportError or a ToolchainError and is reported as skipped.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from lutra.frontend.errors import ToolchainError
from tests.bench.table import Row, Skipped, table

assert "numpy" not in sys.modules, "the number of threads is read when NumPy is first imported"
for _name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"

FOLDER = Path(__file__).parent
FOUND = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


@click.command()
@click.option("--only", multiple=True, type=click.Choice(FOUND), help="Run only this one.")
def main(only: tuple[str, ...]) -> None:
    """Run the benchmarks; exit status 1 if a target is missed."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    results: list[Row | Skipped] = []
    for name in only or FOUND:
        try:
            results.extend(importlib.import_module(f"tests.bench.bench_{name}").rows())
        except (ImportError, ToolchainError) as error:
            results.append(Skipped(name, str(error)))
    console.print(table(results))
    sys.exit(any(isinstance(result, Row) and not result.met for result in results))


if __name__ == "__main__":
    main()
