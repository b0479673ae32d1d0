"""Shortcut probes: how far each trivial cue goes on its own, so that a reader knows what a CNN has to beat.

A cue is a handful of numbers per picture that see no object in it: the size of its file, its mean colour, its
spectrum. A probe is a logistic regression on them, at scikit-learn's default strength, fitted on the training set;
nothing about it is chosen on the test set; what the spectrum and the DCT take logarithms of was, on validation. A
feature function takes a batch of uint8 pictures (N, 3, 32, 32) and gives float32 (N, features).

On CIFAKE's test folder (n = 20,000, intervals of ±0.4 to ±0.7 points, scikit-learn 1.9, torch 2.14): file size 50.8%,
mean and deviation 60.6%, radial spectrum 79.0%, DCT 83.0%, noise residual 83.6%, all of these 90.9%. Logistic
regression is linear, so these are what the cues give at least.
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

from detector.audit import brightness, radial_spectra
from detector.cifake import CLASSES, find_cifake
from detector.data import Dataset, Images, leak_free_rows
from detector.evaluation import wilson
from detector.progress import progress

CHUNK = 500  # pictures measured at a time, in about 100 MB
FLAT = 1e-3  # levels: a residual that deviates less than this is taken as flat, without shape or correlations


def mean_colour(pixels: torch.Tensor) -> np.ndarray:
    """Mean of red, green and blue, in levels of 0 to 255: uint8 (N, 3, 32, 32) to float32 (N, 3)."""
    return pixels.float().mean((2, 3)).numpy()


def deviation(pixels: torch.Tensor) -> np.ndarray:
    """Standard deviation of red, green and blue over the picture, in levels: uint8 (N, 3, 32, 32) to float32 (N, 3)."""
    return pixels.float().std((2, 3), correction=0).numpy()


def radial_spectrum(pixels: torch.Tensor) -> np.ndarray:
    """Power of the luma by spatial frequency, in dB: uint8 (N, 3, 32, 32) to float32 (N, 17).

    Column k is of frequencies nearest to k cycles per 32 pixels: 1 to 16 are `audit.radial_spectra`; 0, which that
    leaves out, is the power of the mean under the same window (whose sum is 16 x 16). A radial average as a detector
    is that of Durall et al. 2020 (arXiv 2003.01826).
    """
    mean = brightness(pixels).mean((1, 2))  # (N,)
    power = 10 * torch.log10((256 * mean).square() + 1e-6)
    return torch.cat([power[:, None], radial_spectra(pixels)], dim=1).numpy()


def dct_coefficients(pixels: torch.Tensor) -> np.ndarray:
    """Size of each coefficient of JPEG's 8x8 transform of the luma: uint8 (N, 3, 32, 32) to float32 (N, 64).

    Column 8 v + u is the mean over the 16 blocks of log(1 + |C(v, u)|), v vertical, u horizontal, C the orthonormal
    DCT-II of ITU-T T.81, A.3.3 (without its level shift), in levels; as in Frank et al. 2020 (arXiv 2003.08685).
    """
    blocks = brightness(pixels).numpy().reshape(-1, 4, 8, 4, 8)  # (N, block row, row, block column, column)
    coefficients = dctn(blocks, axes=(2, 4), norm="ortho")
    return np.log1p(np.abs(coefficients)).mean((1, 3)).reshape(-1, 64)


def noise_residual(pixels: torch.Tensor) -> np.ndarray:
    """Statistics of what a 3x3 blur takes away: uint8 (N, 3, 32, 32) to float32 (N, 15).

    The blur is the binomial (1, 2, 1) ⊗ (1, 2, 1) / 16, each channel on its own, where it fits into the picture
    (30x30). Columns, in threes for red, green and blue: standard deviation in levels, excess kurtosis, correlation
    with the pixel to the right, correlation with the one below; then red with green, red with blue, green with blue.
    Kurtosis and correlations of a flat residual are 0.
    """
    levels = pixels.float()
    rows = levels[:, :, :-2] + 2 * levels[:, :, 1:-1] + levels[:, :, 2:]  # (N, 3, 30, 32)
    blurred = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16  # (N, 3, 30, 30)
    residual = levels[:, :, 1:-1, 1:-1] - blurred
    residual = residual - residual.mean((2, 3), keepdim=True)
    spread = residual.square().mean((2, 3)).sqrt()  # (N, 3)
    unit = residual / spread.clamp(min=FLAT)[..., None, None]
    kurtosis = torch.where(spread > FLAT, unit.square().square().mean((2, 3)) - 3, 0)
    right = _correlation(unit[..., :-1], unit[..., 1:])
    below = _correlation(unit[..., :-1, :], unit[..., 1:, :])
    between = _correlation(unit[:, [0, 0, 1]], unit[:, [1, 2, 2]])
    return torch.cat([spread, kurtosis, right, below, between], dim=1).numpy()


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean product over the picture of two residuals in units of their deviation: (N, 3, H, W) twice to (N, 3)."""
    return (first * second).mean((2, 3))


