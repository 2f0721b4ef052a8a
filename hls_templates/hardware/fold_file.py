"""A folding as a file: what each layer has and costs, to be edited and read again."""

from __future__ import annotations

from .estimate import Estimate, LayerEstimate
from .figures import time_text


def fold_file(found: Estimate) -> str:
    """A folding file with every layer, as :func:`~..folding.load_folding` reads it."""
    part, clock = found.target.part.number, found.target.clock
    lines = [
        "# A folding, to be edited and given to --fold.",
        "# Estimates, by no vendor tool:",
        f"# {found.frames_a_second:,.0f} frames/s and {time_text(found.latency_us)} of latency "
        f"on {part} at {clock:g} ns.",
    ]
    for layer in found.folded():
        fold = layer.fold
        lines += [
            "",
            f"[layers.{_key(layer.layer)}]",
            f"# {_costs(layer)}",
            f"pe = {fold.pe}",
            f"simd = {fold.simd}",
            f'multiply = "{fold.multiply}"',
            f'memory = "{fold.memory}"',
        ]
    return "\n".join(lines) + "\n"


def _costs(layer: LayerEstimate) -> str:
    taken = layer.resources
    return (
        f"{layer.period:,} cycles; {taken.lut.expected:,} LUT, {taken.ff.expected:,} FF, "
        f"{taken.dsp.expected:,} DSP, {taken.bram18.expected:,} BRAM, {taken.uram.expected:,} URAM"
    )


def _key(name: str) -> str:
    """A name as a key of TOML, whatever it holds."""
    if name.isascii() and name.replace("_", "").replace("-", "").isalnum():
        return name
    return '"' + "".join(_escaped(character) for character in name) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"
