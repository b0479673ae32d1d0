"""What a verdict rests on, as pictures with a sentence each."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from detector.cifake import CLASSES
from detector.explanation import band_evidence, integrated_gradients
from detector.explanation_figures import band_bars, figure_image, map_over, parts_over
from detector.models import Detector
from detector.pictures import PARTS_OF, centre_square
from detector.prediction import predict

PLACES = [["upper left", "upper middle", "upper right"], ["left", "middle", "right"],
          ["lower left", "lower middle", "lower right"]]  # fmt: skip
SCALES = [  # of detail, by the least upper edge of the band, in cycles per pixel
    (3 / 8, "finest detail, that of single pixels"),
    (1 / 4, "fine detail"),
    (1 / 8, "middling detail"),
    (0, "coarse shapes"),
]


def explain(model: Detector, views: torch.Tensor) -> tuple[Image.Image, str, Image.Image, str]:
    """What speaks for the likelier side of a picture: a map and bands of frequencies, each with a reading.

    Of the `views` of `views_of` only the whole is looked at, and the readings say so where there are parts: the side is
    then the whole's, and not always that of the verdict.
    """
    whole = views[:1]
    (map_,) = integrated_gradients(model, whole)
    evidence = band_evidence(model, whole).iloc[0]
    side = CLASSES[int(predict(model, whole)[0] >= 0.5)]  # also where there is no verdict
    of = f"Of the whole by itself, which looks {side}: red" if len(views) > 1 else "Red"
    places = F.adaptive_avg_pool2d(map_[None].clamp(min=0), 3)[0]
    row, column = divmod(int(places.argmax()), 3)
    most = f"most comes from the {PLACES[row][column]}" if places.max() > 0 else "no place by itself speaks for it"
    scale = next(words for least, words in SCALES if evidence.idxmax() > least)
    rests = f"most rests on the {scale}" if evidence.max() > 0 else "no band by itself speaks for it"
    return (
        figure_image(map_over(whole[0], map_)),
        f"**Where it comes from.** {of} speaks for {side}, blue against it; {most}.",
        figure_image(band_bars(evidence)),
        f"**In which detail.** The bars tell what {side} loses without a band; {rests}.",
    )


def explain_parts(model: Detector, parts: torch.Tensor, image: Image.Image) -> tuple[Image.Image | None, str]:
    """Which of an image's nine `parts` look made, a map with a reading; nothing where it is too small to have any."""
    if not len(parts):
        return None, ""
    probs = predict(model, parts).view(3, 3)
    row, column = divmod(int(probs.argmax()), 3)
    square = torch.from_numpy(np.array(centre_square(image, PARTS_OF))).permute(2, 0, 1)
    return (
        figure_image(parts_over(square, probs)),
        "**Part by part.** Red parts look FAKE by themselves, blue ones REAL; the most FAKE is the "
        f"{PLACES[row][column]}, with P(FAKE) {probs.max():.0%}, the least has {probs.min():.0%}.",
    )
