"""Measure how a detector at native resolution generalises to sources that were left out of its training.

Command: `python -m benchmarks.native`. Cost: half an hour on two CPU cores for the embeddings, which are kept in
`build/native/`; then two minutes. Needs `data/sources` and CLIP's encoder (`python -m detector encoder`).
Question: does a linear head on CLIP's frozen embeddings detect generator families that it was not trained on, without
false positives on photo sources that it was not trained on? For each pair of a family and a photo source, the head is
trained on all other sources and scored on the pair. Its threshold comes from its training sources alone: each of them
is left out once more, and at most 5% of the photos of the worst source may lie above it. Sources in `HELD_OUT` take no
part.
"""

import io
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from benchmarks.study import Study, open_study, study_parser
from detector.core import files
from detector.core.console import UserError, progress, run_command
from detector.core.labels import FAKE, REAL
from detector.data.native import HELD_OUT, family_groups, open_crop, read_manifest
from detector.evaluation.results import result_rows, slice_of
from detector.metrics.intervals import auc_against, mean_interval, metric_table
from detector.models.encoder import FEATURES, INPUT_SIDE, embed

SCALED, COMPRESSED = 0.6, 0.85  # shares of the training views that are resized, and JPEG-compressed
SMALLEST = 140  # pixels: the smallest square that is resized to the encoder's input
QUALITIES = (60, 96)  # of the training views' JPEG compression
FILTERS = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
FALSE_POSITIVES = 0.05  # of each photo source among the training sources
VARIANTS = {  # training views of each image, and the inverse regularisation strength of the head
    "CLIP, linear head": (2, 0.003),
    "CLIP, linear head, one view": (1, 0.003),
    "CLIP, linear head, stronger regularisation": (2, 0.0003),
    "CLIP, linear head, weaker regularisation": (2, 0.03),
}


def training_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a random square of an image at the encoder's input size, the same distribution for both classes.

    A share of the squares is resized from another size, by a random filter, and most are JPEG-compressed.
    """
    image, side = _large_enough(image), INPUT_SIDE
    if rng.random() < SCALED:
        side = int(rng.integers(SMALLEST, min(image.size) + 1))
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    if side != INPUT_SIDE:
        square = square.resize((INPUT_SIDE, INPUT_SIDE), FILTERS[rng.integers(len(FILTERS))])
    if rng.random() < COMPRESSED:
        stream, subsampling = io.BytesIO(), ("4:2:0", "4:4:4")[rng.integers(2)]
        square.save(stream, "JPEG", quality=int(rng.integers(*QUALITIES)), subsampling=subsampling)
        square = Image.open(stream).convert("RGB")
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else square


def evaluation_view(image: Image.Image, _rng: np.random.Generator) -> Image.Image:
    """Return the centre square of an image at native resolution."""
    return TF.center_crop(_large_enough(image), [INPUT_SIDE, INPUT_SIDE])


def _large_enough(image: Image.Image) -> Image.Image:
    """Enlarge an image whose short side is smaller than the encoder's input."""
    scale = INPUT_SIDE / min(image.size)
    size = [max(INPUT_SIDE, round(length * scale)) for length in image.size]
    return image.resize(size, Image.Resampling.BICUBIC) if scale > 1 else image


