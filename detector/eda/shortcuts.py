"""Shortcut features: how well a few numbers per image, without any image content, separate REAL from FAKE.

A CNN has to beat them. The numbers are, for example, the file size, the mean colour or the spectrum. A probe is a
logistic regression on such features, with scikit-learn's default regularisation, fitted on the training set. A linear
probe gives a lower bound for the information in a feature. Nothing is chosen on the test set; we chose the logarithm in
the spectrum and the DCT on validation. Each feature function maps uint8 (N, 3, 32, 32) to float32 (N, features).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.fft import dctn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from detector.core.console import progress
from detector.core.labels import CLASSES
from detector.data.cifake import find_cifake
from detector.data.dataset import Dataset, Images, leak_free_rows
from detector.eda.statistics import brightness, radial_spectra
from detector.metrics.intervals import proportion

CHUNK = 500  # images measured at a time, in about 100 MB
FLAT = 1e-3  # levels: a residual with a smaller standard deviation counts as constant


def mean_colour(pixels: torch.Tensor) -> np.ndarray:
    """Return the mean of red, green and blue, in levels from 0 to 255: float32 (N, 3)."""
    return pixels.float().mean((2, 3)).numpy()


def standard_deviation(pixels: torch.Tensor) -> np.ndarray:
    """Return the standard deviation of red, green and blue over each image, in levels: float32 (N, 3)."""
    return pixels.float().std((2, 3), correction=0).numpy()


def radial_spectrum(pixels: torch.Tensor) -> np.ndarray:
    """Return the power of the luma by spatial frequency, in dB: float32 (N, 17).

    Column k is for frequencies nearest to k cycles per 32 pixels. Columns 1 to 16 are `radial_spectra`; column 0 is the
    power of the mean under the same window, whose sum is 16 x 16. Durall et al. 2020 (arXiv 2003.01826) use a radial
    average as a detector.
    """
    mean = brightness(pixels).mean((1, 2))  # (N,)
    power = 10 * torch.log10((256 * mean).square() + 1e-6)
    return torch.cat([power[:, None], radial_spectra(pixels)], dim=1).numpy()


def dct_coefficients(pixels: torch.Tensor) -> np.ndarray:
    """Return the mean log magnitude of each coefficient of JPEG's 8x8 DCT of the luma: float32 (N, 64).

    Column 8 v + u is the mean over the 16 blocks of log(1 + |C(v, u)|), with v the vertical and u the horizontal
    frequency. C is the orthonormal DCT-II of ITU-T T.81, A.3.3, without its level shift, in levels. Frank et al. 2020
    (arXiv 2003.08685) use DCT coefficients as a detector.
    """
    blocks = brightness(pixels).numpy().reshape(-1, 4, 8, 4, 8)  # (N, block row, row, block column, column)
    coefficients = dctn(blocks, axes=(2, 4), norm="ortho")
    return np.log1p(np.abs(coefficients)).mean((1, 3)).reshape(-1, 64)


def noise_residual(pixels: torch.Tensor) -> np.ndarray:
    """Return statistics of the difference between each image and its 3x3 blur: float32 (N, 15).

    The blur is the binomial filter (1, 2, 1) ⊗ (1, 2, 1) / 16 on each channel, without padding (30x30). Columns, each
    for red, green and blue: standard deviation in levels, excess kurtosis, correlation with the pixel to the right,
    correlation with the pixel below. The last three columns are the correlations of red with green, red with blue and
    green with blue. Kurtosis and correlations of a constant residual are 0.
    """
    levels = pixels.float()
    rows = levels[:, :, :-2] + 2 * levels[:, :, 1:-1] + levels[:, :, 2:]  # (N, 3, 30, 32)
    blurred = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16  # (N, 3, 30, 30)
    residual = levels[:, :, 1:-1, 1:-1] - blurred
    residual = residual - residual.mean((2, 3), keepdim=True)
    spread = residual.square().mean((2, 3)).sqrt()  # (N, 3)
    unit = residual / spread.clamp(min=FLAT)[..., None, None]
    kurtosis = torch.where(spread > FLAT, unit.square().square().mean((2, 3)) - 3, 0)
    horizontal = _correlation(unit[..., :-1], unit[..., 1:])
    vertical = _correlation(unit[..., :-1, :], unit[..., 1:, :])
    between = _correlation(unit[:, [0, 0, 1]], unit[:, [1, 2, 2]])
    return torch.cat([spread, kurtosis, horizontal, vertical, between], dim=1).numpy()


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the mean product over pixels of two standardised residuals: (N, 3, H, W) twice to (N, 3)."""
    return (first * second).mean((2, 3))


