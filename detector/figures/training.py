"""Figures of training: learning curves, architectures, and accuracy by recipe, number of images and cost."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detector.figures.style import MODEL_COLORS, coloured, interval_dots, new_figure


def learning_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw loss and validation accuracy by epoch; `histories` maps a model to the history that `train` returned."""
    figure, axes = new_figure("Loss and validation accuracy by epoch", 1, 2, (9, 3.4))
    loss, accuracy = axes[0]
    for name, history, color in coloured(histories):
        loss.plot(history.index, history["loss"], color=color, marker="o", ms=4, label=f"{name}, training")
        loss.plot(history.index, history["validation_loss"], color=color, ls="--", label=f"{name}, validation")
        accuracy.plot(history.index, 100 * history["validation_accuracy"], color=color, marker="o", ms=4, label=name)
    loss.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    accuracy.set(xlabel="epoch", ylabel="validation accuracy (%)")
    loss.legend(frameon=False, fontsize=8)
    accuracy.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def architecture(layers: pd.DataFrame, *, name: str) -> Figure:
    """Draw each layer as a box, as wide as its channels and as high as its output in pixels.

    `layers` is `layer_table`'s, with outputs such as '64 × 16 × 16' (convolution) or '1' (linear).
    """
    figure, axes = new_figure(f"Architecture of {name}: width is channels, height is pixels", size=(10, 3))
    left = 0.0
    for output in layers["output"]:
        channels, side, *_ = [int(length) for length in output.split(" × ")] + [1]
        width, is_convolution = max(channels / 8, 1), "×" in output
        color = MODEL_COLORS[0] if is_convolution else MODEL_COLORS[1]
        box = mpl.patches.Rectangle((left, -side / 2), width, side, fc=color, ec="white", alpha=0.8)
        axes[0, 0].add_patch(box)
        label = f"{channels}\n{side}×{side}" if is_convolution else "logit"
        axes[0, 0].text(left + width / 2, -18, label, ha="center", va="top", fontsize=9)
        left += max(width, 8) + 5
    axes[0, 0].set(xlim=(-4, left), ylim=(-28, 17))
    axes[0, 0].set_axis_off()
    return figure


def variant_dots(runs: pd.DataFrame) -> Figure:
    """Draw validation accuracy by recipe variant: a dot per run, a bar at the mean.

    `runs` has a row per run with columns variant and accuracy; the first variant is at the top.
    """
    figure, axes = new_figure("Validation accuracy by recipe variant", size=(8, 3.2))
    names = list(runs["variant"].unique())[::-1]
    cell = axes[0, 0]
    cell.plot(100 * runs["accuracy"], runs["variant"].map(names.index), "o", ms=5, color=MODEL_COLORS[0], alpha=0.6)
    means = 100 * runs.groupby("variant")["accuracy"].mean()[names]
    cell.plot(means, range(len(names)), "|", ms=18, mew=1.5, color="black")
    cell.set_yticks(range(len(names)), names)
    cell.set(xlabel="validation accuracy (%); dot: one seed, bar: mean", ylabel="variant")
    cell.margins(y=0.15)
    cell.grid(axis="x", alpha=0.3)
    return figure


def images_curve(runs: pd.DataFrame) -> Figure:
    """Draw validation error by number of training images: a dot per run, a line through the means.

    `runs` has a row per run with columns images (int) and accuracy.
    """
    title = "Validation error by number of training images, for equally many steps"
    figure, axes = new_figure(title, size=(8, 3.4))
    cell = axes[0, 0]
    errors = 100 * (1 - runs.groupby("images")["accuracy"].mean())
    cell.plot(runs["images"], 100 * (1 - runs["accuracy"]), "o", ms=5, color=MODEL_COLORS[0], alpha=0.6)
    cell.plot(errors.index, errors, color="black", lw=1)
    cell.set(xscale="log", yscale="log", xlabel="training images", ylabel="validation error (%)")
    cell.set_xticks(errors.index, [f"{count:,}" for count in errors.index])
    cell.yaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    cell.yaxis.set_minor_formatter(mpl.ticker.ScalarFormatter())
    cell.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    cell.grid(alpha=0.3, which="both")
    return figure


def cost_dots(table: pd.DataFrame, front: pd.Series) -> Figure:
    """Draw validation accuracy with 95% intervals against multiply-accumulates (MACs), a named dot per variant.

    `table` is indexed by variant and has columns MACs, value, low, high. A name's first word gives its colour.
    `front` (bool, same index) marks the Pareto front, which is ringed.
    """
    figure, axes = new_figure("Validation accuracy by cost, after equal training time", size=(8, 5.4))
    cell = axes[0, 0]
    log_error = (lambda y: -np.log(np.maximum(100 - y, 0.01)), lambda t: 100 - np.exp(-t))
    cell.set_yscale("function", functions=log_error)  # halving the error is the same distance everywhere
    families = dict(list(table.groupby(table.index.str.split().str[0])))
    for family, rows, color in coloured(families):
        interval_dots(cell, rows["MACs"] / 1e6, rows, ms=6, color=color, label=family)
    ring = {"ms": 10, "mfc": "none", "mec": "black", "label": "Pareto front"}
    cell.plot(table.loc[front, "MACs"] / 1e6, 100 * table.loc[front, "value"], "o", **ring)
    cell.legend(frameon=False, loc="lower left")
    cell.set(xscale="log", xlabel="multiply-accumulates per image (millions)", ylabel="validation accuracy (%)")
    cell.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    cell.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    cell.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    lowest, highest = 100 * table["low"].min() - 3, 100 * table["high"].max() + 0.5
    cell.set_yticks([tick for tick in (75, 80, 85, 90, 92, 94, 95, 96, 97, 98) if lowest < tick < highest])
    cell.set_xlim(table["MACs"].min() / 5e6, 2 * table["MACs"].max() / 1e6)
    cell.grid(alpha=0.3)
    _write_names(cell, table)
    return figure


def _write_names(axes: Axes, table: pd.DataFrame, line_height: float = 11) -> None:
    """Write each row's name beside its dot so that no two overlap; lengths are in points.

    A name is to the left of its dot where a neighbour is close on the right only. The most accurate variants are placed
    first. A name that would overlap an earlier one moves down until it is free, and a line leads to its dot.
    """
    costs = np.unique(table["MACs"])
    close = costs[1:] / costs[:-1] < 1.25
    leftward = set(costs[np.append(close, False) & ~np.append(False, close)])
    axes.figure.draw_without_rendering()  # the layout is final only now
    points_per_pixel = 72 / axes.figure.dpi
    taken: list[tuple[float, float, float]] = []  # left, right, height
    for name, row in table.sort_values("value", ascending=False).iterrows():
        place = row["MACs"] / 1e6, 100 * row["value"]
        x, y = axes.transData.transform(place) * points_per_pixel
        width, gap = 5 * len(name), -7 if row["MACs"] in leftward else 7
        down, start = 0, x + gap - width * (gap < 0)
        while any(start < b and start + width > a and abs(y - down - at) < line_height for a, b, at in taken):
            down, start = down + 1, x + 4 * gap - width * (gap < 0)  # further out, so that its line is visible
        taken.append((start, start + width, y - down))
        style = {"ha": "right" if gap < 0 else "left", "va": "center", "fontsize": 8, "textcoords": "offset points"}
        leader = {"arrowstyle": "-", "lw": 0.6, "color": "0.4", "shrinkA": 1, "shrinkB": 0, "relpos": (gap < 0, 0.5)}
        axes.annotate(name, place, (4 * gap if down else gap, -down), arrowprops=leader if down else None, **style)
