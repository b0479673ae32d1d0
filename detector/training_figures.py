"""Figures on what training takes: data in, Figure out."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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

    A ring marks those that `front`, a bool for each, says are beaten by none at their cost or below.
    """
    figure, axes = new_figure("What a multiplication buys, in about the same time", size=(8, 5.4), of_record=True)
    cell = axes[0, 0]
    by_error = (lambda y: -np.log(np.maximum(100 - y, 0.01)), lambda t: 100 - np.exp(-t))
    cell.set_yscale("function", functions=by_error)  # half the errors is as far everywhere
    families = table.index.str.split("-").str[0]
    for family, color in zip(dict.fromkeys(sorted(families)), MODEL_COLORS, strict=False):
        rows = table[families == family]
        error = 100 * (rows[["low", "high"]].sub(rows["value"], axis=0).abs().to_numpy().T)
        cell.errorbar(
            rows["MACs"] / 1e6, 100 * rows["value"], error, fmt="o", ms=6, capsize=2, color=color, label=family
        )
    best, ring = table[front], {"ms": 10, "mfc": "none", "mec": "black", "label": "beaten by none as cheap"}
    cell.plot(best["MACs"] / 1e6, 100 * best["value"], "o", **ring)
    cell.legend(frameon=False, loc="lower left")
    cell.set(xscale="log", xlabel="millions of multiply-accumulates a picture", ylabel="validation accuracy (%)")
    cell.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    cell.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    cell.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    lowest, highest = 100 * table["low"].min() - 3, 100 * table["high"].max() + 0.5
    cell.set_yticks([tick for tick in (75, 80, 85, 90, 92, 94, 95, 96, 97, 98) if lowest < tick < highest])
    cell.set_xlim(table["MACs"].min() / 2.6e6, 2 * table["MACs"].max() / 1e6)
    _name(cell, table)
    cell.grid(alpha=0.3)
    return figure


def _name(cell: Axes, table: pd.DataFrame, line: float = 11) -> None:
    """Write each row's name beside its dot, in points: to the left where others are near on the right alone.

    The most accurate first; a name that would lie on another is moved down as far as it takes, and a line leads to it.
    """
    cost = np.unique(table["MACs"])
    near = cost[1:] / cost[:-1] < 1.25
    left = set(cost[np.append(near, False) & ~np.append(False, near)])
    cell.figure.draw_without_rendering()  # only then do its places stay
    points_a_pixel = 72 / cell.figure.dpi
    taken: list[tuple[float, float, float]] = []  # from, to, height
    for name, row in table.sort_values("value", ascending=False).iterrows():
        place = row["MACs"] / 1e6, 100 * row["value"]
        x, y = cell.transData.transform(place) * points_a_pixel
        width, away = 5 * len(name), -7 if row["MACs"] in left else 7
        down, start = 0, x + away - width * (away < 0)
        while any(start < to and start + width > from_ and abs(y - down - at) < line for from_, to, at in taken):
            down, start = down + 1, x + 4 * away - width * (away < 0)  # farther out, so that the line to it is seen
        taken.append((start, start + width, y - down))
        style = {"ha": "right" if away < 0 else "left", "va": "center", "fontsize": 8, "textcoords": "offset points"}
        leader = {"arrowstyle": "-", "lw": 0.6, "color": "0.4", "shrinkA": 1, "shrinkB": 0, "relpos": (away < 0, 0.5)}
        cell.annotate(name, place, (4 * away if down else away, -down), arrowprops=leader if down else None, **style)
