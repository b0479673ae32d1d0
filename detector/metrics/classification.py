"""Metrics of P(FAKE) against labels. FAKE (1) is the positive class; tables have columns value, low, high, n."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from detector.core.labels import CLASSES, REAL
from detector.metrics.intervals import auc_against, auc_interval, f1_interval, metric_table, proportion


def evaluate(probabilities: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """Return accuracy, precision, recall, false-positive rate, F1 and AUC with 95% intervals, one row each.

    Args:
        probabilities: P(FAKE), float32 (N,).
        labels: int64 (N,).

    The threshold is 0.5. Column n is the denominator: all images, or the predicted FAKE (precision), the FAKE (recall)
    and the REAL images (false_positive_rate).
    """
    table = confusion(probabilities, labels).to_numpy()
    (true_negatives, false_positives), (false_negatives, true_positives) = table
    counts = {
        "accuracy": (true_negatives + true_positives, table.sum()),
        "precision": (true_positives, true_positives + false_positives),
        "recall": (true_positives, true_positives + false_negatives),
        "false_positive_rate": (false_positives, false_positives + true_negatives),
    }
    rows = {name: proportion(*pair) for name, pair in counts.items()}
    rows["f1"] = (*f1_interval(table), table.sum())
    rows["auc"] = (*auc_interval(labels.numpy(), probabilities.double().numpy()), table.sum())
    return metric_table(rows)


def confusion(probabilities: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """Return the confusion matrix at threshold 0.5 as counts: actual classes in rows, predicted classes in columns."""
    cells = 2 * labels.numpy() + (probabilities >= 0.5).numpy()
    table = np.bincount(cells, minlength=4).reshape(2, 2)
    return pd.DataFrame(table, pd.Index(CLASSES, name="actual"), pd.Index(CLASSES, name="predicted"))


def accuracy_by_object_class(probabilities: torch.Tensor, images, names: Sequence[str]) -> pd.DataFrame:
    """Return the accuracy for each object class and label at threshold 0.5.

    `images` are `data.dataset.Images`, and `names` are the object classes in the order of their indices. Columns
    object_class, class, value, low, high, n.
    """
    correct = ((probabilities >= 0.5) == images.labels.bool()).numpy()
    rows = []
    for index, name in enumerate(names):
        for label, class_ in enumerate(CLASSES):
            selected = ((images.object_class == index) & (images.labels == label)).numpy()
            rows.append((name, class_, *proportion(correct[selected].sum(), selected.sum())))
    return pd.DataFrame(rows, columns=["object_class", "class", "value", "low", "high", "n"])


def roc_points(probabilities: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve: false-positive and true-positive rates over all thresholds."""
    from sklearn.metrics import roc_curve

    false_positive_rates, true_positive_rates, _ = roc_curve(labels.numpy(), probabilities.numpy())
    return false_positive_rates, true_positive_rates


def most_confident_errors(probabilities: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Return the rows of at most `count` misclassified images, int64, the most confident error first."""
    error = (probabilities - labels).abs()
    return torch.argsort(error, descending=True)[: min(count, int((error > 0.5).sum()))]


def evaluate_source(probabilities: torch.Tensor, label: int, photos: torch.Tensor) -> pd.DataFrame:
    """Return the metrics of images from one source, all with the same label, at threshold 0.5.

    Args:
        probabilities: P(FAKE) of the source's images, float32 (N,).
        label: the label of all of them. REAL gives the row false_positive_rate, FAKE the rows recall and auc.
        photos: P(FAKE) of REAL images from another source, float32 (M,), the negative class of the AUC.
    """
    k, n = int((probabilities >= 0.5).sum()), len(probabilities)
    if label == REAL:
        return metric_table({"false_positive_rate": proportion(k, n)})
    auc = auc_against(photos.numpy(), probabilities.numpy())
    return metric_table({"recall": proportion(k, n), "auc": (*auc, n)})


def tpr_at_fpr(labels: np.ndarray, probabilities: np.ndarray, *, fpr: float) -> float:
    """Return the highest true-positive rate whose false-positive rate is at most `fpr`."""
    real = np.sort(probabilities[labels == 0])[::-1]
    threshold = real[int(fpr * len(real) + 1e-9)]  # predictions above it are FAKE
    return float(np.mean(probabilities[labels == 1] > threshold))


def precision_at_prevalence(labels: np.ndarray, probabilities: np.ndarray, *, prevalence: float) -> float:
    """Return the precision at threshold 0.5 if a share `prevalence` of all images were FAKE (Bayes' rule)."""
    recall, fpr = np.mean(probabilities[labels == 1] >= 0.5), np.mean(probabilities[labels == 0] >= 0.5)
    positive = prevalence * recall + (1 - prevalence) * fpr
    return float(prevalence * recall / positive) if positive else np.nan
