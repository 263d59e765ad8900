"""Losses of training runs → a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from otoscribe.train.history import Epoch, best_epoch


@dataclass(frozen=True)
class Curves:
    """What the epochs of one run gave."""

    title: str
    history: Sequence[Epoch]


def draw(runs: Sequence[Curves], path: Path, columns: int) -> None:
    """Write `path`.svg and `path`.png: a panel for each run in full rows, all on one scale of losses."""
    rows = len(runs) // columns
    figure = Figure(figsize=(4 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex="row", sharey=True, squeeze=False)
    for run, panel in zip(runs, panels.flat, strict=True):
        epochs = [epoch.epoch for epoch in run.history]
        best = best_epoch(run.history)
        panel.plot(epochs, [epoch.training_loss for epoch in run.history], label="training")
        panel.plot(epochs, [epoch.validation_loss for epoch in run.history], label="validation")
        panel.axvline(best.epoch, color="grey", linestyle=":", linewidth=1)
        panel.plot(
            best.epoch,
            best.validation_loss,
            "o",
            color="black",
            label=f"chosen: epoch {best.epoch}, {best.validation_loss:.3f}",
        )
        panel.set_title(run.title)
        panel.grid(alpha=0.3)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.legend()
    figure.supxlabel("epoch")
    figure.supylabel("cross-entropy per token (natural logarithm)")
    # Without a date and with ids by a fixed seed, equal losses give equal files.
    with mpl.rc_context({"svg.hashsalt": "losses"}):
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=120)
