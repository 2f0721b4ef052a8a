"""Damaged and hostile ONNX files by the thousand: ``python -m tests.fuzz --help``."""
