"""Choose the model that an image is for, by its size: the one documented rule."""

from collections.abc import Mapping

from PIL import Image

from detector.core import files
from detector.core.console import UserError
from detector.data.scorable import NATIVE_SIDE
from detector.models.base import Detector
from detector.models.encoder import MISSING

AUTOMATIC = "automatic"
NATIVE, SMALL, CIFAKE = "native", "native-small", "transfer"


def choose_model(models: Mapping[str, Detector], image: Image.Image, wanted: str = AUTOMATIC) -> tuple[str, str]:
    """Return the name of the model for an image, and how it was chosen, in a sentence.

    `wanted` is a model's name, or AUTOMATIC. Then images with a short side of at least NATIVE_SIDE pixels are for
    `native`, or for `native-small` where CLIP's encoder is missing. Smaller ones are for `transfer`, which predicts
    only where the image resembles CIFAKE's.

    Raises UserError if no model has the wanted name.
    """
    if wanted != AUTOMATIC:
        if wanted not in models:
            raise UserError(f"No model has the name {wanted!r}. Choose one of {', '.join([AUTOMATIC, *models])}.")
        return wanted, f"You chose the model '{wanted}'."
    short = min(image.size)
    if short < NATIVE_SIDE and CIFAKE in models:
        return CIFAKE, f"The short side has {short} pixels, fewer than {NATIVE_SIDE}, so the model is '{CIFAKE}'."
    at_least = f"The short side has at least {NATIVE_SIDE} pixels, so the model is"
    if NATIVE in models and files.ENCODER.exists():
        return NATIVE, f"{at_least} '{NATIVE}', which scores crops at native resolution."
    if SMALL in models:
        return SMALL, f"{at_least} '{SMALL}'. {MISSING}"
    name = next(iter(models))
    return name, f"The model is '{name}', the only one that is available."
