"""Leakage: which pictures of the test folder show what the train folder shows, and what the search for them misses.

The lists that `python -m detector audit` writes, `data/leaks.csv` and `data/train_copies.csv`, are made here; the
comparison of two pictures is that of `detector.copies`.
"""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from detector.cifake import CLASSES
from detector.copies import NEAR, QUICK, WIDE, Index, build_index, linked_groups, look_up
from detector.data import LEAKS, Images, concatenate
from detector.decoding import jpeg_round_trip
from detector.evaluation import wilson


def all_pictures(*sets: Images) -> Images:
    """Sets in one, the train folder before the test folder, each in the order of its files' names."""
    images = concatenate(*sets)
    return images[np.lexsort((images.files, np.char.startswith(images.files, "test")))]


def index_classes(images: Images) -> dict[int, tuple[np.ndarray, Index]]:
    """For each label that there is, its rows, int64 (n,), and these pictures made searchable."""
    rows = {int(label): np.flatnonzero(images.labels == label) for label in images.labels.unique()}
    return {label: (own, build_index(images.pixels[own])) for label, own in rows.items()}


def find_copies(images: Images, indexes: Mapping[int, tuple[np.ndarray, Index]]) -> pd.DataFrame:
    """The pairs of pictures of one class that the search finds to be copies of each other.

    `images` are those of `all_pictures`, `indexes` those of `index_classes`. From the test folder it looks wider than
    from the train folder. Columns file, copy_of (the one that comes first in `images`), class, kind ('exact': all
    pixels are equal; 'near'; 'mirrored': near the other's mirror image), distance (`detector.copies`; 0 to 0.15).
    Under three minutes on two cores for 120,000 pictures.
    """
    parts = []
    for label, (rows, index) in indexes.items():
        files = images.files[rows]
        pairs = _pairs(index, np.char.startswith(files, "test"))
        later, first = (index.pixels.numpy()[pairs[column]] for column in ("later", "first"))
        same = (later == first).all((1, 2, 3))
        kind = np.where(same, "exact", np.where(pairs["mirrored"], "mirrored", "near"))
        found = {"file": files[pairs["later"]], "copy_of": files[pairs["first"]], "class": CLASSES[label], "kind": kind}
        parts.append(pd.DataFrame(found | {"distance": pairs["distance"].round(4).to_numpy()}))
    return pd.concat(parts, ignore_index=True)


def _pairs(index: Index, test: np.ndarray) -> pd.DataFrame:
    """Pairs of an index's rows: columns first, later, mirrored, distance; from rows where `test` (N,) it looks wide."""
    searches = []
    for rows, reach in ((np.flatnonzero(~test), QUICK), (np.flatnonzero(test), WIDE)):
        found = look_up(index, index.pixels[rows], torch.from_numpy(rows), reach=reach)
        searches.append(found.assign(query=rows[found["query"]]))
    pairs = pd.concat(searches)
    pairs["later"], pairs["first"] = pairs[["query", "row"]].max(axis=1), pairs[["query", "row"]].min(axis=1)
    pairs = pairs.sort_values("distance", kind="stable").drop_duplicates(["later", "first"])
    return pairs.sort_values(["later", "first"])


def _folder(files: pd.Series) -> np.ndarray:
    """'test' or 'train': validation and calibration are of the train folder."""
    return np.where(files.str.startswith("test"), "test", "train")


