"""Class statistics of pixels: mean images, colours and power spectra."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image

from detector.core import files
from detector.core.labels import CLASSES, FAKE, REAL, SIDE
from detector.data.dataset import Images
from detector.data.decode import FORMATS
from detector.data.duplicates import exact_groups
from detector.metrics.intervals import auc_interval

CHUNK = 5000  # images transformed at a time
FREQUENCIES = np.arange(1, SIDE // 2 + 1) / SIDE  # cycles per pixel, of the columns of `radial_spectra`


def first_of_each(images: Images, object_classes: int, count: int) -> dict[str, torch.Tensor]:
    """Return the first `count` images of each object class, for REAL and FAKE: uint8 (count, classes, 3, 32, 32)."""
    first = {}
    for label, name in enumerate(CLASSES):
        own = images.of_class(label)
        rows = [own.pixels[own.object_class == index][:count] for index in range(object_classes)]
        first[name] = torch.stack(rows, dim=1)
    return first


def object_class_means(images: Images, object_classes: int) -> dict[str, torch.Tensor]:
    """Return the mean image of each object class, for REAL and FAKE: float32 (classes, 3, 32, 32) in [0, 1]."""
    means = [mean_images(images[images.object_class == index]) for index in range(object_classes)]
    return {name: torch.stack([mean[name] for mean in means]) / 255 for name in CLASSES}


def mean_images(images: Images) -> dict[str, torch.Tensor]:
    """Return the mean image of REAL and of FAKE, float32 (3, 32, 32) in levels from 0 to 255."""
    means = {}
    for name, pixels in _by_class(images):
        levels = sum(chunk.sum(0) for chunk in pixels.split(CHUNK))  # exact: integers
        means[name] = (levels.double() / len(pixels)).float()
    return means


def brightness(pixels: torch.Tensor) -> torch.Tensor:
    """Return the luma of RGB (..., 3, H, W) as float32 (..., H, W), weighted as in ITU-R BT.601 and JPEG."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (pixels.float() * weights).sum(-3)


def colour_table(images: Images, bins: int = 64) -> pd.DataFrame:
    """Return the histogram of each channel and class: columns channel, class, level (bin centre, 0 to 255), share."""
    tables = []
    for name, pixels in _by_class(images):
        for row, channel in enumerate(("red", "green", "blue")):
            counts = torch.bincount(pixels[:, row].flatten().int(), minlength=256).view(bins, -1).sum(1)
            level = (np.arange(bins) + 0.5) * 256 / bins - 0.5
            share = counts / counts.sum()
            tables.append(pd.DataFrame({"channel": channel, "class": name, "level": level, "share": share}))
    return pd.concat(tables, ignore_index=True)


def power_spectra(pixels: torch.Tensor) -> torch.Tensor:
    """Return the power spectrum of each image's luma: uint8 (N, 3, 32, 32) to float32 (N, 32, 32), in fft2's order.

    The mean is removed and a Hann window applied, because the image border would otherwise add high frequencies.
    """
    luma = brightness(pixels)
    window = torch.hann_window(SIDE, periodic=True)
    luma = (luma - luma.mean((1, 2), keepdim=True)) * window[:, None] * window
    return torch.fft.fft2(luma).abs().square()


def radial_spectra(pixels: torch.Tensor) -> torch.Tensor:
    """Return `power_spectra` averaged over direction, in dB: uint8 (N, 3, 32, 32) to float32 (N, 16).

    Column k averages the frequencies nearest to k + 1 cycles per 32 pixels, up to the Nyquist frequency of 16.
    """
    power = power_spectra(pixels).flatten(1)  # (N, 1024)
    axis = torch.fft.fftfreq(SIDE) * SIDE
    radius = torch.hypot(axis[:, None], axis).round().long().flatten()  # (1024,)
    rings = F.one_hot(radius.clamp(max=17), 18)[:, 1:17].float()
    return 10 * torch.log10(power @ rings / rings.sum(0) + 1e-6)


def mean_spectra(images: Images) -> dict[str, torch.Tensor]:
    """Return the mean power spectrum of REAL and of FAKE, in dB: float32 (32, 32), frequency zero at [16, 16]."""
    means = {}
    for name, pixels in _by_class(images):
        power = sum(power_spectra(chunk).sum(0, dtype=torch.float64) for chunk in pixels.split(CHUNK))
        means[name] = torch.fft.fftshift(10 * torch.log10(power / len(pixels) + 1e-6)).float()
    return means


