"""Each further metric agrees with scikit-learn, scipy or a case worked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from detector import metrics
from detector.metrics import (
    compare,
    compare_pairs,
    evaluate_further,
    evaluate_unseen,
    holm,
    reliability,
    risk_coverage,
    verdict_rates,
)
from tests.test_evaluation import scores


def arrays(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    probs, labels = scores(n)
    return labels.numpy(), probs.double().numpy()


@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.05, 0.3])
def test_tpr_at_fpr_is_a_point_of_the_roc_curve(fpr):
    labels, probs = arrays()
    false, true, _ = reference.roc_curve(labels, probs, drop_intermediate=False)
    assert metrics.tpr_at_fpr(labels, probs, fpr=fpr) == pytest.approx(true[false <= fpr].max())


def test_precision_where_fakes_are_rare_by_hand():
    """Of 1,000 pictures 10 are fake: 8 of them found, and 99 of 990 photographs called FAKE; 8 / 107."""
    labels = np.repeat([1, 0], [10, 10])
    probs = np.array([0.9] * 8 + [0.1] * 2 + [0.9] + [0.1] * 9)
    assert metrics.precision_at_prevalence(labels, probs, prevalence=0.01) == pytest.approx(8 / 107)
    even = metrics.precision_at_prevalence(labels, probs, prevalence=0.5)
    assert even == pytest.approx(reference.precision_score(labels, probs >= 0.5))


def test_calibration_error_by_hand():
    """Three pictures at 0.9, two of them fake, and one of 0.1 that is fake: (3 · |0.9 - 2/3| + 0.9) / 4."""
    labels, probs = np.array([1, 1, 0, 1]), np.array([0.9, 0.9, 0.9, 0.1])
    assert metrics.expected_calibration_error(labels, probs) == pytest.approx((3 * (0.9 - 2 / 3) + 0.9) / 4)
    assert metrics.expected_calibration_error(np.array([0, 1]), np.array([0.0, 1.0])) == 0


def test_reliability_agrees_with_scikit_learn():
    probs, labels = scores(2000)
    share, said = calibration_curve(labels, probs.double(), n_bins=metrics.BINS)
    table = reliability(probs, labels)
    np.testing.assert_allclose(table["value"], share)
    np.testing.assert_allclose(table["said"], said)
    assert table["n"].sum() == 2000
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_further_metrics_have_their_values_inside_their_intervals():
    probs, labels = scores(600)
    table = evaluate_further(probs, labels, draws=200)
    expected = {
        "average_precision": reference.average_precision_score(labels, probs),
        "nll": reference.log_loss(labels, probs.double()),
        "brier": reference.brier_score_loss(labels, probs),
    }
    for name, value in expected.items():
        assert table.loc[name, "value"] == pytest.approx(value), name
        assert table.loc[name, "low"] < value < table.loc[name, "high"], name
    assert (table["low"] <= table["high"]).all()
    assert (table["n"] == 600).all()


def test_the_interval_of_the_cross_entropy_is_that_of_a_mean():
    """Of a mean it must agree with the normal approximation, here of each class apart."""
    probs, labels = scores(2000)
    table = evaluate_further(probs, labels)
    losses = torch.nn.functional.binary_cross_entropy(probs, labels.float(), reduction="none")
    parts = [losses[labels == label] for label in (0, 1)]
    error = sum((len(part) / 2000) ** 2 * part.var().item() / len(part) for part in parts) ** 0.5
    assert table.loc["nll", "high"] - table.loc["nll", "low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


VERDICTS = pd.DataFrame(
    {
        "verdict": ["FAKE", "FAKE", "not sure", "REAL", "REAL"],
        "prob": [0.99, 0.95, 0.6, 0.1, 0.02],
        "distance": [0.1, 0.2, 0.3, 0.4, 0.1],
        "like": [True, True, False, True, True],
        "steady": [True, True, True, False, True],
    }
)


def test_what_is_answered_by_hand():
    table = verdict_rates(VERDICTS, torch.tensor([1, 0, 0, 0, 0]))["value"]
    assert table.to_dict() == {"coverage": 0.8, "accuracy_answered": 0.75, "unlike_rate": 0.2, "steady_rate": 0.8}
    unsure = verdict_rates(VERDICTS[2:3], torch.tensor([0]))
    assert unsure.loc["coverage", "value"] == 0
    assert np.isnan(unsure.loc["accuracy_answered", "value"])


def test_a_source_by_hand():
    photographs = VERDICTS.assign(distance=[0.0, 0.15, 0.05, 0.0, 0.0])
    table = evaluate_unseen(VERDICTS[:3], torch.tensor([1, 1, 1]), photographs)["value"]
    assert table["recall"] == 1
    assert table["unlike_auc"] == pytest.approx(14 / 15)
    assert table["accuracy_answered"] == 1


def test_risk_coverage_ends_at_the_error():
    probs, labels = scores()
    curve = risk_coverage(probs, labels)
    error = ((probs >= 0.5) != labels.bool()).double().mean().item()
    assert curve.iloc[-1].tolist() == pytest.approx([1, error])
    part = metrics.accuracy_at_coverage(labels.numpy(), probs.double().numpy(), coverage=0.25)
    assert 1 - curve["risk"][99] == pytest.approx(part)


def test_comparison_by_hand():
    """1 picture only the one has right, 8 only the other: p is twice the chance of at most 1 head in 9 tosses."""
    one, other = np.repeat([True, False, True], [1, 8, 91]), np.repeat([False, True, True], [1, 8, 91])
    result = compare(one, other)
    assert result["difference"] == pytest.approx(-0.07)
    assert result["p"] == pytest.approx(2 * (1 + 9) / 2**9)
    assert result["low"] < -0.07 < result["high"] < 0
    assert (result["only_first"], result["only_second"]) == (1, 8)
    assert compare(one, one)["p"] == 1


def test_every_pair_is_compared_and_several_are_allowed_for():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.4, 0.9])).tolist() == pytest.approx([0.8, 0.9])
    labels = np.repeat([0, 1], 50)
    probs = pd.DataFrame({"right": labels * 1.0, "half": 1.0, "wrong": 1.0 - labels})
    table = compare_pairs(probs, labels)
    assert table.index.tolist() == ["right against half", "right against wrong", "half against wrong"]
    assert table["difference"].tolist() == pytest.approx([0.5, 1, 0.5])
    assert (table["p (Holm)"] >= table["p"]).all()
    assert "p (Holm)" not in compare_pairs(probs[["right", "half"]], labels)
