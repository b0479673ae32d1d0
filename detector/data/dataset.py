"""Load CIFAKE and split it, with all duplicates of an image in the same set.

Train, validation and calibration are cut from CIFAKE's train folder. Its test folder is scored and never used for a
choice.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import CLASSES
from detector.data import toy
from detector.data.cifake import CIFAR10_CLASSES, file_names, find_cifake, load_cifake
from detector.data.duplicates import linked_groups

SPLITS = ("train", "validation", "calibration", "test")
HELD_OUT = 10_000  # images of the train folder for validation and calibration, half for each
SPLIT_SEED = 0


@dataclass(frozen=True)
class Images:
    """A set of N images, indexed by row.

    Attributes:
        pixels: uint8 (N, 3, 32, 32), RGB.
        labels: int64 (N,), 0 REAL, 1 FAKE.
        object_class: int64 (N,), an index into the dataset's `object_classes`, or UNKNOWN.
        files: str (N,), the path of each image.
        source: str (N,), where each image was published: 'train' or 'test' for CIFAKE, else its folder's name.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    object_class: torch.Tensor
    files: np.ndarray
    source: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: torch.Tensor | np.ndarray | slice) -> "Images":
        rows = torch.arange(len(self))[rows]
        tensors = (self.pixels[rows], self.labels[rows], self.object_class[rows])
        return Images(*tensors, self.files[rows.numpy()], self.source[rows.numpy()])

    def of_class(self, label: int) -> "Images":
        """Return the images of one class, REAL or FAKE."""
        return self[self.labels == label]

    def by_source(self) -> dict[tuple[int, str], "Images"]:
        """Return the images of each (label, source): REAL sources by name, then FAKE sources by name."""
        keys = sorted(set(zip(self.labels.tolist(), self.source.tolist(), strict=True)))
        return {(label, name): self[(self.labels.numpy() == label) & (self.source == name)] for label, name in keys}


def concatenate(*sets: Images) -> Images:
    """Return the rows of several sets, one set after the other."""
    tensors = [torch.cat([getattr(images, name) for images in sets]) for name in ("pixels", "labels", "object_class")]
    arrays = [np.concatenate([getattr(images, name) for images in sets]) for name in ("files", "source")]
    return Images(*tensors, *arrays)


@dataclass(frozen=True)
class Dataset:
    """The four sets.

    Attributes:
        name: 'CIFAKE' or 'toy'.
        note: One sentence on why this data was loaded.
        object_classes: The name of each object class.
    """

    name: str
    note: str
    object_classes: tuple[str, ...]
    train: Images
    validation: Images
    calibration: Images
    test: Images

    def sample(self, images: int | None, seed: int = 0) -> "Dataset":
        """Return a random sample: `images` of the training set and the same fraction of each other set.

        None, or a number not below the size of the training set, returns the data unchanged.
        """
        if images is None or images >= len(self.train):
            return self
        fraction, rng = images / len(self.train), np.random.default_rng(seed)
        sets = {name: getattr(self, name) for name in SPLITS}
        sampled = {
            name: part[np.sort(rng.choice(len(part), round(len(part) * fraction), replace=False))]
            for name, part in sets.items()
        }
        return replace(self, **sampled)

    def counts(self) -> pd.DataFrame:
        """Return the number of images by set and class."""
        rows = {name: np.bincount(getattr(self, name).labels, minlength=2) for name in SPLITS}
        return pd.DataFrame.from_dict(rows, orient="index", columns=CLASSES).rename_axis("set")


def load_data() -> Dataset:
    """Load CIFAKE from `CIFAKE_DIR` or Kaggle, or the toy dataset where Kaggle cannot be reached.

    Raises UserError if CIFAKE is there but incomplete or altered.
    """
    try:
        train_folder, test = load_published()
    except ConnectionError as error:
        return make_toy_dataset(str(error))
    sets = split(train_folder, _read_list(files.TRAIN_DUPLICATES))
    return Dataset("CIFAKE", "CIFAKE version 3, every file as published.", CIFAR10_CLASSES, *sets, test)


def load_cifake_only() -> Dataset:
    """Load CIFAKE, and raise UserError instead of loading the toy dataset."""
    data = load_data()
    if data.name != "CIFAKE":
        raise UserError(f"This command needs CIFAKE. {data.note}")
    return data


def load_published() -> tuple[Images, Images]:
    """Return CIFAKE's train and test folders as published, REAL before FAKE, in the order of `cifake.file_names`.

    Raises UserError as `load_data` does, and ConnectionError as `find_cifake` does.
    """
    sets = {folder: _label_folder(folder, pixels) for folder, pixels in load_cifake(find_cifake()).items()}
    train = concatenate(sets["train/REAL"], sets["train/FAKE"])
    return train, concatenate(sets["test/REAL"], sets["test/FAKE"])


def _label_folder(folder: str, pixels: torch.Tensor) -> Images:
    names, (source, class_name) = file_names(folder), folder.split("/")
    labels = torch.full((len(names),), CLASSES.index(class_name))
    object_class = torch.arange(len(CIFAR10_CLASSES)).repeat_interleave(len(names) // len(CIFAR10_CLASSES))
    return Images(pixels, labels, object_class, np.array(names), np.full(len(names), source))


def make_toy_dataset(note: str) -> Dataset:
    """Make the toy dataset; `note` is the reason why it is used."""
    sets = {}
    for name, tensors in toy.make_toy().items():
        count = len(tensors["labels"])
        rows = np.array([f"{name}/{row:04d}" for row in range(count)])
        sets[name] = Images(**tensors, files=rows, source=np.full(count, "test" if name == "test" else "train"))
    return Dataset("toy", note, toy.OBJECT_CLASSES, **sets)


def split(images: Images, pairs: pd.DataFrame) -> tuple[Images, Images, Images]:
    """Split CIFAKE's train folder into train, validation (about 5,000 images) and calibration (about 5,000).

    `pairs` (columns file, duplicate_of) lists duplicates. Images that a chain of pairs links are in the same set.

    Raises UserError if `pairs` names a file that `images` does not have.
    """
    row = pd.Series(np.arange(len(images)), index=images.files)
    if not pairs[["file", "duplicate_of"]].isin(row.index).all(axis=None):
        raise UserError(f"{files.TRAIN_DUPLICATES} names files that CIFAKE does not have. Restore it with git.")
    groups = linked_groups(len(images), row[pairs["file"]].to_numpy(), row[pairs["duplicate_of"]].to_numpy())
    train, held_out = _group_split(groups, np.arange(len(images)), HELD_OUT / len(images))
    validation, calibration = _group_split(groups, held_out, 0.5)
    return images[train], images[validation], images[calibration]


def _group_split(groups: np.ndarray, rows: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two, with `fraction` of the groups in the second array; both are ascending."""
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=SPLIT_SEED)
    first, second = next(splitter.split(rows, groups=groups[rows]))
    return np.sort(rows[first]), np.sort(rows[second])


def leak_free_rows(names: np.ndarray) -> np.ndarray:
    """Return which of the test files have no duplicate listed in `data/leaks.csv`, bool (N,)."""
    return ~np.isin(names, _read_list(files.LEAKS)["file"])


def _read_list(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. Restore it with git.") from error
