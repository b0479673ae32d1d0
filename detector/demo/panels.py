"""Evidence panels below a prediction, each an image with a caption."""

import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.core.labels import CLASSES
from detector.data.images import CROP_GRID_SIDE, centre_crop
from detector.evaluation.explanation import band_evidence, integrated_gradients
from detector.figures import explanation as figures
from detector.inference.decision import Prediction
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
    """Return three panels for `predict_image`'s prediction: evidence by place, by level of detail, and by crop.

    Place and detail refer to the full image, whose class may differ from that of the prediction if there are crops.
    Without crops the last panel is empty.
    """
    has_crops = len(prediction.crop_probabilities) > 0
    scored = "the full image" if has_crops else "the image"
    return [
        _map_panel(model, prediction, scored),
        _detail_panel(model, prediction, scored),
        crop_panel(prediction.crop_probabilities, prediction.image) if has_crops else (None, ""),
    ]


def _map_panel(model: Detector, prediction: Prediction, scored: str) -> Panel:
    full, fake = prediction.images.full, prediction.full_logit.item() >= 0
    (evidence,) = integrated_gradients(model, full, logits=prediction.full_logit)  # positive: supports the class
    places = F.adaptive_avg_pool2d(evidence[None].clamp(min=0), 3)
    most = f"most evidence comes from the {PLACES[places.argmax()]}" if places.max() > 0 else "no region supports it"
    return (
        figures.figure_image(figures.map_over(full[0], evidence if fake else -evidence)),
        "**Evidence by place.** Red regions raise the model's score for FAKE, blue regions lower it. "
        f"The model scores {scored} as {CLASSES[fake]}; {most}.",
    )


def _detail_panel(model: Detector, prediction: Prediction, scored: str) -> Panel:
    evidence = band_evidence(model, prediction.images.full, logits=prediction.full_logit).iloc[0]
    class_ = CLASSES[prediction.full_logit.item() >= 0]
    name = next(name for edge, name in DETAIL if evidence.idxmax() > edge)
    most = f"The {name} contributes most" if evidence.max() > 0 else f"No single level of detail supports {class_}"
    return (
        figures.figure_image(figures.band_bars(evidence)),
        f"**Evidence by level of detail.** Each bar shows how far the score of {scored} for {class_} drops without "
        f"one level of detail, from coarse (left) to fine (right). {most}.",
    )


def crop_panel(probabilities: torch.Tensor, image: Image.Image) -> Panel:
    """Return P(FAKE) of an image's nine crops, float32 (9,), shown on the image."""
    square = TF.pil_to_tensor(centre_crop(image, CROP_GRID_SIDE))
    return (
        figures.figure_image(figures.crop_probabilities(square, probabilities)),
        "**P(FAKE) of each crop.** The model scores red crops as FAKE, blue crops as REAL. P(FAKE) is highest at the "
        f"{PLACES[probabilities.argmax()]} ({probabilities.max():.0%}), and lowest at the "
        f"{PLACES[probabilities.argmin()]} ({probabilities.min():.0%}).",
    )
