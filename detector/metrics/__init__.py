"""Metrics with 95% intervals: pure functions of arrays. scipy.stats and scikit-learn are imported at the first use."""

# ruff: noqa: F401 - re-exported

from detector.metrics.calibration import (
    BINS,
    accuracy_at_coverage,
    calibration_bins,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from detector.metrics.classification import (
    accuracy_by_object_class,
    confusion,
    evaluate,
    evaluate_source,
    most_confident_errors,
    precision_at_prevalence,
    roc_points,
    tpr_at_fpr,
)
from detector.metrics.comparison import compare, compare_pairs, holm
from detector.metrics.intervals import (
    LEVEL,
    auc_against,
    auc_interval,
    f1_interval,
    mean_interval,
    metric_table,
    proportion,
    wilson,
)
from detector.metrics.summary import (
    BOOTSTRAPPED,
    bootstrap_metrics,
    decision_rates,
    evaluate_decisions,
    evaluate_source_decisions,
)
