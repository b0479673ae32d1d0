"""Leakage: test images with a duplicate in the train folder, and the recall of the search for them.

`python -m detector duplicates` writes the results to `data/leaks.csv` and `data/train_duplicates.csv`. The search
itself is in `detector.data.duplicates`.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from detector.core import files
from detector.core.labels import CLASSES, FAKE, REAL
from detector.data.dataset import Images, concatenate, load_published
from detector.data.duplicates import MAX_DISTANCE, QUICK, WIDE, DuplicateIndex, build_index, linked_groups, search
from detector.data.jpeg import encode_decode
from detector.metrics.intervals import proportion

Indexes = Mapping[int, tuple[np.ndarray, DuplicateIndex]]  # label -> rows, int64 (n,), and the index of their images


def order_images(*sets: Images) -> Images:
    """Join sets, with the train folder before the test folder, each sorted by file name."""
    images = concatenate(*sets)
    return images[np.lexsort((images.files, images.source == "test"))]


def index_classes(images: Images) -> Indexes:
    """Return for each label its rows in `images`, int64 (n,), and the searchable index of these images."""
    rows = {int(label): np.flatnonzero(images.labels == label) for label in images.labels.unique()}
    return {label: (own, build_index(images.pixels[own])) for label, own in rows.items()}


def find_duplicates(images: Images, indexes: Indexes) -> pd.DataFrame:
    """Return the pairs of duplicates of the same class, REAL or FAKE; three minutes on two cores for CIFAKE.

    Args:
        images: As `order_images` returns them.
        indexes: As `index_classes` returns them. The search for test images is wider than that for train images.

    Columns: file and set ('train' or 'test'); duplicate_of and duplicate_in, the same of the image that comes first in
    `images`; class; kind ('exact': all pixels are equal, 'near', or 'flipped': near the mirror image); distance, from 0
    to 0.15, as `search` defines it.
    """
    tables = []
    for label, (rows, index) in indexes.items():
        pairs = _pairs(index, images.source[rows] == "test")
        later, first = pairs["later"].to_numpy(), pairs["first"].to_numpy()
        equal = (index.pixels.numpy()[later] == index.pixels.numpy()[first]).all((1, 2, 3))
        columns = {
            "file": images.files[rows[later]],
            "set": images.source[rows[later]],
            "duplicate_of": images.files[rows[first]],
            "duplicate_in": images.source[rows[first]],
            "class": CLASSES[label],
            "kind": np.where(equal, "exact", np.where(pairs["flipped"], "flipped", "near")),
            "distance": pairs["distance"].round(4).to_numpy(),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _pairs(index: DuplicateIndex, test: np.ndarray) -> pd.DataFrame:
    """Return pairs of an index's rows: columns first, later, flipped, distance. Rows in `test` (N,) use WIDE."""
    searches = []
    for rows, reach in ((np.flatnonzero(~test), QUICK), (np.flatnonzero(test), WIDE)):
        found = search(index, index.pixels[rows], torch.from_numpy(rows), reach=reach)
        searches.append(found.assign(query=rows[found["query"]]))
    pairs = pd.concat(searches)
    pairs["later"], pairs["first"] = pairs[["query", "row"]].max(axis=1), pairs[["query", "row"]].min(axis=1)
    pairs = pairs.sort_values("distance", kind="stable").drop_duplicates(["later", "first"])
    return pairs.sort_values(["later", "first"])


def count_duplicates(pairs: pd.DataFrame) -> pd.DataFrame:
    """Count the pairs of `find_duplicates` by class and kind: within train, across train and test, within test."""
    where = pairs["duplicate_in"] + "–" + pairs["set"]
    columns = {"train–train": "within train", "train–test": "across train and test", "test–test": "within test"}
    table = pd.crosstab([pairs["class"], pairs["kind"]], where).reindex(columns=list(columns), fill_value=0)
    return table.rename(columns=columns).rename_axis(columns=None)


