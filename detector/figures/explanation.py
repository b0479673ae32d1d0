"""Figures of a prediction and its evidence: attribution maps, frequency bands and a model's features."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from detector.core.labels import CLASSES
from detector.figures.style import COLORS, MODEL_COLORS, new_figure, show_image, symmetric

MAP_SIDE, LABEL_WIDTH = 512, 35  # pixels: the image under a map of crops, and the narrowest crop with a number
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the image


def _overlay(axes: Axes, image: torch.Tensor, map_: torch.Tensor) -> None:
    """Show a signed map, of any size, over the grey image (3, H, W)."""
    height, width = image.shape[1:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image.permute(1, 2, 0).float().mean(2).numpy(), cmap="gray")
    axes.imshow(map_.numpy(), alpha=0.65, extent=extent, interpolation="nearest", **symmetric(map_, "RdBu_r"))
    axes.set_axis_off()


def map_grid(pixels: torch.Tensor, maps: torch.Tensor, captions: Sequence[str], *, title: str) -> Figure:
    """Show images, uint8 (N, 3, 32, 32), above their attribution maps, (N, 32, 32).

    Red supports the prediction, blue opposes it. Each map has its own colour scale.
    """
    figure, axes = new_figure(title, 2, len(pixels), (1.3 * len(pixels), 3.2))
    for (top, bottom), image, map_, caption in zip(axes.T, pixels, maps, captions, strict=True):
        show_image(top, image, caption)
        _overlay(bottom, image, map_)
    return figure


def map_over(image: torch.Tensor, map_: torch.Tensor) -> Figure:
    """Show one attribution map (32, 32) over its image, uint8 (3, 32, 32)."""
    figure, axes = new_figure("", size=(3.2, 3.2))
    _overlay(axes[0, 0], image, map_)
    return figure


def crop_map(image: Image.Image, boxes: Sequence[Box], probabilities: np.ndarray) -> Figure:
    """Show P(FAKE) of each crop, (K,), over the grey image at its own aspect; large crops lie below small ones."""
    width, height = (4.4 * length / max(image.size) for length in image.size)
    figure, axes = new_figure("", size=(max(width, 2), max(height, 2)))
    _draw_crops(axes[0, 0], image, boxes, probabilities)
    return figure


def _draw_crops(axes: Axes, image: Image.Image, boxes: Sequence[Box], probabilities: np.ndarray) -> None:
    shown = image.convert("RGB")
    shown.thumbnail((MAP_SIDE, MAP_SIDE))
    scale = shown.width / image.width
    axes.imshow(shown.convert("L"), cmap="gray", vmin=0, vmax=255)
    largest_first = sorted(zip(boxes, probabilities, strict=True), key=lambda item: -_area(item[0]))
    for (left, top, right, bottom), p in largest_first:
        corner, size = (left * scale, top * scale), ((right - left) * scale, (bottom - top) * scale)
        colour = (*colormaps["RdBu_r"](float(p))[:3], 0.55)
        axes.add_patch(Rectangle(corner, *size, fc=colour, ec="white", lw=1))
        if size[0] >= LABEL_WIDTH:
            axes.text(
                corner[0] + size[0] / 2, corner[1] + size[1] / 2, f"{p:.0%}", ha="center", va="center", fontsize=9
            )
    axes.set_axis_off()


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def band_bars(evidence: pd.Series) -> Figure:
    """Draw the decrease of one image's logit by removed frequency band; `evidence` is a row of `band_evidence`."""
    figure, axes = new_figure("", size=(4.4, 3.2))
    colours = [MODEL_COLORS[value < 0] for value in evidence]
    axes[0, 0].bar(evidence.index - 1 / 32, evidence, width=0.05, color=colours)
    axes[0, 0].axhline(0, color="0.4", lw=1)
    axes[0, 0].set(xlabel="removed band (cycles per pixel)", ylabel="decrease of the logit")
    return figure


