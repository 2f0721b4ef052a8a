"""Training curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import LutraError
from .history import AdversarialHistory, History
from .pictures import BLUE, MUTED, ORANGE, save_picture


def plot(history: History | AdversarialHistory, path: str | Path) -> None:
    """Draw the losses of each epoch, and the validation accuracy if there is one.

    Args:
        history: at least one epoch.
        path: ``.svg`` or ``.png``.

    Raises:
        LutraError: there is no epoch.
        OutputError: the file cannot be written.
        ToolchainError: matplotlib is not installed.
    """
    if not history.epochs:
        raise LutraError("there is no epoch to draw", expected="at least one")
    epochs = [result.epoch for result in history.epochs]
    losses, accuracies = _curves(history)
    known = [
        (epoch, 100 * share)
        for epoch, share in zip(epochs, accuracies, strict=True)
        if share is not None
    ]
    best = history.best if isinstance(history, History) else None

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots(1, 2 if known else 1, squeeze=False)[0]
        marker = "o" if len(epochs) == 1 else None
        for (label, values), colour in zip(losses.items(), (BLUE, ORANGE), strict=True):
            axes[0].plot(epochs, values, colour, label=label, marker=marker)
        if min(map(min, losses.values())) > 0:
            axes[0].set_yscale("log")
            axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes[0].yaxis.set_minor_formatter(lambda value, _: _minor(value))
        axes[0].set_ylabel("loss")
        if known:
            axes[1].plot(*zip(*known, strict=True), ORANGE, label="validation", marker=marker)
            axes[1].set_ylabel("accuracy (%)")
        for part in axes:
            if best:
                at = {"color": MUTED, "linewidth": 1, "linestyle": ":"}
                part.axvline(best.epoch, label="best epoch", **at)
            part.set_xlabel("epoch")
            part.xaxis.get_major_locator().set_params(integer=True)
            part.grid(alpha=0.3)
            part.legend(frameon=False)

    save_picture(path, 9.0 if known else 5.0, 3.6, paint)


def _curves(
    history: History | AdversarialHistory,
) -> tuple[dict[str, list[float]], list[float | None]]:
    """The two losses of each epoch by their names, and the accuracies."""
    if isinstance(history, History):
        losses = {
            "training": [result.loss for result in history.epochs],
            "validation": [result.validation_loss for result in history.epochs],
        }
        return losses, [result.validation_accuracy for result in history.epochs]
    losses = {
        "generator": [result.generator_loss for result in history.epochs],
        "discriminator": [result.discriminator_loss for result in history.epochs],
    }
    return losses, [None] * len(history.epochs)


def _minor(value: float) -> str:
    """The label of a mark between two powers of ten: at 2 and 5, where there is room."""
    text = f"{value:g}"
    return text if text.strip("0.") in ("2", "5") else ""
