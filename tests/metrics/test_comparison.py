"""Paired comparisons agree with hand-worked cases."""

import numpy as np
import pandas as pd
import pytest

from detector.metrics.comparison import compare, compare_pairs, holm, shared_errors


def test_comparison_by_hand():
    """One image only the first classifies correctly, 8 only the second: p is twice P(at most 1 head in 9 tosses)."""
    first, second = np.repeat([True, False, True], [1, 8, 91]), np.repeat([False, True, True], [1, 8, 91])
    result = compare(first, second)
    assert result["difference"] == pytest.approx(-0.07)
    assert result["p"] == pytest.approx(2 * (1 + 9) / 2**9)
    assert result["low"] < -0.07 < result["high"] < 0
    assert (result["only_first"], result["only_second"]) == (1, 8)
    assert compare(first, first)["p"] == 1


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.4, 0.9])).tolist() == pytest.approx([0.8, 0.9])


def test_several_pairs_are_corrected_for_multiple_testing():
    labels = np.repeat([0, 1], 50)
    probabilities = pd.DataFrame({"all": labels * 1.0, "half": 1.0, "none": 1.0 - labels})  # named by their accuracy
    table = compare_pairs(probabilities, labels)
    assert table.index.tolist() == ["all against half", "all against none", "half against none"]
    assert table["difference"].tolist() == pytest.approx([0.5, 1, 0.5])
    assert (table["p (Holm)"] >= table["p"]).all()
    assert "p (Holm)" not in compare_pairs(probabilities[["all", "half"]], labels)


def test_shared_errors_by_hand():
    probabilities = pd.DataFrame({"a": [0.9, 0.9, 0.1, 0.1], "b": [0.9, 0.1, 0.1, 0.9]})
    table = shared_errors(probabilities, np.array([0, 0, 1, 1]))
    assert table["images"].tolist() == [1, 1, 2]
    assert table["value"].tolist() == [0.5, 0.5, 0.5] and (table["low"] < 0.5).all() and (table["high"] > 0.5).all()
