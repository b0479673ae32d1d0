"""95% confidence intervals of proportions, AUC, F1 and means, and the table layout that all metrics share."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

LEVEL = 0.95


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the Wilson score interval of the proportion k / n (Wilson 1927); (nan, nan) if n is 0."""
    from scipy import stats

    if n == 0:
        return float("nan"), float("nan")
    interval = stats.binomtest(int(k), int(n)).proportion_ci(LEVEL, method="wilson")
    return interval.low, interval.high


def proportion(k: int, n: int) -> tuple[float, float, float, int]:
    """Return (k / n, low, high, n) with the Wilson interval; nan for the first three if n is 0."""
    return k / n if n else np.nan, *wilson(k, n), n


def auc_interval(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float, float]:
    """Return (AUC, low, high) of scores (N,) against labels (N,), where 1 is the positive class.

    The standard error is DeLong's (DeLong, DeLong and Clarke-Pearson 1988), by ranks as in Sun and Xu 2014. We form
    the interval on the logit scale, so that it stays inside (0, 1). All three are nan if a class has fewer than two
    scores.
    """
    from scipy import stats
    from sklearn.metrics import roc_auc_score

    fake, real = scores[labels == 1], scores[labels == 0]
    if min(len(fake), len(real)) < 2:
        return float("nan"), float("nan"), float("nan")
    ranks = stats.rankdata(np.concatenate([fake, real]))
    real_below = (ranks[: len(fake)] - stats.rankdata(fake)) / len(real)  # per FAKE: share of REAL with lower scores
    fake_above = 1 - (ranks[len(fake) :] - stats.rankdata(real)) / len(fake)
    auc = roc_auc_score(labels, scores)
    error = np.sqrt(real_below.var(ddof=1) / len(fake) + fake_above.var(ddof=1) / len(real))
    if error == 0:  # complete separation has no variance: use a proportion of the smaller class instead
        n = min(len(fake), len(real))
        return auc, *wilson(round(auc * n), n)
    half_width = stats.norm.ppf((1 + LEVEL) / 2) * error / (auc * (1 - auc))
    logit = np.log(auc / (1 - auc))
    return auc, *(1 / (1 + np.exp(-(logit + np.array([-half_width, half_width])))))


def auc_against(known: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """Return `auc_interval` of two samples of scores: `others` (M,) are the positives, `known` (N,) the negatives."""
    labels = np.repeat([0, 1], [len(known), len(others)])
    return auc_interval(labels, np.concatenate([known, others]).astype(np.float64))


def f1_interval(table: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Return (F1, low, high) of a 2x2 confusion matrix (rows: actual), from a percentile bootstrap of its counts.

    Each count is raised by 1/2 before resampling, so that a perfect score still has an interval.
    """
    counts = table.ravel()
    smoothed = counts + 0.5
    resampled = np.random.default_rng(seed).multinomial(counts.sum(), smoothed / smoothed.sum(), size=draws)
    f1 = 2 * resampled[:, 3] / np.maximum(2 * resampled[:, 3] + resampled[:, 1] + resampled[:, 2], 1)
    value = 2 * counts[3] / max(2 * counts[3] + counts[1] + counts[2], 1)
    return value, *np.quantile(f1, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def mean_interval(values: Sequence[float]) -> tuple[float, float, float, int]:
    """Return (mean, low, high, n) with Student's t interval; low and high are nan for fewer than two values."""
    from scipy import stats

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, float("nan"), float("nan"), n
    half_width = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half_width, mean + half_width, n


def metric_table(rows: Mapping[str, tuple]) -> pd.DataFrame:
    """Return a table with one row per metric, columns value, low, high, n, from name -> (value, low, high, n)."""
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "n"]).rename_axis("metric")