def spectrum_differences(images: Images, names: Sequence[str]) -> pd.DataFrame:
    """Return the median radial spectrum of FAKE minus that of REAL, in dB.

    A row for each object class in `names`, a column for each frequency (cycles per pixel).
    """
    columns = [f"{frequency:.2f}" for frequency in FREQUENCIES]
    frame = pd.DataFrame(_chunked_spectra(images.pixels), columns=columns)
    medians = frame.groupby([images.object_class.numpy(), images.labels.numpy()]).median()
    difference = medians.xs(FAKE, level=1) - medians.xs(REAL, level=1)
    return difference.rename(index=dict(enumerate(names))).rename_axis(index="object class", columns="frequency")


def spectrum_table(images: Images) -> pd.DataFrame:
    """Return quartiles of the radial spectra: columns frequency (cycles per pixel), class, low, median, high (dB)."""
    tables = []
    for name, pixels in _by_class(images):
        low, median, high = np.quantile(_chunked_spectra(pixels), [0.25, 0.5, 0.75], axis=0)
        columns = {"frequency": FREQUENCIES, "class": name, "low": low, "median": median, "high": high}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def check_class_order(images: Images) -> str:
    """Return a sentence on the order of the classes; it is a warning if REAL and FAKE appear to be swapped.

    Stable Diffusion's upsampling leaves more power near the Nyquist frequency than CIFAR-10's photos have there.
    """
    power = _chunked_spectra(images.pixels)[:, FREQUENCIES > 0.45].mean(1)
    auc, low, high = auc_interval(images.labels.numpy(), power)
    found = f"AUC of the power above 0.45 cycles per pixel: {auc:.3f} [{low:.3f}, {high:.3f}]."
    if high < 0.5:
        return f"Warning: {found} FAKE images have less than REAL images. Check that REAL and FAKE are not swapped."
    return f"{found} The classes {'are' if low > 0.5 else 'may not be'} in the expected order."


def describe_sources(images: Images, reference: Images) -> pd.DataFrame:
    """Return statistics of each source in `images`, which `load_unseen` returns, after those of `reference`.

    Rows are 'REAL/reference', 'FAKE/reference', then 'REAL/<source>' and 'FAKE/<source>'. Columns:

    - class, images (their number);
    - size (pixels): of the smallest and the largest stored image, before it was resized, from the files' headers;
    - red, green, blue: mean of the channel, in levels from 0 to 255;
    - standard deviation: of the luma over all pixels, in levels;
    - high frequencies (dB): power above a quarter cycle per pixel of the median image, relative to 'REAL/reference';
    - duplicates: images with a pixel-identical duplicate in the same source.
    """
    level = _high_frequencies(reference.of_class(REAL))
    rows = {}
    for label, name in enumerate(CLASSES):
        rows[f"{name}/reference"] = _describe(reference.of_class(label), name, f"{SIDE}×{SIDE}", level)
    for (label, source), own in images.by_source().items():
        sizes = _sizes([files.UNSEEN_DIR.parent / file for file in own.files])
        rows[f"{CLASSES[label]}/{source}"] = _describe(own, CLASSES[label], sizes, level)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("source")


def _describe(images: Images, class_name: str, sizes: str, level: float) -> dict[str, object]:
    red, green, blue = mean_images(images)[class_name].mean((1, 2)).tolist()
    luma = torch.cat([brightness(chunk) for chunk in images.pixels.split(CHUNK)])
    return {
        "class": class_name,
        "images": len(images),
        "size (pixels)": sizes,
        "red": red,
        "green": green,
        "blue": blue,
        "standard deviation": float(luma.std(correction=0)),
        "high frequencies (dB)": _high_frequencies(images) - level,
        "duplicates": int(pd.Series(exact_groups(images.pixels)).duplicated(keep=False).sum()),
    }


def _sizes(paths: Sequence[Path]) -> str:
    """Return the size of the image with the fewest and with the most pixels: '32×32', or '64×48 to 512×512'."""
    sizes = []
    for path in paths:
        with Image.open(path, formats=FORMATS) as image:
            sizes.append(image.size)
    sizes.sort(key=lambda size: (size[0] * size[1], size))
    smallest, largest = (f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
    return smallest if smallest == largest else f"{smallest} to {largest}"


def _high_frequencies(images: Images) -> float:
    """Return the mean power above a quarter cycle per pixel, in dB, of the median image."""
    return float(np.median(_chunked_spectra(images.pixels)[:, FREQUENCIES > 0.25].mean(1)))


def _by_class(images: Images) -> Iterator[tuple[str, torch.Tensor]]:
    for label, name in enumerate(CLASSES):
        yield name, images.pixels[images.labels == label]


def _chunked_spectra(pixels: torch.Tensor) -> np.ndarray:
    return torch.cat([radial_spectra(chunk) for chunk in pixels.split(CHUNK)]).numpy()
