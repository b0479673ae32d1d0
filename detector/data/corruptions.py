"""Corruptions that images undergo on the internet: compression, blur, resizing, cropping, changes of light.

Each has five severities, fixed before any evaluation, as in Hendrycks and Dietterich 2019 (arXiv 1903.12261).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.data.jpeg import encode_decode

SEVERITIES = range(1, 6)
BILINEAR, BICUBIC = TF.InterpolationMode.BILINEAR, TF.InterpolationMode.BICUBIC


@dataclass(frozen=True)
class Corruption:
    """One corruption type.

    Attributes:
        description: Its name, with the quantity of the severities.
        apply: Maps uint8 (N, 3, S, S) and one of the severities to uint8 (N, 3, S, S).
        severities: From mild to strong.
    """

    description: str
    apply: Callable[[torch.Tensor, float], torch.Tensor]
    severities: tuple[float, float, float, float, float]


def corrupt(pixels: torch.Tensor, name: str, severity: int) -> torch.Tensor:
    """Apply one of CORRUPTIONS to uint8 images (N, 3, S, S) at one of SEVERITIES, 1 to 5."""
    corruption = CORRUPTIONS[name]
    return corruption.apply(pixels, corruption.severities[severity - 1])


def encode(pixels: torch.Tensor, quality: float, codec: str) -> torch.Tensor:
    """Encode and decode images by Pillow's 'JPEG' (4:2:0) or 'WEBP' (lossy) codec, with a quality of 1 to 100."""
    images = [encode_decode(TF.to_pil_image(image), codec, quality=round(quality)) for image in pixels]
    return torch.stack([TF.pil_to_tensor(image) for image in images]) if images else pixels


def blur(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """Apply a Gaussian blur of `sigma` pixels, truncated at 3 sigma."""
    return TF.gaussian_blur(pixels, 2 * int(np.ceil(3 * sigma)) + 1, sigma)


def noise(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """Add Gaussian noise of `sigma` of the value range; the same pixels get the same noise."""
    rng = np.random.default_rng(pixels.numpy().ravel()[:4096])
    noisy = pixels.numpy() + 255 * sigma * rng.standard_normal(pixels.shape, np.float32)
    return torch.from_numpy(noisy.round().clip(0, 255).astype(np.uint8))


def resize(pixels: torch.Tensor, factor: float, interpolation: TF.InterpolationMode) -> torch.Tensor:
    """Downsample to `factor` of the side and upsample again, both with antialiasing."""
    side = pixels.shape[-1]
    small = TF.resize(pixels, [max(1, round(factor * side))] * 2, interpolation, antialias=True)
    return TF.resize(small, [side, side], interpolation, antialias=True)


def resize_lanczos(pixels: torch.Tensor, factor: float) -> torch.Tensor:
    """Downsample to `factor` of the side and upsample again by Pillow's Lanczos filter."""
    side, lanczos = pixels.shape[-1], Image.Resampling.LANCZOS
    small = max(1, round(factor * side))
    images = [TF.to_pil_image(image) for image in pixels]
    resized = [image.resize((small, small), lanczos).resize((side, side), lanczos) for image in images]
    return torch.stack([TF.pil_to_tensor(image) for image in resized])


def crop(pixels: torch.Tensor, factor: float) -> torch.Tensor:
    """Crop the centre, `factor` of the side, and enlarge it bicubically to the old size."""
    side = pixels.shape[-1]
    return TF.resize(TF.center_crop(pixels, [round(factor * side)] * 2), [side, side], BICUBIC, antialias=True)


def _decrease_or_increase(
    pixels: torch.Tensor, amount: float, adjust: Callable[[torch.Tensor, float], torch.Tensor]
) -> torch.Tensor:
    """Adjust the images of even rows by 1 - amount and those of odd rows by 1 + amount."""
    adjusted = pixels.clone()
    adjusted[::2], adjusted[1::2] = adjust(pixels[::2], 1 - amount), adjust(pixels[1::2], 1 + amount)
    return adjusted


def resize_then_jpeg(pixels: torch.Tensor, factor: float) -> torch.Tensor:
    """Resize bilinearly by `factor`, then encode as JPEG with quality 100 x factor."""
    return encode(resize(pixels, factor, BILINEAR), 100 * factor, "JPEG")


QUALITIES, FACTORS, AMOUNTS = (90, 70, 50, 30, 20), (0.9, 0.75, 0.5, 0.35, 0.25), (0.1, 0.2, 0.3, 0.4, 0.5)
CORRUPTIONS = {
    "jpeg": Corruption("JPEG, quality", partial(encode, codec="JPEG"), QUALITIES),
    "webp": Corruption("WebP, quality", partial(encode, codec="WEBP"), QUALITIES),
    "blur": Corruption("Gaussian blur, σ in pixels", blur, (0.5, 0.75, 1, 1.5, 2)),
    "noise": Corruption("Gaussian noise, σ", noise, (0.01, 0.02, 0.04, 0.07, 0.1)),
    "bilinear": Corruption("resized, bilinear, factor", partial(resize, interpolation=BILINEAR), FACTORS),
    "bicubic": Corruption("resized, bicubic, factor", partial(resize, interpolation=BICUBIC), FACTORS),
    "lanczos": Corruption("resized, Lanczos, factor", resize_lanczos, FACTORS),
    "crop": Corruption("centre crop, factor", crop, (0.95, 0.9, 0.8, 0.7, 0.6)),
    "brightness": Corruption("brightness ±", partial(_decrease_or_increase, adjust=TF.adjust_brightness), AMOUNTS),
    "contrast": Corruption("contrast ±", partial(_decrease_or_increase, adjust=TF.adjust_contrast), AMOUNTS),
    "scale_jpeg": Corruption("resized, then JPEG, factor", resize_then_jpeg, (0.9, 0.75, 0.6, 0.5, 0.4)),
}
