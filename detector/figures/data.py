"""Figures of the data: images, duplicates, shortcut features and class differences."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torchvision.utils import make_grid

from detector.core.labels import CLASSES
from detector.figures.style import COLORS, MODEL_COLORS, class_dots, interval_dots, new_figure, show_image, symmetric

PADDING = 2  # white pixels around each image of a grid


def _tiles(
    rows: Mapping[str, torch.Tensor], columns: int, *, title: str, size: tuple[float, float], names: Sequence[str] = ()
) -> Figure:
    """Show a block of images (N, 3, H, W) for each key, in rows of `columns`; `names` stand above the columns.

    uint8 or float in [0, 1]. A key takes its colour from the class that it begins with: 'REAL, exact', 'FAKE/glide'.
    """
    figure, axes = new_figure(title, len(rows), 1, size)
    for cell, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        pixels = images / 255 if images.dtype == torch.uint8 else images
        missing = -len(pixels) % columns
        pixels = torch.cat([pixels, torch.ones(missing, *pixels.shape[1:])])  # white
        grid = make_grid(pixels, nrow=columns, padding=PADDING, pad_value=1)  # (3, rows * (H + 2) + 2, ...)
        cell.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest")
        width, above = images.shape[-1], names if cell is axes[0, 0] else []
        cell.set_xticks(PADDING + width / 2 + (PADDING + width) * np.arange(len(above)), above)
        cell.tick_params(length=0, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False)
        cell.set_yticks([])
        color = COLORS.get(re.split("[/,]", name)[0], "black")
        cell.set_ylabel(name, color=color, rotation=0, ha="right", va="center")
        cell.spines[:].set_visible(False)
    return figure


def class_grids(pixels: Mapping[str, torch.Tensor], names: Sequence[str], *, title: str) -> Figure:
    """Show a block of images for each class, a column per object class.

    `pixels` maps a class to uint8 (rows, object classes, 3, 32, 32); `names` are those of the object classes.
    """
    rows, columns = next(iter(pixels.values())).shape[:2]
    blocks = {name: images.flatten(0, 1) for name, images in pixels.items()}
    return _tiles(blocks, columns, title=title, size=(10.5, 0.98 * rows * len(pixels) + 0.6), names=names)


def image_grid(pixels: Mapping[str, torch.Tensor], *, title: str, names: Sequence[str] = ()) -> Figure:
    """Show a row of images for each key of `pixels`, uint8 or float in [0, 1], (N, 3, 32, 32).

    `names` stand above the columns.
    """
    columns = max(len(images) for images in pixels.values())
    return _tiles(pixels, columns, title=title, size=(columns * 0.85 + 1, len(pixels) * 0.9 + 0.4), names=names)


def duplicate_pairs(groups: Mapping[str, torch.Tensor], *, title: str) -> Figure:
    """Show a row of image pairs for each key, uint8 (pairs, 2, 3, 32, 32); the two images of a pair touch."""
    columns = max(len(pairs) for pairs in groups.values())
    joined = {name: torch.cat([pairs[:, 0], pairs[:, 1]], dim=3) for name, pairs in groups.items()}
    return _tiles(joined, columns, title=title, size=(10, 0.72 * len(groups) + 0.4))


def labelled_grid(
    pixels: torch.Tensor, captions: Sequence[str], classes: Sequence[str], *, title: str, columns: int = 10
) -> Figure:
    """Show images (N, 3, 32, 32), each under its caption in the colour of its class."""
    rows = max(1, -(-len(captions) // columns))
    figure, axes = new_figure(title, rows, columns, (columns * 0.9, rows * 1.15 + 0.4))
    for cell in axes.flat:
        cell.set_axis_off()
    for cell, image, caption, name in zip(axes.flat, pixels, captions, classes, strict=False):
        show_image(cell, image, caption, COLORS[name])
    return figure


def recall_dots(table: pd.DataFrame) -> Figure:
    """Draw the duplicate search's recall by change and class, with intervals; `table` is `synthetic_recall`'s."""
    figure, axes = new_figure("Recall on synthetic duplicates, with 95% intervals", size=(8, 4.4))
    class_dots(axes[0, 0], table.reset_index(), by="change", horizontal=True)
    axes[0, 0].set(xlabel="recall (%)", ylabel="change", xlim=(-2, 102))
    axes[0, 0].legend(frameon=False, loc="lower left")
    return figure


def shortcut_dots(table: pd.DataFrame) -> Figure:
    """Draw each shortcut feature's accuracy with its interval, and chance; `table` is `shortcut_table`'s."""
    rows = table.sort_values("value")
    figure, axes = new_figure("Accuracy of logistic regression on shortcut features, test set", size=(8, 3.4))
    cell = axes[0, 0]
    interval_dots(cell, np.arange(len(rows)), rows, horizontal=True, ms=4, color=MODEL_COLORS[0])
    cell.axvline(50, color="0.5", ls=":")
    cell.text(50.3, len(rows) - 1, "chance", color="0.4", va="center")
    cell.set_yticks(range(len(rows)), rows.index + rows["features"].map(", {}-dimensional".format))
    cell.set(xlabel="accuracy (%)", ylabel="feature", xlim=(100 * min(0.49, rows["low"].min()), 100))
    cell.grid(axis="x", alpha=0.3)
    return figure


def mean_images(means: Mapping[str, torch.Tensor]) -> Figure:
    """Show the mean image of each class, float (3, 32, 32) in levels of 0 to 255, and FAKE − REAL by channel."""
    figure, axes = new_figure("Mean image by class, and difference by channel, training set", 1, 5, (10, 2.6))
    for cell, (name, mean) in zip(axes[0], means.items(), strict=False):
        show_image(cell, mean / 255, name, COLORS[name])
    difference = means["FAKE"] - means["REAL"]
    for cell, channel, name in zip(axes[0, 2:], difference, ("red", "green", "blue"), strict=True):
        image = cell.imshow(channel.numpy(), **symmetric(difference))
        cell.set_title(f"FAKE − REAL, {name}", fontsize=8, loc="center")
        cell.set_axis_off()
    figure.colorbar(image, ax=axes[0, 2:], label="levels (of 255)", shrink=0.8)
    return figure


def spectra(table: pd.DataFrame) -> Figure:
    """Draw the radial power spectrum by class: the median over images, and the interquartile range as a band.

    `table` has columns frequency (cycles per pixel), class, low, median, high (dB).
    """
    figure, axes = new_figure("Power by spatial frequency: median and interquartile range, training set")
    for name in CLASSES:
        rows = table[table["class"] == name]
        axes[0, 0].plot(rows["frequency"], rows["median"], color=COLORS[name], label=name)
        axes[0, 0].fill_between(rows["frequency"], rows["low"], rows["high"], color=COLORS[name], alpha=0.2, lw=0)
    axes[0, 0].set(xlabel="frequency (cycles per pixel)", ylabel="power (dB)")
    axes[0, 0].legend(frameon=False)
    return figure


def colour_distributions(table: pd.DataFrame) -> Figure:
    """Draw the distribution of levels by class, a panel per channel; `table` is `colour_table`'s."""
    channels = table["channel"].unique()
    figure, axes = new_figure("Distribution of levels by channel and class, training set", 1, len(channels), (10, 2.8))
    for cell, channel in zip(axes[0], channels, strict=True):
        for name in CLASSES:
            rows = table[(table["channel"] == channel) & (table["class"] == name)]
            cell.plot(rows["level"], 100 * rows["share"], color=COLORS[name], label=name, drawstyle="steps-mid")
        cell.set(title=channel, xlabel="level (of 255)", xlim=(0, 255), ylim=(0, 100 * table["share"].max() * 1.05))
    axes[0, 0].set(ylabel="share of pixels (%)")
    axes[0, 0].legend(frameon=False)
    return figure


