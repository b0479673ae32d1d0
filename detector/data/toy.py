"""The toy dataset: a small set made locally, so that the report and the tests run without CIFAKE.

REAL images are 32x32 crops, at four scales, of the two photos in scikit-learn (a temple and a flower). FAKE images are
crops of the same photos that went through a small fixed decoder: downsampled by two, then upsampled by a transposed
convolution with a fixed kernel, as in a generator's last layer. Both classes end with CIFAKE's JPEG settings. Scores on
the toy dataset do not transfer to CIFAKE.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from detector.data.jpeg import encode_decode

OBJECT_CLASSES = ("temple", "flower")
SIDES = (32, 48, 64, 96)  # sides of a crop in the photo, in pixels, before it is resized to 32x32
# set -> (columns of the photo, 640 wide, that its crops come from; number of crops); no two sets share a pixel
REGIONS = {
    "train": ((0, 336), 6000),
    "validation": ((336, 432), 1000),
    "calibration": ((432, 528), 1000),
    "test": ((528, 640), 2000),
}


def make_toy(seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """Make the sets of REGIONS; the same seed gives the same bytes.

    Returns, for each set, 'pixels', uint8 (N, 3, 32, 32), 'labels', int64 (N,), half of each class, and 'object_class',
    int64 (N,), an index into OBJECT_CLASSES.
    """
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    photos = [Image.fromarray(array) for array in load_sample_images().images]
    return {name: _make_set(photos, columns, count, rng) for name, (columns, count) in REGIONS.items()}


def _make_set(
    photos: list[Image.Image], columns: tuple[int, int], count: int, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    labels = torch.arange(count) % 2
    object_class = torch.from_numpy(rng.integers(len(photos), size=count))
    crops = np.stack([_crop(photos[index], columns, rng) for index in object_class])
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2)  # (N, 32, 32, 3) -> (N, 3, 32, 32)
    pixels = torch.where(labels.bool()[:, None, None, None], decode(pixels), pixels)
    encoded = [encode_decode(Image.fromarray(image)) for image in pixels.permute(0, 2, 3, 1).numpy()]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in encoded])).permute(0, 3, 1, 2)
    return {"pixels": pixels.contiguous(), "labels": labels, "object_class": object_class}


def _crop(photo: Image.Image, columns: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a random square of the photo within `columns`, resized to 32x32: uint8 (32, 32, 3)."""
    side = int(rng.choice(SIDES))
    left = int(rng.integers(columns[0], columns[1] - side + 1))
    top = int(rng.integers(photo.height - side + 1))
    crop = photo.crop((left, top, left + side, top + side))
    return np.asarray(crop.resize((32, 32), Image.Resampling.BOX))


def decode(pixels: torch.Tensor) -> torch.Tensor:
    """Apply the fixed decoder to uint8 (N, 3, 32, 32): downsample by two, then upsample by a transposed convolution.

    Its 4x4 kernel weights neighbouring pixels unequally, which leaves a checkerboard (Odena et al. 2016,
    distill.pub/2016/deconv-checkerboard).
    """
    tap = torch.tensor([0.25, 0.85, 0.85, 0.05])  # even pixels get 0.25 + 0.85 = 1.1, odd ones 0.85 + 0.05 = 0.9
    kernel = torch.outer(tap, tap).expand(3, 1, 4, 4)
    code = F.avg_pool2d(pixels.float(), 2)  # (N, 3, 16, 16)
    code = F.pad(code, (1, 1, 1, 1), mode="replicate")  # (N, 3, 18, 18)
    image = F.conv_transpose2d(code, kernel, stride=2, padding=3, groups=3)  # (N, 3, 32, 32)
    return image.round().clamp(0, 255).to(torch.uint8)
