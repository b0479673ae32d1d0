"""Paired comparison of models on the same images."""

from itertools import combinations

import numpy as np
import pandas as pd

from detector.core.labels import CLASSES
from detector.metrics.intervals import LEVEL, proportion


def compare(first: np.ndarray, second: np.ndarray, *, draws: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Test whether two models differ in accuracy, given which images each classifies correctly, bool (N,) each.

    Returns difference (first minus second) with its percentile-bootstrap interval low, high; only_first and
    only_second, the number of images that only one model classifies correctly; and p, McNemar's exact test that these
    two numbers are equal (McNemar 1947).
    """
    from scipy import stats

    only_first, only_second, n = int((first & ~second).sum()), int((second & ~first).sum()), len(first)
    counts = np.array([only_first, only_second, n - only_first - only_second])
    resampled = np.random.default_rng(seed).multinomial(n, counts / n, size=draws)
    low, high = np.quantile((resampled[:, 0] - resampled[:, 1]) / n, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    discordant = only_first + only_second
    return {
        "difference": (only_first - only_second) / n,
        "low": low,
        "high": high,
        "only_first": only_first,
        "only_second": only_second,
        "p": stats.binomtest(only_first, discordant).pvalue if discordant else 1.0,
    }


def compare_pairs(probabilities: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """Return `compare` for each pair of models at threshold 0.5, one row a pair.

    `probabilities` has a column of P(FAKE) for each model. With several pairs the column `p (Holm)` corrects for
    multiple testing.
    """
    correct = (probabilities >= 0.5).eq(labels == 1, axis=0)
    pairs = combinations(correct, 2)
    rows = {f"{a} against {b}": compare(correct[a].to_numpy(), correct[b].to_numpy()) for a, b in pairs}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("models")
    return table.assign(**{"p (Holm)": holm(table["p"].to_numpy())}) if len(table) > 1 else table


def shared_errors(probabilities: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """Return how many images every model misclassifies at threshold 0.5: a row a class, and all.

    `probabilities` has a column of P(FAKE) for each model. Columns images (their number), and value, low and high:
    their share. No vote of these models classifies such an image correctly.
    """
    wrong = (probabilities >= 0.5).ne(labels == 1, axis=0).all(axis=1)
    rows = {name: wrong[labels == label] for label, name in enumerate(CLASSES)} | {"all": wrong}
    counts = {name: (own.sum(), *proportion(own.sum(), len(own))[:3]) for name, own in rows.items()}
    table = pd.DataFrame.from_dict(counts, orient="index", columns=["images", "value", "low", "high"])
    return table.rename_axis("class")


def holm(p: np.ndarray) -> np.ndarray:
    """Return the p-values (m,) of m tests, adjusted by Holm 1979, which controls the family-wise error rate."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted[np.argsort(order)]
