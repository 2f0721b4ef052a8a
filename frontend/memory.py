"""How the process keeps its memory."""

from __future__ import annotations

import numpy as np

LARGEST = 31 * 2**20
"""Bytes; glibc learns from blocks of less than 32 MiB only."""


def keep_freed_memory() -> None:
    """Let the C library keep freed arrays for later ones, in place of returning their pages.

    A training step frees and asks for the same megabytes again and again, and each time the
    system would hand out fresh pages at a fault a page: a third of the step.  glibc serves blocks
    from memory that it keeps once a block of that size has been freed; one is enough.  It is never
    touched, so it costs nothing; with other C libraries nothing happens.
    """
    np.empty(LARGEST, np.uint8)
