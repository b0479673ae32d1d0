"""What happens to pictures on their way to a person: compressed, blurred, scaled, cut, lit otherwise.

The kinds and five severities of each are fixed beforehand, as by Hendrycks and Dietterich 2019 (arXiv 1903.12261). The
test meets them step by step; a training may meet those that it is allowed to, at any severity between.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

GROUP = 16  # pictures of a batch that are corrupted alike


def encode(pixels: torch.Tensor, quality: float, codec: str) -> torch.Tensor:
    """Through a file of Pillow's `codec`, 'JPEG' (4:2:0) or 'WEBP' (lossy), of that quality."""
    return torch.stack([_encode(picture, round(quality), codec) for picture in pixels])


def _encode(picture: torch.Tensor, quality: int, codec: str) -> torch.Tensor:
    stream = io.BytesIO()
    TF.to_pil_image(picture).save(stream, codec, quality=quality)
    return TF.pil_to_tensor(Image.open(stream).convert("RGB"))


def blur(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian, of `sigma` pixels, cut off at three of them."""
    return TF.gaussian_blur(pixels, 2 * int(np.ceil(3 * sigma)) + 1, sigma)


def noise(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian, independent in each value, of `sigma` of the range; the same for the same pictures."""
    rng = np.random.default_rng(pixels.numpy().ravel()[:4096])
    noisy = pixels.numpy() + 255 * sigma * rng.standard_normal(pixels.shape, np.float32)
    return torch.from_numpy(noisy.round().clip(0, 255).astype(np.uint8))


def scale(pixels: torch.Tensor, factor: float, filter_: TF.InterpolationMode) -> torch.Tensor:
    """Down to `factor` of the side and up again, by the same filter, without aliases."""
    side = pixels.shape[-1]
    small = TF.resize(pixels, [max(1, round(factor * side))] * 2, filter_, antialias=True)
    return TF.resize(small, [side, side], filter_, antialias=True)


def scale_lanczos(pixels: torch.Tensor, factor: float) -> torch.Tensor:
    """The same by Pillow's Lanczos filter."""
    side, lanczos = pixels.shape[-1], Image.Resampling.LANCZOS
    small = max(1, round(factor * side))
    pictures = [TF.to_pil_image(picture) for picture in pixels]
    scaled = [picture.resize((small, small), lanczos).resize((side, side), lanczos) for picture in pictures]
    return torch.stack([TF.pil_to_tensor(picture) for picture in scaled])


def crop(pixels: torch.Tensor, factor: float) -> torch.Tensor:
    """The middle, `factor` of the side, enlarged bicubically to the old size."""
    side = pixels.shape[-1]
    return TF.resize(TF.center_crop(pixels, [round(factor * side)] * 2), [side, side], BICUBIC, antialias=True)


def _both_ways(
    pixels: torch.Tensor, amount: float, adjust: Callable[[torch.Tensor, float], torch.Tensor]
) -> torch.Tensor:
    """Every second picture adjusted by 1 - amount, the others by 1 + amount."""
    adjusted = pixels.clone()
    adjusted[::2], adjusted[1::2] = adjust(pixels[::2], 1 - amount), adjust(pixels[1::2], 1 + amount)
    return adjusted


def scale_then_jpeg(pixels: torch.Tensor, factor: float) -> torch.Tensor:
    """Down and up, bilinearly, by `factor`, then through a JPEG of quality 100 x factor."""
    return encode(scale(pixels, factor, BILINEAR), 100 * factor, "JPEG")


@dataclass(frozen=True)
class Corruption:
    """One kind: its name in words, what it does to uint8 (N, 3, S, S), and five severities, from mild to strong.

    `often` is how often a training draws it, relative to the others: about the errors in a hundred that `robust` made
    of its strongest on validation. 0 keeps it out of training, to show whether what was learnt carries over.
    """

    words: str
    apply: Callable[[torch.Tensor, float], torch.Tensor]
    severities: tuple[float, float, float, float, float]
    often: float = 0


QUALITIES, FACTORS, AMOUNTS = (90, 70, 50, 30, 20), (0.9, 0.75, 0.5, 0.35, 0.25), (0.1, 0.2, 0.3, 0.4, 0.5)
BILINEAR, BICUBIC = TF.InterpolationMode.BILINEAR, TF.InterpolationMode.BICUBIC
CORRUPTIONS = {
    "jpeg": Corruption("JPEG, quality", partial(encode, codec="JPEG"), QUALITIES, 4),
    "webp": Corruption("WebP, quality", partial(encode, codec="WEBP"), QUALITIES),
    "blur": Corruption("blur, σ in pixels", blur, (0.5, 0.75, 1, 1.5, 2), 4.5),
    "noise": Corruption("noise, σ", noise, (0.01, 0.02, 0.04, 0.07, 0.1), 2.5),
    "bilinear": Corruption("scaled, bilinear", partial(scale, filter_=BILINEAR), FACTORS, 6),
    "bicubic": Corruption("scaled, bicubic", partial(scale, filter_=BICUBIC), FACTORS, 6),
    "lanczos": Corruption("scaled, Lanczos", scale_lanczos, FACTORS),
    "crop": Corruption("cut to the middle", crop, (0.95, 0.9, 0.8, 0.7, 0.6), 7.5),
    "brightness": Corruption("brightness ±", partial(_both_ways, adjust=TF.adjust_brightness), AMOUNTS, 2.5),
    "contrast": Corruption("contrast ±", partial(_both_ways, adjust=TF.adjust_contrast), AMOUNTS),
    "scale_jpeg": Corruption("scaled, then JPEG", scale_then_jpeg, (0.9, 0.75, 0.6, 0.5, 0.4), 5),
}
TRAINED = [corruption for corruption in CORRUPTIONS.values() if corruption.often]
OFTEN = np.array([corruption.often for corruption in TRAINED])


def corrupt(pixels: torch.Tensor, name: str, step: int) -> torch.Tensor:
    """Uint8 pictures (N, 3, S, S) by a kind of CORRUPTIONS at severity `step`, 1 to 5."""
    return CORRUPTIONS[name].apply(pixels, CORRUPTIONS[name].severities[step - 1])


def corrupt_some(pixels: torch.Tensor, share: float, rng: np.random.Generator) -> torch.Tensor:
    """A copy of uint8 (N, 3, S, S) in which a share of the pictures went through one or two of the TRAINED kinds.

    Groups of sixteen neighbours are corrupted alike. Hard kinds are drawn more often than others, and severities, from
    each kind's range, the more often the stronger. The same state of `rng` gives the same pictures.
    """
    return torch.cat([_draw_corruptions(group, share, rng) for group in pixels.split(GROUP)])


def _draw_corruptions(group: torch.Tensor, share: float, draw: np.random.Generator) -> torch.Tensor:
    if draw.random() >= share:
        return group
    for kind in draw.choice(len(TRAINED), size=draw.integers(1, 3), replace=False, p=OFTEN / OFTEN.sum()):
        mildest, *_, strongest = TRAINED[kind].severities
        group = TRAINED[kind].apply(group, mildest + np.sqrt(draw.random()) * (strongest - mildest))
    return group
