"""Names and rings of the cost figure, and the figures of runs."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from detector.figures.training import architecture, cost_dots, images_curve, variant_dots

# variant -> (MACs, validation accuracy), as measured on two CPU cores: many variants have the same cost
CROWD = {
    "CNN 32-64-128": (33915008, 0.952783),
    "CNN 64-128-256": (114131200, 0.941732),
    "CNN 64-128-256, object classes first": (114131200, 0.921439),
    "Lite0 64 px, head trained": (31340672, 0.874221),
    "Lite0 64 px, last stages trained": (31340672, 0.947358),
    "Lite0 64 px": (31340672, 0.953586),
    "Lite0 32 px": (31340672, 0.953787),
    "Lite0 96 px": (70514912, 0.931485),
    "Lite2 64 px": (46958784, 0.948162),
    "Lite0 64 px, batch norm trained": (31340672, 0.944545),
    "Lite0 64 px, one learning rate": (31340672, 0.953386),
    "Lite2 32 px": (46958784, 0.948362),
    "Lite2 96 px": (105655664, 0.939522),
    "Lite0 128 px": (125358848, 0.938919),
    "Lite2 128 px": (187831296, 0.922845),
    "Lite0 224 px": (383908832, 0.786618),
}


@pytest.fixture
def crowd() -> pd.DataFrame:
    table = pd.DataFrame.from_dict(CROWD, orient="index", columns=["MACs", "value"])
    return table.assign(low=table["value"] - 0.006, high=table["value"] + 0.006)


def test_no_name_of_the_cost_figure_overlaps_another(crowd):
    figure = cost_dots(crowd, crowd["value"] > 0.95)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text).padded(-1) for text in figure.axes[0].texts]  # without their leader lines
    assert {text.get_text() for text in figure.axes[0].texts} == set(CROWD)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_rings_mark_the_pareto_front():
    table = pd.DataFrame({"MACs": [1e6, 3e6, 2e6], "value": [0.9, 0.85, 0.95]}, ["CNN a", "Lite0 b", "Lite2 c"])
    front = pd.Series([True, False, True], table.index)
    axes = cost_dots(table.assign(low=0.8, high=0.97), front).axes[0]
    [rings] = [line for line in axes.lines if line.get_markeredgecolor() == "black"]
    np.testing.assert_allclose(rings.get_xydata(), [[1, 90], [2, 95]])


def test_each_family_of_variants_has_a_colour(crowd):
    axes = cost_dots(crowd, crowd["value"] > 0.95).axes[0]
    families = {text.get_text() for text in axes.get_legend().get_texts()}
    assert families == {"CNN", "Lite0", "Lite2", "Pareto front"}


def test_variants_run_downwards_with_a_bar_at_the_mean():
    runs = pd.DataFrame({"variant": ["all", "all", "none"], "accuracy": [0.90, 0.92, 0.80]})
    axes = variant_dots(runs).axes[0]
    dots, means = axes.lines
    np.testing.assert_allclose(dots.get_xydata(), [[90, 1], [92, 1], [80, 0]])
    np.testing.assert_allclose(means.get_xydata(), [[80, 0], [91, 1]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "all"]


def test_the_line_runs_through_the_mean_errors():
    runs = pd.DataFrame({"images": [1000, 1000, 10_000], "accuracy": [0.8, 0.9, 0.95]})
    _, line = images_curve(runs).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[1000, 15], [10_000, 5]])


def test_a_box_per_layer_with_its_channels_and_side():
    layers = pd.DataFrame({"output": ["32 × 32 × 32", "64 × 16 × 16", "1"]})
    axes = architecture(layers, name="a network").axes[0]
    assert [(box.get_width(), box.get_height()) for box in axes.patches] == [(4, 32), (8, 16), (1, 1)]
    assert [text.get_text() for text in axes.texts] == ["32\n32×32", "64\n16×16", "logit"]
