"""Measure how well file properties alone separate REAL from FAKE, before and after preprocessing.

Command: `python -m benchmarks.shortcuts`. Cost: fifteen minutes on one CPU core. Needs `data/sources`.
Question: does the preprocessing of the detector at native resolution leave shortcut features in size, scaling or
compression? Gradient boosting predicts the class from `detector.eda.file_properties` in cross-validation: no source is
in training and test at once, and every fold has both classes. The AUC is the mean over folds and seeds. Its interval is
a bootstrap over sources. The properties depend a little on content, too: the two controls have no trace of an earlier
file, and show how much. Sources in `HELD_OUT` take no part.
"""

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GroupKFold
from torchvision.transforms.v2 import functional as TF

from benchmarks.study import Study, open_study, single, study_parser
from detector.core import files
from detector.core.console import UserError, progress, run_command
from detector.data.decode import decode_image, to_rgb
from detector.data.jpeg import encode_decode
from detector.data.native import is_held_out, read_manifest
from detector.data.views import VIEW_SIDE, scored_view, training_view
from detector.eda.file_properties import properties
from detector.evaluation.results import result_rows, slice_of
from detector.metrics.intervals import metric_table

FOLDS, SEEDS, DRAWS = 8, 3, 1000  # DRAWS of the bootstrap
RAW = "raw files"


def compressed(image: Image.Image) -> Image.Image:
    """Return the image after JPEG compression at quality 85 with chroma subsampling."""
    return encode_decode(image, quality=85, subsampling="4:2:0")


