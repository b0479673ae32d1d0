"""Decide between REAL, FAKE and abstaining.

The model decides where it is confident, the image is in distribution, and the prediction is stable under small
perturbations. Everywhere else the decision is 'not sure'. One rule serves single images, folders and evaluation.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from detector.core.labels import CLASSES
from detector.data.corruptions import corrupt
from detector.data.decode import open_image
from detector.data.images import to_cifake_format
from detector.data.scorable import prepare
from detector.inference.native import check_stability, predict_native
from detector.inference.predict import predict, predict_logits, predict_ood_scores, probabilities
from detector.inference.prediction import ABSTAIN, PERTURBATIONS, Prediction, describe
from detector.models.base import Detector
from detector.models.native import Native


def predict_image(model: Detector, image: Image.Image | str | Path) -> Prediction:
    """Predict whether one image, of any size, is REAL or FAKE.

    A frame around the image is removed first. An image that is blank or too small is not scored: its prediction has
    only a reason. `choice.choose_model` tells which model an image is for.

    Args:
        image: a Pillow image, or the path of an image file.

    Raises UserError if the file cannot be read as an image, or if the model needs CLIP's encoder and it is missing.
    """
    image = image if isinstance(image, Image.Image) else open_image(Path(image))
    return check_stability(model, first_prediction(model, image))


def first_prediction(model: Detector, image: Image.Image) -> Prediction:
    """Predict as `predict_image` does, without the check of stability where it takes long (`Native`)."""
    image, frame, reason = prepare(image)
    if reason:
        return Prediction(None, float("nan"), reason, frame)
    if isinstance(model, Native):
        return replace(predict_native(model, image), frame=frame)
    pixels = torch.from_numpy(to_cifake_format(image))[None]
    logit = predict_logits(model, pixels)
    (row,) = _decide(model, pixels, logit).to_dict("records")
    label = None if row["label"] == ABSTAIN else row["label"]
    return Prediction(
        **row | {"label": label},
        reason=explain_decision(row),
        frame=frame,
        image=image,
        pixels=pixels,
        logit=logit,
    )


def is_stable(model: Detector, pixels: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Return whether each predicted class stays the same under all PERTURBATIONS: bool (N,).

    Args:
        pixels: uint8 (N, 3, 32, 32).
        probability: P(FAKE) of the unchanged images, (N,).
    """
    predicted = torch.stack([predict(model, corrupt(pixels, name, 1)) >= 0.5 for name in PERTURBATIONS])
    return (predicted == (probability >= 0.5)).all(0)


def decide(model: Detector, pixels: torch.Tensor) -> pd.DataFrame:
    """Decide on each image, uint8 (N, 3, 32, 32): REAL, FAKE or 'not sure', one row an image.

    Returns the columns label ('REAL', 'FAKE' or 'not sure'), probability (P(FAKE)), ood_score, and the rule's three
    conditions confident, in_distribution, stable (bool); see `Prediction`.
    """
    return _decide(model, pixels, predict_logits(model, pixels))


def _decide(model: Detector, pixels: torch.Tensor, logits: torch.Tensor) -> pd.DataFrame:
    """Return the table of `decide`. `logits` (N,) are those of the images."""
    probability, ood_scores = probabilities(logits), predict_ood_scores(model, pixels)
    table = pd.DataFrame({"probability": probability.double().numpy(), "ood_score": ood_scores.double().numpy()})
    confidence = torch.maximum(probability, 1 - probability)
    table["confident"] = (confidence > model.confidence_threshold.item()).numpy()
    table["in_distribution"] = (ood_scores <= model.ood_threshold.item()).numpy()
    table["stable"] = is_stable(model, pixels, probability).numpy()
    predicted = np.array(CLASSES)[(probability >= 0.5).long().numpy()]
    covered = table[["confident", "in_distribution", "stable"]].all(axis=1)
    table.insert(0, "label", np.where(covered, predicted, ABSTAIN))
    return table


def explain_decision(row: Mapping | pd.Series) -> str:
    """Describe a row of `decide` in plain words, with the reason where the model abstains."""
    label = None if row["label"] == ABSTAIN else row["label"]
    return describe(label, row["probability"], in_distribution=row["in_distribution"], confident=row["confident"])
