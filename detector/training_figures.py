"""Figures on what training takes: data in, Figure out."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from detector.figures import MODEL_COLORS, new_figure


def part_dots(runs: pd.DataFrame) -> Figure:
    """Validation accuracy of each variant of a recipe: a dot a seed, a bar their mean; `runs` by `training_runs`."""
    names = list(runs["what"].unique())[::-1]  # the first at the top
    figure, axes = new_figure(
        "What each part of the recipe buys, in one pass over the pictures", size=(8, 3.2), of_record=True
    )
    cell = axes[0, 0]
    for place, name in enumerate(names):
        accuracy = 100 * runs.loc[runs["what"] == name, "accuracy"]
        cell.plot(accuracy, [place] * len(accuracy), "o", ms=5, color=MODEL_COLORS[0], alpha=0.6)
        cell.plot([accuracy.mean()] * 2, [place - 0.3, place + 0.3], color="black")
    cell.set_yticks(range(len(names)), names)
    cell.set(xlabel="validation accuracy (%), a dot a seed, a bar their mean")
    cell.grid(axis="x", alpha=0.3)
    return figure


def images_curve(runs: pd.DataFrame) -> Figure:
    """Validation error against the number of training pictures, at the same number of steps; a dot a seed."""
    figure, axes = new_figure(
        "More pictures: validation error after the same number of steps", size=(8, 3.4), of_record=True
    )
    cell = axes[0, 0]
    errors = 100 * (1 - runs.groupby("what")["accuracy"].mean())
    cell.plot(runs["what"], 100 * (1 - runs["accuracy"]), "o", ms=5, color=MODEL_COLORS[0], alpha=0.6)
    cell.plot(errors.index, errors, color="black", lw=1)
    cell.set(xscale="log", yscale="log", xlabel="training pictures", ylabel="validation error (%)")
    cell.set_xticks(errors.index, [f"{count:,}" for count in errors.index])
    cell.yaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    cell.yaxis.set_minor_formatter(mpl.ticker.ScalarFormatter())
    cell.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    cell.grid(alpha=0.3, which="both")
    return figure


def cost_dots(table: pd.DataFrame, front: pd.Series) -> Figure:
    """Accuracy against multiply-accumulates, with 95% intervals and a name each; `table` by `transfer_table`.

    A line joins those that `front`, a bool for each, says are matched by none of the cheaper.
    """
    figure, axes = new_figure("What a multiplication buys, in the same seconds", size=(8, 4.6), of_record=True)
    cell = axes[0, 0]
    families = table.index.str.split("-").str[0]
    for family, color in zip(dict.fromkeys(sorted(families)), MODEL_COLORS, strict=False):
        rows = table[families == family]
        error = 100 * (rows[["low", "high"]].sub(rows["value"], axis=0).abs().to_numpy().T)
        cell.errorbar(rows["MACs"] / 1e6, 100 * rows["value"], error, fmt="o", ms=6, capsize=2, color=color)
    for macs, rows in table.groupby("MACs"):  # the cheapest have their names to the left, out of their neighbours' way
        side, away = ("right", -6) if macs == table["MACs"].min() else ("left", 6)
        for place, (name, value) in enumerate(rows["value"].items()):
            point, offset = (macs / 1e6, 100 * value), (away, -4 if place % 2 else 6)
            cell.annotate(name, point, offset, ha=side, textcoords="offset points", fontsize=8)
    best = table[front].sort_values("MACs")
    cell.plot(best["MACs"] / 1e6, 100 * best["value"], color="0.5", lw=1, zorder=0)
    cell.set(xscale="log", xlabel="millions of multiply-accumulates a picture", ylabel="validation accuracy (%)")
    ticks = sorted({round(macs / 1e6) for macs in table["MACs"]})
    cell.set_xticks(ticks, [str(tick) for tick in ticks])
    cell.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    cell.set_xlim(table["MACs"].min() / 1.35e6, 1.6 * table["MACs"].max() / 1e6)
    cell.grid(alpha=0.3)
    return figure
