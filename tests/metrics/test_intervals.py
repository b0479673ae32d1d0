"""Intervals agree with hand-worked cases, scipy and the bootstrap."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.utils import resample

from detector.metrics.intervals import auc_against, auc_interval, f1_interval, mean_interval, proportion, wilson


def test_wilson_by_hand():
    """8 of 10 (Wilson 1927): centre (0.8 + z²/20) / (1 + z²/10)."""
    z = 1.959964
    centre = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    half_width = z / (1 + z**2 / 10) * np.sqrt(0.8 * 0.2 / 10 + z**2 / 400)
    assert wilson(8, 10) == pytest.approx((centre - half_width, centre + half_width), abs=1e-6)
    assert proportion(8, 10) == (0.8, *wilson(8, 10), 10)


def test_proportion_of_nothing_is_nan():
    *values, n = proportion(0, 0)
    assert np.isnan(values).all()
    assert n == 0


def test_auc_interval_agrees_with_the_bootstrap(scores):
    probabilities, labels = (tensor.numpy() for tensor in scores(600))
    auc, low, high = auc_interval(labels, probabilities)
    draws = [sklearn_metrics.roc_auc_score(*resample(labels, probabilities, random_state=seed)) for seed in range(500)]
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.006)
    assert auc == sklearn_metrics.roc_auc_score(labels, probabilities)


def test_auc_of_too_few_scores_is_nan():
    assert np.isnan(auc_interval(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.9]))).all()


@pytest.mark.parametrize(("others", "auc"), [([3, 4], 1.0), ([0, 3], 0.5), ([-1, -2], 0.0)])
def test_auc_against_by_hand(others, auc):
    value, low, high = auc_against(np.array([1, 2]), np.array(others))
    assert value == auc
    assert 0 <= low <= auc <= high <= 1
    assert low < high


def test_perfect_f1_has_an_interval():
    value, low, high = f1_interval(np.array([[10, 0], [0, 10]]))
    assert value == 1
    assert 0.7 < low < 1 <= high


def test_mean_interval_is_students_t():
    values = [0.97, 0.98, 0.985]
    mean, low, high, n = mean_interval(values)
    assert (mean, n) == (pytest.approx(np.mean(values)), 3)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values)))
    assert np.isnan(mean_interval([0.97])[1:3]).all()


def test_importing_the_metrics_is_light():
    """scikit-learn and scipy.stats take two seconds, which every `import functions` would pay."""
    code = "import sys, detector.metrics; print({'sklearn', 'scipy.stats', 'detector.data'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
