"""Figures of the further evaluation: are the probabilities true, what a model may leave unsaid, what holds."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from detector.figures import MODEL_COLORS, new_figure

ABREAST = 3  # reliability diagrams side by side: more are too small to read


def reliability_diagrams(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Share of fakes against P(FAKE), models side by side, and below the pictures of each bin; of `reliability`."""
    bands, columns = -(-len(tables) // ABREAST), min(len(tables), ABREAST)
    title, size = "What is said, and what is so, with 95% intervals", (3.2 * columns, 4.4 * bands)
    figure, axes = new_figure(title, 2 * bands, columns, size, of_record=True)
    for unused in range(len(tables), bands * columns):
        for axis in axes[-2:, unused % columns]:
            axis.set_axis_off()
    for place, ((name, table), color) in enumerate(zip(tables.items(), MODEL_COLORS[: len(tables)], strict=True)):
        band, column = divmod(place, columns)
        top, bottom = axes[2 * band : 2 * band + 2, column]
        error = np.abs(table[["low", "high"]].to_numpy().T - table["value"].to_numpy())
        top.plot([0, 1], [0, 1], color="0.6", lw=1)
        top.errorbar(table["said"], table["value"], error, fmt="o", ms=4, color=color, capsize=2)
        top.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticklabels=[], title=name)
        bottom.bar(table["said"], table["n"], width=0.05, color=color)
        bottom.set(xlim=(-0.03, 1.03), yscale="log", xlabel="P(FAKE)")
        if column == 0:
            top.set_ylabel("share of fakes")
            bottom.set_ylabel("pictures")
    figure.get_layout_engine().set(hspace=0.02)
    return figure


def risk_coverage_curves(curves: Mapping[str, pd.DataFrame], points: pd.DataFrame) -> Figure:
    """Error among the surest pictures by their share, a curve a model, of `risk_coverage`, from 80% on or less.

    `points` has a row a model with its own coverage and risk, by the rule of its verdicts.
    """
    figure, axes = new_figure("What is left to err in, when a model may be unsure", size=(6.5, 4), of_record=True)
    least = min(0.8, points["coverage"].min() - 0.02)
    for (name, curve), color in zip(curves.items(), MODEL_COLORS[: len(curves)], strict=True):
        shown = curve[curve["coverage"] >= least]
        axes[0, 0].plot(100 * shown["coverage"], 100 * shown["risk"], color=color, label=name)
        axes[0, 0].plot(*(100 * points.loc[name, ["coverage", "risk"]]), "o", color=color, ms=7, mec="white")
    axes[0, 0].set(xlim=(100 * least, 100.2), ylim=(0, None), xlabel="pictures answered, the surest first (%)")
    axes[0, 0].set_ylabel("wrong among them (%)")
    axes[0, 0].legend(frameon=False, title="the dot: by the rule of its verdicts", title_fontsize=9)
    return figure


def corruption_heatmaps(
    panels: Mapping[str, pd.DataFrame], *, title: str, span: tuple[float, float], columns: int = 2
) -> Figure:
    """Kinds of change by severity, a panel a table of `corruption_grid`, in percent.

    Colours run from dark, at `span[0]` percent or worse, to bright, at `span[1]`.
    """
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(title, rows, columns, (1.4 + 4 * columns, 0.5 + 3.7 * rows), of_record=True)
    cmap = "cividis" if span[0] < span[1] else "cividis_r"
    for place, (axis, (name, grid)) in enumerate(zip(axes.flat, panels.items(), strict=True)):
        sns.heatmap(100 * grid, ax=axis, annot=True, fmt=".1f", cbar=False, cmap=cmap, vmin=min(span), vmax=max(span))
        axis.set(title=name, xlabel="severity (0: unchanged)", ylabel="")
        axis.tick_params(left=False, bottom=False, rotation=0)
        if place % columns:
            axis.set_yticks([])
    return figure
