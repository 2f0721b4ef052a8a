"""Training curves as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import LutraError
from .history import History
from .pictures import BLUE, MUTED, ORANGE, save_picture


def plot(history: History, path: str | Path) -> None:
    """Draw the losses of each epoch, and the validation accuracy if there is one.

    Args:
        history: at least one epoch.
        path: ``.svg`` or ``.png``.

    Raises:
        LutraError: there is no epoch.
        OutputError: the file cannot be written.
        ToolchainError: matplotlib is not installed.
    """
    best = history.best
    if best is None:
        raise LutraError("there is no epoch to draw", expected="at least one")
    epochs = [result.epoch for result in history.epochs]
    accuracies = [result.validation_accuracy for result in history.epochs]
    known = [
        (epoch, 100 * share)
        for epoch, share in zip(epochs, accuracies, strict=True)
        if share is not None
    ]

    def paint(figure: Any) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots(1, 2 if known else 1, squeeze=False)[0]
        losses = axes[0]
        marker = "o" if len(epochs) == 1 else None
        losses.plot(
            epochs,
            [result.loss for result in history.epochs],
            BLUE,
            label="training",
            marker=marker,
        )
        losses.plot(
            epochs,
            [result.validation_loss for result in history.epochs],
            ORANGE,
            label="validation",
            marker=marker,
        )
        if min(min(result.loss, result.validation_loss) for result in history.epochs) > 0:
            losses.set_yscale("log")
            losses.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        losses.set_ylabel("loss")
        if known:
            axes[1].plot(*zip(*known, strict=True), ORANGE, label="validation", marker=marker)
            axes[1].set_ylabel("accuracy (%)")
        for part in axes:
            part.axvline(best.epoch, color=MUTED, linewidth=1, linestyle=":", label="best epoch")
            part.set_xlabel("epoch")
            part.xaxis.get_major_locator().set_params(integer=True)
            part.grid(alpha=0.3)
            part.legend(frameon=False)

    save_picture(path, 9.0 if known else 5.0, 3.6, paint)
