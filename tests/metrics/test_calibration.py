"""Calibration metrics agree with scikit-learn and hand-worked cases."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from detector.metrics import calibration


def test_calibration_error_by_hand():
    """Three images at 0.9, of which two are FAKE, and one FAKE image at 0.1: (3 · |0.9 - 2/3| + 0.9) / 4."""
    labels, probabilities = np.array([1, 1, 0, 1]), np.array([0.9, 0.9, 0.9, 0.1])
    assert calibration.expected_calibration_error(labels, probabilities) == pytest.approx((3 * (0.9 - 2 / 3) + 0.9) / 4)
    assert calibration.expected_calibration_error(np.array([0, 1]), np.array([0.0, 1.0])) == 0


def test_reliability_agrees_with_scikit_learn(scores):
    probabilities, labels = scores(2000)
    share, predicted = calibration_curve(labels, probabilities.double(), n_bins=calibration.BINS)
    table = calibration.reliability(probabilities, labels)
    np.testing.assert_allclose(table["value"], share)
    np.testing.assert_allclose(table["predicted"], predicted)
    assert table["n"].sum() == 2000
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_risk_at_full_coverage_is_the_error_rate(scores, arrays):
    probabilities, labels = scores(400)
    curve = calibration.risk_coverage(probabilities, labels)
    error = ((probabilities >= 0.5) != labels.bool()).double().mean().item()
    assert curve.iloc[-1].tolist() == pytest.approx([1, error])
    assert 1 - curve["risk"][99] == pytest.approx(calibration.accuracy_at_coverage(*arrays, coverage=0.25))
