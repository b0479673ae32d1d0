"""Figures of the data: the same rules as `detector.figures`. REAL is blue, FAKE is orange."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torchvision.utils import make_grid

from detector.cifake import CLASSES
from detector.figures import COLORS, MODEL_COLORS, new_figure, show_picture

DIVERGING = LinearSegmentedColormap.from_list("REAL to FAKE", (COLORS["REAL"], "white", COLORS["FAKE"]))


def class_grids(pixels: Mapping[str, torch.Tensor], names: Sequence[str], *, title: str) -> Figure:
    """A block of pictures for each class, a column a subject: uint8 (rows, subjects, 3, 32, 32) each."""
    rows = next(iter(pixels.values())).shape[0]
    figure, axes = new_figure(title, len(pixels), 1, (10.5, 0.98 * rows * len(pixels) + 0.6))
    for cell, (name, pictures) in zip(axes[:, 0], pixels.items(), strict=True):
        columns = pictures.shape[1]
        grid = make_grid(pictures.flatten(0, 1), nrow=columns, padding=2, pad_value=255)  # (3, H, W)
        cell.imshow(grid.permute(1, 2, 0), interpolation="nearest")
        cell.set_xticks(17 + 34 * np.arange(columns), names if cell is axes[0, 0] else [])
        cell.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        cell.set_yticks([])
        cell.set_ylabel(name, color=COLORS[name], fontsize=12, labelpad=8)
        cell.spines[:].set_visible(False)
    return figure


def copy_pairs(groups: Mapping[str, torch.Tensor], *, title: str) -> Figure:
    """A row of pairs for each key: uint8 (pairs, 2, 3, 32, 32), the two of a pair touching."""
    columns = max(len(pairs) for pairs in groups.values())
    figure, axes = new_figure(title, len(groups), columns, (10, 0.72 * len(groups) + 0.4))
    for row, (name, pairs) in zip(axes, groups.items(), strict=True):
        for cell in row:
            cell.set_axis_off()
        for cell, (first, second) in zip(row, pairs, strict=False):
            show_picture(cell, torch.cat([first, second], dim=2))
        place = {"transform": row[0].transAxes, "ha": "right", "va": "center", "fontsize": 9}
        row[0].text(-0.06, 0.5, name, color=COLORS[name.split(",")[0]], **place)
    return figure


def recall_dots(table: pd.DataFrame) -> Figure:
    """Recall by change and class with intervals; `table` is that of `planted_recall`."""
    changes = table.index.unique(level="change")
    figure, axes = new_figure("Planted copies that the search finds, with 95% intervals", size=(8, 4.4))
    for offset, name in zip((-0.14, 0.14), CLASSES, strict=True):
        rows = table.xs(name, level="class").loc[changes]
        _dots(axes[0, 0], rows, np.arange(len(rows)) + offset, COLORS[name], name)
    axes[0, 0].set_yticks(range(len(changes)), changes)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set(xlabel="found (%)", xlim=(-2, 102))
    axes[0, 0].grid(axis="x", alpha=0.3)
    axes[0, 0].legend(frameon=False, loc="lower left")
    return figure


def cue_dots(table: pd.DataFrame) -> Figure:
    """Accuracy of each cue on the official test with intervals, and chance; `table` is that of `cue_table`."""
    rows = table.sort_values("value")
    figure, axes = new_figure("How far each trivial cue goes: a logistic regression on it, test folder", size=(8, 3.4))
    _dots(axes[0, 0], rows, np.arange(len(rows)), MODEL_COLORS[0], None)
    axes[0, 0].axvline(50, color="0.5", ls=":")
    axes[0, 0].text(50.3, len(rows) - 1, "chance", color="0.4", va="center")
    numbers = rows["features"].map(lambda count: f"{count} number" + "s" * (count > 1))
    axes[0, 0].set_yticks(range(len(rows)), rows.index + ", " + numbers)
    axes[0, 0].set(xlabel="accuracy (%)", xlim=(100 * min(0.49, rows["low"].min()), 100))
    axes[0, 0].grid(axis="x", alpha=0.3)
    return figure


def _dots(axes: Axes, rows: pd.DataFrame, places: np.ndarray, color: str, label: str | None) -> None:
    """A dot with its interval, in percent, for each row of columns value, low, high."""
    error = 100 * np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy())
    axes.errorbar(100 * rows["value"], places, xerr=error, fmt="o", ms=4, color=color, label=label, capsize=2)


def mean_pictures(means: Mapping[str, torch.Tensor]) -> Figure:
    """The mean picture of each class, float (3, 32, 32) in levels of 0 to 255, and FAKE - REAL on a common scale."""
    figure, axes = new_figure("The mean picture of each class, and their difference by channel", 1, 5, (10, 2.6))
    for cell, (name, mean) in zip(axes[0], means.items(), strict=False):
        show_picture(cell, mean / 255, name, COLORS[name])
    difference = means["FAKE"] - means["REAL"]
    reach = float(difference.abs().max())
    for cell, channel, name in zip(axes[0, 2:], difference, ("red", "green", "blue"), strict=True):
        image = cell.imshow(channel, cmap=DIVERGING, vmin=-reach, vmax=reach)
        cell.set_title(f"FAKE − REAL, {name}", fontsize=8, loc="center")
        cell.set_axis_off()
    figure.colorbar(image, ax=axes[0, 2:], label="levels of 255", shrink=0.8)
    return figure


def spectra(table: pd.DataFrame) -> Figure:
    """Median radial power spectrum by class with the middle half of the pictures as a band.

    `table` has columns frequency (cycles per pixel), class, low, median, high (dB).
    """
    figure, axes = new_figure("Power by spatial frequency: median, and the middle half of the pictures")
    for name in CLASSES:
        rows = table[table["class"] == name]
        axes[0, 0].plot(rows["frequency"], rows["median"], color=COLORS[name], label=name)
        axes[0, 0].fill_between(rows["frequency"], rows["low"], rows["high"], color=COLORS[name], alpha=0.2, lw=0)
    axes[0, 0].set(xlabel="frequency (cycles per pixel)", ylabel="power (dB)")
    axes[0, 0].legend(frameon=False)
    return figure


def colour_distributions(table: pd.DataFrame) -> Figure:
    """How often each level occurs, a panel a channel; `table` is that of `colour_table`."""
    channels = table["channel"].unique()
    figure, axes = new_figure("How often each level of red, green and blue occurs", 1, len(channels), (10, 2.8))
    for cell, channel in zip(axes[0], channels, strict=True):
        for name in CLASSES:
            rows = table[(table["channel"] == channel) & (table["class"] == name)]
            cell.plot(rows["level"], 100 * rows["share"], color=COLORS[name], label=name, drawstyle="steps-mid")
        cell.set(title=channel, xlabel="level (of 255)", xlim=(0, 255), ylim=(0, 100 * table["share"].max() * 1.05))
    axes[0, 0].set(ylabel="share of pixels (%)")
    axes[0, 0].legend(frameon=False)
    return figure


def spectra_2d(means: Mapping[str, torch.Tensor]) -> Figure:
    """Mean power by direction and frequency of each class on one scale, and FAKE - REAL; `means` by `mean_spectra`."""
    figure, axes = new_figure("Power by direction and frequency (dB); the middle is frequency zero", 1, 3, (10, 3.3))
    both = torch.stack(list(means.values()))
    low, high = float(both.min()), float(both.max())
    frame = {"extent": (-0.5, 0.5, -0.5, 0.5), "interpolation": "nearest"}
    for cell, (name, mean) in zip(axes[0], means.items(), strict=False):
        image = cell.imshow(mean, cmap="viridis", vmin=low, vmax=high, **frame)
        cell.set_title(name, color=COLORS[name])
    figure.colorbar(image, ax=axes[0, :2], label="dB", shrink=0.85)
    difference = means["FAKE"] - means["REAL"]
    reach = float(difference.abs().max())
    image = axes[0, 2].imshow(difference, cmap=DIVERGING, vmin=-reach, vmax=reach, **frame)
    axes[0, 2].set_title("FAKE − REAL")
    figure.colorbar(image, ax=axes[0, 2], label="dB", shrink=0.85)
    axes[0, 0].set(ylabel="vertical (cycles per pixel)")
    for cell in axes[0]:
        cell.set(xlabel="horizontal (cycles per pixel)", xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))
    return figure


def spectrum_heatmap(table: pd.DataFrame) -> Figure:
    """FAKE's power less REAL's by subject and frequency, in dB; `table` is that of `spectrum_differences`."""
    figure, axes = new_figure("FAKE − REAL, median power by subject and frequency (dB)", size=(10, 3.6))
    reach = float(table.abs().to_numpy().max())
    options = {"cmap": DIVERGING, "vmin": -reach, "vmax": reach, "annot": True, "fmt": ".1f", "annot_kws": {"size": 8}}
    sns.heatmap(table, ax=axes[0, 0], cbar=False, **options)
    axes[0, 0].set(xlabel="frequency (cycles per pixel)", ylabel="")
    return figure
