"""Metrics with 95% intervals: pure functions of arrays. scipy.stats and scikit-learn are imported at the first use.

The names that the notebook uses are here too.
"""

# ruff: noqa: F401 - re-exported

from detector.metrics.calibration import reliability, risk_coverage
from detector.metrics.classification import accuracy_by_object_class, confusion, most_confident_errors, roc_points
from detector.metrics.comparison import compare_pairs, shared_errors
