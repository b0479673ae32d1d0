"""Decide on one image at native resolution: crops, one probability, and the reasons to abstain.

The rule, in this order. An image that shows no photo gets no label. An image whose features are far from those of
the training images is out of distribution. A decision needs P(FAKE) outside the model's two limits and crops that
agree. `check_stability` can later turn a decision into 'not sure', and never the other way.
"""

from dataclasses import replace

import torch
from PIL import Image

from detector.core.labels import CLASSES
from detector.data.corruptions import corrupt
from detector.data.images import to_array
from detector.data.views import overview, scored_crops
from detector.inference.predict import predict_features, predict_logits, probabilities
from detector.inference.prediction import PERTURBATIONS, Prediction, describe
from detector.models.native import Native

AGREEMENT = 0.6  # least share of the crops that lie on the side of the decision
NO_PHOTO = "not a photo: it looks like a drawing, text, a chart or a screenshot, which this model does not judge"


def predict_native(model: Native, image: Image.Image) -> Prediction:
    """Decide on one image by its crops at native resolution. Its stability is not checked yet.

    Args:
        image: of at least 32 pixels on its short side, without a frame.
    """
    views, boxes = scored_crops(image)
    crops = torch.from_numpy(views)
    features = predict_features(model, crops, normalise=False)
    logits = _classify(model, features)
    probability, ood_score = probabilities(logits.mean()).item(), model.knn_distance(features).mean().item()
    low, high = model.limits.tolist()
    agreement = (logits >= 0).float().mean().item() if probability >= high else (logits < 0).float().mean().item()
    confident = (probability >= high or probability <= low) and agreement >= AGREEMENT
    in_distribution = ood_score <= model.ood_threshold.item()
    no_photo = shows_no_photo(model, image)
    label = CLASSES[probability >= high] if confident and in_distribution and not no_photo else None
    description = describe(label, probability, in_distribution=in_distribution, confident=confident)
    return Prediction(
        label,
        probability,
        NO_PHOTO if no_photo else description,
        confident=confident,
        in_distribution=in_distribution,
        stable=None,
        ood_score=ood_score,
        image=image,
        boxes=boxes,
        crops=crops,
        crop_probabilities=probabilities(logits),
    )


def shows_no_photo(model: Native, image: Image.Image) -> bool:
    """Return whether an image is a drawing, text, a chart or a screenshot, by its overview."""
    features = predict_features(model, torch.from_numpy(to_array(overview(image)))[None], normalise=False)
    return bool((model.no_photo_score(features) > 0).item())


@torch.inference_mode()
def _classify(model: Native, features: torch.Tensor) -> torch.Tensor:
    return model.classify(features)


def check_stability(model: Native, prediction: Prediction) -> Prediction:
    """Return the prediction with `stable` set; a decision that is not stable becomes 'not sure'.

    It is stable if P(FAKE) stays on the same side of 1/2 under each of PERTURBATIONS of the crops.
    """
    if prediction.crops is None:
        return prediction
    perturbed = [predict_logits(model, corrupt(prediction.crops, name, 1)).mean() for name in PERTURBATIONS]
    stable = all((logit >= 0).item() == (prediction.probability >= 0.5) for logit in perturbed)
    if stable or prediction.label is None:
        return replace(prediction, stable=stable)
    reason = describe(None, prediction.probability, in_distribution=True, confident=True)
    return replace(prediction, label=None, stable=False, reason=reason)