def halved(image: Image.Image) -> Image.Image:
    """Return the centre at half its size, where traces of earlier scaling and compression are negligible."""
    return TF.center_crop(image, [VIEW_SIDE] * 2).resize([VIEW_SIDE // 2] * 2, Image.Resampling.LANCZOS)


VIEWS = {  # of an image, with a random generator
    "control: half size": lambda image, _: halved(image),
    "control: half size, JPEG 85": lambda image, _: compressed(halved(image)),
    "training crop": training_view,
    "unscaled centre crop": lambda image, _: TF.center_crop(image, [VIEW_SIDE] * 2),
    "first scored crop": lambda image, _: scored_view(image, 0),
    "second scored crop": lambda image, _: scored_view(image, 1),
}


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation: its images' labels, scores and sources, and the AUC's drop for each property."""

    labels: np.ndarray
    scores: np.ndarray
    sources: np.ndarray
    drops: np.ndarray

    def pairs(self, fakes: np.ndarray, photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each pair of sources, the pairs of images in the correct order and all pairs: both (F, R)."""
        fake, real = (self.labels == label for label in (1, 0))
        order = (np.sign(self.scores[fake][:, None] - self.scores[real]) + 1) / 2  # ties count one half
        of_fake, of_real = self.sources[fake][:, None] == fakes, self.sources[real][:, None] == photos
        return of_fake.T @ order @ of_real, np.outer(of_fake.sum(0), of_real.sum(0))


def development_rows() -> pd.DataFrame:
    """Return the manifest's native crops of all sources but HELD_OUT."""
    manifest = read_manifest()
    return manifest[~is_held_out(manifest) & (manifest["variant"] == "native")]


def read_source(row: tuple) -> bytes:
    """Return the bytes of one file of the manifest."""
    return (files.SOURCES_DIR / row.file).read_bytes()


def stream_properties(rows: pd.DataFrame, stream: str, read: Callable[[tuple], bytes]) -> pd.DataFrame:
    """Return the file properties of a stream of images: one row for each of `rows`.

    Raw files have the width and height of the image that they were cut from.
    """
    measured = []
    for number, row in enumerate(progress(list(rows.itertuples()), desc=stream, unit=" images", delay=1)):
        data = read(row)
        image = to_rgb(decode_image(data))
        if stream == RAW:
            size = {"width": row.width, "height": row.height, "aspect": row.width / row.height}
            measured.append(properties(image, data) | size)
        else:
            measured.append(properties(VIEWS[stream](image, np.random.default_rng([0, number])), None))
    return pd.DataFrame(measured)


def fold_numbers(labels: np.ndarray, sources: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each image, (N,): the sources of each class are distributed at random over FOLDS."""
    numbers = np.zeros(len(labels), int)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        splits = GroupKFold(FOLDS, shuffle=True, random_state=seed).split(rows, groups=sources[rows])
        for number, (_, left_out) in enumerate(splits):
            numbers[rows[left_out]] = number
    return numbers


def cross_validate(features: np.ndarray, labels: np.ndarray, sources: np.ndarray, seed: int) -> Iterable[Fold]:
    """Yield FOLDS folds, each scored by gradient boosting that was fitted on the others."""
    numbers = fold_numbers(labels, sources, seed)
    for number in range(FOLDS):
        train, test = numbers != number, numbers == number
        model = HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
        model.fit(features[train], labels[train])
        drops = permutation_importance(
            model, features[test], labels[test], scoring="roc_auc", n_repeats=1, random_state=seed
        )
        scores = model.decision_function(features[test])
        yield Fold(labels[test], scores, sources[test], drops.importances_mean)


def mean_auc(folds: Sequence[Fold], draws: int) -> tuple[float, float, float]:
    """Return the mean AUC over folds, and its 95% interval when the sources of each class are resampled.

    A source that is drawn twice counts twice. A draw without a class in a fold omits that fold. The models are not
    fitted again, so the interval does not contain the variance of training.
    """
    labels, sources = (np.concatenate([getattr(fold, name) for fold in folds]) for name in ("labels", "sources"))
    fakes, photos = (np.unique(sources[labels == label]) for label in (1, 0))
    correct, pairs = (np.stack(tables) for tables in zip(*(fold.pairs(fakes, photos) for fold in folds), strict=True))
    rng, means = np.random.default_rng(0), []
    for _ in range(draws):
        of_fake, of_real = (rng.multinomial(n, np.full(n, 1 / n)) for n in (len(fakes), len(photos)))
        number = of_fake @ pairs @ of_real  # (folds,)
        means.append(np.mean((of_fake @ correct @ of_real)[number > 0] / number[number > 0]))
    mean = np.mean(correct.sum((1, 2)) / pairs.sum((1, 2)))
    return float(mean), *np.quantile(means, [0.025, 0.975])


def measure(study: Study, rows: pd.DataFrame, stream: str, read: Callable[[tuple], bytes]) -> None:
    """Add a stream's AUC, and by how much it drops when one property is shuffled within the folds."""
    found = stream_properties(rows, stream, read).dropna(axis=1, thresh=len(rows) // 20)  # the others are too rare
    labels, sources = (rows["class"] == "FAKE").to_numpy().astype(int), rows["source"].to_numpy(str)
    seeds = range(study.repeats(SEEDS))
    folds = [fold for seed in seeds for fold in cross_validate(found.to_numpy(), labels, sources, seed)]
    drops = dict(zip(found, np.mean([fold.drops for fold in folds], axis=0), strict=True))
    tables = {slice_of(stream=stream): {"auc": (*mean_auc(folds, DRAWS), len(rows))}}
    tables |= {slice_of(stream=stream, property=name): {"auc_drop": single(drop)} for name, drop in drops.items()}
    key = {"experiment": "shortcuts", "model": "gradient boosting", "set": "development"}
    results = [result_rows(metric_table(table), slice=slice_, **key) for slice_, table in tables.items()]
    study.add(pd.concat(results, ignore_index=True).assign(unit=""))


def smoke_rows(study: Study) -> tuple[pd.DataFrame, Callable[[tuple], bytes]]:
    """Return a manifest of toy images, two sources of each class for a fold, and a function that encodes an image."""
    images = study.load_data().train[: 8 * FOLDS]
    names = np.where(images.labels == 1, "FAKE", "REAL")
    rows = pd.DataFrame({"class": names, "width": 32, "height": 32})
    rows["source"] = rows["class"] + (rows.groupby("class").cumcount() % (2 * FOLDS)).astype(str)

    def read(row: tuple) -> bytes:
        stream = io.BytesIO()
        TF.to_pil_image(images.pixels[row.Index]).save(stream, "JPEG")
        return stream.getvalue()

    return rows, read


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the streams without rows, then print their AUCs and the most important properties."""
    study = open_study("shortcuts", study_parser("shortcuts", __doc__).parse_args(arguments))
    if study.smoke:
        rows, read = smoke_rows(study)
    elif files.SOURCES_DIR.is_dir():
        rows, read = development_rows(), read_source
    else:
        raise UserError(f"{files.SOURCES_DIR} is missing. Make it by `python -m detector rebuild`.")
    for stream in (RAW, *VIEWS):
        if not study.has(slice=slice_of(stream=stream)):
            measure(study, rows, stream, read)
    shown = study.results().query("metric == 'auc' or value > 0.005")
    print(shown[["slice", "value", "low", "high"]].round(4).to_string(index=False))


if __name__ == "__main__":
    sys.exit(run_command(main))
