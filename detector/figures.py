"""Figures: data in, Figure out. Nothing is computed, trained or shown here.

REAL is blue and FAKE is orange throughout (Okabe and Ito's palette, safe for the colour-blind); models take the
palette's other colours, and grey. On data that is not CIFAKE every title says so, by `label_figures`.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = {"REAL": "#0072B2", "FAKE": "#D55E00"}
MODEL_COLORS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "image.interpolation": "nearest",
}
_label = {"text": ""}


def label_figures(text: str) -> None:
    """Put `text` before the title of every figure from now on; an empty text for none."""
    _label["text"] = text


def titled(text: str) -> str:
    """A title, with the label that `label_figures` set."""
    return f"[{_label['text']}] {text}" if _label["text"] else text


def new_figure(
    title: str,
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (8, 4),
    *,
    of_record: bool = False,
) -> tuple[Figure, np.ndarray]:
    """A titled figure and its axes (rows, columns), kept out of pyplot's hands so that it is shown only once.

    One of record shows what was measured before, whatever data this run is on, and is not labelled with that data.
    """
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
        figure.suptitle(title if of_record else titled(title), x=0.01, ha="left", fontsize=12, fontweight="bold")
    plt.close(figure)
    return figure, axes


def show_picture(axes: Axes, pixels: torch.Tensor, title: str = "", color: str = "black") -> None:
    """One picture, uint8 or float (3, H, W), without ticks."""
    axes.imshow(np.asarray(pixels.permute(1, 2, 0)), interpolation="nearest")
    axes.set_title(title, fontsize=8, loc="center", color=color)
    axes.set_axis_off()


def sample_grid(
    pixels: Mapping[str, torch.Tensor], *, title: str, columns: int = 10, names: Sequence[str] = ()
) -> Figure:
    """A row of pictures for each key of `pixels`: uint8 or float (N, 3, 32, 32), N at most `columns`.

    `names` are written above the columns.
    """
    figure, axes = new_figure(title, len(pixels), columns, (columns * 0.85, len(pixels) * 0.9 + 0.4))
    for row, (name, pictures) in zip(axes, pixels.items(), strict=True):
        for cell in row:
            cell.set_axis_off()
        for cell, picture in zip(row, pictures, strict=False):
            show_picture(cell, picture)
        color = COLORS.get(name.split("/")[0], "black")
        row[0].text(-0.15, 0.5, name, transform=row[0].transAxes, ha="right", va="center", color=color)
    for cell, name in zip(axes[0], names, strict=False):
        cell.set_title(name, fontsize=8, loc="center")
    return figure


def histories(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Loss and validation accuracy by epoch, a colour a model; `histories` are those of `train`."""
    figure, axes = new_figure("Training, epoch by epoch", 1, 2, (9, 3.4))
    for (name, history), color in zip(histories.items(), MODEL_COLORS, strict=False):
        axes[0, 0].plot(history.index, history["loss"], color=color, marker="o", ms=4, label=f"{name}, training")
        axes[0, 0].plot(history.index, history["validation_loss"], color=color, ls="--", label=f"{name}, validation")
        axes[0, 1].plot(history.index, 100 * history["validation_accuracy"], color=color, marker="o", ms=4, label=name)
    axes[0, 0].set(xlabel="epoch", ylabel="cross-entropy (nats)")
    axes[0, 1].set(xlabel="epoch", ylabel="validation accuracy (%)")
    axes[0, 0].legend(frameon=False, fontsize=8)
    axes[0, 1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def architecture(layers: pd.DataFrame, *, name: str) -> Figure:
    """A network's shape: a box a layer, its width the channels, its height the side of the picture in it.

    `layers` is the table of `layer_table`.
    """
    figure, axes = new_figure(f"The shape of {name}: channels as width, pixels as height", size=(10, 3))
    left = 0.0
    for row in layers.itertuples():
        channels, side = ([int(part) for part in row.output.split(" × ")] + [1])[:2]
        width, color = max(channels / 8, 1), MODEL_COLORS[0] if row.kind == "Conv2d" else MODEL_COLORS[1]
        box = mpl.patches.Rectangle((left, -side / 2), width, side, fc=color, ec="white", alpha=0.8)
        axes[0, 0].add_patch(box)
        label = f"{channels}\n{side}×{side}" if row.kind == "Conv2d" else "logit"
        axes[0, 0].text(left + width / 2, -18, label, ha="center", va="top", fontsize=9)
        left += max(width, 8) + 5
    axes[0, 0].set(xlim=(-4, left), ylim=(-28, 17))
    axes[0, 0].set_axis_off()
    return figure


def confusions(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """A confusion matrix for each model, rows what a picture is; shares of the row by colour, counts written."""
    figure, axes = new_figure("What each picture is, and what it is called", 1, len(tables), (4 * len(tables), 3.4))
    for cell, (name, table) in zip(axes[0], tables.items(), strict=True):
        shares = table.div(table.sum(axis=1), axis=0)
        sns.heatmap(
            shares, annot=table, fmt=",d", cmap="Blues", vmin=0, vmax=1, ax=cell, square=True, cbar=False, linewidths=2
        )
        cell.set_title(name)
    return figure


def roc_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """True against false positives (the first 10% shown), a curve a model: name -> (false, true) positive rates."""
    figure, axes = new_figure("Fakes found, against photographs called FAKE", size=(6, 4))
    for (name, (false, true)), color in zip(curves.items(), MODEL_COLORS, strict=False):
        axes[0, 0].plot(100 * false, 100 * true, color=color, label=name)
    axes[0, 0].set(xlim=(0, 10), ylim=(80, 100.3), xlabel="photographs called FAKE (%)", ylabel="fakes found (%)")
    axes[0, 0].legend(frameon=False, loc="lower right")
    return figure


def accuracy_bars(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy by subject and class with intervals; `tables` maps a model to `accuracy_by_subject`'s table."""
    figure, axes = new_figure("Accuracy by subject, with 95% intervals", len(tables), 1, (9, 2.8 * len(tables)))
    for cell, (name, table) in zip(axes[:, 0], tables.items(), strict=True):
        for offset, (class_, rows) in zip((-0.15, 0.15), table.groupby("class", sort=False), strict=True):
            error = np.abs(rows[["low", "high"]].to_numpy().T - rows["value"].to_numpy()) * 100
            places = np.arange(len(rows)) + offset
            cell.errorbar(places, 100 * rows["value"], error, fmt="o", color=COLORS[class_], label=class_, capsize=2)
        cell.set_xticks(range(table["subject"].nunique()), table["subject"].unique())
        cell.set(ylabel="accuracy (%)", title=name)
        cell.grid(axis="y", alpha=0.3)
    axes[0, 0].legend(frameon=False, ncols=2)
    return figure


def labelled_grid(
    pixels: torch.Tensor, captions: list[str], classes: list[str], *, title: str, columns: int = 10
) -> Figure:
    """Pictures (N, 3, 32, 32) with a caption each, in the colour of what they are."""
    rows = max(1, -(-len(captions) // columns))
    figure, axes = new_figure(title, rows, columns, (columns * 0.9, rows * 1.15 + 0.4))
    for cell in axes.flat:
        cell.set_axis_off()
    for cell, picture, caption, name in zip(axes.flat, pixels, captions, classes, strict=False):
        show_picture(cell, picture, caption, COLORS[name])
    return figure


def verdict(picture: torch.Tensor, seen: torch.Tensor, verdict: Mapping[str, float | str]) -> Figure:
    """A verdict: the picture given, the 32x32 view judged, P(FAKE) on a scale.

    `picture` uint8 (3, H, W), `seen` uint8 (3, 32, 32), `verdict` with keys prob, verdict, words.
    """
    figure, axes = new_figure(f"{verdict['verdict']}: {verdict['words']}", 1, 3, (9, 3))
    show_picture(axes[0, 0], picture, "your picture")
    show_picture(axes[0, 1], seen, "the whole, as the model sees it")
    scale = axes[0, 2]
    scale.barh([0], [verdict["prob"]], color=COLORS["FAKE"], height=0.4)
    scale.barh([0], [1 - verdict["prob"]], left=[verdict["prob"]], color=COLORS["REAL"], height=0.4)
    scale.set(xlim=(0, 1), ylim=(-1, 1), yticks=[], xlabel="P(FAKE)", title=f"P(FAKE) = {verdict['prob']:.3f}")
    scale.spines["left"].set_visible(False)
    return figure
