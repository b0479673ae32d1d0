"""Grids of images, and the order of their tiles."""

import numpy as np
import pandas as pd
import torch

from detector.figures.data import class_grids, duplicate_pairs, image_grid, labelled_grid, recall_dots
from detector.figures.style import COLORS


def tiles(rows: int, columns: int) -> torch.Tensor:
    """Return plain images, each of its own grey level: uint8 (rows * columns, 3, 32, 32)."""
    levels = torch.arange(rows * columns, dtype=torch.uint8) * 10
    return levels[:, None, None, None].expand(-1, 3, 32, 32)


def centres(axes, columns: int, width: int = 32) -> np.ndarray:
    """Return the grey level in the middle of each tile (rows, columns)."""
    shown = np.asarray(axes.images[0].get_array())[..., 0]
    return (255 * shown[18::34, 2 + width // 4 :: width + 2][:, :columns]).round().astype(int)


def test_a_class_is_a_block_with_a_column_per_object_class():
    blocks = {name: tiles(2, 3).view(2, 3, 3, 32, 32) for name in ("REAL", "FAKE")}
    figure = class_grids(blocks, ["cat", "dog", "ship"], title="Images by class")
    np.testing.assert_array_equal(centres(figure.axes[1], 3), [[0, 10, 20], [30, 40, 50]])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["cat", "dog", "ship"]
    assert [axes.yaxis.label.get_color() for axes in figure.axes] == [COLORS["REAL"], COLORS["FAKE"]]


def test_a_shorter_row_ends_in_white():
    figure = image_grid({"stored": tiles(1, 3), "FAKE/glide": tiles(1, 2) / 255}, title="Images")
    np.testing.assert_array_equal(centres(figure.axes[0], 3), [[0, 10, 20]])
    np.testing.assert_array_equal(centres(figure.axes[1], 3), [[0, 10, 255]])
    assert [axes.yaxis.label.get_color() for axes in figure.axes] == ["black", COLORS["FAKE"]]


def test_the_images_of_a_pair_touch():
    pairs = torch.stack([tiles(1, 2), 100 + tiles(1, 2)], dim=1)
    figure = duplicate_pairs({"REAL, exact": pairs}, title="Duplicates")
    shown = 255 * np.asarray(figure.axes[0].images[0].get_array())[18, :, 0]
    np.testing.assert_allclose(shown[2:66], [0] * 32 + [100] * 32, atol=0.01)
    np.testing.assert_allclose(shown[68:132], [10] * 32 + [110] * 32, atol=0.01)
    assert figure.axes[0].yaxis.label.get_color() == COLORS["REAL"]


def test_captions_have_the_colour_of_the_class():
    figure = labelled_grid(tiles(1, 3), ["a", "b", "c"], ["REAL", "FAKE", "REAL"], title="Errors", columns=2)
    titles = [(axes.get_title(), axes.title.get_color()) for axes in figure.axes if axes.get_title()]
    assert titles == [("a", COLORS["REAL"]), ("b", COLORS["FAKE"]), ("c", COLORS["REAL"])]
    assert not any(axes.axison for axes in figure.axes)


def test_changes_run_downwards_as_listed():
    index = pd.MultiIndex.from_product([["flipped", "cropped"], ["REAL", "FAKE"]], names=["change", "class"])
    figure = recall_dots(pd.DataFrame({"value": 0.5, "low": 0.4, "high": 0.6}, index))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["flipped", "cropped"]
    assert figure.axes[0].yaxis_inverted()
