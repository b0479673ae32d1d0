"""How well do scores tell pictures that are unlike CIFAKE's from CIFAKE's own? `python -m benchmarks.unlikeness`.

The scores read what the shipped CNN makes of a picture; each is fitted on 10,000 pictures that it learnt from (the
nearest neighbours on as many as it remembers) and set to tell other pictures from those of calibration, which it
never saw. `data/unseen/` has no part in it; two sources to train on lie in `data/sources/`. A row a score and kind in
unlikeness.csv: AUROC with its interval.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from detector.cifake import DATA_DIR
from detector.corruptions import CORRUPTIONS
from detector.data import Images, load_cifake_only
from detector.evaluation import auc_against
from detector.models import BANK, NEIGHBOURS, Detector
from detector.pictures import to_cifake
from detector.prediction import predict_distance, predict_features, predict_logits
from detector.progress import InputError, tell_errors
from detector.unseen import load_unseen
from detector.weights import MODELS_DIR, load_model

TABLE = Path(__file__).with_name("unlikeness.csv")
PICTURES = 1000  # of each kind
FITTED = 10_000


def drawing(rng: np.random.Generator) -> torch.Tensor:
    """Some plain shapes on a light ground."""
    image = Image.new("RGB", (256, 256), tuple(rng.integers(150, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(3, 12)):
        (x, y), (width, height) = rng.integers(0, 220, 2), rng.integers(10, 120, 2)
        colour, box = tuple(rng.integers(0, 256, 3)), [x, y, x + width, y + height]
        draw = (pen.rectangle, pen.ellipse)[rng.integers(2)]
        draw(box, fill=colour, outline="black")
    return to_cifake(image)


def screenshot(rng: np.random.Generator) -> torch.Tensor:
    """A title bar, perhaps a side bar, and lines of text, light or dark."""
    ground, ink = [("white", "black"), ("#1e1e23", "#dcdcdc")][rng.integers(2)]
    image = Image.new("RGB", (640, 480), ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, 640, rng.integers(20, 60)], fill=tuple(rng.integers(0, 256, 3)))
    if rng.random() < 0.5:
        pen.rectangle([0, 40, rng.integers(60, 200), 480], fill=tuple(rng.integers(180, 250, 3)))
    for y in range(70, 460, rng.integers(12, 40)):
        letters = "".join(map(chr, rng.integers(97, 123, rng.integers(10, 50))))
        pen.text((rng.integers(20, 220), y), letters, fill=ink)
    return to_cifake(image)


def kinds(known: torch.Tensor) -> dict[str, torch.Tensor]:
    """Pictures unlike CIFAKE's, uint8 (PICTURES, 3, 32, 32) of each kind; some are made of `known` ones, so shaped."""
    rng, sources = np.random.default_rng(0), load_unseen(DATA_DIR / "sources")
    if not sources:
        raise InputError(f"{DATA_DIR / 'sources'} is missing: put pictures of other sources there.")
    drawn = {
        source: images.pixels[rng.choice(len(images), PICTURES, replace=False)] for source, images in sources.items()
    }
    strongest = {kind: CORRUPTIONS[kind] for kind in ("blur", "noise", "crop")}
    return drawn | {
        "drawings": torch.stack([drawing(rng) for _ in range(PICTURES)]),
        "screenshots": torch.stack([screenshot(rng) for _ in range(PICTURES)]),
        "pure noise": torch.from_numpy(rng.integers(0, 256, (PICTURES, 3, 32, 32), np.uint8)),
        "upside down": known.flip(2),
        **{f"CIFAKE, {kind.words} {kind.severities[-1]}": kind.apply(known, kind.severities[-1])
           for kind in strongest.values()},
    }  # fmt: skip


def scores(model: Detector, fitted: Images) -> dict[str, Callable[[torch.Tensor], np.ndarray]]:
    """Each score as a function of pictures, higher for those that are less like the `fitted` ones."""
    subjects = (fitted.subjects + 10 * fitted.labels).numpy()

    def read(pixels: torch.Tensor) -> np.ndarray:
        return predict_features(model, pixels).double().numpy()

    features = read(fitted.pixels)
    means = np.stack([features[subjects == subject].mean(0) for subject in range(20)])
    within, whole = LedoitWolf().fit(features - means[subjects]), LedoitWolf().fit(features)
    mixture = GaussianMixture(20, covariance_type="diag", random_state=0).fit(features)
    nearest = {n: NearestNeighbors(n_neighbors=n).fit(features) for n in (1, 50)}

    def mahalanobis(pixels: torch.Tensor) -> np.ndarray:
        found = read(pixels)
        return np.min([within.mahalanobis(found - mean) for mean in means], axis=0)

    return {
        "confidence (the energy's order too)": lambda pixels: -predict_logits(model, pixels).abs().numpy(),
        "Mahalanobis": mahalanobis,
        "Mahalanobis, relative": lambda pixels: mahalanobis(pixels) - whole.mahalanobis(read(pixels)),
        "mixture of Gaussians": lambda pixels: -mixture.score_samples(read(pixels)),
        "nearest of 10,000": lambda pixels: nearest[1].kneighbors(read(pixels))[0][:, -1],
        "fiftieth nearest of 10,000": lambda pixels: nearest[50].kneighbors(read(pixels))[0][:, -1],
        f"{NEIGHBOURS}th nearest of {BANK}, as shipped": lambda pixels: predict_distance(model, pixels).numpy(),
    }


def main() -> None:
    """Score every kind by every score, write the table, print it."""
    data, model, rows = load_cifake_only(), load_model(MODELS_DIR / "cnn.safetensors"), []
    fitted = data.train[np.random.default_rng(0).choice(len(data.train), FITTED, replace=False)]
    rows_changed, rows_known = np.split(np.random.default_rng(1).permutation(len(data.calibration)), [PICTURES])
    unlike, calibration = kinds(data.calibration.pixels[rows_changed]), data.calibration.pixels[rows_known]
    for name, score in scores(model, fitted).items():
        known = score(calibration)
        for kind, pixels in unlike.items():
            value, low, high = auc_against(known, score(pixels))
            rows.append({"score": name, "kind": kind, "value": value, "low": low, "high": high, "n": len(pixels)})
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.pivot(index="score", columns="kind", values="value").to_string(float_format="%.3f"))


if __name__ == "__main__":
    sys.exit(tell_errors(main))
