"""Decide between REAL, FAKE and abstaining.

The model decides where it is confident, the image is in distribution, and the prediction is stable under small
perturbations. Everywhere else the decision is 'not sure'. One rule serves single images, folders and evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from detector.core.labels import CLASSES, SIDE
from detector.data.corruptions import corrupt
from detector.data.decode import open_image, to_rgb
from detector.data.frames import remove_frame
from detector.data.images import CroppedImages, crop_image, to_cifake_format
from detector.inference.predict import predict_logits, predict_ood_scores, probabilities
from detector.models.base import Detector

PERTURBATIONS = ("jpeg", "bicubic", "crop")  # each at severity 1: a stable prediction keeps its class under all
ABSTAIN = "not sure"
NEARLY_CERTAIN = 0.99  # P of the predicted class from which the description says 'almost certainly'
FRAMED_SIDE = 128  # smaller images, such as CIFAKE's, are scored with their borders
BLANK = 1.0  # levels: an image whose values deviate less from their mean shows one colour


@dataclass(frozen=True, eq=False)
class Prediction:
    """The decision on one image, with everything that an explanation of it needs.

    Attributes:
        label: 'REAL' or 'FAKE', or None where the model abstains.
        probability: P(FAKE), from the full image and its crops; nan where the image cannot be scored.
        reason: the decision in words, with the reason where the model abstains.
        frame: what was removed around the image before scoring, in a sentence; empty if nothing was.
        confident: the probability of the predicted class exceeds the model's confidence threshold.
        in_distribution: the OOD score is at most the model's OOD threshold.
        stable: the predicted class stays the same under all PERTURBATIONS.
        ood_score: kNN distance of the full image from the training images, in [0, 2].
        image: the image without its frame, as it was scored.
        images: the scored pixels of this one image: `full` (1, 3, 32, 32) and `crops` (K, 3, 32, 32).
        full_logit: the logit of the full image alone, float32 (1,).
        crop_probabilities: P(FAKE) of each crop, float32 (K,); K is 9 or 0.
    """

    label: str | None
    probability: float
    reason: str
    frame: str = ""
    confident: bool = False
    in_distribution: bool = False
    stable: bool = False
    ood_score: float = float("nan")
    image: Image.Image | None = field(default=None, repr=False)
    images: CroppedImages | None = field(default=None, repr=False)
    full_logit: torch.Tensor | None = field(default=None, repr=False)
    crop_probabilities: torch.Tensor | None = field(default=None, repr=False)


def predict_image(model: Detector, image: Image.Image | str | Path) -> Prediction:
    """Predict whether one image, of any size, is REAL or FAKE.

    A frame around the image is removed first. An image that is blank or too small is not scored: its prediction has
    only a reason.

    Args:
        image: a Pillow image, or the path of an image file.

    Raises UserError if the file cannot be read as an image.
    """
    image = image if isinstance(image, Image.Image) else open_image(Path(image))
    image, frame = remove_frame(image) if min(image.size) >= FRAMED_SIDE else (image, "")
    if reason := _not_scorable(image):
        return Prediction(None, float("nan"), reason, frame)
    images = prepare(model, image)
    table, full_logits, crop_logits = _decide(model, images)
    (row,) = table.to_dict("records")
    label = None if row["label"] == ABSTAIN else row["label"]
    return Prediction(
        **row | {"label": label},
        reason=explain_decision(row),
        frame=frame,
        image=image,
        images=images,
        full_logit=full_logits,
        crop_probabilities=probabilities(crop_logits),
    )


def _not_scorable(image: Image.Image) -> str:
    """Return why an image cannot be scored; empty if it can."""
    if min(image.size) < SIDE:
        return f"too small: {image.width}×{image.height} pixels, where {SIDE}×{SIDE} are needed"
    step = max(1, min(image.size) // 256)
    if np.asarray(to_rgb(image))[::step, ::step].std((0, 1)).max() < BLANK:
        return "blank: the image shows a single colour"
    return ""


def prepare(model: Detector, image: Image.Image) -> CroppedImages:
    """Convert any image to the pixels that the model scores: the full image, with crops if the model uses them."""
    return crop_image(image) if model.crops else CroppedImages.without_crops(to_cifake_format(image)[None])


def _score(model: Detector, images: CroppedImages) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Score each full image and each crop once: combined logits (N,), the full images' (N,) and the crops' (M,).

    Where an image has crops, its combined logit is the mean of the full image's logit and the crops' mean logit.
    """
    logits = predict_logits(model, torch.cat([images.full, images.crops]))
    full, crops = logits.split([len(images.full), len(images.crops)])
    counts = torch.bincount(images.owner, minlength=len(full))
    crop_means = torch.zeros_like(full).index_add(0, images.owner, crops) / counts.clamp(min=1)
    return torch.where(counts > 0, (full + crop_means) / 2, full), full, crops


