"""Train `native` and `native-small`: a head on frozen features, and its limits by sources left out of training.

Every fold leaves whole sources and generator families out. Temperature, limits and the OOD threshold come from the
scores of left-out groups alone, so that they hold for sources that the model was not trained on.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from detector.core.labels import FAKE, REAL
from detector.inference.calibration import OOD_RATE
from detector.inference.predict import predict_features, probabilities
from detector.models.base import BANK_SIZE, NEIGHBOURS
from detector.models.native import SMALL, Native
from detector.models.weights import round_weights, save_model
from detector.training.embeddings import Embeddings, collect_embeddings, read_embeddings
from detector.training.head import Group, fit_head, group_moments

FOLDS = 6  # each leaves out a share of the groups of both classes
FALSE_POSITIVES = 0.05  # of the photos of a left-out source ...
SOURCES_WITHIN = 0.85  # ... in this share of the photo sources
MISSED = 0.05  # share of the generated images of a left-out family that may be REAL ...
FAMILIES_WITHIN = 0.85  # ... in this share of the families
# StyleGAN2's faces are close-ups of faces, and few photos are: heads that are trained on them call portraits FAKE
TRAINED = "group != 'gan'"
STOPPED = 0.015  # share of photos that may be taken for drawings


@dataclass(frozen=True)
class Calibration:
    """How logits of a head become decisions.

    Attributes:
        temperature, bias: P(FAKE) is the sigmoid of (logit + bias) / temperature.
        low, high: P(FAKE) up to which an image is REAL, and from which it is FAKE.
    """

    temperature: float
    bias: float
    low: float
    high: float

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Return P(FAKE) for the head's logits."""
        return probabilities((logits + self.bias) / self.temperature).numpy()


def left_out_logits(moments: dict[str, Group], scored: Embeddings, left_out: tuple[str, ...] = ()) -> np.ndarray:
    """Return a logit for each row by a head that was trained without the row's group, (N,).

    Args:
        moments: of the training views.
        scored: the evaluation views.
        left_out: groups that no head is trained on; nan for their rows, as for those of groups without moments.
    """
    logits = np.full(len(scored.features), np.nan)
    without = set(np.unique(scored.groups)) - set(moments)
    for fold in _folds(scored, {*left_out, *without}):
        rows = np.isin(scored.groups, fold)
        weights, bias = fit_head(moments, {*fold, *left_out})
        logits[rows] = scored.features[rows] @ weights + bias
    return logits


def _folds(scored: Embeddings, left_out: Collection[str]) -> list[list[str]]:
    """Deal the groups of each class, the largest first, to the folds in turn."""
    folds: list[list[str]] = [[] for _ in range(FOLDS)]
    for label in (REAL, FAKE):
        names, counts = np.unique(scored.groups[scored.labels == label], return_counts=True)
        kept = [name for name in names[np.argsort(-counts, kind="stable")] if name not in left_out]
        for place, name in enumerate(kept):
            folds[place % FOLDS].append(str(name))
    return folds


