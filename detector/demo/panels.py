"""Evidence panels below a prediction, each an image with a caption."""

import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.core.labels import CLASSES
from detector.evaluation.explanation import band_evidence, integrated_gradients
from detector.figures import explanation as figures
from detector.inference.prediction import Prediction
from detector.models.base import Detector

Panel = tuple[Image.Image | None, str]
to_pil = TF.to_pil_image  # of uint8 (3, H, W)
PLACES = ["upper left", "top", "upper right", "left", "centre", "right", "lower left", "bottom", "lower right"]
DETAIL = [  # names of frequency bands, by their smallest upper edge in cycles per pixel
    (3 / 8, "finest detail (single pixels)"),
    (1 / 4, "fine detail"),
    (1 / 8, "medium detail"),
    (0, "coarse shapes"),
]


def evidence_panels(model: Detector, prediction: Prediction) -> list[Panel]:
    """Return two panels for a prediction that was scored.

    They show the crops' scores (the second panel is empty), or, of a model for 32×32 pixels, the evidence by place and
    by level of detail.
    """
    if prediction.crops is not None:
        return [crop_panel(prediction), (None, "")]
    return [_map_panel(model, prediction), _detail_panel(model, prediction)]


def crop_panel(prediction: Prediction) -> Panel:
    """Return P(FAKE) of each crop, shown where it lies in the image."""
    probabilities = prediction.crop_probabilities
    fake = int((probabilities >= 0.5).sum())
    return (
        figures.figure_image(figures.crop_map(prediction.image, prediction.boxes, probabilities.numpy())),
        f"**P(FAKE) of each crop.** The model scored {len(probabilities)} crops. Red crops are nearer to FAKE, blue "
        f"crops to REAL. P(FAKE) is at least 50% in {fake} of them. The mean logit gives the prediction.",
    )


def _map_panel(model: Detector, prediction: Prediction) -> Panel:
    pixels, fake = prediction.pixels, prediction.logit.item() >= 0
    (evidence,) = integrated_gradients(model, pixels, logits=prediction.logit)  # positive: supports the class
    places = F.adaptive_avg_pool2d(evidence[None].clamp(min=0), 3)
    most = f"most evidence comes from the {PLACES[places.argmax()]}" if places.max() > 0 else "no region supports it"
    return (
        figures.figure_image(figures.map_over(pixels[0], evidence if fake else -evidence)),
        "**Evidence by place.** Red regions raise the model's score for FAKE, blue regions lower it. "
        f"The model scores the image as {CLASSES[fake]}; {most}.",
    )


def _detail_panel(model: Detector, prediction: Prediction) -> Panel:
    evidence = band_evidence(model, prediction.pixels, logits=prediction.logit).iloc[0]
    class_ = CLASSES[prediction.logit.item() >= 0]
    name = next(name for edge, name in DETAIL if evidence.idxmax() > edge)
    most = f"The {name} contributes most" if evidence.max() > 0 else f"No single level of detail supports {class_}"
    return (
        figures.figure_image(figures.band_bars(evidence)),
        f"**Evidence by level of detail.** Each bar shows how far the score of the image for {class_} drops without "
        f"one level of detail, from coarse (left) to fine (right). {most}.",
    )