def file_size(files: np.ndarray, root: Path) -> np.ndarray:
    """Size in bytes of each of `files` (N,), paths within `root`: float32 (N, 1)."""
    return np.array([[(root / file).stat().st_size] for file in files], np.float32)


CUES = {
    "mean colour": mean_colour,
    "deviation": deviation,
    "radial spectrum": radial_spectrum,
    "DCT coefficients": dct_coefficients,
    "noise residual": noise_residual,
}
COMBINATIONS = {
    "mean and deviation": ("mean colour", "deviation"),
    "mean, deviation and spectrum": ("mean colour", "deviation", "radial spectrum"),
}


def measure(images: Images, root: Path | None) -> dict[str, np.ndarray]:
    """Every cue of every picture, float32 (N, features) by name; 'file size' first where `root` holds the files.

    What is kept is allocated before it is measured: small pieces kept between large ones that come and go would
    scatter the heap over gigabytes.
    """
    widths = {cue: function(images.pixels[:1]).shape[1] for cue, function in CUES.items()}
    cues = {cue: np.empty((len(images), width), np.float32) for cue, width in widths.items()}
    with progress(total=len(images), desc="measuring cues", unit=" pictures") as bar:
        for start in range(0, len(images), CHUNK):
            pixels = images.pixels[start : start + CHUNK]
            for cue, function in CUES.items():
                cues[cue][start : start + CHUNK] = function(pixels)
            bar.update(len(pixels))
    return ({"file size": file_size(images.files, root)} if root else {}) | cues


def cue_table(data: Dataset) -> pd.DataFrame:
    """How often each cue alone, and some together, tell REAL from FAKE on the test set; fitted on the training set.

    Rows are cues; columns features (how many numbers), the accuracy's value, low, high (Wilson, 95%), n, and
    'leak-free', the accuracy without the test pictures that are copies. File size is there only for CIFAKE, as the
    stand-in has no files. About 15 seconds for CIFAKE on one core, most of them measuring.
    """
    root = find_cifake() if data.name == "CIFAKE" else None
    train, test = measure(data.train, root), measure(data.test, root)
    own = leak_free_rows(data.test.files)
    rows = {cue: (cue,) for cue in train} | COMBINATIONS | {"all of these": tuple(train)}
    table = {}
    for row, cues in progress(rows.items(), desc="fitting probes", unit=" probes"):
        known, unseen = _joined(train, cues), _joined(test, cues)
        right = probe(known, data.train.labels.numpy()).predict(unseen) == data.test.labels.numpy()
        interval = wilson(right.sum(), len(right))
        table[row] = (known.shape[1], right.mean(), *interval, len(right), right[own].mean())
    columns = ["features", "value", "low", "high", "n", "leak-free"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns).rename_axis("cue")


def cues_elsewhere(data: Dataset, sources: Mapping[str, Images]) -> pd.DataFrame:
    """Share (%) of each source's pictures that a probe of each cue calls FAKE, fitted on the training set.

    To one digit. Rows are CIFAKE's own test photographs and fakes, then the sources; columns the CUES, 'all of these',
    and n, the number of pictures.
    """
    own = {f"{name}/cifake": data.test[(data.test.labels == label).numpy()] for label, name in enumerate(CLASSES)}
    everything = own | dict(sources)
    known, labels = measure(data.train, None), data.train.labels.numpy()
    foreign = {name: measure(images, None) for name, images in everything.items()}
    table = pd.DataFrame(index=pd.Index(foreign, name="source"))
    for column, cues in {**{cue: (cue,) for cue in CUES}, "all of these": tuple(CUES)}.items():
        fitted = probe(_joined(known, cues), labels)
        table[column] = [round(100 * fitted.predict(_joined(found, cues)).mean(), 1) for found in foreign.values()]
    return table.assign(n=[len(images) for images in everything.values()])


def _joined(cues: Mapping[str, np.ndarray], names: Iterable[str]) -> np.ndarray:
    return np.concatenate([cues[name] for name in names], axis=1)


def probe(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    """A logistic regression on standardised features (N, k), fitted to labels (N,), at the library's strength."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, labels)
