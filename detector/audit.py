"""What is in the data: mean pictures, colours, spectra."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from detector.cifake import CLASSES
from detector.data import Images


def some_of_each(images: Images, subjects: int, count: int) -> dict[str, torch.Tensor]:
    """The first `count` pictures of each subject, for each class: uint8 (count, subjects, 3, 32, 32)."""
    first = {}
    for label, name in enumerate(CLASSES):
        own = images[(images.labels == label).numpy()]
        first[name] = torch.stack([own.pixels[own.subjects == subject][:count] for subject in range(subjects)], dim=1)
    return first


def subject_means(images: Images, subjects: int) -> dict[str, torch.Tensor]:
    """The mean picture of each subject, for each class: float32 (subjects, 3, 32, 32) in [0, 1]."""
    parts = [mean_pixels(images[(images.subjects == subject).numpy()]) for subject in range(subjects)]
    return {name: torch.stack([part[name] for part in parts]) / 255 for name in CLASSES}


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


def colour_table(images: Images, bins: int = 64) -> pd.DataFrame:
    """How often each level of red, green and blue occurs, in bins: columns channel, class, level (of 255), share."""
    parts = []
    for label, name in enumerate(CLASSES):
        pixels = images.pixels[images.labels == label]
        for row, channel in enumerate(("red", "green", "blue")):
            counts = torch.bincount(pixels[:, row].flatten().int(), minlength=256).view(bins, -1).sum(1)
            level = (np.arange(bins) + 0.5) * 256 / bins - 0.5
            share = counts / counts.sum()
            parts.append(pd.DataFrame({"channel": channel, "class": name, "level": level, "share": share}))
    return pd.concat(parts, ignore_index=True)


def power_spectra(pixels: torch.Tensor) -> torch.Tensor:
    """Power of each picture's brightness by frequency: uint8 (N, 3, 32, 32) to float32 (N, 32, 32), as fft2 orders it.

    The mean is removed and a Hann window laid on, lest the picture's edges look like high frequencies.
    """
    luma = brightness(pixels)
    window = torch.hann_window(32, periodic=True)
    luma = (luma - luma.mean((1, 2), keepdim=True)) * window[:, None] * window
    return torch.fft.fft2(luma).abs().square()


def radial_spectra(pixels: torch.Tensor) -> torch.Tensor:
    """`power_spectra` by spatial frequency alone, in dB: uint8 (N, 3, 32, 32) to float32 (N, 16).

    Column k averages over frequencies nearest to k + 1 cycles per 32 pixels, up to the Nyquist frequency of 16.
    """
    power = power_spectra(pixels).flatten(1)  # (N, 1024)
    axis = torch.fft.fftfreq(32) * 32
    ring = torch.hypot(axis[:, None], axis).round().long().flatten()  # (1024,)
    rings = F.one_hot(ring.clamp(max=17), 18)[:, 1:17].float()
    return 10 * torch.log10(power @ rings / rings.sum(0) + 1e-6)


def mean_spectra(images: Images) -> dict[str, torch.Tensor]:
    """Each class's mean power by frequency, in dB: float32 (32, 32), frequency zero at [16, 16]."""
    means = {}
    for label, name in enumerate(CLASSES):
        chunks = images.pixels[images.labels == label].split(5000)
        power = sum(power_spectra(chunk).sum(0, dtype=torch.float64) for chunk in chunks)
        count = sum(len(chunk) for chunk in chunks)
        means[name] = torch.fft.fftshift(10 * torch.log10(power / count + 1e-6)).float()
    return means


def spectrum_differences(images: Images, names: Sequence[str]) -> pd.DataFrame:
    """Median radial spectrum of FAKE less that of REAL, in dB: a row a subject, a column a frequency (cycles/pixel)."""
    spectra = torch.cat([radial_spectra(chunk) for chunk in images.pixels.split(5000)]).numpy()
    frame = pd.DataFrame(spectra, columns=[f"{k / 32:.2f}" for k in range(1, 17)])
    medians = frame.groupby([images.subjects.numpy(), images.labels.numpy()]).median()
    difference = medians.xs(1, level=1) - medians.xs(0, level=1)
    return difference.rename(index=dict(enumerate(names))).rename_axis(index="subject", columns="frequency")


def spectrum_table(images: Images) -> pd.DataFrame:
    """Quartiles of the radial spectra by class: columns frequency (cycles per pixel), class, low, median, high (dB)."""
    parts = []
    for label, name in enumerate(CLASSES):
        chunks = images.pixels[images.labels == label].split(5000)
        spectra = torch.cat([radial_spectra(chunk) for chunk in chunks]).numpy()
        low, median, high = np.quantile(spectra, [0.25, 0.5, 0.75], axis=0)
        frequency = np.arange(1, 17) / 32
        parts.append(pd.DataFrame({"frequency": frequency, "class": name, "low": low, "median": median, "high": high}))
    return pd.concat(parts, ignore_index=True)