def embeddings(
    manifest: pd.DataFrame, name: str, view: Callable, seed: int = 0, encode: Callable = embed
) -> np.ndarray:
    """Return the embedding of one view of each row, float32 (N, 512), kept in `build/native/<name>.npy`.

    An interrupted call continues where it was.
    """
    path = files.BUILD_DIR / "native" / f"{name}.npy"
    table = np.load(path) if path.exists() else np.full((len(manifest), FEATURES), np.nan, np.float32)
    missing = np.flatnonzero(np.isnan(table[:, 0]))
    with progress(total=len(missing), desc=f"embedding {name}", unit=" crops", delay=1) as bar:
        for rows in np.array_split(missing, max(1, len(missing) // 200)):
            crops = [
                view(TF.to_pil_image(open_crop(manifest.iloc[row])), np.random.default_rng([seed, row])) for row in rows
            ]
            if crops:
                table[rows] = encode(torch.stack([TF.pil_to_tensor(crop) for crop in crops])).numpy()
                with files.atomic_write(path) as part, open(part, "wb") as file:
                    np.save(file, table)
            bar.update(len(rows))
    return table


def fit_head(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, strength: float) -> Callable:
    """Return a function from features (N, F) to logits (N,): logistic regression on standardised features.

    Both classes have the same weight, and within a class each group weighs as the root of its number of images.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[group])
    for label in (REAL, FAKE):
        weights[labels == label] *= len(labels) / 2 / weights[labels == label].sum()
    scaler = StandardScaler().fit(features)
    head = LogisticRegression(C=strength, max_iter=500)
    head.fit(scaler.transform(features), labels, sample_weight=weights)
    return lambda others: head.decision_function(scaler.transform(others))


def worst_source_threshold(
    train: np.ndarray, scored: np.ndarray, labels: np.ndarray, groups: np.ndarray, strength: float
) -> float:
    """Return the logit that at most FALSE_POSITIVES of the photos of each source exceed when the source is left out.

    Args:
        train: features of the training views, (V, N, F).
        scored: features of the evaluation views, (N, F).
        labels, groups: (N,).
    """
    from sklearn.model_selection import GroupKFold

    logits = np.zeros(len(labels))
    folds = GroupKFold(min(5, len(np.unique(groups))), shuffle=True, random_state=0)
    for rows, left_out in folds.split(labels, groups=groups):
        logits[left_out] = _head(train, labels, groups, rows, strength)(scored[left_out])
    photos = pd.Series(logits[labels == REAL]).groupby(groups[labels == REAL])
    return float(photos.quantile(1 - FALSE_POSITIVES).max())


def _head(train: np.ndarray, labels: np.ndarray, groups: np.ndarray, rows: np.ndarray, strength: float) -> Callable:
    views = len(train)
    return fit_head(
        np.concatenate(train[:, rows]), np.tile(labels[rows], views), np.tile(groups[rows], views), strength
    )


def leave_one_out(
    train: np.ndarray, scored: np.ndarray, labels: np.ndarray, groups: np.ndarray, strength: float
) -> pd.DataFrame:
    """Return AUC, false-positive rate and recall for each pair of a left-out family and a left-out photo source."""
    families, sources = (np.unique(groups[labels == label]) for label in (FAKE, REAL))
    pairs, rows = [(family, source) for family in families for source in sources], []
    for family, source in progress(pairs, desc="leaving sources out", unit=" pairs", delay=1):
        kept = np.flatnonzero((groups != family) & (groups != source))
        head = _head(train, labels, groups, kept, strength)
        threshold = worst_source_threshold(train[:, kept], scored[kept], labels[kept], groups[kept], strength)
        fakes, photos = head(scored[groups == family]), head(scored[groups == source])
        auc = auc_against(photos, fakes)[0]
        rows.append((family, source, auc, np.mean(photos > threshold), np.mean(fakes > threshold)))
    return pd.DataFrame(rows, columns=["family", "photos", "auc", "false_positive_rate", "recall"])


def summary_rows(pairs: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return means over pairs, of all, of each family and of each photo source, with Student's t intervals."""
    key = {"experiment": "native: leave one out", "model": model, "set": "development"}
    parts = [("", pairs, ["auc", "false_positive_rate", "recall"])]
    parts += [(slice_of(family=name), rows, ["auc", "recall"]) for name, rows in pairs.groupby("family")]
    parts += [(slice_of(photos=name), rows, ["auc", "false_positive_rate"]) for name, rows in pairs.groupby("photos")]
    tables = [
        result_rows(
            metric_table({metric: mean_interval(rows[metric].to_numpy()) for metric in metrics}), slice=slice_, **key
        )
        for slice_, rows, metrics in parts
    ]
    return pd.concat(tables, ignore_index=True)


def development_rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the native crops of all sources but HELD_OUT, with column `family_group`."""
    held_out = [name for names in HELD_OUT.values() for name in names]
    rows = manifest[~manifest["source"].isin(held_out) & (manifest["variant"] == "native")]
    return rows.assign(family_group=family_groups(rows)).reset_index(drop=True)


def measure(study: Study, train: np.ndarray, scored: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
    """Add the rows of the variants that have none yet."""
    for model, (views, strength) in VARIANTS.items():
        if not study.has(model=model):
            study.add(summary_rows(leave_one_out(train[:views], scored, labels, groups, strength), model))


def smoke_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return random features of three families and three photo sources, shifted by class."""
    rng, names = np.random.default_rng(0), ["family a", "family b", "family c", "source d", "source e", "source f"]
    groups = np.repeat(names, 12)
    labels = np.char.startswith(groups, "family").astype(int)
    scored = rng.normal(size=(len(groups), 8)) + labels[:, None]
    return np.stack([scored, scored]) + rng.normal(size=(2, *scored.shape)) / 4, scored, labels, groups


def main(arguments: Sequence[str] | None = None) -> None:
    """Embed the views that are missing, measure the variants without rows, then print the means."""
    study = open_study("native", study_parser("native", __doc__).parse_args(arguments))
    if study.smoke:
        measure(study, *smoke_data())
    else:
        if not files.SOURCES_DIR.is_dir():
            raise UserError(f"{files.SOURCES_DIR} is missing. Make it by `python -m detector rebuild`.")
        rows = development_rows(read_manifest())
        views = [embeddings(rows, f"training-{seed}", training_view, seed) for seed in (0, 1)]
        labels = (rows["class"] == "FAKE").to_numpy().astype(int)
        scored = embeddings(rows, "evaluation", evaluation_view)
        measure(study, np.stack(views), scored, labels, rows["family_group"].to_numpy(str))
    shown = study.results().query("slice == ''")
    print(shown.pivot(index="model", columns="metric", values="value").round(4).to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
