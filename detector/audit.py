"""What is in the data: mean pictures, colours, spectra."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from detector.cifake import CLASSES
from detector.data import Images


def one_of_each(images: Images, subject_names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The first picture of each subject, for each class: uint8 (subjects, 3, 32, 32)."""
    first = {}
    for label, name in enumerate(CLASSES):
        own = images[(images.labels == label).numpy()]
        rows = [int((own.subjects == subject).nonzero()[0, 0]) for subject in range(len(subject_names))]
        first[name] = own.pixels[rows]
    return first


def mean_pixels(images: Images) -> dict[str, torch.Tensor]:
    """Each class's mean picture, float32 (3, 32, 32) in levels of 0 to 255."""
    means = {}
    for label, name in enumerate(CLASSES):
        chosen = images.pixels[images.labels == label]
        means[name] = (chosen.sum(0, dtype=torch.float64) / len(chosen)).float()
    return means


def brightness(pixels: torch.Tensor) -> torch.Tensor:
    """Luma of RGB (..., 3, H, W) by ITU-R BT.601, the weights of JPEG: (..., H, W) float32."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (pixels.float() * weights).sum(-3)


def radial_spectra(pixels: torch.Tensor) -> torch.Tensor:
    """Power of each picture's brightness by spatial frequency, in dB: uint8 (N, 3, 32, 32) to float32 (N, 16).

    Column k averages the 2-D power spectrum (Hann window, mean removed) over frequencies nearest to k + 1 cycles per
    32 pixels, up to the Nyquist frequency of 16.
    """
    luma = brightness(pixels)
    window = torch.hann_window(32, periodic=True)
    luma = (luma - luma.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.fft2(luma).abs().square().flatten(1)  # (N, 1024)
    axis = torch.fft.fftfreq(32) * 32
    ring = torch.hypot(axis[:, None], axis).round().long().flatten()  # (1024,)
    rings = torch.nn.functional.one_hot(ring.clamp(max=17), 18)[:, 1:17].float()
    return 10 * torch.log10(power @ rings / rings.sum(0) + 1e-6)


def spectrum_table(images: Images) -> pd.DataFrame:
    """Quartiles of the radial spectra by class: columns frequency (cycles per pixel), class, low, median, high (dB)."""
    parts = []
    for label, name in enumerate(CLASSES):
        spectra = radial_spectra(images.pixels[images.labels == label]).numpy()
        low, median, high = np.quantile(spectra, [0.25, 0.5, 0.75], axis=0)
        frequency = np.arange(1, 17) / 32
        parts.append(pd.DataFrame({"frequency": frequency, "class": name, "low": low, "median": median, "high": high}))
    return pd.concat(parts, ignore_index=True)