def copies_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of `find_copies` by class and kind: within the train folder, across the folders, within the test folder."""
    where = _folder(pairs["copy_of"]) + np.array(" and ") + _folder(pairs["file"])
    table = pd.crosstab([pairs["class"], pairs["kind"]], where)
    columns = ["train and train", "train and test", "test and test"]
    return table.reindex(columns=columns, fill_value=0).rename_axis(columns=None)


def leaks(pairs: pd.DataFrame) -> pd.DataFrame:
    """The test files to leave out: those with a copy in the train folder, or linked to one by copies within the test;
    and of other copies within the test all but the first.

    Columns file, copy_of, class, kind, distance; a row a file, with its nearest copy, one in train where there is one.
    """
    test = pairs[_folder(pairs["file"]) == "test"].sort_values(["distance", "copy_of"])
    in_train = _folder(test["copy_of"]) == "train"
    trained = test[in_train].drop_duplicates("file")
    inside = test[~in_train]
    inside = pd.concat([inside, inside.rename(columns={"file": "copy_of", "copy_of": "file"})])
    nearest = inside.sort_values(["distance", "copy_of"]).drop_duplicates("file").sort_values("file")
    row = pd.Series(np.arange(len(nearest)), index=nearest["file"])
    group = linked_groups(len(nearest), row[inside["file"]].to_numpy(), row[inside["copy_of"]].to_numpy())
    own = nearest["file"].isin(trained["file"]).to_numpy()
    stays = ~np.isin(group, group[own]) & ~pd.Series(group).duplicated().to_numpy()
    listed = pd.concat([trained, nearest[~own & ~stays]])
    return listed.sort_values("file", ignore_index=True)[["file", "copy_of", "class", "kind", "distance"]]


def compare_leaks(found: pd.DataFrame, listed: Path = LEAKS) -> pd.DataFrame:
    """`leaks` as found now beside the committed list: how many files each names, both name, and only one names."""
    now, then = set(found["file"]), set(pd.read_csv(listed)["file"])
    counts = {"found now": len(now), "listed": len(then), "both": len(now & then)}
    counts |= {"only found now": len(now - then), "only listed": len(then - now)}
    return pd.DataFrame([counts], index=["test files"])


def cross_copies(images: Images, indexes: Mapping[int, tuple[np.ndarray, Index]]) -> int:
    """How many REAL pictures of the test folder have a copy, of any kind, among all FAKE pictures."""
    real = (images.labels == CLASSES.index("REAL")).numpy() & np.char.startswith(images.files, "test")
    return look_up(indexes[CLASSES.index("FAKE")][1], images.pixels[real])["query"].nunique()


def leaks_table(listed: pd.DataFrame) -> pd.DataFrame:
    """Test pictures to leave out, by class: where their nearest copy is and of which kind; `listed` is by `leaks`."""
    place = pd.Series(np.char.add("in ", _folder(listed["copy_of"])), name="copy")
    table = pd.crosstab(listed["class"], [place, listed["kind"]], margins=True, margins_name="all")
    table.columns = [" ".join(filter(None, (kind, place))) for place, kind in table.columns]
    return table


def leaks_by_distance(pairs: pd.DataFrame, limits: Sequence[float] = (0.0, 0.05, 0.1, 0.125, NEAR)) -> pd.DataFrame:
    """Test pictures with a copy in the train folder, counted up to each distance: a row a limit, a column a class."""
    across = pairs[(_folder(pairs["file"]) == "test") & (_folder(pairs["copy_of"]) == "train")]
    nearest = across.groupby(["class", "file"])["distance"].min()
    rows = {f"{limit:.3f}": nearest[nearest <= limit].groupby("class").size() for limit in limits}
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=CLASSES).fillna(0).astype(int)
    return table.rename_axis("distance up to")


def alike_pairs(pairs: pd.DataFrame, images: Images, count: int = 8, seed: int = 0) -> dict[str, torch.Tensor]:
    """Pairs drawn at random by class and kind or distance: 'REAL, to 0.05' -> uint8 (count, 2, 3, 32, 32), and so on.

    Of a mirrored pair the first is turned round, so that the two can be compared.
    """
    row = pd.Series(np.arange(len(images)), index=images.files)
    bins = pd.cut(pairs["distance"], [-1, 0.05, 0.1, NEAR], labels=["to 0.05", "to 0.10", f"to {NEAR:.2f}"])
    group = pairs["class"] + ", " + bins.astype(str).where(pairs["kind"] == "near", pairs["kind"])
    drawn = {}
    for name, rows in pairs.groupby(group):
        some = rows.sample(min(count, len(rows)), random_state=seed)
        first = images.pixels[row[some["file"]].tolist()]
        mirrored = torch.tensor((some["kind"] == "mirrored").to_numpy())[:, None, None, None]
        second = images.pixels[row[some["copy_of"]].tolist()]
        drawn[name] = torch.stack([torch.where(mirrored, first.flip(3), first), second], dim=1)
    return drawn


def train_copies(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs within the train folder: columns file, copy_of, kind, distance."""
    inside = pairs[_folder(pairs["file"]) == "train"]
    return inside.sort_values(["file", "copy_of"], ignore_index=True)[["file", "copy_of", "kind", "distance"]]


def _recompressed(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def _shifted(picture: Image.Image, by: int) -> Image.Image:
    padded = np.pad(np.asarray(picture), ((by, by), (by, by), (0, 0)), mode="reflect")
    return Image.fromarray(padded[: picture.height, 2 * by :])


def _cropped(picture: Image.Image, by: int) -> Image.Image:
    box = (by, by, picture.width - by, picture.height - by)
    return picture.resize(picture.size, Image.Resampling.BICUBIC, box)


def _noisy(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 10, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


CHANGES = {
    "JPEG, quality 50": _recompressed,
    "mirrored": ImageOps.mirror,
    "shifted by 1 pixel": partial(_shifted, by=1),
    "shifted by 2 pixels": partial(_shifted, by=2),
    "shifted by 3 pixels": partial(_shifted, by=3),
    "enlarged, less 1 pixel a side": partial(_cropped, by=1),
    "enlarged, less 2 pixels a side": partial(_cropped, by=2),
    "enlarged, less 3 pixels a side": partial(_cropped, by=3),
    "brighter by 30%": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "contrast less by 30%": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "without colour": lambda picture: ImageEnhance.Color(picture).enhance(0),
    "blurred, sigma 1": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "noise, sigma 10": _noisy,
    "turned by 5 degrees": lambda picture: picture.rotate(5, Image.Resampling.BICUBIC),
}


def planted_recall(indexes: Mapping[int, tuple[np.ndarray, Index]], count: int = 200, seed: int = 0) -> pd.DataFrame:
    """How many of `count` copies of each class, changed in a known way, the search finds as it does from train.

    Each is made from a picture of the index, and goes through CIFAKE's JPEG settings after the change. A row a change
    and class: columns value, low, high (recall, Wilson's interval), n.
    """
    rng, rows = np.random.default_rng(seed), []
    for label, (own, index) in indexes.items():
        chosen = rng.choice(len(own), min(count, len(own)), replace=False)
        pictures = [Image.fromarray(index.pixels[row].permute(1, 2, 0).numpy()) for row in chosen]
        planted = [np.asarray(jpeg_round_trip(change(picture))) for change in CHANGES.values() for picture in pictures]
        found = look_up(index, torch.from_numpy(np.stack(planted)).permute(0, 3, 1, 2).contiguous())
        change, picture = np.divmod(found["query"], len(chosen))
        hits = np.bincount(change[found["row"].to_numpy() == chosen[picture]], minlength=len(CHANGES))
        for name, hit in zip(CHANGES, hits, strict=True):
            rows.append((name, CLASSES[label], hit / len(chosen), *wilson(hit, len(chosen)), len(chosen)))
    table = pd.DataFrame(rows, columns=["change", "class", "value", "low", "high", "n"])
    return table.sort_values("change", key=_listed, kind="stable").set_index(["change", "class"])


def _listed(changes: pd.Series) -> pd.Series:
    return changes.map(list(CHANGES).index)
