"""Prepare an image for scoring: remove its frame, and check that it can be scored. This needs no PyTorch."""

import math

import numpy as np
from PIL import Image

from detector.core.labels import SIDE
from detector.data.decode import to_rgb
from detector.data.frames import remove_frame

NATIVE_SIDE = 128  # smaller images are for CIFAKE's models, and are scored with their borders
BLANK = 1.0  # levels: an image whose values deviate less from their mean shows one colour


def prepare(image: Image.Image) -> tuple[Image.Image, str, str]:
    """Return the image without its frame, what was removed, and why it cannot be scored.

    The last two are sentences, empty where nothing was removed and where the image can be scored.
    """
    image, frame = remove_frame(image) if min(image.size) >= NATIVE_SIDE else (image, "")
    return image, frame, _not_scorable(image)


def _not_scorable(image: Image.Image) -> str:
    """Return why an image cannot be scored; empty if it can."""
    if min(image.size) < SIDE:
        return f"too small: {image.width}×{image.height} pixels, where {SIDE}×{SIDE} are needed"
    step = max(1, round(math.sqrt(image.width * image.height) / 256))
    if np.asarray(to_rgb(image))[::step, ::step].std((0, 1)).max() < BLANK:
        return "blank: the image shows a single colour"
    return ""
