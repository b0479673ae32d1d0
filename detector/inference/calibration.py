"""Calibrate a trained detector on images that neither trained it nor chose anything about it.

Calibration sets the model's buffers: the feature bank, the OOD threshold, the temperature, which brings P(FAKE) close
to the observed share of fakes on a balanced set, and the confidence threshold, below which the model abstains.
"""

import numpy as np

from detector.data.dataset import Images
from detector.inference.decision import is_stable
from detector.inference.predict import predict_features, predict_logits, predict_ood_scores, probabilities
from detector.models.base import BANK_SIZE, Detector

RISK = 0.005  # highest error rate among covered images ...
CERTAINTY = 0.95  # ... guaranteed with this probability over the sampling of the calibration set
OOD_RATE = 0.02  # share of CIFAKE's own images that may be flagged as out of distribution
MARGINS = np.linspace(4.6, 0, 93)  # candidates for the smallest |logit| covered, before temperature, in testing order


def calibrate(model: Detector, train_set: Images, images: Images) -> None:
    """Set the model's feature bank from its training images, and its temperature and thresholds from `images`.

    A share OOD_RATE of `images` exceeds the OOD threshold. The confidence threshold is fitted on those images that are
    in distribution and stable. No label enters that selection, so the guarantee on covered images stays valid.

    Args:
        train_set: the images that trained the model.
        images: the calibration split.
    """
    rows = np.random.default_rng(0).choice(len(train_set), BANK_SIZE, replace=len(train_set) < BANK_SIZE)
    model.feature_bank.copy_(predict_features(model, train_set.pixels[rows]).half())  # in the precision it is saved in
    ood_scores = predict_ood_scores(model, images.pixels)
    model.ood_threshold.copy_(ood_scores.quantile(1 - OOD_RATE))
    model.temperature.fill_(1)
    logits, labels = predict_logits(model, images.pixels).double().numpy(), images.labels.numpy()
    model.temperature.fill_(fit_temperature(logits, labels))
    stable = is_stable(model, images.pixels, probabilities(logits))
    eligible = ((ood_scores <= model.ood_threshold.item()) & stable).numpy()
    margin = fit_margin(logits[eligible], labels[eligible])
    model.confidence_threshold.copy_(probabilities(margin / model.temperature))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that minimises cross-entropy (Guo et al. 2017, arXiv 1706.04599).

    It is 1 unless the fitted temperature also lowers the cross-entropy of images outside the fit, by five-fold
    cross-validation.

    Args:
        logits: (N,), at temperature 1.
        labels: (N,), 0 or 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    scale = LogisticRegression(C=np.inf, fit_intercept=False)  # its one coefficient is 1 / temperature
    column = logits[:, None]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    held_out = cross_val_predict(scale, column, labels, cv=folds, method="predict_proba")
    slope = scale.fit(column, labels).coef_[0, 0]
    if slope <= 0 or log_loss(labels, held_out) >= log_loss(labels, probabilities(logits)):
        return 1.0
    return float(1 / slope)


def fit_margin(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the smallest margin of MARGINS at which the error rate of covered images is at most RISK.

    An image is covered, so decided without abstention, where |logit| reaches the margin. The guarantee holds with
    probability CERTAINTY if the images are independent samples. The result is infinite where no margin satisfies it.

    Fixed-sequence testing (Angelopoulos et al. 2021, Learn then Test, arXiv 2110.01052): margins are tested from the
    widest down, until a binomial test no longer rejects an error rate above RISK.

    Args:
        logits: (N,), at temperature 1.
        labels: (N,), 0 or 1.
    """
    from scipy import stats

    covered = np.abs(logits) >= MARGINS[:, None]  # (margins, N)
    errors = covered & ((logits >= 0) != (labels == 1))
    safe = stats.binom.cdf(errors.sum(1), covered.sum(1), RISK) <= 1 - CERTAINTY
    return float(MARGINS[np.logical_and.accumulate(safe)].min(initial=np.inf))
