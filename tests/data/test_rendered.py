"""Rendered images: every kind, the same row gives the same image, and rows differ."""

import numpy as np
import pytest

from detector.data.rendered import RENDERERS, render


@pytest.mark.parametrize("row", range(12))
def test_each_row_is_one_image(row):
    image = render(row)
    assert image.mode == "RGB" and min(image.size) >= 300
    assert np.array_equal(image, render(row))
    assert np.asarray(image).std() > 1


def test_kinds_follow_in_turn_and_rows_differ():
    assert len(RENDERERS) == 4
    first, second = render(0), render(4)
    assert first.size != second.size or not np.array_equal(first, second)