def file_size(files: np.ndarray, root: Path) -> np.ndarray:
    """Return the size in bytes of each of `files` (N,), paths within `root`: float32 (N, 1)."""
    return np.array([[(root / file).stat().st_size] for file in files], np.float32)


SHORTCUTS = {
    "mean colour": mean_colour,
    "standard deviation": standard_deviation,
    "radial spectrum": radial_spectrum,
    "DCT coefficients": dct_coefficients,
    "noise residual": noise_residual,
}
COMBINATIONS = {
    "mean and standard deviation": ("mean colour", "standard deviation"),
    "mean, standard deviation and spectrum": ("mean colour", "standard deviation", "radial spectrum"),
}


def measure(images: Images, root: Path | None) -> dict[str, np.ndarray]:
    """Return every shortcut feature of every image, float32 (N, features) by name.

    With `root`, the folder of the files, 'file size' comes first. The arrays are allocated before any image is
    measured: small arrays kept between large temporary ones would fragment the heap over gigabytes.
    """
    widths = {name: function(images.pixels[:1]).shape[1] for name, function in SHORTCUTS.items()}
    features = {name: np.empty((len(images), width), np.float32) for name, width in widths.items()}
    with progress(total=len(images), desc="measuring shortcut features", unit=" images") as bar:
        for start in range(0, len(images), CHUNK):
            pixels = images.pixels[start : start + CHUNK]
            for name, function in SHORTCUTS.items():
                features[name][start : start + CHUNK] = function(pixels)
            bar.update(len(pixels))
    return ({"file size": file_size(images.files, root)} if root else {}) | features


def shortcut_table(data: Dataset) -> pd.DataFrame:
    """Return the test accuracy of a probe of each shortcut feature, and of combinations.

    Columns features (their number), value (accuracy), low, high (Wilson), n, and leak-free, the accuracy on the
    leak-free part of the test set. 'file size' has a row for CIFAKE only, because the toy dataset has no files.
    """
    root = find_cifake() if data.name == "CIFAKE" else None
    train, test = measure(data.train, root), measure(data.test, root)
    leak_free = leak_free_rows(data.test.files)
    rows = {name: (name,) for name in train} | COMBINATIONS | {"all features": tuple(train)}
    table = {}
    for row, names in progress(rows.items(), desc="fitting probes", unit=" probes"):
        known, unseen = _join(train, names), _join(test, names)
        correct = probe(known, data.train.labels.numpy()).predict(unseen) == data.test.labels.numpy()
        table[row] = (known.shape[1], *proportion(correct.sum(), len(correct)), correct[leak_free].mean())
    columns = ["features", "value", "low", "high", "n", "leak-free"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns).rename_axis("shortcut")


def shortcuts_elsewhere(data: Dataset, unseen: Images) -> pd.DataFrame:
    """Return the share of each source's images that a probe of each shortcut feature predicts as FAKE.

    Rows are the REAL and the FAKE images of data's test set, then the sources in `unseen`, as 'REAL/<source>'. Columns
    are SHORTCUTS and 'all features'.
    """
    sets = {f"{name}/{data.name}": data.test.of_class(label) for label, name in enumerate(CLASSES)}
    sets |= {f"{CLASSES[label]}/{source}": images for (label, source), images in unseen.by_source().items()}
    train, labels = measure(data.train, None), data.train.labels.numpy()
    measured = {name: measure(images, None) for name, images in sets.items()}
    table = pd.DataFrame(index=pd.Index(measured, name="source"))
    for column, names in {**{name: (name,) for name in SHORTCUTS}, "all features": tuple(SHORTCUTS)}.items():
        fitted = probe(_join(train, names), labels)
        table[column] = [fitted.predict(_join(found, names)).mean() for found in measured.values()]
    return table


def _join(features: Mapping[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
    return np.concatenate([features[name] for name in names], axis=1)


def probe(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """Return a logistic regression on standardised features (N, k), fitted to labels (N,)."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, labels)
