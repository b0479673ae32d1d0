"""Figures of the evaluation: errors, calibration, abstention and robustness, by model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from detector.figures.style import COLORS, MODEL_COLORS, class_dots, coloured, interval_dots, new_figure


def confusion_matrices(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Show each model's confusion matrix: counts as numbers, shares of the row as colour."""
    figure, axes = new_figure("Confusion matrices, test set", 1, len(tables), (4 * len(tables), 3.4))
    options = {"fmt": ",d", "cmap": "Blues", "vmin": 0, "vmax": 1, "square": True, "cbar": False, "linewidths": 2}
    for cell, (name, table) in zip(axes[0], tables.items(), strict=True):
        sns.heatmap(table.div(table.sum(axis=1), axis=0), annot=table, ax=cell, **options)
        cell.set_title(name)
    return figure


def roc_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw ROC curves up to a false-positive rate of 10%; `curves` maps a model to `roc_points`'s (FPR, TPR)."""
    figure, axes = new_figure("ROC curves, test set", size=(6, 4))
    for name, (false, true), color in coloured(curves):
        axes[0, 0].plot(100 * false, 100 * true, color=color, label=name)
    axes[0, 0].set(xlim=(0, 10), ylim=(80, 100.3))
    axes[0, 0].set(xlabel="false-positive rate (%)", ylabel="true-positive rate (%)")
    axes[0, 0].legend(frameon=False, loc="lower right")
    return figure


def accuracy_by_object_class(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy by object class and class with intervals, a panel per model.

    `tables` maps a model to a table with columns object_class, class, value, low, high.
    """
    title = "Accuracy by object class, with 95% intervals, test set"
    figure, axes = new_figure(title, len(tables), 1, (9, 2.8 * len(tables)))
    for cell, (name, table) in zip(axes[:, 0], tables.items(), strict=True):
        class_dots(cell, table, by="object_class")
        cell.set(ylabel="accuracy (%)", title=name)
    axes[-1, 0].set_xlabel("object class")
    axes[0, 0].legend(frameon=False, ncols=2)
    return figure


def reliability_diagrams(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw each model's share of FAKE images by predicted P(FAKE), and below it the number of images per bin.

    `tables` maps a model to a table with columns predicted, value, low, high, n.
    """
    size = (3.2 * len(tables), 4.4)
    figure, axes = new_figure("Reliability diagrams, with 95% intervals, test set", 2, len(tables), size)
    for (top, bottom), (name, table, color) in zip(axes.T, coloured(tables), strict=True):
        top.plot([0, 1], [0, 1], color="0.6", lw=1)
        interval_dots(top, table["predicted"], table, percent=False, ms=4, color=color)
        top.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticklabels=[], title=name)
        bottom.bar(table["predicted"], table["n"], width=0.05, color=color)
        bottom.set(xlim=(-0.03, 1.03), yscale="log", xlabel="predicted P(FAKE)")
    axes[0, 0].set_ylabel("share of FAKE")
    axes[1, 0].set_ylabel("images")
    figure.get_layout_engine().set(hspace=0.02)
    return figure


def risk_coverage_curves(curves: Mapping[str, pd.DataFrame], points: pd.DataFrame) -> Figure:
    """Draw the error rate of each model's most confident predictions against their share of all images.

    `curves` maps a model to `risk_coverage`'s table. `points` has a row per model: coverage and risk of the model's own
    abstention rule. The x axis begins at 80% coverage, or below the least coverage in `points`.
    """
    figure, axes = new_figure("Risk by coverage, test set", size=(6.5, 4))
    least = min(0.8, points["coverage"].min() - 0.02)
    for name, curve, color in coloured(curves):
        shown = curve[curve["coverage"] >= least]
        axes[0, 0].plot(100 * shown["coverage"], 100 * shown["risk"], color=color, label=name)
        axes[0, 0].plot(*(100 * points.loc[name, ["coverage", "risk"]]), "o", color=color, ms=7, mec="white")
    axes[0, 0].set(xlim=(100 * least, 100.2), ylim=(0, None))
    axes[0, 0].set(xlabel="coverage, most confident first (%)", ylabel="error rate (%)")
    axes[0, 0].legend(frameon=False, title="dot: the model's abstention rule", title_fontsize=9)
    return figure


