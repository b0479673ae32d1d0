"""Fit what a trained detector says to what it gets right, on pictures that trained and chose nothing.

Its temperature brings P(FAKE) near the share of fakes among such pictures, half of which are fake; its least confidence
and its largest distance are where it had better say 'not sure'. All are part of the model.
"""

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from detector.data import Images
from detector.models import BANK, Detector
from detector.prediction import predict_distance, predict_features, predict_logits, probabilities
from detector.verdicts import steady

RISK = 0.005  # of the pictures that are answered at most this share may be called wrong ...
CERTAINTY = 0.95  # ... with this certainty over the draw of the calibration pictures
UNLIKE = 0.02  # share of CIFAKE's pictures that may be taken for something else
MARGINS = np.linspace(4.6, 0, 93)  # logits before the temperature that may separate 'not sure' from an answer, in order


def calibrate(model: Detector, train_set: Images, images: Images) -> None:
    """Set what a model remembers of its training pictures, and by `images` its temperature and its limits.

    Its largest distance is passed by the share UNLIKE of the images. Only those within it whose verdict is steady get
    an answer; no label has a say in that, so that what is promised of the answers stays true.
    """
    rows = np.random.default_rng(0).choice(len(train_set), BANK, replace=len(train_set) < BANK)
    model.bank.copy_(predict_features(model, train_set.pixels[rows]).half())  # as it is kept
    distances = predict_distance(model, images.pixels)
    model.largest_distance.copy_(distances.quantile(1 - UNLIKE))
    model.temperature.fill_(1)
    logits, labels = predict_logits(model, images.pixels).double().numpy(), images.labels.numpy()
    model.temperature.fill_(fit_temperature(logits, labels))
    held = (distances <= model.largest_distance) & steady(model, images.pixels, probabilities(logits))
    margin = fit_margin(logits[held.numpy()], labels[held.numpy()])
    model.least_confidence.copy_(probabilities(margin / model.temperature))


def lean(model: Detector, images: Images, false_fake: float) -> None:
    """Move the logits towards REAL until at most that share of the photographs among `images` is called FAKE."""
    photographs = images.pixels[images.labels == 0]
    model.temperature.fill_(1)
    too_high = predict_logits(model, photographs).quantile(1 - false_fake).clamp(min=0)
    with torch.no_grad():
        model.head.bias -= too_high


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least cross-entropy (Guo et al. 2017, arXiv 1706.04599), for logits (N,) and labels (N,).

    It is 1 unless it also helps pictures that did not fit it, by five-fold cross-validation.
    """
    scale = LogisticRegression(C=np.inf, fit_intercept=False)  # logits times one number, which is 1 / temperature
    column = logits[:, None]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    unseen = cross_val_predict(scale, column, labels, cv=folds, method="predict_proba")
    slope = scale.fit(column, labels).coef_[0, 0]
    if slope <= 0 or log_loss(labels, unseen) >= log_loss(labels, probabilities(logits)):
        return 1.0
    return float(1 / slope)


def fit_margin(logits: np.ndarray, labels: np.ndarray) -> float:
    """The least |logit| from which on at most RISK of the answers are wrong, with CERTAINTY; infinite if none is.

    Fixed-sequence testing (Angelopoulos et al. 2021, Learn then Test, arXiv 2110.01052): from the widest margin down,
    until the binomial test no longer rejects that more than RISK of the answers are wrong. The margins are fixed
    beforehand; the pictures are taken to be drawn independently.
    """
    wrong, found = (logits >= 0) != (labels == 1), np.inf
    for margin in MARGINS:
        answered = np.abs(logits) >= margin
        if stats.binom.cdf(wrong[answered].sum(), answered.sum(), RISK) > 1 - CERTAINTY:
            break
        found = margin
    return float(found)
