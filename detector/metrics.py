"""What accuracy does not say: rare fakes, honest probabilities, the right to be unsure. Intervals by bootstrap."""

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from detector.evaluation import LEVEL, auc_against, evaluate, evaluate_source, metric_rows, share, wilson
from detector.progress import progress
from detector.verdicts import UNSURE, probs_of

BINS = 15  # as in Guo et al. 2017, arXiv 1706.04599
DRAWS = 1000


def tpr_at_fpr(labels: np.ndarray, probs: np.ndarray, *, fpr: float) -> float:
    """Share of the fakes found where at most a share `fpr` of the photographs is called FAKE."""
    real = np.sort(probs[labels == 0])[::-1]
    threshold = real[int(fpr * len(real) + 1e-9)]  # called FAKE is what lies above it
    return float(np.mean(probs[labels == 1] > threshold))


def precision_at_prevalence(labels: np.ndarray, probs: np.ndarray, *, prevalence: float) -> float:
    """Share of fakes among what is called FAKE at 1/2, where a share `prevalence` of the pictures is fake (Bayes)."""
    found, false = np.mean(probs[labels == 1] >= 0.5), np.mean(probs[labels == 0] >= 0.5)
    called = prevalence * found + (1 - prevalence) * false
    return float(prevalence * found / called) if called else np.nan