def corruption_heatmaps(panels: Mapping[str, pd.DataFrame], *, title: str, span: tuple[float, float]) -> Figure:
    """Show shares by corruption type (rows) and severity (columns) in percent, two panels in a row.

    Colours run from dark, at `span[0]` percent or worse, to bright, at `span[1]`. The tables of a row of panels have
    the same index, which is written once.
    """
    rows = -(-len(panels) // 2)
    figure, axes = new_figure(title, rows, 2, (9.4, 0.5 + 3.7 * rows))
    cmap = "cividis" if span[0] < span[1] else "cividis_r"
    for cell, (name, table) in zip(axes.flat, panels.items(), strict=False):
        sns.heatmap(100 * table, ax=cell, annot=True, fmt=".1f", cbar=False, cmap=cmap, vmin=min(span), vmax=max(span))
        cell.set(title=name, xlabel="severity (0: uncorrupted)", ylabel="")
        cell.tick_params(left=False, bottom=False, rotation=0)
    for left, right in axes:
        left.set_ylabel("corruption")
        right.set_yticks([])
    return figure


def share_heatmaps(panels: Mapping[str, pd.DataFrame], *, title: str, ylabel: str = "source") -> Figure:
    """Show tables of shares or areas, all from 0 to 1, side by side; they have the same rows, which are named once."""
    columns, rows = sum(len(table.columns) for table in panels.values()), len(next(iter(panels.values())))
    longest = max(len(str(name)) for table in panels.values() for name in table.columns)
    size = (2.2 + 0.52 * columns, 1.1 + 0.27 * rows + 0.08 * longest)  # inches
    figure, axes = new_figure(title, 1, len(panels), size)
    options = {"annot": True, "fmt": ".2f", "annot_kws": {"size": 8}, "cbar": False, "cmap": "cividis"}
    for cell, (name, table) in zip(axes[0], panels.items(), strict=True):
        sns.heatmap(table, ax=cell, vmin=0, vmax=1, yticklabels=cell is axes[0, 0], xticklabels=True, **options)
        cell.set(title=name, xlabel=table.columns.name, ylabel="")
        cell.tick_params(left=False, bottom=False)
        cell.tick_params("x", rotation=90)
    axes[0, 0].set_ylabel(ylabel)
    axes[0, 0].tick_params("y", rotation=0)
    return figure


def dot_panels(panels: Mapping[str, pd.DataFrame], *, title: str, ylabel: str) -> Figure:
    """Draw tables with the same rows side by side: a dot for each value, and its interval where there is one.

    `panels` maps the label of the x axis to a table with the column value, and low and high or neither, in the label's
    unit. The rows are named once. 'REAL/flickr' and 'FAKE/glide' have their class's colour.
    """
    index = next(iter(panels.values())).index
    figure, axes = new_figure(title, 1, len(panels), (9.5, 1.3 + 0.26 * len(index)))
    colors = [COLORS.get(str(name).partition("/")[0], MODEL_COLORS[0]) for name in index]
    for cell, (label, table) in zip(axes[0], panels.items(), strict=True):
        rows = table.reindex(columns=["value", "low", "high"])  # no interval is drawn where its ends are missing
        for place, color in enumerate(colors):
            interval_dots(cell, [place], rows.iloc[[place]], horizontal=True, percent=False, ms=5, color=color)
        cell.set(xlabel=label, yticks=[], ylim=(len(index) - 0.5, -0.5))
        cell.grid(axis="x", alpha=0.3)
    axes[0, 0].set_yticks(range(len(index)), index)
    axes[0, 0].set_ylabel(ylabel)
    return figure


def left_out_dots(table: pd.DataFrame) -> Figure:
    """Draw the AUC of each left-out family and photo source, and its recall or FPR; `table` is `left_out_sources`'."""
    kinds = {"generator family": ("recall", COLORS["FAKE"]), "photo source": ("FPR", COLORS["REAL"])}
    title = "Means over pairs of a left-out family and a left-out photo source, with 95% intervals"
    figure, axes = new_figure(title, 1, 2, (9.5, 4.8))
    tables = {kind: table[table["left out"] == kind].sort_values("value") for kind in kinds}
    for cell, (kind, (rate, color)) in zip(axes[0], kinds.items(), strict=True):
        rows = tables[kind]
        interval_dots(cell, np.arange(len(rows)), rows, horizontal=True, percent=False, ms=4, color=color)
        cell.plot(rows[rate], np.arange(len(rows)), "s", ms=5, mfc="none", color=color)
        cell.set_yticks(range(len(rows)), rows["name"])
        cell.set(ylabel=kind, xlabel=f"AUC; {rate} at the upper limit", xlim=(-0.02, 1.02))
        cell.grid(axis="x", alpha=0.3)
    marks = [
        Line2D([], [], marker=marker, mfc=face, ls="", color="0.3") for marker, face in (("o", "0.3"), ("s", "none"))
    ]
    figure.legend(marks, ["AUC", "recall, or FPR of photos"], frameon=False, loc="outside lower left", ncols=2)
    return figure


def share_dots(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw the share predicted FAKE on each source, named with its size, by model; `table` is `source_shares`'."""
    sources, models = list(dict.fromkeys(table["source"]))[::-1], dict(list(table.groupby("model", sort=False)))
    figure, axes = new_figure(title, size=(8, 4.6))
    cell, offsets = axes[0, 0], np.linspace(0.25, -0.25, len(models))
    for offset, (model, rows, color) in zip(offsets, coloured(models), strict=True):
        places = rows["source"].map(sources.index) + offset
        interval_dots(cell, places, rows, horizontal=True, ms=4, color=color, label=model)
    sizes = table.groupby("source")["n"].max()
    cell.set_yticks(range(len(sources)), [f"{source}, n = {sizes[source]:,}" for source in sources])
    cell.set(xlabel="predicted FAKE (%)", ylabel="source", xlim=(-2, 102))
    cell.grid(axis="x", alpha=0.3)
    figure.legend(frameon=False, loc="outside lower left", ncols=len(models))
    return figure


def headline(cifake: pd.DataFrame, native: pd.DataFrame) -> Figure:
    """Draw the report's result: accuracy on CIFAKE beside results elsewhere, and AUC at native resolution.

    `cifake` (shares) and `native` are indexed by model, with columns value, low, high, ours (bool); best last.
    """
    title = "CIFAKE's test images, and images of sources set aside at native resolution"
    figure, axes = new_figure(title, 1, 2, (9.5, 3.4))
    panels = (
        (cifake, "accuracy on CIFAKE's official test (%)", True),
        (native, "AUC on eight sources set aside (dotted: chance)", False),
    )
    for cell, (table, label, percent) in zip(axes[0], panels, strict=True):
        for ours, color, name in (
            (False, "0.5", "elsewhere, or for comparison"),
            (True, MODEL_COLORS[0], "this project"),
        ):
            places = np.flatnonzero(table["ours"] == ours)
            options = {"horizontal": True, "percent": percent, "color": color, "label": name}
            interval_dots(cell, places, table.iloc[places], **options)
        cell.set_yticks(range(len(table)), table.index)
        cell.set(xlabel=label, ylim=(-0.6, len(table) - 0.4))
        cell.grid(axis="x", alpha=0.3)
    axes[0, 0].set_ylabel("model")
    axes[0, 1].axvline(0.5, color="0.3", lw=1, ls=":")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, loc="outside lower left", ncols=2)
    return figure


def mistake_dots(runs: pd.DataFrame) -> Figure:
    """Draw the accuracy that a project would state and the true one, by mistake: a dot for each seed.

    `runs` has the columns mistake, reported and accuracy; the first mistake is at the top.
    """
    names = list(runs["mistake"].unique())[::-1]
    figure, axes = new_figure("Reported and true accuracy of a CNN with one mistake, calibration images", size=(8, 4))
    cell, places = axes[0, 0], runs["mistake"].map(names.index)
    for offset, column, color in ((0.15, "reported", MODEL_COLORS[1]), (-0.15, "accuracy", MODEL_COLORS[0])):
        label = "as reported" if column == "reported" else "in truth"
        cell.plot(100 * runs[column], places + offset, "o", ms=5, color=color, alpha=0.7, label=label)
    cell.set_yticks(range(len(names)), names)
    cell.set(xlabel="accuracy (%); dot: one seed", ylabel="mistake")
    cell.grid(axis="x", alpha=0.3)
    cell.legend(frameon=False, loc="lower left")
    return figure
