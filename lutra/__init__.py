"""Lutra: neural networks from training to HLS C++ whose every output bit is known beforehand."""

from typing import Any


def __getattr__(name: str) -> Any:
    """``__version__``, looked up when it is asked for: that takes longer than the rest."""
    if name == "__version__":
        from importlib.metadata import version

        return version("lutra")
    raise AttributeError(f"module 'lutra' has no attribute '{name}'")
