"""Convert images to CIFAKE's format: 32x32 RGB through CIFAKE's JPEG settings."""

import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as TF

from detector.core.labels import SIDE
from detector.data.decode import to_rgb
from detector.data.jpeg import encode_decode


def to_cifake_format(image: Image.Image) -> torch.Tensor:
    """Convert an image to CIFAKE's format: its centre square at 32x32 through CIFAKE's JPEG settings.

    The square is resized by a box filter, or bicubically where the image is smaller. Size and codec are then no
    shortcut features (Grommelt et al. 2024, arXiv 2403.17608).

    Returns uint8 (3, 32, 32).
    """
    method = Image.Resampling.BOX if min(image.size) >= SIDE else Image.Resampling.BICUBIC
    square = ImageOps.fit(to_rgb(image), (SIDE, SIDE), method)
    return TF.pil_to_tensor(encode_decode(square)).contiguous()
