"""Temperature and margin: recovered where they are known, equal to reference libraries, with the guarantee kept."""

import numpy as np
import pytest
import torch
from mapie.risk_control import BinaryClassificationController, BinaryRisk, abstention_rate
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from detector.inference import calibration
from detector.inference.calibration import (
    CERTAINTY,
    MARGINS,
    OOD_RATE,
    RISK,
    calibrate,
    fit_margin,
    fit_temperature,
)
from detector.inference.predict import predict, predict_logits, predict_ood_scores
from detector.models.weights import load_model, save_model


def simulate(n: int, temperature: float, seed: int = 0, scale: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are `temperature` times too large, and labels; calibrated logits deviate by `scale`."""
    rng = np.random.default_rng(seed)
    calibrated = rng.normal(scale=scale, size=n)
    return calibrated * temperature, (rng.random(n) < 1 / (1 + np.exp(-calibrated))).astype(int)


class Identity(ClassifierMixin, BaseEstimator):
    """Returns the logits that it is given."""

    classes_ = np.array([0, 1])

    def fit(self, _features, _labels):
        self.is_fitted_ = True
        return self

    def decision_function(self, logits):
        return logits[:, 0]

    def predict(self, logits):
        return (self.decision_function(logits) >= 0).astype(int)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_temperature_is_recovered_and_equals_scikit_learns(temperature):
    logits, labels = simulate(20_000, temperature)
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(temperature, rel=0.05)
    reference = CalibratedClassifierCV(FrozenEstimator(Identity().fit(None, None)), method="temperature")
    reference.fit(logits[:, None], labels)
    ours = 1 / (1 + np.exp(-logits / fitted))
    np.testing.assert_allclose(reference.predict_proba(logits[:, None])[:, 1], ours, atol=1e-3)


def test_a_temperature_that_does_not_generalise_is_rejected():
    """On few calibrated logits the fitted temperature is noise, which cross-validation detects in most samples."""
    rejected = [fit_temperature(*simulate(60, 1.0, seed)) == 1.0 for seed in range(20)]
    assert sum(rejected) > 10


def test_the_margin_keeps_its_guarantee():
    """Over many calibration sets, the error rate of covered images exceeds RISK in at most 5% of them."""
    logits, labels = simulate(200_000, 1.0, seed=10_000, scale=8)
    order = np.argsort(-np.abs(logits))
    sizes, errors = np.abs(logits)[order], np.cumsum(((logits >= 0) != labels)[order])
    margins = np.array([fit_margin(*simulate(5000, 1.0, seed, scale=8)) for seed in range(200)])
    covered = np.searchsorted(-sizes, -margins, side="right")  # images with |logit| >= margin
    error_rates = np.where(covered > 0, errors[covered - 1] / covered.clip(1), 0)
    assert np.isfinite(margins).mean() > 0.9
    assert 0 < (error_rates > RISK).sum() <= 17  # 5% of 200, plus slightly over two standard deviations


def test_the_margin_is_at_most_that_of_a_library():
    """MAPIE has no fixed-sequence test for abstention; its bound (Hoeffding-Bentkus, Bonferroni) is conservative."""
    logits, labels = simulate(20_000, 1.0, scale=8)

    def decide(column, margin):
        return np.where(np.abs(column[:, 0]) >= margin, (column[:, 0] >= 0).astype(float), np.nan)

    error = BinaryRisk(
        risk_occurrence=lambda true, given: (given != true) & ~np.isnan(given),
        risk_condition=lambda _, given: ~np.isnan(given),
        higher_is_better=False,
    )
    reference = BinaryClassificationController(
        decide,
        error,
        target_level=RISK,
        confidence_level=CERTAINTY,
        best_predict_param_choice=abstention_rate,
        list_predict_params=MARGINS[:, None],
        fwer_method="bonferroni",
    ).calibrate(logits[:, None], labels)
    ours = fit_margin(logits, labels)
    valid = reference.valid_predict_params.ravel()
    assert ours <= valid.min() < ours + 0.5


def test_nothing_is_covered_without_a_guarantee():
    rng = np.random.default_rng(0)
    logits = 100 * rng.normal(size=1000)
    assert fit_margin(logits, rng.integers(2, size=1000)) == np.inf
    assert fit_margin(logits, (logits >= 0).astype(int)) < np.inf


def test_the_margin_stops_at_the_first_that_fails():
    """Correct far from 0 and near 0, but wrong in between: a narrower margin that would pass is not tested."""
    logits = np.repeat([5.0, 2.0, 0.5], [2000, 100, 200_000])
    labels = np.repeat([1, 0, 1], [2000, 100, 200_000])
    assert 2.0 < fit_margin(logits, labels) <= 2.05
    assert fit_margin(np.array([]), np.array([])) == np.inf


def test_temperature_and_threshold_are_saved_with_the_model(small_cnn, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: 2.0)
    monkeypatch.setattr(calibration, "fit_margin", lambda *_: 3.0)
    raw = predict_logits(small_cnn, toy.calibration.pixels)
    calibrate(small_cnn, toy.train, toy.calibration)
    save_model(small_cnn, tmp_path / "calibrated.safetensors", recipe={}, data="toy")
    loaded = load_model(tmp_path / "calibrated.safetensors")
    assert loaded.confidence_threshold.item() == pytest.approx(1 / (1 + np.exp(-1.5)))
    torch.testing.assert_close(predict(loaded, toy.calibration.pixels), torch.sigmoid(raw / 2), atol=5e-3, rtol=0)


def test_calibration_is_idempotent_and_flags_few_images_as_ood(small_cnn, toy):
    calibrate(small_cnn, toy.train, toy.calibration)
    once = small_cnn.temperature.item(), small_cnn.confidence_threshold.item()
    calibrate(small_cnn, toy.train, toy.calibration)
    assert once == (small_cnn.temperature.item(), small_cnn.confidence_threshold.item())
    ood_scores = predict_ood_scores(small_cnn, toy.calibration.pixels)
    assert (ood_scores > small_cnn.ood_threshold).float().mean() == pytest.approx(OOD_RATE, abs=0.005)
