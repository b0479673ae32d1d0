"""Figures of a prediction and its evidence."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detector.figures.explanation import band_bars, figure_image, map_over, prediction, tsne_scatter
from detector.figures.style import new_figure

IMAGE = torch.zeros(3, 32, 32, dtype=torch.uint8)


@pytest.mark.parametrize(("label", "title"), [("FAKE", "FAKE: confident"), (None, "not sure: confident")])
def test_a_prediction_shows_label_reason_and_probability(label, title):
    figure = prediction(IMAGE, IMAGE, label, 0.9731, "confident")
    assert figure.get_suptitle() == title
    scale = figure.axes[2]
    assert scale.get_title() == "P(FAKE) = 0.973"
    assert [bar.get_width() for bar in scale.patches] == pytest.approx([0.9731, 0.0269])


def test_a_map_has_zero_in_the_middle_and_covers_its_image():
    map_ = torch.zeros(4, 4)
    map_[0, 0], map_[1, 1] = -2, 1
    grey, overlay = map_over(IMAGE, map_).axes[0].images
    assert overlay.get_clim() == (-2, 2)
    assert overlay.get_extent() == [*grey.get_extent()]


def test_bars_of_opposite_sign_have_different_colours():
    bars = band_bars(pd.Series([1.0, -2.0], index=[0.25, 0.5])).axes[0].patches
    assert [bar.get_height() for bar in bars] == [1, -2]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()


def test_crosses_mark_the_misclassified_points():
    points, labels = np.arange(8.0).reshape(4, 2), np.array([0, 0, 1, 1])
    axes = tsne_scatter(points, labels, np.array([False, True, False, False])).axes[0]
    offsets = {group.get_label(): np.asarray(group.get_offsets()).tolist() for group in axes.collections}
    assert offsets["REAL, misclassified"] == [[2, 3]]
    assert offsets["FAKE, misclassified"] == []
    assert offsets["FAKE"] == [[4, 5], [6, 7]]


def test_a_figure_becomes_an_rgb_image_of_its_size():
    figure, _ = new_figure("", size=(2, 1))
    image = figure_image(figure)
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (200, 100))
