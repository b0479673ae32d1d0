"""Convert images to CIFAKE's format, 32x32 RGB through CIFAKE's JPEG settings, and cut crops from larger ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as TF

from detector.core.labels import SIDE
from detector.data.decode import to_rgb
from detector.data.jpeg import encode_decode

CROP_GRID_SIDE, CROP_STRIDE = 64, 16  # an image is resized to this side before crops are taken at this stride


@dataclass(frozen=True)
class CroppedImages:
    """N full images, and crops of some of them at twice the resolution.

    Attributes:
        full: uint8 (N, 3, 32, 32).
        crops: uint8 (M, 3, 32, 32).
        owner: int64 (M,), the row in `full` of the image that each crop is from; ascending.
    """

    full: torch.Tensor
    crops: torch.Tensor
    owner: torch.Tensor

    def __len__(self) -> int:
        return len(self.full)

    @classmethod
    def without_crops(cls, pixels: torch.Tensor) -> "CroppedImages":
        """Return images of which only the full image is used."""
        return cls(pixels, pixels[:0], torch.zeros(0, dtype=torch.int64))

    @classmethod
    def join(cls, items: Sequence["CroppedImages"]) -> "CroppedImages":
        """Return the images of all items, one item after the other."""
        starts = np.cumsum([0, *map(len, items)])[:-1].tolist()
        owner = torch.cat([item.owner + start for item, start in zip(items, starts, strict=True)])
        return cls(torch.cat([item.full for item in items]), torch.cat([item.crops for item in items]), owner)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "CroppedImages":
        """Apply a function of pixels to the full images and to the crops, each only where there are any."""
        full, crops = (function(pixels) if len(pixels) else pixels for pixels in (self.full, self.crops))
        return CroppedImages(full, crops, self.owner)


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """Return the RGB centre square, resized to `side` by a box filter, or bicubically where the image is smaller."""
    method = Image.Resampling.BOX if min(image.size) >= side else Image.Resampling.BICUBIC
    return ImageOps.fit(to_rgb(image), (side, side), method)


def to_cifake_format(image: Image.Image) -> torch.Tensor:
    """Convert an image to CIFAKE's format: its centre square at 32x32 through CIFAKE's JPEG settings.

    Size and codec are then no shortcut features (Grommelt et al. 2024, arXiv 2403.17608).

    Returns uint8 (3, 32, 32).
    """
    return _compress(centre_crop(image, SIDE))


def _compress(image: Image.Image) -> torch.Tensor:
    return TF.pil_to_tensor(encode_decode(image)).contiguous()


def crop_image(image: Image.Image) -> CroppedImages:
    """Convert one image to CIFAKE's format, and its crops too.

    An image whose short side has at least 64 pixels gives nine crops, row by row: its centre square is resized to
    64x64, and the crops are the 32x32 squares at a stride of 16. A smaller image gives none.
    """
    image = to_rgb(image)
    full = CroppedImages.without_crops(to_cifake_format(image)[None])
    if min(image.size) < CROP_GRID_SIDE:
        return full
    square, corners = centre_crop(image, CROP_GRID_SIDE), range(0, CROP_GRID_SIDE - SIDE + 1, CROP_STRIDE)
    boxes = [(left, top, left + SIDE, top + SIDE) for top in corners for left in corners]
    crops = torch.stack([_compress(square.crop(box)) for box in boxes])
    return CroppedImages(full.full, crops, torch.zeros(len(crops), dtype=torch.int64))
