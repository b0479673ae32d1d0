"""A small set made on the spot, so that the report and the tests run where CIFAKE cannot be had.

REAL are 32x32 crops, at four scales, of the two photographs that scikit-learn ships (a Chinese temple and a
flower); FAKE are such crops that went through a small fixed decoder: halved, then doubled by a transposed
convolution with a fixed kernel, as a generator's last layer does. Both end with CIFAKE's JPEG settings. What a
detector scores here says nothing about CIFAKE.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_images

from detector.decoding import jpeg_round_trip

SUBJECTS = ("temple", "flower")
SIDES = (32, 48, 64, 96)  # of the crop in the photograph, in pixels, before it is brought to 32x32
# set -> (columns of the 640 that its crops come from, number of crops); no two sets share a pixel
REGIONS = {
    "train": ((0, 336), 6000),
    "validation": ((336, 432), 1000),
    "calibration": ((432, 528), 1000),
    "test": ((528, 640), 2000),
}


def make_standin(seed: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    """The sets of REGIONS, each {'pixels': uint8 (N, 3, 32, 32), 'labels': int64 (N,), 'subjects': int64 (N,)}.

    Labels are 0 REAL, 1 FAKE, half of each; subjects index SUBJECTS. The same seed gives the same bytes.
    """
    rng = np.random.default_rng(seed)
    photographs = [Image.fromarray(array) for array in load_sample_images().images]
    return {name: _make_set(photographs, columns, count, rng) for name, (columns, count) in REGIONS.items()}


def _make_set(photographs: list, columns: tuple[int, int], count: int, rng: np.random.Generator) -> dict:
    labels = torch.arange(count) % 2
    subjects = torch.from_numpy(rng.integers(len(photographs), size=count))
    crops = np.stack([_crop(photographs[subject], columns, rng) for subject in subjects])
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2)  # (N, 32, 32, 3) -> (N, 3, 32, 32)
    pixels = torch.where(labels.bool()[:, None, None, None], decode(pixels), pixels)
    encoded = [jpeg_round_trip(Image.fromarray(image)) for image in pixels.permute(0, 2, 3, 1).numpy()]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in encoded])).permute(0, 3, 1, 2)
    return {"pixels": pixels.contiguous(), "labels": labels, "subjects": subjects}


def _crop(photograph: Image.Image, columns: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One square of the photograph within `columns`, brought to 32x32: uint8 (32, 32, 3)."""
    side = int(rng.choice(SIDES))
    left = int(rng.integers(columns[0], columns[1] - side + 1))
    top = int(rng.integers(photograph.height - side + 1))
    crop = photograph.crop((left, top, left + side, top + side))
    return np.asarray(crop.resize((32, 32), Image.Resampling.BOX))


def decode(pixels: torch.Tensor) -> torch.Tensor:
    """The fixed decoder: uint8 (N, 3, 32, 32) to the same, halved and doubled again by a transposed convolution.

    Its 4x4 kernel gives neighbouring pixels unequal weight, which leaves a checkerboard, as in Odena et al. 2016
    (distill.pub/2016/deconv-checkerboard).
    """
    tap = torch.tensor([0.25, 0.85, 0.85, 0.05])  # even pixels get 0.25 + 0.85 = 1.1, odd ones 0.85 + 0.05 = 0.9
    kernel = torch.outer(tap, tap).expand(3, 1, 4, 4)
    code = F.avg_pool2d(pixels.float(), 2)  # (N, 3, 16, 16)
    code = F.pad(code, (1, 1, 1, 1), mode="replicate")  # (N, 3, 18, 18)
    image = F.conv_transpose2d(code, kernel, stride=2, padding=3, groups=3)  # (N, 3, 32, 32)
    return image.round().clamp(0, 255).to(torch.uint8)
