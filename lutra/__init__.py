"""Lutra: neural networks from training to HLS C++ whose every output bit is known beforehand."""

from importlib.metadata import version

__version__ = version("lutra")
