"""The style that all figures share, and the elements that several of them draw.

REAL is blue and FAKE is orange throughout (Okabe and Ito's palette, safe for colour-blind readers). Models have the
palette's other colours, and grey.
"""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from detector.core.labels import CLASSES

COLORS = {"REAL": "#0072B2", "FAKE": "#D55E00"}
MODEL_COLORS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
DIVERGING = LinearSegmentedColormap.from_list("REAL to FAKE", (COLORS["REAL"], "white", COLORS["FAKE"]))
STYLE = {
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class DescribedFigure(Figure):
    """A figure that a notebook shows with an alternative text."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        stream = io.BytesIO()
        self.savefig(stream, format="png", bbox_inches="tight")
        return {"image/png": stream.getvalue()}, {"image/png": {"alt": describe(self)}}


def describe(figure: Figure) -> str:
    """Return an alternative text: the title, the panels, their axes, and the entries of the first legend."""
    title = figure.get_suptitle()
    drawn = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
    panels = [panel for panel in dict.fromkeys(axes.get_title() for axes in drawn) if panel]
    scales = dict.fromkeys((axes.get_xlabel(), axes.get_ylabel()) for axes in drawn)
    scales = [" by ".join(filter(None, (y, x))) for x, y in scales if x or y]
    legends = [*figure.legends, *(axes.get_legend() for axes in drawn if axes.get_legend())]
    series = [text.get_text() for text in legends[0].get_texts()] if legends else []
    sentences = (title, "Panels: " + ", ".join(panels), "; ".join(scales), "Series: " + ", ".join(series))
    kept = [text for text, known in zip(sentences, (title, panels, scales, series), strict=True) if known]
    return " ".join(f"{text.replace(chr(10), ' ')}." for text in kept)


def new_figure(
    title: str, rows: int = 1, columns: int = 1, size: tuple[float, float] = (8, 4)
) -> tuple[Figure, np.ndarray]:
    """Return a figure of `size` inches in the shared style, and its axes (rows, columns).

    The figure is closed in pyplot, so that a notebook shows it once: as the value that a cell returns.
    """
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, FigureClass=DescribedFigure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    plt.close(figure)
    return figure, axes


def show_image(axes: Axes, pixels: torch.Tensor, title: str = "", color: str = "black") -> None:
    """Show one image (3, H, W), uint8 or float in [0, 1], without ticks."""
    axes.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=8, loc="center", color=color)
    axes.set_axis_off()


def coloured(models: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield the name, the data and the colour of each model; ValueError if there are more models than colours."""
    if len(models) > len(MODEL_COLORS):
        raise ValueError(f"{len(models)} models but {len(MODEL_COLORS)} colours: draw fewer models in one figure.")
    yield from zip(models, models.values(), MODEL_COLORS, strict=False)


def symmetric(values: torch.Tensor | np.ndarray, cmap: Any = DIVERGING) -> dict[str, Any]:
    """Return imshow's colour options for signed values: zero in the middle of `cmap`."""
    largest = float(abs(values).max()) or 1.0
    return {"cmap": cmap, "vmin": -largest, "vmax": largest}


def interval_dots(
    axes: Axes,
    places: np.ndarray | pd.Series,
    table: pd.DataFrame,
    *,
    horizontal: bool = False,
    percent: bool = True,
    **options: Any,
) -> None:
    """Draw a dot and its interval at each of `places`, from the columns value, low, high (shares) of `table`.

    Values are on the y axis, or on the x axis if `horizontal`, in percent or as they are; `options` are errorbar's.
    """
    scaled = (100 if percent else 1) * table[["value", "low", "high"]].astype(float)
    error = scaled[["low", "high"]].sub(scaled["value"], axis=0).abs().to_numpy().T  # (2, N)
    x, y = (scaled["value"], places) if horizontal else (places, scaled["value"])
    axes.errorbar(x, y, **{"xerr" if horizontal else "yerr": error}, fmt="o", capsize=2, **options)


def class_dots(axes: Axes, table: pd.DataFrame, *, by: str, horizontal: bool = False) -> None:
    """Draw dots with intervals in percent for each value of column `by`, one for each of REAL and FAKE.

    `table` has columns `by`, class, value, low, high. Groups keep their order: left to right, or downwards.
    """
    groups = table[by].unique()
    for offset, name in zip((-0.15, 0.15), CLASSES, strict=True):
        rows = table[table["class"] == name].set_index(by).reindex(groups)
        places = np.arange(len(groups)) + offset
        interval_dots(axes, places, rows, horizontal=horizontal, ms=4, color=COLORS[name], label=name)
    if horizontal:
        axes.set_yticks(range(len(groups)), groups)
        axes.invert_yaxis()
    else:
        axes.set_xticks(range(len(groups)), groups)
    axes.grid(axis="x" if horizontal else "y", alpha=0.3)
