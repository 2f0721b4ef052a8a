"""Vitis HLS and Vivado: running them where they are installed, and reading what they report."""
