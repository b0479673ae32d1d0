"""Convert images to CIFAKE's format: 32x32 RGB through CIFAKE's JPEG settings. This needs no PyTorch."""

import numpy as np
from PIL import Image, ImageOps

from detector.core.labels import SIDE
from detector.data.decode import to_rgb
from detector.data.jpeg import encode_decode


def to_array(image: Image.Image) -> np.ndarray:
    """Return the pixels of an RGB image: uint8 (3, H, W)."""
    return np.asarray(image).transpose(2, 0, 1).copy()  # (H, W, 3) -> (3, H, W), contiguous


def to_cifake_format(image: Image.Image) -> np.ndarray:
    """Convert an image to CIFAKE's format: its centre square at 32x32 through CIFAKE's JPEG settings.

    The square is resized by a box filter, or bicubically where the image is smaller. Size and codec are then no
    shortcut features (Grommelt et al. 2024, arXiv 2403.17608).

    Returns uint8 (3, 32, 32).
    """
    method = Image.Resampling.BOX if min(image.size) >= SIDE else Image.Resampling.BICUBIC
    square = ImageOps.fit(to_rgb(image), (SIDE, SIDE), method)
    return to_array(encode_decode(square))