def calibration_bins(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean P(FAKE), share of fakes, number of pictures in each of BINS equal bins of P(FAKE) that is not empty."""
    bins = np.minimum((probs * BINS).astype(int), BINS - 1)
    n = np.bincount(bins, minlength=BINS)
    kept = n > 0
    sums = [np.bincount(bins, weights=weights, minlength=BINS)[kept] / n[kept] for weights in (probs, labels)]
    return *sums, n[kept]


def expected_calibration_error(labels: np.ndarray, probs: np.ndarray) -> float:
    """Mean distance of P(FAKE) and share of fakes over `calibration_bins`, weighted by pictures (Guo et al. 2017)."""
    said, share, n = calibration_bins(labels, probs)
    return float(np.average(np.abs(said - share), weights=n))


def accuracy_at_coverage(labels: np.ndarray, probs: np.ndarray, *, coverage: float) -> float:
    """Accuracy on the share `coverage` of the pictures that it is most confident of."""
    surest = np.argsort(-np.abs(probs - 0.5), kind="stable")[: round(coverage * len(probs))]
    return float(np.mean((probs[surest] >= 0.5) == labels[surest]))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "average_precision": average_precision_score,
    "tpr_at_fpr_1": partial(tpr_at_fpr, fpr=0.01),
    "tpr_at_fpr_5": partial(tpr_at_fpr, fpr=0.05),
    "precision_at_prevalence_1": partial(precision_at_prevalence, prevalence=0.01),
    "precision_at_prevalence_10": partial(precision_at_prevalence, prevalence=0.1),
    "ece": expected_calibration_error,
    "nll": log_loss,
    "brier": brier_score_loss,
    "accuracy_at_coverage_95": partial(accuracy_at_coverage, coverage=0.95),
}


def evaluate_further(probs: torch.Tensor, labels: torch.Tensor, *, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """METRICS of P(FAKE) (N,) against labels (N,), with columns value, low, high, n as `evaluate` has.

    Cross-entropy (nll) in nats. Intervals are percentiles of `draws` samples with replacement, drawn within each class
    as the sets were; that of the calibration error errs upwards, as does the error itself where pictures are few.
    """
    labels, probs, rng = labels.numpy(), probs.double().numpy(), np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    drawn = []
    for _ in progress(range(draws), desc="drawing anew", unit=" samples", delay=1):
        rows = np.concatenate([rng.choice(rows, len(rows)) for rows in classes])
        drawn.append([metric(labels[rows], probs[rows]) for metric in METRICS.values()])
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    value = [metric(labels, probs) for metric in METRICS.values()]
    table = {"value": value, "low": low, "high": high, "n": len(labels)}
    return pd.DataFrame(table, index=pd.Index(METRICS, name="metric"))


def verdict_rates(verdicts: pd.DataFrame, labels: torch.Tensor) -> pd.DataFrame:
    """What becomes of pictures of known labels (N,) by their verdicts, of `judge_all`.

    Rows coverage, the share that is called REAL or FAKE, accuracy_answered, the share of these that is right, and
    unlike_rate and steady_rate; columns value, low, high (Wilson), n as `evaluate` has.
    """
    given = verdicts["verdict"] != UNSURE
    right = given & ((verdicts["prob"] >= 0.5) == labels.bool().numpy())
    counts = {
        "coverage": (given.sum(), len(given)),
        "accuracy_answered": (right.sum(), given.sum()),
        "unlike_rate": ((~verdicts["like"]).sum(), len(given)),
        "steady_rate": (verdicts["steady"].sum(), len(given)),
    }
    return metric_rows({name: share(int(k), int(n)) for name, (k, n) in counts.items()})


def evaluate_all(verdicts: pd.DataFrame, labels: torch.Tensor) -> pd.DataFrame:
    """The rows of `evaluate`, `evaluate_further` and `verdict_rates`, of the verdicts of `judge_all`."""
    probs = probs_of(verdicts)
    return pd.concat([evaluate(probs, labels), evaluate_further(probs, labels), verdict_rates(verdicts, labels)])


def evaluate_unseen(verdicts: pd.DataFrame, labels: torch.Tensor, photographs: pd.DataFrame) -> pd.DataFrame:
    """How pictures of one source, all of one class, are judged, beside `photographs` of another source.

    The rows of `evaluate_source` and `verdict_rates`, and unlike_auc: how well the distance alone tells the two apart.
    """
    unlike = auc_against(photographs["distance"].to_numpy(), verdicts["distance"].to_numpy())
    rows = evaluate_source(probs_of(verdicts), int(labels[0]), probs_of(photographs))
    return pd.concat([rows, verdict_rates(verdicts, labels), metric_rows({"unlike_auc": (*unlike, len(verdicts))})])


def reliability(probs: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """A row a bin of P(FAKE): said (its mean), value (share of fakes), low, high (Wilson), n."""
    said, share, n = calibration_bins(labels.numpy(), probs.double().numpy())
    bounds = [wilson(round(s * k), k) for s, k in zip(share, n, strict=True)]
    low, high = np.transpose(bounds)
    return pd.DataFrame({"said": said, "value": share, "low": low, "high": high, "n": n})


def risk_coverage(probs: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """Error among the most confident pictures, for every share of them: columns coverage and risk, (N,) each."""
    order = torch.argsort((probs - 0.5).abs(), descending=True, stable=True)
    wrong = ((probs >= 0.5) != labels.bool())[order].double().cumsum(0).numpy()
    answered = np.arange(1, len(probs) + 1)
    return pd.DataFrame({"coverage": answered / len(probs), "risk": wrong / answered})


def compare(right: np.ndarray, other: np.ndarray, *, draws: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Two models on the same pictures, bool (N,) each, where they are right: is the first one better?

    Keys difference (of accuracy) with its percentile-bootstrap interval low, high; only_first and only_second, the
    pictures that only one has right; p, McNemar's exact test (McNemar 1947) that these are equally many.
    """
    first, second = int((right & ~other).sum()), int((other & ~right).sum())
    counts = np.array([first, second, len(right) - first - second])
    drawn = np.random.default_rng(seed).multinomial(len(right), counts / len(right), size=draws)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / len(right), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    p = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    difference = (first - second) / len(right)
    return {"difference": difference, "low": low, "high": high, "only_first": first, "only_second": second, "p": p}


def compare_pairs(probs: pd.DataFrame, labels: np.ndarray) -> pd.DataFrame:
    """`compare` of every two columns of P(FAKE), a model each, at threshold 1/2: a row a pair.

    Where there are several, `p (Holm)` allows for that.
    """
    right = (probs >= 0.5).eq(labels == 1, axis=0)
    pairs = {f"{a} against {b}": compare(right[a].to_numpy(), right[b].to_numpy()) for a, b in combinations(right, 2)}
    table = pd.DataFrame.from_dict(pairs, orient="index").rename_axis("models")
    return table.assign(**{"p (Holm)": holm(table["p"].to_numpy())}) if len(table) > 1 else table


def holm(p: np.ndarray) -> np.ndarray:
    """The p-values (m,) of m tests, adjusted so that no more than 5% of all such families err (Holm 1979)."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted[np.argsort(order)]
