"""The temperature and the margin of 'not sure': recovered where they are known, and kept where they are promised."""

import numpy as np
import pytest
import torch
from mapie.risk_control import BinaryClassificationController, BinaryRisk, abstention_rate
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from detector import calibration
from detector.calibration import CERTAINTY, MARGINS, RISK, UNLIKE, calibrate, fit_margin, fit_temperature
from detector.prediction import predict, predict_distance, predict_logits
from detector.weights import load_model, save_model


def said(n: int, temperature: float, seed: int = 0, scale: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large, and labels; `scale` is the deviation of the right logits."""
    rng = np.random.default_rng(seed)
    true = rng.normal(scale=scale, size=n)
    return true * temperature, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(int)


class Fixed(ClassifierMixin, BaseEstimator):
    """Says the logits that it is given."""

    classes_ = np.array([0, 1])

    def fit(self, _features, _labels):
        self.is_fitted_ = True
        return self

    def decision_function(self, logits):
        return logits[:, 0]

    def predict(self, logits):
        return (self.decision_function(logits) >= 0).astype(int)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_temperature_is_recovered_and_is_scikit_learns(temperature):
    logits, labels = said(20_000, temperature)
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(temperature, rel=0.05)
    theirs = CalibratedClassifierCV(FrozenEstimator(Fixed().fit(None, None)), method="temperature")
    theirs.fit(logits[:, None], labels)
    ours = 1 / (1 + np.exp(-logits / fitted))
    np.testing.assert_allclose(theirs.predict_proba(logits[:, None])[:, 1], ours, atol=1e-3)


def test_a_temperature_that_helps_nobody_is_not_kept():
    """With few honest logits the fitted number is noise, which cross-validation tells in most draws."""
    kept = [fit_temperature(*said(60, 1.0, seed)) == 1.0 for seed in range(20)]
    assert sum(kept) > 10


def test_the_margin_keeps_its_promise():
    """Over many draws of calibration pictures, more than RISK of the answers are wrong in at most 5% of them."""
    broken = 0
    everyone = said(200_000, 1.0, seed=10_000, scale=8)
    margins = [fit_margin(*said(5000, 1.0, seed, scale=8)) for seed in range(200)]
    for margin in margins:
        answered = np.abs(everyone[0]) >= margin
        wrong = ((everyone[0] >= 0) != everyone[1])[answered]
        broken += bool(answered.any() and wrong.mean() > RISK)
    assert np.isfinite(margins).mean() > 0.9
    assert 0 < broken <= 17  # 5% of 200 and two deviations and a bit


def test_the_margin_is_no_wider_than_a_library_finds():
    """MAPIE has no fixed sequence for models that abstain: its bound (Hoeffding and Bentkus, Bonferroni) is safer."""
    logits, labels = said(20_000, 1.0, scale=8)

    def answer(column, margin):
        return np.where(np.abs(column[:, 0]) >= margin, (column[:, 0] >= 0).astype(float), np.nan)

    error = BinaryRisk(
        risk_occurrence=lambda true, given: (given != true) & ~np.isnan(given),
        risk_condition=lambda _, given: ~np.isnan(given),
        higher_is_better=False,
    )
    theirs = BinaryClassificationController(
        answer,
        error,
        target_level=RISK,
        confidence_level=CERTAINTY,
        best_predict_param_choice=abstention_rate,
        list_predict_params=MARGINS[:, None],
        fwer_method="bonferroni",
    ).calibrate(logits[:, None], labels)
    ours = fit_margin(logits, labels)
    valid = theirs.valid_predict_params.ravel()
    assert ours <= valid.min() < ours + 0.5


def test_nothing_is_answered_where_nothing_can_be_promised():
    rng = np.random.default_rng(0)
    logits = 100 * rng.normal(size=1000)
    assert fit_margin(logits, rng.integers(2, size=1000)) == np.inf
    assert fit_margin(logits, (logits >= 0).astype(int)) < np.inf


def test_both_are_part_of_the_model(small_cnn, standin, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: 2.0)
    monkeypatch.setattr(calibration, "fit_margin", lambda *_: 3.0)
    raw = predict_logits(small_cnn, standin.calibration.pixels)
    calibrate(small_cnn, standin.train, standin.calibration)
    save_model(small_cnn, tmp_path / "calibrated.safetensors", recipe={}, data="stand-in")
    loaded = load_model(tmp_path / "calibrated.safetensors")
    assert loaded.least_confidence.item() == pytest.approx(1 / (1 + np.exp(-1.5)))
    torch.testing.assert_close(predict(loaded, standin.calibration.pixels), torch.sigmoid(raw / 2), atol=5e-3, rtol=0)


def test_calibrating_twice_is_calibrating_once(small_cnn, standin):
    calibrate(small_cnn, standin.train, standin.calibration)
    once = small_cnn.temperature.item(), small_cnn.least_confidence.item()
    calibrate(small_cnn, standin.train, standin.calibration)
    assert once == (small_cnn.temperature.item(), small_cnn.least_confidence.item())


def test_few_known_pictures_are_taken_for_unlike(small_cnn, standin):
    calibrate(small_cnn, standin.train, standin.calibration)
    distances = predict_distance(small_cnn, standin.calibration.pixels)
    assert (distances > small_cnn.largest_distance).float().mean() == pytest.approx(UNLIKE, abs=0.005)
