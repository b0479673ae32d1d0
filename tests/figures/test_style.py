"""Colours per model, and the elements that several figures share."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.container import ErrorbarContainer

from detector.figures.style import (
    COLORS,
    MODEL_COLORS,
    class_dots,
    coloured,
    interval_dots,
    new_figure,
    show_image,
    symmetric,
)


def test_every_class_and_model_colour_is_different():
    assert len({*COLORS.values(), *MODEL_COLORS}) == len(COLORS) + len(MODEL_COLORS)


def test_more_models_than_colours_are_an_error():
    models = dict.fromkeys("abcdef", 0)
    assert [color for _, _, color in coloured(models)] == list(MODEL_COLORS)
    with pytest.raises(ValueError, match="7 models but 6 colours"):
        list(coloured(models | {"g": 0}))


def test_new_figures_have_the_asked_axes_and_are_closed_in_pyplot():
    before = dict(plt.rcParams)
    figure, axes = new_figure("a title", 2, 3, (5, 2))
    assert figure.get_suptitle() == "a title"
    assert axes.shape == (2, 3)
    assert tuple(figure.get_size_inches()) == (5, 2)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_an_image_is_shown_as_it_is_and_without_ticks():
    pixels = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    _, axes = new_figure("")
    show_image(axes[0, 0], pixels, "caption")
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), pixels.permute(1, 2, 0).numpy())
    assert not axes[0, 0].axison
    assert axes[0, 0].get_title() == "caption"


def test_zero_is_in_the_middle_of_a_symmetric_scale():
    scale = symmetric(np.array([-3.0, 1.0]))
    assert (scale["vmin"], scale["vmax"]) == (-3, 3)
    assert symmetric(torch.zeros(2))["vmax"] == 1


def intervals(axes) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Return the dots (N, 2) of each errorbar and the ends of its intervals, (2, 2) each where there is one."""
    bars = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    return [(bar[0].get_xydata(), bar[2][0].get_segments()) for bar in bars]


@pytest.mark.parametrize(("percent", "scale"), [(True, 100), (False, 1)])
@pytest.mark.parametrize("horizontal", [True, False])
def test_dots_have_their_own_intervals(horizontal, percent, scale):
    table = pd.DataFrame({"value": [0.5, 0.9], "low": [0.4, 0.7], "high": [0.8, 0.95]})
    _, axes = new_figure("")
    interval_dots(axes[0, 0], np.array([1, 2]), table, horizontal=horizontal, percent=percent)
    [(dots, ends)] = intervals(axes[0, 0])
    value = 0 if horizontal else 1
    np.testing.assert_allclose(dots[:, value], scale * table["value"])
    np.testing.assert_allclose(dots[:, 1 - value], [1, 2])
    np.testing.assert_allclose(np.array(ends)[:, :, value], scale * table[["low", "high"]])


def test_class_dots_keep_the_order_of_the_groups_and_leave_gaps():
    rows = [("b", "REAL", 0.6), ("b", "FAKE", 0.7), ("a", "FAKE", 0.8)]
    table = pd.DataFrame(rows, columns=["group", "class", "value"]).assign(low=0.5, high=0.9)
    _, axes = new_figure("")
    class_dots(axes[0, 0], table, by="group")
    assert [label.get_text() for label in axes[0, 0].get_xticklabels()] == ["b", "a"]
    real, fake = (dots[:, 1] for dots, _ in intervals(axes[0, 0]))
    np.testing.assert_allclose(real, [60, np.nan])
    np.testing.assert_allclose(fake, [70, 80])
