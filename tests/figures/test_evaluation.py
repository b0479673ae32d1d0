"""Figures by model: none is left out, and each has its own colour."""

import numpy as np
import pandas as pd
import pytest

from detector.figures.evaluation import (
    confusion_matrices,
    corruption_heatmaps,
    reliability_diagrams,
    risk_coverage_curves,
)
from detector.models.weights import RELEASED

RELIABILITY = pd.DataFrame({"predicted": [0.1, 0.9], "value": [0.1, 0.8], "low": [0, 0.7], "high": [0.2, 0.9], "n": 9})


def test_each_released_model_has_its_colour_in_the_risk_and_reliability_figures():
    diagrams = reliability_diagrams(dict.fromkeys(RELEASED, RELIABILITY))
    panels = {axes.get_title(): axes for axes in diagrams.axes if axes.get_title()}
    assert list(panels) == list(RELEASED)
    points = pd.DataFrame({"coverage": 0.9, "risk": 0.1}, index=list(RELEASED))
    curve = pd.DataFrame({"coverage": [0.5, 1], "risk": [0, 0.1]})
    curves = risk_coverage_curves(dict.fromkeys(RELEASED, curve), points)
    colours = {line.get_label(): line.get_color() for line in curves.axes[0].lines if line.get_label() in RELEASED}
    assert list(colours) == list(RELEASED)
    assert len(set(colours.values())) == len(RELEASED)
    assert {name: axes.containers[0][0].get_color() for name, axes in panels.items()} == colours


def test_the_risk_axis_begins_below_the_least_coverage():
    curve = pd.DataFrame({"coverage": [0.5, 0.8, 1], "risk": [0, 0.05, 0.1]})
    points = pd.DataFrame({"coverage": [0.6], "risk": [0.02]}, ["cnn"])
    axes = risk_coverage_curves({"cnn": curve}, points).axes[0]
    assert axes.get_xlim()[0] == pytest.approx(58)
    line, dot = axes.lines
    np.testing.assert_allclose(line.get_xydata(), [[80, 5], [100, 10]])
    np.testing.assert_allclose(dot.get_xydata(), [[60, 2]])


def test_confusion_matrices_show_counts_and_colour_shares():
    table = pd.DataFrame([[1500, 500], [0, 4]], pd.Index(["REAL", "FAKE"], name="actual"), ["REAL", "FAKE"])
    axes = confusion_matrices({"cnn": table}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1,500", "500", "0", "4"]
    np.testing.assert_allclose(axes.collections[0].get_array().ravel(), [0.75, 0.25, 0, 1])


@pytest.mark.parametrize(("span", "cmap"), [((50, 100), "cividis"), ((100, 0), "cividis_r")])
def test_worse_is_darker(span, cmap):
    table = pd.DataFrame([[1, 0.5]], ["blur"], [0, 1])
    figure = corruption_heatmaps(dict.fromkeys("ab", table), title="Error (%) by corruption", span=span)
    meshes = [axes.collections[0] for axes in figure.axes]
    assert [(mesh.get_cmap().name, mesh.get_clim()) for mesh in meshes] == [(cmap, (min(span), max(span)))] * 2