def calibrate_head(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Calibration:
    """Fit temperature, bias and limits on logits of left-out groups, (N,).

    Platt scaling (Platt 1999), where both classes weigh the same and so do the groups of a class.
    """
    from sklearn.linear_model import LogisticRegression

    weights = _group_weights(labels, groups)
    platt = LogisticRegression(C=np.inf).fit(logits[:, None], labels, sample_weight=weights)
    slope, intercept = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    calibration = Calibration(1 / slope, intercept / slope, 0.5, 0.5)
    p = calibration.probability(logits)
    high = [np.quantile(p[groups == name], 1 - FALSE_POSITIVES) for name in np.unique(groups[labels == REAL])]
    low = [np.quantile(p[groups == name], MISSED) for name in np.unique(groups[labels == FAKE])]
    high = max(0.5, float(np.quantile(high, SOURCES_WITHIN, method="higher")))
    low = min(0.5, float(np.quantile(low, 1 - FAMILIES_WITHIN, method="lower")))
    return Calibration(calibration.temperature, calibration.bias, low, high)


def _group_weights(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / counts[group]
    for label in (REAL, FAKE):
        weights[labels == label] /= weights[labels == label].sum()
    return weights * len(labels) / 2


def training_moments(embeddings: Embeddings) -> dict[str, Group]:
    """Return the moments of the training views of photos and generated images, except those not TRAINED on."""
    train = embeddings.where(f"view == 'training' and `class` != 'no photo' and {TRAINED}")
    return group_moments(train.features, train.labels, train.groups, train.rows["image"].to_numpy(str))


def scored_views(embeddings: Embeddings) -> Embeddings:
    """Return the evaluation features of each photo and generated image."""
    return embeddings.where("view == 'evaluation' and `class` != 'no photo'")


def train_native(model: Native, embeddings: Embeddings) -> Native:
    """Set head and buffers of `model`, from embeddings by its features: trained on all groups, calibrated on left-out
    ones. Return the model."""
    embeddings = embeddings.where(TRAINED)
    moments = training_moments(embeddings)
    scored = scored_views(embeddings)
    calibration = calibrate_head(left_out_logits(moments, scored), scored.labels, scored.groups)
    weights, bias = fit_head(moments)
    model.head.weight.data.copy_(torch.from_numpy(weights)[None])
    model.head.bias.data.fill_(bias + calibration.bias)
    model.temperature.fill_(calibration.temperature)
    model.limits.copy_(torch.tensor([calibration.low, calibration.high]))
    model.feature_bank.copy_(torch.from_numpy(_bank(embeddings)))
    model.ood_threshold.fill_(_ood_threshold(embeddings))
    model.photo_head.copy_(torch.from_numpy(fit_photo_head(embeddings)))
    return model.eval()


def _bank(embeddings: Embeddings, left_out: tuple[str, ...] = ()) -> np.ndarray:
    """Return BANK_SIZE unit-length features of training views, the same number of each group where it has them."""
    train = embeddings.where("view == 'training' and `class` != 'no photo'")
    rng = np.random.default_rng(0)
    names = [name for name in np.unique(train.groups) if name not in left_out]
    rows = [rng.permutation(np.flatnonzero(train.groups == name)) for name in names]
    chosen = np.concatenate([own[: -(-BANK_SIZE // len(names))] for own in rows])
    features = train.features[np.resize(rng.permutation(chosen), BANK_SIZE)]
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _ood_threshold(embeddings: Embeddings) -> float:
    """Return the kNN distance that a share OOD_RATE of the views of left-out groups exceeds."""
    scored = scored_views(embeddings)
    unit = scored.features / np.linalg.norm(scored.features, axis=1, keepdims=True)
    distance = np.zeros(len(unit))
    for fold in _folds(scored, ()):
        rows = np.isin(scored.groups, fold)
        cosines = unit[rows] @ _bank(embeddings, tuple(fold)).T
        distance[rows] = 1 - np.sort(cosines, axis=1)[:, -NEIGHBOURS]
    return float(np.quantile(distance, 1 - OOD_RATE))


def fit_photo_head(embeddings: Embeddings) -> np.ndarray:
    """Return weights and bias, float32 (2049,), of a score that is above 0 for drawings, text and screenshots.

    Logistic regression on overviews and evaluation views, photos of any origin against packages' images that are no
    photos. The bias lets a share STOPPED of the photos of left-out folds lie above 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shown = embeddings.where("view == 'overview' or (view == 'evaluation' and style == 'photo')")
    no_photo = (shown.rows["class"] == "no photo").to_numpy(int)
    fit = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, class_weight="balanced", max_iter=500))
    folds = GroupKFold(5, shuffle=True, random_state=0)
    images = shown.rows["source"].where(no_photo == 0, shown.rows["image"])
    scores = cross_val_predict(fit, shown.features, no_photo, groups=images, cv=folds, method="decision_function")
    fit.fit(shown.features, no_photo)
    scaler, head = fit[0], fit[1]
    weights = head.coef_[0] / scaler.scale_
    bias = head.intercept_[0] - weights @ scaler.mean_ - np.quantile(scores[no_photo == 0], 1 - STOPPED)
    return np.append(weights, bias).astype(np.float32)


def release_native(name: str, path: Path) -> Path:
    """Train `native` on the committed embeddings, or `native-small` on the images; write it to `path`, and return that.

    Raises UserError if a file that it needs is missing.
    """
    if name == "native":
        model, embeddings = Native(), read_embeddings()
    else:
        model = round_weights(Native(backbone=SMALL, pretrained=True))  # features of the weights as the file has them
        embeddings = collect_embeddings(lambda crops: predict_features(model, crops, normalise=False), name)
    trained = f"view == 'training' and `class` != 'no photo' and {TRAINED}"
    images = embeddings.rows.query(trained)["image"].nunique()
    save_model(
        train_native(model, embeddings),
        path,
        recipe={"head": "linear discriminant analysis over groups", "folds": FOLDS},
        data=f"data/sources without the sources set aside and without GANs, and data/packages: {images:,} images",
        reproducible=f"python -m detector train {name}",
    )
    return path
