"""Calibration of P(FAKE), and accuracy when only the most confident predictions count."""

import numpy as np
import pandas as pd
import torch

from detector.metrics.intervals import wilson

BINS = 15  # as in Guo et al. 2017, arXiv 1706.04599


def calibration_bins(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean P(FAKE), share of FAKE images and image count of each non-empty bin, of BINS equal ones in [0, 1]."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    n = np.bincount(bins, minlength=BINS)
    kept = n > 0
    means = [np.bincount(bins, weights=weights, minlength=BINS)[kept] / n[kept] for weights in (probabilities, labels)]
    return *means, n[kept]


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean gap between P(FAKE) and the share of FAKE over the bins, weighted by n (Guo et al. 2017)."""
    predicted, share, n = calibration_bins(labels, probabilities)
    return float(np.average(np.abs(predicted - share), weights=n))


def reliability(probabilities: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """Return the reliability diagram's points, a row per bin.

    Columns predicted (mean P(FAKE)), value (share of FAKE images), low, high (Wilson), n.
    """
    predicted, share, n = calibration_bins(labels.numpy(), probabilities.double().numpy())
    low, high = np.transpose([wilson(round(s * k), k) for s, k in zip(share, n, strict=True)])
    return pd.DataFrame({"predicted": predicted, "value": share, "low": low, "high": high, "n": n})


def accuracy_at_coverage(labels: np.ndarray, probabilities: np.ndarray, *, coverage: float) -> float:
    """Return the accuracy on the most confident share `coverage` of the images."""
    kept = np.argsort(-np.abs(probabilities - 0.5), kind="stable")[: round(coverage * len(probabilities))]
    return float(np.mean((probabilities[kept] >= 0.5) == labels[kept]))


def risk_coverage(probabilities: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """Return the risk-coverage curve: the error rate (risk) on the most confident images, at each coverage (N rows)."""
    order = torch.argsort((probabilities - 0.5).abs(), descending=True, stable=True)
    errors = ((probabilities >= 0.5) != labels.bool())[order].double().cumsum(0).numpy()
    covered = np.arange(1, len(probabilities) + 1)
    return pd.DataFrame({"coverage": covered / len(probabilities), "risk": errors / covered})
