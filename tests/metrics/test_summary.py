"""Bootstrapped metrics agree with scikit-learn and theory; rates of decisions with hand-worked cases."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from detector.metrics import summary
from detector.metrics.summary import bootstrap_metrics, decision_rates, evaluate_source_decisions

DECISIONS = pd.DataFrame(
    {
        "label": ["FAKE", "FAKE", "not sure", "REAL", "REAL"],
        "probability": [0.99, 0.95, 0.6, 0.1, 0.02],
        "ood_score": [0.1, 0.2, 0.3, 0.4, 0.1],
        "in_distribution": [True, True, False, True, True],
        "stable": [True, True, True, False, True],
    }
)


def test_bootstrapped_metrics_lie_inside_their_intervals(scores):
    probabilities, labels = scores(600)
    table = bootstrap_metrics(probabilities, labels, draws=200)
    expected = {
        "average_precision": sklearn_metrics.average_precision_score(labels, probabilities),
        "nll": sklearn_metrics.log_loss(labels, probabilities.double()),
        "brier": sklearn_metrics.brier_score_loss(labels, probabilities),
    }
    for name, value in expected.items():
        assert table.loc[name, "value"] == pytest.approx(value), name
        assert table.loc[name, "low"] < value < table.loc[name, "high"], name
    assert (table["low"] <= table["high"]).all()
    assert (table["n"] == 600).all()
    assert table.index.tolist() == list(summary.BOOTSTRAPPED)


def test_cross_entropy_interval_agrees_with_the_normal_approximation(scores):
    """The cross-entropy is a mean, so its standard error is known: here stratified by class."""
    probabilities, labels = scores(600)
    table = bootstrap_metrics(probabilities, labels, draws=400)
    losses = torch.nn.functional.binary_cross_entropy(probabilities, labels.float(), reduction="none")
    by_class = [losses[labels == label] for label in (0, 1)]
    error = sum((len(own) / 600) ** 2 * own.var().item() / len(own) for own in by_class) ** 0.5
    assert table.loc["nll", "high"] - table.loc["nll", "low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_decision_rates_by_hand():
    table = decision_rates(DECISIONS, torch.tensor([1, 0, 0, 0, 0]))["value"]
    assert table.to_dict() == {"coverage": 0.8, "selective_accuracy": 0.75, "ood_rate": 0.2, "stable_rate": 0.8}
    abstained = decision_rates(DECISIONS[2:3], torch.tensor([0]))
    assert abstained.loc["coverage", "value"] == 0
    assert np.isnan(abstained.loc["selective_accuracy", "value"])


def test_decisions_on_a_source_by_hand():
    """In 14 of the 15 pairs of an image and a photo, the image has the higher OOD score."""
    photos = DECISIONS.assign(ood_score=[0.0, 0.15, 0.05, 0.0, 0.0])
    table = evaluate_source_decisions(DECISIONS[:3], 1, photos)["value"]
    assert table["recall"] == 1
    assert table["ood_auc"] == pytest.approx(14 / 15)
    assert table["selective_accuracy"] == 1
    real = evaluate_source_decisions(DECISIONS[3:], 0, photos)["value"]
    assert real["false_positive_rate"] == 0
    assert real["selective_accuracy"] == 1


def test_all_metrics_of_decisions_are_in_one_table(scores, monkeypatch):
    monkeypatch.setattr(summary, "bootstrap_metrics", partial(bootstrap_metrics, draws=20))
    probabilities, labels = scores(60)
    label = np.where(probabilities >= 0.5, "FAKE", "REAL")
    decisions = pd.DataFrame({"label": label, "probability": probabilities, "in_distribution": True, "stable": True})
    table = summary.evaluate_decisions(decisions, labels)
    assert table.index.is_unique
    assert {"accuracy", "auc", "ece", "coverage"} <= set(table.index)
    assert table.loc["selective_accuracy", "value"] == table.loc["accuracy", "value"]
