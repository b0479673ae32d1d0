"""Figures of where a verdict comes from, and of what a network makes of the pictures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from detector.cifake import CLASSES
from detector.figures import COLORS, MODEL_COLORS, new_figure, show_picture


def _draw_map(axes: Axes, picture: torch.Tensor, map_: torch.Tensor, largest: float) -> None:
    """A map of whatever size over all of the grey picture, its colours from -largest to largest."""
    height, width = picture.shape[1:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(picture.permute(1, 2, 0).float().mean(2), cmap="gray")
    axes.imshow(map_, cmap="RdBu_r", vmin=-largest, vmax=largest, alpha=0.65, extent=extent, interpolation="nearest")
    axes.set_axis_off()


def _largest(map_: torch.Tensor) -> float:
    """By which a map is scaled: its own largest value."""
    return float(map_.abs().max()) or 1.0


def map_grid(pixels: torch.Tensor, maps: torch.Tensor, captions: Sequence[str], *, title: str) -> Figure:
    """Pictures, uint8 (N, 3, 32, 32), above their maps (N, 32, 32): red speaks for the verdict, blue against it."""
    figure, axes = new_figure(title, 2, len(pixels), (1.3 * len(pixels), 3.2))
    for (top, bottom), picture, map_, caption in zip(axes.T, pixels, maps, captions, strict=True):
        show_picture(top, picture, caption)
        _draw_map(bottom, picture, map_, _largest(map_))
    return figure


def figure_image(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def map_over(picture: torch.Tensor, map_: torch.Tensor) -> Figure:
    """One map (32, 32) over its picture, uint8 (3, 32, 32)."""
    figure, axes = new_figure("", size=(3.2, 3.2), of_record=True)
    _draw_map(axes[0, 0], picture, map_, _largest(map_))
    return figure


def parts_over(picture: torch.Tensor, probs: torch.Tensor) -> Figure:
    """P(FAKE) of a picture's parts (3, 3) over it, uint8 (3, 64, 64): blue from 0, red to 1, means in the overlaps.

    The parts are those of `pictures.to_views`.
    """
    figure, axes = new_figure("", size=(3.2, 3.2), of_record=True)
    quarters = F.avg_pool2d(probs[None, None], 2, stride=1, padding=1, count_include_pad=False)[0, 0]  # (4, 4)
    _draw_map(axes[0, 0], picture, quarters - 0.5, 0.5)
    return figure


def band_bars(evidence: pd.Series) -> Figure:
    """The fall of one picture's logit by band, a row of `band_evidence`."""
    figure, axes = new_figure("", size=(4.4, 3.2), of_record=True)
    axes[0, 0].bar(evidence.index - 1 / 32, evidence, width=0.05, color=[MODEL_COLORS[value < 0] for value in evidence])
    axes[0, 0].axhline(0, color="0.4", lw=1)
    axes[0, 0].set(xlabel="band taken out (cycles per pixel)", ylabel="loss of the logit")
    return figure


def band_lines(evidence: pd.DataFrame, verdicts: np.ndarray) -> Figure:
    """Mean fall of the logit by band of frequencies, of `band_evidence`, by verdict (N,), 0 or 1; quartiles shaded."""
    figure, axes = new_figure("Which frequencies speak for a verdict", size=(6.5, 3.6))
    for verdict, name in enumerate(CLASSES):
        falls = evidence[verdicts == verdict]
        low, high = falls.quantile(0.25), falls.quantile(0.75)
        axes[0, 0].plot(evidence.columns, falls.mean(), "o-", color=COLORS[name], label=f"verdict {name}")
        axes[0, 0].fill_between(evidence.columns, low, high, color=COLORS[name], alpha=0.2, lw=0)
    axes[0, 0].axhline(0, color="0.6", lw=1)
    axes[0, 0].set(xlabel="band taken out, up to (cycles per pixel)", ylabel="fall of the logit")
    axes[0, 0].legend(frameon=False, title="line: mean; band: middle half", title_fontsize=9)
    return figure


def embedding_scatter(points: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> Figure:
    """Points (N, 2), a picture each, coloured by what they are, labels (N,); crosses where the verdict is wrong."""
    figure, axes = new_figure("What the CNN makes of test pictures, laid out in a plane", size=(7, 5.6))
    for label, name in enumerate(CLASSES):
        of_class = labels == label
        axes[0, 0].scatter(*points[of_class].T, s=5, color=COLORS[name], alpha=0.5, lw=0, label=name)
        axes[0, 0].scatter(
            *points[of_class & wrong].T, s=45, color=COLORS[name], marker="X", ec="black", label=f"{name}, called wrong"
        )
    axes[0, 0].set_axis_off()
    for handle in axes[0, 0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1)).legend_handles:
        handle.set(sizes=[45], alpha=1)
    return figure