def is_stable(model: Detector, images: CroppedImages, probability: torch.Tensor) -> torch.Tensor:
    """Return whether each predicted class stays the same under all PERTURBATIONS: bool (N,).

    Args:
        probability: P(FAKE) of the unchanged images, (N,). The perturbations apply to full images and crops alike.
    """
    perturbed = [images.map(lambda pixels, name=name: corrupt(pixels, name, 1)) for name in PERTURBATIONS]
    predicted = torch.stack([probabilities(_score(model, changed)[0]) >= 0.5 for changed in perturbed])
    return (predicted == (probability >= 0.5)).all(0)


def decide(model: Detector, images: CroppedImages | torch.Tensor) -> pd.DataFrame:
    """Decide on each image: REAL, FAKE or 'not sure', one row an image.

    Args:
        images: with crops, or uint8 pixels (N, 3, 32, 32) to score without crops.

    Returns the columns label ('REAL', 'FAKE' or 'not sure'), probability (P(FAKE)), ood_score, and the rule's three
    conditions confident, in_distribution, stable (bool); see `Prediction`.
    """
    cropped = images if isinstance(images, CroppedImages) else CroppedImages.without_crops(images)
    return _decide(model, cropped)[0]


def _decide(model: Detector, images: CroppedImages) -> tuple[pd.DataFrame, torch.Tensor, torch.Tensor]:
    """Return the table of `decide`, the full images' logits (N,) and the crops' logits (M,)."""
    logits, full_logits, crop_logits = _score(model, images)
    probability = probabilities(logits)
    ood_scores = predict_ood_scores(model, images.full)
    table = pd.DataFrame({"probability": probability.double().numpy(), "ood_score": ood_scores.double().numpy()})
    confidence = torch.maximum(probability, 1 - probability)
    table["confident"] = (confidence > model.confidence_threshold.item()).numpy()
    table["in_distribution"] = (ood_scores <= model.ood_threshold.item()).numpy()
    table["stable"] = is_stable(model, images, probability).numpy()
    predicted = np.array(CLASSES)[(probability >= 0.5).long().numpy()]
    covered = table[["confident", "in_distribution", "stable"]].all(axis=1)
    table.insert(0, "label", np.where(covered, predicted, ABSTAIN))
    return table, full_logits, crop_logits


def explain_decision(row: Mapping | pd.Series) -> str:
    """Describe a row of `decide` in plain words, with the reason where the model abstains."""
    predicted = "generated by AI" if row["probability"] >= 0.5 else "a photo"
    if row["label"] != ABSTAIN:
        certain = max(row["probability"], 1 - row["probability"]) >= NEARLY_CERTAIN
        return f"{'almost certainly' if certain else 'probably'} {predicted}"
    if not row["in_distribution"]:
        return f"unlike the images that this model was trained on; possibly {predicted}"
    if not row["confident"]:
        return f"possibly {predicted}, but the model is not confident enough"
    return f"possibly {predicted}, but the prediction changes when the image is slightly altered"
