"""Every metric of one set in one table: bootstrapped metrics, and rates of decisions where abstaining is possible.

`decisions` is the table of `detector.inference.decision.decide`, a row per image, with columns label ('REAL', 'FAKE' or
'not sure'), probability (P(FAKE)), ood_score, confident, in_distribution and stable (bool).
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module

import numpy as np
import pandas as pd
import torch

from detector.core.console import progress
from detector.core.labels import CLASSES
from detector.metrics.calibration import accuracy_at_coverage, expected_calibration_error
from detector.metrics.classification import evaluate, evaluate_source, precision_at_prevalence, tpr_at_fpr
from detector.metrics.intervals import LEVEL, auc_against, metric_table, proportion

Metric = Callable[[np.ndarray, np.ndarray], float]  # of labels (N,) and P(FAKE) (N,)


def _sklearn(name: str) -> Metric:
    """Return a metric of scikit-learn, imported at the first use: its import takes over a second."""
    return lambda labels, probabilities: getattr(import_module("sklearn.metrics"), name)(labels, probabilities)


BOOTSTRAPPED: dict[str, Metric] = {
    "average_precision": _sklearn("average_precision_score"),
    "tpr_at_fpr_1": partial(tpr_at_fpr, fpr=0.01),
    "tpr_at_fpr_5": partial(tpr_at_fpr, fpr=0.05),
    "precision_at_prevalence_1": partial(precision_at_prevalence, prevalence=0.01),
    "precision_at_prevalence_10": partial(precision_at_prevalence, prevalence=0.1),
    "ece": expected_calibration_error,
    "nll": _sklearn("log_loss"),
    "brier": _sklearn("brier_score_loss"),
    "accuracy_at_coverage_95": partial(accuracy_at_coverage, coverage=0.95),
}


def bootstrap_metrics(
    probabilities: torch.Tensor, labels: torch.Tensor, *, draws: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return the BOOTSTRAPPED metrics of P(FAKE) (N,) against labels (N,), columns value, low, high, n.

    The cross-entropy (nll) is in nats. Intervals are percentiles over `draws` resamples with replacement, stratified
    by class. The expected calibration error (ece) is biased upwards on small sets, and so is its interval.
    """
    labels, probabilities, rng = labels.numpy(), probabilities.double().numpy(), np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    samples = []
    for _ in progress(range(draws), desc="bootstrapping metrics", unit=" samples", delay=1):
        rows = np.concatenate([rng.choice(rows, len(rows)) for rows in classes])
        samples.append([metric(labels[rows], probabilities[rows]) for metric in BOOTSTRAPPED.values()])
    low, high = np.nanquantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    value = [metric(labels, probabilities) for metric in BOOTSTRAPPED.values()]
    table = {"value": value, "low": low, "high": high, "n": len(labels)}
    return pd.DataFrame(table, index=pd.Index(BOOTSTRAPPED, name="metric"))


def decision_rates(decisions: pd.DataFrame, labels: torch.Tensor) -> pd.DataFrame:
    """Return the rates of decisions on images with known labels (N,), columns value, low, high (Wilson), n.

    Rows: coverage (share of images without abstention), selective_accuracy (accuracy on these images), ood_rate (share
    detected as out-of-distribution), stable_rate (share whose prediction is stable under small perturbations).
    """
    covered = decisions["label"].isin(CLASSES)
    correct = covered & ((decisions["probability"] >= 0.5) == labels.bool().numpy())
    counts = {
        "coverage": (covered.sum(), len(covered)),
        "selective_accuracy": (correct.sum(), covered.sum()),
        "ood_rate": ((~decisions["in_distribution"]).sum(), len(covered)),
        "stable_rate": (decisions["stable"].sum(), len(covered)),
    }
    return metric_table({name: proportion(int(k), int(n)) for name, (k, n) in counts.items()})


def evaluate_decisions(decisions: pd.DataFrame, labels: torch.Tensor) -> pd.DataFrame:
    """Return the rows of `evaluate`, `bootstrap_metrics` and `decision_rates` in one table."""
    p = _probabilities(decisions)
    return pd.concat([evaluate(p, labels), bootstrap_metrics(p, labels), decision_rates(decisions, labels)])


def evaluate_source_decisions(decisions: pd.DataFrame, label: int, photo_decisions: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of decisions on one source, whose images all have the same label.

    Rows as in `evaluate_source` and `decision_rates`, and ood_auc, how well the OOD score separates the source from the
    REAL images of another source in `photo_decisions`.
    """
    ood_auc = auc_against(photo_decisions["ood_score"].to_numpy(), decisions["ood_score"].to_numpy())
    rows = evaluate_source(_probabilities(decisions), label, _probabilities(photo_decisions))
    rates = decision_rates(decisions, torch.full((len(decisions),), label))
    return pd.concat([rows, rates, metric_table({"ood_auc": (*ood_auc, len(decisions))})])


def _probabilities(decisions: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(decisions["probability"].to_numpy(np.float32))