def band_lines(evidence: pd.DataFrame, predicted: np.ndarray) -> Figure:
    """Draw the mean decrease of the logit by removed band and predicted class, with the interquartile range.

    `evidence` is `band_evidence`'s table; `predicted` (N,) has the index of each image's predicted class.
    """
    figure, axes = new_figure("Decrease of the logit by removed frequency band, test set", size=(6.5, 3.6))
    for label, name in enumerate(CLASSES):
        rows = evidence[predicted == label]
        low, high = rows.quantile(0.25), rows.quantile(0.75)
        axes[0, 0].plot(evidence.columns, rows.mean(), "o-", color=COLORS[name], label=f"predicted {name}")
        axes[0, 0].fill_between(evidence.columns, low, high, color=COLORS[name], alpha=0.2, lw=0)
    axes[0, 0].axhline(0, color="0.6", lw=1)
    axes[0, 0].set(xlabel="upper edge of the removed band (cycles per pixel)", ylabel="decrease of the logit")
    axes[0, 0].legend(frameon=False, title="line: mean; band: interquartile range", title_fontsize=9)
    return figure


def tsne_scatter(points: np.ndarray, labels: np.ndarray, wrong: np.ndarray) -> Figure:
    """Draw a t-SNE projection (N, 2) by class, `labels` (N,), with crosses where `wrong` (N,) is true.

    Distances have no unit, so the axes have no scale.
    """
    figure, axes = new_figure("t-SNE projection of the features, test set", size=(7, 5.6))
    for label, name in enumerate(CLASSES):
        own, cross = labels == label, {"marker": "X", "ec": "black", "label": f"{name}, misclassified"}
        axes[0, 0].scatter(*points[own].T, s=5, color=COLORS[name], alpha=0.5, lw=0, label=name)
        axes[0, 0].scatter(*points[own & wrong].T, s=45, color=COLORS[name], **cross)
    axes[0, 0].set_axis_off()
    for handle in axes[0, 0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1)).legend_handles:
        handle.set(sizes=[45], alpha=1)
    return figure


def prediction(
    image: torch.Tensor, model_input: torch.Tensor, label: str | None, probability: float, reason: str
) -> Figure:
    """Show one prediction: the image, the model's 32 × 32 input and P(FAKE).

    `image` is uint8 (3, H, W), `model_input` uint8 (3, 32, 32); `label` is None where the model abstains.
    """
    figure, axes = new_figure(f"{label or 'not sure'}: {reason}", 1, 3, (9, 3))
    show_image(axes[0, 0], image, "your image")
    show_image(axes[0, 1], model_input, "model input, 32 × 32 pixels")
    _draw_probability(axes[0, 2], probability)
    return figure


def crop_prediction(
    image: Image.Image,
    boxes: Sequence[Box],
    probabilities: np.ndarray,
    *,
    probability: float,
    title: str,
) -> Figure:
    """Show one prediction at native resolution: the image, P(FAKE) of its crops, (K,), and P(FAKE)."""
    figure, axes = new_figure(title, 1, 3, (9, 3))
    axes[0, 0].imshow(image)
    axes[0, 0].set_axis_off()
    _draw_crops(axes[0, 1], image, boxes, probabilities)
    for cell, caption in zip(axes[0], ("your image", "P(FAKE) of each crop"), strict=False):
        cell.set_title(caption, fontsize=8, loc="center")
    _draw_probability(axes[0, 2], probability)
    return figure


def _draw_probability(axes: Axes, probability: float) -> None:
    axes.barh([0], [probability], color=COLORS["FAKE"], height=0.4)
    axes.barh([0], [1 - probability], left=[probability], color=COLORS["REAL"], height=0.4)
    axes.set(xlim=(0, 1), ylim=(-1, 1), yticks=[], xlabel="P(FAKE)", title=f"P(FAKE) = {probability:.3f}")
    axes.spines["left"].set_visible(False)


def unscored(image: torch.Tensor, reason: str) -> Figure:
    """Show an image, uint8 (3, H, W), that has no prediction, with the reason."""
    figure, axes = new_figure(f"no prediction: {reason}", size=(5, 3))
    show_image(axes[0, 0], image, "your image")
    return figure


def figure_image(figure: Figure) -> Image.Image:
    """Render a figure as an RGB image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