def leaks(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the test files to exclude from the leak-free test set.

    These are the files that a chain of duplicates within the test folder links to a duplicate in the train folder. Of
    other groups of duplicates within the test folder, all but the first file are excluded.

    Columns file, duplicate_of, duplicate_in, class, kind, distance: one row per file, with its nearest duplicate, in
    train if there is one.
    """
    test = pairs[pairs["set"] == "test"].sort_values(["distance", "duplicate_of"])
    in_train = test["duplicate_in"] == "train"
    across = test[in_train].drop_duplicates("file")
    within = test[~in_train]
    within = pd.concat([within, within.rename(columns={"file": "duplicate_of", "duplicate_of": "file"})])
    nearest = within.sort_values(["distance", "duplicate_of"]).drop_duplicates("file").sort_values("file")
    row = pd.Series(np.arange(len(nearest)), index=nearest["file"])
    group = linked_groups(len(nearest), row[within["file"]].to_numpy(), row[within["duplicate_of"]].to_numpy())
    leaked = nearest["file"].isin(across["file"]).to_numpy()
    kept = ~np.isin(group, group[leaked]) & ~pd.Series(group).duplicated().to_numpy()
    excluded = pd.concat([across, nearest[~leaked & ~kept]])
    return excluded.sort_values("file", ignore_index=True).drop(columns="set")


def compare_leaks(found: pd.DataFrame) -> pd.DataFrame:
    """Compare `leaks` with the committed list `data/leaks.csv`: number of files in each, in both, and in one only."""
    now, listed = set(found["file"]), set(pd.read_csv(files.LEAKS)["file"])
    counts = {"found": len(now), "listed": len(listed), "both": len(now & listed)}
    counts |= {"only found": len(now - listed), "only listed": len(listed - now)}
    return pd.DataFrame([counts], index=["test files"])


def cross_class_duplicates(images: Images, indexes: Indexes) -> int:
    """Return how many REAL test images have a duplicate of any kind among all FAKE images, by the QUICK search."""
    real = (images.labels == REAL).numpy() & (images.source == "test")
    return search(indexes[FAKE][1], images.pixels[real])["query"].nunique()


def count_leaks(listed: pd.DataFrame) -> pd.DataFrame:
    """Count the files of `leaks` by class (rows), and by kind and set of their nearest duplicate (columns)."""
    table = pd.crosstab(
        listed["class"], ["in " + listed["duplicate_in"], listed["kind"]], margins=True, margins_name="all"
    )
    table.columns = [" ".join(filter(None, (kind, place))) for place, kind in table.columns]
    return table


def leaks_by_distance(
    pairs: pd.DataFrame, limits: Sequence[float] = (0.0, 0.05, 0.1, 0.125, MAX_DISTANCE)
) -> pd.DataFrame:
    """Count the test images whose nearest duplicate in train is within each distance: rows limits, columns classes."""
    across = pairs[(pairs["set"] == "test") & (pairs["duplicate_in"] == "train")]
    nearest = across.groupby(["class", "file"])["distance"].min()
    rows = {f"{limit:.3f}": nearest[nearest <= limit].groupby("class").size() for limit in limits}
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(list(rows), columns=CLASSES).fillna(0).astype(int)
    return table.rename_axis("distance up to")


def sample_pairs(pairs: pd.DataFrame, images: Images, count: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return random pairs by class and kind or distance: 'REAL, up to 0.05' -> uint8 (count, 2, 3, 32, 32).

    The first image of a flipped pair is flipped back, so that the two can be compared.
    """
    row = pd.Series(np.arange(len(images)), index=images.files)
    limits = (0.05, 0.1, MAX_DISTANCE)
    bins = pd.cut(pairs["distance"], [-1, *limits], labels=[f"up to {limit:.2f}" for limit in limits])
    group = pairs["class"] + ", " + bins.astype(str).where(pairs["kind"] == "near", pairs["kind"])
    samples = {}
    for name, rows in pairs.groupby(group):
        sample = rows.sample(min(count, len(rows)), random_state=seed)
        first = images.pixels[row[sample["file"]].tolist()]
        second = images.pixels[row[sample["duplicate_of"]].tolist()]
        flipped = torch.tensor((sample["kind"] == "flipped").to_numpy())[:, None, None, None]
        samples[name] = torch.stack([torch.where(flipped, first.flip(3), first), second], dim=1)
    return samples


def train_duplicates(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs within the train folder: columns file, duplicate_of, kind, distance."""
    within = pairs[pairs["set"] == "train"].sort_values(["file", "duplicate_of"], ignore_index=True)
    return within[["file", "duplicate_of", "kind", "distance"]]


def write_duplicate_lists(*, split: bool = False) -> pd.DataFrame:
    """Search CIFAKE for duplicates, write data/leaks.csv, and return the counts of `count_duplicates`.

    Args:
        split: also write data/train_duplicates.csv, which changes the split and so outdates every model.
    """
    images = order_images(*load_published())
    pairs = find_duplicates(images, index_classes(images))
    lists = {files.LEAKS: leaks(pairs).drop(columns="class")}
    if split:
        lists[files.TRAIN_DUPLICATES] = train_duplicates(pairs)
    for path, table in lists.items():
        with files.atomic_write(path) as part:
            table.to_csv(part, index=False, lineterminator="\n")
    return count_duplicates(pairs)


def _translate(image: Image.Image, by: int) -> Image.Image:
    padded = np.pad(np.asarray(image), ((by, by), (by, by), (0, 0)), mode="reflect")
    return Image.fromarray(padded[: image.height, 2 * by :])


def _zoom(image: Image.Image, cut: int) -> Image.Image:
    box = (cut, cut, image.width - cut, image.height - cut)
    return image.resize(image.size, Image.Resampling.BICUBIC, box)


def _add_noise(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 10, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


CHANGES = {
    "JPEG, quality 50": partial(encode_decode, quality=50),
    "flipped": ImageOps.mirror,
    "translated by 1 pixel": partial(_translate, by=1),
    "translated by 2 pixels": partial(_translate, by=2),
    "translated by 3 pixels": partial(_translate, by=3),
    "zoomed, 1 pixel cut per side": partial(_zoom, cut=1),
    "zoomed, 2 pixels cut per side": partial(_zoom, cut=2),
    "zoomed, 3 pixels cut per side": partial(_zoom, cut=3),
    "brightness +30%": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "contrast −30%": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "greyscale": lambda image: ImageEnhance.Color(image).enhance(0),
    "Gaussian blur, sigma 1": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "Gaussian noise, sigma 10": _add_noise,
    "rotated by 5°": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
}


def synthetic_recall(indexes: Indexes, count: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return the recall of the search, in its range for train images, on synthetic duplicates.

    Each of `count` random images of a class is changed by one of CHANGES and compressed with CIFAKE's JPEG settings.
    A row for each change and class: columns value (recall), low, high (Wilson), n.
    """
    rng, hits = np.random.default_rng(seed), {}
    for label, (own, index) in indexes.items():
        chosen = rng.choice(len(own), min(count, len(own)), replace=False)
        images = [Image.fromarray(index.pixels[row].permute(1, 2, 0).numpy()) for row in chosen]
        queries = [np.asarray(encode_decode(change(image))) for change in CHANGES.values() for image in images]
        found = search(index, torch.from_numpy(np.stack(queries)).permute(0, 3, 1, 2).contiguous())
        change, image = np.divmod(found["query"], len(chosen))
        found_again = change[found["row"].to_numpy() == chosen[image]]
        hits[CLASSES[label]] = np.bincount(found_again, minlength=len(CHANGES)), len(chosen)
    rows = [
        (change, name, *proportion(k[position], n))
        for position, change in enumerate(CHANGES)
        for name, (k, n) in hits.items()
    ]
    table = pd.DataFrame(rows, columns=["change", "class", "value", "low", "high", "n"])
    return table.set_index(["change", "class"])
