"""Classification metrics agree with scikit-learn and hand-worked cases."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from detector.metrics import classification
from detector.metrics.classification import confusion, evaluate


def test_metrics_agree_with_scikit_learn(scores):
    probabilities, labels = scores(400)
    table = evaluate(probabilities, labels)
    predicted = probabilities >= 0.5
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "precision": sklearn_metrics.precision_score(labels, predicted),
        "recall": sklearn_metrics.recall_score(labels, predicted),
        "f1": sklearn_metrics.f1_score(labels, predicted),
        "auc": sklearn_metrics.roc_auc_score(labels, probabilities),
        "false_positive_rate": (predicted & (labels == 0)).sum() / (labels == 0).sum(),
    }
    assert set(table.index) == set(expected)
    for name, value in expected.items():
        assert table.loc[name, "value"] == pytest.approx(float(value)), name
        assert table.loc[name, "low"] < value < table.loc[name, "high"], name


def test_confusion_agrees_with_scikit_learn(scores):
    probabilities, labels = scores(400)
    table = confusion(probabilities, labels)
    assert (table.to_numpy() == sklearn_metrics.confusion_matrix(labels, probabilities >= 0.5)).all()
    assert (table.index.name, table.columns.name) == ("actual", "predicted")


def test_fake_is_the_positive_class():
    labels = torch.tensor([0, 0, 1, 1])
    assert confusion(torch.full((4,), 0.95), labels).to_numpy().tolist() == [[0, 2], [0, 2]]
    assert confusion(torch.full((4,), 0.05), labels).loc["REAL", "REAL"] == 2
    assert evaluate(torch.full((4,), 0.95), labels).loc["recall", "value"] == 1


def test_accuracy_is_over_all_images_not_a_mean_of_batches():
    """Seven images in batches of four: the mean of the batches' accuracies is 1/2, not 4/7."""
    probabilities = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.9])
    assert evaluate(probabilities, torch.tensor([1, 1, 1, 1, 1, 1, 0])).loc["accuracy", "value"] == 4 / 7


def test_perfect_predictions_have_no_nan():
    table = evaluate(torch.tensor([0.1, 0.2, 0.8, 0.9]), torch.tensor([0, 0, 1, 1]))
    assert (table["value"].drop("false_positive_rate") == 1).all()
    assert table.notna().all(axis=None)
    assert (table["low"].drop("false_positive_rate") < 1).all()


def test_accuracies_by_object_class_add_up(scores):
    probabilities, labels = scores(300)
    images = SimpleNamespace(labels=labels, object_class=torch.arange(300) % 3)
    table = classification.accuracy_by_object_class(probabilities, images, ("cat", "dog", "ship"))
    assert table[["object_class", "class"]].to_numpy().tolist()[:3] == [
        ["cat", "REAL"],
        ["cat", "FAKE"],
        ["dog", "REAL"],
    ]
    assert table["n"].sum() == 300
    total = (table["value"] * table["n"]).sum() / 300
    assert total == pytest.approx(evaluate(probabilities, labels).loc["accuracy", "value"])


def test_roc_points_span_the_unit_square(scores):
    probabilities, labels = scores(400)
    false, true = classification.roc_points(probabilities, labels)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(sklearn_metrics.roc_auc_score(labels, probabilities))


def test_most_confident_errors_come_first_and_are_errors():
    probabilities, labels = torch.tensor([0.9, 0.2, 0.7, 0.4]), torch.tensor([0, 0, 0, 1])
    assert classification.most_confident_errors(probabilities, labels, 10).tolist() == [0, 2, 3]
    assert classification.most_confident_errors(probabilities, labels, 1).tolist() == [0]


def test_source_metrics_by_hand():
    """Recall is 3 of 4; of the 8 pairs of a FAKE and a REAL image, 7 are ordered correctly."""
    photos = torch.tensor([0.2, 0.6])
    fake = classification.evaluate_source(torch.tensor([0.9, 0.8, 0.7, 0.3]), 1, photos)
    assert fake["value"].to_dict() == pytest.approx({"recall": 3 / 4, "auc": 7 / 8})
    assert fake["n"].tolist() == [4, 4]
    real = classification.evaluate_source(torch.tensor([0.9, 0.1, 0.1]), 0, photos)
    assert real["value"].to_dict() == pytest.approx({"false_positive_rate": 1 / 3})


@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.05, 0.3])
def test_tpr_at_fpr_is_a_point_of_the_roc_curve(arrays, fpr):
    labels, probabilities = arrays
    false, true, _ = sklearn_metrics.roc_curve(labels, probabilities, drop_intermediate=False)
    assert classification.tpr_at_fpr(labels, probabilities, fpr=fpr) == pytest.approx(true[false <= fpr].max())


def test_precision_at_low_prevalence_by_hand():
    """Of 1,000 images 10 are FAKE: 8 true positives, and 99 false positives among 990 REAL images; 8 / 107."""
    labels = np.repeat([1, 0], [10, 10])
    probabilities = np.array([0.9] * 8 + [0.1] * 2 + [0.9] + [0.1] * 9)
    assert classification.precision_at_prevalence(labels, probabilities, prevalence=0.01) == pytest.approx(8 / 107)
    balanced = classification.precision_at_prevalence(labels, probabilities, prevalence=0.5)
    assert balanced == pytest.approx(sklearn_metrics.precision_score(labels, probabilities >= 0.5))
    assert np.isnan(classification.precision_at_prevalence(labels, np.zeros(20), prevalence=0.5))