def spectra_2d(means: Mapping[str, torch.Tensor]) -> Figure:
    """Show each class's mean power by horizontal and vertical frequency, and FAKE − REAL.

    `means` maps a class to dB, (32, 32), with frequency zero in the middle; both classes share a colour scale.
    """
    figure, axes = new_figure("Mean power by direction and frequency, training set", 1, 3, (10, 3.3))
    both = torch.stack(list(means.values()))
    frame = {"extent": (-0.5, 0.5, -0.5, 0.5), "interpolation": "nearest"}
    for cell, (name, mean) in zip(axes[0], means.items(), strict=False):
        image = cell.imshow(mean.numpy(), cmap="viridis", vmin=float(both.min()), vmax=float(both.max()), **frame)
        cell.set_title(name, color=COLORS[name])
    figure.colorbar(image, ax=axes[0, :2], label="power (dB)", shrink=0.85)
    difference = means["FAKE"] - means["REAL"]
    image = axes[0, 2].imshow(difference.numpy(), **symmetric(difference), **frame)
    axes[0, 2].set_title("FAKE − REAL")
    figure.colorbar(image, ax=axes[0, 2], label="difference (dB)", shrink=0.85)
    axes[0, 0].set(ylabel="vertical (cycles per pixel)")
    for cell in axes[0]:
        cell.set(xlabel="horizontal (cycles per pixel)", xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))
    return figure


def spectrum_heatmap(table: pd.DataFrame) -> Figure:
    """Show FAKE − REAL of the median power by object class and frequency; `table` is `spectrum_differences`'s."""
    title = "FAKE − REAL of median power (dB) by object class and frequency, training set"
    figure, axes = new_figure(title, size=(10, 3.6))
    options = {"annot": True, "fmt": ".1f", "annot_kws": {"size": 8}, "cbar": False}
    sns.heatmap(table, ax=axes[0, 0], **symmetric(table.to_numpy()), **options)
    axes[0, 0].set(xlabel="frequency (cycles per pixel)", ylabel="object class")
    return figure
