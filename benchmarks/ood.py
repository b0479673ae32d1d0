"""Compare scores that separate out-of-distribution (OOD) images from CIFAKE images.

Command: `python -m benchmarks.ood`. Cost: a few minutes on two CPU cores.
Question: which score of the released CNN has the highest AUC for OOD images against calibration images? Each score is
fitted on 10,000 training images; the released score uses the model's own feature bank. The OOD images are images of
`data/sources/` where that folder exists, rendered drawings and screenshots, noise, and changed CIFAKE images. The test
sets are not used. After a new release of the CNN, delete the rows first.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.study import open_study, study_parser
from detector.core import files
from detector.core.console import run_command
from detector.core.labels import CLASSES
from detector.data.corruptions import SEVERITIES, corrupt
from detector.data.dataset import Images
from detector.data.folders import load_folders
from detector.data.images import to_cifake_format
from detector.evaluation.results import result_rows, slice_of
from detector.inference.predict import predict_features, predict_logits, predict_ood_scores
from detector.metrics.intervals import auc_against, metric_table
from detector.models.base import BANK_SIZE, NEIGHBOURS, Detector

Score = Callable[[torch.Tensor], np.ndarray]  # uint8 (N, 3, 32, 32) to float (N,), higher for OOD images


def drawing(rng: np.random.Generator) -> torch.Tensor:
    """Render plain shapes on a light background: uint8 (3, 32, 32)."""
    image = Image.new("RGB", (256, 256), tuple(rng.integers(150, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 12)):
        (x, y), (width, height) = rng.integers(0, 220, 2), rng.integers(10, 120, 2)
        colour, box = tuple(rng.integers(0, 256, 3)), [x, y, x + width, y + height]
        draw = (pen.rectangle, pen.ellipse)[rng.integers(2)]
        draw(box, fill=colour, outline="black")
    return torch.from_numpy(to_cifake_format(image))


def screenshot(rng: np.random.Generator) -> torch.Tensor:
    """Render a light or dark window with a title bar, sometimes a side bar, and lines of text: uint8 (3, 32, 32)."""
    background, ink = [("white", "black"), ("#1e1e23", "#dcdcdc")][rng.integers(2)]
    image = Image.new("RGB", (640, 480), background)
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, 640, rng.integers(20, 60)], fill=tuple(rng.integers(0, 256, 3)))
    if rng.random() < 0.5:
        pen.rectangle([0, 40, rng.integers(60, 200), 480], fill=tuple(rng.integers(180, 250, 3)))
    for y in range(70, 460, rng.integers(12, 40)):
        letters = "".join(map(chr, rng.integers(97, 123, rng.integers(10, 50))))
        pen.text((rng.integers(20, 220), y), letters, fill=ink)
    return torch.from_numpy(to_cifake_format(image))


def from_sources(sources: Images, count: int) -> dict[str, torch.Tensor]:
    """Sample up to `count` images of each class, all sources of a class pooled. An absent class has no entry."""
    rng = np.random.default_rng(0)
    return {
        f"{name}, other sources": images.pixels[rng.choice(len(images), min(count, len(images)), replace=False)]
        for label, name in enumerate(CLASSES)
        if len(images := sources.of_class(label))
    }


def ood_images(known: torch.Tensor, count: int) -> dict[str, torch.Tensor]:
    """Return sets of OOD images that need no download, uint8 (N, 3, 32, 32) each.

    Some are `count` rendered images; the others are changed versions of `known`, images of CIFAKE.
    """
    rng = np.random.default_rng(0)
    return {
        "rendered drawings": torch.stack([drawing(rng) for _ in range(count)]),
        "rendered screenshots": torch.stack([screenshot(rng) for _ in range(count)]),
        "uniform noise": torch.from_numpy(rng.integers(0, 256, (count, 3, 32, 32), np.uint8)),
        "CIFAKE, upside down": known.flip(2),
        **{
            f"CIFAKE, {name}, severity {SEVERITIES[-1]}": corrupt(known, name, SEVERITIES[-1])
            for name in ("blur", "noise", "crop")
        },
    }


def fit_scores(model: Detector, fitted: Images) -> dict[str, Score]:
    """Fit every score on the model's features of `fitted`."""
    from sklearn.covariance import LedoitWolf
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import NearestNeighbors

    def features_of(pixels: torch.Tensor) -> np.ndarray:
        return predict_features(model, pixels).double().numpy()

    features = features_of(fitted.pixels)
    classes = (fitted.object_class + (fitted.object_class.max() + 1) * fitted.labels).numpy()
    present, groups = np.unique(classes, return_inverse=True)
    means = np.stack([features[groups == group].mean(0) for group in range(len(present))])
    within, overall = LedoitWolf().fit(features - means[groups]), LedoitWolf().fit(features)
    mixture = GaussianMixture(len(present), covariance_type="diag", random_state=0).fit(features)
    neighbours = {n: NearestNeighbors(n_neighbors=n).fit(features) for n in (1, 50)}

    def mahalanobis(pixels: torch.Tensor) -> np.ndarray:
        found = features_of(pixels)
        return np.min([within.mahalanobis(found - mean) for mean in means], axis=0)

    return {
        "confidence": lambda pixels: -predict_logits(model, pixels).abs().numpy(),  # the same order as by energy
        "Mahalanobis": mahalanobis,
        "relative Mahalanobis": lambda pixels: mahalanobis(pixels) - overall.mahalanobis(features_of(pixels)),
        "Gaussian mixture": lambda pixels: -mixture.score_samples(features_of(pixels)),
        "kNN, 1st of 10,000": lambda pixels: neighbours[1].kneighbors(features_of(pixels))[0][:, -1],
        "kNN, 50th of 10,000": lambda pixels: neighbours[50].kneighbors(features_of(pixels))[0][:, -1],
        f"kNN, {NEIGHBOURS}th of {BANK_SIZE} (released)": lambda pixels: predict_ood_scores(model, pixels).numpy(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate every score on every set of OOD images that has no row yet, then print the AUCs."""
    study = open_study("ood", study_parser("ood", __doc__).parse_args(arguments))
    data, model = study.load_data(), study.load_model("cnn")
    count, size = (8, len(data.train)) if study.smoke else (1000, 10_000)
    fitted = data.train[np.random.default_rng(0).choice(len(data.train), size, replace=False)]
    changed, unchanged = np.split(np.random.default_rng(1).permutation(len(data.calibration)), [count])
    ood = ood_images(data.calibration.pixels[changed], count)
    if not study.smoke:
        ood = from_sources(load_folders(files.SOURCES_DIR), count) | ood
    for name, score in fit_scores(model, fitted).items():
        known = score(data.calibration.pixels[unchanged])
        for images, pixels in ood.items():
            key = {"experiment": "ood scores", "model": "cnn", "slice": slice_of(score=name, images=images)}
            if not study.has(**key):
                metrics = metric_table({"auc": (*auc_against(known, score(pixels)), len(pixels))})
                study.add(result_rows(metrics, set="calibration", **key))
    print(study.results().set_index("slice")["value"].to_string(float_format="%.3f"))


if __name__ == "__main__":
    sys.exit(run_command(main))
